"""History finds the newest events of an alarm, whatever of the journal is gone."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import replay
from gateway.alarms.lifecycle import Refusal
from gateway.journal.record import Record
from gateway.values import Command, Lane

EPOCH = 5


class Shelf:
    """A journal with holes: kept records by lane, epoch and number."""

    epoch = EPOCH

    def __init__(self, records):
        self.records = sorted(records, key=lambda one: (one.lane, one.epoch, one.seq))

    def newest(self):
        own = [one for one in self.records if one.epoch == EPOCH]
        return {lane: max((o.seq for o in own if o.lane is lane), default=0) for lane in Lane}

    def read(self, lane, span, limit):
        found = [
            one
            for one in self.records
            if one.lane is lane and one.epoch == span.epoch and span.first <= one.seq <= span.last
        ]
        future = asyncio.get_running_loop().create_future()
        future.set_result(found[:limit])
        return future


class Reader:
    def __init__(self, takes=True):
        self.sent, self.takes = [], takes

    def resend_records(self, records):
        self.sent += records
        return self.takes


def record(lane, epoch, seq, occurrence, topic="alarm/event"):
    body = json.dumps({"occurrence": occurrence, "detector": "d", "note": "o1 o2"}).encode()
    return Record(lane, epoch, seq, topic, body)


RECORDS = st.dictionaries(
    st.tuples(
        st.sampled_from([Lane.ALARMS, Lane.EXERCISE_ALARMS]),
        st.integers(1, EPOCH),
        st.integers(1, 3000),
    ),
    st.tuples(st.sampled_from(["o1", "o2"]), st.sampled_from(["alarm/event", "assessment/o1"])),
    max_size=40,
)


@given(RECORDS, st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_exactly_the_newest_that_are_kept_are_found_in_their_order(kept, limit):
    records = [record(*key, *what) for key, what in kept.items()]
    wanted = [
        one
        for lane in (Lane.ALARMS, Lane.EXERCISE_ALARMS)
        for one in sorted(records, key=lambda one: (-one.epoch, -one.seq))
        if one.lane is lane and b'"occurrence": "o1"' in one.body and one.topic == "alarm/event"
    ]
    reader = Reader()
    command = Command("history", "vera", "c", (("occurrence", "o1"), ("limit", limit)))
    said = asyncio.run(replay.history(command, Shelf(records), reader))
    assert reader.sent == wanted[:limit][::-1]
    more = ", there may be older ones" if len(wanted) > limit else ""
    assert said == f"{min(limit, len(wanted))} sent again{more}"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "of an occurrence or of a detector"),
        ({"occurrence": "o", "detector": "d"}, "of an occurrence or of a detector"),
        ({"occurrence": "o", "limit": 0}, "limit: '0' is not a whole number above 0"),
        ({"occurrence": "o", "limit": 1001}, "at most 1000 events"),
        ({"occurrence": "o", "limit": "²"}, "is not a whole number"),
    ],
)
async def test_what_history_does_not_take(arguments, reason):
    command = Command("history", "vera", "c", tuple(arguments.items()))
    with pytest.raises(Refusal, match=reason):
        await replay.history(command, Shelf([]), Reader())


async def test_a_sink_that_is_busy_with_it_already_says_so():
    command = Command("history", "vera", "c", (("detector", "d"),))
    with pytest.raises(Refusal, match="too much is being sent again"):
        await replay.history(command, Shelf([record(Lane.ALARMS, 5, 1, "o1")]), Reader(takes=False))
