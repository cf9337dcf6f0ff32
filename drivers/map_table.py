"""Strict reading of TOML tables: every error names file, table, key and what is allowed there."""

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeVar

_Choice = TypeVar("_Choice", bound=StrEnum)
_MISSING: Final = object()


class MapError(ValueError):
    """A register map that cannot be used: ``file``, ``where`` (table and key), what is wrong."""

    def __init__(self, file: str, where: str, problem: str) -> None:
        super().__init__(f"{file}: {where}: {problem}" if where else f"{file}: {problem}")
        self.file = file
        self.where = where
        self.problem = problem


class Table:
    """One table of a file. Each key is asked for once; ``finish`` refuses those nobody asked for.

    A getter with a default makes its key optional.
    """

    def __init__(self, file: str, where: str, data: Mapping[str, object]) -> None:
        self.file = file
        self.where = where
        self._data = data
        self._asked: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def error(self, key: str, problem: str) -> MapError:
        """An error at one key, or of the whole table."""
        return MapError(self.file, ".".join(part for part in (self.where, key) if part), problem)

    def finish(self) -> None:
        """Every key was asked for."""
        for key in self._data:
            if key not in self._asked:
                raise self.error(key, f"unknown key; allowed: {', '.join(self._asked)}")

    def text(self, key: str, default: str | None = None) -> str:
        """Text that is not empty."""
        value = self._get(key, default)
        if not isinstance(value, str) or (not value and default is None):
            raise self.error(key, f"{value!r} is not a text")
        return value

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number in a range."""
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.error(key, f"{value!r} is not a whole number from {low} to {high}")
        return value

    def positive(self, key: str, default: float | None = None) -> float:
        """A number above zero."""
        value = self._get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.error(key, f"{value!r} is not a number")
        if not math.isfinite(value) or value <= 0:
            raise self.error(key, f"{value!r} is not above 0")
        return float(value)

    def choice(self, key: str, choices: type[_Choice], default: _Choice | None = None) -> _Choice:
        """One of the values of an enumeration."""
        value = self._get(key, default)
        return self._one_of(key, value, choices)

    def choices(self, key: str, choices: type[_Choice]) -> tuple[_Choice, ...]:
        """Some of the values of an enumeration."""
        return tuple(self._one_of(key, value, choices) for value in self._list(key))

    def texts(self, key: str, allowed: Iterable[str] | None = None) -> tuple[str, ...]:
        """A list of texts, at least one, none twice; those allowed, if that is given."""
        values = self._list(key)
        known = None if allowed is None else tuple(allowed)
        found = [value for value in values if isinstance(value, str) and value]
        if len(found) < len(values) or not found or len(set(found)) < len(found):
            raise self.error(key, f"{values!r} is not a list of different texts")
        for value in found:
            if known is not None and value not in known:
                raise self.error(key, f"{value!r} is not one of {', '.join(known)}")
        return tuple(found)

    def one_of(self, key: str, allowed: Iterable[str]) -> str:
        """A text out of those that are allowed."""
        value, known = self.text(key), tuple(allowed)
        if value not in known:
            raise self.error(key, f"{value!r} is not one of {', '.join(known) or '(none)'}")
        return value

    def true(self, key: str) -> bool:
        """A key that is written only to say yes."""
        if self._get(key, None) is not True:
            raise self.error(key, "only true is allowed here")
        return True

    def numbers(self, key: str) -> tuple[int | float, ...]:
        """A list of numbers, empty if it is missing."""
        values = self._list(key) if key in self else ()
        self._asked.append(key)
        found = [each for each in values if isinstance(each, int | float)]
        if len(found) < len(values) or any(isinstance(each, bool) for each in found):
            raise self.error(key, f"{values!r} is not a list of numbers")
        return tuple(found)

    def wholes(self, key: str, low: int, high: int) -> tuple[int, ...]:
        """A list of whole numbers in a range, at least one."""
        values = self._list(key)
        found = [each for each in values if isinstance(each, int) and not isinstance(each, bool)]
        if not found or len(found) < len(values) or not all(low <= each <= high for each in found):
            raise self.error(key, f"{values!r} is not a list of numbers from {low} to {high}")
        return tuple(found)

    def table(self, key: str) -> "Table":
        """A table below this one."""
        value = self._get(key, None)
        if not isinstance(value, Mapping):
            raise self.error(key, f"{value!r} is not a table")
        return Table(self.file, self.error(key, "").where, value)

    def maybe(self, key: str) -> "Table | None":
        """A table that may be missing."""
        if key in self:
            return self.table(key)
        self._asked.append(key)
        return None

    def tables(self, key: str) -> tuple["Table", ...]:
        """An array of tables, empty if it is missing; they are counted from 1."""
        values = self._list(key) if key in self else ()
        self._asked.append(key)
        found = []
        for number, value in enumerate(values, start=1):
            where = self.error(f"{key}[{number}]", "").where
            if not isinstance(value, Mapping):
                raise MapError(self.file, where, f"{value!r} is not a table")
            found.append(Table(self.file, where, value))
        return tuple(found)

    def names(self) -> tuple[str, ...]:
        """All keys there are; for tables whose keys are data."""
        self._asked.extend(self._data)
        return tuple(self._data)

    def _get(self, key: str, default: object) -> object:
        self._asked.append(key)
        value = self._data.get(key, _MISSING)
        if value is not _MISSING:
            return value
        if default is None:
            raise self.error(key, "is missing")
        return default

    def _list(self, key: str) -> Sequence[object]:
        value = self._get(key, None)
        if not isinstance(value, list):
            raise self.error(key, f"{value!r} is not a list")
        return value

    def _one_of(self, key: str, value: object, choices: type[_Choice]) -> _Choice:
        known = {str(each): each for each in choices}
        if not isinstance(value, str) or value not in known:
            raise self.error(key, f"{value!r} is not one of {', '.join(known)}")
        return known[value]
