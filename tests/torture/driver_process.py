"""One life after the other of journal, reader and publisher, in a process that may be killed.

What the journal said is written to a file at once (it outlives SIGKILL), a line a fact:

    start N          a life begins; its alarms and commands have the numbers from N on
    open EPOCH {..}  the journal is open; last numbers of the epoch before, by lane
    s FIRST LAST AT  samples were handed over, at this monotonic time
    c N              an alarm or command is about to be committed
    A N / U N        commit said: durable / not durable (told all the same)
    p LANE E S       handed to the sink's connection
    k LANE E S       acknowledged by the sink
    notice TEXT      the journal told something
    stuck TEXT       it could not deliver everything in time
    end              it ended by itself

    driver_process.py --serve              lives by command: a JSON object a line on stdin
    driver_process.py '{"state": ...}'     one life in this process
"""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import structlog

from config.models import Sink
from gateway.delivery.reader import Pace, SinkReader
from gateway.documents import DocumentStore
from gateway.journal.journal import Journal
from gateway.journal.record import JournalLimits, Record
from gateway.journal.spans import Span
from gateway.publisher.publisher import Publisher
from gateway.publisher.values import Roots
from gateway.values import Document, Entry, Lane

SINK = "site"
GATEWAY = "torture"
DETECTORS = 7
DRAINED_S = 60.0


@dataclass(frozen=True, slots=True)
class Life:
    """What one life does.

    ``steps`` times, ``every_s`` apart: ``samples`` samples, then an alarm or a command, of ``pad``
    bytes. ``broker`` is a URL, empty for none; ``drain`` waits until nothing is owed. With
    ``synchronous`` SQLite is told another level than the journal asks for. Without ``close`` it
    kills itself at the end. With ``reads`` the file is read back meanwhile, as for a backlog: its
    log is not emptied then when a connection is given up.
    """

    state: str
    told: str
    first: int = 1
    steps: int = 10_000
    every_s: float = 0.005
    samples: int = 3
    pad: int = 200
    broker: str = ""
    drain: bool = False
    close: bool = True
    group_s: float = 0.02
    synchronous: str = ""
    reads: bool = False


def body(kind: str, number: int, pad: int) -> bytes:
    """The message with this number; the same in every life."""
    filler = Random(f"{kind}{number}").randbytes(pad // 2).hex()
    return b'{"kind":"%b","n":%d,"pad":"%b"}' % (kind.encode(), number, filler.encode())


def urgent_kind(number: int) -> str:
    """Each third is a command."""
    return "answer" if number % 3 == 0 else "alarm_event"


def urgent_entry(number: int, pad: int) -> Entry:
    """An alarm event or the answer to a command."""
    kind = urgent_kind(number)
    topic = "command/ops/result" if kind == "answer" else "alarm/event"
    return Entry(Lane.ALARMS, topic, body(kind, number, pad))


def sample_entry(number: int, pad: int) -> Entry:
    """A sample."""
    topic = f"detector/d{number % DETECTORS}/sample"
    return Entry(Lane.SAMPLES, topic, body("sample", number, pad))


class TellingReader(SinkReader):
    """Says what it hands over and what was acknowledged."""

    tell: Callable[[str], None]

    def take(self, limit: int, *, alarms_only: bool = False) -> list[Record]:
        """As in the reader itself."""
        records = super().take(limit, alarms_only=alarms_only)
        if records:
            last = records[-1]
            self.tell(f"p {last.lane} {last.epoch} {last.seq}")
        return records

    def acknowledge(self, record: Record) -> None:
        """As in the reader itself."""
        super().acknowledge(record)
        self.tell(f"k {record.lane} {record.epoch} {record.seq}")


async def live(life: Life) -> None:
    """One life, from opening the journal to its end."""
    file = os.open(life.told, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def tell(text: str) -> None:
        os.write(file, text.encode() + b"\n")

    tell(f"start {life.first}")
    limits = JournalLimits(group_s=life.group_s)
    journal = await Journal.open(Path(life.state), [SINK], limits=limits)
    tell(f"open {journal.epoch} " + json.dumps({str(k): v for k, v in journal.previous.items()}))
    for notice in journal.notices:
        tell(f"notice {notice}")
    reader = TellingReader(journal, SINK, pace=Pace(backlog_per_s=20_000.0))
    reader.tell = tell if life.broker else lambda _: None
    documents = DocumentStore(GATEWAY, journal.epoch, [SINK], removed=journal.forget)
    documents.put(journal.durable_documents())
    publisher, task = None, None
    if life.broker:
        publisher = _publisher(life, reader, documents)
        task = asyncio.create_task(publisher.run(), name="publisher")
    await _work(life, journal, documents, tell)
    if publisher is not None and task is not None:
        if life.drain:
            await _until_drained(publisher, reader, documents, tell)
        publisher.stop()
        await task
    reader.close()
    if life.close:
        await journal.close()
        tell("end")
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def _publisher(life: Life, reader: SinkReader, documents: DocumentStore) -> Publisher:
    sink = Sink(id=SINK, brokers=(life.broker,))
    roots = Roots("dosegate/v1", "dosegate-exercise/v1")
    return Publisher(sink, reader, documents, GATEWAY, roots, _status, random=Random(1))


def _status(state: str) -> bytes:
    return json.dumps({"kind": "status", "state": state}).encode()


async def _work(
    life: Life, journal: Journal, documents: DocumentStore, tell: Callable[[str], None]
) -> None:
    for number in range(life.first, life.first + life.steps):
        begin = number * life.samples
        samples = [sample_entry(n, life.pad) for n in range(begin, begin + life.samples)]
        if samples:
            journal.append(samples, [("background/d1", b"%d" % number)])
            tell(f"s {begin} {begin + life.samples - 1} {time.monotonic():.4f}")
        await asyncio.sleep(life.every_s)
        active = Document(f"alarm/active/{number % 5}", body("active", number, 20), durable=True)
        tell(f"c {number}")
        entry = urgent_entry(number, life.pad)
        durable = await journal.commit([entry], [active], [("engine", b"%d" % number)])
        tell(f"{'A' if durable else 'U'} {number}")
        documents.put([active])
        if life.reads:
            await _read(journal)


async def _read(journal: Journal) -> None:
    with contextlib.suppress(sqlite3.Error):  # it may be on its way
        await journal.read(Lane.ALARMS, Span(journal.epoch, 1, 1), 1)


async def _until_drained(
    publisher: Publisher, reader: SinkReader, documents: DocumentStore, tell: Callable[[str], None]
) -> None:
    try:
        async with asyncio.timeout(DRAINED_S):
            while publisher.owed():  # noqa: ASYNC110 - it tells nobody when it is done
                await asyncio.sleep(0.02)
    except TimeoutError:
        cursors = {str(lane): str(cursor) for lane, cursor in reader.cursors().items()}
        feed = documents.feed(SINK).owed()
        tell(f"stuck records={reader.owed()} documents={feed} {publisher.counters} {cursors}")
        raise


class _OtherLevel(sqlite3.Connection):
    """A connection that synchronises less than it is asked to."""

    level = ""

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """As in the connection itself, with another level."""
        if "synchronous" in sql and "=" in sql:
            sql = f"PRAGMA synchronous = {self.level}"
        return super().execute(sql, *arguments)


def _weaken(level: str) -> None:
    connect = sqlite3.connect
    _OtherLevel.level = level

    def other(*arguments: Any, **named: Any) -> sqlite3.Connection:
        named.setdefault("factory", _OtherLevel)
        return connect(*arguments, **named)

    sqlite3.connect = other  # type: ignore[assignment]


def begin(life: Life) -> None:
    """One life in this process."""
    if life.synchronous:
        _weaken(life.synchronous)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(live(life))


def serve() -> None:
    """A child for each command, until the end of stdin."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                begin(Life(**json.loads(line)))
                code = 0
            finally:
                if code:
                    traceback.print_exc()
                sys.stderr.flush()
                os._exit(code)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def main(arguments: Sequence[str]) -> None:
    """See the module's docstring."""
    if arguments == ["--serve"]:
        serve()
    else:
        begin(Life(**json.loads(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
