"""Looking into a raw document, whatever shapes it has."""

from collections.abc import Iterator

from config.amounts import DOSE_RATE, AmountError, Kind
from config.locate import Path

Table = dict[str, object]


def tables(data: Table, key: str) -> Iterator[tuple[Path, Table]]:
    """The tables of an array of tables, with their paths."""
    found = data.get(key)
    for index, table in enumerate(found if isinstance(found, list) else ()):
        if isinstance(table, dict):
            yield (key, index), table


def text(table: Table, key: str) -> str | None:
    """A value that is text, otherwise None."""
    value = table.get(key)
    return value if isinstance(value, str) else None


def part(table: Table, key: str) -> Table:
    """A table inside a table; empty if there is none."""
    value = table.get(key)
    return value if isinstance(value, dict) else {}


def amount(table: Table, key: str, kind: Kind = DOSE_RATE) -> float | None:
    """A readable amount, otherwise None."""
    try:
        return kind.read(table.get(key))
    except AmountError:
        return None
