"""What one sample says about the dose rate: the verdict on each level and the evidence for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from drivers.api import Channel
from drivers.units import BASE, Dimension
from gateway.alarms import levels
from gateway.alarms.levels import Fired, Verdict, Verdicts
from gateway.alarms.profiles import OVER_RANGE, LevelSetting
from gateway.alarms.record import Evidence, Number, Rule
from gateway.alarms.usability import Seen
from gateway.alarms.windows import WINDOWS_S, CountWindows, WindowSum
from gateway.values import Measured

_USV_H: Final = BASE[Dimension.DOSE_EQUIVALENT_RATE]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a detector's dose rate is judged against; ``share_per_hour`` is its budget."""

    levels: tuple[LevelSetting, ...]
    range_top: float | None
    off_delay_s: float
    share_per_hour: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdicts of a sample; ``true`` are those of the true dose rate alone, if it had one."""

    verdicts: Verdicts
    true: Verdicts | None
    evidence: Evidence


def judge(
    measured: Measured,
    true: Seen | None,
    estimate: Seen | None,
    windows: CountWindows,
    limits: Limits,
) -> Judgement | None:
    """Both sources of a sample together; None where it has neither."""
    said = None if true is None else levels.judge(limits.levels, true, limits.range_top)
    if estimate is None:
        if true is None or said is None:
            return None
        return Judgement(said, said, _evidence(measured, true, said, limits))
    estimated, fired, sums = _judge_estimate(measured, estimate, windows, limits)
    if true is None or said is None:
        evidence = _estimate_evidence(measured, estimate, estimated, fired, sums, limits)
        return Judgement(estimated, None, evidence)
    if _highest(limits.levels, estimated) is not None and _highest(limits.levels, said) is None:
        evidence = _estimate_evidence(measured, estimate, estimated, fired, sums, limits)
    else:
        evidence = _evidence(measured, true, said, limits)
    return Judgement(levels.merged(said, estimated), said, evidence)


def _judge_estimate(
    measured: Measured, estimate: Seen, windows: CountWindows, limits: Limits
) -> tuple[Verdicts, Fired | None, tuple[WindowSum, ...]]:
    """By its counts where it has some; an estimate without them is taken at its word."""
    basis = measured.counts
    if estimate.beyond or estimate.value is None or basis is None:
        return levels.judge(limits.levels, estimate, limits.range_top), None, ()
    sums = windows.add(basis, measured.at.mono)
    verdicts, fired = levels.judge_counts(
        limits.levels, sums, estimate.clears, limits.share_per_hour
    )
    return verdicts, fired, sums


def _highest(settings: Sequence[LevelSetting], verdicts: Verdicts) -> LevelSetting | None:
    reached = [level for level in settings if verdicts[level.id] is Verdict.REACHED]
    return reached[-1] if reached else None


def _evidence(measured: Measured, seen: Seen, verdicts: Verdicts, limits: Limits) -> Evidence:
    reading = seen.reading
    bound = seen.bound
    if seen.beyond and bound is None:
        bound = limits.range_top
    return Evidence(
        at=measured.at,
        rule=_rule("absolute_level", _highest(limits.levels, verdicts), limits),
        value=None if seen.beyond else seen.value,
        unit=_USV_H,
        quantity=reading.quantity if reading.channel is Channel.DOSE_RATE else None,
        raw=reading.raw,
        lower_bound=bound if seen.beyond else None,
        position=measured.position,
        flags=seen.flags,
        device_alarms=_device_alarms(measured),
    )


def _estimate_evidence(
    measured: Measured,
    estimate: Seen,
    verdicts: Verdicts,
    fired: Fired | None,
    sums: Sequence[WindowSum],
    limits: Limits,
) -> Evidence:
    reading = estimate.reading
    value = estimate.value
    rule = _rule("absolute_level", _highest(limits.levels, verdicts), limits)
    if sums:
        window = sums[-1] if fired is None else fired.window
        value = window.usv_h
        rule = _rule("absolute_level_counts", None if fired is None else fired.level, limits)
    return Evidence(
        at=measured.at,
        rule=rule,
        value=None if estimate.beyond else value,
        unit=_USV_H,
        quantity=reading.quantity if reading.channel is Channel.DOSE_RATE else None,
        raw=reading.raw,
        lower_bound=estimate.bound if estimate.beyond else None,
        statistic=() if fired is None else fired.statistic,
        indicative=True,
        position=measured.position,
        flags=estimate.flags,
        device_alarms=_device_alarms(measured),
    )


def _rule(name: str, level: LevelSetting | None, limits: Limits) -> Rule:
    parameters: list[tuple[str, Number | str]] = [("off_delay_s", limits.off_delay_s)]
    if level is not None:
        parameters += [("level", level.id), ("authority", level.authority)]
        if level.id != OVER_RANGE:
            parameters += [("raise_usv_h", level.raise_at), ("clear_usv_h", level.clear_below)]
    if name == "absolute_level_counts":
        parameters.append(("windows_s", " ".join(f"{seconds:g}" for seconds in WINDOWS_S)))
        parameters.append(("false_alarms_per_hour", limits.share_per_hour))
    return Rule(name, 1, tuple(parameters))


def _device_alarms(measured: Measured) -> tuple[str, ...]:
    return tuple(
        reading.part or "alarm"
        for reading in measured.readings
        if reading.channel is Channel.DEVICE_ALARM and reading.value
    )
