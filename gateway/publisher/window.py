"""How much may be on its way at once, how long a link may stand still, which message is poison.

The window follows measured progress (after BBR, draft-cardwell-iccrg-bbr-congestion-control): the
greatest rate at which acknowledgements came lately, times the round trip of an empty link and a
little more. What the kernel, the link and the broker still hold counts, as it is not acknowledged.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

RESERVED: Final = 2
"""Slots that only alarms may use."""
LARGEST: Final = 250
"""Messages: 1000 a second over a round trip of 0.25 s."""
FIRST_BYTES: Final = 1000
"""On a link that nothing is known of: a second of one with 1 kB/s."""
LARGEST_BYTES: Final = 65_536
"""So much is behind a link that becomes slow all at once."""
QUEUED_S: Final = 0.2
"""So long may messages wait in the link beyond its own round trip, and alarms behind them."""
LEAD_S: Final = 0.05
"""Own choice: a message leaves so long before the link is through with the one before it."""
LATE_S: Final = 2 * QUEUED_S
"""Own choice: an acknowledgement that is so late says that the link has become slower."""
PERIOD_S: Final = 1.0
PERIOD_TRIPS: Final = 4
"""A rate is remembered for one to two periods: so long, or so many round trips."""
ROUND_TRIP_S: Final = 10.0
ROUND_TRIPS: Final = 30
"""After so long, or so many of it, the round trip of the empty link is measured anew (BBR: 10 s).

Messages then go one at a time until one has been there and back.
"""
SMALL_BYTES: Final = 1500
"""Greater ones need time of their own: they do not measure the round trip."""
SLOWEST_FADES: Final = 0.95
SIZE_FADES: Final = 0.9
SLACK: Final = 5.0
"""A link may stand still for so many times the slowest round trip of late."""
SLOW_SLACK: Final = 2.0
"""And so many times as long as what is on its way needs at the measured rate."""
LONGEST_STALL: Final = 16.0
SUSPECT_AFTER: Final = 3
CONVICT_AFTER: Final = 2


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is noted when a message leaves: its size, and how far the link was then."""

    at: float
    size: int
    delivered: int
    since: float
    alone: bool


class Window:
    """Bytes and messages that may be on their way on one connection; times are the loop's."""

    def __init__(self, receive_maximum: int) -> None:
        self.total = max(1, min(receive_maximum, LARGEST))
        self.messages = max(1, self.total - RESERVED)
        self.out = 0
        self.rate = 0.0
        self.slowest_s = 0.0
        self._bytes = float(FIRST_BYTES)
        self._delivered = 0
        self._delivered_at = 0.0
        self._best_s = 0.0
        self._best_size = 0
        self._best_at = float("-inf")
        self._is_measuring = False
        self._rate = Greatest()
        self._pace = Greatest()
        self._through_at = 0.0

    @property
    def bytes(self) -> int:
        """While fewer are on their way another message may go, alarms aside."""
        return 0 if self._is_measuring else int(self._bytes)

    @property
    def round_trip_s(self) -> float:
        """Of the empty link."""
        return self._best_s

    def sent(self, size: int, now: float) -> Stamp:
        """A message leaves; its stamp comes back with ``acknowledged``."""
        alone = not self.out
        if alone:
            self._delivered_at = now
        self.out += size
        if pace := self._pace.value:
            self._through_at = max(self._through_at, now) + size / pace
        return Stamp(now, size, self._delivered, self._delivered_at, alone)

    def acknowledged(self, stamp: Stamp, now: float) -> None:
        """It was acknowledged."""
        self.out -= stamp.size
        self._delivered += stamp.size
        self._measure_pace(stamp, now)
        self._delivered_at = now
        took_s = max(now - stamp.at, 1e-6)
        self.slowest_s = max(took_s, self.slowest_s * SLOWEST_FADES)
        self._measure_round_trip(stamp, took_s, now)
        self._measure_rate((self._delivered - stamp.delivered) / max(now - stamp.since, 1e-6), now)
        wanted = self.rate * (self._best_s + QUEUED_S)
        self._bytes = min(float(LARGEST_BYTES), max(1.0, wanted))
        self._expect(now)

    def pause_s(self, size: float, oldest_at: float | None, now: float) -> float:
        """So long a message of that size is kept back, alarms aside; 0 where it is not.

        Where it needs more than ``QUEUED_S`` of its own, so that it goes when the link is about to
        be through with what was sent before: at most one is then to be waited for. And while the
        oldest on its way is late, until it is acknowledged.
        """
        if oldest_at is None:
            return 0.0
        if now - oldest_at > self._best_s + LATE_S and self.rate:
            return math.inf
        return max(0.0, self._through_at - LEAD_S - now) if self.is_slow(size) else 0.0

    def is_slow(self, size: float) -> bool:
        """Whether the link needs so long for a message of that size that they go one by one."""
        return size > QUEUED_S * self._pace.value > 0

    def patience_s(self, keepalive_s: float) -> float:
        """How long it may stand still: half to one and a half times the keepalive interval.

        Longer where what is on its way needs longer at the measured rate.
        """
        patience_s = min(1.5 * keepalive_s, max(0.5 * keepalive_s, SLACK * self.slowest_s))
        return max(patience_s, SLOW_SLACK * self.out / self.rate) if self.rate else patience_s

    def _measure_round_trip(self, stamp: Stamp, took_s: float, now: float) -> None:
        lasts_s = max(ROUND_TRIP_S, ROUND_TRIPS * self._best_s)
        is_old = now - self._best_at > lasts_s
        is_small = stamp.size <= SMALL_BYTES
        if is_small and (took_s <= self._best_s or (is_old and stamp.alone)):
            self._best_s, self._best_size, self._best_at = took_s, stamp.size, now
        self._is_measuring = not stamp.alone and now - self._best_at > lasts_s

    def _measure_rate(self, rate: float, now: float) -> None:
        self._rate.add(rate, now, self._period_s)
        self.rate = self._rate.value

    def _measure_pace(self, stamp: Stamp, now: float) -> None:
        """How fast the link passes on: it had no longer for this message than since it left.

        Nor, if that was later, than since the one before it was acknowledged.
        """
        had_s = now - max(stamp.at, self._delivered_at)
        self._pace.add(stamp.size / max(had_s, 1e-6), now, self._period_s)

    def _expect(self, now: float) -> None:
        """When the link will be through with what is still on its way."""
        if pace := self._pace.value:
            there_and_back_s = max(0.0, self._best_s - self._best_size / pace)
            self._through_at = now + max(0.0, self.out / pace - there_and_back_s)

    @property
    def _period_s(self) -> float:
        return max(PERIOD_S, PERIOD_TRIPS * self._best_s)


class Greatest:
    """The greatest value of the last one to two periods in which there was any."""

    def __init__(self) -> None:
        self.value = 0.0
        self._before = 0.0
        self._now = 0.0
        self._ends = float("-inf")

    def add(self, value: float, now: float, period_s: float) -> None:
        """One more value; a period lasts so long from now if the one before is over."""
        if now >= self._ends:
            self._ends = now + period_s
            self._before, self._now = self._now, 0.0
        self._now = max(self._now, value)
        self.value = max(self._before, self._now)


class Share:
    """What is on its way of one kind of messages, and how many more may go.

    It is filled up to some bytes; the mean size of messages tells how many those are.
    """

    def __init__(self, size: float) -> None:
        self.size = size
        self.messages = 0
        self.bytes = 0

    def sent(self, size: int) -> None:
        """A message leaves."""
        self.messages += 1
        self.bytes += size
        self.size += (size - self.size) * (1 - SIZE_FADES)

    def settled(self, size: int) -> None:
        """It is no longer on its way."""
        self.messages -= 1
        self.bytes -= size

    def room(self, slots: int, limit: int) -> int:
        """Messages that may go now, at least one when none is on its way."""
        free = math.ceil((limit - self.bytes) / self.size)
        return max(0, min(slots, max(free, 0 if self.messages else 1)))


class Stall:
    """Remembers which message a link stood still over, and waits twice as long for it each time.

    What is between may take in a large message at once that it needs minutes to pass on: then
    nothing moves that can be seen from here.
    """

    def __init__(self) -> None:
        self.factor = 1.0
        self._key: Hashable | None = None

    def given_up(self, first: Hashable, size: int) -> None:
        """The connection was given up with this message the oldest on its way."""
        if size <= SMALL_BYTES:
            return
        self.factor = min(LONGEST_STALL, 2 * self.factor) if first == self._key else 2.0
        self._key = first

    def cleared(self, key: Hashable) -> None:
        """This message went through."""
        if key == self._key:
            self._key = None
            self.factor = 1.0


class Suspicion:
    """Finds the message that a broker answers by closing the connection.

    The first message in flight at three losses in a row is a suspect and goes alone; two more
    losses convict it.
    """

    def __init__(self) -> None:
        self._suspect: Hashable | None = None
        self._losses = 0

    @property
    def isolating(self) -> bool:
        """Whether only one message may be on its way."""
        return self._losses >= SUSPECT_AFTER

    def is_about(self, key: Hashable) -> bool:
        """Whether the connection was closed with this message first at the last loss too."""
        return bool(self._losses) and key == self._suspect

    def lost(self, first: Hashable | None) -> bool:
        """The broker closed with ``first`` the oldest message in flight; True convicts it."""
        if first is None:
            return False
        self._losses = self._losses + 1 if first == self._suspect else 1
        self._suspect = first
        if self._losses < SUSPECT_AFTER + CONVICT_AFTER:
            return False
        self.cleared(first)
        return True

    def cleared(self, key: Hashable) -> None:
        """This message went through."""
        if key == self._suspect:
            self._suspect = None
            self._losses = 0
