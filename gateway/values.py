"""Values that travel through the gateway after the driver."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from drivers.api import Flag, Identity, Passage, PassageFlag, Position, Reading
from drivers.quick import quick


@quick(frozen=True, slots=True)
class Instant:
    """One moment on both clocks: ``wall`` is Unix time in s and only a label, ``mono`` measures."""

    wall: float
    mono: float

    def earlier(self, seconds: float) -> "Instant":
        """The moment ``seconds`` before this one."""
        return Instant(self.wall - seconds, self.mono - seconds) if seconds else self


@dataclass(frozen=True, slots=True)
class CountBasis:
    """The counts an estimated dose rate rests on.

    ``counts`` were registered in ``live_s`` seconds, background included. One
    count per second is ``usv_h_per_cps`` µSv/h here. ``independent`` is false where a reading may
    repeat or skip part of the one before (a polled one-second counter).
    """

    counts: int
    live_s: float
    usv_h_per_cps: float
    independent: bool


@quick(frozen=True, slots=True)
class Measured:
    """A normalised sample: dose rates in µSv/h, doses in µSv, rates in 1/s, times on both clocks.

    ``at`` is when it was measured (``time_estimated``: by the gateway's clock and the age the
    driver gave), ``arrived`` when its bytes came in.
    """

    detector: str
    at: Instant
    arrived: Instant
    readings: tuple[Reading, ...]
    time_estimated: bool = True
    flags: tuple[Flag, ...] = ()
    position: Position | None = None
    occupied: bool | None = None
    identity: Identity | None = None
    counts: CountBasis | None = None


@dataclass(frozen=True, slots=True)
class PassageRecord:
    """A passage with its times; None where they cannot be known."""

    detector: str
    passage: Passage
    start: Instant | None
    end: Instant | None
    arrived: Instant
    flags: tuple[PassageFlag, ...] = ()


class LinkState(StrEnum):
    """Where a session stands with its link."""

    OPENING = "opening"
    IDENTIFYING = "identifying"
    READING = "reading"
    WAITING = "waiting"
    STOPPED = "stopped"


class Lane(StrEnum):
    """A numbered stream of the journal; exercise data has streams of its own.

    What not every reader of alarms may read, assessments and answers, has numbers of its own: to
    whom the broker does not give it, nothing is missing.
    """

    ALARMS = "alarms"
    RESTRICTED = "restricted"
    SAMPLES = "samples"
    EXERCISE_ALARMS = "exercise-alarms"
    EXERCISE_RESTRICTED = "exercise-restricted"
    EXERCISE_SAMPLES = "exercise-samples"

    @property
    def is_alarm(self) -> bool:
        """Whether it is stored and told at once: alarm events, assessments, answers."""
        return self not in (Lane.SAMPLES, Lane.EXERCISE_SAMPLES)

    @property
    def is_exercise(self) -> bool:
        """Whether it is published below the exercise root."""
        return self in (Lane.EXERCISE_ALARMS, Lane.EXERCISE_RESTRICTED, Lane.EXERCISE_SAMPLES)


@quick(frozen=True, slots=True)
class Entry:
    """One message to be journalled: ``topic`` below ROOT/GATEWAY/, ``body`` a JSON object."""

    lane: Lane
    topic: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Document:
    """One retained document: the newest ``body`` of ``topic``; empty means: remove it.

    ``durable`` documents (active alarms) survive a restart of the gateway in the journal, the
    others are made anew at each start.
    """

    topic: str
    body: bytes
    exercise: bool = False
    durable: bool = False


@quick(frozen=True, slots=True)
class Outputs:
    """What one step of the pipeline wants stored and shown.

    ``entries`` go to the journal; with ``urgent`` they and the ``states`` (key to JSON, empty: no
    longer needed) commit at once with full synchronisation. ``documents`` follow the commit.
    """

    entries: tuple[Entry, ...] = ()
    documents: tuple[Document, ...] = ()
    states: tuple[tuple[str, bytes], ...] = ()
    urgent: bool = False
    answers: tuple["Answer", ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.entries or self.documents or self.states or self.answers)

    def merged(self, other: "Outputs") -> "Outputs":
        """Both, this one first."""
        return replace(
            self,
            entries=self.entries + other.entries,
            documents=self.documents + other.documents,
            states=self.states + other.states,
            urgent=self.urgent or other.urgent,
            answers=self.answers + other.answers,
        )


@dataclass(frozen=True, slots=True)
class Command:
    """What an operator asks for: ``name`` as in the MQTT contract, ``arguments`` already parsed."""

    name: str
    user: str
    command_id: str
    arguments: tuple[tuple[str, str | int | float | bool], ...] = ()

    def get(self, key: str, default: str = "") -> str:
        """One argument as text."""
        for name, value in self.arguments:
            if name == key:
                return str(value)
        return default


@dataclass(frozen=True, slots=True)
class Notice:
    """A condition of the gateway itself that operators must know: it begins, or it is over.

    ``kind`` is the alarm's name, ``sink`` the sink it is about, if it is about one.
    """

    kind: str
    present: bool
    detail: str = ""
    sink: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a command: refused ones say why."""

    command: Command
    accepted: bool
    reason: str = ""
