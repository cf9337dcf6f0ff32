"""The two packets of which there are thousands a second: PUBLISH with QoS 1 and its PUBACK.

MQTT 5.0, sections 2.1.4 (remaining length), 3.3 and 3.4; MQTT 3.1.1 has the same without the
properties and the reason code.
"""

import struct
from typing import Final

CONNACK: Final = 0x20
PUBACK: Final = 0x40
PUBLISH_QOS_1: Final = 0x32
RETAIN: Final = 0x01
MAX_LENGTH_BYTES: Final = 4
_HEAD: Final = struct.Struct("!H")


class PacketError(ValueError):
    """No MQTT packet starts so."""


def encode_publish(
    topic: bytes, payload: bytes, identifier: int, *, retain: bool, is_5: bool
) -> bytes:
    """A PUBLISH with QoS 1 and no properties."""
    length = 4 + len(topic) + is_5 + len(payload)
    return b"".join(
        (
            bytes((PUBLISH_QOS_1 | retain,)),
            _length(length),
            _HEAD.pack(len(topic)),
            topic,
            _HEAD.pack(identifier),
            b"\0" if is_5 else b"",
            payload,
        )
    )


def packet_end(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the body and the packet end that starts there: (body, end); None if it is not whole."""
    length = 0
    for position in range(MAX_LENGTH_BYTES):
        at = start + 1 + position
        if at >= len(data):
            return None
        length |= (data[at] & 0x7F) << (7 * position)
        if data[at] < 0x80:
            return (at + 1, at + 1 + length) if at + 1 + length <= len(data) else None
    raise PacketError("no remaining length")


def read_puback(data: bytes, body: int, end: int) -> tuple[int, int]:
    """Packet identifier and reason code of a PUBACK; success has no code (3.4.2.1)."""
    if end - body < 2:
        raise PacketError("PUBACK without an identifier")
    return data[body] << 8 | data[body + 1], data[body + 2] if end - body > 2 else 0


def _length(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    encoded = bytearray()
    while number:
        number, digit = divmod(number, 0x80)
        encoded.append(digit | (0x80 if number else 0))
    return bytes(encoded)
