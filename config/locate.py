"""Where each key of a TOML document stands: the standard parser keeps no line numbers.

A scanner, not a validator: it is run on text that ``tomllib`` has already accepted (TOML 1.0). On
anything else it stops at the first character it cannot place and keeps what it has found.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

Path = tuple[str | int, ...]

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BLANK: Final = re.compile(r"[ \t]*")
_BETWEEN: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")
_REST_OF_LINE: Final = re.compile(r"[^\n]*")
# A quoted text of each kind, quotes included; up to two quotes may stand before the closing three.
_STRINGS: Final = {
    '"""': re.compile(r'"""(?:\\.|[^\\])*?"""(?:"{1,2}(?!"))?', re.DOTALL),
    "'''": re.compile(r"'''.*?'''(?:'{1,2}(?!'))?", re.DOTALL),
    '"': re.compile(r'"(?:\\.|[^"\\\n])*"'),
    "'": re.compile(r"'[^'\n]*'"),
}
_ESCAPES: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)")


@dataclass(frozen=True, slots=True)
class Locations:
    """Line numbers, from 1, by key path: ``("detector", 1, "link", "port")``."""

    lines: Mapping[Path, int]

    def line(self, path: Path) -> int | None:
        """Where the key stands or, if it does not, the innermost table that would hold it."""
        for length in range(len(path), 0, -1):
            if (found := self.lines.get(path[:length])) is not None:
                return found
        return None


def locate(text: str) -> Locations:
    """The lines of all keys, tables and array elements of a TOML text."""
    scanner = _Scanner(text)
    with suppress(_Lost):
        scanner.document()
    return Locations(scanner.lines)


class _Lost(Exception):
    """The text is not TOML here."""


@dataclass(slots=True)
class _Scanner:
    text: str
    at: int = 0
    lines: dict[Path, int] = field(default_factory=dict)
    _starts: list[int] = field(default_factory=list)
    _newest: dict[Path, int] = field(default_factory=dict)  # array of tables -> last index

    def __post_init__(self) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", self.text))]

    def document(self) -> None:
        """Every statement: headers change the table that keys belong to."""
        table: Path = ()
        self._skip(_BETWEEN)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_REST_OF_LINE)
            self._skip(_BETWEEN)

    def _header(self) -> Path:
        line = self._line()
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        path: Path = ()
        keys = self._key()
        for number, key in enumerate(keys):
            path = (*path, key)
            self.lines.setdefault(path, line)
            if is_array and number == len(keys) - 1:
                self._newest[path] = self._newest.get(path, -1) + 1
            if path in self._newest:
                path = (*path, self._newest[path])
                self.lines.setdefault(path, line)
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for key in self._key():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._expect("=")
        self._skip(_BLANK)
        self._value(path)

    def _key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self._skip(_BLANK)
            parts.append(self._key_part())
            self._skip(_BLANK)
            if not self.text.startswith(".", self.at):
                return tuple(parts)
            self.at += 1

    def _key_part(self) -> str:
        if match := _BARE_KEY.match(self.text, self.at):
            self.at = match.end()
            return match[0]
        quote = self.text[self.at : self.at + 1]
        if quote not in ("'", '"') or not (match := _STRINGS[quote].match(self.text, self.at)):
            raise _Lost
        self.at = match.end()
        inner = match[0][1:-1]
        return inner if quote == "'" else _ESCAPE.sub(_unescape, inner)

    def _value(self, path: Path) -> None:
        for quotes, pattern in _STRINGS.items():
            if self.text.startswith(quotes, self.at):
                self._skip(pattern)
                return
        if self.text.startswith("[", self.at):
            self._array(path)
        elif self.text.startswith("{", self.at):
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        self._skip(_BETWEEN)
        while not self.text.startswith("]", self.at):
            self.lines.setdefault((*path, index), self._line())
            self._value((*path, index))
            index += 1
            self._separator("]")
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        self._skip(_BETWEEN)
        while not self.text.startswith("}", self.at):
            self._pair(path)
            self._separator("}")
        self.at += 1

    def _separator(self, closing: str) -> None:
        self._skip(_BETWEEN)
        if not self.text.startswith(closing, self.at):
            self._expect(",")
            self._skip(_BETWEEN)

    def _expect(self, character: str) -> None:
        if not self.text.startswith(character, self.at):
            raise _Lost
        self.at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise _Lost
        self.at = match.end()

    def _line(self) -> int:
        return bisect_right(self._starts, self.at)


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "uU":
        return chr(int(code[1:], 16))
    return _ESCAPES.get(code, code)
