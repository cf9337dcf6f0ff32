"""The virtual session: order of events, buffers, timeouts, lost links."""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import pytest

from drivers.api import (
    Ask,
    Channel,
    Done,
    Drain,
    DriverInfo,
    Identity,
    More,
    Operation,
    Output,
    Quiet,
    ReadBlock,
    Reading,
    Reopen,
    Sample,
    Verified,
)
from drivers.codec.until import count, quiet, terminator
from drivers.errors import ExchangeError, Refused, Reject, ReplyTimeout
from simulators.api import Emission, Field
from simulators.dialogue import VirtualSession

ANY: Any = None
Poll = Generator[Operation, bytes, Iterable[Output]]


def info(contract: str, poll_s: float = 1.0) -> DriverInfo:
    return DriverInfo(
        "toy", "Toy", contract, (), (), (), "none", Verified.CONSTRUCTED, 1.0, ANY, poll_s=poll_s
    )


def text(data: bytes) -> Sample:
    return Sample((Reading(Channel.NUCLIDE, None, "", raw=data.decode("latin-1")),))


class Echo:
    """Answers ``delay_s`` later with what ``reply`` makes of a request; sends ``schedule``."""

    def __init__(
        self,
        reply: Callable[[bytes], bytes] = lambda data: data,
        schedule: Iterable[tuple[float, bytes]] = (),
        delay_s: float = 0.1,
    ) -> None:
        self.reply = reply
        self.schedule = list(schedule)
        self.delay_s = delay_s
        self.received: list[tuple[float, bytes]] = []

    def advance(self, to_s: float, field: Field) -> list[Emission]:
        due = [Emission(at_s, data) for at_s, data in self.schedule if at_s <= to_s]
        self.schedule = self.schedule[len(due) :]
        return due

    def receive(self, at_s: float, data: bytes, field: Field) -> list[Emission]:
        self.received.append((at_s, data))
        return [Emission(at_s + self.delay_s, self.reply(data))]


class Steps:
    """An asker whose poll is a function; identify asks nothing."""

    def __init__(self, poll: Callable[[], Poll]) -> None:
        self.poll = poll

    def identify(self) -> Generator[Operation, bytes, Identity]:
        yield Drain(0)
        return Identity(model="toy")


def results(
    poll: Callable[[], Poll], instrument: Echo, to_s: float, poll_s: float = 1.0
) -> list[tuple[float, str]]:
    session = VirtualSession(info("asker", poll_s), Steps(poll), instrument, ANY)
    return [
        (round(at_s, 3), event.readings[0].raw if isinstance(event, Sample) else str(event))
        for at_s, event in session.run(to_s)
        if not isinstance(event, Identity)
    ]


def test_surplus_stays_for_the_next_operation() -> None:
    def poll() -> Poll:
        first = yield Ask(b"abcdef", count(2), 1.0)
        second = yield Ask(b"", count(1), 1.0)
        rest = yield Drain(0)
        return [text(first + b"|" + second + b"|" + rest)]

    assert results(poll, Echo(), 0.5) == [(0.1, "ab|c|def")]


def test_a_timeout_is_thrown_in_with_what_came() -> None:
    def poll() -> Poll:
        try:
            yield Ask(b"abc", count(4), 0.5)
        except ReplyTimeout as error:
            left = yield Drain(0)
            return [text(error.raw + b"|" + left)]
        return []

    assert results(poll, Echo(), 0.9) == [(0.5, "abc|")]


def test_quiet_ends_an_answer() -> None:
    def poll() -> Poll:
        answer = yield Ask(b"", quiet(0.2, 2), 2.0)
        return [text(answer)]

    schedule = [(0.1, b"a"), (0.4, b"b"), (0.55, b"c"), (0.9, b"d")]
    assert results(poll, Echo(schedule=schedule), 0.8) == [(0.76, "abc")]


def test_quiet_counts_what_was_there_before() -> None:
    def poll() -> Poll:
        yield Ask(b"abc", count(1), 1.0)
        answer = yield Ask(b"", lambda buffer: Quiet(0.3), 1.0)
        return [text(answer)]

    assert results(poll, Echo(), 0.9) == [(0.4, "bc")]


def test_until_may_be_content_with_nothing() -> None:
    def poll() -> Poll:
        answer = yield Ask(b"x", lambda buffer: Done(0), 1.0)
        return [text(answer + b"!")]

    assert results(poll, Echo(), 0.9) == [(0.0, "!")]


def test_drain_reads_for_its_time() -> None:
    def poll() -> Poll:
        return [text((yield Drain(0.5)))]

    assert results(poll, Echo(schedule=[(0.2, b"a"), (0.5, b"b"), (0.6, b"c")]), 0.9) == [
        (0.5, "ab")
    ]


def test_cadence_of_polls() -> None:
    def poll() -> Poll:
        return [text((yield Ask(b"p\n", terminator(b"\n"), 1.0)))]

    assert [at_s for at_s, _ in results(poll, Echo(), 3.5)] == [0.1, 1.1, 2.1, 3.1]


def test_a_poll_that_takes_no_time_does_not_stop_time() -> None:
    def poll() -> Poll:
        if False:
            yield Drain(0)
        return [text(b"now")]

    assert results(poll, Echo(), 0.05, poll_s=0.0) == [(0.0, "now"), (0.02, "now"), (0.04, "now")]


def test_an_escaping_error_is_an_output() -> None:
    def poll() -> Poll:
        yield Ask(b"x", lambda buffer: More(), 0.3)
        return []

    assert results(poll, Echo(), 1.9) == [(0.3, "timeout: no answer"), (1.3, "timeout: no answer")]


def test_reopen_forgets_and_identifies_again() -> None:
    def poll() -> Poll:
        yield Ask(b"abc", count(1), 1.0)
        nothing = yield Reopen()
        left = yield Drain(0)
        return [text(nothing + b"|" + left)]

    session = VirtualSession(info("asker"), Steps(poll), Echo(), ANY)
    events = [event for _, event in session.run(1.05)]
    assert [type(event) for event in events] == [Identity, Sample, Identity]
    assert events[1] == text(b"|")


def test_identify_that_fails_is_tried_again_after_a_second() -> None:
    def poll() -> Poll:
        yield Drain(0)
        return []

    class Shy(Steps):
        tries = 0

        def identify(self) -> Generator[Operation, bytes, Identity]:
            yield Drain(0)
            self.tries += 1
            if self.tries < 3:
                raise ExchangeError(Reject.UNEXPECTED)
            return Identity()

    session = VirtualSession(info("asker"), Shy(poll), Echo(), ANY)
    assert [at_s for at_s, _ in session.run(2.0)] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("down_s", [1.05, 1.95])
def test_a_link_that_falls_gives_timeouts_then_a_new_identity(down_s: float) -> None:
    def poll() -> Poll:
        return [text((yield Ask(b"p\n", terminator(b"\n"), 0.4)))]

    session = VirtualSession(
        info("asker"), Steps(poll), Echo(), ANY, link_up=lambda at_s: not down_s < at_s < 4.5
    )
    events = [(round(at_s, 2), type(event).__name__) for at_s, event in session.run(5.5)]
    second = (1.4, "ReplyTimeout") if down_s < 1.1 else (1.1, "Sample")
    assert events == [
        (0.0, "Identity"),
        (0.1, "Sample"),
        second,
        (5.0, "Identity"),
        (5.1, "Sample"),
    ]


@pytest.mark.parametrize("step_s", [0.013, 0.5, 7.0])
def test_the_same_whatever_the_steps_of_run(step_s: float) -> None:
    def poll() -> Poll:
        return [text((yield Ask(b"p", quiet(0.05), 1.0)))]

    def all_events(step_s: float) -> list[str]:
        session = VirtualSession(info("asker"), Steps(poll), Echo(), ANY)
        events: list[str] = []
        at_s = 0.0
        while at_s < 7.0:
            at_s = min(at_s + step_s, 7.0)
            for arrived_s, event in session.run(at_s):
                assert arrived_s <= at_s
                events.append(repr(event))
        return events

    assert all_events(step_s) == all_events(7.0)
    assert len(all_events(step_s)) == 8


class Ear:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.interruptions = 0

    def hello(self) -> bytes:
        return b"hello"

    def feed(self, data: bytes) -> Iterator[Output]:
        yield text(data)

    def interrupted(self) -> None:
        self.interruptions += 1


def test_a_listener_hears_and_is_told_of_a_lost_link() -> None:
    ear, instrument = Ear(), Echo(schedule=[(1.0, b"a"), (2.0, b"b"), (3.0, b"c")])
    heard: list[Emission] = []
    session = VirtualSession(
        info("listener"),
        ear,
        instrument,
        ANY,
        link_up=lambda at_s: not 1.5 <= at_s < 2.5,
        witness=heard.append,
    )
    events = list(session.run(3.0))
    assert events == [
        (0.1, text(b"hello")),
        (1.0, text(b"a")),
        (pytest.approx(2.6), text(b"hello")),
        (3.0, text(b"c")),
    ]
    assert ear.interruptions == 1
    assert [emission.data for emission in heard] == [b"hello", b"a", b"hello", b"c"]
    assert len(instrument.received) == 2


def test_a_link_lost_for_a_moment_is_noticed_by_the_bytes_it_cost() -> None:
    ear, instrument = Ear(), Echo(schedule=[(2.05, b"b"), (3.0, b"c")])
    session = VirtualSession(
        info("listener"), ear, instrument, ANY, link_up=lambda at_s: not 2.04 <= at_s < 2.06
    )
    assert [event for _, event in session.run(3.0)] == [text(b"hello"), text(b"hello"), text(b"c")]
    assert ear.interruptions == 1


class Table:
    """A register instrument: holds the time in s, refuses address 9."""

    def read(
        self, at_s: float, function: int, address: int, count: int, field: Field
    ) -> tuple[list[int], dict[str, int]] | int:
        if address == 9:
            return 2
        return [int(at_s)] * count, {"background": int(at_s)}


class Reader:
    """Reads two registers, then the refused one."""

    poll_s = 1.0

    def identify(self) -> Generator[ReadBlock, tuple[int, ...], Identity]:
        registers = yield ReadBlock(4, 0, 2)
        return Identity(serial=str(len(registers)))

    def poll(self) -> Generator[ReadBlock, tuple[int, ...], Iterable[Output]]:
        registers = yield ReadBlock(4, 1, 2)
        try:
            yield ReadBlock(3, 9, 1)
        except Refused as error:
            return [text(b"%d" % registers[0]), error]
        return []


def test_registers() -> None:
    heard: list[Emission] = []
    session = VirtualSession(
        info("registers"),
        Reader(),
        Table(),  # type: ignore[arg-type]
        ANY,
        link_up=lambda at_s: not 1.015 < at_s < 3.9,
        witness=heard.append,
    )
    events = [event for _, event in session.run(5.5)]
    assert events[0] == Identity(serial="2")
    assert [type(event) for event in events[1:5]] == [Sample, Refused, ReplyTimeout, Identity]
    assert events[1] == text(b"0")
    assert sum(isinstance(event, Identity) for event in events) == 2
    assert heard[0].says == {"background": 0}
