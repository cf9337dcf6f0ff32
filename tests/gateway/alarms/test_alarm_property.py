"""Promise one: nothing but valid low readings takes an active alarm to returned.

And what holds of every sequence of readings, commands, restarts and clock steps.
"""

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.api import Channel, Flag
from gateway.alarms.profiles import AlarmSettings, DetectorProfile

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


# Several detectors, everybody's commands.

NAMES = ("a", "b", "p", "x")
PROFILES = (
    DetectorProfile("a", "Network Area Monitor", link="bus", serial="A1"),
    DetectorProfile("b", "Personal Radiation Detector", link="bus"),
    DetectorProfile("p", "Portal Monitor", link="bus"),
    DetectorProfile("x", "Network Area Monitor", link="bus", exercise=True),
)
USERS = (
    {"id": "anna", "roles": ["assessor", "custodian", "exercise_leader"]},
    {"id": "berta", "roles": ["operator"]},
    {"id": "otto", "roles": ["officer"], "detectors": ["a"]},
)
DETECTOR = st.sampled_from(NAMES)
LIMIT = st.sampled_from([1, 5, 30, 120])
OF_DETECTOR = st.sampled_from(
    [
        ("shelve", {"level": "R3"}),
        ("shelve", {"level": "R5"}),
        ("shelve", {"level": "H1"}),
        ("unshelve", {"level": "R3"}),
        ("maintenance", {"on": True}),
        ("maintenance", {"on": False}),
        ("test_source", {"on": True}),
        ("duty", {"state": "off_duty"}),
        ("duty", {"state": "on_duty"}),
        ("baseline", {"mode": "accept"}),
        ("replace", {"serial_number": "B2"}),
        ("commission", {}),
        ("report", {"text": "x"}),
        ("stop_exercise", {}),
    ]
)
OF_ALARM = st.sampled_from(
    [
        ("acknowledge", {}),
        ("acknowledge", {}),
        ("reset", {}),
        ("silence", {}),
        ("close", {}),
        ("assess", {"state": "closed", "disposition": "innocent_norm"}),
    ]
)
USER = st.sampled_from(["anna", "anna", "berta", "otto", "nobody"])
ACTIONS = {
    "dose": st.tuples(DETECTOR, st.sampled_from([0.1, 0.3, 0.6, 30.0, 150.0, 2e5])),
    "clears": st.tuples(DETECTOR, st.integers(1, 13)),
    "bad": st.tuples(DETECTOR, st.sampled_from(["fault", "none", "over", "old"])),
    "declare": st.tuples(DETECTOR, st.sampled_from(["gamma", "neutron"]), st.integers(0, 1)),
    "link": st.tuples(DETECTOR, st.booleans()),
    "gap": st.tuples(st.sampled_from([1, 4, 40])),
    "order": st.tuples(OF_DETECTOR, DETECTOR, USER, LIMIT),
    "handle": st.tuples(OF_ALARM, st.integers(0, 3), USER, LIMIT),
    "step": st.tuples(st.sampled_from([3600.0, -7200.0])),
    "restart": st.tuples(st.sampled_from([0.0, 20.0]), st.booleans()),
}
OFTEN = ("dose", "dose", "clears", "clears", "clears", "order", "order", "handle", "handle")
STORY = st.lists(
    st.one_of(*(st.tuples(st.just(name), ACTIONS[name]) for name in (*ACTIONS, *OFTEN))),
    min_size=25,
    max_size=50,
)


class Story:
    """Acts on a fleet and looks at it after each action."""

    def __init__(self, fleet_type, *, steps=True):
        self.fleet = fleet_type(*PROFILES, users=USERS)
        self.fleet.speaking.clear()
        self.oracles = {name: Oracle() for name in NAMES}
        self.steps = steps
        self.seen = 0

    def play(self, story, look=lambda self: None):
        for name, arguments in story:
            getattr(self, name)(*arguments)
            look(self)
        return self

    @property
    def news(self):
        found = self.fleet.changes[self.seen :]
        self.seen = len(self.fleet.changes)
        return found

    def dose(self, detector, value):
        self.fleet.wait()
        if value < 0.4:
            self.oracles[detector].clear(self.fleet.mono, 3.0)
        else:
            self.oracles[detector].broken()
        self.fleet.dose(self.fleet.varied(value), detector=detector)

    def clears(self, detector, times):
        for _ in range(times):
            self.dose(detector, 0.1)

    def bad(self, detector, how):
        self.fleet.wait()
        if how == "old":
            self.fleet.dose(0.1, detector=detector, age_s=60.0)
            return
        self.oracles[detector].broken()
        flag = {"fault": Flag.INSTRUMENT_FAULT, "over": Flag.OVER_RANGE}.get(how, Flag.STALE)
        self.fleet.dose(0.1 if how == "fault" else None, flag, detector=detector)

    def declare(self, detector, part, value):
        self.fleet.wait()
        self.fleet.declare(Channel.DEVICE_ALARM, value, part, detector=detector)

    def link(self, detector, up):
        self.fleet.keep(self.fleet.engine.link(detector, up, "pulled", self.fleet.now))

    def gap(self, seconds):
        self.fleet.wait(seconds)

    def order(self, command, detector, user, limit_s):
        name, more = command
        given = {"detector": detector, "duration_s": limit_s, "reason": "r", **more}
        self.fleet.command(name, user, **given)
        self.fleet.tick()

    def handle(self, command, number, user, limit_s):
        name, more = command
        found = sorted(self.fleet.engine.active(), key=lambda one: (one.priority, one.occurrence))
        if found:
            occurrence = found[number % len(found)].occurrence
            given = {"occurrence": occurrence, "duration_s": limit_s, "reason": "r", **more}
            self.fleet.command(name, user, **given)
        self.fleet.tick()

    def step(self, seconds):
        if self.steps:
            self.fleet.wall += seconds

    def restart(self, off_s, same_boot):
        for oracle in self.oracles.values():
            oracle.broken()
        self.fleet.restart(off_s, same_boot)
        self.fleet.tick()


def only_valid_low_readings_return(told):
    for change in told.news:
        record = change.record
        if change.event == "returned" and record.alarm == "dose_rate":
            assert told.oracles[record.detector].covered >= 10.0
        if change.event == "closed" and record.is_radiation:
            was_supervised = change.actor != ""
            assert record.returned_at is not None or (record.closed_unverified and was_supervised)


def orders_hide_while_they_last(told):
    """And a suppressed alarm is said by one that is open."""
    engine, now = told.fleet.engine, told.fleet.now
    records = engine.active()
    open_ones = {record.occurrence: record for record in records}
    for home in engine._homes.all():
        orders = home.book.orders
        assert all(order.until > now.mono for order in orders.all())
        assert set(orders.silenced) <= set(open_ones)
        for record in home.book.records.values():
            assert (record.shelved, record.out_of_service) == orders.hides(record)
            assert record.silenced is (record.occurrence in orders.silenced)
            if record.priority == 1 and record.is_radiation:
                assert not record.out_of_service
    for record in records:
        if record.suppressed_by:
            by = open_ones[record.suppressed_by]
            assert by.exercise is record.exercise
            assert by.alarm == ("dose_rate" if record.is_radiation else "silence")


@settings(max_examples=150, deadline=None)
@given(STORY)
def test_nothing_else_returns_an_alarm_whatever_is_ordered(fleet_type, story):
    Story(fleet_type).play(story, only_valid_low_readings_return)


@settings(max_examples=150, deadline=None)
@given(STORY)
def test_nothing_hides_longer_than_its_cause(fleet_type, story):
    Story(fleet_type).play(story, orders_hide_while_they_last)


def shown(record):
    return (
        record.revision,
        record.level,
        record.priority,
        record.display,
        record.stale,
        record.silenced,
        record.members,
        record.incident,
    )


@settings(max_examples=150, deadline=None)
@given(STORY)
def test_the_history_tells_all(fleet_type, story):
    """Folded, it gives what is active; each occurrence is raised once and counted without gaps."""
    fold, raised, revisions = {}, set(), {}

    def look(told):
        for change in told.news:
            record = change.record
            name = record.occurrence
            if change.event == "raised":
                assert name not in raised
                raised.add(name)
            second = change.event == "acknowledged" and revisions.get(name) == record.revision
            if not second:
                assert record.revision == revisions.get(name, 0) + 1, change.event
            revisions[name] = record.revision
            assert fold.get(name, record).closed_at is None
            fold[name] = record
        active = {record.occurrence: shown(record) for record in told.fleet.engine.active()}
        open_ones = {name: one for name, one in fold.items() if one.closed_at is None}
        assert {name: shown(one) for name, one in open_ones.items()} == active
        objects = [
            (one.detector, one.alarm, one.exercise)
            for one in open_ones.values()
            if one.alarm != "report"
        ]
        assert len(objects) == len(set(objects))
        kept = {key for key, state in told.fleet.states.items() if state and "/" not in key}
        assert kept == set(active)

    Story(fleet_type).play(story, look)


@settings(max_examples=100, deadline=None)
@given(STORY)
def test_the_wall_clock_decides_nothing(fleet_type, story):
    """DT-51. Over another boot there is no other clock, so restarts keep theirs."""
    story = [
        (name, (arguments[0], True) if name == "restart" else arguments)
        for name, arguments in story
    ]

    def history(steps):
        changes = Story(fleet_type, steps=steps).play(story).fleet.changes
        return [(one.event, shown(one.record), one.at.mono, one.note) for one in changes]

    assert history(True) == history(False)
