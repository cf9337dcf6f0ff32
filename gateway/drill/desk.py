"""Drills on a running gateway: at most one is on, beside the operational pipeline, not in its way.

Whatever goes wrong with a drill costs the drill: it is broken off, and what it told is cleared.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from config.models import Configuration
from drivers.api import DriverInfo
from gateway.alarms.record import AlarmRecord
from gateway.clock import Now
from gateway.drill import over as drill_over
from gateway.drill import score as drill_score
from gateway.drill import sheet as drill_sheet
from gateway.drill.drill import Drill
from gateway.drill.score import Sheet
from gateway.drill.values import SHEET_KEY, BadDrill, Ghost, Ghosts, Ground, learned
from gateway.pipeline import NOTHING, Commanded, Input, Pipeline, Settled
from gateway.values import Answer, Command, Instant, Outputs

log: Final = structlog.get_logger()

STOP: Final = "stop_exercise"
FOLDER: Final = "drills"
AT_A_TIME: Final = 20
"""So many detectors are looked at before whatever else waits has its turn."""
WRITE_S: Final = 3.0
"""How long an orderly stop waits for the sheet's file."""
HELD_TOO: Final = frozenset(
    {
        *("shelve", "unshelve", "maintenance", "test_source", "duty"),
        *("commission", "replace", "new_wearer"),
    }
)
"""Orders about a detector that hold in the drill as well. A baseline does not: there are ghosts."""
Store = Callable[[Outputs], asyncio.Future[None] | None]
Summon = Callable[[str, Ground], Ghosts]
"""Makes the ghosts of a scenario's text. Raises ValueError."""


class Drills:
    """One a gateway. ``store`` takes what is to be stored and told; ``run`` is a task."""

    def __init__(
        self,
        configuration: Configuration,
        drivers: Mapping[str, DriverInfo],
        pipeline: Pipeline,
        summon: Summon | None,
        store: Store,
        *,
        new_id: Callable[[], str],
        now: Now,
        revision: str = "",
    ) -> None:
        self._configuration = configuration
        self._drivers = drivers
        self._pipeline = pipeline
        self._summon = summon
        self._store = store
        self._new_id = new_id
        self._now = now
        self._revision = revision
        self._drill: Drill | None = None
        self._last: Sheet | None = None
        self._is_preparing = False
        self._failed = ""
        self._ended: asyncio.Queue[Sheet] = asyncio.Queue()

    @property
    def sheet(self) -> Sheet | None:
        """Of the drill that is on, else of the last one."""
        return self._last if self._drill is None else self._drill.sheet

    @property
    def is_on(self) -> bool:
        """Whether one is on."""
        return self._drill is not None

    def named(self) -> str:
        """Its name; empty while none is on."""
        return "" if self._drill is None else self._drill.sheet.drill

    def since_s(self) -> float:
        """How long it has been on."""
        return 0.0 if self._drill is None else self._now().mono - self._drill.started.mono

    @property
    def failed(self) -> str:
        """Which drill failed, when and why; empty when the newest one did not."""
        return self._failed

    def active(self) -> list[AlarmRecord]:
        """Alarms of the drill that are not closed."""
        return [] if self._drill is None else self._drill.active()

    def present(self) -> Sequence[Ghost]:
        """The ghosts that are there, or still to come."""
        return () if self._drill is None else self._drill.present(self._now())

    def knows(self, occurrence: str) -> bool:
        """Whether that alarm is the drill's."""
        return self._drill is not None and self._drill.knows(occurrence)

    def restore(self, states: Mapping[str, bytes], now: Instant) -> Outputs:
        """Ends what the run before has left of a drill; first of all steps."""
        saved = states.get(SHEET_KEY)
        if not saved:
            return NOTHING
        why = "the gateway ended in the middle of the drill"
        outputs = drill_over.closed(states, now, why)
        try:
            self._last = drill_score.restored(saved)
        except ValueError as error:
            log.error("drill_sheet_unreadable", error=str(error))
            return outputs
        if self._last.ended_s is not None:
            return outputs
        self._last.end(max(0.0, now.wall - self._last.started), "", why)
        self._ended.put_nowait(self._last)
        documents = drill_over.emptied(self._last.detectors, self._configuration)
        state = (SHEET_KEY, drill_score.saved(self._last))
        return outputs.merged(Outputs((), documents, (state,), urgent=True))

    async def start(self, text: str, leader: str) -> None:
        """Begins a drill. Raises BadDrill."""
        if self._summon is None:
            raise BadDrill("this gateway was started without drills")
        if self._drill is not None or self._is_preparing:
            raise BadDrill("a drill is on already; stop it first")
        self._is_preparing = True
        try:
            laid = await self._ground()
            drill = await asyncio.to_thread(self._made, self._summon, text, laid, leader)
        except ValueError as error:
            raise BadDrill(str(error)) from error
        finally:
            self._is_preparing = False
        real = [one for one in self._pipeline.engine.active() if not one.exercise]
        outputs = drill.begin(self._now(), real)
        self._drill, self._failed = drill, ""
        log.warning("drill_begun", drill=drill.sheet.drill, leader=leader)
        await self._stored(outputs)
        try:
            await self._meet_all(drill)
        except Exception as error:
            # The drill's boundary, as below.
            log.exception("drill_failed")
            self._store(self._broken_off(drill, self._now(), error))
            raise BadDrill("the drill has failed and is over") from error

    async def inject(self, wanted: Mapping[str, object], user: str) -> Ghost:
        """One more ghost. Raises BadDrill."""
        ghost, outputs = self._on().inject(wanted, user, self._now())
        log.info("drill_inject", ghost=ghost.name, what=ghost.what, where=ghost.where, user=user)
        await self._stored(outputs)
        return ghost

    async def remove(self, name: str, user: str) -> None:
        """That ghost goes. Raises BadDrill."""
        outputs = self._on().remove(name, self._now())
        log.info("drill_remove", ghost=name, user=user)
        await self._stored(outputs)

    def answered(self, now: Instant, item: Input) -> Outputs | None:
        """What a command about the drill leads to; None if it is not about one."""
        drill = self._drill
        if drill is None or not isinstance(item, Commanded):
            return None
        try:
            found = self._about(drill, item, now)
        except Exception as error:
            # The drill's boundary: it ends, and everything else goes on.
            log.exception("drill_failed")
            refused = Answer(item.command, False, "the drill has failed and is over")
            found = self._broken_off(drill, now, error), Settled(refused, item.remember)
        if found is None:
            return None
        mine, told = found
        return mine.merged(self._pipeline.step(now, told))

    def beside(self, now: Instant, item: Input, outputs: Outputs) -> Outputs:
        """What the same input leads to in the drill, ``outputs`` being what it truly led to."""
        drill = self._drill
        if drill is None:
            return NOTHING
        try:
            if outputs.urgent:
                drill.observe(outputs.entries, now)
            if not isinstance(item, Commanded):
                return drill.step(now, item)
            if item.command.name in HELD_TOO and outputs.answers[0].accepted:
                return drill.order(item.command, now)
        except Exception as error:
            # The drill's boundary, as above.
            log.exception("drill_failed")
            return self._broken_off(drill, now, error)
        return NOTHING

    def stop(self, why: str) -> Outputs:
        """An orderly end without a command: the gateway stops."""
        drill, now = self._drill, self._now()
        if drill is None:
            return NOTHING
        command = Command(STOP, drill.sheet.leader, self._new_id())
        try:
            answer, outputs = drill.end(command, now, why)
        except Exception as error:
            # The drill's boundary, as above.
            log.exception("drill_failed")
            return self._broken_off(drill, now, error)
        if not answer.accepted:
            return self._broken_off(drill, now, answer.reason)
        self._close(drill)
        return outputs

    async def run(self) -> None:
        """Writes the sheets of drills that are over."""
        while True:
            await self._write(await self._ended.get())

    async def settled(self) -> None:
        """Writes what is left to write; not beside ``run``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(WRITE_S):
                while not self._ended.empty():
                    await self._write(self._ended.get_nowait())

    async def _meet_all(self, drill: Drill) -> None:
        health = self._pipeline.health()
        for number, name in enumerate(drill.names, start=1):
            if self._drill is not drill:
                return
            link, reason = health[name].link, health[name].link_reason
            self._store(drill.meet(name, link, reason, self._now()))
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def _ground(self) -> Ground:
        found = {}
        for number, detector in enumerate(self._configuration.detector, start=1):
            if not detector.simulated:
                key, state = learned(self._pipeline, detector.id, self._now())
                found[key] = state
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
        identities = self._pipeline.identities()
        return Ground(self._configuration, self._drivers, found, identities)

    def _made(self, summon: Summon, text: str, laid: Ground, leader: str) -> Drill:
        """Takes its time with many detectors, so it is made in a thread of its own."""
        ghosts = summon(text, laid)
        return Drill(ghosts, laid, leader, self._new_id, self._now(), revision=self._revision)

    def _on(self) -> Drill:
        if self._drill is None:
            raise BadDrill("no drill is on")
        return self._drill

    async def _stored(self, outputs: Outputs) -> None:
        stored = self._store(outputs)
        if stored is not None:
            await stored

    def _about(
        self, drill: Drill, item: Commanded, now: Instant
    ) -> tuple[Outputs, Commanded | Settled] | None:
        """What a command about the drill does there, and what the operational pipeline tells."""
        command = item.command
        occurrence = command.get("occurrence")
        if command.name != STOP and occurrence and drill.knows(occurrence):
            answer, mine = drill.command(command, now)
            return mine, Settled(answer, item.remember)
        if command.name != STOP:
            return None
        answer, mine = drill.end(command, now, "stopped")
        if not answer.accepted:
            return None  # and the operational desk refuses it in the same words
        self._close(drill)
        also = f"drill {drill.sheet.drill} over: {answer.reason}"
        return mine, Commanded(command, item.remember, also)

    def _broken_off(self, drill: Drill, now: Instant, error: Exception | str) -> Outputs:
        why = "the drill failed"
        reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        at = datetime.fromtimestamp(now.wall, UTC)
        self._failed = f"{drill.sheet.drill} failed at {at:%H:%M:%S} UTC: {reason}"
        outputs = drill_over.closed(drill.open_states, now, why)
        drill.sheet.end(now.mono - drill.started.mono, "", f"{why}: {reason}")
        state = (SHEET_KEY, drill_score.saved(drill.sheet))
        self._close(drill)
        return outputs.merged(Outputs((), drill.emptied(), (state,), urgent=True))

    def _close(self, drill: Drill) -> None:
        self._drill, self._last = None, drill.sheet
        self._ended.put_nowait(drill.sheet)
        log.warning("drill_over", drill=drill.sheet.drill, how=drill.sheet.ended_how)

    async def _write(self, sheet: Sheet) -> None:
        folder = Path(self._configuration.gateway.state_dir) / FOLDER
        try:
            written = await asyncio.to_thread(write, folder, sheet)
            log.info("drill_sheet", file=str(written))
        except OSError as error:
            log.error("drill_sheet_not_written", folder=str(folder), error=str(error))


def write(folder: Path, sheet: Sheet) -> Path:
    """The sheet as text and as JSON; the text's path. Raises OSError."""
    stamp = datetime.fromtimestamp(sheet.started, UTC).strftime("%Y%m%dT%H%M%SZ")
    folder.mkdir(parents=True, exist_ok=True)
    told = drill_score.told(sheet)
    path = folder / f"{stamp}-{sheet.drill}.txt"
    path.write_text(drill_sheet.render(told) + "\n", encoding="utf-8")
    whole = json.dumps(told, ensure_ascii=False, indent=1)
    path.with_suffix(".json").write_text(whole + "\n", encoding="utf-8")
    return path
