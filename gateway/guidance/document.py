"""A file of texts in one language: strict, and laid over the texts that were there before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, ValidationError, create_model
from pydantic_core import PydanticCustomError

from config.document import read_document
from config.explain import explain
from config.models import DetectorClass, Strict
from config.problem import ConfigErrors, Findings
from gateway.guidance.codes import CODES

TITLE_LIMIT: Final = 40
ADVICE_LIMIT: Final = 300
"""Longest title and advice in characters; own choice: a cell and three lines of a board."""
GENERAL: Final = ""
"""The class of a text that holds for every class."""

Key = tuple[str, str, str]
"""Language, code, class."""


def _line(text: str, limit: int) -> str:
    """One line, whatever lines the file had."""
    line = " ".join(text.split())
    if not line:
        raise PydanticCustomError("line", "is empty")
    if len(line) > limit:
        message = "has {count} characters, at most {limit} are allowed"
        raise PydanticCustomError("line", message, {"count": len(line), "limit": limit})
    return line


Title = Annotated[str, AfterValidator(partial(_line, limit=TITLE_LIMIT))]
Advice = Annotated[str, AfterValidator(partial(_line, limit=ADVICE_LIMIT))]


class Special(Strict):
    """The text for some classes; without a title it has the general one."""

    classes: Annotated[tuple[DetectorClass, ...], Field(min_length=1, strict=False)]
    title: Title | None = None
    advice: Advice


class Entry(Strict):
    """The texts of one code; what a file leaves out stays as it was."""

    title: Title | None = None
    advice: Advice | None = None
    special: Annotated[tuple[Special, ...], Field(alias="for", strict=False)] = ()


class Language(Strict):
    """One file; its keys are the codes."""


_KEYS: Final[dict[str, Any]] = dict.fromkeys(CODES, (Entry | None, None))
_LANGUAGE: Final = create_model("Language", __base__=Language, **_KEYS)


@dataclass(frozen=True, slots=True)
class Layer:
    """Titles and advice by language, code and class."""

    titles: Mapping[Key, str] = field(default_factory=dict)
    advice: Mapping[Key, str] = field(default_factory=dict)

    def over(self, below: "Layer") -> "Layer":
        """Both; where both have a text, this one's."""
        return Layer({**below.titles, **self.titles}, {**below.advice, **self.advice})


def read_language(path: Path, below: Layer) -> Layer:
    """The texts of ``LANGUAGE.toml`` laid over others. Raises ConfigErrors with all its errors."""
    findings = read_document(path)
    try:
        entries = _entries(_LANGUAGE.model_validate(findings.data))
    except ValidationError as error:
        explain(findings, _LANGUAGE, error.errors(include_url=False))
        raise ConfigErrors(findings.in_order()) from None
    layer = _layer(path.stem, entries).over(below)
    for code, entry in entries.items():
        _check_complete(findings, path.stem, code, entry, layer)
        _check_classes(findings, code, entry)
    if findings.problems:
        raise ConfigErrors(findings.in_order())
    return layer


def _entries(document: Language) -> dict[str, Entry]:
    values = {code: getattr(document, code) for code in CODES}
    return {code: value for code, value in values.items() if isinstance(value, Entry)}


def _layer(language: str, entries: Mapping[str, Entry]) -> Layer:
    titles: dict[Key, str] = {}
    advice: dict[Key, str] = {}
    for code, entry in entries.items():
        texts = [(GENERAL, entry.title, entry.advice)]
        texts += [(name, one.title, one.advice) for one in entry.special for name in one.classes]
        for name, title, words in texts:
            if title is not None:
                titles[language, code, name] = title
            if words is not None:
                advice[language, code, name] = words
    return Layer(titles, advice)


def _check_complete(
    findings: Findings, language: str, code: str, entry: Entry, layer: Layer
) -> None:
    """A language that has one half of a text must have the other."""
    general = (language, code, GENERAL)
    has_title = general in layer.titles
    if has_title and general not in layer.advice:
        findings.error((code, "advice"), "the key is missing")
    if general in layer.advice and not has_title:
        findings.error((code, "title"), "the key is missing")
    if has_title:
        return
    for index, one in enumerate(entry.special):
        if one.title is None:
            hint = f"this language has no general title for {code}"
            findings.error((code, "for", index, "title"), "the key is missing", hint)


def _check_classes(findings: Findings, code: str, entry: Entry) -> None:
    """A class has one text for a code."""
    first: dict[str, str] = {}
    for index, one in enumerate(entry.special):
        for number, name in enumerate(one.classes):
            path = (code, "for", index, "classes", number)
            if name in first:
                findings.error(path, f"{name!r} has a text already", f"see {first[name]}")
            first.setdefault(name, findings.line(path))
