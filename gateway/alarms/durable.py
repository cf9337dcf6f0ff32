"""What the journal keeps of an open alarm, so that a restart continues the same occurrence."""

from dataclasses import dataclass, replace
from typing import Final

from pydantic import TypeAdapter, ValidationError

from gateway.alarms.record import AlarmRecord
from gateway.values import Instant

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Internal:
    """What the engine knows beside the record.

    ``holding`` are the levels whose condition holds, and whether a true dose rate reached each.
    ``suspect``: low readings may be fold-over. ``parts`` keep an on-off alarm on.
    """

    holding: tuple[tuple[str, bool], ...] = ()
    suspect: bool = False
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Saved:
    version: int
    record: AlarmRecord
    internal: Internal


_SAVED: Final = TypeAdapter(_Saved)


class DamagedState(ValueError):
    """Bytes that are no alarm state of this version."""


def encode(record: AlarmRecord, internal: Internal) -> bytes:
    """The state of one alarm as JSON."""
    return _SAVED.dump_json(_Saved(_VERSION, record, internal), exclude_defaults=True)


def decode(data: bytes, now: Instant) -> tuple[AlarmRecord, Internal]:
    """The alarm of that state. Raises DamagedState.

    Monotonic times of another boot mean nothing: all are set to now, and the first one so long ago
    as the condition is known to have lasted; wall times stay as labels.
    """
    try:
        saved = _SAVED.validate_json(data)
    except ValidationError as error:
        raise DamagedState(f"{error.error_count()} errors, {error.errors()[0]['msg']}") from error
    if saved.version != _VERSION:
        raise DamagedState(f"version {saved.version} is not known")
    return _shifted(saved.record, now.mono), saved.internal


def _shifted(record: AlarmRecord, mono: float) -> AlarmRecord:
    def shift(at: Instant | None) -> Instant | None:
        return None if at is None else Instant(at.wall, mono)

    return replace(
        record,
        raised_at=Instant(record.raised_at.wall, mono - record.lasted_s),
        annunciated_at=Instant(record.annunciated_at.wall, mono),
        peak_at=shift(record.peak_at),
        returned_at=shift(record.returned_at),
        acknowledged_at=shift(record.acknowledged_at),
        reset_at=shift(record.reset_at),
        closed_at=shift(record.closed_at),
        levels=tuple(
            replace(entry, at=Instant(entry.at.wall, mono), left_at=shift(entry.left_at))
            for entry in record.levels
        ),
    )
