"""What holds for classes of detectors and is checked before anything runs.

The classes are the instrument class codes of N42.42-2011.
"""

from typing import Final

MOVING_SUBJECTS: Final = frozenset(
    {
        "Backpack",
        "Mobile System",
        "Neutron Handheld",
        "Personal Radiation Detector",
        "Portal Monitor",
        "Spectroscopic Personal Radiation Detector",
        "Spectroscopic Portal Monitor",
    }
)
"""Classes that must catch who walks or drives past, or that move themselves: our own choice."""

PORTALS: Final = frozenset({"Portal Monitor", "Spectroscopic Portal Monitor"})
"""Classes that decide by themselves, for each passage."""

SURVEYING: Final = frozenset(
    {
        "Gamma Handheld",
        "Network Area Monitor",
        "Other",
        "Radionuclide Identifier",
        "Transportable System",
    }
)
"""Area monitors and survey instruments, for which R6 is on unless a file says otherwise."""

RATIO: Final = 1.3
RATIO_CLEAR: Final = 1.2
"""R2 against the baseline of the place: 1.3 was chosen at Madrid airport, as ITRAP had found it."""
