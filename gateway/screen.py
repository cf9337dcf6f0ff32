"""Lines of text on a terminal: how wide they are, cut and wrapped to its width."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

CUT: Final = "…"
_PAINT: Final = re.compile(r"\033\[[0-9;]*m")
_PLAIN: Final = "\033[0m"
_WIDE: Final = ("W", "F")
"""Unicode Standard Annex 11: these take two columns, unless they combine."""


class Size(NamedTuple):
    """Of a terminal."""

    columns: int
    lines: int


def width(text: str) -> int:
    """How many columns it takes; paint takes none."""
    return sum(map(_columns, _PAINT.sub("", text)))


def padded(text: str, columns: int) -> str:
    """Filled up with blanks to that width."""
    return text + " " * (columns - width(text))


def cut(line: str, columns: int) -> str:
    """The line, with "…" at its end where it was too wide; paint ends with it."""
    if width(line) <= columns:
        return line
    kept: list[str] = []
    left, end = columns - width(CUT), 0
    for found in _PAINT.finditer(line):
        left = _take(line[end : found.start()], left, kept)
        if left < 0:
            break
        kept.append(found.group())
        end = found.end()
    else:
        _take(line[end:], left, kept)
    return "".join(kept) + CUT + (_PLAIN if _PAINT.search(line) else "")


def wrapped(line: str, columns: int, lines: int) -> list[str]:
    """The line over so many lines at most, each begun as it is; the last one is cut."""
    indent = line[: len(line) - len(line.lstrip())]
    rest, told = line.strip(), list[str]()
    while len(told) < lines - 1 and width(indent + rest) > columns:
        part = _part(rest, columns - width(indent))
        told.append(indent + part.rstrip())
        rest = rest[len(part) :].lstrip()
    return [*told, cut(indent + rest, columns)] if rest or not told else told


def _take(text: str, left: int, kept: list[str]) -> int:
    """Keeps what fits; the columns that are left then, -1 where something did not fit."""
    for char in text:
        if _columns(char) > left:
            return -1
        kept.append(char)
        left -= _columns(char)
    return left


def _part(text: str, columns: int) -> str:
    """What goes on one line: whole words, or what fits of one; at least one character."""
    kept: list[str] = []
    _take(text, columns, kept)
    fits = "".join(kept) or text[:1]
    end = fits.rfind(" ") + 1
    is_whole = text[len(fits) : len(fits) + 1] in ("", " ")
    return fits if is_whole or end < len(fits) / 2 else fits[:end]


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in _WIDE else 1


def fitted(lines: Sequence[str], size: Size) -> list[str]:
    """So many of the lines as there are on the screen, each cut to its width."""
    return [cut(line, size.columns) for line in lines[: size.lines]]
