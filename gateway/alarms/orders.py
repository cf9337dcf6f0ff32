"""What operators have ordered of one detector: shelves, maintenance, test source, duty.

Each order that can blind somebody has a reason and an end, is shown while it lasts, and is never
renewed by itself. Its end is a time on the monotonic clock; over a restart the time that was left
is kept. The longest durations are our own choice; of priority 1 nothing is hidden for more than
five minutes.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.alarms.lifecycle import Refusal
from gateway.alarms.record import AlarmRecord
from gateway.values import Instant

LONGEST_SHELF_S: Final = {1: 300.0, 2: 1800.0, 3: 4 * 3600.0, 4: 4 * 3600.0}
LONGEST_SILENCE_S: Final = 600.0
LONGEST_MAINTENANCE_S: Final = 8 * 3600.0
LONGEST_TEST_SOURCE_S: Final = 1800.0
LONGEST_DUTY_S: Final = {
    "off_duty": 24 * 3600.0,
    "handed_in": 30 * 24 * 3600.0,
    "battery_swap": 900.0,
}
STAYS_ON: Final = frozenset({"R4", "R5", "R6", "R7", "R8", "D1", "D2", "D3", "D4", "D5"})
"""Levels that no maintenance and no duty takes out of service, as nothing of priority 1 is."""


@dataclass(frozen=True, slots=True)
class Order:
    """One order: who, why, and until when on the monotonic clock; ``what`` tells kinds apart.

    ``least``: it hides nothing more urgent than that priority.
    """

    what: str
    user: str
    reason: str
    until: float
    least: int = 1

    def told(self) -> str:
        """In words."""
        return f"{self.what} by {self.user}: {self.reason}"


@dataclass(slots=True)
class Orders:
    """The orders in force for one detector."""

    shelves: dict[str, Order] = field(default_factory=dict)
    silenced: dict[str, Order] = field(default_factory=dict)
    maintenance: Order | None = None
    test_source: Order | None = None
    duty: Order | None = None

    @property
    def is_any(self) -> bool:
        """Whether there is an order at all."""
        single = self.maintenance or self.test_source or self.duty
        return bool(single or self.shelves or self.silenced)

    @property
    def is_off_duty(self) -> bool:
        """Whether nobody expects anything of the detector."""
        return self.duty is not None

    @property
    def out_of_service(self) -> bool:
        """Whether its alarms below R4 are out of service."""
        return self.maintenance is not None or self.duty is not None

    def hides(self, record: AlarmRecord) -> tuple[bool, bool]:
        """Whether that alarm is shelved, and whether it is out of service."""
        shelf = self.shelf(record)
        is_shelved = shelf is not None and record.priority >= shelf.least
        stays_on = record.level in STAYS_ON or record.priority == 1
        return is_shelved, self.out_of_service and not stays_on

    def shelf(self, record: AlarmRecord) -> Order | None:
        """The order that has shelved its level, or it alone."""
        return self.shelves.get(record.level) or self.shelves.get(record.alarm)

    def expired(self, now: Instant) -> list[Order]:
        """Takes away the orders whose time is over."""
        if not self.is_any:
            return []
        over = [order for order in self.all() if order.until <= now.mono]
        for order in over:
            self.end(order)
        return over

    def all(self) -> list[Order]:
        """All orders in force."""
        single = (self.maintenance, self.test_source, self.duty)
        return [
            *self.shelves.values(),
            *self.silenced.values(),
            *(order for order in single if order is not None),
        ]

    def end(self, order: Order) -> None:
        """That order is over."""
        for held in (self.shelves, self.silenced):
            for key in [key for key, one in held.items() if one is order]:
                del held[key]
        for name in ("maintenance", "test_source", "duty"):
            if getattr(self, name) is order:
                setattr(self, name, None)

    def saved(self, now: Instant) -> dict[str, Any]:
        """For the journal: the time left of each."""

        def one(order: Order) -> list[Any]:
            left_s = round(order.until - now.mono, 1)
            return [order.what, order.user, order.reason, left_s, order.least]

        return {
            "shelves": {key: one(order) for key, order in self.shelves.items()},
            "silenced": {key: one(order) for key, order in self.silenced.items()},
            **{
                name: one(order)
                for name in ("maintenance", "test_source", "duty")
                if (order := getattr(self, name)) is not None
            },
        }

    def restore(self, saved: dict[str, Any], age_s: float, now: Instant) -> None:
        """As they were ``age_s`` ago, without those that have ended meanwhile."""

        def one(told: list[Any]) -> Order:
            what, user, reason, left_s, least = told
            until = now.mono + float(left_s) - age_s
            if not math.isfinite(until):
                raise ValueError(f"{what} without an end")
            return Order(str(what), str(user), str(reason), until, int(least))

        self.shelves = {key: one(told) for key, told in saved.get("shelves", {}).items()}
        self.silenced = {key: one(told) for key, told in saved.get("silenced", {}).items()}
        for name in ("maintenance", "test_source", "duty"):
            setattr(self, name, one(saved[name]) if name in saved else None)
        self.expired(now)


def limited(what: str, duration_s: float, longest_s: float) -> float:
    """The duration, refused when it is none or too long."""
    if not 0 < duration_s <= longest_s:
        raise Refusal(
            f"{what} lasts at most {_duration(longest_s)}, not {_duration(duration_s)}: "
            "name a shorter duration_s"
        )
    return duration_s


def _duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} min"
