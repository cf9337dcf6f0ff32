"""What an alarm turned out to be: states, dispositions, actor, time and note of each change.

An assessment never changes the alarm: a safety level is cleared by readings alone. Dispositions,
notes and the nuclides of persons are medical data and travel on a topic of their own.
"""

from dataclasses import dataclass, replace
from typing import Final

from pydantic import TypeAdapter, ValidationError

from gateway.alarms.lifecycle import Refusal
from gateway.values import Command, Instant

STATES: Final = ("new", "verifying", "localising", "identifying", "reachback", "closed")
GROUPS: Final = {
    "unassessed": "",
    "false": "false: background only",
    "innocent_medical": "innocent: medical",
    "innocent_norm": "innocent: NORM",
    "innocent_legal": "innocent: declared",
    "test_source": "test or maintenance",
    "instrument_fault": "tamper or fault",
    "exercise": "test or maintenance",
    "confirmed_non_innocent": "real",
}
"""Dispositions, each with its adjudication group of OSCAR."""
KEPT: Final = 1024
_NEVER: Final = Instant(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Assessment:
    """Where the assessment of one occurrence stands, and who said so last."""

    occurrence: str
    detector: str
    state: str = "new"
    disposition: str = "unassessed"
    note: str = ""
    nuclides: str = ""
    actor: str = ""
    at: Instant = _NEVER
    revision: int = 0
    exercise: bool = False

    @property
    def group(self) -> str:
        """The adjudication group of OSCAR; empty while it is not assessed."""
        return GROUPS[self.disposition]


_SAVED: Final = TypeAdapter(Assessment)


class Assessments:
    """The assessments of this gateway; ``news`` are changes that nobody has taken yet."""

    def __init__(self) -> None:
        self._known: dict[str, Assessment] = {}
        self.news: list[Assessment] = []

    def get(self, occurrence: str) -> Assessment | None:
        """The assessment of an occurrence, if somebody has begun one."""
        return self._known.get(occurrence)

    def is_assessed(self, occurrence: str) -> bool:
        """Whether its cause is known."""
        found = self._known.get(occurrence)
        return found is not None and found.disposition != "unassessed"

    def assess(self, about: Assessment, command: Command, now: Instant) -> str:
        """A change of state, disposition or note; what is said of it goes to everybody.

        ``about`` is how it stands, or begins. Raises Refusal.
        """
        state, disposition = command.get("state"), command.get("disposition")
        if state and state not in STATES:
            raise Refusal(f"state is no state of assessment; there are {', '.join(STATES)}")
        if disposition and disposition not in GROUPS:
            raise Refusal(f"disposition is none that is known; there are {', '.join(GROUPS)}")
        note, nuclides = command.get("note"), command.get("nuclides")
        if not (state or disposition or note or nuclides):
            raise Refusal("nothing to record: name state, disposition, nuclides or note")
        after = replace(
            about,
            state=state or (about.state if about.state != "new" else "verifying"),
            disposition=disposition or about.disposition,
            note=note,
            nuclides=nuclides or about.nuclides,
            actor=command.user,
            at=now,
            revision=about.revision + 1,
        )
        if after.state == "closed" and after.disposition == "unassessed":
            raise Refusal("an assessment is closed with a disposition: name one")
        self._known[after.occurrence] = after
        self.news.append(after)
        return f"assessment {after.revision}: {after.state}"

    def take_news(self) -> list[Assessment]:
        """What has changed since the last call."""
        news, self.news = self.news, []
        return news

    def saved(self, occurrence: str) -> bytes:
        """The newest state of one, for the journal; empty if it is forgotten."""
        found = self._known.get(occurrence)
        return b"" if found is None else _SAVED.dump_json(found)

    def restore(self, data: bytes) -> str:
        """One as it was saved; what is wrong with it, if anything is."""
        try:
            found = _SAVED.validate_json(data)
        except ValidationError as error:
            return f"{error.error_count()} errors, {error.errors()[0]['msg']}"
        if found.state not in STATES or found.disposition not in GROUPS:
            return "a state or disposition that is not known"
        self._known[found.occurrence] = found
        return ""

    def forgotten(self) -> list[str]:
        """Takes away the oldest above the number that is kept: their occurrences."""
        if len(self._known) <= KEPT:
            return []
        oldest_first = sorted(self._known.values(), key=lambda one: one.at.wall)
        gone = [one.occurrence for one in oldest_first[: len(self._known) - KEPT]]
        for occurrence in gone:
            del self._known[occurrence]
        return gone
