"""What may be asked of a journal: its status, its messages, whether it is whole, in pages.

The same questions and answers on the control socket and, where no gateway runs, on the file. On the
socket: ``{"ask": "journal", "what": "status"}``, ``"list"`` with ``lane``, ``detector``,
``occurrence``, ``kind``, ``since``, ``until`` (times as in all messages), ``limit``, ``restricted``
and ``place``, ``"verify"`` with ``place``, ``"requeue"`` with ``sink``. An answer with a ``place``
that is not null goes on there: the same question again, with that place.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from gateway.commands import BadCommand
from gateway.journal.file import FILE, FULL_CHECK_BYTES, JournalUnusable
from gateway.journal.look import JournalLook
from gateway.journal.status import Terms, status
from gateway.journal.verify import Progress, verify
from gateway.journal.walk import EXAMINED, LanePlace, Place, Wanted, page
from gateway.values import Lane

Question = Mapping[str, object]
Reply = dict[str, Any]
MOST: Final = 1000
"""Messages of one answer."""
MOST_BYTES: Final = 256_000
"""Of the messages of one answer; one that is larger travels alone."""
USUAL: Final = 200
TEXT_LIMIT: Final = 128
_LARGEST: Final = 2**53 - 1
_ASKED: Final[Mapping[str, tuple[str, ...]]] = {
    "status": (),
    "verify": ("place",),
    "list": (
        *("lane", "detector", "occurrence", "kind", "since", "until"),
        *("limit", "restricted", "place", "late_s"),
    ),
}
WHAT: Final = (*_ASKED, "requeue")


def _no_memory() -> str:
    return ""


class JournalDesk:
    """Answers questions about the journal of a directory; each looks anew, and only a little.

    ``is_live``: a gateway writes it, so a large file is not read from end to end in one go.
    ``memory`` names the journal in memory, as long as it stands in for the file.
    """

    def __init__(
        self,
        directory: Path,
        terms: Terms,
        now: Callable[[], float],
        *,
        is_live: bool,
        examined: int = EXAMINED,
        most_bytes: int = MOST_BYTES,
        memory: Callable[[], str] = _no_memory,
    ) -> None:
        self._directory = directory
        self._terms = terms
        self._now = now
        self._is_live = is_live
        self._examined = examined
        self._most_bytes = most_bytes
        self._memory = memory

    def answer(self, question: Question) -> Reply:
        """One answer. Raises BadCommand, JournalUnusable and sqlite3.Error."""
        what = question.get("what")
        if not isinstance(what, str) or what not in _ASKED:
            raise BadCommand(f"what is {json.dumps(what)[:32]}, not one of {', '.join(WHAT)}")
        known = ("ask", "what", *_ASKED[what])
        if unknown := [name for name in question if name not in known]:
            takes = ", ".join(_ASKED[what]) or "nothing"
            raise BadCommand(f"{what} knows no {unknown[0][:32]!r}: it takes {takes}")
        asked = {name: value for name, value in question.items() if value is not None}
        with self._look() as look:
            if what == "status":
                shown = status(look, self._directory, self._terms, self._now())
                return {"ok": True, "status": shown}
            return self._list(look, asked) if what == "list" else self._verify(look, asked)

    def _look(self) -> JournalLook:
        memory = self._memory()
        return JournalLook.in_memory(memory) if memory else JournalLook.open(self._directory)

    def _list(self, look: JournalLook, asked: Question) -> Reply:
        limit = _whole("limit", asked.get("limit", USUAL), 1, MOST)
        wanted = replace(wanted_of(asked), gateway=self._terms.gateway)
        found = page(look, wanted, _place(asked), limit, self._most_bytes, self._examined)
        at = found.place
        return {
            "ok": True,
            "messages": found.messages,
            "damaged": found.damaged,
            "place": at and {lane: [one.epoch, one.seq, one.reached] for lane, one in at.items()},
        }

    def _verify(self, look: JournalLook, asked: Question) -> Reply:
        is_whole = not self._is_live or _size(self._directory / FILE) <= FULL_CHECK_BYTES
        checked = verify(look, _progress(asked), is_whole=is_whole, examined=self._examined)
        at = checked.progress
        return {
            "ok": True,
            "findings": [asdict(finding) for finding in checked.findings],
            "examined": checked.examined,
            "whole": is_whole,
            "place": None if at is None else {at.lane: [at.epoch, at.seq]},
        }


def wanted_of(asked: Question) -> Wanted:
    """What a question asks for. Raises BadCommand."""
    lane = _text("lane", asked)
    if lane and lane not in {str(each) for each in Lane}:
        raise BadCommand(f"lane {lane!r} is not {', '.join(Lane)}")
    restricted = asked.get("restricted", False)
    if not isinstance(restricted, bool):
        raise BadCommand("restricted must be true or false")
    late_s = asked.get("late_s")
    if late_s is not None and (isinstance(late_s, bool) or not isinstance(late_s, int | float)):
        raise BadCommand("late_s must be a number")
    return Wanted(
        lanes=(Lane(lane),) if lane else tuple(Lane),
        detector=_text("detector", asked),
        occurrence=_text("occurrence", asked),
        kind=_text("kind", asked),
        since=_time("since", asked),
        until=_time("until", asked),
        restricted=restricted,
        late_s=late_s,
    )


def _text(name: str, asked: Question) -> str:
    value = asked.get(name, "")
    if not isinstance(value, str) or len(value) > TEXT_LIMIT:
        raise BadCommand(f"{name} must be a text of at most {TEXT_LIMIT} characters")
    return value


def _time(name: str, asked: Question) -> float | None:
    text = _text(name, asked)
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError("no offset from UTC")
        return found.timestamp()
    except (ValueError, OverflowError) as error:
        raise BadCommand(
            f"{name} {text!r} is no time such as 2026-05-02T14:03:10Z: {error}"
        ) from None


def _whole(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadCommand(f"{name} must be a whole number from {least} to {most}")
    return value


def _place(asked: Question) -> Place | None:
    given = asked.get("place")
    if given is None:
        return None
    return {
        lane: LanePlace(
            _whole("place", epoch, 0, _LARGEST), _whole("place", seq, 0, _LARGEST), reached
        )
        for lane, (epoch, seq, reached) in _numbers_of(given, 3)
    }


def _progress(asked: Question) -> Progress | None:
    given = asked.get("place")
    if given is None:
        return None
    places = _numbers_of(given, 2)
    if len(places) != 1:
        raise BadCommand("place is not one of an answer")
    ((lane, (epoch, seq)),) = places
    return Progress(lane, _whole("place", epoch, 0, _LARGEST), _whole("place", seq, 1, _LARGEST))


def _numbers_of(given: object, count: int) -> list[tuple[Lane, list[Any]]]:
    """The numbers of each lane of a place. Raises BadCommand."""
    lanes = {str(lane): lane for lane in Lane}
    if not isinstance(given, dict) or not given.keys() <= lanes.keys():
        raise BadCommand("place is not one of an answer")
    for numbers in given.values():
        if not isinstance(numbers, list) or len(numbers) != count:
            raise BadCommand("place is not one of an answer")
        if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers):
            raise BadCommand("place is not one of an answer")
    return [(lanes[name], numbers) for name, numbers in given.items()]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


REFUSING: Final = (BadCommand, JournalUnusable, sqlite3.Error)
"""What an answer may bring about; their texts say why there is none."""
