"""What may happen at a given second of a scenario: ``[[event]]`` with ``at_s`` and ``do``."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from config.action import LIVE_ONLY as LIVE_ONLY
from config.action import RESERVED as RESERVED
from config.action import Action, At, DetectorId, Fraction
from config.amounts import Activity, CountRate, DoseRate, FieldRate, Speed
from config.command_actions import Commands
from config.link_actions import LinkActions
from config.models import Id, Seconds, Strict
from config.scenario_world import Length


class GatewayAction(Action):
    """The gateway process: an orderly restart, or SIGKILL and a start; live, do it yourself.

    What was committed is there again. Commands are refused while it is down.
    """

    played: ClassVar[bool] = True

    do: Literal["restart", "kill"]
    down_s: Annotated[float, Field(ge=0, description="so long until it is back")] = 0.0
    after: Annotated[
        Literal["raised", "published"] | None,
        Field(description="wait for this event of the detector, then ``at_s`` counts from there"),
    ] = None
    detector: Annotated[
        Id | None, Field(description="with after: whose alarm; default: anybody's")
    ] = None


class ClockStep(Action):
    """The wall clock jumps; the monotonic one does not. Live it is yours to do."""

    played: ClassVar[bool] = True

    do: Literal["clock_step"]
    step_s: Annotated[
        float, Field(allow_inf_nan=False, examples=[3600.0], description="forward; below 0: back")
    ]


class BrokerAction(Action):
    """About the small broker that a live stage brings; a broker of somebody else is left alone."""

    played: ClassVar[bool] = True
    live_only: ClassVar[bool] = True

    do: str


class BrokerStop(BrokerAction):
    """The stage's broker ends as a killed one: connections are reset, new ones refused, no wills.

    A stall is over with it.
    """

    do: Literal["broker_stop"]
    forgets: Annotated[
        bool,
        Field(
            description="sessions, what waits in them and retained messages are lost, as of a "
            "broker without persistence; default: when it is back it has them as they were"
        ),
    ] = False


class BrokerStart(BrokerAction):
    """The stage's broker is there again, on the same port; or its stall is over."""

    do: Literal["broker_start"]


class BrokerCut(BrokerAction):
    """All connections to the stage's broker are reset, with their wills; it goes on listening."""

    do: Literal["broker_cut"]


class BrokerStall(BrokerAction):
    """The stage's broker takes connections and bytes, and neither reads nor answers anything.

    Until ``broker_start``, ``broker_stop``, or for a while. Then it goes on where it stood, with
    what has arrived meanwhile. ``broker_cut`` alone does not end it; a stopped broker has none.
    """

    do: Literal["broker_stall"]
    for_s: Annotated[float | None, Field(gt=0, description="then it ends by itself")] = None


BrokerActions = BrokerStop | BrokerStart | BrokerCut | BrokerStall


class Garbage(Action):
    """Bytes that mean nothing, or the given text, appear on a detector's link."""

    played: ClassVar[bool] = True

    do: Literal["garbage"]
    detector: Annotated[Id, Field(description="on whose link; not on registers")]
    bytes: Annotated[int, Field(ge=1, le=1_000_000, description="how many, at random")] = 200
    text: Annotated[
        str | None,
        Field(description="this in place of random bytes; a line of its own ends with \\n"),
    ] = None


class WrongSerial(Action):
    """Another instrument answers on the detector's link; some ask it only when the link is new."""

    played: ClassVar[bool] = True

    do: Literal["wrong_serial"]
    detector: DetectorId
    serial_number: Annotated[
        str,
        Field(
            min_length=1,
            examples=["99999"],
            description="that it says: json-lines any text; gq-gmc 14 hexadecimal digits; "
            "thermo-radeye a number; bgeigie-nmea up to four digits",
        ),
    ]


class SetReading(Action):
    """From now on the detector sees this field instead of the world's, until ``release``."""

    played: ClassVar[bool] = True

    do: Literal["reading", "release"]
    detector: DetectorId
    dose_rate: Annotated[FieldRate | None, Field(description="of its place")] = None
    gamma_rate: Annotated[CountRate | None, Field(description="of its counter")] = None
    neutron_rate: Annotated[CountRate | None, Field(description="of its counter")] = None


class InstrumentState(Action):
    """A state of the instrument itself, set or cleared; json-lines alone has them.

    - ``tamper``: its case is open.
    - ``over_range``: it signals that, whatever the field.
    - ``fault``: it declares one and has no numbers.
    - ``dead_channel``: its gamma counts, and the dose rate, fall to 0 while lines go on.
    - ``battery_low``: it declares a low battery, 5 %.
    - ``self_test``: its lines are flagged.
    - ``frozen_value``: it repeats its last line for ever.
    """

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
    detector: DetectorId
    on: Annotated[bool, Field(description="false: cleared")] = True


class Power(Action):
    """The instrument is switched on or off: off it is silent, and counts nothing."""

    played: ClassVar[bool] = True

    do: Literal["power_on", "power_off"]
    detector: DetectorId


class Block(Action):
    """Something stands in a portal's lane, or leaves it."""

    played: ClassVar[bool] = True

    do: Literal["block", "unblock"]
    detector: Annotated[Id, Field(description="the portal")]


Stay = Annotated[float | None, Field(gt=0, description="then it vanishes; default: it stays")]


class Place(Action):
    """A new source is put down."""

    played: ClassVar[bool] = True

    do: Literal["place_source"]
    id: Annotated[Id, Field(description="its name; one with that id is replaced")]
    nuclide: Annotated[str, Field(examples=["Cs-137"], description="what it is")]
    activity: Annotated[Activity, Field(description="how much")]
    x: Annotated[float, Field(description="to the east")]
    y: Annotated[float, Field(description="to the north")]
    z: Annotated[float, Field(description="upwards")] = 0.0
    for_s: Stay = None


class Send(Action):
    """Somebody with a source walks or drives past a detector."""

    played: ClassVar[bool] = True

    do: Literal["send_source"]
    id: Annotated[Id, Field(description="its name; one with that id is replaced")]
    nuclide: Annotated[str, Field(examples=["Cs-137"], description="what it is")]
    activity: Annotated[Activity, Field(description="how much")]
    past: Annotated[Id, Field(description="the detector")]
    closest_m: Annotated[Length, Field(description="how near it comes")] = 2.0
    speed: Annotated[Speed, Field(description="along the way")] = 1.2
    nearest_in_s: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="so long after the event")
    ] = 20.0
    heading_deg: Annotated[float, Field(ge=0, lt=360, description="0 north, 90 east")] = 90.0
    for_s: Stay = None


class StartRain(Action):
    """It begins to rain on everybody, as ``[[rain]]``."""

    played: ClassVar[bool] = True

    do: Literal["rain"]
    rise: Annotated[DoseRate, Field(description="how much it brings in all")] = 0.090
    rise_s: Annotated[Seconds, Field(description="how long it rises")] = 900.0
    half_life_s: Annotated[Seconds, Field(description="half of it is gone after so long")] = 1800.0


class Remove(Action):
    """A source vanishes."""

    played: ClassVar[bool] = True

    do: Literal["remove_source"]
    id: Annotated[Id, Field(description="its name")]


class Identify(Action):
    """An identifying instrument names a nuclide in its next line; json-lines alone does."""

    played: ClassVar[bool] = True

    do: Literal["identify"]
    detector: DetectorId
    nuclide: Annotated[
        str,
        Field(
            pattern=r"^[A-Z][a-z]?-[0-9]{1,3}m?$",
            examples=["I-131", "Pu-239", "Tc-99m"],
            description="any one",
        ),
    ]
    category: Annotated[
        Literal["norm", "medical", "industrial", "snm", "unknown"],
        Field(description="as the instrument says"),
    ] = "unknown"
    confidence: Annotated[Fraction | None, Field(description="default: it says none")] = None


Event = Annotated[
    Commands
    | GatewayAction
    | ClockStep
    | BrokerActions
    | LinkActions
    | Garbage
    | WrongSerial
    | SetReading
    | InstrumentState
    | Power
    | Block
    | Place
    | Send
    | Remove
    | StartRain
    | Identify,
    Field(discriminator="do"),
]


class Expectation(Strict):
    """What the alarms of a run must have done, as ``[[expect]]``; each is checked at the end."""

    event: Annotated[str, Field(pattern=r"^[a-z_]+$", description="what happened to an alarm")] = (
        "raised"
    )
    detector: Annotated[
        str | None,
        Field(min_length=1, description="of the alarm; groups begin with @; default: any"),
    ] = None
    alarm: Annotated[
        str | None,
        Field(min_length=1, examples=["dose_rate"], description="such as gamma_rise; default: any"),
    ] = None
    level: Annotated[
        str | None,
        Field(min_length=1, examples=["R3"], description="the worst at that event; default: any"),
    ] = None
    between: Annotated[
        tuple[At, At] | None, Field(strict=False, description="seconds of play, both included")
    ] = None
    count: Annotated[Annotated[int, Field(ge=0)] | None, Field(description="exactly so often")] = (
        None
    )
    at_least: Annotated[
        Annotated[int, Field(ge=0)] | None, Field(description="default: 1, with at_most alone 0")
    ] = None
    at_most: Annotated[
        Annotated[int, Field(ge=0)] | None, Field(description="default: no limit")
    ] = None

    @property
    def bounds(self) -> tuple[int, int | None]:
        """The fewest and the most that are well; None: no most."""
        if self.count is not None:
            return self.count, self.count
        least = self.at_least
        if least is None:
            least = 1 if self.at_most is None else 0
        return least, self.at_most
