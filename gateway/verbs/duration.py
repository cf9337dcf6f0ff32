"""Durations as people say them: ``10min``, ``90s``, ``1h30min``."""

import re
from typing import Final

_SECONDS: Final = {"d": 86_400.0, "h": 3600.0, "min": 60.0, "s": 1.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|s)\s*")
EXAMPLE: Final = "such as 90s, 10min, 2h"


def seconds(text: str) -> float:
    """The duration in seconds. Raises ValueError."""
    plain = text.strip()
    parts = _PART.findall(plain)
    units = [unit for _, unit in parts]
    if not parts or _PART.sub("", plain) or len(set(units)) != len(units):
        raise ValueError(f"{text!r} is no duration: {EXAMPLE}")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
