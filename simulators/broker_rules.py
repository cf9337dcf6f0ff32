"""What the test broker is told: its limits, the faults in force, and what it counted."""

from dataclasses import dataclass, field

from simulators.mqtt_packets import Reason
from simulators.mqtt_session import matches

ALL = "*"
"""In place of a client identifier: every client, known or not."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a broker announces or enforces.

    ``receive_maximum`` publishes a client may have unacknowledged, ``packet_maximum`` bytes of a
    packet, ``queue`` messages that wait for one client, ``window`` unacknowledged deliveries to
    one client (it may ask for fewer), ``keepalive_factor`` of 3.1.2.10, ``connect_s`` seconds
    from the connection to its CONNECT, ``sessions`` and ``retained`` kept at most.
    """

    receive_maximum: int = 20
    packet_maximum: int = 1 << 20
    queue: int = 1000
    window: int = 20
    keepalive_factor: float = 1.5
    connect_s: float = 10.0
    sessions: int = 10_000
    retained: int = 50_000


@dataclass(slots=True)
class Rules:
    """The faults in force; the sets hold client identifiers or ALL.

    ``refused``: filter to the reason with which matching publishes are refused (3.1.1 hears an
    ordinary acknowledgement, the message is dropped). ``stalled``: neither read nor answered.
    ``silent``: what is sent vanishes, nothing is answered, the connection stays (half-open).
    ``unacknowledged``: messages are taken and passed on, but never acknowledged. ``connect``: why
    nobody may connect. ``cut_in``: the connection that sends the so-manieth publish from now is
    cut after the message was passed on and before it is acknowledged.
    """

    refused: dict[str, Reason] = field(default_factory=dict)
    stalled: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    unacknowledged: set[str] = field(default_factory=set)
    connect: Reason | None = None
    cut_in: int | None = None

    def is_stalled(self, client_id: str) -> bool:
        """Whether the broker neither reads nor writes for this client."""
        return _is_chosen(self.stalled, client_id)

    def is_silent(self, client_id: str) -> bool:
        """Whether what this client sends vanishes, and it hears nothing."""
        return _is_chosen(self.silent, client_id)

    def is_unacknowledged(self, client_id: str) -> bool:
        """Whether this client's messages are never acknowledged."""
        return _is_chosen(self.unacknowledged, client_id)

    def is_mute(self, client_id: str) -> bool:
        """Whether this client gets no answers."""
        return self.is_stalled(client_id) or self.is_silent(client_id)

    def refusal(self, topic: str) -> Reason | None:
        """Why nothing may be published to the topic."""
        for topic_filter, reason in self.refused.items():
            if matches(topic_filter, topic):
                return reason
        return None

    def is_cut_now(self) -> bool:
        """Count one publish; whether it is the one at which to cut."""
        if self.cut_in is None:
            return False
        self.cut_in -= 1
        if self.cut_in > 0:
            return False
        self.cut_in = None
        return True

    def lift(self, client_id: str) -> None:
        """End stall, silence and missing acknowledgements of this client, or of everybody."""
        for chosen in (self.stalled, self.silent, self.unacknowledged):
            if client_id == ALL:
                chosen.clear()
            chosen.discard(client_id)


@dataclass(slots=True)
class Statistics:
    """What happened since the broker was made."""

    connections: int = 0
    takeovers: int = 0
    received: int = 0
    duplicates: int = 0
    refused: int = 0
    unacknowledged: int = 0
    dropped: int = 0
    wills: int = 0
    failures: dict[Reason, int] = field(default_factory=dict)

    def failed(self, reason: Reason) -> None:
        """Count one connection that ended for a fault of the client."""
        self.failures[reason] = self.failures.get(reason, 0) + 1


def _is_chosen(chosen: set[str], client_id: str) -> bool:
    return bool(chosen) and (ALL in chosen or client_id in chosen)
