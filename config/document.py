"""Reading a TOML file with errors a person can act on."""

import re
import tomllib
from pathlib import Path
from stat import S_ISREG
from typing import Final

from config.locate import locate
from config.problem import ConfigErrors, Findings, Problem

SIZE_LIMIT: Final = 1024 * 1024
"""Largest file that is read, in bytes."""
_PLACE: Final = re.compile(
    r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)"
)


def read_document(path: Path) -> Findings:
    """The raw document with the places of its keys, nothing found yet. Raises ConfigErrors."""
    text = _text(path)
    try:
        data = tomllib.loads(text)
        locations = locate(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigErrors([_syntax(str(path), text, str(error))]) from None
    except RecursionError:
        problem = Problem(str(path), None, "", "arrays or tables are nested too deeply")
        raise ConfigErrors([problem]) from None
    return Findings(str(path), data, locations)


def _text(path: Path) -> str:
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            raise _refused(path, "is not a regular file", "name the .toml file itself")
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        raise _refused(path, "no such file", _neighbours(path)) from None
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror or error}") from None
    if len(content) > SIZE_LIMIT:
        raise _refused(path, f"is larger than {SIZE_LIMIT} bytes", "is it the right file?")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = Problem(
            str(path), line, "", "the file is not UTF-8 text", "save it with UTF-8 encoding"
        )
        raise ConfigErrors([problem]) from None


def _refused(path: Path, message: str, hint: str = "") -> ConfigErrors:
    return ConfigErrors([Problem(str(path), None, "", message, hint)])


def _neighbours(path: Path) -> str:
    try:
        found = sorted(other.name for other in path.parent.glob("*.toml"))
    except OSError:
        return ""
    return f"beside it: {', '.join(found[:8])}" if found else ""


def _syntax(file: str, text: str, message: str) -> Problem:
    match = _PLACE.search(message)
    plain = _PLACE.sub("", message)
    if match is None:
        return Problem(file, None, "", f"not TOML: {plain}")
    if match["line"] is None:
        return Problem(file, text.count("\n") + 1, "", f"not TOML: {plain} at the end of the file")
    line = int(match["line"])
    return Problem(
        file, line, "", f"not TOML: {plain} at column {match['column']}", _advise(text, line)
    )


def _advise(text: str, line: int) -> str:
    source = text.replace("\r\n", "\n").split("\n")[line - 1]
    _, equals, value = source.partition("=")
    if not equals:
        return "a line is either [table], [[table]] or key = value"
    value = value.strip()
    if value in ("True", "False", "yes", "no", "on", "off", "None", "null"):
        return "truth values are written true and false; leave a key out if it has no value"
    if value and value[0] not in "\"'[{0123456789+-tf":
        return "text needs quotes around it"
    return ""
