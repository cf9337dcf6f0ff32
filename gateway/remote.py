"""Commands over MQTT: from ``command/USER/NAME`` to the answer on ``command/USER/result``.

Who USER is, the broker has checked: its access list binds the topic to the account. Everything else
is checked here. A command names the epoch and the heartbeat its issuer last saw, so that no wall
clocks need to agree; it is executed once, however often it is delivered.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog

from gateway.clock import Now
from gateway.command_memory import CommandMemory
from gateway.commands import SIZE_LIMIT, BadCommand, Envelope, id_of, parse_command, parse_envelope
from gateway.execution import REPLAYS, Execution
from gateway.heartbeat import Heartbeats
from gateway.pipeline import States
from gateway.publisher.values import Remote
from gateway.values import Answer, Command

log: Final = structlog.get_logger()

PENDING: Final = 256
"""Own choice: so many messages wait to be looked at, and so many to be sent again."""
ARRIVALS: Final = (100.0, 5.0)
ANSWERS: Final = (10.0, 0.2)
"""Own choices: so many messages of a user are looked at, and so many refusals and repeats are
answered, at once and a second after that. A console that acknowledges a flood stays below."""
_RESULT: Final = "result"
_STRANGERS: Final = ""
_SHOWN: Final = 32


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came from the broker of ``sink``."""

    sink: str
    topic: str
    payload: bytes
    retained: bool


class RemoteCommands:
    """Takes messages from the publishers; ``run`` and ``run_replays`` are tasks."""

    def __init__(
        self,
        home: str,
        users: Collection[str],
        heartbeats: Heartbeats,
        memory: CommandMemory,
        execution: Execution,
        *,
        epoch: int,
        limit_s: float,
        now: Now,
    ) -> None:
        self.counters: Counter[str] = Counter()
        """What became of messages, by reason."""
        self._home = home
        self._heartbeats = heartbeats
        self._memory = memory
        self._execution = execution
        self._epoch = epoch
        self._limit_s = limit_s
        self._now = now
        mono = now().mono
        names = (*users, _STRANGERS)
        self._arrivals = {name: Allowance(*ARRIVALS, mono) for name in names}
        self._answers = {name: Allowance(*ANSWERS, mono) for name in names}
        self._heard: asyncio.Queue[Message] = asyncio.Queue(PENDING)
        self._replays: asyncio.Queue[tuple[Command, str]] = asyncio.Queue(PENDING)
        self._replaying: set[tuple[str, str]] = set()

    def remote(self, sink: str) -> Remote:
        """What the publisher of that sink listens to."""
        return Remote((f"{self._home}command/+/+",), partial(self.hear, sink))

    def hear(self, sink: str, topic: str, payload: bytes, retained: bool) -> None:
        """Runs inside the client: only puts it down."""
        try:
            kept = payload[: SIZE_LIMIT + 1]  # enough to see that it is too large
            self._heard.put_nowait(Message(sink, topic, kept, retained))
        except asyncio.QueueFull:
            self.counters["overflow"] += 1

    async def run(self) -> None:
        """Looks at what was heard, in order."""
        while True:
            message = await self._heard.get()
            try:
                self.take(message)
            except Exception:
                # The boundary: whatever one message brings about costs that message.
                self.counters["failed"] += 1
                log.exception("command_failed", sink=message.sink)

    async def run_replays(self) -> None:
        """Sends again what was asked for, one after the other, beside all other commands."""
        while True:
            command, sink = await self._replays.get()
            try:
                answer = await self._execution.replay(command, sink, self._remember)
                self._count(answer)
            except Exception:
                self.counters["failed"] += 1
                log.exception("command_failed", sink=sink)
            finally:
                self._replaying.discard((command.user, command.command_id))

    def take(self, message: Message) -> None:
        """One message, to its end."""
        user, name = self._addressed(message.topic)
        if name == _RESULT:
            return  # our own answer, which our own filter fits
        if message.retained:
            self.counters["retained"] += 1
            return
        known = user if user in self._arrivals and user != _STRANGERS else _STRANGERS
        if not self._arrivals[known].take(self._now().mono):
            self.counters["flood"] += 1
            return
        told = Command(name[:_SHOWN], user[:_SHOWN], id_of(message.payload))
        if known == _STRANGERS:
            self._refuse(told, "unknown_user", "no user of this name in the configuration")
            return
        try:
            envelope = parse_envelope(message.payload)
            command = parse_command(name, user, envelope.arguments, envelope.command_id)
        except BadCommand as error:
            self._refuse(told, "malformed", str(error)[:200])
            return
        self._consider(command, envelope, message.sink)

    def _addressed(self, topic: str) -> tuple[str, str]:
        user, _, name = topic.removeprefix(f"{self._home}command/").partition("/")
        return user, name

    def _consider(self, command: Command, envelope: Envelope, sink: str) -> None:
        before = self._memory.find(command.user, command.command_id)
        if before is not None and before.repeats(command):
            self._repeat(Answer(command, before.accepted, before.reason))
        elif before is not None:
            self._refuse(command, "id_used", "this id was used for another command")
        elif (command.user, command.command_id) in self._replaying:
            self.counters["repeated"] += 1  # its answer is on the way
        elif problem := self._staleness(envelope):
            self._refuse(command, "stale", problem)
        elif not self._memory.has_room(command.user, self._now().mono):
            self._refuse(command, "too_many", "too many commands at once; wait a moment")
        elif command.name in REPLAYS:
            self._ask_replay(command, sink)
        else:
            self._count(self._execution.settle(command, self._remember)[0])

    def _staleness(self, envelope: Envelope) -> str:
        """Why it is not fresh; empty if it is."""
        if envelope.epoch != self._epoch:
            return f"stale: epoch {envelope.epoch} is not the present one, {self._epoch}"
        age_s = self._heartbeats.age_s(envelope.heartbeat, self._now().mono)
        if age_s is None:
            return f"heartbeat {envelope.heartbeat} was not given yet"
        if age_s > self._limit_s:
            old = "long ago" if math.isinf(age_s) else f"{age_s:.0f} s ago"
            return (
                f"stale: heartbeat {envelope.heartbeat} was given {old}, over {self._limit_s:g} s"
            )
        return ""

    def _ask_replay(self, command: Command, sink: str) -> None:
        try:
            self._replays.put_nowait((command, sink))
        except asyncio.QueueFull:
            self._refuse(command, "too_many", "too much is being sent again; wait a moment")
        else:
            self._replaying.add((command.user, command.command_id))

    def _remember(self, answer: Answer) -> States:
        return self._memory.remember(answer, self._now().mono)

    def _count(self, answer: Answer) -> None:
        self.counters["executed" if answer.accepted else "refused"] += 1

    def _repeat(self, answer: Answer) -> None:
        self.counters["repeated"] += 1
        if self._answers[answer.command.user].take(self._now().mono):
            self._execution.answer(answer)

    def _refuse(self, command: Command, why: str, reason: str) -> None:
        """Answered, unless garbage would then crowd out alarms: it is counted always."""
        self.counters[why] += 1
        known = command.user if command.user in self._answers else _STRANGERS
        if self._answers[known].take(self._now().mono):
            # Arguments of what was not even looked at are nobody's to read.
            self._execution.refuse(replace(command, arguments=()), reason)


class Allowance:
    """So many at once, and so many a second after that."""

    def __init__(self, most: float, per_s: float, mono: float) -> None:
        self._most = self._left = most
        self._per_s = per_s
        self._at = mono

    def take(self, mono: float) -> bool:
        """Whether one more is allowed."""
        self._left = min(self._most, self._left + (mono - self._at) * self._per_s)
        self._at = mono
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
