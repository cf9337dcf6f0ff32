"""A detector on a bench in virtual time."""

from itertools import count

import pytest

from drivers.api import Channel, Flag, Passage, Quantity, Reading
from gateway.alarms.engine import AlarmEngine
from gateway.alarms.profiles import AlarmSettings, DetectorProfile
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
