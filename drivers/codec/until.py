"""When an answer is complete: the four ways instruments have."""

from typing import Literal

from drivers.api import Done, More, Quiet, Until


def count(length: int) -> Until:
    """Complete at exactly ``length`` bytes."""

    def until(buffer: bytes) -> Done | More:
        return Done(length) if len(buffer) >= length else More()

    return until


def terminator(end: bytes) -> Until:
    """Complete with the first ``end``, which belongs to the answer."""

    def until(buffer: bytes) -> Done | More:
        at = buffer.find(end)
        return More() if at < 0 else Done(at + len(end))

    return until


def length_prefix(
    at: int, size: int, extra: int, byteorder: Literal["big", "little"] = "big"
) -> Until:
    """Complete when the length field of ``size`` bytes at ``at``, plus ``extra``, is reached."""

    def until(buffer: bytes) -> Done | More:
        if len(buffer) < at + size:
            return More()
        total = int.from_bytes(buffer[at : at + size], byteorder) + extra
        return Done(total) if len(buffer) >= total else More()

    return until


def quiet(seconds: float, at_least: int = 1) -> Until:
    """Complete when at least ``at_least`` bytes came and then nothing for ``seconds``."""

    def until(buffer: bytes) -> More | Quiet:
        return Quiet(seconds) if len(buffer) >= at_least else More()

    return until
