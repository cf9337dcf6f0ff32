"""What systemd is told: ready, stopping, alive. Does nothing where no one listens."""

import os
import socket
from collections.abc import Mapping
from typing import Final

WATCHDOG_SHARE: Final = 0.4
"""Part of the watchdog's time between two signs of life."""


class Notifier:
    """The notify socket of a Type=notify unit (sd_notify(3))."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        wanted = usec.isdecimal() and int(usec) > 0 and mine
        self.watchdog_s: float | None = int(usec) / 1e6 if wanted else None

    def ready(self, text: str) -> None:
        """Start-up is over."""
        self._send(f"READY=1\nSTATUS={text}")

    def status(self, text: str) -> None:
        """One line for systemctl status."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Everything that must move has moved."""
        self._send("WATCHDOG=1")

    def reloading(self, mono: float) -> None:
        """The configuration is read again; ``ready`` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(mono * 1e6)}")

    def stopping(self) -> None:
        """An orderly end has begun."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.setblocking(False)
            try:
                notify.connect(self._address)
                notify.send(message.encode())
            except OSError:
                return  # nobody listens, or too slowly; the service goes on
