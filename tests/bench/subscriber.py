"""Receives what the gateway publishes and notes when; understands it only when all is over.

Prints ``subscribed``, then ``all`` once every detector was heard. On SIGTERM it writes to --out:
``{"samples": [[id, count, ns], ...], "alarms": [[id, event, ns], ...], "lanes": {lane: [seq]}}``,
times of CLOCK_MONOTONIC.
"""

import argparse
import json
import signal
import socket
import sys
import time
from pathlib import Path

from simulators.mqtt_decode import Splitter, decode
from simulators.mqtt_packets import LEVEL_3_1_1, LONGEST_PACKET, Publish

# MQTT 3.1.1: CONNECT, clean session, no keepalive, client "bench"; SUBSCRIBE to #, QoS 0.
CONNECT = bytes.fromhex("10 11 0004 4d515454 04 02 0000 0005") + b"bench"
SUBSCRIBE = bytes.fromhex("82 06 0001 0001") + b"#\x00"
CONNACK, SUBACK, PUBLISH = 0x20, 0x90, 3
PATIENCE_S = 0.2


class Subscriber:
    """One connection; keeps (ns, body of the PUBLISH)."""

    def __init__(self, port: int, detectors: int) -> None:
        self.kept: list[tuple[int, int, bytes]] = []
        self.is_stopped = False
        self._wanted = detectors
        self._heard: set[bytes] = set()
        self._splitter = Splitter(LONGEST_PACKET)
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(PATIENCE_S)

    def run(self) -> None:
        """Until stopped."""
        self._socket.sendall(CONNECT)
        while not self.is_stopped:
            try:
                data = self._socket.recv(1 << 18)
            except TimeoutError:
                continue
            now = time.monotonic_ns()
            if not data:
                raise SystemExit("the broker closed the connection")
            self._splitter.feed(data)
            while packet := self._splitter.next():
                self._take(now, *packet)

    def _take(self, now: int, first: int, body: bytes) -> None:
        if first >> 4 == PUBLISH:
            self.kept.append((now, first, body))
            self._note(body)
        elif first == CONNACK:
            self._socket.sendall(SUBSCRIBE)
        elif first == SUBACK:
            print("subscribed", flush=True)

    def _note(self, body: bytes) -> None:
        if len(self._heard) == self._wanted:
            return
        topic = body[2 : 2 + int.from_bytes(body[:2], "big")]
        if topic.endswith(b"/sample"):
            self._heard.add(topic)
            if len(self._heard) == self._wanted:
                print("all", flush=True)


def understood(kept: list[tuple[int, int, bytes]]) -> dict[str, object]:
    """The counts of samples, the alarm events, and the sequence numbers by lane."""
    samples, alarms, lanes = [], [], {}
    for now, first, body in kept:
        packet = decode(first, body, LEVEL_3_1_1)
        if not isinstance(packet, Publish) or packet.message.retain or not packet.message.payload:
            continue
        message = json.loads(packet.message.payload)
        if "seq" in message:
            lane = f"{message['lane']} {message['epoch']}"
            lanes.setdefault(lane, []).append(message["seq"])
        if packet.message.topic.endswith("/sample"):
            samples.append([message["detector"], gamma_count(message), now])
        elif packet.message.topic.endswith("/alarm/event"):
            alarms.append([message.get("detector"), message.get("event"), now])
    return {"samples": samples, "alarms": alarms, "lanes": lanes}


def gamma_count(message: dict[str, object]) -> int | None:
    """The portal's gamma count in a sample."""
    readings = message["readings"]
    if isinstance(readings, list):
        for reading in readings:
            if reading["channel"] == "gamma_counts" and reading["value"] is not None:
                return int(reading["value"])
    return None


def main() -> None:
    """Receive until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--detectors", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    subscriber = Subscriber(options.port, options.detectors)
    signal.signal(signal.SIGTERM, lambda *_: setattr(subscriber, "is_stopped", True))
    subscriber.run()
    options.out.write_text(json.dumps(understood(subscriber.kept)))
    print(len(subscriber.kept), "messages", file=sys.stderr)


if __name__ == "__main__":
    main()
