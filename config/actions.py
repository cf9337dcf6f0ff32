"""What may happen at a given second of a scenario: ``[[event]]`` with ``at_s`` and ``do``.

An action whose ``played`` is false is reserved: it is accepted and checked, and nothing plays it
yet. The schema says so beside each.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from config.amounts import Activity, CountRate, FieldRate
from config.models import Id, Seconds, Strict

RESERVED = "Reserved: accepted, not played."

At = Annotated[float, Field(ge=0, allow_inf_nan=False, description="s after the start")]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Action(Strict):
    """Something at one instant."""

    played: ClassVar[bool] = False

    at_s: At

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        if not cls.played:
            schema["description"] = f"{cls.__doc__} {RESERVED}"
        return schema


class Command(Action):
    """What an operator asks for."""

    user: Id = "operator"
    expect: Literal["accepted", "refused"] | None = None


class OnAlarm(Command):
    """Acts on an alarm: by default the newest of a detector, else its nth occurrence."""

    detector: Id | None = None
    alarm: Id | None = None
    occurrence: Annotated[int, Field(ge=1)] | None = None
    reason: str = ""
    duration_s: Seconds | None = None


class AlarmCommand(OnAlarm):
    """Acknowledges or resets an alarm: the newest of a detector, or its nth occurrence."""

    played: ClassVar[bool] = True

    do: Literal["acknowledge", "reset"]


class LaterAlarmCommand(OnAlarm):
    """Silences, unshelves or closes an alarm."""

    do: Literal["silence", "unshelve", "close"]


class Shelve(Command):
    """Takes one level of a detector off the list for a while."""

    do: Literal["shelve"]
    detector: Id
    level: Literal["R1", "R2", "R3", "R4", "R5", "R6", "R7", "N1"]
    duration_s: Seconds
    reason: str = ""


class Assess(Command):
    """Records what an alarm turned out to be."""

    do: Literal["assess"]
    detector: Id
    occurrence: Annotated[int, Field(ge=1)] | None = None
    state: (
        Literal["new", "verifying", "localising", "identifying", "reachback", "closed"] | None
    ) = None
    disposition: (
        Literal[
            "unassessed",
            "false",
            "innocent_medical",
            "innocent_norm",
            "innocent_legal",
            "test_source",
            "instrument_fault",
            "exercise",
            "confirmed_non_innocent",
        ]
        | None
    ) = None
    note: str = ""


class Report(Command):
    """An information alert entered by hand."""

    do: Literal["report"]
    text: Annotated[str, Field(min_length=1, examples=["unattended case at gate A"])]
    post: Id | None = None


class DetectorCommand(Command):
    """Baseline, maintenance and duty of one detector."""

    do: Literal["baseline", "maintenance", "duty"]
    detector: Id
    on: bool = True
    reason: str = ""
    duration_s: Seconds | None = None


class Replace(Command):
    """Another instrument takes a detector's place."""

    do: Literal["replace"]
    detector: Id
    serial_number: Annotated[str, Field(min_length=1, examples=["01234"])]


class StopExercise(Command):
    """Ends everything that exercise data has raised."""

    do: Literal["stop_exercise"]


class AskAgain(Command):
    """Asks for journalled messages once more."""

    do: Literal["history", "resend"]
    lane: Literal["alarms", "samples"] = "alarms"
    from_seq: Annotated[int, Field(ge=1)] | None = None
    to_seq: Annotated[int, Field(ge=1)] | None = None


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
    """The broker goes away or comes back; ``cut`` drops connections, ``stall`` goes silent."""

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

    do: Literal["tamper", "over_range", "fault", "dead_channel", "battery_low", "self_test"]
    detector: Id
    on: bool = True


class Power(Action):
    """The instrument is switched on or off."""

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
    """An identifying instrument names a nuclide."""

    do: Literal["identify"]
    detector: Id
    nuclide: Annotated[str, Field(examples=["I-131"])]
    category: Literal["norm", "medical", "industrial", "snm", "unknown"] = "unknown"
    confidence: Fraction | None = None


Event = Annotated[
    AlarmCommand
    | LaterAlarmCommand
    | Shelve
    | Assess
    | Report
    | DetectorCommand
    | Replace
    | StopExercise
    | AskAgain
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
