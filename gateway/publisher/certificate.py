"""Passwords and certificates of one sink, read anew for each connection, and their dates.

The ssl module tells the dates of a peer's certificate only, so those of the own one are read from
its DER form: RFC 5280, section 4.1; X.690, section 8.1 for the encoding.
"""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from config.models import Sink, Tls

WARN_DAYS: Final = (1, 7, 30)
DAY_S: Final = 86_400.0
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of openssl/x509_vfy.h: chain and name are verified, dates are not."""
_UTC_TIME, _GENERALIZED_TIME, _CONTEXT_0 = 0x17, 0x18, 0xA0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is read from files for one connection."""

    password: str | None
    context: ssl.SSLContext | None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when a certificate holds."""

    begins: datetime
    ends: datetime


def load_credentials(sink: Sink, *, tls: bool) -> Credentials:
    """Password and TLS files as they are now; OSError names the file. Blocks."""
    password = None
    if sink.password_file is not None:
        password = Path(sink.password_file).read_text().rstrip("\r\n")
    if not tls:
        return Credentials(password, None)
    files = sink.tls or Tls()
    return Credentials(password, tls_context(files), own_expiry(files))


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Verifies the chain and the name, always."""
    context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def dates_context(tls: Tls) -> ssl.SSLContext:
    """Only to read the dates of a certificate that was refused for them; nothing is sent."""
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    return context


def own_expiry(tls: Tls) -> datetime | None:
    """When the own certificate ends; None without one, or if its dates cannot be read."""
    if tls.cert_file is None:
        return None
    try:
        text = Path(tls.cert_file).read_text()
        end = "-----END CERTIFICATE-----"
        first = text[text.index("-----BEGIN CERTIFICATE-----") : text.index(end)] + end
        return validity(ssl.PEM_cert_to_DER_cert(first)).ends
    except (ValueError, OSError):
        return None


def expiry_warning(ends: datetime, now: datetime) -> str:
    """What to tell about the own certificate; empty while it is far from its end.

    The text changes at 30, 7 and 1 days, and at the end.
    """
    left_s = (ends - now).total_seconds()
    on = f"{ends:%Y-%m-%d %H:%M} UTC"
    if left_s <= 0:
        return f"this gateway's certificate expired on {on}: install a new one"
    for days in WARN_DAYS:
        if left_s <= days * DAY_S:
            within = "1 day" if days == 1 else f"{days} days"
            return f"this gateway's certificate expires within {within}, on {on}: renew it"
    return ""


def validity(der: bytes) -> Validity:
    """The dates of a certificate in DER form; ValueError if it is none."""
    certificate = _first(der)
    fields = list(_children(_first(certificate)))
    if fields and fields[0][0] == _CONTEXT_0:  # the version, which may be left out
        del fields[0]
    if len(fields) < 4:
        raise ValueError("not a certificate")
    # serialNumber, signature, issuer, validity
    times = [_time(tag, value) for tag, value in _children(fields[3][1])]
    if len(times) != 2:
        raise ValueError("not a certificate")
    return Validity(times[0], times[1])


def _first(der: bytes) -> bytes:
    for _, value in _children(der):
        return value
    raise ValueError("not a certificate")


def _children(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in turn."""
    at = 0
    while at < len(der):
        if at + 2 > len(der):
            raise ValueError("cut off")
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(der[at : at + count], "big")
            at += count
        if at + length > len(der):
            raise ValueError("cut off")
        yield tag, der[at : at + length]
        at += length


def _time(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        # RFC 5280, 4.1.2.5.1: YY from 50 on is 19YY.
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("not a time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
