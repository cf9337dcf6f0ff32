"""``plot SOURCE OUT``: what happened as a page to print: readings, levels, alarms, faults, a map.

SOURCE is a scenario (.toml), which is played in virtual time, JSON lines as ``simulate`` and
``journal export --format jsonl`` write them (- is standard input), or the folder of a journal. OUT
ends with .png or .svg. Times without an offset are UTC; -90s is before the newest entry.
"""

import argparse
import re
from importlib import import_module
from pathlib import Path
from typing import Final

from gateway.journal.export import writing
from gateway.plot.summary import Page, exercise_note
from gateway.verbs.plot_input import Asked, Told, Unreadable, told_by
from gateway.verbs.terminal import Exit, complain, spare_collector

FORMATS: Final = ("png", "svg")
EXTRA: Final = "a picture needs matplotlib: pip install 'dosegate[plot]'"
MM_PER_INCH: Final = 25.4
LEAST_MM: Final = (200.0, 140.0)
MOST_MM: Final = 1200.0
"""A page that is smaller holds no readable picture; a larger one is no page: own choice."""
_SIZES_MM: Final = {
    "a5": (210.0, 148.0),
    "a4": (297.0, 210.0),
    "a4-portrait": (210.0, 297.0),
    "a3": (420.0, 297.0),
    "a3-portrait": (297.0, 420.0),
}
_MEASURES: Final = re.compile(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("source", help="scenario, JSON lines or folder of a journal; - is stdin")
    parser.add_argument("out", type=Path, help="picture, .png or .svg")
    parser.add_argument(
        "--from",
        dest="begin",
        metavar="TIME",
        help="2026-05-02T14:03:10Z, 14:03:10 or -90s; of a scenario also 30s after its start",
    )
    parser.add_argument("--to", dest="end", metavar="TIME", help="likewise")
    parser.add_argument(
        "--detector", action="append", default=[], metavar="ID", help="only this one; repeatable"
    )
    parser.add_argument("--title", help="above the picture")
    parser.add_argument(
        "--size",
        type=_size,
        default=_SIZES_MM["a4"],
        metavar="SIZE",
        help=f"{', '.join(_SIZES_MM)}, or WIDTHxHEIGHT in mm; a4 is the default",
    )
    parser.add_argument("--seed", type=int, help="of a scenario: another seed than the file's")


def run(arguments: argparse.Namespace) -> Exit:
    """Draws the picture."""
    suffix = arguments.out.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        complain(f"{arguments.out}: a picture ends with .png or .svg")
        return Exit.USAGE
    try:
        import_module("matplotlib")
    except ImportError:
        complain(EXTRA)
        return Exit.USAGE
    spare_collector()
    asked = Asked(arguments.begin, arguments.end, frozenset(arguments.detector), arguments.seed)
    try:
        told = told_by(arguments.source, asked)
    except Unreadable as error:
        complain(str(error))
        return Exit.FAULT if error.is_fault else Exit.USAGE
    return _draw(told, arguments, suffix)


def _draw(told: Told, arguments: argparse.Namespace, suffix: str) -> Exit:
    from gateway.plot.draw import draw  # needs matplotlib, which is an extra

    width, height = arguments.size
    page = Page(
        arguments.title or told.name,
        (width / MM_PER_INCH, height / MM_PER_INCH),
        exercise_note(told.story, told.stage),
    )
    drawn = draw(told.story, told.stage, page, suffix)
    try:
        with writing(str(arguments.out)) as file:
            file.write(drawn.data)
    except OSError as error:
        complain(f"{arguments.out}: {error.strerror or error}")
        return Exit.FAULT
    for remark in drawn.remarks:
        complain(remark)
    story = told.story
    complain(f"{arguments.out}: detectors: {len(story.detectors)}, alarms: {len(story.alarms)}")
    return Exit.WELL


def _size(text: str) -> tuple[float, float]:
    known = _SIZES_MM.get(text.lower())
    if known is not None:
        return known
    found = _MEASURES.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not {', '.join(_SIZES_MM)} or WIDTHxHEIGHT in mm"
        )
    width, height = float(found[1]), float(found[2])
    if width < LEAST_MM[0] or height < LEAST_MM[1] or max(width, height) > MOST_MM:
        raise argparse.ArgumentTypeError(
            f"{text}: a page has {LEAST_MM[0]:g}x{LEAST_MM[1]:g} to {MOST_MM:g}x{MOST_MM:g} mm"
        )
    return width, height
