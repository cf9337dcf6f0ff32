"""From a broker of the list to a connection: names, credentials, every address, and why not."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import aiomqtt

from config.models import Sink
from gateway.mqtt import Broker, Connection, OnMessage, Will
from gateway.publisher.brokers import read_dates
from gateway.publisher.certificate import Credentials, load_credentials
from gateway.publisher.names import Address, Found, Names
from gateway.publisher.trouble import is_about_dates, is_certificate, words
from gateway.publisher.values import Note, Sent


class NotConnected(Exception):
    """``is_refused``: nobody listens there, but the host answers."""

    def __init__(self, error: Exception, text: str) -> None:
        super().__init__(text)
        self.is_refused = isinstance(error, ConnectionRefusedError)
        self.is_certificate = is_certificate(error)


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection, where it leads, and the status that is to be its first message."""

    connection: Connection[Sent]
    address: Address
    online: Note


class Connector:
    """Makes the connections of one sink. ``status`` yields the retained status of a state."""

    def __init__(
        self,
        sink: Sink,
        client_id: str,
        names: Names,
        status: Callable[[str], Note],
        wall: Callable[[], datetime],
        *,
        lost: Callable[[], None],
        message: OnMessage,
    ) -> None:
        self.expires: datetime | None = None
        self._sink = sink
        self._client_id = client_id
        self._names = names
        self._status = status
        self._wall = wall
        self._lost = lost
        self._message = message

    async def connect(self, broker: Broker, settled: Callable[[Sent, int], None]) -> Connected:
        """Tries all addresses of the name; NotConnected says why there is no connection."""
        try:
            found = await self._names.find(broker.host, broker.port)
            credentials = await asyncio.to_thread(load_credentials, self._sink, tls=broker.tls)
        except OSError as error:
            raise NotConnected(error, words(error, broker, self._wall())) from error
        self.expires = credentials.expires
        trouble: Exception = OSError("no address")
        for address in found.addresses:
            # The will comes after the status of this connection: its revision is the higher one.
            online = self._status("online")
            connection = self._connection(broker, address, credentials, settled)
            try:
                await connection.open()
            except aiomqtt.MqttError as error:
                trouble = connection.trouble or error
                continue
            self._names.worked(broker.host, broker.port, address)
            return Connected(connection, address, online)
        raise NotConnected(trouble, await self._told(broker, found, trouble)) from trouble

    def _connection(
        self,
        broker: Broker,
        address: Address,
        credentials: Credentials,
        settled: Callable[[Sent, int], None],
    ) -> Connection[Sent]:
        lost = self._status("lost")
        return Connection(
            broker,
            address,
            self._sink,
            self._client_id,
            credentials,
            Will(lost.topic, lost.payload),
            settled=settled,
            lost=self._lost,
            message=self._message,
        )

    async def _told(self, broker: Broker, found: Found, trouble: Exception) -> str:
        dates = None
        if is_about_dates(trouble):
            dates = await read_dates(broker, self._sink, found.addresses[-1])
        text = words(trouble, broker, self._wall(), dates)
        return f"{found.problem}; {text}" if found.problem else text
