"""A register instrument on a live stage: one unit behind a Modbus port, alone or on a bus."""

import math
from typing import Final

from config.link_actions import LateReply, LinkFault, ReplyFault
from simulators.link_faults import Wire
from simulators.modbus_server import Fault, Faults, ModbusPty, ModbusServer, Unit

_FAULTS: Final = {
    "silent": Fault.SILENT,
    "short": Fault.SHORT,
    "corrupt": Fault.CORRUPT,
    "wrong_unit": Fault.WRONG_UNIT,
    "wrong_function": Fault.WRONG_FUNCTION,
    "exception": Fault.EXCEPTION,
    "pipelined": Fault.PIPELINED,
}


class RegisterOutlet:
    """One unit. Time passes for its instrument when it is read, so it never has a turn."""

    next_s = math.inf

    def __init__(self, detector: str, unit: Unit, *, is_alone: bool) -> None:
        self.detector = detector
        self.unit = unit
        self._is_alone = is_alone
        self._frozen = False
        self._plugged = False
        self._fault: LinkFault | None = None
        unit.is_silent = self._is_silent

    def connect(self, server: ModbusServer | ModbusPty, wire: Wire) -> None:
        """The port on which it is reached; before anything else."""
        self._server = server
        self._wire = wire

    @property
    def instrument(self) -> object:
        """What is at its far end."""
        return self.unit.instrument

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with it, for people."""
        states = (("unplugged", not self._plugged), ("frozen", self._frozen))
        fault = self.unit.faults.in_force
        own = () if fault is Fault.NONE else (str(fault),)
        return (*(name for name, is_so in states if is_so), *own, *self._wire.faults)

    def advance(self, now_s: float) -> None:
        """Nothing: it answers when it is asked."""

    async def plug(self, *, renumbered: bool = False) -> None:
        """The cable is put in; on a shared bus it is the unit's own."""
        was_plugged, self._plugged = self._plugged, True
        if was_plugged or not self._is_alone:
            return
        if isinstance(self._server, ModbusPty):
            await self._server.start(renumbered=renumbered)
        else:
            await self._server.start()

    async def unplug(self) -> None:
        """The cable is pulled."""
        self._plugged = False
        if self._is_alone:
            await self._server.stop()

    def freeze(self, *, on: bool) -> None:
        """It does not answer while its link stays open."""
        self._frozen = on

    def add(self, data: bytes) -> None:
        """Nothing: registers have no bytes to add."""

    def begin(self, fault: LinkFault) -> None:
        """From now on this goes wrong: with its answers, or with the line, which is the bus's."""
        match fault:
            case ReplyFault():
                faults = Faults(_FAULTS[fault.fault], fault.count, code=fault.code)
            case LateReply():
                faults = Faults(Fault.LATE, fault.count, late_s=fault.late_s)
            case _:
                self._wire.begin(fault)
                return
        self.unit.faults, self._fault = faults, fault

    def end(self, fault: LinkFault) -> None:
        """It is over, unless another of its kind has begun since."""
        if fault is self._fault:
            self.unit.faults, self._fault = Faults(), None
        else:
            self._wire.end(fault)

    def mend(self) -> None:
        """Nothing is wrong with its answers and the line any more."""
        self.unit.faults, self._fault = Faults(), None
        self._wire.mend()

    def swap(self, other: "RegisterOutlet") -> None:
        """The cables are crossed."""
        mine, theirs = self.unit, other.unit
        mine.instrument, theirs.instrument = theirs.instrument, mine.instrument
        mine.field, theirs.field = theirs.field, mine.field

    def abandon(self) -> None:
        """Its TCP connections stay open and dead."""
        if isinstance(self._server, ModbusServer):
            self._server.abandon()

    async def close(self) -> None:
        """Nothing is left behind."""
        await self._server.stop()
        if isinstance(self._server, ModbusServer):
            self._server.bury()

    def _is_silent(self, now_s: float) -> bool:
        off = self.unit.field.on_since(now_s) is None
        return off or self._frozen or not self._plugged
