"""The journal's questions while the gateway runs: answered beside it, never in its way.

One thread looks into the file, one page at a time, and rests as long as it looked: what is written,
read and published meanwhile waits at most for the interpreter.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from config.models import Role, User
from gateway.commands import BadCommand
from gateway.journal.desk import REFUSING, JournalDesk, Question, Reply
from gateway.journal.stopped import told_requeued
from gateway.values import Answer, Command

MAY_REQUEUE: Final[tuple[Role, ...]] = ("operator", "custodian", "assessor")
MAY_SEE_ASSESSMENTS: Final[tuple[Role, ...]] = ("operator", "assessor")
"""As who may assess."""
Settle = Callable[[Answer], Awaitable[None]]
Requeue = Callable[[str], Awaitable[int]]


class JournalService:
    """Answers a client of the control socket; ``close`` it with the gateway.

    ``requeue`` makes what a sink refused owed again and says how many messages, ``settle`` tells
    the answer to a command and returns when it is on disk.
    """

    def __init__(
        self,
        desk: JournalDesk,
        requeue: Requeue,
        settle: Settle,
        new_id: Callable[[], str],
        *,
        sinks: Iterable[str] = (),
        users: Iterable[User] = (),
    ) -> None:
        self._desk = desk
        self._do_requeue = requeue
        self._settle = settle
        self._sinks = tuple(sinks)
        self._users: Mapping[str, User] = {user.id: user for user in users}
        self._new_id = new_id
        self._looker = ThreadPoolExecutor(1, "journal-look")
        self._turn = asyncio.Lock()

    async def answer(self, question: Question, user: str) -> Reply:
        """One answer. Raises BadCommand, which says why there is none."""
        if question.get("what") == "requeue":
            return await self._requeue(question, user)
        if question.get("restricted") is True and not self._may(user, MAY_SEE_ASSESSMENTS):
            raise BadCommand(f"{user} may not see assessments: it takes operator or assessor")
        loop = asyncio.get_running_loop()
        async with self._turn:
            began = loop.time()
            try:
                found = await loop.run_in_executor(self._looker, self._desk.answer, question)
            except REFUSING as error:
                raise BadCommand(str(error)) from error
            await asyncio.sleep(loop.time() - began)
        return found

    async def _requeue(self, question: Question, user: str) -> Reply:
        sink = question.get("sink")
        if not isinstance(sink, str) or question.keys() - {"ask", "what", "sink"}:
            raise BadCommand("requeue takes a sink and nothing else")
        command = Command("requeue", user, self._new_id(), (("sink", sink[:64]),))
        accepted, reason = False, ""
        count = 0
        if not self._may(user, MAY_REQUEUE):
            reason = f"{user} may not requeue: it takes {' or '.join(MAY_REQUEUE)}"
        elif sink not in self._sinks:
            reason = f"no sink is called {sink[:64]!r}: {', '.join(self._sinks) or 'there is none'}"
        else:
            try:
                count = await self._do_requeue(sink)
                accepted, reason = True, told_requeued(count)
            except REFUSING as error:
                reason = f"the journal does not take it: {error}"
        await self._settle(Answer(command, accepted, reason))
        return {"ok": accepted, "reason": reason, "count": count, "command": command.command_id}

    def close(self) -> None:
        """Ends its thread, after the page that it looks at."""
        self._looker.shutdown(wait=False)

    def _may(self, user: str, roles: Sequence[Role]) -> bool:
        """Without any user in the configuration, whoever reaches the socket."""
        if not self._users:
            return True
        found = self._users.get(user)
        return found is not None and not set(roles).isdisjoint(found.roles)
