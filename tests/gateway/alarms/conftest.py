"""A detector on a bench in virtual time."""

from itertools import count

import pytest

from config.models import User
from drivers.api import Channel, Flag, Passage, Quantity, Reading
from gateway.alarms.budget import Budget
from gateway.alarms.engine import AlarmEngine
from gateway.alarms.profiles import AlarmSettings, DetectorProfile
from gateway.alarms.rights import Rights
from gateway.values import Command, CountBasis, Instant, Measured, PassageRecord

QUANTITY = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE


class Rig:
    """One engine, one detector "d"; ``mono`` starts at 1000 s, ``wall`` at 1.7e9 s."""

    def __init__(self, settings=None, **profile):
        self.settings = settings or AlarmSettings()
        self.profile = DetectorProfile("d", **{"detector_class": "Network Area Monitor", **profile})
        self.ids = count(1)
        self.mono, self.wall = 1000.0, 1.7e9
        self.changes = []
        self.start()

    def start(self):
        self.engine = AlarmEngine({"d": self.profile}, self.settings, lambda: f"o{next(self.ids)}")

    @property
    def now(self):
        return Instant(self.wall, self.mono)

    def wait(self, seconds, tick=True):
        self.mono += seconds
        self.wall += seconds
        if tick:
            self._keep(self.engine.tick(self.now))

    def _keep(self, changes):
        self.changes += changes
        return [str(change.event) for change in changes]

    def sample(self, *readings, flags=(), counts=None, occupied=None, age_s=0.0):
        measured = Measured(
            "d", self.now.earlier(age_s), self.now, readings, flags=flags, counts=counts,
            occupied=occupied,
        )  # fmt: skip
        return self._keep(self.engine.measured(measured, self.now))

    def dose(self, value, *flags, bound=None, **more):
        reading = Reading(Channel.DOSE_RATE, value, "µSv/h", QUANTITY, flags, bound)
        return self.sample(reading, **more)

    def doses(self, *values, step=1.0):
        events = []
        for value in values:
            self.wait(step)
            events += self.dose(value)
        return events

    def counts(self, counts, live_s=1.0, k=0.18, independent=False, **more):
        """Counts and the estimate made of them."""
        basis = CountBasis(counts, live_s, k, independent)
        return self.dose(counts / live_s * k, Flag.ESTIMATED_FROM_COUNTS, counts=basis, **more)

    def state(self, channel, value, part="", **more):
        return self.sample(Reading(channel, value, "1", part=part), **more)

    def passage(self, gamma=False, neutron=False, ago=5.0, flags=(), gamma_max=None):
        told = Passage(1, ago, 0.0, gamma, neutron, gamma_max, "5x200ms", flags=flags)
        record = PassageRecord("d", told, self.now.earlier(ago), self.now, self.now, flags)
        return self._keep(self.engine.passage(record, self.now))

    def link(self, up, reason=""):
        return self._keep(self.engine.link("d", up, reason, self.now))

    def command(self, name, user="anna", **arguments):
        command = Command(name, user, "c", tuple(arguments.items()))
        answer, changes = self.engine.command(command, self.now)
        return answer, self._keep(changes)

    def acknowledge(self, occurrence, user="anna", **more):
        return self.command("acknowledge", user, occurrence=occurrence, **more)

    def reset(self, occurrence):
        return self.command("reset", "berta", occurrence=occurrence)

    def restart(self, mono=5.0, off_s=0.0):
        """Kill the engine and start it on a later boot with another monotonic clock."""
        states = {r.occurrence: self.engine.state_bytes(r.occurrence) for r in self.engine.active()}
        self.start()
        self.mono, self.wall = mono, self.wall + off_s
        return self._keep(self.engine.restore(states, self.now))

    def alarm(self, name="dose_rate"):
        found = [record for record in self.engine.active() if record.alarm == name]
        return found[0] if found else None

    def told(self, name="dose_rate"):
        return [str(c.event) for c in self.changes if c.record.alarm == name]


@pytest.fixture
def rig():
    return Rig


@pytest.fixture(scope="session")
def rig_type():
    return Rig


class Fleet:
    """Several detectors; ``states`` holds what a journal would, so a restart is a kill.

    Those in ``speaking`` give some 0.1 µSv/h with each second that passes.
    """

    def __init__(self, *profiles, users=(), operators=1):
        self.profiles = {profile.detector: profile for profile in profiles}
        self.users = [User.model_validate(user) for user in users]
        self.settings = AlarmSettings(Budget(operators=operators))
        self.ids = count(1)
        self.mono, self.wall, self.boot = 1000.0, 1.7e9, "boot-1"
        self.changes, self.states, self.assessed = [], {}, []
        self.speaking = set(self.profiles)
        self.stand_ins, self.exercise = {}, False
        self.start()

    def start(self):
        self.engine = AlarmEngine(
            self.profiles,
            self.settings,
            lambda: f"o{next(self.ids)}",
            rights=Rights(self.users),
            stand_ins=self.stand_ins,
            posts=frozenset(("gate-1", "gate-3")),
            boot=self.boot,
            exercise=self.exercise,
        )

    @property
    def now(self):
        return Instant(self.wall, self.mono)

    def keep(self, changes):
        self.changes += changes
        for change in changes:
            name = change.record.occurrence
            self.states[name] = self.engine.state_bytes(name)
        for assessment in self.engine.take_assessments():
            self.assessed.append(assessment)
            key, state = self.engine.assessment_state(assessment.occurrence)
            self.states[key] = state
        return [str(change.event) for change in changes]

    def tick(self):
        events = self.keep(self.engine.tick(self.now))
        self.states.update(self.engine.saved(self.now))
        return events

    def wait(self, seconds=1.0, step=1.0):
        """Time passes in steps; what was told meanwhile."""
        events = []
        for _ in range(round(seconds / step)):
            self.mono += step
            self.wall += step
            for name in sorted(self.speaking):
                events += self.dose(self.varied(0.1), detector=name)
            events += self.tick()
        return events

    def varied(self, value):
        """A little more, another bit each second: no instrument says the same for ever."""
        return value * (1 + int(self.mono) % 7 / 1000)

    def sample(self, *readings, detector="d", age_s=0.0, **more):
        at = self.now.earlier(age_s)
        measured = Measured(detector, at, self.now, readings, **more)
        return self.keep(self.engine.measured(measured, self.now))

    def dose(self, value, *flags, detector="d", **more):
        reading = Reading(Channel.DOSE_RATE, value, "µSv/h", QUANTITY, flags)
        return self.sample(reading, detector=detector, **more)

    def declare(self, channel, value, part="", **more):
        return self.sample(Reading(channel, value, "1", part=part), **more)

    def hold(self, value, seconds, detector="d"):
        """That dose rate each second; what was told meanwhile."""
        events, spoke = [], detector in self.speaking
        self.speaking.discard(detector)
        for _ in range(seconds):
            events += self.wait() + self.dose(self.varied(value), detector=detector)
        if spoke:
            self.speaking.add(detector)
        return events

    def command(self, name, user="anna", **arguments):
        given = Command(name, user, "c", tuple(arguments.items()))
        answer, changes = self.engine.command(given, self.now)
        self.told = self.keep(changes)
        if answer.accepted:
            self.states.update(self.engine.saved(self.now))
        return answer

    def does(self, name, user="anna", **arguments):
        """A command that must be accepted; what it told."""
        answer = self.command(name, user, **arguments)
        assert answer.accepted, answer.reason
        return self.told

    def refuses(self, name, user="anna", **arguments):
        """A command that must be refused and change nothing; why it was."""
        before = [(one.occurrence, one.revision) for one in self.engine.active()]
        answer = self.command(name, user, **arguments)
        assert not answer.accepted
        assert self.told == []
        assert [(one.occurrence, one.revision) for one in self.engine.active()] == before
        assert answer.reason
        return answer.reason

    def restart(self, off_s=0.0, same_boot=False, wall_step=0.0):
        """Killed, and started again after ``off_s``; the monotonic clock goes on or begins anew."""
        self.wall += off_s + wall_step
        if same_boot:
            self.mono += off_s
        else:
            self.mono, self.boot = 5.0, f"{self.boot}+"
        self.start()
        states = {key: state for key, state in self.states.items() if state}
        return self.keep(self.engine.restore(states, self.now))

    def find(self, alarm="dose_rate", detector="d"):
        """The open alarm of that kind, or None."""
        found = [
            one for one in self.engine.active() if (one.detector, one.alarm) == (detector, alarm)
        ]
        return found[0] if found else None

    def events(self, alarm="dose_rate", detector="d"):
        return [
            str(change.event)
            for change in self.changes
            if (change.record.detector, change.record.alarm) == (detector, alarm)
        ]


@pytest.fixture
def fleet():
    return Fleet


@pytest.fixture(scope="session")
def fleet_type():
    return Fleet
