"""The one way in which commands are carried out, whether they come by MQTT or the control socket.

What concerns alarms goes through the pipeline. What needs the journal or a broker is done here, and
its answer is told through the pipeline like any other.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from gateway import replay
from gateway.alarms.lifecycle import Refusal
from gateway.alarms.rights import Rights
from gateway.pipeline import Commanded, Input, Remember, Settled, forget
from gateway.values import Answer, Command, Outputs

log: Final = structlog.get_logger()

REPLAYS: Final = {"resend": replay.resend, "history": replay.history}
"""What is answered beside the alarms, and takes its time."""
_ON_THIS_LAPTOP: Final = {
    "resend": "resend is for a sink: on this machine use dosegate journal export",
    "history": "history is for a sink: on this machine use dosegate journal list, or dosegate why",
}
Stored = asyncio.Future[None] | None
Step = Callable[[Input], tuple[Outputs, Stored]]


class Orphans(Protocol):
    """What is used of a publisher."""

    def remove_orphan(self, occurrence: str) -> bool:
        """Removes a retained alarm of which only the broker knows; False if it does not."""


@dataclass(frozen=True, slots=True)
class SinkSide:
    """The two ends of one sink."""

    reader: replay.Resender
    orphans: Orphans


class Execution:
    """Carries out commands; everything a user may ask for passes here."""

    def __init__(
        self,
        step: Step,
        knows: Callable[[str], bool],
        rights: Rights,
        shelf: replay.Shelf,
        sinks: Mapping[str, SinkSide],
    ) -> None:
        self._step = step
        self._knows = knows
        self._rights = rights
        self._shelf = shelf
        self._sinks = sinks

    async def execute(self, command: Command) -> Answer:
        """For the control socket: it is on disk before it is answered."""
        answer, stored = self.settle(command)
        if stored is not None:
            await stored
        return answer

    def settle(self, command: Command, remember: Remember = forget) -> tuple[Answer, Stored]:
        """Carries out what does not take time; the answer, and when it is on disk."""
        if command.name in REPLAYS:
            return self.refuse(command, _ON_THIS_LAPTOP[command.name], remember)
        if command.name == "close" and self._is_unknown(command):
            return self._close_orphan(command, remember)
        return self._done(self._step(Commanded(command, remember)))

    async def replay(self, command: Command, sink: str, remember: Remember = forget) -> Answer:
        """Sends again to that sink what was told before; a refusal may be asked again later."""
        try:
            self._rights.check(command)
            said = await REPLAYS[command.name](command, self._shelf, self._sinks[sink].reader)
        except Refusal as refusal:
            return self.refuse(command, str(refusal))[0]
        return self._done(self._step(Settled(Answer(command, True, said), remember)))[0]

    def refuse(
        self, command: Command, reason: str, remember: Remember = forget
    ) -> tuple[Answer, Stored]:
        """Answers that it was not carried out."""
        return self.answer(Answer(command, False, reason), remember)

    def answer(
        self, answer: Answer, remember: Remember = forget, *, exercise: bool = False
    ) -> tuple[Answer, Stored]:
        """Tells an answer, on request below the exercise root."""
        return self._done(self._step(Settled(answer, remember, exercise)))

    def _is_unknown(self, command: Command) -> bool:
        occurrence = command.get("occurrence")
        return bool(occurrence) and not self._knows(occurrence)

    def _close_orphan(self, command: Command, remember: Remember) -> tuple[Answer, Stored]:
        occurrence, reason = command.get("occurrence"), command.get("reason").strip()
        try:
            self._rights.check_orphan(command)
        except Refusal as refusal:
            return self.refuse(command, str(refusal), remember)
        if not reason:
            return self.refuse(command, "close needs a reason", remember)
        removed = [
            name for name, sink in self._sinks.items() if sink.orphans.remove_orphan(occurrence)
        ]
        if not removed:  # nobody knows it: the desk says so in its own words
            return self._done(self._step(Commanded(command, remember)))
        said = f"removed at {', '.join(removed)}, not verified normal: {reason}"
        return self.answer(Answer(command, True, said), remember)

    def _done(self, done: tuple[Outputs, Stored]) -> tuple[Answer, Stored]:
        outputs, stored = done
        answer = outputs.answers[0]
        command = answer.command
        log.info("command", name=command.name, user=command.user, accepted=answer.accepted)
        return answer, stored
