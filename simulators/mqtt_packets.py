"""MQTT packets as values, 3.1.1 (level 4) and 5 (level 5).

Source: OASIS Standards "MQTT Version 5.0" (7 March 2019) and "MQTT Version 3.1.1" (29 October
2014). Section numbers are those of 5.0 unless 3.1.1 stands before them.
"""

from dataclasses import dataclass
from enum import IntEnum

LEVEL_3_1_1 = 4
LEVEL_5 = 5
NEVER_EXPIRES = 0xFFFFFFFF
"""Session Expiry Interval of a session without an end, 3.1.2.11.2."""


LONGEST_PACKET = 5 + 268_435_455
"""Bytes of the longest packet there can be: fixed header and largest remaining length, 2.1.4."""


class Kind(IntEnum):
    """Control packet types, 2.1.2."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class Reason(IntEnum):
    """Reason codes, 2.4; those a broker or a test of a client needs."""

    SUCCESS = 0x00
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    UNSPECIFIED = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC = 0x83
    UNSUPPORTED_PROTOCOL = 0x84
    CLIENT_ID_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    QUOTA_EXCEEDED = 0x97
    PAYLOAD_FORMAT_INVALID = 0x99
    QOS_NOT_SUPPORTED = 0x9B
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1


class Property(IntEnum):
    """Property identifiers, 2.2.2.2."""

    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_IDENTIFIER = 0x0B
    SESSION_EXPIRY = 0x11
    ASSIGNED_CLIENT_IDENTIFIER = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTHENTICATION_METHOD = 0x15
    AUTHENTICATION_DATA = 0x16
    REQUEST_PROBLEM_INFORMATION = 0x17
    WILL_DELAY = 0x18
    REQUEST_RESPONSE_INFORMATION = 0x19
    RESPONSE_INFORMATION = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER_PROPERTY = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_SUBSCRIPTION_AVAILABLE = 0x28
    SUBSCRIPTION_IDENTIFIERS_AVAILABLE = 0x29
    SHARED_SUBSCRIPTION_AVAILABLE = 0x2A


PropertyValue = int | bytes | str | tuple[str, str]
Properties = tuple[tuple[Property, PropertyValue], ...]


# Table 2-4 of 2.2.2.2: the type of each property, and the packets a client may put it in.
PROPERTY_RULES: dict[Property, tuple[str, str]] = {
    Property.PAYLOAD_FORMAT: ("u8", "will publish"),
    Property.MESSAGE_EXPIRY: ("u32", "will publish"),
    Property.CONTENT_TYPE: ("text", "will publish"),
    Property.RESPONSE_TOPIC: ("text", "will publish"),
    Property.CORRELATION_DATA: ("binary", "will publish"),
    Property.SUBSCRIPTION_IDENTIFIER: ("variable", "subscribe"),
    Property.SESSION_EXPIRY: ("u32", "connect disconnect"),
    Property.ASSIGNED_CLIENT_IDENTIFIER: ("text", ""),
    Property.SERVER_KEEP_ALIVE: ("u16", ""),
    Property.AUTHENTICATION_METHOD: ("text", "connect"),
    Property.AUTHENTICATION_DATA: ("binary", "connect"),
    Property.REQUEST_PROBLEM_INFORMATION: ("u8", "connect"),
    Property.WILL_DELAY: ("u32", "will"),
    Property.REQUEST_RESPONSE_INFORMATION: ("u8", "connect"),
    Property.RESPONSE_INFORMATION: ("text", ""),
    Property.SERVER_REFERENCE: ("text", ""),
    Property.REASON_STRING: ("text", "acknowledgement disconnect"),
    Property.RECEIVE_MAXIMUM: ("u16", "connect"),
    Property.TOPIC_ALIAS_MAXIMUM: ("u16", "connect"),
    Property.TOPIC_ALIAS: ("u16", "publish"),
    Property.MAXIMUM_QOS: ("u8", ""),
    Property.RETAIN_AVAILABLE: ("u8", ""),
    Property.USER_PROPERTY: (
        "pair",
        "connect will publish acknowledgement subscribe unsubscribe disconnect",
    ),
    Property.MAXIMUM_PACKET_SIZE: ("u32", "connect"),
    Property.WILDCARD_SUBSCRIPTION_AVAILABLE: ("u8", ""),
    Property.SUBSCRIPTION_IDENTIFIERS_AVAILABLE: ("u8", ""),
    Property.SHARED_SUBSCRIPTION_AVAILABLE: ("u8", ""),
}


class PacketError(Exception):
    """A packet that ends its connection; ``reason`` is what the peer is told."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.name.lower()}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Message:
    """What is published."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Will:
    """Published for a client that went without a word, ``delay_s`` after it did."""

    message: Message
    delay_s: int = 0


@dataclass(frozen=True, slots=True)
class Connect:
    """CONNECT, 3.1; ``expiry_s`` is how long the session outlives the connection."""

    level: int
    client_id: str
    clean_start: bool
    keepalive_s: int
    expiry_s: int
    will: Will | None = None
    receive_maximum: int = 65535
    packet_maximum: int = LONGEST_PACKET
    username: str | None = None


@dataclass(frozen=True, slots=True)
class Publish:
    """PUBLISH, 3.3; ``packet_id`` is 0 with QoS 0."""

    message: Message
    packet_id: int = 0
    dup: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """PUBACK, PUBREC, PUBREL or PUBCOMP, 3.4 to 3.7."""

    kind: Kind
    packet_id: int
    reason: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """One filter of a SUBSCRIBE with its options, 3.8.3.1."""

    topic_filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE, 3.8."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """UNSUBSCRIBE, 3.10."""

    packet_id: int
    topic_filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """PINGREQ, 3.12."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """DISCONNECT, 3.14; ``expiry_s`` is None where it does not change the session's."""

    reason: int = Reason.SUCCESS
    expiry_s: int | None = None


Packet = Connect | Publish | Acknowledgement | Subscribe | Unsubscribe | Ping | Disconnect
