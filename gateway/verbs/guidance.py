"""``guidance``: what an alarm means and what to do at the detector, in the reader's language."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from config.problem import ConfigErrors, did_you_mean, format_problem
from gateway.board import harmless
from gateway.guidance.catalogue import CLASSES, Catalogue, Text, load, reader_language
from gateway.guidance.codes import code_of
from gateway.verbs.terminal import Exit, complain, say
from gateway.wire.table import dump

Row = tuple[str, str | None, Text]
"""A code, a class (None: every other one) and its text."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("code", nargs="?", help="a level or an alarm; without it, all")
    parser.add_argument("--class", dest="detector_class", metavar="CLASS", help="N42.42 class")
    parser.add_argument("--language", metavar="LANG", help="such as en or zh; yours by default")
    parser.add_argument("--site", type=Path, metavar="DIR", help="folder with the site's own texts")
    parser.add_argument("--json", action="store_true", help="one JSON line per text")


def run(arguments: argparse.Namespace) -> Exit:
    """Prints the texts of one code, or of all."""
    try:
        catalogue = load(arguments.site)
    except ConfigErrors as errors:
        for problem in errors.problems:
            complain(format_problem(problem))
        return Exit.USAGE
    faults = list(_faults(arguments, catalogue))
    if faults:
        complain("\n".join(faults))
        return Exit.USAGE
    word, name = arguments.code, arguments.detector_class
    language = arguments.language or reader_language(os.environ)
    for code in catalogue.codes() if word is None else (code_of(word, word),):
        rows = list(_rows(catalogue, code, name, language))
        if arguments.json:
            say("\n".join(dump(_describe(row)).decode() for row in rows))
        else:
            say("\n".join(harmless(line) for line in _lines(rows)))
    return Exit.WELL


def _faults(arguments: argparse.Namespace, catalogue: Catalogue) -> Iterator[str]:
    word, name, language = arguments.code, arguments.detector_class, arguments.language
    if word is not None and code_of(word, word) not in catalogue.codes():
        yield f"no text for {word!r}: {did_you_mean(word, catalogue.codes())}"
    if name is not None and name not in CLASSES:
        yield f"no class {name!r}: {did_you_mean(name, CLASSES)}"
    if language is not None and not catalogue.knows(language):
        yield f"no texts in {language!r}; there are {', '.join(catalogue.languages())}"


def _rows(catalogue: Catalogue, code: str, name: str | None, language: str) -> Iterator[Row]:
    names = (None, *catalogue.special(code, language)) if name is None else (name,)
    for each in names:
        yield code, each, catalogue.text(code, each, language)


def _lines(rows: list[Row]) -> Iterator[str]:
    """Code and title, the advice below it, then the classes that are told something else."""
    classes: dict[Text, list[str]] = {}
    for _, name, text in rows:
        classes.setdefault(text, []).append(name or "")
    (code, _, first), *_ = rows
    yield f"{code}  {first.title}"
    yield f"    {first.advice}"
    del classes[first]
    for text, names in classes.items():
        yield f"    {', '.join(names)}:"
        title = "" if text.title == first.title else f"{text.title}. "
        yield f"        {title}{text.advice}"


def _describe(row: Row) -> dict[str, object]:
    code, name, text = row
    return {
        "code": code,
        "class": name,
        "language": text.language,
        "title": text.title,
        "advice": text.advice,
    }
