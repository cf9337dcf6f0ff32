"""What leaders of an exercise ask of a drill on the control socket: start, inject, remove, look.

``{"ask": "drill", "what": ...}``. A drill is stopped by the command ``stop_exercise``. What was
injected is not told to anybody but leaders: who is put to the test reads what is published.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from config.models import Role, User
from gateway.alarms.rights import PERMITTED
from gateway.commands import BadCommand
from gateway.drill import score as drill_score
from gateway.drill.desk import STOP, Drills
from gateway.drill.values import BadDrill, Ghost
from gateway.values import Answer, Command

Reply = dict[str, object]
Question = Mapping[str, object]
Settle = Callable[[Answer], Awaitable[None]]
LEADERS: Final[tuple[Role, ...]] = PERMITTED[STOP]
_WANTED: Final = frozenset(
    {
        *("name", "nuclide", "activity", "kind", "n_per_s", "for_s"),
        *("x", "y", "detector", "past", "distance_m", "speed", "in_s"),
    }
)


class DrillService:
    """Answers a client of the control socket.

    ``settle`` tells an answer, below the exercise root, and returns when it is on disk.
    """

    def __init__(
        self,
        drills: Drills,
        settle: Settle,
        new_id: Callable[[], str],
        users: Iterable[User] = (),
    ) -> None:
        self._drills = drills
        self._settle = settle
        self._new_id = new_id
        self._users: Mapping[str, User] = {user.id: user for user in users}
        self._asked: Mapping[str, Callable[[Question, str], Awaitable[Reply]]] = {
            "start": self._start,
            "inject": self._inject,
            "remove": self._remove,
            "status": self._status,
            "score": self._score,
        }

    async def answer(self, question: Question, user: str) -> Reply:
        """One answer. Raises BadCommand, which says why there is none."""
        what = str(question.get("what"))
        asked = self._asked.get(what)
        if asked is None:
            raise BadCommand(f"of a drill one asks {', '.join(self._asked)}; not {what[:32]!r}")
        try:
            return await asked(question, user)
        except BadDrill as error:
            raise BadCommand(str(error)) from error

    async def _start(self, question: Question, user: str) -> Reply:
        text = question.get("scenario")
        if not isinstance(text, str):
            raise BadCommand("start takes the text of a scenario")
        await self._check(user, "start")
        try:
            await self._drills.start(text, user)
        except BadDrill as error:
            await self._told("start", user, False, str(error).partition("\n")[0])
            raise
        sheet = self._drills.sheet
        name = "" if sheet is None else sheet.drill
        await self._told("start", user, True, f"drill {name} is on")
        return {"ok": True, **self._shown()}

    async def _inject(self, question: Question, user: str) -> Reply:
        await self._check(user, "inject")
        wanted = {key: value for key, value in question.items() if key not in ("ask", "what")}
        if unknown := sorted(wanted.keys() - _WANTED):
            raise BadCommand(f"{unknown[0][:32]!r} is nothing that a ghost has")
        ghost = await self._drills.inject(wanted, user)
        return {"ok": True, "ghost": _ghost(ghost)}

    async def _remove(self, question: Question, user: str) -> Reply:
        await self._check(user, "remove")
        name = str(question.get("name", ""))[:64]
        await self._drills.remove(name, user)
        return {"ok": True, "removed": name}

    async def _status(self, question: Question, user: str) -> Reply:
        told = self._shown()
        if not self._may(user):
            told = {key: told[key] for key in ("drill", "since_s", "failed") if key in told}
        return {"ok": True, **told}

    async def _score(self, question: Question, user: str) -> Reply:
        if not self._may(user):
            raise BadCommand(self._refusal(user, "see the score of"))
        sheet = self._drills.sheet
        if sheet is None:
            raise BadCommand("there was no drill yet")
        return {"ok": True, "score": drill_score.told(sheet)}

    def _shown(self) -> Reply:
        sheet = self._drills.sheet
        if sheet is None or not self._drills.is_on:
            none: Reply = {"drill": None, "since_s": None}
            return none | {"failed": self._drills.failed} if self._drills.failed else none
        return {
            "drill": sheet.drill,
            "since_s": round(self._drills.since_s(), 1),
            "title": sheet.title,
            "leader": sheet.leader,
            "detectors": list(sheet.detectors),
            "portals": list(sheet.portals),
            "apart": list(sheet.apart),
            "unplayed": list(sheet.unplayed),
            "ghosts": [_ghost(one) for one in self._drills.present()],
            "alarms": len(self._drills.active()),
        }

    async def _check(self, user: str, what: str) -> None:
        if not self._may(user):
            reason = self._refusal(user, what)
            await self._told(what, user, False, reason)
            raise BadCommand(reason)

    def _refusal(self, user: str, what: str) -> str:
        return f"{user} may not {what} a drill: it takes {' or '.join(LEADERS)}"

    def _may(self, user: str) -> bool:
        """Without any user in the configuration, whoever reaches the socket."""
        if not self._users:
            return True
        found = self._users.get(user)
        return found is not None and not set(LEADERS).isdisjoint(found.roles)

    async def _told(self, what: str, user: str, accepted: bool, reason: str) -> None:
        command = Command(f"drill_{what}", user, self._new_id())
        await self._settle(Answer(command, accepted, reason))


def _ghost(ghost: Ghost) -> Reply:
    return {
        "name": ghost.name,
        "what": ghost.what,
        "where": ghost.where,
        "from_s": round(ghost.from_s, 1),
        "to_s": None if ghost.to_s is None else round(ghost.to_s, 1),
    }
