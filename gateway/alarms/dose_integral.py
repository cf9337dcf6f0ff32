"""The dose of one wearer, from dose rates and from the instrument's own register, side by side.

Between valid rates at most 5 s apart the integral is the trapezoid. Over a longer gap the lesser
of its ends gives the lower bound and the greater the upper one. Over range counts with the top of
the range, and no upper bound is known from there on. Doses in µSv, rates in µSv/h, times in s.
"""

from dataclasses import dataclass, field
from typing import Any, Final

CONTINUOUS_S: Final = 5.0
"""Valid rates further apart leave a gap; own choice."""
RESTORED_WITHIN_S: Final = 60.0
"""An instrument has read its memory again so long after it started from zero; own choice."""
REGISTER_STEP_USV: Final = 1.0
"""A register may step so far at once whatever the rate is; own choice."""
_CONTINUOUS_S: Final = CONTINUOUS_S + 1e-6
"""Differences of times are not exact."""
_TWO_HOURS_S: Final = 7200.0
_HOUR_S: Final = 3600.0


@dataclass(slots=True)
class Integral:
    """Bounds of the dose by rates alone, times on the monotonic clock.

    ``estimated_usv`` is the part of the lower bound that rests on estimates from counts,
    ``rate_usv_h`` the last valid rate (over range: its lower bound), measured ``at``.
    ``is_bounded``: no over-range has made the upper bound unknown. ``beyond_s`` were spent there.
    """

    lower_usv: float = 0.0
    upper_usv: float = 0.0
    estimated_usv: float = 0.0
    gaps_s: float = 0.0
    beyond_s: float = 0.0
    is_bounded: bool = True
    is_beyond: bool = False
    is_estimated: bool = False
    rate_usv_h: float = 0.0
    greatest_usv_h: float = 0.0
    hidden_usv_h: float = 0.0
    at: float | None = None
    bridged_at: float | None = None

    def add(self, at: float, usv_h: float, estimated: bool = False) -> None:
        """A valid rate."""
        last = self.at
        if last is not None:
            gap_s = at - last
            if gap_s <= 0.0:
                return
            if gap_s <= _CONTINUOUS_S and not self.is_beyond:
                dose = (self.rate_usv_h + usv_h) * gap_s / _TWO_HOURS_S
                self.lower_usv += dose
                self.upper_usv += dose
                if estimated or self.is_estimated:
                    self.estimated_usv += dose
                if self.hidden_usv_h:
                    self.hidden_usv_h = 0.0
            else:
                self._bridge(at, gap_s, usv_h, estimated)
        self.at = at
        self.rate_usv_h = usv_h
        self.is_beyond = False
        self.is_estimated = estimated
        if usv_h > self.greatest_usv_h:
            self.greatest_usv_h = usv_h

    def add_beyond(self, at: float, bound_usv_h: float | None, estimated: bool = False) -> None:
        """Over range: the rate is at least ``bound_usv_h``; else at least what was ever shown."""
        bound = self.greatest_usv_h if bound_usv_h is None else bound_usv_h
        last = self.at
        if last is not None:
            if at <= last:
                return
            self._bridge(at, at - last, bound, estimated)
        self.at = at
        self.rate_usv_h = bound
        self.is_beyond, self.is_bounded = True, False
        self.is_estimated = estimated

    def hide(self, usv_h: float | None, beyond: bool) -> None:
        """A rate that nobody can rely on: it may only raise the upper bound of its gap."""
        if beyond:
            self.is_bounded = False
        if usv_h is not None and usv_h > self.hidden_usv_h:
            self.hidden_usv_h = usv_h

    def is_current(self, at: float, within_s: float = CONTINUOUS_S) -> bool:
        """Whether there is a valid rate that is not older."""
        return self.at is not None and at - self.at <= within_s

    def _bridge(self, at: float, gap_s: float, usv_h: float, estimated: bool) -> None:
        """Over a gap or out of the range nothing is interpolated."""
        least = min(self.rate_usv_h, usv_h) * gap_s / _HOUR_S
        most = max(self.rate_usv_h, usv_h)
        if gap_s > _CONTINUOUS_S:
            most = max(most, self.hidden_usv_h)
            self.gaps_s += gap_s
            self.bridged_at = at
        if self.is_beyond:
            self.beyond_s += gap_s
        self.lower_usv += least
        self.upper_usv += most * gap_s / _HOUR_S
        if estimated or self.is_estimated:
            self.estimated_usv += least
        self.hidden_usv_h = 0.0


@dataclass(frozen=True, slots=True)
class Fall:
    """A register fell from ``reading``, which was ``usv`` of dose, at a time of this boot."""

    reading: float
    usv: float
    at: float


@dataclass(slots=True)
class Register:
    """The instrument's own dose: ``usv`` stands for its last ``reading``, over all its resets.

    ``mark`` is the dose at the last reading that the integral agrees to start from, with the
    integral's bounds there; ``slack_usv`` is what may have been lost in resets.
    """

    reading: float
    usv: float
    mark_usv: float
    mark_lower: float
    mark_upper: float
    mark_beyond_s: float
    was_covered: bool
    slack_usv: float = 0.0
    fall: Fall | None = None

    def read(self, reading: float, at: float, integral: Integral) -> None:
        """The next reading; a decrease is a reset, or a memory that was read again."""
        is_within = not integral.is_beyond and integral.beyond_s == self.mark_beyond_s
        if reading == self.reading and is_within:
            self._mark(at, integral)
            return
        least = integral.lower_usv - self.mark_lower
        most = self._most(at, integral)
        if reading < self.reading:
            self.fall = Fall(self.reading, self.usv, at)
            if most is None or reading <= most + REGISTER_STEP_USV:
                least = max(least, reading)
            self.slack_usv += max(0.0, (most or 0.0) - least)
            self.usv = max(self.usv, self.mark_usv + least)
        elif self._is_restored(reading, at, most):
            back = 0.0 if self.fall is None else self.fall.usv + reading - self.fall.reading
            self.usv = max(self.usv, self.mark_usv + least, back)
        else:
            self.usv += reading - self.reading
            if integral.is_beyond:
                self.reading = reading
                return
            if not is_within:  # it cannot have counted all of that
                self.usv = max(self.usv, self.mark_usv + least)
        self.reading = reading
        self._mark(at, integral)

    def at_least(self, reading: float) -> None:
        """The register is over its own range."""
        if reading > self.reading:
            self.usv += reading - self.reading
            self.reading = reading

    def _most(self, at: float, integral: Integral) -> float | None:
        """The most that rates allow since the mark; None where they do not cover that time."""
        is_known = self.was_covered and integral.is_current(at) and not integral.is_beyond
        if not is_known or integral.beyond_s > self.mark_beyond_s:
            return None
        return integral.upper_usv - self.mark_upper

    def _is_restored(self, reading: float, at: float, most: float | None) -> bool:
        """Whether it jumped up after a fall, as no rate explains."""
        fall = self.fall
        if fall is None or at - fall.at > RESTORED_WITHIN_S:
            return False
        if most is None:
            return reading >= fall.reading
        return reading - self.reading > most + REGISTER_STEP_USV

    def _mark(self, at: float, integral: Integral) -> None:
        self.mark_usv = self.usv
        self.mark_lower, self.mark_upper = integral.lower_usv, integral.upper_usv
        self.mark_beyond_s = integral.beyond_s
        self.was_covered = integral.is_current(at)


@dataclass(slots=True)
class WornDose:
    """The best estimate of one wearer's dose, and its bounds; it never falls.

    ``is_renewed``: it began from zero with a new wearer, whatever the register shows then.
    """

    integral: Integral = field(default_factory=Integral)
    register: Register | None = None
    best_usv: float = 0.0
    is_renewed: bool = False

    def read(self, reading: float, at: float, *, is_bound: bool = False) -> None:
        """A reading of the register, taken with the rates up to ``at``; or its lower bound."""
        integral, register = self.integral, self.register
        if is_bound:
            integral.is_bounded = False
            if register is not None:
                register.at_least(reading)
                return
        if register is not None:
            register.read(reading, at, integral)
            return
        usv = max(reading, 0.0) if not self.is_renewed else self.best_usv
        self.register = _begun(reading, usv, at, integral)

    def settle(self) -> None:
        """Take what rates and register have said into the best estimate."""
        best = lower = self.integral.lower_usv
        register = self.register
        if register is not None:
            best = max(register.usv, register.mark_usv + lower - register.mark_lower, lower)
        if best > self.best_usv:
            self.best_usv = best

    @property
    def is_known(self) -> bool:
        """Whether anything has been measured."""
        return self.integral.at is not None or self.register is not None or self.best_usv > 0

    @property
    def lower_usv(self) -> float:
        """What was measured at least."""
        lower = self.integral.lower_usv
        return lower if self.register is None else max(lower, self.register.usv)

    @property
    def upper_usv(self) -> float:
        """The upper bound over gaps; over range it is one no more (see ``is_bounded``)."""
        upper, register = self.integral.upper_usv, self.register
        if register is not None:
            upper += register.mark_usv + register.slack_usv - register.mark_upper
        return max(upper, self.best_usv)

    @property
    def is_by_register(self) -> bool:
        """Whether the best estimate is the instrument's own."""
        register, lower = self.register, self.integral.lower_usv
        return register is not None and (
            register.usv >= lower or register.mark_usv >= register.mark_lower
        )

    @property
    def firm_usv(self) -> float:
        """The best estimate without what rests on estimates from counts."""
        if self.is_by_register:
            return self.best_usv
        return self.best_usv - self.integral.estimated_usv

    def raise_to(self, usv: float) -> None:
        """It was so much already, by a record that outlived what was learned."""
        if self.register is None and self.integral.at is None and self.best_usv < usv:
            self.integral.lower_usv = self.integral.upper_usv = usv
        self.best_usv = max(self.best_usv, usv)

    def renewed(self, at: float) -> "WornDose":
        """A new wearer's dose from ``at`` on, in the same field with the same register."""
        before, register = self.integral, self.register
        integral = Integral(greatest_usv_h=before.greatest_usv_h)
        if before.is_current(at):
            integral.at, integral.rate_usv_h = at, before.rate_usv_h
            integral.is_estimated, integral.is_beyond = before.is_estimated, before.is_beyond
            integral.is_bounded = not before.is_beyond
        if register is not None:
            register = _begun(register.reading, 0.0, at, integral)
        return WornDose(integral, register, is_renewed=True)

    def saved(self, now: float) -> dict[str, Any]:
        """All of it as JSON; times as ages."""
        integral = _told(self.integral)
        for name in ("at", "bridged_at"):
            at = integral[name]
            integral[name] = None if at is None else max(0.0, now - at)
        register = None if self.register is None else _told(self.register) | {"fall": None}
        return {
            "integral": integral,
            "register": register,
            "best_usv": self.best_usv,
            "is_renewed": self.is_renewed,
        }


def _told(part: Integral | Register) -> dict[str, Any]:
    """Its fields; dataclasses.asdict copies each value, and this is done for everybody often."""
    return {name: getattr(part, name) for name in part.__slots__}


def restored(saved: dict[str, Any], age_s: float, now: float) -> WornDose:
    """The dose as it was saved ``age_s`` ago; KeyError, TypeError or ValueError for nonsense."""
    integral = Integral(**saved["integral"])
    for name in ("at", "bridged_at"):
        age = getattr(integral, name)
        setattr(integral, name, None if age is None else now - max(age_s, 0.0) - float(age))
    told = saved["register"]
    register = None if told is None else Register(**told)
    return WornDose(integral, register, float(saved["best_usv"]), bool(saved["is_renewed"]))


def _begun(reading: float, usv: float, at: float, integral: Integral) -> Register:
    lower, upper = integral.lower_usv, integral.upper_usv
    covered = integral.is_current(at)
    return Register(reading, usv, usv, lower, upper, integral.beyond_s, covered)
