"""Commands over MQTT that were carried out, with their answers: each is executed once.

An id is remembered with what it meant, in the same commit as the command itself. Whoever sends it
again, also after a restart, is given the old answer. What is remembered may be forgotten when the
command could not be executed again anyway, because the heartbeat it names is too old by then.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.values import Answer, Command
from gateway.wire.table import dump

KEY: Final = "command/"
KEPT_S: Final = 3600.0
"""The longest ``command_limit_s``, and long enough for a console that was cut off to ask again."""
KEPT_PER_USER: Final = 256
"""Own choice: a person gives fewer commands within a minute, and a script that does may wait."""
States = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Remembered:
    """A command that was carried out or refused by the desk, ``at`` on the monotonic clock."""

    digest: str
    accepted: bool
    reason: str
    at: float

    def repeats(self, command: Command) -> bool:
        """Whether that one says the same; epoch and heartbeat may be newer ones."""
        return self.digest == digest_of(command)


class CommandMemory:
    """Ids by user; bounded by number, but nothing is forgotten that could be executed again."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._users: dict[str, OrderedDict[str, Remembered]] = {}

    def restore(self, states: Mapping[str, bytes], mono: float) -> None:
        """As it was before the restart; what cannot be read is too old to be executed anyway."""
        for key, data in states.items():
            parts = key.split("/")
            if not key.startswith(KEY) or len(parts) != 3 or not data:
                continue
            try:
                digest, accepted, reason = json.loads(data)
            except ValueError:
                continue
            # Of an epoch before: it may be forgotten at once if there is no room.
            found = Remembered(str(digest), bool(accepted), str(reason), mono - self._limit_s - 1.0)
            self._users.setdefault(parts[1], OrderedDict())[parts[2]] = found

    def find(self, user: str, command_id: str) -> Remembered | None:
        """What became of that one, if it is remembered."""
        held = self._users.get(user)
        return None if held is None else held.get(command_id)

    def has_room(self, user: str, mono: float) -> bool:
        """Whether one more of that user may be executed and remembered."""
        held = self._users.get(user)
        if not held or len(held) < KEPT_PER_USER:
            return True
        oldest = next(iter(held.values()))
        return mono - oldest.at > self._limit_s

    def remember(self, answer: Answer, mono: float) -> States:
        """The states to store with the command; empty ones are forgotten."""
        command = answer.command
        held = self._users.setdefault(command.user, OrderedDict())
        digest = digest_of(command)
        held[command.command_id] = Remembered(digest, answer.accepted, answer.reason, mono)
        body = dump([digest, answer.accepted, answer.reason])
        states = [(_key(command.user, command.command_id), body)]
        for name in self._outlived(held, mono):
            del held[name]
            states.append((_key(command.user, name), b""))
        return tuple(states)

    def _outlived(self, held: OrderedDict[str, Remembered], mono: float) -> list[str]:
        over = len(held) - KEPT_PER_USER
        gone = []
        for number, (name, one) in enumerate(held.items()):
            age_s = mono - one.at
            if age_s <= KEPT_S and not (number < over and age_s > self._limit_s):
                break
            gone.append(name)
        return gone


def digest_of(command: Command) -> str:
    """What a command asks for; the order of its arguments does not matter."""
    text = json.dumps([command.name, sorted(command.arguments)], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _key(user: str, command_id: str) -> str:
    return f"{KEY}{user}/{command_id}"
