"""What goes wrong with links in a scenario: bytes, connections, answers, cables.

Times of play as in all of a scenario; how late bytes and answers are (``delay_s``, ``late_s``,
``gap_s``) is in seconds of the machine in ``--live``, whatever its speed: so are a reader's limits.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from config.action import Action, DetectorId
from config.models import Id

Share = Annotated[float, Field(gt=0, le=1)]
Lateness = Annotated[float, Field(ge=0, le=3600)]


class LinkAction(Action):
    """The cable of one detector; or it is frozen, silent while its link stays open."""

    played: ClassVar[bool] = True

    do: Literal["unplug", "freeze", "thaw"]
    detector: DetectorId


class Replug(Action):
    """The cable is put back."""

    played: ClassVar[bool] = True

    do: Literal["replug"]
    detector: DetectorId
    renumbered: Annotated[
        bool, Field(description="a serial port comes back under another tty number; live only")
    ] = False

    def left_out(self) -> str:
        """Virtual time has no tty numbers."""
        return "'renumbered' is played with --live only" if self.renumbered else ""


class Swap(Action):
    """The cables of two detectors are crossed: each link reaches the other's instrument."""

    played: ClassVar[bool] = True

    do: Literal["swap"]
    detector: DetectorId
    other: Annotated[Id, Field(description="whose cable goes to the detector's place")]


class LinkFault(Action):
    """Something that goes wrong with one link until ``mend``, or for a while."""

    played: ClassVar[bool] = True

    do: str
    detector: DetectorId
    for_s: Annotated[float | None, Field(gt=0, description="then it ends by itself")] = None


class Split(LinkFault):
    """Bytes arrive in small pieces with gaps between them."""

    do: Literal["split"]
    size: Annotated[int, Field(ge=1, le=4096, description="bytes of a piece")] = 1
    gap_s: Annotated[Lateness, Field(description="between two pieces")] = 0.02


class Loss(LinkFault):
    """Bytes get lost by chance."""

    do: Literal["loss"]
    share: Annotated[Share, Field(description="of the bytes")] = 0.01


class Corruption(LinkFault):
    """One bit of a byte is flipped by chance."""

    do: Literal["corruption"]
    share: Annotated[Share, Field(description="of the bytes")] = 0.01


class Delay(LinkFault):
    """Bytes come late, in order."""

    do: Literal["delay"]
    delay_s: Annotated[Lateness, Field(description="so late at least")] = 1.0
    jitter_s: Annotated[Lateness, Field(description="up to so much later, by chance")] = 0.0


class LateReply(LinkFault):
    """The next answers come late, each by itself: too late for its question."""

    do: Literal["late_reply"]
    late_s: Annotated[
        Lateness, Field(description="default: as in a measured slip of Modbus RTU")
    ] = 0.7
    count: Annotated[int, Field(ge=1, description="so many answers")] = 1


class Echo(LinkFault):
    """What the gateway sends comes back to it, before any answer."""

    do: Literal["echo"]


class Flood(LinkFault):
    """Printable bytes without end and without an end of line."""

    do: Literal["flood"]
    rate: Annotated[int, Field(ge=1, le=1_000_000, description="bytes/s")] = 100_000


class ReplyFault(LinkFault):
    """What a Modbus instrument does wrong with its answers; on a shared bus only this one."""

    live_only: ClassVar[bool] = True

    do: Literal["reply_fault"]
    fault: Annotated[
        Literal[
            "silent", "short", "corrupt", "wrong_unit", "wrong_function", "exception", "pipelined"
        ],
        Field(description="what is wrong with an answer"),
    ]
    count: Annotated[
        int | None, Field(ge=1, description="so many answers; default: all until mended")
    ] = None
    code: Annotated[int, Field(ge=1, le=255, description="of the exception")] = 4


class HalfOpen(Action):
    """Its TCP connections stay open and dead for ever, as after a power cut; new ones work."""

    played: ClassVar[bool] = True
    live_only: ClassVar[bool] = True

    do: Literal["half_open"]
    detector: DetectorId


class Mend(Action):
    """Every fault of bytes and answers on the detector's link is over."""

    played: ClassVar[bool] = True

    do: Literal["mend"]
    detector: DetectorId


ByteFault = Split | Loss | Corruption | Delay | LateReply | Echo | Flood
"""What happens to bytes on the way."""

LinkActions = LinkAction | Replug | Swap | ByteFault | ReplyFault | HalfOpen | Mend
