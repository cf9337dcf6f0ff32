"""The journal's messages as files: tables (CSV) and JSON lines, one message at a time.

A file appears whole or not at all. Texts of instruments that a spreadsheet would take for a formula
get an apostrophe before them; numbers are written as they were kept.
"""

import csv
import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from errno import EISDIR
from pathlib import Path
from typing import Any, BinaryIO, Final

from gateway.wire.alarms import ANSWER, ASSESSED, EVENT
from gateway.wire.samples import PASSAGE
from gateway.wire.table import Table, dump

Message = dict[str, Any]
MODE: Final = 0o640
_KEY: Final = ("lane", "epoch", "seq")
_READING: Final = (
    *("channel", "part", "value", "unit", "flags", "lower_bound", "window_s", "raw"),
)
_TABLES: Final[Mapping[str, Table[Any]]] = {
    "alarm_event": EVENT,
    "passage": PASSAGE,
    "answer": ANSWER,
    "assessment": ASSESSED,
}
TABLES: Final = ("sample", *_TABLES)
"""The kinds of messages that there is a table for."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def columns(kind: str) -> tuple[str, ...]:
    """The heading of the table of a kind."""
    if kind == "sample":
        return ("time", "detector", *_READING, *_KEY)
    return (*(key.name for key in _TABLES[kind].keys), *_KEY)


def csv_lines(kind: str, messages: Iterable[Message]) -> Iterator[bytes]:
    """A table in UTF-8 with CR LF (RFC 4180): a row a message, for samples a row a reading."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns(kind))
    for message in messages:
        writer.writerows(_rows(kind, message))
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def _rows(kind: str, message: Message) -> Iterator[list[str]]:
    if message.get("kind") != kind:
        return  # a row that cannot be read
    if kind != "sample":
        yield [cell(message.get(name)) for name in columns(kind)]
        return
    begin = [cell(message[name]) for name in ("time", "detector")]
    end = [cell(message[name]) for name in _KEY]
    for reading in message["readings"]:
        flags = [*message["flags"], *reading["flags"]]
        values = [flags if name == "flags" else reading[name] for name in _READING]
        yield [*begin, *map(cell, values), *end]


def cell(value: object) -> str:
    """One cell: nothing for null, shortest digits of the very same number, texts made harmless."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return cell(" ".join(dict.fromkeys(value)))
    return dump(value).decode()


def json_lines(messages: Iterable[Message]) -> Iterator[bytes]:
    """One message a line, as it was published."""
    for message in messages:
        yield dump(message) + b"\n"


@contextmanager
def writing(out: str) -> Iterator[BinaryIO]:
    """Where an export goes: ``-`` is standard output. Raises OSError.

    A file has its name only once all of it is on the disk; a device is written as it is.
    """
    path = Path(out)
    if out == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as device:
            yield device
    else:
        with _whole_file(path) as file:
            yield file


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    if path.is_dir():
        raise IsADirectoryError(EISDIR, "it is a folder")
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
