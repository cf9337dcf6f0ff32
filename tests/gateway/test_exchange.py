"""The operations of an asker on a scripted link, in virtual time."""

import asyncio
import contextlib
import selectors
from random import Random

import pytest

from drivers.api import Ask, Done, Drain, Identity, More, Quiet, Reopen
from drivers.codec.until import count, quiet, terminator
from drivers.errors import DecodeError, Reject, ReplyTimeout
from drivers.registry import find
from gateway.backoff import BackOff, BackOffLimits
from gateway.clock import Ticker, system_now
from gateway.exchange import BUFFER_LIMIT, Exchange
from gateway.links.errors import LinkLost
from gateway.links.inbox import Inbox
from gateway.session import AskerSession
from gateway.values import LinkState


class Skipping(selectors.DefaultSelector):
    """Never waits: moves the time on instead."""

    now = 1000.0

    def select(self, timeout=None):
        self.now += max(timeout or 0.0, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._skipping = Skipping()
        super().__init__(self._skipping)

    def time(self):
        return self._skipping.now


class Line:
    """A link that answers what the script says: request to (delay in s, bytes) pairs."""

    port = "line"

    def __init__(self, script=()):
        self.script = dict(script)
        self.written = []
        self.opened = 0
        self.inbox = Inbox()

    async def open(self):
        self.opened += 1
        self.inbox = Inbox()

    async def close(self):
        self.inbox.lose(LinkLost(self.port, "closed"))

    async def read(self):
        return await self.inbox.read()

    def take(self):
        return self.inbox.take()

    async def write(self, data):
        self.written.append(data)
        self.say(*self.script.get(data, ()))

    def say(self, *answers):
        loop = asyncio.get_running_loop()
        for delay_s, data in answers:
            loop.call_later(delay_s, self.inbox.put, data)


def play(talk, script=(), before=()):
    """Runs ``talk``; its result, the line, and the seconds it took."""

    async def run():
        line = Line(script)
        line.say(*before)
        await asyncio.sleep(0.001 if before else 0)
        start = asyncio.get_running_loop().time()
        exchange = Exchange(line)
        result = await exchange.run(talk)
        return result, line, asyncio.get_running_loop().time() - start, exchange

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())


def one(operation):
    return (yield operation)


def test_an_answer_in_pieces():
    script = {b"?": [(0.1, b"a"), (0.2, b"b"), (0.3, b"c\r"), (0.4, b"rest")]}
    result, line, took, _ = play(one(Ask(b"?", terminator(b"\r"), 1.0)), script)
    assert (result, line.written) == (b"abc\r", [b"?"])
    assert took == pytest.approx(0.3, abs=0.01)


def test_bytes_behind_the_answer_come_first_in_the_next():
    def talk():
        first = yield Ask(b"?", count(2), 1.0)
        second = yield Ask(b"", count(3), 1.0)
        return first, second

    result, line, took, _ = play(talk(), {b"?": [(0.1, b"12345")]})
    assert result == (b"12", b"345")
    assert line.written == [b"?"]
    assert took == pytest.approx(0.1, abs=0.01)


def test_done_zero_takes_nothing_and_does_not_wait():
    def talk():
        nothing = yield Ask(b"!", lambda buffer: Done(0), 5.0)
        return nothing, (yield Ask(b"?", count(1), 5.0))

    result, line, took, _ = play(talk(), {b"?": [(0.0, b"x")]})
    assert result == (b"", b"x")
    assert line.written == [b"!", b"?"]
    assert took < 0.1


def test_a_timeout_is_thrown_in_with_what_came():
    def talk():
        try:
            yield Ask(b"?", count(4), 2.0)
        except ReplyTimeout as timeout:
            return timeout.raw, (yield Ask(b"again", count(1), 1.0))

    script = {b"?": [(0.5, b"ab")], b"again": [(0.1, b"c")]}
    result, _, took, _ = play(talk(), script)
    assert result == (b"ab", b"c")
    assert took == pytest.approx(2.1, abs=0.01)


def test_a_timeout_nobody_catches_escapes():
    with pytest.raises(ReplyTimeout):
        play(one(Ask(b"?", count(1), 1.0)))


def test_an_error_of_the_driver_escapes():
    def talk():
        yield Ask(b"", lambda buffer: Done(0), 1.0)
        raise DecodeError(Reject.CONTENT)

    with pytest.raises(DecodeError):
        play(talk())


def test_quiet_ends_an_answer_of_unknown_length():
    script = {b"?": [(0.1, b"GMC"), (0.13, b"-300"), (0.6, b"late")]}
    result, _, took, _ = play(one(Ask(b"?", quiet(0.05), 1.0)), script)
    assert result == b"GMC-300"
    assert took == pytest.approx(0.18, abs=0.01)


def test_quiet_that_never_comes_is_a_timeout():
    script = {b"?": [(0.03 * i, b"x") for i in range(200)]}
    with pytest.raises(ReplyTimeout) as caught:
        play(one(Ask(b"?", quiet(0.05), 1.0)), script)
    assert 30 <= len(caught.value.raw) <= 35


def test_quiet_longer_than_the_time_left_is_no_answer():
    script = {b"?": [(0.98, b"x")]}
    with pytest.raises(ReplyTimeout):
        play(one(Ask(b"?", quiet(0.05), 1.0)), script)


def test_drain_zero_drops_only_what_is_there():
    def talk():
        return (yield Drain(0)), (yield Ask(b"", count(1), 1.0))

    result, _, _, _ = play(talk(), before=[(0.0, b"old"), (0.5, b"n")])
    assert result == (b"old", b"n")


def test_drain_drops_for_its_time():
    before = [(0.0, b"a"), (0.4, b"b"), (1.5, b"c")]
    result, _, took, _ = play(one(Drain(1.0)), before=before)
    assert result == b"ab"
    assert took == pytest.approx(1.0, abs=0.01)


def test_drain_of_a_flood_is_bounded_and_no_loss():
    flood = [(0.01 * i, b"z" * (BUFFER_LIMIT + 1)) for i in range(20)]
    result, _, _, _ = play(one(Drain(1.0)), before=flood)
    assert len(result) == BUFFER_LIMIT


def test_an_answer_without_an_end_loses_the_link():
    script = {b"?": [(0.001 * i, b"z" * 4096) for i in range(20)]}
    with pytest.raises(LinkLost, match="without an answer"):
        play(one(Ask(b"?", lambda buffer: More(), 5.0)), script)


def test_a_complete_answer_in_front_of_a_flood_counts_before_the_limit():
    result, _, _, _ = play(one(Ask(b"?", count(1), 1.0)), {b"?": [(0.1, b"yes")]})
    assert result == b"y"


def test_reopen_forgets_and_is_told():
    def talk():
        yield Ask(b"?", count(1), 1.0)
        nothing = yield Reopen()
        try:
            yield Ask(b"", count(1), 0.5)
        except ReplyTimeout as timeout:
            return nothing, timeout.raw

    result, line, _, exchange = play(talk(), {b"?": [(0.1, b"xyz")]})
    assert result == (b"", b"")
    assert exchange.reopened
    assert line.opened == 1


def test_a_lost_link_closes_the_conversation():
    ended = []

    def talk():
        try:
            yield Ask(b"?", count(1), 5.0)
        finally:
            ended.append(True)

    async def run():
        line = Line()
        asyncio.get_running_loop().call_later(0.1, line.inbox.lose, LinkLost("line", "unplugged"))
        generator = talk()
        with pytest.raises(LinkLost):
            await Exchange(line).run(generator)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())
    assert ended == [True]


def test_quiet_of_nothing_on_an_empty_line():
    result, _, took, _ = play(one(Ask(b"?", lambda buffer: Quiet(0.2), 1.0)))
    assert result == b""
    assert took == pytest.approx(0.2, abs=0.01)


class Stalled:
    """Answers who it is, but never streams: a RadEye whose driver helps itself.

    Worst case of its driver: 3 s without a frame, 0.6 s to wake it, 2 s without an answer; the
    third such attempt asks to reopen.
    """

    attempts = 0

    def identify(self):
        yield Ask(b"who", count(1), 1.0)
        return Identity()

    def poll(self):
        self.attempts += 1
        if self.attempts % 3 == 0:
            yield Reopen()
            return []
        try:
            yield Ask(b"", count(1), 3.0 + 0.6 + 2.0)
        except ReplyTimeout as error:
            return [error]


def test_the_session_leaves_a_driver_its_own_attempts():
    states = []

    class Hub:
        def deliver(self, detector, output, arrived):
            return

        def report(self, detector, state, reason):
            states.append(state)

    async def run():
        line = Line({b"who": [(0.1, b"R")]})
        backoff = BackOff(BackOffLimits(), Random(1))
        session = AskerSession(
            "d", find("thermo-radeye"), Stalled(), line, Hub(), system_now, backoff, Ticker()
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await session.run()
        return line.opened

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(run()) >= 5
    assert LinkState.WAITING not in states
    assert states.count(LinkState.IDENTIFYING) >= 5
