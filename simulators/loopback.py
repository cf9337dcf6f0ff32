"""Servers for tests: on this machine only, and able to end a connection rudely."""

import asyncio
import ipaddress
import socket
import struct


class NotLoopback(ValueError):
    """``host`` is not a loopback address; what is made for tests is never offered to a network."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host!r} is not a loopback address such as 127.0.0.1")
        self.host = host


def loopback(host: str) -> str:
    """The address to bind, if it is of this machine only; names other than localhost are not."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise NotLoopback(host) from None
    if not address.is_loopback:
        raise NotLoopback(host)
    return host


def reset(transport: asyncio.BaseTransport) -> None:
    """Drop the connection with a TCP reset and whatever was not sent yet."""
    if not isinstance(transport, asyncio.WriteTransport):
        raise TypeError("only a stream can be reset")
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
