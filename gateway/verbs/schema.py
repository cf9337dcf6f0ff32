"""``schema``: the public contracts as JSON Schemas and reference pages, written or compared."""

import argparse
from pathlib import Path
from typing import Final

from gateway.reference import reference_files
from gateway.verbs.terminal import Exit, complain, say

MEASURED: Final = frozenset({"performance.md"})
"""Pages of the reference that say what was measured: nothing makes them anew."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("name", nargs="?", help="one file to print, such as sample.schema.json")
    parser.add_argument("--write", type=Path, metavar="DIR", help="write all files there")
    parser.add_argument("--check", type=Path, metavar="DIR", help="1 if a file there is not fresh")


def run(arguments: argparse.Namespace) -> Exit:
    """Lists, prints, writes or compares."""
    files = reference_files()
    if arguments.write is not None:
        return _write(files, arguments.write)
    if arguments.check is not None:
        return _check(files, arguments.check)
    if arguments.name is None:
        say("\n".join(sorted(files)))
        return Exit.WELL
    if arguments.name not in files:
        complain(f"no such file: {arguments.name}; there are: {', '.join(sorted(files))}")
        return Exit.USAGE
    say(files[arguments.name].rstrip())
    return Exit.WELL


def _write(files: dict[str, str], directory: Path) -> Exit:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    return Exit.WELL


def _check(files: dict[str, str], directory: Path) -> Exit:
    if not directory.is_dir():
        complain(f"{directory}: no such folder")
        return Exit.USAGE
    stale = [name for name, text in files.items() if _read(directory / name) != text]
    for name in sorted(stale):
        complain(f"{directory / name} is not fresh: run dosegate schema --write {directory}")
    there = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    foreign = {path.as_posix() for path in there} - files.keys() - MEASURED
    for name in sorted(foreign):
        complain(f"{directory / name} is no file of the schema set: remove it")
    return Exit.FAULT if stale or foreign else Exit.WELL


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
