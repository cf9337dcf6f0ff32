"""The parts of the MQTT client that need no connection: window, brokers, names, words, packets."""

import asyncio
import errno
import math
import random
import socket
import ssl
from collections import deque
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from config.models import Sink
from gateway.documents import DocumentStore, Standing
from gateway.mqtt import Broker
from gateway.publisher.brokers import ANSWERS, PROBE_S, BrokerList
from gateway.publisher.certificate import expiry_warning
from gateway.publisher.names import Address, Names, NoAddress
from gateway.publisher.notices import FEED_DOWN_S, RENEW_S, SinkNotices
from gateway.publisher.orphans import Orphans
from gateway.publisher.packets import PacketError, encode_publish, packet_end, read_puback
from gateway.publisher.stream import NotMqtt
from gateway.publisher.trouble import SILENT_TAKEOVERS, TAKEOVERS, Conflict, words
from gateway.publisher.window import (
    LARGEST_BYTES,
    LATE_S,
    LEAD_S,
    QUEUED_S,
    RESERVED,
    Stall,
    Stamp,
    Window,
)
from gateway.values import Document, Notice

HALL = Broker("hall", 8883, tls=True)
NOON = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


class Link:
    """A link in virtual time: so many bytes a second, so long there and back, no losses."""

    def __init__(self, rate: float, round_trip_s: float) -> None:
        self.rate = rate
        self.round_trip_s = round_trip_s
        self.now = 100.0
        self.window = Window(65_535)
        self.greatest = 0
        self.longest_s = 0.0
        self.delivered = 0
        self._free_at = 0.0
        self._out: deque[tuple[float, Stamp]] = deque()

    def run(self, seconds: float, size: int = 300) -> None:
        """Always something to send."""
        end = self.now + seconds
        while self.now < end:
            while (pause_s := self._pause_s(size)) == 0:
                self._send(size)
            due, stamp = self._out[0]
            if self.now + pause_s < due:
                self.now += pause_s
                continue
            self._out.popleft()
            self.now = max(self.now, due)
            self.delivered += stamp.size
            self.window.acknowledged(stamp, self.now)

    def offer(self, seconds: float, size: int, every_s: float) -> None:
        """One message in each interval, if it may go; what may not is given up."""
        end = self.now + seconds
        while self.now < end:
            while self._out and self._out[0][0] <= self.now:
                due, stamp = self._out.popleft()
                self.window.acknowledged(stamp, due)
            if not self._pause_s(size):
                self._send(size)
            self.now += every_s

    def waits_s(self) -> float:
        """So long an alarm would be kept up by what is on its way."""
        return max(0.0, self._free_at - self.now)

    def _pause_s(self, size: int) -> float:
        """Until the next message may go; infinite: not before one is acknowledged."""
        if not self._out:
            return 0.0
        if self.window.out >= self.window.bytes:
            return math.inf
        return self.window.pause_s(size, self._out[0][1].at, self.now)

    def _send(self, size: int) -> None:
        self._free_at = max(self._free_at, self.now) + size / self.rate
        self._out.append((self._free_at + self.round_trip_s, self.window.sent(size, self.now)))
        self.greatest = max(self.greatest, self.window.out)
        self.longest_s = max(self.longest_s, self.waits_s())


@pytest.mark.parametrize("round_trip_s", [0.02, 0.3, 0.8])
def test_on_a_slow_link_less_than_a_second_waits(round_trip_s: float) -> None:
    link = Link(1000, round_trip_s)
    link.run(10)
    link.greatest = 0
    link.run(120)
    assert link.greatest <= 1000 * (round_trip_s + 0.3 + QUEUED_S) + 300
    assert link.delivered > 0.85 * 1000 * 130


@pytest.mark.parametrize("size", [300, 600, 1000])
@pytest.mark.parametrize("round_trip_s", [0.001, 0.3, 0.8])
def test_behind_one_message_at_most_an_alarm_waits_on_a_slow_link(
    round_trip_s: float, size: int
) -> None:
    link = Link(1000, round_trip_s)
    link.run(20, size)
    link.longest_s, before, began = 0.0, link.delivered, link.now
    link.run(120, size)
    assert link.longest_s < size / link.rate + 1.5 * LEAD_S
    assert link.delivered - before > 0.9 * link.rate * (link.now - began)


@pytest.mark.parametrize("round_trip_s", [0.001, 0.3, 0.8])
def test_a_link_that_has_become_fast_is_not_taken_for_slow(round_trip_s: float) -> None:
    link = Link(1000, round_trip_s)
    link.run(30, 600)
    link.rate = 1e6
    link.run(12, 600)
    before = link.delivered
    link.run(5, 600)
    assert link.delivered - before > 0.5 * min(link.rate, LARGEST_BYTES / round_trip_s) * 5


def test_what_a_link_does_not_acknowledge_in_time_holds_back_others() -> None:
    """It falls from 1 MB/s to 1 kB/s while 60 kB/s are said."""
    link = Link(1e6, 0.01)
    link.run(5, 600)
    link.rate, link.longest_s = 1000, 0.0
    link.offer(3, 600, every_s=0.01)
    assert link.longest_s < 60 * (0.01 + LATE_S) + 2
    assert link.longest_s < LARGEST_BYTES / 1000 / 2


@pytest.mark.parametrize("round_trip_s", [0.001, 0.05, 0.2])
def test_a_fast_link_is_used_within_a_second(round_trip_s: float) -> None:
    link = Link(10e6, round_trip_s)
    link.run(1.0)
    delivered = link.delivered
    link.run(10.0)
    assert link.delivered - delivered > 0.9 * min(10e6, LARGEST_BYTES / round_trip_s) * 10


def test_a_link_that_becomes_slow_or_longer_is_followed() -> None:
    link = Link(1e6, 0.01)
    link.run(5)
    link.rate = 1000
    link.run(90)
    link.greatest = 0
    link.run(20)
    assert link.greatest <= 1200
    link.rate, link.round_trip_s = 1e6, 0.6
    link.run(60)
    delivered = link.delivered
    link.run(10)
    assert link.delivered - delivered > 0.5 * LARGEST_BYTES / 0.6 * 10


def test_slots_are_kept_for_alarms_within_the_brokers_maximum() -> None:
    assert Window(20).total == 20
    assert Window(20).messages == 20 - RESERVED
    assert Window(1).total == Window(1).messages == 1


def test_patience_follows_the_link() -> None:
    fast, slow = Link(1e6, 0.01), Link(1000, 0.5)
    fast.run(5)
    slow.run(30)
    assert fast.window.patience_s(15) == pytest.approx(7.5, rel=0.1)
    assert slow.window.patience_s(15) <= 22.5
    slow.window.sent(60_000, slow.now)
    assert 60 < slow.window.patience_s(15) < 240


def test_a_message_that_a_link_stood_still_over_is_waited_for_longer() -> None:
    stall = Stall()
    factors = []
    for _ in range(3):
        stall.given_up("large", 10_000)
        factors.append(stall.factor)
    stall.cleared("other")
    assert [*factors, stall.factor] == [2.0, 4.0, 8.0, 8.0]
    stall.given_up("small", 1000)
    assert stall.factor == 8.0
    stall.given_up("other", 10_000)
    assert stall.factor == 2.0
    stall.cleared("other")
    assert stall.factor == 1.0


def test_a_namesake_is_recognised_by_the_code_or_by_many_quick_ends() -> None:
    told = Conflict()
    ends = [told.lost(n, lasted_s=30, code=0x8E, closed_by_peer=True) for n in range(TAKEOVERS)]
    assert ends == [False] * (TAKEOVERS - 1) + [True]
    silent = Conflict()
    for n in range(SILENT_TAKEOVERS - 1):
        assert not silent.lost(n, lasted_s=0.5, code=0, closed_by_peer=True)
    silent.unreachable()
    for n in range(SILENT_TAKEOVERS - 1):
        assert not silent.lost(n, lasted_s=0.5, code=0, closed_by_peer=True)
        assert not silent.lost(n, lasted_s=0.5, code=0, closed_by_peer=False)
    assert silent.lost(20, lasted_s=0.5, code=0, closed_by_peer=True)
    assert silent.lost(500, lasted_s=0.5, code=0, closed_by_peer=True)
    silent.over()
    assert not silent.lost(501, lasted_s=0.5, code=0, closed_by_peer=True)
    slow = Conflict()
    for n in range(20):
        assert not slow.lost(n * 40, lasted_s=1, code=0x8E, closed_by_peer=True)


def brokers() -> BrokerList:
    return BrokerList([Broker(name, 1, tls=False) for name in "abc"], random.Random(1))


def test_the_list_is_tried_in_order_and_starts_again() -> None:
    order = brokers()
    tried = [order.current.host]
    ends = []
    for _ in range(3):
        ends.append(order.failed())
        tried.append(order.current.host)
    assert (tried, ends) == (["a", "b", "c", "a"], [False, False, True])
    order.failed()
    order.lost(was_stable=False)
    assert order.current.host == "c"
    order.lost(was_stable=True)
    assert order.current.host == "a"


def test_a_preferred_broker_must_answer_several_times() -> None:
    order = brokers()
    order.failed()
    order.connected(0.0)
    assert not order.is_due(PROBE_S / 2)
    assert order.is_due(PROBE_S)
    assert [place for place, _ in order.preferred] == [0]
    answers = [order.answered(0, 0.0) for _ in range(ANSWERS - 1)]
    order.was_silent(0, 0.0)
    answers += [order.answered(0, 0.0) for _ in range(ANSWERS)]
    assert answers == [False] * (2 * ANSWERS - 2) + [True]
    order.go_to(0)
    assert order.current.host == "a"
    assert not order.is_due(1e9)


async def test_a_name_server_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.publisher.names.RESOLVE_S", 0.05)
    asked = 0
    answer, ended = Event(), Event()

    def look_up(host: str, port: int) -> list[Any]:
        nonlocal asked
        asked += 1
        answer.wait(5)
        ended.set()
        return [(socket.AF_INET, 0, 0, "", ("192.0.2.1", port))]

    names = Names(look_up)
    for _ in range(3):
        with pytest.raises(NoAddress, match="no DNS answer for hall"):
            await names.find("hall", 1883)
    assert asked == 1
    old = Address(socket.AF_INET, ("192.0.2.9", 1883))
    names.worked("hall", 1883, old)
    found = await names.find("hall", 1883)
    assert found.addresses == (old,)
    assert "no DNS answer" in found.problem
    answer.set()
    await asyncio.to_thread(ended.wait, 5)
    for _ in range(100):
        await asyncio.sleep(0)
        if not names._asked:
            break
    new = Address(socket.AF_INET, ("192.0.2.1", 1883))
    assert (await names.find("hall", 1883)).addresses == (new, old)


async def test_addresses_are_not_asked_for() -> None:
    def look_up(host: str, port: int) -> list[Any]:
        raise AssertionError(host)

    found = await Names(look_up).find("::1", 1883)
    assert found.addresses == (Address(socket.AF_INET6, ("::1", 1883, 0, 0)),)


def refused(code: int) -> MqttConnectError:
    return MqttConnectError(ReasonCode(PacketTypes.CONNACK, identifier=code))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "is the broker running"),
        (TimeoutError("timed out"), "no answer from hall:8883"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "on a network"),
        (NotMqtt(), "log-in page"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "log-in page"),
        (ssl.SSLError(1, "[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] alert"), "certificate: expired"),
        (refused(0x86), "wrong user name or password"),
        (refused(0x88), "unavailable"),
        (NoAddress("no DNS answer for hall"), "no DNS answer for hall"),
    ],
)
def test_errors_are_told_in_words(error: Exception, said: str) -> None:
    assert said in words(error, HALL, NOON)


def test_the_own_certificate_is_told_of_at_30_7_and_1_days() -> None:
    def said(**left: float) -> str:
        return expiry_warning(NOON + timedelta(**left), NOON)

    assert said(days=31) == ""
    assert "within 30 days" in said(days=29)
    assert "within 7 days" in said(days=6)
    assert "within 1 day," in said(hours=20)
    assert "expired on 2027-03-01" in said(seconds=-1)


def test_notices_begin_change_and_end_once() -> None:
    told: list[Notice] = []
    notices = SinkNotices(Sink(id="hall", brokers=("mqtt://hall",)), "name", told.append)
    notices.down(0.0)
    notices.tick(FEED_DOWN_S - 1, NOON)
    assert not told
    notices.unreachable("a", "A is dead")
    for second in range(5):
        notices.unreachable("b", f"B is dead {second}")
        notices.tick(FEED_DOWN_S + second, NOON)
    assert [notice.detail for notice in told] == ["A is dead; B is dead 0"]
    notices.tick(FEED_DOWN_S + RENEW_S, NOON)
    assert told[-1] == Notice("feed_down", True, "A is dead; B is dead 4", "hall")
    notices.connected()
    notices.connected()
    assert told[-1] == Notice("feed_down", False, "A is dead; B is dead 4", "hall")
    assert len(told) == 3


def test_a_certificate_that_was_refused_is_told_until_there_is_a_connection() -> None:
    told: list[Notice] = []
    notices = SinkNotices(Sink(id="hall", brokers=("mqtt://hall",)), "name", told.append)
    notices.expires(NOON + timedelta(days=5))
    notices.unreachable("a", "expired", is_certificate=True)
    notices.tick(0.0, NOON)
    notices.connected()
    notices.tick(1.0, NOON)
    notices.expires(None)
    notices.tick(2.0, NOON)
    assert [(notice.kind, notice.present) for notice in told] == [
        ("certificate", True),
        ("certificate", True),
        ("certificate", False),
    ]
    assert "within 7 days" in told[0].detail
    assert "expired;" in told[0].detail


async def test_only_what_this_gateway_never_had_is_an_orphan() -> None:
    store = DocumentStore("north", 1, ["hall"])
    feed = store.feed("hall")
    topic = "alarm/active/{}".format
    store.put([Document(topic("held"), b"{}"), Document(topic("ended"), b"{}")])
    store.put([Document(topic("ended"), b""), Document(topic("ending"), b"")])
    assert store.standing(False, topic("ended")) is Standing.HELD
    for held in feed.take_others(10):
        if held.document.topic == topic("ended"):
            feed.settle(held)
    orphans = Orphans(("v1/", "x1/"), store.standing)
    orphans.begin(0.0)
    for name in ("held", "ended", "ending", "strange"):
        assert orphans.heard("v1/" + topic(name), b"{}", True, 1.0)
    assert orphans.heard("x1/" + topic("held"), b"{}", True, 1.0)
    assert orphans.heard("v1/" + topic("live"), b"{}", False, 1.0)
    assert orphans.heard("v1/" + topic("empty"), b"", True, 1.0)
    assert not orphans.heard("v1/command/anna/ack", b"{}", False, 1.0)
    assert orphans.left_s(1.5) > 0 >= orphans.left_s(3.0)
    assert [orphan.occurrence for orphan in await orphans.judge()] == ["ended"]
    assert [(orphan.occurrence, orphan.exercise) for orphan in orphans.found] == [
        ("strange", False),
        ("held", True),
    ]


def test_packets_by_hand() -> None:
    """MQTT 5.0, 3.3: type 3, QoS 1, topic "a/b", identifier 10, no properties."""
    assert encode_publish(b"a/b", b"hi", 10, retain=False, is_5=True) == (
        b"\x32\x0a\x00\x03a/b\x00\x0a\x00hi"
    )
    assert encode_publish(b"a/b", b"", 258, retain=True, is_5=False) == (
        b"\x33\x07\x00\x03a/b\x01\x02"
    )
    # 2.1.4: 321 is 0xC1 0x02.
    long = encode_publish(b"a", b"x" * 315, 1, retain=False, is_5=True)
    assert long[1:3] == b"\xc1\x02"
    assert len(long) == 3 + 321
    assert packet_end(b"?" + long, 1) == (4, 1 + len(long))
    assert packet_end(long[:-1], 0) is None
    assert packet_end(b"\x40", 0) is None
    assert read_puback(b"\x40\x03\x00\x0a\x10", 2, 5) == (10, 0x10)
    assert read_puback(b"\x40\x02\x01\x0a", 2, 4) == (266, 0)
    with pytest.raises(PacketError):
        packet_end(b"\x40\xff\xff\xff\xff\x01", 0)
    with pytest.raises(PacketError):
        read_puback(b"\x40\x01\x00", 2, 3)
