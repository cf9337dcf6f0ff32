"""Which rules judge one detector, and what they share."""

from collections.abc import Sequence
from typing import Final

from gateway.alarms.book import Book
from gateway.alarms.budget import Shares
from gateway.alarms.choice import RiseChoice
from gateway.alarms.dose import DoseAlarm, DoseStatus
from gateway.alarms.empirical import RULE as EMPIRICAL
from gateway.alarms.empirical import EmpiricalRise
from gateway.alarms.frozen import FrozenValue
from gateway.alarms.lifecycle import Refusal
from gateway.alarms.moving import MovingRise
from gateway.alarms.neutron import NeutronRise
from gateway.alarms.nuclide import NuclideAlarm
from gateway.alarms.orders import Order
from gateway.alarms.portal import STUCK, PortalStatistics
from gateway.alarms.ratio import GammaRatio
from gateway.alarms.record import Change
from gateway.alarms.rise import GammaRise
from gateway.alarms.trend import CountTrend
from gateway.alarms.upkeep import Upkeep
from gateway.alarms.watcher import Learned, Standing, Trend, Watcher
from gateway.values import Instant

RISE: Final = "gamma_rise"
"""The alarm object, and the standing, of R1 by whatever rule."""


class Rules:
    """The watchers of one detector, beside those that every detector has.

    A portal's own decisions are passed on; the gateway's statistics of it are recorded only. The
    dose belongs to the wearer: ``dose`` goes on from another instrument.
    """

    def __init__(
        self, book: Book, shares: Shares, off_delay_s: float, dose: DoseAlarm | None = None
    ) -> None:
        ways = book.profile.ways
        self._book = book
        self._shares = shares
        self._off_delay_s = off_delay_s
        self._frozen = FrozenValue(book)
        self._upkeep = Upkeep(book)
        self._rise: Watcher | None = None
        self._ratio: GammaRatio | None = None
        self._trend: CountTrend | None = None
        self._dose = (dose or DoseAlarm(book)) if ways.worn else None
        self.portal: PortalStatistics | None = None
        watchers: list[Watcher] = [self._frozen, self._upkeep]
        if book.profile.is_portal:
            self.portal = PortalStatistics(book)
            watchers.append(self.portal)
        else:
            self._rise = _rise(book, shares)
            watchers += [self._rise, NeutronRise(book, shares.neutron), NuclideAlarm(book)]
            if ways.platform == "static":
                self._ratio = GammaRatio(book, shares.ratio, off_delay_s)
                self._trend = CountTrend()
                watchers += [self._ratio, self._trend]
        if self._dose is not None:
            watchers.append(self._dose)
        self.watchers = tuple(watchers)
        self.ticking = tuple(one for one in watchers if "tick" in type(one).__dict__)
        """Those that do not leave ``tick`` to the default."""
        self.by_alarm: dict[str, Watcher] = {
            alarm: watcher for watcher in self.watchers for alarm in watcher.alarms
        }

    @property
    def is_frozen(self) -> bool:
        """Whether the instrument repeats itself."""
        return self._frozen.is_frozen

    def renewed(self, book: Book) -> "Rules":
        """New rules for another instrument in the same place, worn by the same person."""
        return Rules(book, self._shares, self._off_delay_s, self._dose)

    def accept(self, now: Instant) -> list[Change]:
        """The present field is taken for the background; a dose is none."""
        return [
            change
            for watcher in self.watchers
            if watcher is not self._dose
            for change in watcher.accept(now)
        ]

    def new_wearer(self, now: Instant) -> list[Change]:
        """Another person wears it: the dose begins at zero. Raises Refusal."""
        if self._dose is None:
            raise Refusal("this detector measures no person's dose")
        return self._dose.accept(now)

    def exercise_over(self, now: Instant) -> list[Change]:
        """Nobody has received the dose of an exercise: it begins at zero."""
        return [] if self._dose is None else self._dose.accept(now)

    def commission(self, is_commissioned: bool) -> None:
        """A source check at the site is recorded, or no more."""
        self._upkeep.commissioned = is_commissioned

    def doubts(self) -> tuple[str, ...]:
        """Why its readings are not to be trusted in full."""
        blocked = ("lane blocked: no passage is judged",) if self._book.is_active(STUCK) else ()
        return blocked + self._upkeep.reasons()

    def dose(self) -> DoseStatus | None:
        """What its wearer has received."""
        return None if self._dose is None else self._dose.status()

    def trend(self) -> Trend | None:
        """How the present mean compares with the baseline, or with that of a while ago."""
        if self._ratio is not None:
            surveyed = self._ratio.ratio()
            if surveyed is not None:
                return surveyed
        return None if self._trend is None else self._trend.trend()

    def survey(self, seconds: float, order: Order, now: Instant) -> str:
        """Begins to measure the place as its baseline; what is said of it. Raises Refusal."""
        ratio = self._surveyed()
        valid_s = order.until - now.mono
        why = ratio.survey(seconds, now, valid_s=valid_s, user=order.user, reason=order.reason)
        if why:
            raise Refusal(why)
        return f"measuring for {seconds:g} s; then it is the baseline"

    def withdraw(self, now: Instant) -> str:
        """The baseline holds no more. Raises Refusal."""
        ratio = self._surveyed()
        if ratio.baseline is None and not ratio.is_surveying:
            raise Refusal("this detector has no baseline")
        ratio.withdraw(now)
        return "baseline withdrawn"

    def learned(self) -> dict[str, Learned]:
        """What each rule has learned, by its name."""
        told = {type(watcher).__name__: watcher.learned() for watcher in self.watchers}
        return {name: learned for name, learned in told.items() if learned is not None}

    def relearn(self, learned: dict[str, Learned], age_s: float, now: Instant) -> None:
        """What was learned ``age_s`` ago, by rules that are still in force."""
        for watcher in self.watchers:
            own = learned.get(type(watcher).__name__)
            if own is not None:
                watcher.relearn(own, age_s, now)

    def standings(self) -> Sequence[Standing]:
        """How each rule stands."""
        return [standing for watcher in self.watchers for standing in watcher.standing()]

    def _surveyed(self) -> GammaRatio:
        if self._ratio is None:
            raise Refusal("a baseline belongs to a place: this detector moves, or is a portal")
        return self._ratio


def _rise(book: Book, shares: Shares) -> Watcher:
    """By counts where the instrument has them, as its platform asks; else by its dose rate."""
    static = book.profile.ways.platform == "static"
    by_counts: Watcher = GammaRise(book, shares.rise) if static else MovingRise(book, shares.rise)
    return RiseChoice(by_counts, EmpiricalRise(book, shares.rise), EMPIRICAL)
