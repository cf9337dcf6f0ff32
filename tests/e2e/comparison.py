"""What arrived against the simulators' own list of what they sent (``sent.jsonl``).

For each detector, name and period in which its link was read, what arrived must be one piece of
the list without a gap: it begins no later than the first value sent after the link was up, and
ends no earlier than the last one sent ``UNDER_WAY_S`` before the end of link or daemon. So only
what was sent before and after may be missing, and nothing may be added, repeated or exchanged.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

SKEW_S = 0.1
"""``sent`` is noted just after the bytes left, so they may have arrived a moment before it."""
LATEST_S = 3.0
"""Later than this after it was sent no value is read, on a busy machine either."""
UNDER_WAY_S = 0.5
"""A poll of several questions may be under way when its link or the daemon ends."""

END_MISSED = "end_missed"
"""A passage that nobody has said: the reader's own, when it could not hear the end."""
START_MISSED = "start_missed"
BACKGROUND = "passage.gamma_background"
UNKNOWABLE = object()
"""What a passage says of itself when it began before its link was read."""

Value = tuple[float, object]
"""A time in Unix s and what was said then."""


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when one run of the daemon read one link; Unix s."""

    epoch: int
    up: float
    down: float


@dataclass(slots=True)
class Compared:
    """Values found equal for each detector, and for each end how long before it the tail began.

    A tail is what was sent last and did not arrive; 0 s where nothing is missing.
    """

    equal: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    tails_s: dict[tuple[str, Period], float] = field(default_factory=lambda: defaultdict(float))

    def tail_s(self, epoch: int, *detectors: str) -> float:
        """The longest tail of these detectors in an epoch."""
        return max(
            tail_s
            for (detector, period), tail_s in self.tails_s.items()
            if detector in detectors and period.epoch == epoch
        )


def read_said(path: Path) -> dict[str, dict[str, list[Value]]]:
    """The simulators' list by detector and name."""
    said: dict[str, dict[str, list[Value]]] = defaultdict(lambda: defaultdict(list))
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        for name, value in line["says"].items():
            said[line["detector"]][name].append((line["sent"], value))
    return said


def compare(
    said: Mapping[str, Mapping[str, Sequence[Value]]],
    bodies: Mapping[str, Sequence[Mapping[str, Any]]],
    periods: Mapping[str, Sequence[Period]],
) -> Compared:
    """Raises AssertionError where they differ; all by detector, ``bodies`` in journal order."""
    compared = Compared()
    for detector, names in said.items():
        heard = [
            (body["epoch"], when(body), understood(body))
            for body in bodies[detector]
            if END_MISSED not in body["flags"]
        ]
        last = -math.inf
        for period in periods[detector]:
            end = period.down if period is not periods[detector][-1] else math.inf
            part = [
                (arrived, values)
                for epoch, arrived, values in heard
                if epoch == period.epoch and last < arrived <= end + SKEW_S
            ]
            part = list(_without_what_came_before(part))
            for name, told in names.items():
                got = [(arrived, values[name]) for arrived, values in part if name in values]
                tail_s = _compare(f"{detector} {name} {period}", told, got, period)
                tails = compared.tails_s
                tails[detector, period] = max(tails[detector, period], tail_s)
                compared.equal[detector] += len(got)
            last = period.down + SKEW_S if math.isfinite(period.down) else math.inf
    return compared


def _without_what_came_before(
    part: Sequence[tuple[float, dict[str, object]]],
) -> Iterator[tuple[float, dict[str, object]]]:
    """A passage has no background to tell before the first one is heard on this link."""
    heard = False
    for arrived, values in part:
        heard |= values.get("background.1") is not None
        if not heard and values.get(BACKGROUND, 0) is None:
            values = {**values, BACKGROUND: UNKNOWABLE}
        yield arrived, values


def _compare(what: str, told: Sequence[Value], heard: Sequence[Value], period: Period) -> float:
    """The length in s of the tail that is missing."""
    required = [
        k for k, (sent, _) in enumerate(told) if period.up <= sent <= period.down - UNDER_WAY_S
    ]
    begin = required[0] if required else len(told)
    end = required[-1] + 1 if required else 0
    offset = _first_fit(told, heard, begin)
    assert offset is not None, f"{what}: {_difference(told, heard, begin, end)}"
    stop = offset + len(heard)
    assert stop >= end, f"{what}: {end - stop} missing at the end: {told[stop:end]}"
    tail = [sent for sent, _ in told[max(stop, begin) :] if sent <= period.down]
    return period.down - tail[0] if tail else 0.0


def _first_fit(told: Sequence[Value], heard: Sequence[Value], latest: int) -> int | None:
    """Where in ``told``, at ``latest`` at the most, ``heard`` stands without a gap."""
    if not heard:
        return latest
    for offset in range(min(latest, len(told) - len(heard)), -1, -1):
        pairs = zip(told[offset : offset + len(heard)], heard, strict=True)
        if all(_agree(one, other) for one, other in pairs):
            return offset
    return None


def _agree(told: Value, heard: Value) -> bool:
    (sent, value), (arrived, got) = told, heard
    if not sent - SKEW_S <= arrived <= sent + LATEST_S:
        return False
    if isinstance(value, int | float) and isinstance(got, int | float):
        return math.isclose(value, got, rel_tol=1e-9)
    return got is UNKNOWABLE or value == got


def _difference(told: Sequence[Value], heard: Sequence[Value], begin: int, end: int) -> str:
    """The first place where the two go apart, if they begin together."""
    wanted = told[begin:end]
    k = next(
        (k for k, pair in enumerate(zip(wanted, heard, strict=False)) if not _agree(*pair)),
        min(len(wanted), len(heard)),
    )
    return (
        f"{len(wanted)} must arrive, {len(heard)} did; at {k} "
        f"sent {told[begin + k : begin + k + 4]}, arrived {heard[k : k + 4]}"
    )


def understood(body: Mapping[str, Any]) -> dict[str, object]:
    """The values of a sample or passage under the names and in the units of the list."""
    if body["kind"] == "passage":
        own = {f"passage.{name}": value for name, value in body.items()}
        own["passage.speed_m_s"] = body["speed"]
        missed = START_MISSED in body["flags"]
        return {name: UNKNOWABLE if missed else value for name, value in own.items()}
    values: dict[str, object] = {}
    for reading in body["readings"]:
        name = ".".join(filter(None, (reading["channel"], reading["part"])))
        values[name] = reading["value"]
        number, _, unit = reading["raw"].partition(" ")
        if reading["unit"] == "1/s" and unit == "1/min" and reading["value"] is not None:
            assert math.isclose(float(number), reading["value"] * 60)
            values[name] = float(number)
    return values


def when(body: Mapping[str, Any]) -> float:
    """Unix time of arrival; a passage is over when its last line arrives."""
    return unix(body.get("arrived") or body["end"])


def unix(text: str) -> float:
    """Unix time of an ISO time."""
    return datetime.fromisoformat(text).timestamp()
