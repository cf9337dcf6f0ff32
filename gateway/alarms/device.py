"""What instruments declare themselves: alarms, faults, tamper, another identity.

A portal's gamma and neutron alarms are raised with the first alarm sample, never only when the
passage ends, and return when the device shows no alarm, the occupancy has ended and the off-delay
has passed. A background fault usually means a failed detector, but "high" can be a real X-ray
truck beside the portal: look before sending a technician. A handheld's own alarm bits are passed
on marked indicative: makers tune them for a wearer, not for a fleet.
"""

from typing import Final

from drivers.api import Channel, Flag, PassageFlag
from gateway.alarms import lifecycle
from gateway.alarms.book import Book
from gateway.alarms.conditions import OFF, SET, Condition, Delay, Said, step, tick
from gateway.alarms.record import Change, Evidence, Rule, is_radiation
from gateway.alarms.usability import Usability, usability
from gateway.values import Instant, Measured, PassageRecord

_STATES: Final = frozenset({Channel.DEVICE_ALARM, Channel.DEVICE_FAULT, Channel.TAMPER})
_BACKGROUND_PARTS: Final = frozenset(
    {
        "background_high",
        "background_low",
        "neutron_background_high",
        "neutron_background_low",
    }
)
_PORTAL: Final = {"gamma": "portal_gamma", "neutron": "portal_neutron"}
_SWITCHED_OFF: Final = "switched_off"
_FLAG_PART: Final = "flag"
_START_TOLERANCE_S: Final = 2.0
DECLARED: Final = "device_declared"
"""The rule of what instruments declare themselves."""
_RULE: Final = Rule(DECLARED, 1)
_FLAGS: Final = {
    Flag.INSTRUMENT_FAULT: "instrument_fault",
    Flag.IDENTITY_MISMATCH: "identity",
}
_BLINDING: Final = ("instrument_fault", "background_fault")


class DeviceAlarms:
    """The on-off alarms of one detector; times on the monotonic clock."""

    def __init__(self, book: Book, off_delay_s: float) -> None:
        self._book = book
        self._delay = Delay(off_delay_s, book.profile.silence_limit_s)
        self._conditions: dict[str, Condition] = {}
        self._parts: dict[str, set[str]] = {}
        self._set_at: dict[str, float] = {}
        self._since_passage: set[str] = set()
        self._knows_occupancy = False
        self.switched_off = False

    @property
    def is_faulty(self) -> bool:
        """Whether the instrument declares a fault just now: what it says clears nothing."""
        parts = self._parts
        return bool(parts) and any(parts.get(alarm) for alarm in _BLINDING)

    def parts(self, alarm: str) -> tuple[str, ...]:
        """The declared parts that keep an alarm on."""
        return tuple(sorted(self._parts.get(alarm, ())))

    def restore(self, alarm: str, parts: tuple[str, ...], at: float) -> None:
        """That alarm was active before the restart; its passage may still be under way."""
        self._conditions[alarm] = SET
        self._parts[alarm] = set(parts)
        self._set_at[alarm] = at
        self._since_passage.add(alarm)

    def abandon(self, alarm: str) -> None:
        """That alarm was closed under supervision; the next sample that sets it raises it anew."""
        self._conditions.pop(alarm, None)
        self._parts.pop(alarm, None)
        self._since_passage.discard(alarm)

    def measured(self, measured: Measured) -> list[Change]:
        """What a sample declares."""
        self.switched_off = False
        if measured.occupied is not None:
            self._knows_occupancy = True
        if not self._conditions and _is_uneventful(measured):
            return []
        said = self._declared(measured)
        if not said and not self._conditions:
            return []
        changes = []
        for alarm in tuple(self._conditions):
            if alarm not in said:
                implied = self._implied(alarm, measured)
                if implied is not None:
                    said[alarm] = implied
        for alarm, what in said.items():
            changes += self._step(alarm, what, measured)
        return changes

    def passage(self, passage: PassageRecord) -> list[Change]:
        """A passage: an alarm whose samples were missed, the peak, the end of the occupancy."""
        self._knows_occupancy = True
        told = passage.passage
        changes = []
        if told.gamma_alarm:
            evidence = _of_passage(passage, told.gamma_max, told.gamma_max_basis, "gamma")
            changes += self._passed("portal_gamma", passage, evidence)
        if told.neutron_alarm:
            evidence = _of_passage(passage, told.neutron_max, told.neutron_max_basis, "neutron")
            changes += self._passed("portal_neutron", passage, evidence)
        self._since_passage.clear()
        if PassageFlag.END_MISSED not in told.flags and not self.is_faulty:
            for alarm in _PORTAL.values():
                changes += self._advance(alarm, Said.CLEAR, passage.arrived, passage.arrived)
        return changes

    def tick(self, now: Instant) -> list[Change]:
        """Off-delays end."""
        if not self._conditions:
            return []
        changes = []
        for alarm, state in tuple(self._conditions.items()):
            after = tick(state, now.mono, self._delay.off_delay_s, self._book.profile.silence_s)
            if not after.on:
                changes += self._end(alarm, now)
        return changes

    def _declared(self, measured: Measured) -> dict[str, Said]:
        said: dict[str, Said] = {}
        flags = measured.flags
        of_background: tuple[Flag, ...] = ()
        for reading in measured.readings:
            if reading.channel is Channel.BACKGROUND:
                of_background += reading.flags
            elif reading.flags:
                flags += reading.flags
            if reading.channel in _STATES and reading.value is not None:
                is_set = reading.value != 0
                if reading.channel is Channel.DEVICE_FAULT and reading.part == _SWITCHED_OFF:
                    self.switched_off = self.switched_off or is_set
                    continue
                alarm = self._alarm_of(reading.channel, reading.part)
                parts = self._parts.setdefault(alarm, set())
                (parts.add if is_set else parts.discard)(reading.part or reading.channel)
                said[alarm] = Said.SET if parts else Said.CLEAR
        if not self._parts.get("background_fault"):  # that one says it already
            flags += of_background
        for flag, alarm in _FLAGS.items():
            if flag in flags:
                self._parts.setdefault(alarm, set()).add(_FLAG_PART)
                said[alarm] = Said.SET
            elif _FLAG_PART in self._parts.get(alarm, ()):
                parts = self._parts[alarm]
                parts.discard(_FLAG_PART)
                said[alarm] = Said.SET if parts else Said.CLEAR
        return said

    def _alarm_of(self, channel: Channel, part: str) -> str:
        if channel is Channel.TAMPER:
            return "tamper"
        if channel is Channel.DEVICE_ALARM:
            portal = _PORTAL.get(part) if self._book.profile.is_portal else None
            return portal or f"device_{part or 'alarm'}"
        if part in _BACKGROUND_PARTS:
            return "background_fault"
        return "battery" if part == "battery_low" else "instrument_fault"

    def _implied(self, alarm: str, measured: Measured) -> Said | None:
        """What a sample says of an alarm that it does not name."""
        if alarm in ("instrument_fault", "identity"):
            return Said.SET if self._parts.get(alarm) else Said.CLEAR
        if alarm in _PORTAL.values() and measured.occupied is False:
            self._parts.get(alarm, set()).clear()
            return Said.CLEAR
        return None

    def _step(self, alarm: str, said: Said, measured: Measured) -> list[Change]:
        if said is Said.CLEAR and is_radiation(alarm):
            said = self._proven(alarm, measured)
        if said is not Said.SET:
            return self._advance(alarm, said, measured.at, measured.arrived)
        evidence = Evidence(
            measured.at,
            _RULE,
            indicative=alarm.startswith("device_"),
            position=measured.position,
            flags=measured.flags,
            device_alarms=self.parts(alarm),
            note=", ".join(self.parts(alarm)),
        )
        return self._set(alarm, evidence, measured.arrived)

    def _proven(self, alarm: str, measured: Measured) -> Said:
        """Whether a radiation alarm's absence in this sample may count as clear."""
        if self.is_faulty or usability(measured.flags) is not Usability.FULL:
            return Said.NEITHER
        if alarm not in _PORTAL.values() or measured.occupied is False:
            return Said.CLEAR
        if measured.occupied is None and not self._knows_occupancy:
            return Said.CLEAR
        # Once the occupancy that alarmed has ended, the next ones say as much as an empty lane.
        ended = self._conditions.get(alarm, OFF).clear_since is not None
        return Said.CLEAR if ended else Said.NEITHER

    def _set(self, alarm: str, evidence: Evidence, arrived: Instant) -> list[Change]:
        before = self._conditions.get(alarm, OFF)
        self._conditions[alarm] = SET
        self._set_at[alarm] = evidence.at.mono
        if alarm in _PORTAL.values():
            self._since_passage.add(alarm)
        if not before.on:
            if self._book.is_active(alarm):  # a rule of ours has said so already
                del self._conditions[alarm]
                return []
            return self._book.open_discrete(alarm, evidence)
        changes = [] if self.is_faulty else self._book.freshen(alarm, arrived)
        if alarm in _PORTAL.values() and before.clear_since is not None:
            changes += self._again(alarm, evidence)
        return changes

    def _again(self, alarm: str, evidence: Evidence) -> list[Change]:
        """Another occupancy alarms before the alarm of the one before it has returned."""
        record = self._book.records[alarm]
        step_ = lifecycle.annunciated_again(record, evidence)
        return self._book.apply(alarm, step_, evidence.at, "another occupancy")

    def _advance(self, alarm: str, said: Said, at: Instant, arrived: Instant) -> list[Change]:
        before = self._conditions.get(alarm, OFF)
        if not before.on:
            return []
        after = step(before, said, arrived.mono, self._delay)
        if not after.on:
            return self._end(alarm, at)
        self._conditions[alarm] = after
        return self._book.freshen(alarm, at) if said is Said.CLEAR else []

    def _end(self, alarm: str, at: Instant) -> list[Change]:
        del self._conditions[alarm]
        return self._book.end(alarm, at)

    def _passed(self, alarm: str, passage: PassageRecord, evidence: Evidence) -> list[Change]:
        changes = []
        before = self._conditions.get(alarm, OFF)
        if not self._belongs(alarm, passage):
            self._conditions[alarm] = SET
            if before.on:
                changes += self._again(alarm, evidence)
            else:
                changes += self._book.open_discrete(alarm, evidence)
        record = self._book.records.get(alarm)
        if record is None or not record.active:
            return changes
        return changes + self._book.apply(
            alarm, lifecycle.grown(record, evidence), evidence.at, "largest of the passage"
        )

    def _belongs(self, alarm: str, passage: PassageRecord) -> bool:
        """Whether the alarm samples of this passage have been seen."""
        if alarm not in self._since_passage:
            return False
        start = passage.start
        return start is None or self._set_at[alarm] >= start.mono - _START_TOLERANCE_S


def _is_uneventful(measured: Measured) -> bool:
    """The common case: nothing is declared that could raise anything."""
    for flag in measured.flags:
        if flag in _FLAGS:
            return False
    for reading in measured.readings:
        if reading.flags or (reading.value and reading.channel in _STATES):
            return False
    return True


def _of_passage(
    passage: PassageRecord, largest: float | int | None, basis: str, part: str
) -> Evidence:
    number = passage.passage.number
    return Evidence(
        passage.start or passage.end or passage.arrived,
        Rule(DECLARED, 1, () if number is None else (("passage", number),)),
        largest,
        f"count/{basis}" if basis else "count",
        device_alarms=(part,),
        note="told by the passage",
    )
