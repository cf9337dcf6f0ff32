"""MQTT bytes and topics, without a network. Tables and examples of the OASIS standard MQTT 5.0."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators import mqtt_encode
from simulators.mqtt_decode import Splitter, decode
from simulators.mqtt_encode import variable
from simulators.mqtt_packets import (
    LEVEL_3_1_1,
    LEVEL_5,
    LONGEST_PACKET,
    Message,
    PacketError,
    Property,
    Publish,
)
from simulators.mqtt_session import Held, Session, is_filter, matches


@pytest.mark.parametrize(
    ("topic_filter", "topic", "covers"),
    [
        # 4.7.1.2 and 4.7.1.3 of MQTT 5.0, the examples there
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        # 4.7.2
        ("#", "$SYS/monitor", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/monitor", True),
        # 4.7.3
        ("accounts", "Accounts", False),
    ],
)
def test_filter_covers_topic(topic_filter: str, topic: str, covers: bool) -> None:
    assert is_filter(topic_filter)
    assert matches(topic_filter, topic) is covers


@pytest.mark.parametrize("text", ["", "sport/tennis#", "sport/tennis/#/ranking", "sport+", "+a/b"])
def test_not_a_filter(text: str) -> None:
    assert not is_filter(text)


@pytest.mark.parametrize(
    ("value", "octets"),
    [  # table 1-1 of 1.5.5 in MQTT 5.0
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2_097_151, "ffff7f"),
        (2_097_152, "80808001"),
        (268_435_455, "ffffff7f"),
    ],
)
def test_variable_byte_integer(value: int, octets: str) -> None:
    assert variable(value).hex() == octets
    splitter = Splitter(LONGEST_PACKET)
    splitter.feed(b"\x30" + bytes.fromhex(octets))
    if value == 0:
        assert splitter.next() == (0x30, b"")
    else:
        assert splitter.next() is None


@given(st.integers(0, 255), st.binary(max_size=60), st.sampled_from((LEVEL_3_1_1, LEVEL_5)))
def test_garbage_is_refused_and_nothing_else(first: int, body: bytes, level: int) -> None:
    with contextlib.suppress(PacketError):
        decode(first, body, level)


def test_publish_with_all_properties_decoded_and_encoded() -> None:
    # constructed after 3.3.2: QoS 1, retained, identifier 10, six kinds of property
    data = bytes.fromhex(
        "33 2e 0003 612f62 000a 22 01 01 02 00000258 03 0001 74 08 0001 72 09 0002 0102"
        " 26 0001 61 0001 31 26 0001 61 0001 32 7061796c"
    )
    packet = Publish(
        Message(
            "a/b",
            b"payl",
            1,
            True,
            (
                (Property.PAYLOAD_FORMAT, 1),
                (Property.MESSAGE_EXPIRY, 600),
                (Property.CONTENT_TYPE, "t"),
                (Property.RESPONSE_TOPIC, "r"),
                (Property.CORRELATION_DATA, b"\x01\x02"),
                (Property.USER_PROPERTY, ("a", "1")),
                (Property.USER_PROPERTY, ("a", "2")),
            ),
        ),
        10,
    )
    splitter = Splitter(LONGEST_PACKET)
    splitter.feed(data)
    frame = splitter.next()
    assert frame is not None
    assert decode(*frame, LEVEL_5) == packet
    assert mqtt_encode.publish(packet, LEVEL_5) == data


def test_packet_identifiers_skip_those_in_flight() -> None:
    session = Session("a", 70_000)
    held = Held(Message("t", b"", 1), None)
    for _ in range(65_537):
        session.offer(held)
    first = session.take(100_000, 0.0)
    assert first is not None
    assert first.packet_id == 1
    for number in range(2, 65_536):
        packet = session.take(100_000, 0.0)
        assert packet is not None
        assert packet.packet_id == number
    assert session.take(100_000, 0.0) is None
    assert session.acknowledged(40_000)
    assert not session.acknowledged(40_000)
    packet = session.take(100_000, 0.0)
    assert packet is not None
    assert packet.packet_id == 40_000
