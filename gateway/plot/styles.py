"""How everything looks in print: black on white, told apart by marker and line, never by colour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.path import Path

from gateway.alarms.record import AlarmEvent

BLACK: Final = "black"
GREY: Final = "0.45"
PALE: Final = "0.80"
TITLE_PT: Final = 13.0
HEAD_PT: Final = 9.0
TEXT_PT: Final = 7.5
SMALL_PT: Final = 6.5
"""Font sizes for A4; nothing is smaller."""
RC: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT_PT,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "dosegate",
    "hatch.linewidth": 0.5,
    "axes.linewidth": 0.6,
    "axes.unicode_minus": False,
    "path.simplify": False,
}

Style = dict[str, Any]


def _marker(marker: str, face: str, size: float = 5.5) -> Style:
    return {
        "marker": marker,
        "markersize": size,
        "markerfacecolor": face,
        "markeredgecolor": BLACK,
        "markeredgewidth": 0.8,
        "linestyle": "none",
    }


EVENTS: Final[Mapping[str, Style]] = {
    AlarmEvent.RAISED: _marker("^", BLACK, 6.5),
    AlarmEvent.ESCALATED: _marker("D", BLACK, 5.0),
    AlarmEvent.ACKNOWLEDGED: _marker("o", "white"),
    AlarmEvent.RETURNED: _marker("v", "white", 6.5),
    AlarmEvent.RESET: _marker("D", "white", 5.0),
    AlarmEvent.CLOSED: _marker("s", BLACK, 4.5),
}
"""What is drawn of an alarm's history, in the order of its life."""
ESTIMATE: Final[Style] = {"color": BLACK, "linewidth": 0.6}
RATE: Final[Style] = {"color": BLACK, "linewidth": 1.3, "solid_joinstyle": "round"}
PARTS: Final = (".", "x", "+", "1")
"""Counts of the parts of an instrument."""
COUNTS: Final[Style] = {
    "color": GREY,
    "linestyle": "none",
    "markersize": 3.0,
    "markeredgewidth": 0.6,
}
_ARROW: Final = Path(
    [(0.0, 0.0), (0.0, 2.0), (-0.6, 1.3), (0.0, 2.0), (0.6, 1.3)],
    [Path.MOVETO, Path.LINETO, Path.MOVETO, Path.LINETO, Path.LINETO],
)
BOUND: Final[Style] = {**_marker("^", "none", 16.0), "marker": _ARROW}
"""Stands on the bound and points upwards."""
NO_NUMBER: Final[Style] = {**_marker("|", BLACK, 5.0), "color": BLACK}
LEVEL: Final[Style] = {"color": BLACK, "linewidth": 0.7, "linestyle": (0, (6, 3))}
MARK: Final[Style] = {"color": BLACK, "linewidth": 0.6, "linestyle": (0, (1, 2))}
SILENCE: Final[Style] = {"facecolor": "white", "edgecolor": PALE, "hatch": "////", "linewidth": 0}
ACTIVE: Final[Style] = {"facecolor": "0.35", "edgecolor": BLACK, "linewidth": 0.5}
HIDDEN: Final[Style] = {"facecolor": "0.88", "edgecolor": BLACK, "linewidth": 0.5}
STALE: Final[Style] = {"facecolor": "white", "edgecolor": BLACK, "hatch": "xxxxx", "linewidth": 0.5}
OPEN: Final[Style] = {"color": BLACK, "linewidth": 1.6, "linestyle": (0, (1, 1))}
EVENT: Final[Style] = {"color": BLACK, "linewidth": 0.8}
FAULT: Final = {**_marker("X", BLACK, 6.0), "markeredgewidth": 0.3}
STATE: Final[Style] = {"facecolor": "white", "edgecolor": "0.3", "linewidth": 0.5}
PASSED: Final[Style] = {"color": GREY, "linewidth": 2.5, "solid_capstyle": "butt"}
PASSED_ALARM: Final[Style] = {"color": BLACK, "linewidth": 4.0, "solid_capstyle": "butt"}
POST: Final = _marker("s", "white", 9.0)
DETECTOR: Final = _marker("o", BLACK, 5.0)
DETECTOR_WAY: Final[Style] = {"color": BLACK, "linewidth": 1.0}
SOURCE: Final = _marker("P", "white", 8.0)
SOURCE_WAY: Final[Style] = {"color": BLACK, "linewidth": 0.9, "linestyle": (0, (4, 2, 1, 2))}
ALARM: Final = _marker("*", "white", 13.0)
ZONE: Final[Style] = {"facecolor": "none", "edgecolor": PALE, "hatch": "..", "linewidth": 0.8}


def line(style: Style, **more: Any) -> Artist:
    """A legend's piece of line or marker."""
    return Line2D([], [], **{**style, **more})


def patch(style: Style) -> Artist:
    """A legend's piece of area."""
    return Patch(**style)


@dataclass(slots=True)
class Key:
    """The legend in the making: only what is in the picture, in the order of its first use."""

    entries: dict[str, Artist] = field(default_factory=dict)

    def line(self, label: str, style: Style, **more: Any) -> None:
        """A line or marker was drawn."""
        self.entries.setdefault(label, line(style, **more))

    def patch(self, label: str, style: Style) -> None:
        """An area was drawn."""
        self.entries.setdefault(label, patch(style))
