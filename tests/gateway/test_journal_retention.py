"""What the journal deletes by age and for room, and what it says about it."""

import asyncio
import json
import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.journal.file import FILE
from gateway.journal.journal import Journal
from gateway.journal.losses import WAITING, LossReport
from gateway.journal.record import Batch, Group, JournalLimits, Outcome, Record, Refusal, Urgent
from gateway.journal.retention import AGED, EVIDENCE_S, NO_ROOM
from gateway.journal.spans import Cursor, Cursors, Span, Spans
from gateway.journal.store import Store
from gateway.values import Entry, Instant, Lane, Notice
from gateway.wire.delivery import Lost

DAY_S = 86_400
YEARS_S = 10 * 365 * DAY_S
LIMITS = JournalLimits(keep_s=30 * DAY_S, keep_alarms_s=400 * DAY_S)


class Disk:
    """A store of two sinks, written to as a gateway of epoch 1 would."""

    def __init__(self, directory: Path, limits: JournalLimits = LIMITS) -> None:
        self.store = Store(directory, limits.max_bytes, ["hall", "mobile"], limits)
        self.store.open()
        self.store.begin_epoch(1, {}, damaged=False)
        self.path = directory / FILE
        self.ran = 10_000
        self.wall = 1_780_000_000.0
        self.last = dict.fromkeys(Lane, 0)

    def write(self, **parts: object) -> Outcome:
        outcome = self.store.write(Batch(wall=self.wall, ran=self.ran, **parts))  # type: ignore[arg-type]
        assert not outcome.error
        return outcome

    def samples(self, count: int = 1, pad: int = 10, lane: Lane = Lane.SAMPLES) -> Outcome:
        noise = random.Random(self.last[lane])
        records = [
            Record(
                lane, 1, self._next(lane), "detector/a/sample", noise.randbytes(pad).hex().encode()
            )
            for _ in range(count)
        ]
        return self.write(groups=[Group(lane, records)])

    def alarm(self, lane: Lane = Lane.ALARMS, topic: str = "alarm/event") -> None:
        record = Record(lane, 1, self._next(lane), topic, b"{}")
        self.write(urgent=[Urgent([record])])

    def delivered(
        self, *sinks: str, lane: Lane = Lane.SAMPLES, backlog: Sequence[Span] = ()
    ) -> None:
        cursor = Cursor(1, self.last[lane], tuple(backlog)).encode()
        self.write(cursors=[(sink, lane, cursor) for sink in sinks])

    def later(self, seconds: float) -> None:
        self.ran += int(seconds)
        self.wall += seconds

    def settle(self) -> list[Outcome]:
        """Some minutes in which nothing is stored."""
        outcomes = []
        for _ in range(60):
            self.later(1)
            outcomes.append(self.write())
        return outcomes

    def kept(self, lane: Lane = Lane.SAMPLES) -> list[int]:
        query = "SELECT first, count FROM groups WHERE lane = ? ORDER BY first"
        if lane.is_alarm:
            query = "SELECT seq, 1 FROM events WHERE lane = ? ORDER BY seq"
        return [
            seq for first, count in self.rows(query, lane) for seq in range(first, first + count)
        ]

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        con = sqlite3.connect(self.path)
        found = con.execute(query, values).fetchall()
        con.close()
        return found

    def _next(self, lane: Lane) -> int:
        self.last[lane] += 1
        return self.last[lane]


def test_delivered_samples_go_when_they_are_old_and_leave_a_tombstone(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    for _ in range(5):
        disk.samples()
        disk.later(1)
    disk.delivered("hall", "mobile")
    disk.later(29 * DAY_S)
    disk.settle()
    assert disk.kept() == [1, 2, 3, 4, 5]
    disk.later(DAY_S)
    disk.samples()
    disk.settle()
    assert disk.kept() == [6]
    tombs = disk.rows("SELECT lane, epoch, first, last, count, reason, sinks, told FROM lost")
    assert tombs == [("samples", 1, 1, 5, 5, AGED, "[]", 1)]
    disk.store.close()


def test_what_one_sink_is_owed_is_not_deleted_for_its_age(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    for _ in range(3):
        disk.samples()
    disk.delivered("hall")
    disk.delivered("mobile", backlog=[Span(1, 2, 2)])
    disk.later(5000 * DAY_S)
    disk.settle()
    assert disk.kept() == [2]
    disk.delivered("mobile")
    disk.later(DAY_S)  # what was owed is looked at again
    disk.settle()
    assert disk.kept() == []
    disk.store.close()


def test_a_wall_clock_ten_years_ahead_expires_nothing(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.samples()
    disk.alarm()
    disk.delivered("hall", "mobile")
    disk.delivered("hall", "mobile", lane=Lane.ALARMS)
    disk.wall += YEARS_S
    disk.samples()
    disk.settle()
    assert disk.kept() == [1, 2]
    assert disk.kept(Lane.ALARMS) == [1]
    disk.wall -= 2 * YEARS_S
    disk.settle()
    assert disk.kept() == [1, 2]
    disk.store.close()


def test_samples_around_an_alarm_are_kept_as_long_as_alarms(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.samples()  # 1: too early
    disk.later(100)
    disk.samples()  # 2: before
    disk.samples(lane=Lane.EXERCISE_SAMPLES)
    disk.later(EVIDENCE_S)
    disk.alarm()
    disk.later(EVIDENCE_S)
    disk.samples()  # 3: after
    disk.later(1)
    disk.samples()  # 4: too late
    disk.later(EVIDENCE_S)
    disk.alarm(topic="command/a/result")
    disk.samples()  # 5: an answer is no alarm
    for lane in Lane:
        disk.delivered("hall", "mobile", lane=lane)
    disk.later(31 * DAY_S)
    disk.settle()
    assert disk.kept() == [2, 3]
    assert disk.kept(Lane.EXERCISE_SAMPLES) == []
    assert disk.kept(Lane.ALARMS) == [1, 2]
    disk.later(401 * DAY_S)
    disk.settle()
    assert disk.kept() == []
    assert disk.kept(Lane.ALARMS) == []
    disk.store.close()


def test_a_stepped_clock_makes_no_evidence_common(tmp_path: Path) -> None:
    """A step between sample and alarm: the running time still knows that they belong together."""
    disk = Disk(tmp_path)
    disk.samples()
    disk.wall += YEARS_S
    disk.alarm()
    disk.delivered("hall", "mobile")
    disk.later(31 * DAY_S)
    disk.settle()
    assert disk.kept() == [1]
    disk.store.close()


@pytest.mark.parametrize("lane", [lane for lane in Lane if lane.is_alarm])
def test_owed_alarms_never_go(tmp_path: Path, lane: Lane) -> None:
    disk = Disk(tmp_path)
    disk.alarm(lane)
    disk.delivered("hall", lane=lane)
    disk.later(5000 * DAY_S)
    disk.settle()
    assert disk.kept(lane) == [1]
    disk.store.close()


@pytest.mark.parametrize("lane", [Lane.RESTRICTED, Lane.EXERCISE_RESTRICTED])
def test_answers_are_kept_as_long_as_alarms_and_are_no_evidence(tmp_path: Path, lane: Lane) -> None:
    limits = JournalLimits(max_bytes=3_000_000, keep_s=30 * DAY_S, keep_alarms_s=400 * DAY_S)
    disk = Disk(tmp_path, limits)
    disk.alarm(lane, topic="command/a/result")
    disk.samples()
    disk.samples(lane=Lane.EXERCISE_SAMPLES)
    for of in Lane:
        disk.delivered("hall", "mobile", lane=of)
    disk.later(31 * DAY_S)
    disk.settle()
    assert (disk.kept(), disk.kept(Lane.EXERCISE_SAMPLES)) == ([], [])
    for _ in range(80):
        disk.samples(pad=40_000)
    assert disk.kept(lane) == [1]
    disk.delivered("hall", "mobile")
    disk.later(370 * DAY_S)
    disk.settle()
    assert disk.kept(lane) == []
    disk.store.close()


def test_little_is_deleted_at_once(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    for _ in range(200):
        disk.samples()
    disk.delivered("hall", "mobile")
    disk.later(31 * DAY_S)
    left = []
    for _ in range(8):
        disk.write()
        left.append(len(disk.kept()))
    assert left == [168, 136, 104, 72, 40, 8, 0, 0]
    disk.store.close()


def test_for_room_go_delivered_samples_then_delivered_evidence_then_what_is_owed(
    tmp_path: Path,
) -> None:
    limits = JournalLimits(max_bytes=8_000_000, keep_s=YEARS_S, keep_alarms_s=YEARS_S)
    disk = Disk(tmp_path, limits)
    order: list[str] = []

    def fill(kind: str) -> None:
        disk.later(2 * EVIDENCE_S)
        if kind.endswith("evidence"):
            disk.alarm()
        for _ in range(60):
            disk.samples(pad=20_000)
            kinds[disk.last[Lane.SAMPLES]] = kind

    kinds: dict[int, str] = {}
    for kind in ("owed evidence", "owed", "evidence", "plain"):
        fill(kind)
    owed = [Span(1, 1, 120)]
    disk.delivered("hall", backlog=owed)
    disk.delivered("mobile")
    disk.later(2 * EVIDENCE_S)
    lost: list[Lost] = []
    for _ in range(400):
        lost += disk.samples(pad=20_000).lost
        order += [kinds.pop(number) for number in sorted(set(kinds) - set(disk.kept()))]
    assert list(dict.fromkeys(order)) == ["plain", "evidence", "owed"]
    assert set(kinds.values()) == {"owed evidence"}
    assert disk.kept(Lane.ALARMS) == [1, 2]
    mine = [loss for loss in lost if loss.last is not None and loss.last <= 120]
    assert sum(loss.count for loss in mine) == 60
    assert {(loss.sinks, loss.reason) for loss in mine} == {(("hall",), NO_ROOM)}
    disk.store.close()


def test_quarantined_samples_do_not_fill_the_disk(tmp_path: Path) -> None:
    limits = JournalLimits(max_bytes=3_000_000)
    disk = Disk(tmp_path, limits)
    lost: list[Lost] = []
    for _ in range(200):
        lost += disk.samples(pad=20_000).lost
        number = disk.last[Lane.SAMPLES]
        body = random.Random(number).randbytes(20_000)
        record = Record(Lane.SAMPLES, 1, number, "detector/a/sample", body)
        lost += disk.write(refusals=[Refusal("hall", record, "0x87")]).lost
        disk.delivered("hall", "mobile")
    assert any(loss.sinks == ("hall",) and "refused" in loss.reason for loss in lost)
    assert disk.path.stat().st_size <= limits.max_bytes
    disk.store.close()


class Follower:
    """Keeps what it is offered; acknowledges nothing."""

    def __init__(self, owed: Cursors) -> None:
        self.records: list[Record] = []
        self._owed = owed
        self._more = asyncio.Event()

    def offer(self, records: Sequence[Record]) -> None:
        self.records += records
        self._more.set()

    def cursors(self) -> Cursors:
        return self._owed

    def owe(self, lane: Lane, spans: Spans) -> None:
        raise AssertionError(lane, spans)

    async def until(self, topic: str, number: int) -> list[dict[str, object]]:
        async with asyncio.timeout(10):
            while len(found := [r for r in self.records if r.topic == topic]) < number:
                self._more.clear()
                await self._more.wait()
        return [json.loads(record.body) for record in found]


async def test_what_was_owed_and_deleted_is_told_once_in_the_alarms_lane_of_its_kind(
    tmp_path: Path,
) -> None:
    notices: list[Notice] = []
    limits = JournalLimits(group_s=0.001, max_bytes=3_000_000)
    journal = await Journal.open(tmp_path, ["hall"], limits=limits, notify=notices.append)
    follower = Follower({lane: Cursor(1, 0) for lane in Lane})
    journal.follow("hall", follower)
    noise = random.Random(3)
    lane = Lane.EXERCISE_SAMPLES
    for done in range(1, 81):
        body = b'"%b"' % noise.randbytes(40_000).hex().encode()
        journal.append([Entry(lane, "detector/a/sample", body)])
        await follower.until("detector/a/sample", done)
    told = await follower.until("lost", 1)
    (record,) = [each for each in follower.records if each.topic == "lost"][:1]
    assert record.lane is Lane.EXERCISE_ALARMS
    assert told[0]["kind"] == "lost"
    assert (told[0]["of_lane"], told[0]["of_epoch"], told[0]["first"]) == (lane, 1, 1)
    assert told[0]["sinks"] == ["hall"]
    assert Notice("journal_shedding", True) == _bare(notices[0])
    await journal.close()
    messages = [json.loads(r.body) for r in follower.records if r.topic == "lost"]
    assert sum(each["count"] for each in messages) == journal.counters.shed
    assert len(messages) <= 4

    again = await Journal.open(tmp_path, ["hall"], limits=limits)
    quiet = Follower({})
    again.follow("hall", quiet)
    await again.commit([])
    assert not [record for record in quiet.records if record.topic == "lost"]
    await again.close()


async def test_a_loss_that_was_not_told_is_told_by_the_next_run(tmp_path: Path) -> None:
    disk = Disk(tmp_path, JournalLimits(max_bytes=3_000_000))
    for _ in range(80):
        disk.samples(pad=40_000)
    untold = disk.rows("SELECT sum(count) FROM lost WHERE NOT told")
    assert untold[0][0]
    disk.store.close()
    journal = await Journal.open(tmp_path, ["hall", "mobile"])
    follower = Follower({})
    journal.follow("hall", follower)
    await journal.close()
    messages = [json.loads(r.body) for r in follower.records if r.topic == "lost"]
    assert sum(each["count"] for each in messages) == untold[0][0]
    assert {each["of_epoch"] for each in messages} == {1}
    assert disk.rows("SELECT count(*) FROM lost WHERE NOT told") == [(0,)]


async def test_samples_given_up_before_they_had_a_number_are_told(tmp_path: Path) -> None:
    limits = JournalLimits(group_s=60.0, pending_bytes=2000)
    journal = await Journal.open(tmp_path, ["hall"], limits=limits)
    follower = Follower({})
    journal.follow("hall", follower)
    journal.append([Entry(Lane.SAMPLES, "detector/a/sample", b"1" * 500) for _ in range(10)])
    (told,) = await follower.until("lost", 1)
    assert told["first"] is None
    assert told["last"] is None
    assert told["count"] == journal.counters.unstored[Lane.SAMPLES] > 0
    assert told["sinks"] == ["hall"]
    await journal.close()


async def test_shedding_is_over_a_minute_later(tmp_path: Path) -> None:
    notices: list[Notice] = []
    mono = 0.0
    limits = JournalLimits(group_s=60.0, pending_bytes=2000)
    journal = await Journal.open(
        tmp_path, [], limits=limits, notify=notices.append, now=lambda: Instant(mono, mono)
    )
    journal.append([Entry(Lane.SAMPLES, "detector/a/sample", b"1" * 500) for _ in range(10)])
    mono = 59.0
    journal._incidents.tell_losses()
    assert [notice.present for notice in notices] == [True]
    mono = 61.0
    journal._incidents.tell_losses()
    assert [(notice.kind, notice.present) for notice in notices] == [
        ("journal_shedding", True),
        ("journal_shedding", False),
    ]
    await journal.close()


def test_ranges_are_joined_and_few() -> None:
    report = LossReport()
    for first in range(1, 100, 10):
        report.add([Lost(Lane.SAMPLES, 1, first, first + 9, 10, "r", ("a",))])
    (entry,), spans = report.take()
    assert json.loads(entry.body)["count"] == 100
    assert spans == [(Lane.SAMPLES, Span(1, 1, 100))]
    assert not report
    for first in range(1, 10_000, 10):
        report.add([Lost(Lane.SAMPLES, 1, first, first + 4, 5, "r", ("a",))])
    messages = []
    while report:
        entries, _ = report.take()
        messages += [json.loads(entry.body) for entry in entries]
    assert len(messages) <= WAITING
    assert sum(message["count"] for message in messages) == 5000
    assert (messages[0]["first"], messages[-1]["last"]) == (1, 9995)


def _bare(notice: Notice) -> Notice:
    return Notice(notice.kind, notice.present)
