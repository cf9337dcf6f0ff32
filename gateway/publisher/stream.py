"""The bytes of one MQTT connection: how its socket is opened, read and written.

Publishes and their acknowledgements, of which there are thousands a second, are handled here; all
other packets by the library (aiomqtt 2.5 on paho-mqtt 2.2), which is given them one by one.
"""

import socket
import ssl
import struct
from collections import deque
from typing import Any, Final

import aiomqtt
import paho.mqtt.client as paho

from gateway.publisher.names import Address
from gateway.publisher.packets import CONNACK, PUBACK, PacketError, packet_end, read_puback

CONNECT_S: Final = 3.0
REST_S: Final = 0.0005
"""Acknowledgements of a burst are read together: wake-ups are the cost, not work."""
PORTION: Final = 16_384
"""Bytes given to the kernel at once, and unsent in it: an alarm goes before what is still here."""
READ_BYTES: Final = 65_536
LARGEST_PACKET: Final = 1 << 20
"""Own choice: nobody needs to tell a gateway more in one message."""
_TCP_INFO_BYTES_ACKED: Final = struct.Struct("=120xQ")
"""Where linux/tcp.h has tcpi_bytes_acked in struct tcp_info (Linux 4.1)."""
_TCP_NOTSENT_LOWAT: Final = 25
"""linux/tcp.h; the socket module of Python 3.11 names it on some systems only."""


class NotMqtt(Exception):
    """What answers there does not speak MQTT."""


class Stream(aiomqtt.Client):
    """``trouble`` is what went wrong below MQTT; ``closed_by_peer`` that the broker ended it."""

    def _start(self, address: Address, context: ssl.SSLContext | None) -> None:
        """Takes over from the library; to be called once."""
        self._client._create_socket = lambda: self._dial(address)  # type: ignore[method-assign]
        self._client._sock_recv = self._serve  # type: ignore[method-assign]
        self.trouble: Exception | None = None
        self.closed_by_peer = False
        self.spoke_at = 0.0
        self._heard_at = 0.0
        self._confirmed = 0
        self._context = context
        self._abandoned = False
        self._resting = False
        self._pouring = False
        self._ended = False
        self._inbox = b""
        self._serving = b""
        self._urgent: deque[bytes] = deque()
        self._waiting: deque[bytes] = deque()

    @property
    def _awaits_more(self) -> bool:
        """Whether acknowledgements are to come."""
        raise NotImplementedError

    def _puback(self, identifier: int, code: int) -> None:
        """The broker acknowledged a message."""
        raise NotImplementedError

    def moved_at(self) -> float:
        """When bytes last came, or were confirmed to have arrived there (tcp(7), TCP_INFO)."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket) and sock.fileno() >= 0:
            size = _TCP_INFO_BYTES_ACKED.size
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
            confirmed = _TCP_INFO_BYTES_ACKED.unpack(info)[0] if len(info) == size else 0
            if confirmed != self._confirmed:
                self._confirmed = confirmed
                self._heard_at = self._loop.time()
        return self._heard_at

    # -- opening

    def _client_connect(self) -> None:
        try:
            super()._client_connect()
        except OSError as error:
            self.trouble = error
            raise
        if self._abandoned:
            # Its waiter was cancelled while this thread was connecting.
            self._client.on_socket_close = None
            self._client._sock_close()

    def _dial(self, address: Address) -> socket.socket:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            sock.settimeout(CONNECT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, PORTION)
            sock.connect(address.where)
            if self._context is None:
                return sock
            wrapped = self._context.wrap_socket(
                sock, server_hostname=self._hostname, do_handshake_on_connect=False
            )
            sock = wrapped
            wrapped.do_handshake()
        except BaseException:
            sock.close()
            raise
        return sock

    def _on_socket_open(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._opened, sock)

    def _opened(self, sock: Any) -> None:
        if not self._abandoned and sock.fileno() >= 0:
            self._loop.add_reader(sock.fileno(), self._readable, sock)

    # -- reading

    def _readable(self, sock: Any) -> None:
        """Reads what is there; while more is awaited the next look comes a moment later."""
        try:
            data = sock.recv(READ_BYTES)
            while isinstance(sock, ssl.SSLSocket) and sock.pending():
                data += sock.recv(READ_BYTES)
            if not data:
                self.closed_by_peer = True
                self._end(None)
                return
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._end(error)
            return
        self._heard_at = self._loop.time()
        self._inbox = self._inbox + data if self._inbox else data
        try:
            self._read_packets()
        except PacketError:
            self._end(NotMqtt())
        if self._awaits_more and not self._resting and sock.fileno() >= 0:
            self._resting = True
            self._loop.remove_reader(sock.fileno())
            self._loop.call_later(REST_S, self._look_again, sock)

    def _read_packets(self) -> None:
        """Acknowledgements are handled here, all other packets by the library."""
        inbox, start = self._inbox, 0
        if not self._connected.done() and inbox[0] & 0xF0 != CONNACK:
            raise PacketError("no CONNACK")
        while start < len(inbox) and not self._abandoned:
            place = packet_end(inbox, start)
            if place is None:
                if len(inbox) - start > LARGEST_PACKET:
                    raise PacketError("too large")
                break
            body, end = place
            if inbox[start] & 0xF0 == PUBACK:
                identifier, code = read_puback(inbox, body, end)
                self._puback(identifier, code)
            else:
                self._serving = inbox[start:end]
                self._client.loop_read()
            start = end
        self._inbox = inbox[start:]

    def _serve(self, bufsize: int) -> bytes:
        """Gives the library the packet that it is to read."""
        if not self._serving and not self._ended:
            raise BlockingIOError
        data, self._serving = self._serving[:bufsize], self._serving[bufsize:]
        return data

    def _end(self, trouble: Exception | None) -> None:
        """The stream is over: the library takes an empty read for it."""
        self.trouble = trouble
        self._ended = True
        self._serving = b""
        self._client.loop_read()

    def _look_again(self, sock: Any) -> None:
        """Lets TCP confirm what has come, if more is awaited (tcp(7), TCP_QUICKACK).

        A broker that does not set TCP_NODELAY sends one PUBACK and holds the others back until the
        first is confirmed, which the kernel else delays by 40 ms.
        """
        self._resting = False
        if self._abandoned or sock.fileno() < 0:
            return
        self._loop.add_reader(sock.fileno(), self._readable, sock)
        if self._awaits_more:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    # -- writing

    def _on_socket_register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._write, sock)

    def _write(self, sock: Any) -> None:
        """Writes at once; by then the socket may be closed, and its number somebody else's."""
        if self._abandoned or sock.fileno() < 0:
            return
        self._pour()
        if self._client.want_write() and sock.fileno() >= 0:
            self._loop.add_writer(sock.fileno(), self._pour)

    def _enqueue(self, packet: bytes, *, urgent: bool) -> None:
        self.spoke_at = self._loop.time()
        (self._urgent if urgent else self._waiting).append(packet)
        if not self._pouring:
            self._pouring = True
            self._loop.call_soon(self._pour_soon)

    def _forget(self) -> None:
        """What is not written stays so."""
        self._urgent.clear()
        self._waiting.clear()

    def _pour_soon(self) -> None:
        self._pouring = False
        if not self._abandoned:
            self._pour()

    def _pour(self) -> None:
        """Writes until the kernel takes no more, or all is written.

        The library's queue is given the next portion only when it is empty: what waits here can
        still be overtaken, and publishes that wait together leave in one system call.
        """
        self._client.loop_write()
        while (self._urgent or self._waiting) and not self._client.want_write():
            if self._client.socket() is None:
                return
            portion = self._portion()
            self._client._out_packet.append(
                {
                    "command": paho.PUBLISH,
                    "mid": 0,
                    "qos": 1,
                    "pos": 0,
                    "to_process": len(portion),
                    "packet": portion,
                    "info": None,
                }
            )
            self._client.loop_write()

    def _portion(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        for queue in (self._urgent, self._waiting):
            while queue and size < PORTION:
                pieces.append(queue.popleft())
                size += len(pieces[-1])
        return b"".join(pieces)
