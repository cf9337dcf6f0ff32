"""What can go wrong between bytes and values, as values themselves.

    DriverError
    ├── FrameError      the bytes are not a frame: syntax, checksum, length
    ├── DecodeError     a frame, but its content is not what the source documents
    └── ExchangeError   a question without a usable answer
        ├── ReplyTimeout    nothing, or too little, came in time
        └── Refused         the instrument said no

A driver yields these; it never lets one bad frame cost the next good one.
"""

from enum import StrEnum


class Reject(StrEnum):
    """Why something was not turned into a value: closed list, used as a counter's name."""

    SYNTAX = "syntax"
    CHECKSUM = "checksum"
    TRUNCATED = "truncated"
    OVERFLOW = "overflow"
    FIELD_COUNT = "field_count"
    CONTENT = "content"
    UNKNOWN_TAG = "unknown_tag"
    UNSUPPORTED = "unsupported"
    UNEXPECTED = "unexpected"
    TIMEOUT = "timeout"
    REFUSED = "refused"


class DriverError(Exception):
    """One rejected piece of input: the reason, the bytes, and where they stood."""

    def __init__(
        self,
        reason: Reject,
        raw: bytes = b"",
        detail: str = "",
        *,
        line: int | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.raw = raw
        self.detail = detail
        self.line = line
        self.offset = offset


class FrameError(DriverError):
    """The bytes do not form a frame."""


class DecodeError(DriverError):
    """A frame whose content is impossible or not documented."""


class ExchangeError(DriverError):
    """A question that got no usable answer."""


class ReplyTimeout(ExchangeError):
    """No complete answer came in time; ``raw`` holds what did come."""

    def __init__(self, raw: bytes = b"", detail: str = "no answer") -> None:
        super().__init__(Reject.TIMEOUT, raw, detail)


class Refused(ExchangeError):
    """The instrument answered that it will not; ``code`` is its own number."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(Reject.REFUSED, b"", detail or f"exception code {code}")
        self.code = code
