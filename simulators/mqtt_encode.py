"""MQTT packets to bytes, as a broker sends them.

Source: OASIS Standards "MQTT Version 5.0" (7 March 2019) and "MQTT Version 3.1.1" (29 October
2014). Section numbers are those of 5.0 unless 3.1.1 stands before them.
"""

from collections.abc import Iterable

from simulators.mqtt_packets import (
    LEVEL_5,
    PROPERTY_RULES,
    Kind,
    Properties,
    Property,
    PropertyValue,
    Publish,
    Reason,
)

# 3.1.1 3.2.2.3: the return codes of level 4; every other reason is "server unavailable".
_RETURN_CODES = {
    Reason.SUCCESS: 0,
    Reason.UNSUPPORTED_PROTOCOL: 1,
    Reason.CLIENT_ID_NOT_VALID: 2,
    Reason.BAD_USER_NAME_OR_PASSWORD: 4,
    Reason.NOT_AUTHORIZED: 5,
    Reason.BANNED: 5,
}


def connack(
    level: int, reason: Reason, *, session_present: bool = False, properties: Properties = ()
) -> bytes:
    """CONNACK, 3.2."""
    if level < LEVEL_5:
        return _packet(Kind.CONNACK, bytes((session_present, _RETURN_CODES.get(reason, 3))))
    return _packet(Kind.CONNACK, bytes((session_present, reason)), _properties(properties))


def publish(packet: Publish, level: int) -> bytes:
    """PUBLISH, 3.3."""
    message = packet.message
    first = Kind.PUBLISH << 4 | packet.dup << 3 | message.qos << 1 | message.retain
    return _framed(
        first,
        _text(message.topic),
        packet.packet_id.to_bytes(2, "big") if message.qos else b"",
        _properties(message.properties) if level == LEVEL_5 else b"",
        message.payload,
    )


def puback(level: int, packet_id: int, reason: Reason) -> bytes:
    """PUBACK, 3.4; level 4 has no way to refuse."""
    body = packet_id.to_bytes(2, "big")
    if level == LEVEL_5 and reason:
        body += bytes((reason,))
    return _packet(Kind.PUBACK, body)


def suback(level: int, packet_id: int, codes: Iterable[int]) -> bytes:
    """SUBACK, 3.9: granted QoS or reason for each filter."""
    granted = bytes(code if level == LEVEL_5 or code < 3 else 0x80 for code in codes)
    none = b"\0" if level == LEVEL_5 else b""
    return _packet(Kind.SUBACK, packet_id.to_bytes(2, "big"), none, granted)


def unsuback(level: int, packet_id: int, reasons: Iterable[Reason]) -> bytes:
    """UNSUBACK, 3.11; level 4 has no reasons."""
    more = b"\0" + bytes(reasons) if level == LEVEL_5 else b""
    return _packet(Kind.UNSUBACK, packet_id.to_bytes(2, "big"), more)


def pingresp() -> bytes:
    """PINGRESP, 3.13."""
    return _packet(Kind.PINGRESP)


def disconnect(reason: Reason) -> bytes:
    """DISCONNECT of a broker, 3.14; there is none in level 4."""
    return _packet(Kind.DISCONNECT, bytes((reason,)))


def _packet(kind: Kind, *parts: bytes) -> bytes:
    return _framed(kind << 4, *parts)


def _framed(first: int, *parts: bytes) -> bytes:
    return b"".join((bytes((first,)), variable(sum(map(len, parts))), *parts))


def variable(value: int) -> bytes:
    """A variable byte integer, 1.5.5."""
    digits = bytearray()
    while True:
        value, digit = value >> 7, value & 0x7F
        if not value:
            digits.append(digit)
            return bytes(digits)
        digits.append(digit | 0x80)


def _text(text: str) -> bytes:
    return _binary(text.encode())


def _binary(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _properties(properties: Properties) -> bytes:
    body = b"".join(variable(key) + _value(key, value) for key, value in properties)
    return variable(len(body)) + body


def _value(key: Property, value: PropertyValue) -> bytes:
    if isinstance(value, int):
        kind = PROPERTY_RULES[key][0]
        if kind == "variable":
            return variable(value)
        return value.to_bytes({"u8": 1, "u16": 2, "u32": 4}[kind], "big")
    if isinstance(value, bytes):
        return _binary(value)
    if isinstance(value, str):
        return _text(value)
    return _text(value[0]) + _text(value[1])
