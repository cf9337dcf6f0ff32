"""``journal``: how the durable log stands, what is in it, tables and documents made of it.

A running gateway answers by its control socket; the file of a stopped one is only read. Times
without an offset are UTC; ``-90s`` is before the newest entry. Assessments and nuclides of persons
are left out unless they are asked for.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from gateway import n42
from gateway.board import harmless
from gateway.journal.export import TABLES, csv_lines, json_lines, writing
from gateway.journal.status import counted
from gateway.values import Lane
from gateway.verbs.journal_n42 import file_name, occurrences
from gateway.verbs.journal_source import (
    Asked,
    Message,
    Messages,
    NoAnswer,
    Source,
    add_where,
    source_of,
)
from gateway.verbs.journal_text import line, status_lines
from gateway.verbs.terminal import Exit, complain, say
from gateway.verbs.why import moment_of
from gateway.wire.table import dump, iso

_ALIASES: Final = {"samples": "sample", "alarms": "alarm_event", "passages": "passage"}
_FORMATS: Final = ("csv", "jsonl", "n42")
_LABEL_WIDTH: Final = 11
_KINDS: Final = (*TABLES, "watch", "lost")
"""All that a gateway stores."""
_FILTERS: Final = ("lane", "detector", "occurrence", "kind", "since", "until")
_MEDICAL: Final = "assessments are medical data: add --with-assessments"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below this one, and their arguments."""
    verbs = parser.add_subparsers(dest="action", metavar="WHAT", required=True)
    of_status = verbs.add_parser("status", help="size, numbers, what is owed, kept aside, lost")
    of_list = verbs.add_parser("list", help="messages in order, a line for each")
    of_export = verbs.add_parser("export", help="tables, JSON lines or N42 documents")
    of_verify = verbs.add_parser("verify", help="whether all of it can be read and is there")
    of_requeue = verbs.add_parser("requeue", help="what a sink refused is owed to it again")
    for each in (of_status, of_list, of_export, of_verify, of_requeue):
        add_where(each)
    for each in (of_status, of_list, of_verify):
        each.add_argument("--json", action="store_true", help="as JSON, one object a line")
    _add_filters(of_list)
    of_list.add_argument("--lane", choices=[str(lane) for lane in Lane], help="only this lane")
    of_list.add_argument("--limit", type=_count, metavar="N", help="at most so many")
    _add_filters(of_export)
    of_export.add_argument("out", metavar="OUT", help="file, - for standard output; n42: a folder")
    of_export.add_argument("--format", choices=_FORMATS, required=True)
    of_requeue.add_argument("sink", metavar="SINK", help="as in the configuration")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detector", help="only of this detector")
    parser.add_argument("--occurrence", help="only of this alarm")
    parser.add_argument("--kind", help="only messages of this kind, such as sample, alarm_event")
    parser.add_argument("--since", metavar="TIME", help="2026-05-02T14:03:10Z, 14:03:10 or -90s")
    parser.add_argument("--until", metavar="TIME", help="likewise")
    parser.add_argument(
        "--with-assessments", action="store_true", help="medical data too: restrict the result"
    )


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return number


class BadRequest(Exception):
    """Arguments that do not fit together; the text says which."""


def run(arguments: argparse.Namespace) -> Exit:
    """One of the verbs."""
    try:
        source = source_of(arguments)
        return Exit.USAGE if source is None else _VERBS[arguments.action](source, arguments)
    except BadRequest as error:
        complain(str(error))
        return Exit.USAGE
    except NoAnswer as error:
        complain(harmless(str(error)))
        return Exit.FAULT


def _status(source: Source, arguments: argparse.Namespace) -> Exit:
    shown = source.ask({"what": "status"})["status"]
    if arguments.json:
        say(dump(shown).decode())
    else:
        for label, text in status_lines(shown):
            say(harmless(f"{label:{_LABEL_WIDTH}}{text}"))
    return Exit.FAULT if shown["attention"] else Exit.WELL


def _list(source: Source, arguments: argparse.Namespace) -> Exit:
    asked = {**_asked(source, arguments), "lane": arguments.lane}
    messages = Messages(source, asked, arguments.limit)
    for message in messages:
        say(dump(message).decode() if arguments.json else harmless(line(message)))
    return _told(messages, arguments)


def _told(messages: Messages, arguments: argparse.Namespace) -> Exit:
    if not messages.count:
        complain(harmless(_nothing(arguments)))
    return _told_damaged(messages.damaged)


def _told_damaged(damaged: int) -> Exit:
    if damaged:
        cannot = f"{counted(damaged, 'message')} cannot be read"
        complain(f"{cannot}: dosegate journal verify tells which")
    return Exit.FAULT if damaged else Exit.WELL


def _nothing(arguments: argparse.Namespace) -> str:
    """Why nothing came, as far as the question tells."""
    given = [(name, getattr(arguments, name, None)) for name in _FILTERS]
    filters = " ".join(f"--{name} {text}" for name, text in given if text is not None)
    if not filters:
        return "there are no messages"
    kind = _kind(arguments)
    if kind is not None and kind not in _KINDS:
        return f"nothing fits {filters}; kinds are {', '.join(_KINDS)}"
    if kind == "assessment" and not arguments.with_assessments:
        return f"nothing fits {filters}; {_MEDICAL}"
    return f"nothing fits {filters}"


def _export(source: Source, arguments: argparse.Namespace) -> Exit:
    try:
        if arguments.format == "n42":
            return _export_n42(source, arguments)
        return _export_lines(source, arguments)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        complain(f"{arguments.out}: {error.strerror or error}")
        return Exit.FAULT


def _export_lines(source: Source, arguments: argparse.Namespace) -> Exit:
    asked = _asked(source, arguments)
    kind = asked["kind"]
    if arguments.format == "csv":
        kind = asked["kind"] = kind or "sample"
        if kind not in TABLES:
            raise BadRequest(f"there is no table of {kind!r}: {', '.join(TABLES)}")
        if kind == "assessment" and not arguments.with_assessments:
            raise BadRequest(f"{_MEDICAL} to export them")
    messages = Messages(source, asked)
    lines = csv_lines(kind, messages) if arguments.format == "csv" else json_lines(messages)
    with writing(arguments.out) as file:
        for each in lines:
            file.write(each)
    complain(counted(messages.count, "message"))
    return _told(messages, arguments)


def _export_n42(source: Source, arguments: argparse.Namespace) -> Exit:
    """One document for each occurrence of a radiation alarm."""
    asked = _asked(source, arguments)
    if asked["kind"] not in (None, "alarm_event"):
        raise BadRequest("N42 documents are of alarms: leave --kind out")
    is_one = arguments.occurrence is not None
    folder = Path(arguments.out)
    if not is_one:
        if arguments.out == "-":
            raise BadRequest("documents go into a folder; with --occurrence one goes to -")
        folder.mkdir(parents=True, exist_ok=True)
    gateway = source.ask({"what": "status"})["status"]["gateway"]
    author = n42.Author(gateway, version("dosegate"), time.time())
    events = Messages(source, {**asked, "kind": "alarm_event"})
    meanwhile = _Meanwhile(source)
    count = 0
    for occurrence in occurrences(meanwhile.read, events):
        name = file_name(occurrence.alarm["occurrence"])
        with writing(arguments.out if is_one else str(folder / name)) as file:
            file.write(n42.document(occurrence, author))
        count += 1
    complain(counted(count, "document"))
    # The walk along the alarms passes all lanes, but not what was before --since.
    told = _told_damaged(max(events.damaged, meanwhile.damaged))
    if is_one and not count:
        complain(f"the journal has no radiation alarm {arguments.occurrence!r}")
        return Exit.FAULT
    return told


@dataclass(slots=True)
class _Meanwhile:
    """What the detectors of alarms said; ``damaged`` is the most that one reading passed."""

    source: Source
    damaged: int = 0

    def read(self, question: Asked) -> Iterator[Message]:
        """The messages that are asked for. Raises NoAnswer."""
        messages = Messages(self.source, question)
        yield from messages
        self.damaged = max(self.damaged, messages.damaged)


def _verify(source: Source, arguments: argparse.Namespace) -> Exit:
    findings = examined = 0
    place = None
    is_whole = True
    while True:
        reply = source.ask({"what": "verify", "place": place})
        for finding in reply["findings"]:
            findings += 1
            say(dump(finding).decode() if arguments.json else harmless(_finding(finding)))
        examined += reply["examined"]
        is_whole &= reply["whole"]
        place = reply["place"]
        if place is None:
            break
    if not is_whole:
        complain("the file is large and in use: stop the gateway to have it checked page by page")
    if arguments.json:
        say(dump({"examined": examined, "findings": findings, "whole": is_whole}).decode())
    found = counted(findings, "finding") if findings else "no findings"
    complain(f"{counted(examined, 'message')} looked at, {found}")
    return Exit.FAULT if findings else Exit.WELL


def _finding(finding: Mapping[str, str]) -> str:
    return f"{finding['where']}: {finding['what']}; {finding['advice']}"


def _requeue(source: Source, arguments: argparse.Namespace) -> Exit:
    reply = source.ask({"what": "requeue", "sink": arguments.sink})
    say(f"{arguments.sink}: {reply['reason']}")
    return Exit.WELL


def _asked(source: Source, arguments: argparse.Namespace) -> Asked:
    """What the filters ask for. Raises BadRequest."""
    newest = _newest(source) if arguments.since or arguments.until else 0.0
    times = {
        name: None if text is None else _time(text, newest)
        for name, text in (("since", arguments.since), ("until", arguments.until))
    }
    return {
        "detector": arguments.detector,
        "occurrence": arguments.occurrence,
        "kind": _kind(arguments),
        "restricted": True if arguments.with_assessments else None,
        **times,
    }


def _kind(arguments: argparse.Namespace) -> str | None:
    given: str | None = arguments.kind
    return given if given is None else _ALIASES.get(given, given)


def _time(text: str, newest: float) -> str:
    try:
        return iso(moment_of(text, newest))
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _newest(source: Source) -> float:
    stored = source.ask({"what": "status"})["status"]["stored"]
    return time.time() if stored is None else datetime.fromisoformat(stored).timestamp()


_VERBS: Final[Mapping[str, Callable[[Source, argparse.Namespace], Exit]]] = {
    "status": _status,
    "list": _list,
    "export": _export,
    "verify": _verify,
    "requeue": _requeue,
}
