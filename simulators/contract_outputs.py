"""What the contract suite looks at in the outputs of a driver."""

import dataclasses
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from drivers.api import DriverInfo, Identity, Output, Passage, Sample
from drivers.errors import DriverError

RAW_LIMIT: Final = 65_536
Value = tuple[object, ...]
_Result = TypeVar("_Result")


class ContractBroken(Exception):
    """A driver does not keep the contract: which one, which rule, what happened."""

    def __init__(self, driver: str, rule: str, detail: str) -> None:
        super().__init__(f"{driver}: {rule}: {detail}")
        self.driver = driver
        self.rule = rule
        self.detail = detail


def default_options(info: DriverInfo) -> dict[str, bool | int | float | str]:
    """The options a configuration without any gives."""
    return {option.name: option.default for option in info.options}


def values(outputs: Iterable[Output]) -> list[Value]:
    """What was measured, without what belongs to the moment (identity, ages, independence)."""
    return [
        _passage_value(output) if isinstance(output, Passage) else _sample_value(output)
        for output in outputs
        if not isinstance(output, DriverError)
    ]


def _sample_value(sample: Sample) -> Value:
    return tuple(
        (reading.channel, reading.part, reading.value, reading.unit, reading.lower_bound)
        for reading in sample.readings
    )


def _passage_value(passage: Passage) -> Value:
    alarms = (passage.gamma_alarm, passage.neutron_alarm)
    return ("passage", passage.number, *alarms, passage.gamma_max, passage.neutron_max)


def invented(made: Iterable[Value], known: Iterable[Value]) -> list[Value]:
    """Samples that nobody sent. A passage that lost a part of itself is not invented."""
    honest = set(known)
    return [value for value in made if value[:1] != ("passage",) and value not in honest]


def told(output: Output) -> object:
    """An output in a form that compares."""
    if isinstance(output, DriverError):
        return type(output), output.reason, output.raw, output.detail, output.line, output.offset
    return output


def check_outputs(info: DriverInfo, rule: str, outputs: Iterable[Output]) -> list[Output]:
    """All outputs of a cycle, each one checked."""
    collected = guarded(info, rule, lambda: list(outputs))
    for output in collected:
        check_output(info, rule, output)
    return collected


def check_output(info: DriverInfo, rule: str, output: Output) -> None:
    """A value of the agreed kinds, of finite numbers, or an error of bounded size."""
    if isinstance(output, DriverError):
        if len(output.raw) > RAW_LIMIT:
            raise ContractBroken(info.name, rule, f"an error holds {len(output.raw)} bytes")
        return
    if not isinstance(output, Sample | Passage):
        raise ContractBroken(info.name, rule, f"yielded {output!r}")
    if any(not math.isfinite(number) for number in floats(output)):
        raise ContractBroken(info.name, rule, f"a number that is none: {output!r}")
    if isinstance(output, Sample):
        moment = output.device_time
        if moment is not None and moment.utcoffset() != timedelta(0):
            raise ContractBroken(info.name, rule, f"device time is not UTC: {moment!r}")
        for reading in output.readings:
            if reading.channel not in info.channels:
                raise ContractBroken(info.name, rule, f"{reading.channel} is not announced")


def check_identity(info: DriverInfo, rule: str, identity: Identity | None) -> None:
    """Finite calibration points and text that can be printed."""
    if identity is None:
        return
    if any(not math.isfinite(number) for number in floats(identity)):
        raise ContractBroken(info.name, rule, f"a number that is none: {identity!r}")
    for text in (identity.model, identity.serial, identity.firmware):
        if text is not None and not text.isprintable():
            raise ContractBroken(info.name, rule, f"identity is not text: {text!r}")


def random_split(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """The same bytes in pieces of random size, empty ones among them."""
    at = 0
    longest = rng.choice((2, 8, 64, 512))
    while at < len(data):
        size = rng.randrange(longest)
        yield data[at : at + size]
        at += size


def floats(value: object) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from floats(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from floats(getattr(value, field.name))


def guarded(info: DriverInfo, rule: str, action: Callable[[], _Result]) -> _Result:
    try:
        return action()
    except Exception as error:
        raise ContractBroken(info.name, rule, f"raised {error!r}") from error


def ends_with(sequence: Sequence[object], end: Sequence[object]) -> bool:
    return list(sequence[len(sequence) - len(end) :]) == list(end)


def first_difference(one: Sequence[object], other: Sequence[object]) -> str:
    for number, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return f"output {number}: whole {left!r}, split {right!r}"
    return f"whole gives {len(one)} outputs, split {len(other)}"
