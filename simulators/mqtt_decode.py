"""MQTT packets from bytes, as a broker receives them.

Source: OASIS Standards "MQTT Version 5.0" (7 March 2019) and "MQTT Version 3.1.1" (29 October
2014). Section numbers are those of 5.0 unless 3.1.1 stands before them.
"""

import unicodedata
from collections.abc import Callable

from simulators.mqtt_packets import (
    LEVEL_3_1_1,
    LEVEL_5,
    LONGEST_PACKET,
    NEVER_EXPIRES,
    PROPERTY_RULES,
    Acknowledgement,
    Connect,
    Disconnect,
    Kind,
    Message,
    Packet,
    PacketError,
    Ping,
    Properties,
    Property,
    PropertyValue,
    Publish,
    Reason,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
)


class Splitter:
    """Cuts a stream into packets, none longer than ``maximum`` bytes with its header."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """More of the stream."""
        self._buffer += data

    def next(self) -> tuple[int, bytes] | None:
        """First byte and body of the next complete packet, None while there is none."""
        length = 0
        for position in range(1, min(5, len(self._buffer))):
            digit = self._buffer[position]
            length |= (digit & 0x7F) << (7 * (position - 1))
            if digit < 0x80:
                return self._take(position + 1, length)
        if len(self._buffer) >= 5:
            raise PacketError(Reason.MALFORMED_PACKET, "remaining length of more than 4 bytes")
        return None

    def _take(self, start: int, length: int) -> tuple[int, bytes] | None:
        end = start + length
        if end > self._maximum:
            raise PacketError(Reason.PACKET_TOO_LARGE, f"{end} of {self._maximum} bytes")
        if len(self._buffer) < end:
            return None
        first, body = self._buffer[0], bytes(self._buffer[start:end])
        del self._buffer[:end]
        return first, body


class _Body:
    """Reads the fields of one packet, 1.5."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise PacketError(Reason.MALFORMED_PACKET, "a field runs past the end")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def variable(self) -> int:
        value = 0
        for shift in (0, 7, 14, 21):
            digit = self.u8()
            value |= (digit & 0x7F) << shift
            if digit < 0x80:
                return value
        raise PacketError(Reason.MALFORMED_PACKET, "variable byte integer of more than 4 bytes")

    def binary(self) -> bytes:
        return self.take(self.u16())

    def text(self) -> str:
        raw = self.binary()
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise PacketError(Reason.MALFORMED_PACKET, "text is not UTF-8") from None
        # 1.5.4 lets a receiver refuse control characters and non-characters, mosquitto does.
        if not text.isascii() or not text.isprintable():
            _check_characters(text)
        return text

    def packet_id(self) -> int:
        value = self.u16()
        if not value:
            raise PacketError(Reason.MALFORMED_PACKET, "packet identifier 0")
        return value

    def properties(self, level: int, where: str) -> Properties:
        """The properties of a packet, none before level 5."""
        if level < LEVEL_5:
            return ()
        body = _Body(self.take(self.variable()))
        found: list[tuple[Property, PropertyValue]] = []
        while body:
            key = body._property_key(where)
            if key is not Property.USER_PROPERTY and any(key is other for other, _ in found):
                raise PacketError(Reason.PROTOCOL_ERROR, f"{key.name} twice")
            found.append((key, body._property_value(key)))
        return tuple(found)

    def _property_key(self, where: str) -> Property:
        number = self.variable()
        try:
            key = Property(number)
        except ValueError:
            raise PacketError(Reason.MALFORMED_PACKET, f"property {number:#x}") from None
        if where not in PROPERTY_RULES[key][1].split():
            raise PacketError(Reason.PROTOCOL_ERROR, f"{key.name} in {where}")
        return key

    def _property_value(self, key: Property) -> PropertyValue:
        match PROPERTY_RULES[key][0]:
            case "u8":
                return self.u8()
            case "u16":
                return self.u16()
            case "u32":
                return self.u32()
            case "variable":
                return self.variable()
            case "binary":
                return self.binary()
            case "pair":
                return self.text(), self.text()
            case _:
                return self.text()


def _check_characters(text: str) -> None:
    for character in text:
        code = ord(character)
        if unicodedata.category(character) == "Cc" or code & 0xFFFE == 0xFFFE:
            raise PacketError(Reason.MALFORMED_PACKET, f"U+{code:04X} in a text")
        if 0xFDD0 <= code <= 0xFDEF:
            raise PacketError(Reason.MALFORMED_PACKET, f"U+{code:04X} in a text")


def number(properties: Properties, key: Property, default: int) -> int:
    """The value of a numeric property, or what its absence means."""
    for name, value in properties:
        if name is key and isinstance(value, int):
            return value
    return default


def decode(first: int, data: bytes, level: int) -> Packet:
    """One packet of a client; ``level`` is what its CONNECT said (any value before that)."""
    try:
        kind = Kind(first >> 4)
        read = _READERS[kind]
    except (ValueError, KeyError):
        raise PacketError(Reason.PROTOCOL_ERROR, f"packet type {first >> 4}") from None
    flags = first & 0x0F
    wanted = 2 if kind in (Kind.PUBREL, Kind.SUBSCRIBE, Kind.UNSUBSCRIBE) else 0
    if kind is not Kind.PUBLISH and flags != wanted:
        raise PacketError(Reason.MALFORMED_PACKET, f"flags {flags:#x} of {kind.name}")
    body = _Body(data)
    packet = read(body, first, level)
    if body:
        raise PacketError(Reason.MALFORMED_PACKET, f"bytes behind the end of {kind.name}")
    return packet


def _connect(body: _Body, first: int, level: int) -> Connect:
    name, level = body.binary(), body.u8()
    if name != b"MQTT" or level not in (LEVEL_3_1_1, LEVEL_5):
        raise PacketError(Reason.UNSUPPORTED_PROTOCOL, f"{name!r} level {level}")
    flags, keepalive_s = body.u8(), body.u16()
    has_will, qos, retain = bool(flags & 0x04), flags >> 3 & 3, bool(flags & 0x20)
    if flags & 0x01 or qos == 3 or (not has_will and (qos or retain)):
        raise PacketError(Reason.MALFORMED_PACKET, f"connect flags {flags:#04x}")
    if level == LEVEL_3_1_1 and flags & 0xC0 == 0x40:
        raise PacketError(Reason.MALFORMED_PACKET, "password without user name")
    properties = body.properties(level, "connect")
    client_id = body.text()
    will = _will(body, level, qos, retain) if has_will else None
    username = body.text() if flags & 0x80 else None
    if flags & 0x40:
        body.binary()
    if any(key is Property.AUTHENTICATION_METHOD for key, _ in properties):
        raise PacketError(Reason.BAD_AUTHENTICATION_METHOD, "enhanced authentication")
    clean = bool(flags & 0x02)
    kept_s = 0 if clean else NEVER_EXPIRES
    return Connect(
        level,
        client_id,
        clean,
        keepalive_s,
        number(properties, Property.SESSION_EXPIRY, 0) if level == LEVEL_5 else kept_s,
        will,
        _positive(properties, Property.RECEIVE_MAXIMUM, 65535),
        _positive(properties, Property.MAXIMUM_PACKET_SIZE, LONGEST_PACKET),
        username,
    )


def _positive(properties: Properties, key: Property, default: int) -> int:
    value = number(properties, key, -1)
    if not value:
        raise PacketError(Reason.PROTOCOL_ERROR, f"{key.name} 0")
    return default if value < 0 else value


def _will(body: _Body, level: int, qos: int, retain: bool) -> Will:
    properties = body.properties(level, "will")
    message = Message(
        body.text(),
        body.binary(),
        qos,
        retain,
        tuple(item for item in properties if item[0] is not Property.WILL_DELAY),
    )
    return Will(message, number(properties, Property.WILL_DELAY, 0))


def _publish(body: _Body, first: int, level: int) -> Publish:
    qos, dup = first >> 1 & 3, bool(first & 8)
    if qos == 3 or (dup and not qos):
        raise PacketError(Reason.MALFORMED_PACKET, f"flags {first & 15:#x} of PUBLISH")
    topic = body.text()
    packet_id = body.packet_id() if qos else 0
    properties = body.properties(level, "publish")
    message = Message(topic, body.rest(), qos, bool(first & 1), properties)
    return Publish(message, packet_id, dup)


def _acknowledgement(body: _Body, first: int, level: int) -> Acknowledgement:
    packet_id = body.packet_id()
    reason = body.u8() if body and level == LEVEL_5 else 0
    if body:
        body.properties(level, "acknowledgement")
    return Acknowledgement(Kind(first >> 4), packet_id, reason)


def _subscribe(body: _Body, first: int, level: int) -> Subscribe:
    packet_id = body.packet_id()
    properties = body.properties(level, "subscribe")
    if number(properties, Property.SUBSCRIPTION_IDENTIFIER, 0):
        raise PacketError(Reason.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, "subscription identifier")
    found = []
    while body:
        found.append(_subscription(body.text(), body.u8(), level))
    if not found:
        raise PacketError(Reason.PROTOCOL_ERROR, "SUBSCRIBE without a filter")
    return Subscribe(packet_id, tuple(found))


def _subscription(topic_filter: str, options: int, level: int) -> Subscription:
    qos, handling = options & 3, options >> 4 & 3
    reserved = 0xC0 if level == LEVEL_5 else 0xFC
    if qos == 3 or handling == 3 or options & reserved:
        raise PacketError(Reason.MALFORMED_PACKET, f"subscription options {options:#04x}")
    return Subscription(topic_filter, qos, bool(options & 4), bool(options & 8), handling)


def _unsubscribe(body: _Body, first: int, level: int) -> Unsubscribe:
    packet_id = body.packet_id()
    body.properties(level, "unsubscribe")
    found = []
    while body:
        found.append(body.text())
    if not found:
        raise PacketError(Reason.PROTOCOL_ERROR, "UNSUBSCRIBE without a filter")
    return Unsubscribe(packet_id, tuple(found))


def _ping(body: _Body, first: int, level: int) -> Ping:
    return Ping()


def _disconnect(body: _Body, first: int, level: int) -> Disconnect:
    if level < LEVEL_5 or not body:
        return Disconnect()
    reason = body.u8()
    if not body:
        return Disconnect(reason)
    expiry_s = number(body.properties(level, "disconnect"), Property.SESSION_EXPIRY, -1)
    return Disconnect(reason, None if expiry_s < 0 else expiry_s)


_READERS: dict[Kind, Callable[[_Body, int, int], Packet]] = {
    Kind.CONNECT: _connect,
    Kind.PUBLISH: _publish,
    Kind.PUBACK: _acknowledgement,
    Kind.PUBREC: _acknowledgement,
    Kind.PUBREL: _acknowledgement,
    Kind.PUBCOMP: _acknowledgement,
    Kind.SUBSCRIBE: _subscribe,
    Kind.UNSUBSCRIBE: _unsubscribe,
    Kind.PINGREQ: _ping,
    Kind.DISCONNECT: _disconnect,
}
