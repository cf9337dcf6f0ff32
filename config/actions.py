"""What may happen at a given second of a scenario: ``[[event]]`` with ``at_s`` and ``do``."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from config.action import RESERVED as RESERVED
from config.action import Action, At, Fraction
from config.amounts import Activity, CountRate, FieldRate
from config.command_actions import Commands
from config.models import Id, Strict


class GatewayAction(Action):
    """The gateway process: an orderly restart, or SIGKILL and a start."""

    played: ClassVar[bool] = True

    do: Literal["restart", "kill"]
    down_s: Annotated[float, Field(ge=0)] = 0.0
    after: Annotated[
        Literal["raised", "published"] | None,
        Field(description="wait for this event of the detector, then ``at_s`` counts from there"),
    ] = None
    detector: Id | None = None


class ClockStep(Action):
    """The wall clock jumps; the monotonic one does not."""

    played: ClassVar[bool] = True

    do: Literal["clock_step"]
    step_s: Annotated[float, Field(allow_inf_nan=False, examples=[3600.0])]


class BrokerAction(Action):
    """The broker goes away or comes back; virtual time has no broker."""

    do: Literal["broker_stop", "broker_start", "broker_cut", "broker_stall"]


class LinkAction(Action):
    """The cable of one detector, or its silence while the link stays open."""

    played: ClassVar[bool] = True

    do: Literal["unplug", "replug", "freeze", "thaw"]
    detector: Id


class Garbage(Action):
    """Bytes that mean nothing, or the given text, appear on a detector's link."""

    played: ClassVar[bool] = True

    do: Literal["garbage"]
    detector: Id
    bytes: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    text: str | None = None


class WrongSerial(Action):
    """Another instrument answers on the detector's link."""

    played: ClassVar[bool] = True

    do: Literal["wrong_serial"]
    detector: Id
    serial_number: Annotated[str, Field(min_length=1, examples=["99999"])]


class SetReading(Action):
    """From now on the detector sees this field instead of the world's, until ``release``."""

    played: ClassVar[bool] = True

    do: Literal["reading", "release"]
    detector: Id
    dose_rate: FieldRate | None = None
    gamma_rate: CountRate | None = None
    neutron_rate: CountRate | None = None


class InstrumentState(Action):
    """A state of the instrument itself, set or cleared."""

    played: ClassVar[bool] = True

    do: Literal[
        "tamper",
        "over_range",
        "fault",
        "dead_channel",
        "battery_low",
        "self_test",
        "frozen_value",
    ]
    detector: Id
    on: bool = True


class Power(Action):
    """The instrument is switched on or off."""

    played: ClassVar[bool] = True

    do: Literal["power_on", "power_off"]
    detector: Id


class Block(Action):
    """Something stands in a portal's lane, or leaves it."""

    played: ClassVar[bool] = True

    do: Literal["block", "unblock"]
    detector: Id


class Place(Action):
    """A new source is put down."""

    played: ClassVar[bool] = True

    do: Literal["place_source"]
    id: Id
    nuclide: Annotated[str, Field(examples=["Cs-137"])]
    activity: Activity
    x: float
    y: float
    z: float = 0.0


class Remove(Action):
    """A source vanishes."""

    played: ClassVar[bool] = True

    do: Literal["remove_source"]
    id: Id


class Identify(Action):
    """An identifying instrument names a nuclide in its next line."""

    played: ClassVar[bool] = True

    do: Literal["identify"]
    detector: Id
    nuclide: Annotated[
        str, Field(pattern=r"^[A-Z][a-z]?-[0-9]{1,3}m?$", examples=["I-131", "Pu-239", "Tc-99m"])
    ]
    category: Literal["norm", "medical", "industrial", "snm", "unknown"] = "unknown"
    confidence: Fraction | None = None


Event = Annotated[
    Commands
    | GatewayAction
    | ClockStep
    | BrokerAction
    | LinkAction
    | Garbage
    | WrongSerial
    | SetReading
    | InstrumentState
    | Power
    | Block
    | Place
    | Remove
    | Identify,
    Field(discriminator="do"),
]


class Expectation(Strict):
    """What the alarms of a run must have done, as ``[[expect]]``; each is checked at the end."""

    event: Annotated[str, Field(pattern=r"^[a-z_]+$", description="what happened to an alarm")] = (
        "raised"
    )
    detector: Annotated[str | None, Field(min_length=1)] = None
    alarm: Annotated[str | None, Field(min_length=1, examples=["dose_rate"])] = None
    level: Annotated[str | None, Field(min_length=1, examples=["R3"])] = None
    between: Annotated[
        tuple[At, At] | None, Field(strict=False, description="seconds of play, both included")
    ] = None
    count: Annotated[int, Field(ge=0)] | None = None
    at_least: Annotated[int, Field(ge=0)] | None = None
    at_most: Annotated[int, Field(ge=0)] | None = None

    @property
    def bounds(self) -> tuple[int, int | None]:
        """The fewest and the most that are well; None: no most."""
        if self.count is not None:
            return self.count, self.count
        least = self.at_least
        if least is None:
            least = 1 if self.at_most is None else 0
        return least, self.at_most
