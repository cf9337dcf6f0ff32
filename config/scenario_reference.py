"""The reference page of scenario files, made from their models: each table and action, each key."""

from collections.abc import Iterator, Mapping
from typing import Final, get_args

from pydantic import BaseModel

from config.action import LIVE_ONLY, RESERVED, Action
from config.actions import Event
from config.amounts import ACTIVITY, COUNT_RATE, DOSE, DOSE_RATE, SPEED
from config.archetypes import ARCHETYPES, Archetype
from config.command_actions import Command, OnAlarm
from config.key_rows import is_many, models_in, rows
from config.link_actions import LinkFault
from config.nuclides import NUCLIDES, SELF_SHIELDING
from config.scenario import Scenario
from config.scenario_detectors import JsonLinesSettings

INTRODUCTION: Final = """\
How scenarios are played, and ready ones: [simulating](../guides/simulating.md). For tools there is
[scenario.schema.json](scenario.schema.json).

Coordinates are metres from the origin: x to the east, y to the north, z upwards. Times are seconds
of play, as are those of `at_s` and `t`. Amounts are text with a number, a blank and a unit. Unknown
keys are errors.
"""
_SHARED: Final[Mapping[type[Action], tuple[str, str]]] = {
    Action: ("All actions", "Keys of every `[[event]]`."),
    Command: ("Commands", "What operators ask for; on a live gateway its own verbs do that."),
    OnAlarm: ("Commands about an alarm", ""),
    LinkFault: ("Faults of links", ""),
}
"""Bases of actions: their keys are told once, in a section of that name."""


def scenario_page(note: str) -> str:
    """The whole page; ``note`` says where it comes from."""
    parts = ["# Scenario files\n", note, INTRODUCTION, *_amounts(), *_tables(), *_actions()]
    parts += ["## Settings of json-lines\n", f"{told(JsonLinesSettings)}\n"]
    parts += [*rows(JsonLinesSettings), "", *_archetypes(), *_nuclides()]
    return "\n".join(parts) + "\n"


def told(model: type[BaseModel]) -> str:
    """What a model says about itself, as text of a page."""
    lines = (model.__doc__ or "").strip().splitlines()
    return "\n".join(line.strip() for line in lines).replace("``", "`")


def actions() -> tuple[type[Action], ...]:
    """Every kind of event."""
    return tuple(each for each in models_in(Event) if issubclass(each, Action))


def names_of(action: type[Action]) -> tuple[str, ...]:
    """What ``do`` may say for it."""
    return get_args(action.model_fields["do"].annotation)


def inherited(action: type[Action]) -> type[Action]:
    """The nearest base whose keys are told in a section of their own."""
    return next(base for base in action.__mro__[1:] if base in _SHARED)


def _amounts() -> Iterator[str]:
    yield "## Amounts\n"
    yield "| amount | units |"
    yield "|---|---|"
    for kind in (DOSE_RATE, DOSE, COUNT_RATE, ACTIVITY, SPEED):
        yield f"| {kind.name} | {', '.join(kind.units)} |"
    yield ""


def _tables() -> Iterator[str]:
    """Every table of a file but the events, and below each the tables that are inside it."""
    seen: set[type[BaseModel]] = set()
    for name, field in Scenario.model_fields.items():
        heading = f"[[{name}]]" if is_many(field.annotation) else f"[{name}]"
        if name == "event":
            continue
        for model in models_in(field.annotation):
            yield from _table(f"## `{heading}`\n", model, seen)


def _table(heading: str, model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    seen.add(model)
    yield heading
    yield f"{told(model)}\n"
    yield from rows(model)
    yield ""
    for field in model.model_fields.values():
        for inner in models_in(field.annotation):
            if inner not in seen:
                yield from _table(f"### {inner.__name__}\n", inner, seen)


def _actions() -> Iterator[str]:
    yield "## `[[event]]`\n"
    yield "One of the actions below, named by `do`.\n"
    for shared, (title, text) in _SHARED.items():
        yield f"### {title}\n"
        yield from [f"{text}\n"] if text else ()
        yield from _with_base(shared)
    for action in actions():
        yield "### " + ", ".join(f"`{name}`" for name in names_of(action)) + "\n"
        yield f"{told(action)}{_where(action)}\n"
        yield from _with_base(action)


def _where(action: type[Action]) -> str:
    if not action.played:
        return f" {RESERVED}"
    return f" {LIVE_ONLY}" if action.live_only else ""


def _with_base(action: type[Action]) -> Iterator[str]:
    """Its own keys, after those of its base in a word."""
    base = inherited(action) if action is not Action else None
    if base is not None and base is not Action:
        title = _SHARED[base][0]
        yield f"With the keys of [{title.lower()}](#{title.lower().replace(' ', '-')}).\n"
    before = frozenset(base.model_fields if base else ()) | {"do"}
    own = rows(action, without=before) if set(action.model_fields) - before else []
    if own:
        yield from [*own, ""]


def _archetypes() -> Iterator[str]:
    yield "## Archetypes\n"
    yield "Kinds of detectors; what a detector does not say itself is as here. Counts of a"
    yield "scintillator's background are not its sensitivity times the natural dose rate, so both"
    yield "are given. The `RPM` has no sensitivity of its own.\n"
    yield (
        "| archetype | class | period s | 1/s per µSv/h | background 1/s at 0.10 µSv/h "
        "| neutrons: background 1/s, per n/s at 1 m | limits |"
    )
    yield "|---|---|---|---|---|---|---|"
    for each in ARCHETYPES.values():
        cells = (f"`{each.name}`", each.detector_class, f"{each.step_s:g}", _sensitivity(each))
        neutrons = f"{each.neutron_background_cps:g}, {each.neutron_cps or 0:.3g}"
        background = _number(each.background_cps)
        yield f"| {' | '.join(cells)} | {background} | {neutrons} | {_limits(each)} |"
    yield ""


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _sensitivity(each: Archetype) -> str:
    others = [f"{name} {value:g}" for name, value in each.sensitivities.items()]
    return ", ".join([_number(each.sensitivity_cps), *others])


def _limits(each: Archetype) -> str:
    found = []
    if each.high_range_from is not None:
        found.append(f"from {each.high_range_from:g} µSv/h its other tube, no counts")
    if each.dead_time_s:
        folds = "paralysable " if each.is_paralysable else ""
        found.append(f"{folds}dead time {each.dead_time_s * 1e6:g} µs")
    if each.saturation_cps is not None:
        found.append(f"saturates at {each.saturation_cps:g}/s, {each.saturates_at:g} µSv/h")
    if each.indication_top is not None:
        found.append(f"over range at {each.indication_top:g} µSv/h")
    return "; ".join(found)


def _nuclides() -> Iterator[str]:
    yield "## Nuclides\n"
    yield "The constant is H*(10) of 1 GBq at 1 m in a void, unshielded; a patient is a source of"
    yield "kind `patient` with a measured shielding of his own.\n"
    yield "| nuclide | µSv·m²/(h·GBq) | half-life | a patient lets through |"
    yield "|---|---|---|---|"
    for each in NUCLIDES.values():
        through = SELF_SHIELDING.get(each.name)
        told_through = "" if through is None else f"{through:.2f}"
        yield f"| {each.name} | {each.constant:g} | {each.half_life} | {told_through} |"
