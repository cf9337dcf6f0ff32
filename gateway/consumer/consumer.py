"""What a consumer of the feed makes of it: complete or not, current or not, alarms as they are now.

Give it every message that the broker delivers (``feed``) and call ``tick`` about once a second. It
does no I/O and reads no clock: ``now`` is the consumer's own monotonic time in s, and no wall clock
is ever compared. The four files of this folder depend on the standard library alone.

A message without ``DUPLICATE`` or ``MALFORMED`` among its findings is new. ``LATE`` ones are
history: they do not change what is so now.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from gateway.consumer import lanes
from gateway.consumer.numbers import Taken
from gateway.consumer.values import Finding, Gateway, Held, Key, Kind, Resend, whole

SCHEMA: Final = "dosegate/1"
DIFFERS_S: Final = 30.0
"""Own choice: another active set than the gateway's for so long, and the retained set is wanted."""
REQUESTS: Final = 10
"""Own choice: so many ranges are asked for at a time."""
LIMIT: Final = 10_000
"""Own choice: gateways; documents and closed alarms of each."""
ALARM: Final = "alarm/active/"


class Consumer:
    """Follows all gateways below one pair of roots on one broker.

    ``followed`` are the lanes that its sink sends. Without ``exercise_root`` the digest of the
    active set cannot be checked.
    """

    def __init__(
        self,
        root: str = "dosegate/v1",
        exercise_root: str | None = "dosegate-exercise/v1",
        followed: tuple[str, ...] = lanes.LANES,
    ) -> None:
        self.gateways: dict[str, Gateway] = {}
        self._roots = {False: f"{root}/"}
        if exercise_root is not None:
            self._roots[True] = f"{exercise_root}/"
        self._lanes = frozenset(followed)

    def connected(self) -> None:
        """A new connection without a session: the retained documents come once more."""
        for gateway in self.gateways.values():
            for held in gateway.documents.values():
                held.confirmed = False
            gateway.closed.clear()

    def feed(self, topic: str, payload: bytes, retained: bool, now: float) -> list[Finding]:
        """One message; never raises."""
        for exercise, root in self._roots.items():
            name, slash, below = topic.removeprefix(root).partition("/")
            if topic.startswith(root) and name and slash:
                try:
                    return self._take(name, (exercise, below), payload, retained, now)
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    return [Finding(Kind.MALFORMED, name, f"{topic}: {error!r}")]
        return []

    def tick(self, now: float) -> list[Finding]:
        """What time alone brings to light."""
        findings = []
        for gateway in self.gateways.values():
            if (state := gateway.state(now)) != gateway.told:
                gateway.told = state
                findings.append(Finding(Kind.GATEWAY, gateway.id, state))
            if gateway.differs_since is not None and now - gateway.differs_since > DIFFERS_S:
                gateway.differs_since = now
                text = "another active set than the gateway's"
                findings.append(Finding(Kind.RESUBSCRIBE, gateway.id, text))
            for (lane, epoch), stream in list(gateway.streams.items()):
                findings += lanes.look(gateway, lane, epoch, stream, now)
        return findings

    def requests(self, now: float) -> list[Resend]:
        """Ranges to ask for now; asked for again later, until they come or are given up."""
        wanted: list[Resend] = []
        for gateway in self.gateways.values():
            if gateway.state(now) == "online":
                wanted += lanes.requests(gateway, REQUESTS - len(wanted), now)
        return wanted

    def _take(
        self, name: str, key: Key, payload: bytes, retained: bool, now: float
    ) -> list[Finding]:
        if key[1].startswith("command/") and not key[1].endswith("/result"):
            return []  # orders of others: not the gateway's word
        body = _parse(payload, name) if payload else {}
        gateway = self.gateways.get(name) or Gateway(name)
        if name not in self.gateways:
            if len(self.gateways) >= LIMIT:
                raise ValueError("too many gateways")
            self.gateways[name] = gateway
        if not payload:
            return _remove(gateway, key)
        if key == (False, "status"):
            return _status(gateway, body, now)
        if key[1] == "heartbeat":
            return [] if retained else self._beat(gateway, body, now)
        if "seq" in body:
            return self._record(gateway, key[0], body, now)
        if body.get("kind") == "summary" and body["lane"] in self._lanes:
            return lanes.summed_up(gateway, body, now)
        if body.get("kind") == "batch":
            return self._unpack(name, key[0], body, now)
        if "revision" in body:
            return self._hold(gateway, key, body)
        return []

    def _record(
        self, gateway: Gateway, exercise: bool, body: Mapping[str, Any], now: float
    ) -> list[Finding]:
        lane, epoch, seq = str(body["lane"]), whole(body["epoch"]), whole(body["seq"])
        if lane.startswith("exercise-") is not exercise or not seq:
            raise ValueError(f"number {seq} of the lane {lane} here")
        if lane not in self._lanes:
            return _read(gateway, body, now)
        findings = lanes.advance(gateway, epoch, now)
        stream = lanes.stream_of(gateway, lane, epoch, now)
        if stream is not None and epoch == gateway.epoch and not body.get("replayed"):
            lanes.join(gateway, lane, stream, seq - 1)
        taken = Taken.DUPLICATE if stream is None else stream.take(seq, now)
        if stream is None or taken is Taken.DUPLICATE:
            return [*findings, Finding(Kind.DUPLICATE, gateway.id, "", lane, epoch, seq, seq)]
        if taken is Taken.LATE or body.get("replayed"):
            findings.append(Finding(Kind.LATE, gateway.id, "", lane, epoch, seq, seq))
        return [
            *findings,
            *lanes.tell_filled(gateway, lane, epoch, stream),
            *_read(gateway, body, now),
        ]

    def _unpack(
        self, name: str, exercise: bool, body: Mapping[str, Any], now: float
    ) -> list[Finding]:
        """Messages that came as one."""
        findings = []
        for each in body["messages"]:
            topic = f"{self._roots[exercise]}{name}/{each['topic']}"
            if not isinstance(each["message"], dict) or each["message"].get("kind") == "batch":
                raise ValueError("a batch of something else than messages")
            self.gateways[name].gathered.add(str(each["message"].get("lane")))
            findings += self.feed(topic, json.dumps(each["message"]).encode(), False, now)
        return findings

    def _beat(self, gateway: Gateway, body: Mapping[str, Any], now: float) -> list[Finding]:
        number, epoch, newest = whole(body["number"]), whole(body["epoch"]), dict(body["newest"])
        digest = str(body["digest"])
        numbers = {str(lane): whole(seq) for lane, seq in newest.items()}
        findings = lanes.advance(gateway, epoch, now)
        if epoch < gateway.epoch or number <= gateway.beat:
            return findings
        gateway.beat, gateway.beat_at, gateway.digest = number, now, digest
        gateway.beat_time = str(body.get("time", ""))
        for lane in self._lanes & numbers.keys():
            stream = lanes.stream_of(gateway, lane, epoch, now)
            if stream is not None:
                lanes.join(gateway, lane, stream, numbers[lane])
                stream.expect(numbers[lane], now)
        if gateway.state(now) == "online":
            return findings + self._compare(gateway, now)
        if gateway.differs_since is None:
            gateway.differs_since = now  # it is said to be gone, and speaks
        return findings

    def _hold(self, gateway: Gateway, key: Key, body: Mapping[str, Any]) -> list[Finding]:
        """The newest by its revision, in whatever order they come."""
        revision = whole(body["revision"])
        held = gateway.documents.get(key)
        if key in gateway.closed or (held is not None and revision < held.revision):
            return []
        if held is None and len(gateway.documents) >= LIMIT:
            raise ValueError("too many documents")
        gateway.documents[key] = Held(revision, body)
        if not key[1].startswith(ALARM):
            return []
        findings = [Finding(Kind.ALARM, gateway.id, key[1][len(ALARM) :])] if held is None else []
        return findings + self._compare(gateway, None)

    def _compare(self, gateway: Gateway, now: float | None) -> list[Finding]:
        """Whether the active set is the gateway's; what it no longer has is taken out.

        Between heartbeats (without ``now``) only whether a difference is over.
        """
        if True not in self._roots or (now is None and gateway.differs_since is None):
            return []
        alarms = {key: held for key, held in gateway.documents.items() if key[1].startswith(ALARM)}
        sure = {key: held for key, held in alarms.items() if held.confirmed}
        for candidate in (alarms, sure):
            if _digest(candidate) == gateway.digest:
                gateway.differs_since = None
                for held in candidate.values():
                    held.confirmed = True
                gone = [key for key in alarms if key not in candidate]
                return [each for key in gone for each in _remove(gateway, key)]
        if gateway.differs_since is None:
            gateway.differs_since = now
        return []


def _parse(payload: bytes, name: str) -> dict[str, Any]:
    body = json.loads(payload)
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        raise ValueError(f"not a message of {SCHEMA}")
    if body.get("gateway") != name:
        raise ValueError("the gateway is not that of the topic")
    return body


def _read(gateway: Gateway, body: Mapping[str, Any], now: float) -> list[Finding]:
    """What the feed tells of itself."""
    if body.get("kind") == "lost":
        return lanes.lost(gateway, body, now)
    if body.get("kind") == "answer" and body.get("name") == "resend":
        return lanes.answered(gateway, body, now)
    return []


def _digest(alarms: Mapping[Key, Held]) -> str:
    lines = sorted(f"{topic[len(ALARM) :]}:{held.revision}" for (_, topic), held in alarms.items())
    return hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()


def _remove(gateway: Gateway, key: Key) -> list[Finding]:
    """An emptied topic. A closed alarm does not come back: no two share an id."""
    was_there = gateway.documents.pop(key, None) is not None
    if not key[1].startswith(ALARM):
        return []
    gateway.closed[key] = None
    while len(gateway.closed) > LIMIT:
        del gateway.closed[next(iter(gateway.closed))]
    return [Finding(Kind.ALARM_OVER, gateway.id, key[1][len(ALARM) :])] if was_there else []


def _status(gateway: Gateway, body: Mapping[str, Any], now: float) -> list[Finding]:
    revision, epoch = whole(body["revision"]), whole(body["epoch"])
    previous = {str(lane): whole(seq) for lane, seq in dict(body["previous"]).items()}
    if str(body["state"]) not in ("online", "stopping", "lost"):
        raise ValueError("no such state")
    if gateway.status is not None and revision < gateway.status.revision:
        return []
    gateway.status = Held(revision, body)
    return lanes.advance(gateway, epoch, now) + lanes.finish(gateway, epoch, previous, now)
