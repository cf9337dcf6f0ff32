"""What goes out: one journalled record, or one message in place of several."""

from dataclasses import dataclass, replace
from functools import lru_cache

from gateway.journal.record import Record
from gateway.values import Lane
from gateway.wire.envelope import SCHEMA


@dataclass(frozen=True, slots=True)
class Bundle(Record):
    """One message in place of several records; ``seq`` is the first of them.

    A batch holds its ``records`` and no body; a summary has a body and the ``numbers`` it is for.
    """

    records: tuple[Record, ...] = ()
    numbers: tuple[int, ...] = ()


def prepend(gateway: str, record: Record) -> bytes:
    """The message as it goes out: the delivery fields, then the body as it was journalled."""
    if isinstance(record, Bundle):
        return _batch(gateway, record) if record.records else _summary(gateway, record)
    head = _head(gateway, record.lane, record.epoch)
    seq = b',"seq":%d' % record.seq
    replayed = b',"replayed":true' if record.replayed else b""
    undurable = b"" if record.durable else b',"durable":false'
    tail = record.body[1:]
    comma = b"" if tail == b"}" else b","
    return b"".join((head, seq, replayed, undurable, comma, tail))


def _summary(gateway: str, bundle: Bundle) -> bytes:
    """Without a number of its own: it names those it stands for."""
    head = _head(gateway, bundle.lane, bundle.epoch)
    replayed = b',"replayed":true,' if bundle.replayed else b","
    return head + replayed + bundle.body[1:]


def _batch(gateway: str, bundle: Bundle) -> bytes:
    """Each member with delivery fields of its own."""
    head = f'{{"schema":"{SCHEMA}","gateway":"{gateway}","kind":"batch","messages":['
    members = [
        b'{"topic":"%b","message":%b}' % (record.topic.encode(), prepend(gateway, record))
        for record in bundle.records
    ]
    return head.encode() + b",".join(members) + b"]}"


@lru_cache(maxsize=64)
def _head(gateway: str, lane: Lane, epoch: int) -> bytes:
    return f'{{"schema":"{SCHEMA}","gateway":"{gateway}","lane":"{lane}","epoch":{epoch}'.encode()


def marked_late(record: Record) -> Record:
    """The message as one that is told later than it should have been."""
    if isinstance(record, Bundle):
        records = tuple(replace(each, replayed=True) for each in record.records)
        return replace(record, replayed=True, records=records)
    return replace(record, replayed=True)
