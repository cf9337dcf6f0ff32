"""What is wrong with a connection, in words that a person understands.

Codes: MQTT 5.0, section 2.4; openssl/x509_vfy.h for those of certificates.
"""

import errno
import socket
import ssl
from collections import deque
from datetime import datetime
from typing import Final

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from gateway.mqtt import TAKEN_OVER, Broker
from gateway.publisher.certificate import Validity
from gateway.publisher.names import NoAddress
from gateway.publisher.stream import NotMqtt

TAKEOVERS: Final = 3
SILENT_TAKEOVERS: Final = 8
"""Where the broker does not say why it ends them: own choice."""
TAKEOVERS_WITHIN_S: Final = 60.0
SHORT_S: Final = 5.0
"""A connection that a namesake ends does not last longer, as a namesake comes back at once."""

_EXPIRED, _NOT_YET, _REVOKED, _OTHER_NAMES = 10, 9, 23, (62, 63, 64)
_UNKNOWN_CA: Final = (2, 18, 19, 20, 21)
_CONNACK: Final = {
    0x84: "it does not speak this version of MQTT: set protocol in the [[sink]]",
    0x85: "it does not accept this client id",
    0x86: "wrong user name or password",
    0x87: "this user may not connect: wrong password, or not allowed",
    0x88: "it is unavailable at the moment",
    0x89: "it is busy",
    0x8A: "this client is banned",
    0x97: "quota exceeded",
    0x9F: "too many connections at once",
}
_ALERTS: Final = (
    ("CERTIFICATE_EXPIRED", "expired"),
    ("CERTIFICATE_REVOKED", "revoked"),
    ("CERTIFICATE_REQUIRED", "it wants one: set cert_file and key_file"),
    ("UNKNOWN_CA", "signed by a CA that it does not know"),
    ("BAD_CERTIFICATE", "not acceptable to it"),
    ("CERTIFICATE_UNKNOWN", "not acceptable to it"),
)
_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "RECORD_LAYER")
_NO_WAY: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)


def is_about_dates(error: BaseException) -> bool:
    """Whether a certificate was refused for its dates."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in (
        _EXPIRED,
        _NOT_YET,
    )


def is_certificate(error: BaseException) -> bool:
    """Whether one side refused the other's certificate."""
    return isinstance(error, ssl.SSLCertVerificationError) or bool(_alert(error))


def words(
    error: BaseException, broker: Broker, now: datetime, dates: Validity | None = None
) -> str:
    """Why there is no connection; ``dates`` are those of a certificate refused for them."""
    name = f"{broker.host}:{broker.port}"
    if isinstance(error, NoAddress):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_words(error, broker.host, now, dates)
    if _alert(error):
        return f"{name} refuses this gateway's certificate: {_alert(error)}"
    if isinstance(error, NotMqtt):
        return f"{name} does not speak MQTT: wrong port, or a network log-in page answered"
    if isinstance(error, ssl.SSLError):
        if any(word in str(error) for word in _NOT_TLS):
            return f"{name} does not speak TLS: wrong port, or a network log-in page answered"
        return f"no secure connection to {name}: {error.reason or error}"
    if isinstance(error, aiomqtt.MqttError):
        return _refusal_words(error, name)
    return _socket_words(error, name)


def _socket_words(error: BaseException, name: str) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"{name} refuses connections: is the broker running?"
    if isinstance(error, TimeoutError):
        return f"no answer from {name}"
    if isinstance(error, socket.gaierror):
        return f"no DNS answer for {name}"
    if isinstance(error, ConnectionError):
        return f"{name} closed the connection at once"
    if isinstance(error, OSError) and error.errno in _NO_WAY:
        return f"no way to {name}: is this laptop on a network? ({error.strerror})"
    return str(error) or type(error).__name__


def _certificate_words(
    error: ssl.SSLCertVerificationError, host: str, now: datetime, dates: Validity | None
) -> str:
    code = error.verify_code
    clock = f"this laptop's clock says {now:%Y-%m-%d}"
    if code == _EXPIRED:
        on = f" on {dates.ends:%Y-%m-%d}" if dates else ""
        return f"the certificate of {host} expired{on}; {clock}"
    if code == _NOT_YET:
        from_ = f" before {dates.begins:%Y-%m-%d}" if dates else " yet"
        return f"the certificate of {host} is not valid{from_}: check the clock, {clock}"
    if code in _OTHER_NAMES:
        return f"the certificate is not made out to {host}: wrong host, or somebody in between"
    if code in _UNKNOWN_CA:
        return f"the certificate of {host} is signed by an unknown CA: set ca_file in [sink.tls]"
    if code == _REVOKED:
        return f"the certificate of {host} is revoked"
    return f"the certificate of {host} is not valid: {error.verify_message}"


def _refusal_words(error: aiomqtt.MqttError, name: str) -> str:
    code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
    if isinstance(code, ReasonCode):
        return f"{name} refuses this client: {_CONNACK.get(code.value, str(code))}"
    if str(error) == "Operation timed out":
        return f"{name} takes the connection and does not answer"
    return f"{name}: {error}"


def _alert(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        for word, meaning in _ALERTS:
            if f"ALERT_{word}" in str(error):
                return meaning
    return ""


class Conflict:
    """Notices that somebody else uses the same client id: each connection ends the other's.

    MQTT 5 brokers may say so (0x8E). Others just close connections that they took at once, without
    a message that could be to blame; as a link that flaps may look like that, it takes more of them
    in a row. Once it is a conflict, one more is enough.
    """

    def __init__(self) -> None:
        self._told: deque[float] = deque(maxlen=TAKEOVERS)
        self._seen: deque[float] = deque(maxlen=SILENT_TAKEOVERS)
        self._is_on = False

    def lost(self, now: float, *, lasted_s: float, code: int, closed_by_peer: bool) -> bool:
        """A connection ended; True if it is a conflict by now."""
        if code == TAKEN_OVER:
            self._told.append(now)
        elif closed_by_peer and lasted_s < SHORT_S:
            self._seen.append(now)
        else:
            return False
        self._is_on = self._is_on or _is_full(self._told, now) or _is_full(self._seen, now)
        return self._is_on

    def unreachable(self) -> None:
        """The broker did not take a connection: what it ended before has another cause."""
        self._seen.clear()

    def over(self) -> None:
        """A connection lasted."""
        self._is_on = False
        self._told.clear()
        self._seen.clear()


def _is_full(ends: deque[float], now: float) -> bool:
    return len(ends) == ends.maxlen and now - ends[0] <= TAKEOVERS_WITHIN_S
