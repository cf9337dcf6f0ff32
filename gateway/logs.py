"""Logging: events with fields, as JSON lines for systemd or readable on a terminal."""

import logging
import sys
from typing import Final

import structlog
from structlog.typing import Processor

# Levels of sd-daemon(3): the prefix that journald reads.
_PREFIX: Final = {
    "debug": "<7>",
    "info": "<6>",
    "warning": "<4>",
    "error": "<3>",
    "critical": "<2>",
}
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def set_up(level: str, *, as_json: bool, systemd: bool = False) -> None:
    """Everything goes to standard error, library logs included; theirs from warnings on."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    )
    after: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=after)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Prefixed(formatter) if systemd else formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_LEVELS[level])
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    )


class _Prefixed(logging.Formatter):
    """The same line with journald's level before it."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return _PREFIX.get(record.levelname.lower(), "<6>") + self._inner.format(record)
