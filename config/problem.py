"""One fault of a file as a reader needs it: where, what, and the likely fix."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from config.locate import Locations, Path

_SECRET: Final = re.compile(r"pass(word|phrase|wd)?|secret|token|credential|private", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LONGEST_SHOWN: Final = 60


class Severity(StrEnum):
    """An error keeps a file from being used; an advice does not."""

    ERROR = "error"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault; ``line`` is None where the file as a whole is meant, ``hint`` may be empty."""

    file: str
    line: int | None
    field: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR


class ConfigErrors(Exception):
    """A file that cannot be used; ``problems`` holds everything found, by line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(format_problem(problem) for problem in self.problems))


def format_problem(problem: Problem) -> str:
    """``event.toml:12: detector[1] (id prd-2).link.port: message``, the hint on its own line."""
    place = problem.file if problem.line is None else f"{problem.file}:{problem.line}"
    note = "advice: " if problem.severity is Severity.ADVICE else ""
    where = f"{problem.field}: " if problem.field else ""
    hint = f"\n    {problem.hint}" if problem.hint else ""
    return f"{place}: {note}{where}{problem.message}{hint}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest known word as a question, or the list of them."""
    choices = sorted(set(known))
    folded = {choice.casefold(): choice for choice in choices}
    plain = word.casefold().strip()
    close = [plain] if plain in folded else difflib.get_close_matches(plain, folded, 1, 0.6)
    close = close or [choice for choice in folded if len(choice) == 1 and plain.startswith(choice)]
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    return f"known: {', '.join(choices)}" if choices else ""


def shown(value: object, path: Path = ()) -> str:
    """A value fit for a message: short, printable, never a secret."""
    if any(_SECRET.search(str(part)) for part in path):
        return "(not shown)"
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            if "@" in value:
                return "(not shown)"
            text = value if len(value) <= _LONGEST_SHOWN else value[: _LONGEST_SHOWN - 3] + "..."
            return repr(text)
        case list():
            return "a list"
        case dict():
            return "a table"
    return f"the date or time {value}"


@dataclass(slots=True)
class Findings:
    """What was found in one document; ``data`` is the raw document."""

    file: str
    data: dict[str, object]
    locations: Locations
    problems: list[Problem] = field(default_factory=list)

    def error(self, path: Path, message: str, hint: str = "") -> None:
        """Something that must be mended."""
        self._add(path, message, hint, Severity.ERROR)

    def advice(self, path: Path, message: str, hint: str = "") -> None:
        """Something worth a look."""
        self._add(path, message, hint, Severity.ADVICE)

    def line(self, path: Path) -> str:
        """``line 12``, for messages that name a second place."""
        return f"line {self.locations.line(path)}"

    def has(self, path: Path) -> bool:
        """Whether the document has this key."""
        return self._child(path) is not None

    def in_order(self) -> tuple[Problem, ...]:
        """Everything found, by line; of two that say the same, the later (it knows more)."""
        said = {(each.field, each.message): each for each in self.problems}
        return tuple(sorted(said.values(), key=lambda each: each.line or 0))

    def _add(self, path: Path, message: str, hint: str, severity: Severity) -> None:
        line = self.locations.line(path)
        self.problems.append(Problem(self.file, line, self._name(path), message, hint, severity))

    def _name(self, path: Path) -> str:
        text = ""
        for number, part in enumerate(path):
            if isinstance(part, int):
                text += f"[{part}]{self._id(path[: number + 1])}"
            else:
                text += f"{'.' if text else ''}{_CONTROL.sub('?', part)}"
        return text

    def _id(self, path: Path) -> str:
        name = self._child((*path, "id"))
        return f" (id {_CONTROL.sub('?', name[:40])})" if isinstance(name, str) else ""

    def _child(self, path: Path) -> object:
        here: object = self.data
        for part in path:
            if isinstance(here, dict) and isinstance(part, str):
                here = here.get(part)
            elif isinstance(here, list) and isinstance(part, int) and part < len(here):
                here = here[part]
            else:
                return None
        return here
