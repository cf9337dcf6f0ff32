"""The score of a drill: what was injected, what was true, what was found, and who dealt with it.

Times are seconds since the drill began, as the gateway told them. An alarm that is up in truth as
well is counted for no ghost. Any other is counted for the ghost that added most at its detector in
the minute before; ghosts that added next to nothing there are left out, and the alarm is then one
without an inject. Truth is what the ghost alone adds: the background is not counted in its favour.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter

from gateway.alarms.record import is_radiation
from gateway.drill.overlay import Share

LOOK_BACK_S: Final = 60
"""Own choice: so long before an alarm a ghost may have caused it."""
LEAST_USV_H: Final = 0.005
"""Own choice: 5 % of a usual background; no rule finds less."""


@dataclass(slots=True)
class Reached:
    """What one ghost truly did at one detector; ``level`` is the worst that it alone reached."""

    peak_usv_h: float = 0.0
    peak_s: float = 0.0
    level: str = ""
    level_s: float | None = None
    """When it reached any level first."""


@dataclass(slots=True)
class Inject:
    """One ghost and its truth by detector."""

    name: str
    what: str
    where: str
    by: str
    from_s: float
    to_s: float | None = None
    truth: dict[str, Reached] = field(default_factory=dict)


@dataclass(slots=True)
class Found:
    """One alarm; ``ghost`` is empty where none stands behind it, ``real`` a real one beside it."""

    occurrence: str
    detector: str
    alarm: str
    level: str
    at_s: float
    ghost: str = ""
    real: str = ""
    acknowledged_by: str = ""
    acknowledged_s: float | None = None
    disposition: str = ""
    assessed_by: str = ""
    assessed_s: float | None = None
    closed_s: float | None = None


@dataclass(slots=True)
class Sheet:
    """Everything that is known of a drill; ``ended_s`` is None while it is on."""

    drill: str
    title: str
    leader: str
    started: float
    """On the wall clock, Unix s."""
    detectors: tuple[str, ...]
    portals: tuple[str, ...] = ()
    """They decide by themselves, and see no ghosts."""
    apart: tuple[str, ...] = ()
    unplayed: tuple[str, ...] = ()
    injects: list[Inject] = field(default_factory=list)
    alarms: list[Found] = field(default_factory=list)
    real: list[Found] = field(default_factory=list)
    now_s: float = 0.0
    """When it was looked at last."""
    ended_s: float | None = None
    ended_by: str = ""
    ended_how: str = ""

    def inject(self, name: str) -> Inject | None:
        """The ghost of that name."""
        return next((one for one in self.injects if one.name == name), None)

    def note_truth(
        self,
        detector: str,
        shares: Iterable[Share],
        levels: Sequence[tuple[str, float]],
        now: float,
    ) -> None:
        """What the ghosts add at a detector just now; ``levels`` are in µSv/h, lowest first."""
        for share in shares:
            inject = self.inject(share.ghost)
            if inject is None or share.usv_h < LEAST_USV_H:
                continue
            reached = inject.truth.setdefault(detector, Reached())
            if share.usv_h > reached.peak_usv_h:
                reached.peak_usv_h, reached.peak_s = share.usv_h, now
            over = [name for name, least in levels if share.usv_h >= least]
            if over and reached.level_s is None:
                reached.level_s = now
            if over:
                worst = max(reached.peak_usv_h, share.usv_h)
                reached.level = [name for name, least in levels if worst >= least][-1]

    def note_event(self, body: Mapping[str, Any], now: float, *, real: bool) -> Found | None:
        """One alarm event; what it made known for the first time, if it did."""
        known = self.real if real else self.alarms
        found = next((one for one in known if one.occurrence == body["occurrence"]), None)
        new = None
        if found is None:
            occurrence, detector = str(body["occurrence"]), str(body["detector"])
            alarm, level = str(body["alarm"]), str(body["level"])
            found = new = Found(occurrence, detector, alarm, level, now)
            known.append(found)
        found.level = str(body["level"])
        if body["acknowledged"] and found.acknowledged_s is None:
            found.acknowledged_by, found.acknowledged_s = str(body["acknowledged_by"]), now
        if body["event"] == "closed":
            found.closed_s = now
        return new

    def note_assessment(self, body: Mapping[str, Any], now: float) -> None:
        """What somebody says an alarm was."""
        for found in self.alarms:
            if found.occurrence == body["occurrence"]:
                said = str(body["disposition"])
                found.disposition = said if said != "unassessed" else str(body["state"])
                found.assessed_by, found.assessed_s = str(body["actor"]), now

    def is_real(self, found: Found) -> str:
        """The real alarm of the same kind that is open at the same detector; empty: none."""
        for other in self.real:
            is_same = (other.detector, other.alarm) == (found.detector, found.alarm)
            if is_same and other.closed_s is None:
                return other.occurrence
        return ""

    def end(self, now: float, by: str, how: str) -> None:
        """It is over: no ghost is there any more."""
        self.ended_s, self.ended_by, self.ended_how = now, by, how
        self.now_s = now
        for inject in self.injects:
            if inject.to_s is None or inject.to_s > now:
                inject.to_s = max(now, inject.from_s)
        self.injects = [one for one in self.injects if one.from_s < now]


def culprit(shares: Iterable[Share], *, neutrons: bool) -> str:
    """The ghost that adds most by these shares; empty where none adds enough."""
    best, name = 0.0, ""
    for share in shares:
        added = share.neutrons if neutrons else share.usv_h
        least = 0.0 if neutrons else LEAST_USV_H
        if added > max(best, least):
            best, name = added, share.ghost
    return name


_SAVED: Final = TypeAdapter(Sheet)


def saved(sheet: Sheet) -> bytes:
    """For the journal."""
    return _SAVED.dump_json(sheet)


def restored(data: bytes) -> Sheet:
    """As it was saved. Raises ValueError."""
    return _SAVED.validate_json(data)


def result(sheet: Sheet, inject: Inject) -> str:
    """``found``, or why it was not.

    ``hidden by a real alarm``: at a detector where it reached a level the alarm was up already.
    """
    if _found(sheet, inject):
        return "found"
    if inject.from_s > sheet.now_s:
        return "still to come"
    if sheet.ended_s is None and (inject.to_s is None or inject.to_s > sheet.now_s):
        return "not found yet"
    over = {name for name, one in inject.truth.items() if one.level} - set(sheet.portals)
    if not over:
        return "below every level"
    is_hidden = any(one.real and one.detector in over for one in sheet.alarms)
    return "hidden by a real alarm" if is_hidden else "missed"


def told(sheet: Sheet) -> dict[str, object]:
    """The sheet as a JSON object."""
    return {
        "drill": sheet.drill,
        "title": sheet.title,
        "leader": sheet.leader,
        "started": sheet.started,
        "ended_s": _rounded(sheet.ended_s),
        "ended_by": sheet.ended_by,
        "ended_how": sheet.ended_how,
        "detectors": list(sheet.detectors),
        "portals": list(sheet.portals),
        "apart": list(sheet.apart),
        "unplayed": list(sheet.unplayed),
        "injects": [_inject(sheet, one) for one in sheet.injects],
        "without_inject": [_alarm(one) for one in sheet.alarms if _is_false(one)],
        "beside_real": [_alarm(one) for one in sheet.alarms if one.real],
        "technical": [_alarm(one) for one in sheet.alarms if not is_radiation(one.alarm)],
        "real": [_alarm(one) for one in sheet.real],
    }


def _is_false(alarm: Found) -> bool:
    return is_radiation(alarm.alarm) and not alarm.ghost and not alarm.real


def _found(sheet: Sheet, inject: Inject) -> list[Found]:
    return [one for one in sheet.alarms if one.ghost == inject.name]


def _inject(sheet: Sheet, inject: Inject) -> dict[str, object]:
    alarms = _found(sheet, inject)
    reached_s = [one.level_s for one in inject.truth.values() if one.level_s is not None]
    first_s = min(reached_s, default=None)
    first = alarms[0] if alarms else None
    return {
        "name": inject.name,
        "what": inject.what,
        "where": inject.where,
        "by": inject.by,
        "from_s": _rounded(inject.from_s),
        "to_s": _rounded(inject.to_s),
        "result": result(sheet, inject),
        "truth": {
            name: {
                "peak_usv_h": float(f"{one.peak_usv_h:.4g}"),
                "peak_s": _rounded(one.peak_s),
                "level": one.level,
                "level_s": _rounded(one.level_s),
            }
            for name, one in inject.truth.items()
        },
        "first_after_s": None if first is None else _rounded(first.at_s - inject.from_s),
        "first_after_level_s": (
            # With the background beside it a level may be reached before the ghost alone does.
            None if first is None or first_s is None else _rounded(max(0.0, first.at_s - first_s))
        ),
        "alarms": [_alarm(one) for one in alarms],
    }


def _alarm(one: Found) -> dict[str, object]:
    def after(at_s: float | None) -> float | None:
        return None if at_s is None else _rounded(at_s - one.at_s)

    return {
        "occurrence": one.occurrence,
        "detector": one.detector,
        "alarm": one.alarm,
        "level": one.level,
        "at_s": _rounded(one.at_s),
        "acknowledged_by": one.acknowledged_by,
        "acknowledged_after_s": after(one.acknowledged_s),
        "disposition": one.disposition,
        "assessed_by": one.assessed_by,
        "assessed_after_s": after(one.assessed_s),
        "closed_after_s": after(one.closed_s),
        "real": one.real,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
