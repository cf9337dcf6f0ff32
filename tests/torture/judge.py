"""A journal's directory after whatever happened, opened with the real journal and judged."""

import math
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.journal.file import FILE
from gateway.journal.journal import Journal
from gateway.values import Entry, Lane

SINK = "site"
NUMBER = re.compile(rb'"n":(\d{1,9})[,}]')
CUT_S = 1.5
"""What a power cut may cost of samples, 1 s, and half a second for the machine and strace."""


class Nobody:
    """Follows the journal to learn what is owed."""

    def offer(self, records: object) -> None:
        """Nothing is wanted."""

    def cursors(self) -> dict[Lane, Any]:
        """Nothing has moved."""
        return {}


async def numbers_of(journal: Journal, lane: Lane, sink: str) -> AsyncIterator[Any]:
    """All records of a lane that a sink without acknowledgements is owed."""
    for span in journal.follow(sink, Nobody())[lane].backlog:
        for record in await journal.read(lane, span, 1_000_000):
            yield record


async def check_journal(
    place: Path, told: Any, *, samples_before: float = -math.inf, is_told: bool = False
) -> None:
    """Everything that was told is in it, it is sound, and it takes more.

    Samples are wanted that were handed over before a monotonic time. With ``is_told`` it may have
    been replaced: what was confirmed is there all the same.
    """
    journal = await Journal.open(place, [SINK])
    try:
        assert is_told or not journal.notices, journal.notices
        assert journal.epoch > max(told.epochs, default=0)
        urgent = {number(r) async for r in numbers_of(journal, Lane.ALARMS, SINK)}
        missing = told.confirmed - urgent
        assert not missing, f"confirmed before the cut and gone: {sorted(missing)}"
        engine = int(journal.states().get("engine", b"0"))
        assert engine == max(urgent, default=0), "an alarm event without its state"
        there = {number(r) async for r in numbers_of(journal, Lane.SAMPLES, SINK)}
        old = {n for *ends, at in told.samples if at < samples_before for n in ends}
        assert not old - there, f"samples gone: {sorted(old - there)[:9]}"
        entry = Entry(Lane.ALARMS, "alarm/event", b'{"n":0,"more":1}')
        assert await journal.commit([entry])
    finally:
        await journal.close()
    with closing(sqlite3.connect(place / FILE)) as con:
        assert con.execute("PRAGMA quick_check").fetchall() == [("ok",)]


def number(record: Any) -> int:
    """The driver's own; 0 for what the journal itself has to say, and for what is damaged."""
    found = NUMBER.search(record.body)
    return int(found[1]) if found else 0
