"""The simulators' own list of what they sent, to compare with what arrived elsewhere."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from simulators.api import Emission


class TruthFile:
    """JSON lines: time of play in s, Unix time of sending in s, detector, what the bytes say."""

    def __init__(self, path: Path, wall: Callable[[], float] = time.time) -> None:
        self._path = path
        self._wall = wall

    def __enter__(self) -> Self:
        self._file = self._path.open("w", encoding="utf-8", buffering=1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def note(self, detector: str, emission: Emission) -> None:
        """One emission that left; those that say nothing (handshakes) are left out."""
        if emission.says:
            line = {
                "t": emission.at_s,
                "sent": self._wall(),
                "detector": detector,
                "says": dict(emission.says),
            }
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
