"""What operators may ask for in a scenario: the commands of the gateway, one way of saying each."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from config.action import Action, DetectorId
from config.amounts import FieldRate
from config.models import Id, Seconds

DEFAULT_REASON = "scenario"

Scalar = str | int | float | bool
Arguments = tuple[tuple[str, Scalar], ...]
UserId = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]{0,31}$")]
LevelId = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,15}$"), Field(examples=["R3"])
]
Text = Annotated[str, Field(min_length=1)]


class Command(Action):
    """What an operator asks for; every other key becomes an argument of the command."""

    played: ClassVar[bool] = True
    _own: ClassVar[frozenset[str]] = frozenset({"at_s", "do", "user", "expect", "expect_reason"})

    do: str
    user: Annotated[
        UserId, Field(description="who asks; with [[user]] tables his roles are checked")
    ] = "operator"
    expect: Annotated[
        Literal["accepted", "refused"] | None, Field(description="what the answer must be")
    ] = None
    expect_reason: Annotated[
        str | None, Field(min_length=1, description="stands in the reason of the answer")
    ] = None

    def arguments(self) -> Arguments:
        """What the command is given; what the scenario does not say is left out."""
        found = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name == "reason" and not value:
                value = DEFAULT_REASON
            if name not in self._own and value is not None:
                found.append((name, value))
        return tuple(found)


class OnAlarm(Command):
    """Acts on one alarm: the newest open one that fits, or with ``occurrence`` the nth ever raised.

    ``occurrence`` counts every alarm of the run that fits ``detector``, ``alarm`` and ``level``
    (the worst it has reached), closed ones too, from 1.
    """

    _own: ClassVar[frozenset[str]] = Command._own | {"detector", "alarm", "level", "occurrence"}

    detector: Annotated[
        str | None, Field(min_length=1, description="of the alarm; groups begin with @")
    ] = None
    alarm: Annotated[
        str | None,
        Field(min_length=1, examples=["dose_rate"], description="which, such as gamma_rise"),
    ] = None
    level: Annotated[LevelId | None, Field(description="the worst that it has reached")] = None
    occurrence: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(
            description="the nth ever raised that fits, closed too; default: the newest open one"
        ),
    ] = None


class Acknowledge(OnAlarm):
    """Says that somebody has seen an alarm."""

    do: Literal["acknowledge"]
    revision: Annotated[int | None, Field(ge=1, description="of the record that was seen")] = None


class Reset(OnAlarm):
    """Takes a latch off."""

    do: Literal["reset"]


class Silence(OnAlarm):
    """Takes the sound off an alarm for a while."""

    do: Literal["silence"]
    duration_s: Annotated[Seconds, Field(description="at most 10 min")]
    reason: Annotated[str, Field(description="why; default: scenario")] = ""


class Close(OnAlarm):
    """Closes an alarm that cannot return by itself."""

    do: Literal["close"]
    reason: Annotated[str, Field(description="why; default: scenario")] = ""


class Assess(OnAlarm):
    """Records what an alarm turned out to be."""

    do: Literal["assess"]
    state: Annotated[
        Literal["new", "verifying", "localising", "identifying", "reachback", "closed"] | None,
        Field(description="how far one is"),
    ] = None
    disposition: Annotated[
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
        | None,
        Field(description="what it was; the assessor's alone"),
    ] = None
    note: Annotated[Text | None, Field(description="in words")] = None
    nuclides: Annotated[
        str | None, Field(min_length=1, examples=["I-131"], description="which they were")
    ] = None


class Shelve(Command):
    """Takes one level of a detector off the list for a while."""

    do: Literal["shelve"]
    detector: DetectorId
    level: Annotated[LevelId, Field(description="which")]
    duration_s: Annotated[
        Seconds, Field(description="priority 1: 5 min at most, 2: 30 min, others 4 h")
    ]
    reason: Annotated[str, Field(description="why; default: scenario")] = ""


class Unshelve(Command):
    """Puts a shelved level back on the list."""

    do: Literal["unshelve"]
    detector: DetectorId
    level: Annotated[LevelId, Field(description="which")]


class Service(Command):
    """Takes a detector out of service, or says that a test source is at it, or ends that."""

    do: Literal["maintenance", "test_source"]
    detector: DetectorId
    on: Annotated[bool, Field(description="false: it is over")] = True
    duration_s: Annotated[
        Seconds | None,
        Field(description="needed to begin; maintenance 8 h at most, a test source 30 min"),
    ] = None
    reason: Annotated[str, Field(description="why; default: scenario")] = ""


class Duty(Command):
    """Where a worn detector is: on somebody, put away, or having its battery changed."""

    do: Literal["duty"]
    detector: DetectorId
    state: Annotated[
        Literal["on_duty", "off_duty", "handed_in", "battery_swap"],
        Field(description="where it is"),
    ]
    duration_s: Annotated[
        Seconds | None,
        Field(description="but for on_duty; battery swap 15 min at most, off duty 24 h, else 30 d"),
    ] = None
    reason: Annotated[str, Field(description="why; default: scenario")] = ""


class Baseline(Command):
    """The natural field of a place: measured in a survey, accepted as it is now, or withdrawn."""

    do: Literal["baseline"]
    detector: DetectorId
    mode: Annotated[Literal["survey", "accept", "withdraw"], Field(description="what is done")]
    survey_s: Annotated[Seconds | None, Field(description="how long it measures")] = None
    duration_s: Annotated[Seconds | None, Field(description="how long it holds")] = None
    reason: Annotated[str, Field(description="why; default: scenario")] = ""


class Commission(Command):
    """Says that a detector was checked with a source at its place."""

    do: Literal["commission"]
    detector: DetectorId
    reason: Annotated[str, Field(description="why; default: scenario")] = ""


class Replace(Command):
    """Another instrument takes a detector's place."""

    do: Literal["replace"]
    detector: DetectorId
    serial_number: Annotated[
        str, Field(min_length=1, examples=["01234"], description="of the new one")
    ]
    reason: Annotated[str, Field(description="why; default: scenario")] = ""


class NewWearer(Command):
    """Another person wears a detector: the dose begins at zero."""

    do: Literal["new_wearer"]
    detector: DetectorId
    reason: Annotated[str, Field(description="why; default: scenario")] = ""


class Report(Command):
    """An information alert entered by hand; the dose rate is handed on in µSv/h."""

    do: Literal["report"]
    text: Annotated[
        str,
        Field(min_length=1, examples=["unattended case at gate A"], description="what is reported"),
    ]
    post: Annotated[Id | None, Field(description="where")] = None
    dose_rate: Annotated[FieldRate | None, Field(description="that was read there")] = None


class StopExercise(Command):
    """Ends everything that exercise data has raised."""

    do: Literal["stop_exercise"]


class AskAgain(Command):
    """Asks for journalled messages once more; there is no journal in virtual time."""

    played: ClassVar[bool] = False

    do: Literal["history", "resend"]
    lane: Annotated[Literal["alarms", "samples"], Field(description="of the journal")] = "alarms"
    from_seq: Annotated[Annotated[int, Field(ge=1)] | None, Field(description="the first")] = None
    to_seq: Annotated[Annotated[int, Field(ge=1)] | None, Field(description="the last")] = None


Commands = (
    Acknowledge
    | Reset
    | Silence
    | Close
    | Assess
    | Shelve
    | Unshelve
    | Service
    | Duty
    | Baseline
    | Commission
    | Replace
    | NewWearer
    | Report
    | StopExercise
    | AskAgain
)
