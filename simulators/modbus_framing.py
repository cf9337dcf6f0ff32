"""How Modbus requests and answers are cut from a stream, on the instrument's side.

Modbus Messaging on TCP/IP V1.0b (MBAP header), Modbus over Serial Line V1.02 (RTU, CRC-16 with the
low byte first).
"""

from dataclasses import dataclass
from typing import Final, Protocol

MBAP: Final = 7
MAX_PDU: Final = 253
RTU_REQUEST: Final = 8
"""Bytes of an RTU request of functions 1 to 6; others are met with silence."""

RTU_FUNCTIONS: Final = range(1, 7)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``header`` is what its answer repeats."""

    header: bytes
    unit: int
    pdu: bytes


class BrokenStream(Exception):
    """The next request cannot be found any more."""


class Framing(Protocol):
    """How requests and answers are cut from a stream.

    ``in_order``: a unit answers one question after the other, a late answer holds up the next.
    """

    in_order: bool

    def next(self, buffer: bytearray) -> Request | None:
        """Takes the next complete request out of ``buffer``."""

    def frame(self, header: bytes, unit: int, pdu: bytes) -> bytes:
        """An answer."""

    def corrupt(self, frame: bytes) -> bytes:
        """A frame that its receiver must not believe."""


class MbapFraming:
    """Modbus TCP."""

    in_order = False

    def next(self, buffer: bytearray) -> Request | None:
        """Its length is in the header; one of another protocol is dropped."""
        while len(buffer) >= MBAP:
            length = int.from_bytes(buffer[4:6])
            if not 2 <= length <= MAX_PDU + 1:
                raise BrokenStream
            if len(buffer) < 6 + length:
                return None
            frame = bytes(buffer[: 6 + length])
            del buffer[: 6 + length]
            if not any(frame[2:4]):
                return Request(frame[:4], frame[6], frame[7:])
        return None

    def frame(self, header: bytes, unit: int, pdu: bytes) -> bytes:
        """Transaction and protocol of the request, length, unit, PDU."""
        return header + (len(pdu) + 1).to_bytes(2) + bytes((unit,)) + pdu

    def corrupt(self, frame: bytes) -> bytes:
        """Another transaction: TCP guards the rest."""
        return bytes((frame[0] ^ 0x80,)) + frame[1:]


class RtuFraming:
    """RTU frames; without a 3.5 character silence to go by, the CRC finds the next request."""

    in_order = True

    def next(self, buffer: bytearray) -> Request | None:
        """Drops bytes until eight of them are a request."""
        while len(buffer) >= RTU_REQUEST:
            frame = bytes(buffer[:RTU_REQUEST])
            if frame[1] in RTU_FUNCTIONS and crc16(frame[:-2]) == int.from_bytes(
                frame[-2:], "little"
            ):
                del buffer[:RTU_REQUEST]
                return Request(b"", frame[0], frame[1:-2])
            del buffer[:1]
        return None

    def frame(self, header: bytes, unit: int, pdu: bytes) -> bytes:
        """Unit, PDU, CRC."""
        body = bytes((unit,)) + pdu
        return body + crc16(body).to_bytes(2, "little")

    def corrupt(self, frame: bytes) -> bytes:
        """A wrong CRC."""
        return frame[:-1] + bytes((frame[-1] ^ 0x01,))


def crc16(data: bytes) -> int:
    """Modbus CRC: polynomial 0xA001 (reflected), start 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc
