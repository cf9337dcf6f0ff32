"""Who may give which command: roles of users, as the configuration names them.

Without any user in the configuration everybody who reaches the control socket may do everything;
who reaches it is a matter of the socket's file mode. With users, whoever is not named may only
look. Officers act on the alarms of their own detectors alone; R5 and above are reset, baselines
are accepted and dispositions recorded by the assessor; custodians look after the instruments,
exercise leaders end exercises. Everybody, and viewers nothing else, may ask for what was told
before to be sent again.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, get_args

from config.models import Role, User
from gateway.alarms.lifecycle import Refusal
from gateway.alarms.record import AlarmRecord
from gateway.values import Command

_CENTRE: Final[tuple[Role, ...]] = ("operator", "assessor")
PERMITTED: Final[Mapping[str, tuple[Role, ...]]] = MappingProxyType(
    {
        "acknowledge": ("officer", *_CENTRE),
        "silence": ("officer", *_CENTRE),
        "report": ("officer", *_CENTRE),
        "shelve": _CENTRE,
        "unshelve": _CENTRE,
        "reset": (*_CENTRE, "custodian"),
        "assess": _CENTRE,
        "close": (*_CENTRE, "custodian"),
        "baseline": ("assessor",),
        "maintenance": ("custodian", "assessor"),
        "test_source": ("custodian", "assessor"),
        "commission": ("custodian", "assessor"),
        "replace": ("custodian", "assessor"),
        "new_wearer": ("custodian", "assessor"),
        "duty": ("officer", "operator", "custodian", "assessor"),
        "stop_exercise": ("exercise_leader", "assessor"),
        "resend": get_args(Role),
        "history": get_args(Role),
    }
)
_OWN: Final = frozenset({"acknowledge", "silence", "duty"})
"""What an officer may do with his own detectors only."""
ASSESSORS_RESET: Final = frozenset({"R5", "R6", "R7", "R8", "N1", "I1", "D3", "D4", "D5"})
"""Levels whose latch the assessor alone takes off, as that of everything of priority 1.

Own choice beyond R5 and above."""


class Rights:
    """The users of one gateway."""

    def __init__(self, users: Iterable[User]) -> None:
        self._users = {user.id: user for user in users}

    def check(self, command: Command, record: AlarmRecord | None = None) -> None:
        """Whether the user may give it, as to that alarm. Raises Refusal."""
        if not self._users:
            return
        user = self._users.get(command.user)
        roles = () if user is None else user.roles
        allowed = [role for role in PERMITTED.get(command.name, ()) if role in roles]
        if not allowed:
            wanted = " or ".join(PERMITTED.get(command.name, ())) or "nobody"
            raise Refusal(f"{command.user} may not {command.name}: it takes {wanted}")
        if allowed == ["officer"] and command.name in _OWN:
            detector = command.get("detector") if record is None else record.detector
            if user is None or detector not in user.detectors:
                raise Refusal(f"{command.user} may {command.name} for own detectors only")
        if record is not None:
            _check_alarm(command, record, roles)
        if command.name == "assess" and command.get("disposition") and "assessor" not in roles:
            raise Refusal(f"{command.user} may not record a disposition: it takes assessor")

    def check_orphan(self, command: Command) -> None:
        """Whether the user may close an alarm of which only the broker knows. Raises Refusal.

        It may have been one about radiation, so it takes who closes those.
        """
        self.check(command)
        user = self._users.get(command.user)
        if user is not None and "assessor" not in user.roles:
            raise Refusal(f"{command.user} may not close an alarm nobody knows: it takes assessor")


def _check_alarm(command: Command, record: AlarmRecord, roles: Iterable[Role]) -> None:
    if "assessor" in roles:
        return
    if command.name in ("reset", "close") and record.is_radiation:
        levels = {entry.level for entry in record.levels} | {record.level}
        grave = sorted(levels & ASSESSORS_RESET)
        if command.name == "close" or grave or record.priority == 1:
            what = f"{command.name} {', '.join(grave) or record.level}"
            raise Refusal(f"{command.user} may not {what}: it takes assessor")
        if "operator" not in roles:
            raise Refusal(f"{command.user} may not reset {record.level}: it takes operator")
