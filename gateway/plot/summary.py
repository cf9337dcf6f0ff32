"""What a picture says in words: its title, what is simulated, what is left out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.plot.choice import Choice
from gateway.plot.numbers import plain
from gateway.plot.places import Plan
from gateway.plot.values import DetectorStory, Shown, Stage, Story

MOST_NAMED: Final = 12
"""Own choice: so many detectors that are left out are named in the picture."""
AS_THEY_CAME: Final = (
    "Readings as they came: nothing is smoothed; a line ends where a number is missing."
)


@dataclass(frozen=True, slots=True)
class Page:
    """What stands above a picture, and how large it is; ``exercise`` is empty for real data."""

    title: str
    size_in: tuple[float, float]
    exercise: str = ""


def exercise_note(story: Story, stage: Stage) -> str:
    """EXERCISE, where anything is simulated."""
    simulated = [each.id for each in story.detectors if each.is_simulated]
    if stage.is_simulated or (simulated and len(simulated) == len(story.detectors)):
        return "EXERCISE: simulated data"
    if not simulated:
        return ""
    return f"EXERCISE in part: {_named(simulated)} simulated"


def left_out(choice: Choice, story: Story, plan: Plan) -> tuple[str, ...]:
    """What is not in the picture, a sentence for each."""
    found = []
    if choice.left_out:
        drawn = f"{len(choice.blocks)} of {len(story.detectors)} detectors are drawn"
        found.append(f"{drawn}, the gravest first. Not drawn: {_others(choice.left_out)}.")
    for shown in Shown:
        names = [name for name, axis in choice.axes_left_out if axis is shown]
        if names:
            found.append(f"No room for {shown} of {_named(names)}.")
    silent = [block.detector.id for block in choice.blocks if not block.shown]
    if silent:
        found.append(f"No dose rate or counts in this time: {_named(silent)}.")
    hidden = [block for block in choice.blocks if block.hidden_rows]
    if hidden:
        told = [f"{block.hidden_rows} of {block.detector.id}" for block in hidden]
        found.append(f"Kinds of alarms without a row: {', '.join(told)}.")
    if plan.unplaced and not plan.is_empty:
        found.append(f"Alarms without a known place, not on the map: {plan.unplaced}.")
    return tuple(found)


def notes(story: Story, stage: Stage) -> tuple[str, ...]:
    """What a reader must know."""
    return (AS_THEY_CAME, *stage.notes)


def _others(detectors: Sequence[DetectorStory]) -> str:
    """Those with alarms each, then the quiet ones; with their greatest dose rates."""
    loud = [each for each in detectors if _levels(each)]
    quiet = [each for each in detectors if not _levels(each)]
    told = [f"{each.id} {_levels(each)}{_most(each)}" for each in loud[:MOST_NAMED]]
    if len(loud) > MOST_NAMED:
        told.append(f"{len(loud) - MOST_NAMED} more with alarms")
    if quiet:
        names = [f"{each.id}{_most(each)}" for each in quiet]
        told.append(f"without an alarm {_named(names)}")
    dosed = any(map(_most, detectors))
    return "; ".join(told) + (" (greatest dose rates in µSv/h)" if dosed else "")


def _levels(detector: DetectorStory) -> str:
    return ", ".join(sorted({a.grade or a.alarm for a in detector.alarms if not a.is_hidden}))


def _most(detector: DetectorStory) -> str:
    values = [
        point.value
        for series in detector.of(Shown.DOSE_RATE)
        for point in series.points
        if point.value is not None and series.unit == "µSv/h"
    ]
    return f" {plain(float(f'{max(values):.3g}'))}" if values else ""


def _named(names: Sequence[str]) -> str:
    told = ", ".join(names[:MOST_NAMED])
    return f"{told} and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else told
