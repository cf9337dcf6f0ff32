"""A recording that is a test: ``recording.jsonl``, ``about.toml`` and ``expected.jsonl``."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from config.document import read_document
from config.explain import explain
from config.models import Strict
from config.problem import ConfigErrors

RECORDING: Final = "recording.jsonl"
ABOUT: Final = "about.toml"
EXPECTED: Final = "expected.jsonl"
KINDS: Final = ("sample", "passage", "alarm_event", "reject")
TOLERANCE: Final = 1e-9
"""Of numbers: the last digits of a logarithm depend on the machine."""


class About(Strict):
    """What a folder shows and how it is read; what is not named is as the recording says."""

    shows: Annotated[str, Field(min_length=1, description="the fault, for readers")]
    driver: str | None = None
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    only: Annotated[
        tuple[str, ...], Field(strict=False, min_length=1, description="kinds of what is expected")
    ] = KINDS


def about(folder: Path) -> About:
    """What ``about.toml`` says. Raises ConfigErrors."""
    findings = read_document(folder / ABOUT)
    try:
        return About.model_validate(findings.data)
    except ValidationError as error:
        explain(findings, About, error.errors(include_url=False))
    raise ConfigErrors(findings.in_order())


def template(driver: str) -> str:
    """An ``about.toml`` to be completed."""
    return f'shows = "to be written: what is wrong here"\ndriver = "{driver}"\n'


def first_difference(expected: Iterable[str], found: Iterable[str]) -> str:
    """Where two lists of JSON lines differ, nothing if they agree.

    Every key that is expected must be there; others may have been added since.
    """
    wanted, got = list(expected), list(found)
    for number, (one, other) in enumerate(zip(wanted, got, strict=False), start=1):
        where = _differs(json.loads(one), json.loads(other), "")
        if where:
            return f"line {number}: {where}"
    if len(wanted) != len(got):
        more = wanted[len(got)] if len(wanted) > len(got) else got[len(wanted)]
        which = "is missing" if len(wanted) > len(got) else "is one too many"
        return f"{len(wanted)} lines expected, {len(got)} found; this one {which}: {more[:200]}"
    return ""


def _differs(expected: Any, found: Any, where: str) -> str:
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            if key not in found:
                return f"{where}.{key} is missing".lstrip(".")
            if below := _differs(value, found[key], f"{where}.{key}"):
                return below
        return ""
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            if below := _differs(one, other, f"{where}[{index}]"):
                return below
        return ""
    if _are_numbers(expected, found) and math.isclose(expected, found, rel_tol=TOLERANCE):
        return ""
    if expected == found and type(expected) is type(found):
        return ""
    return f"{where} is {json.dumps(found)[:80]}, not {json.dumps(expected)[:80]}".lstrip(".")


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)
