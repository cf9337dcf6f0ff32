"""An instrument that talks in bytes, on a pseudo-terminal or a TCP port of this machine."""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from config.link_actions import LinkFault
from simulators.api import Emission, Field, HasPace, Instrument
from simulators.flight import Flight
from simulators.link_faults import FLOOD_STEP_S, Wire
from simulators.outlet import Witness
from simulators.ports import Port, TcpEnd

TICK_S: Final = 0.02
"""How often an instrument is asked that does not know its pace."""
_LONGEST_FLOOD_S: Final = 0.5
"""A stage that was busy for longer adds no more than this at once."""


@dataclass(frozen=True, slots=True)
class FarEnd:
    """What is at the far end of a cable: an instrument in its place."""

    instrument: Instrument
    field: Field
    pace: HasPace | None = None


def far_end(instrument: Instrument, field: Field) -> FarEnd:
    """An instrument in its place, with its pace if it knows it."""
    return FarEnd(instrument, field, instrument if isinstance(instrument, HasPace) else None)


class ByteOutlet:
    """One byte link."""

    def __init__(
        self,
        detector: str,
        end: FarEnd,
        wire: Wire,
        now_s: Callable[[], float],
        witness: Witness,
        changed: Callable[["ByteOutlet"], None],
    ) -> None:
        self.detector = detector
        self.far_end = end
        self._wire = wire
        self._now_s = now_s
        self._witness = witness
        self._changed = changed
        self._frozen = False
        self._plugged = False
        self._asked_s = -math.inf
        self._flooded_s = math.inf
        self._order = 0
        self._pending: list[tuple[float, int, Emission]] = []

    def connect(self, port: Port) -> None:
        """The port on which it is reached; before anything else."""
        self._port = port
        self._flight = Flight(self._wire, port.send)

    @property
    def instrument(self) -> object:
        """What is at its far end."""
        return self.far_end.instrument

    @property
    def next_s(self) -> float:
        """The instrument's pace, what is pending, and a flood."""
        pace = self.far_end.pace
        own_s = self._asked_s + TICK_S if pace is None else pace.next_s()
        pending_s = self._pending[0][0] if self._pending else math.inf
        return min(own_s, pending_s, self._flooded_s)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with it, for people."""
        states = (("unplugged", not self._plugged), ("frozen", self._frozen))
        return (*(name for name, is_so in states if is_so), *self._wire.faults)

    def advance(self, now_s: float) -> None:
        """Asks the instrument what it says up to now, and sends what is due."""
        self._asked_s = now_s
        end = self.far_end
        emissions = end.instrument.advance(now_s, end.field)
        if emissions:
            self._push(emissions)
        if self._pending:
            self._send_due(now_s)
        if self._flooded_s <= now_s:
            self._flood(now_s)

    def received(self, data: bytes) -> None:
        """The gateway has written something."""
        if self._wire.echoes:
            self._flight.launch(data)
        end, now_s = self.far_end, self._now_s()
        self._push(end.instrument.receive(now_s, data, end.field))
        self._send_due(now_s)
        self._changed(self)

    async def plug(self, *, renumbered: bool = False) -> None:
        """The cable is put in."""
        if not self._plugged:
            self._plugged = True
            await self._port.plug(renumbered=renumbered)

    async def unplug(self) -> None:
        """The cable is pulled; what is on its way is lost."""
        self._plugged = False
        self._flight.drop()
        await self._port.unplug()

    def freeze(self, *, on: bool) -> None:
        """The instrument says nothing while its link stays open."""
        self._frozen = on

    def add(self, data: bytes) -> None:
        """Bytes that it never sent appear on its link."""
        self._flight.launch(data)

    def begin(self, fault: LinkFault) -> None:
        """From now on this goes wrong."""
        self._wire.begin(fault)
        if self._wire.flood is fault:
            self._flooded_s = self._now_s() + FLOOD_STEP_S
        self._changed(self)

    def end(self, fault: LinkFault) -> None:
        """It is over, unless another of its kind has begun since."""
        self._wire.end(fault)

    def mend(self) -> None:
        """Nothing is wrong with bytes any more."""
        self._wire.mend()

    def swap(self, other: "ByteOutlet") -> None:
        """The cables are crossed."""
        self.far_end, other.far_end = other.far_end, self.far_end
        self._changed(self)
        self._changed(other)

    def abandon(self) -> None:
        """Its TCP connections stay open and dead."""
        if isinstance(self._port, TcpEnd):
            self._port.abandon()

    async def close(self) -> None:
        """Nothing is left behind."""
        await self.unplug()
        if isinstance(self._port, TcpEnd):
            self._port.bury()

    def _push(self, emissions: Sequence[Emission]) -> None:
        for emission in emissions:
            self._order += 1
            heapq.heappush(self._pending, (emission.at_s, self._order, emission))

    def _send_due(self, now_s: float) -> None:
        pending = self._pending
        while pending and pending[0][0] <= now_s:
            _, _, emission = heapq.heappop(pending)
            if self._frozen or self.far_end.field.on_since(now_s) is None:
                continue
            self._launch(emission)

    def _launch(self, emission: Emission) -> None:
        def arrived() -> None:
            self._witness(self.detector, emission)

        self._flight.launch(emission.data, arrived)

    def _flood(self, now_s: float) -> None:
        flood = self._wire.flood
        if flood is None:
            self._flooded_s = math.inf
            return
        since_s = min(now_s - self._flooded_s + FLOOD_STEP_S, _LONGEST_FLOOD_S)
        self._flooded_s = now_s + FLOOD_STEP_S
        self._port.send(self._wire.noise(flood, since_s))
