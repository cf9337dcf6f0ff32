"""Promise one: nothing but valid low readings takes an active alarm to returned."""

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.api import Channel, Flag
from gateway.alarms.profiles import AlarmSettings

CLEAR = st.tuples(st.just("dose"), st.sampled_from([0.1, 0.3]))
INPUT = st.one_of(
    CLEAR,
    CLEAR,
    CLEAR,
    st.tuples(st.just("dose"), st.sampled_from([0.45, 0.6, 30.0, 150.0])),
    st.tuples(st.just("clears"), st.integers(1, 12)),
    st.tuples(
        st.sampled_from(
            ["fault", "none", "estimate", "over", "gap", "long_gap", "restart", "down", "up"]
        ),
        st.just(0),
    ),
    st.tuples(st.sampled_from(["acknowledge", "reset", "switched_off", "old"]), st.just(0)),
)


class Oracle:
    """Valid readings below every clear level in a row: since when, and the last one."""

    def __init__(self):
        self.since = self.last = None

    def clear(self, at, gap_s):
        if self.since is None or at - self.last > gap_s:
            self.since = at
        self.last = at

    def broken(self):
        self.since = self.last = None

    @property
    def covered(self):
        return 0.0 if self.since is None else self.last - self.since


@settings(max_examples=300, deadline=None)
@given(st.lists(INPUT, min_size=5, max_size=80))
def test_nothing_but_valid_low_readings_returns_an_alarm(rig_type, inputs):
    bench, oracle, boots = rig_type(AlarmSettings(off_delay_s=10.0)), Oracle(), count(5)

    def low(value):
        bench.wait(1)
        oracle.clear(bench.mono, bench.profile.silence_limit_s)
        return bench.dose(value)

    bench.doses(150.0)
    for name, value in inputs:
        before = bench.alarm()
        events = []
        # To R8 alone, which has no number, any valid reading is low.
        lowest = 0.5 if before and before.held == ("R8",) else 0.4
        if name == "dose" and value < lowest:
            events = low(value)
        elif name == "clears":
            for _ in range(value):
                events += low(0.2)
        elif name == "dose":
            oracle.broken()
            events = bench.doses(value)
        elif name in ("fault", "none", "over"):
            oracle.broken()
            flag = {"fault": Flag.INSTRUMENT_FAULT, "over": Flag.OVER_RANGE}.get(name, Flag.STALE)
            bench.wait(1)
            events = bench.dose(0.1 if name == "fault" else None, flag)
        elif name == "estimate":
            bench.wait(1)
            events = bench.counts(0)
        elif name == "old":
            bench.wait(1)
            events = bench.dose(0.1, age_s=60.0)
        elif name in ("gap", "long_gap"):
            bench.wait(3.5 if name == "gap" else 500.0)
        elif name == "restart":
            oracle.broken()
            events = bench.restart(mono=float(next(boots)))
        elif name in ("down", "up"):
            events = bench.link(name == "up")
        elif name == "switched_off":
            bench.wait(1)
            events = bench.state(Channel.DEVICE_FAULT, 1, "switched_off")
        elif name == "acknowledge" and before:
            events = bench.acknowledge(before.occurrence)[1]
        elif name == "reset" and before:
            events = bench.reset(before.occurrence)[1]
        after = bench.alarm()
        was_active = before is not None and before.active
        is_active = after is not None and after.active
        if was_active and not is_active:
            assert oracle.covered >= 10.0, (name, events)
            assert name in ("dose", "clears")
