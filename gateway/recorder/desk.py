"""What may be asked of the recorder on the control socket.

``{"ask": "record", "what": "start"}`` with ``detector``, ``seconds`` and ``max_bytes`` is answered
with a ``name``; ``"read"`` with ``name`` and ``at`` (bytes) gives ``text``, the next ``at`` and
whether it ``is_over``; ``"stop"`` and ``"forget"`` take a ``name``, ``"list"`` nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from config.models import Role, User
from gateway.commands import BadCommand
from gateway.recorder.files import NoSuchRecording
from gateway.recorder.recorder import MOST_BYTES, CannotRecord, Recorder
from gateway.recorder.track import Limits

MAY_RECORD: Final[tuple[Role, ...]] = ("operator", "custodian", "assessor")
"""As who may requeue."""
LONGEST_S: Final = 86_400.0
LEAST_BYTES: Final = 10_000
PAGE_BYTES: Final = 131_072
MOST_LISTED: Final = 1000
_TAKES: Final[Mapping[str, tuple[str, ...]]] = {
    "start": ("detector", "seconds", "max_bytes"),
    "read": ("name", "at"),
    "stop": ("name",),
    "forget": ("name",),
    "list": (),
}


class RecorderDesk:
    """Answers a client of the control socket."""

    def __init__(self, recorder: Recorder, users: Iterable[User] = ()) -> None:
        self._recorder = recorder
        self._users: Mapping[str, User] = {user.id: user for user in users}

    async def answer(self, question: Mapping[str, object], user: str) -> dict[str, Any]:
        """One answer. Raises BadCommand, which says why there is none."""
        what = question.get("what")
        if not isinstance(what, str) or what not in _TAKES:
            raise BadCommand(f"what is {str(what)[:32]!r}, not one of {', '.join(_TAKES)}")
        if unknown := [key for key in question if key not in ("ask", "what", *_TAKES[what])]:
            takes = ", ".join(_TAKES[what]) or "nothing"
            raise BadCommand(f"{what} knows no {unknown[0][:32]!r}: it takes {takes}")
        if not self._may(user):
            raise BadCommand(f"{user} may not record: it takes {' or '.join(MAY_RECORD)}")
        try:
            return {"ok": True, **await self._carry_out(what, question)}
        except (CannotRecord, NoSuchRecording) as error:
            raise BadCommand(str(error)) from error
        except OSError as error:
            raise BadCommand(f"the recording cannot be read: {error.strerror or error}") from error

    async def _carry_out(self, what: str, question: Mapping[str, object]) -> dict[str, Any]:
        if what == "start":
            return await self._start(question)
        if what == "list":
            return await self._list()
        name = _text("name", question)
        if what == "read":
            return await self._read(name, int(_number("at", question, 0, 2.0**53)))
        if what == "stop":
            await self._recorder.stop(name)
        else:
            await self._recorder.forget(name)
        return {}

    async def _start(self, question: Mapping[str, object]) -> dict[str, Any]:
        limits = Limits(
            int(_number("max_bytes", question, LEAST_BYTES, MOST_BYTES)),
            _number("seconds", question, 1.0, LONGEST_S),
        )
        track = await self._recorder.start(_text("detector", question), limits)
        return {"name": track.name}

    async def _read(self, name: str, at: int) -> dict[str, Any]:
        is_open = self._recorder.is_open(name)
        data, size = await self._recorder.read(name, at, PAGE_BYTES)
        reached = at + len(data)
        return {
            "text": data.decode("ascii", "replace"),
            "at": reached,
            "is_over": not is_open and reached >= size,
        }

    async def _list(self) -> dict[str, Any]:
        files = [
            {"name": each.name, "bytes": each.size, "is_open": self._recorder.is_open(each.name)}
            for each in (await self._recorder.stored())[-MOST_LISTED:]
        ]
        return {"files": files}

    def _may(self, user: str) -> bool:
        """Without any user in the configuration, whoever reaches the socket."""
        if not self._users:
            return True
        found = self._users.get(user)
        return found is not None and not set(MAY_RECORD).isdisjoint(found.roles)


def _text(name: str, question: Mapping[str, object]) -> str:
    value = question.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 128:
        raise BadCommand(f"{name} must be a text of at most 128 characters")
    return value


def _number(name: str, question: Mapping[str, object], least: float, most: float) -> float:
    value = question.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadCommand(f"{name} must be a number from {least:g} to {most:g}")
    return value
