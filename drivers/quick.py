"""Values that are made for every sample: frozen for the type checker, and cheap to make.

A frozen dataclass sets each field through ``object.__setattr__``, some 0.12 µs a field more than an
assignment, and a sample passes through some seventy fields on its way.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as quick
else:

    def quick(*, frozen: bool, slots: bool):
        """A dataclass that is hashed as a frozen one, but guarded by the type checker alone."""
        return dataclass(slots=slots, unsafe_hash=frozen)


__all__ = ["quick"]
