"""Checksums as the instruments compute them."""


def xor_sum(data: bytes) -> int:
    """Exclusive or of all bytes (NMEA style)."""
    total = 0
    for byte in data:
        total ^= byte
    return total


def byte_sum(data: bytes) -> int:
    """Sum of all bytes modulo 256."""
    return sum(data) & 0xFF
