"""Packed rows: a group of samples is compressed before it is stored.

A stored row begins with the byte ``PACKED``, or it is plain text as format 1 wrote it; no topic
begins with that byte. zlib works outside the interpreter's lock, in the writer's thread. Its own
checksum tells a row in which a bit has turned: such a row counts as missing, not as a reading.
Level 1 with a dictionary of words that each message repeats was measured to be as small as level 6
at half the time (docs/decisions/0017-storage.md).
"""

import zlib
from typing import Final

PACKED: Final = b"\x01"
LEVEL: Final = 1
LARGEST_BYTES: Final = 256 * 1024 * 1024
"""No row of 1000 records comes near: own choice, against rows that are not ours."""

DICTIONARY: Final = (
    b'"sample","passage","watch","summary","fault","degraded","missing","stale","learning"'
    b'"position":{"latitude":,"longitude":,"altitude":null,"accuracy":null,"satellites":,"hdop":,'
    b'"age":0.0,"source":"instrument"}"occupied":true,"occupied":false,"flags":["over_range"],'
    b'"neutron_counts","neutron_count_rate","gamma_count_rate","1/s","count_rate"'
    b'"unit":"\xc2\xb5Sv","quantity":"ambient_dose_equivalent","channel":"dose",'
    b'{"kind":"sample","detector":"","time":"2026-","time_estimated":true,"arrived":"2026-",'
    b'"flags":[],"position":null,"occupied":null,"readings":['
    b'{"channel":"gamma_counts","unit":"count","quantity":"gamma_counts","flags":[],'
    b'"lower_bound":null,"window_s":1.0,"part":"1","independent":true,"value":,"raw":""},'
    b'{"channel":"dose_rate","value":0.1,"unit":"\xc2\xb5Sv/h",'
    b'"quantity":"ambient_dose_equivalent_rate","flags":[],"lower_bound":null,"window_s":null,'
    b'"raw":" \xc2\xb5Sv/h","part":"","independent":false}]'
)
"""Part of the format: rows cannot be read without it. A new one takes a new first byte."""


def compress(text: bytes) -> bytes:
    """A row as it is stored."""
    deflate = zlib.compressobj(LEVEL, zdict=DICTIONARY)
    return b"".join((PACKED, deflate.compress(text), deflate.flush()))


def expand(row: bytes) -> bytes:
    """The text of a stored row; ValueError if it is damaged."""
    if row[:1] != PACKED:
        return row
    inflate = zlib.decompressobj(zdict=DICTIONARY)
    try:
        text = inflate.decompress(row[1:], LARGEST_BYTES)
    except zlib.error as error:
        raise ValueError(f"a row of the journal is damaged: {error}") from error
    if not inflate.eof:
        raise ValueError("a row of the journal is damaged: it has no end")
    return text
