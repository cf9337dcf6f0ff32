"""What may be wrong with the background of a rule: frozen for too long, or not to be believed."""

from typing import Final

from gateway.alarms.book import Book
from gateway.alarms.record import Change, Evidence, Facts, Rule
from gateway.values import Instant

FROZEN: Final = "background_frozen"
IMPLAUSIBLE: Final = "background_implausible"
IMPLAUSIBLE_FACTOR: Final = 3.0
"""A background so many times the usual one is not believed."""


class Doubts:
    """The alarms ``background_frozen`` and ``background_implausible`` of the rule of that id."""

    def __init__(self, book: Book, rule: str) -> None:
        self._book = book
        self._limit_s = book.profile.ways.freeze_limit_s
        self._rule = rule
        self._told = False
        self.frozen_since: float | None = None
        self.is_implausible = False

    def freeze(self, at: Instant) -> None:
        """Nothing is learned for an alarm's or a suspicion's sake."""
        if self.frozen_since is None:
            self.frozen_since = at.mono

    def thaw(self, at: Instant) -> list[Change]:
        """Learning goes on."""
        self.frozen_since = None
        if not self._told:
            return []
        self._told = False
        return self._book.end(FROZEN, at)

    def tick(self, now: Instant, background: Facts) -> list[Change]:
        """A freeze may have become too long."""
        since = self.frozen_since
        if since is None or self._told or now.mono - since < self._limit_s:
            return []
        self._told = True
        if self._book.is_active(FROZEN):
            return []
        note = "what is measured may have become the background here: to be assessed"
        evidence = Evidence(
            now,
            Rule(self._rule, 1, (("freeze_limit_s", self._limit_s),)),
            value=round(now.mono - since, 1),
            unit="s",
            background=background,
            note=note,
        )
        return self._book.open_discrete(FROZEN, evidence)

    def doubt(self, at: Instant, value: float, limit: float, unit: str) -> list[Change]:
        """What was learned is above ``limit``: a source may have stood here all the time."""
        self.is_implausible = True
        if self._book.is_active(IMPLAUSIBLE):
            return []
        rule = Rule(self._rule, 1, (("implausible_above", limit), ("unit", unit)))
        note = "the background is implausibly high, this rule is not armed"
        return self._book.open_discrete(IMPLAUSIBLE, Evidence(at, rule, value, unit, note=note))

    def believe(self, at: Instant) -> list[Change]:
        """What was learned is plausible, or the assessor says so."""
        if not self.is_implausible:
            return []
        self.is_implausible = False
        return self._book.end(IMPLAUSIBLE, at)

    def restore(self, alarm: str, now: Instant) -> None:
        """It was active before the restart."""
        if alarm == FROZEN:
            self._told = True
            self.freeze(now)
        elif alarm == IMPLAUSIBLE:
            self.is_implausible = True

    def abandon(self, alarm: str) -> None:
        """It was closed under supervision, and is told again after another such time."""
        if alarm == FROZEN:
            self._told, self.frozen_since = False, None
        elif alarm == IMPLAUSIBLE:
            self.is_implausible = False
