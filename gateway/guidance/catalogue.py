"""What an alarm means and what the person at the detector does now, in the reader's language.

Texts inform. Cordon, evacuation, arrest, the end of the event and the release of a person are
decided by the commander or the assessor: no text orders them, and none calls anybody safe.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final, get_args

from config.models import DetectorClass
from config.problem import ConfigErrors, Problem
from gateway.guidance.codes import CODES
from gateway.guidance.document import GENERAL, Layer, read_language

FALLBACK: Final = "en"
CLASSES: Final[tuple[str, ...]] = get_args(DetectorClass)

_SUFFIX: Final = ".toml"
_TAG: Final = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*")
"""A language tag of RFC 5646 in small letters, as far as we need it: fr, zh-hant, pt-br."""
_LOCALE: Final = re.compile(r"([a-z]{2,3})([_.@-].*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Text:
    """A short title, one to three sentences, and the language they are in; empty if in none."""

    title: str
    advice: str
    language: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All texts: the shipped ones with a site's own laid over them."""

    layer: Layer

    def text(self, code: str, detector_class: str | None, language: str) -> Text:
        """The nearest text: the language before English, the class before the general one."""
        for tag in _tags(language):
            for name in (detector_class or GENERAL, GENERAL):
                advice = self.layer.advice.get((tag, code, name))
                if advice is not None:
                    return Text(self._title(tag, code, name), advice, tag)
        return Text(code, "", "")

    def languages(self) -> tuple[str, ...]:
        """The languages that have any text."""
        return tuple(sorted({language for language, _, _ in self.layer.advice}))

    def codes(self) -> tuple[str, ...]:
        """The codes there are texts for."""
        return CODES

    def knows(self, language: str) -> bool:
        """Whether a reader of that language is served in it, or in the language it belongs to."""
        return not set(_own_tags(language)).isdisjoint(self.languages())

    def special(self, code: str, language: str) -> tuple[str, ...]:
        """The classes whose text is not the general one."""
        general = self.text(code, None, language)
        return tuple(name for name in CLASSES if self.text(code, name, language) != general)

    def _title(self, tag: str, code: str, name: str) -> str:
        general = self.layer.titles.get((tag, code, GENERAL), code)
        return self.layer.titles.get((tag, code, name), general)


def load(site: Path | None = None) -> Catalogue:
    """The shipped texts under those of a site's folder. Raises ConfigErrors with all errors."""
    layer = Layer()
    for resource in sorted(files("gateway.guidance").iterdir(), key=lambda each: each.name):
        if resource.name.endswith(_SUFFIX):
            with as_file(resource) as path:
                layer = read_language(path, layer)
    return Catalogue(layer if site is None else _with_site(site, layer))


def reader_language(environ: Mapping[str, str]) -> str:
    """The language of a reader's environment by the rules of POSIX: ``zh_CN.UTF-8`` is ``zh``."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((environ[name] for name in names if environ.get(name)), "")
    match = _LOCALE.fullmatch(locale)
    return match[1].lower() if match else FALLBACK


def _own_tags(language: str) -> tuple[str, str]:
    tag = language.replace("_", "-").lower()
    return tag, tag.partition("-")[0]


def _tags(language: str) -> tuple[str, ...]:
    """The languages to look in, best first: zh-hant, zh, en."""
    return (*_own_tags(language), FALLBACK)


def _with_site(folder: Path, layer: Layer) -> Layer:
    problems: list[Problem] = []
    for path in _site_files(folder):
        try:
            layer = read_language(path, layer)
        except ConfigErrors as errors:
            problems += errors.problems
    if problems:
        raise ConfigErrors(problems)
    return layer


def _site_files(folder: Path) -> list[Path]:
    """The LANGUAGE.toml files of a folder; files of other kinds are left alone."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() == _SUFFIX)
    except OSError as error:
        raise ConfigErrors([_misplaced(folder, f"cannot be read: {error.strerror}")]) from None
    if not found:
        raise ConfigErrors([_misplaced(folder, "holds no texts", "name them fr.toml and the like")])
    problems = [
        _misplaced(path, "the file name is not a language", _name_hint(path))
        for path in found
        if path.suffix != _SUFFIX or not _TAG.fullmatch(path.stem)
    ]
    if problems:
        raise ConfigErrors(problems)
    return found


def _misplaced(path: Path, message: str, hint: str = "") -> Problem:
    return Problem(str(path), None, "", message, hint)


def _name_hint(path: Path) -> str:
    likely = _own_tags(path.stem)[0]
    if _TAG.fullmatch(likely):
        return f"did you mean {likely + _SUFFIX!r}?"
    return "a language tag in small letters, such as fr.toml or zh-hant.toml"
