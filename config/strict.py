"""What every model of a file is made of: no unknown keys, ids, times, class codes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Id = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$"),
    Field(examples=["gate-1"]),
]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

DetectorClass = Literal[
    "Backpack",
    "Dosimeter",
    "Electronic Personal Emergency Radiation Detector",
    "Mobile System",
    "Network Area Monitor",
    "Neutron Handheld",
    "Personal Radiation Detector",
    "Radionuclide Identifier",
    "Portal Monitor",
    "Spectroscopic Portal Monitor",
    "Spectroscopic Personal Radiation Detector",
    "Gamma Handheld",
    "Transportable System",
    "Other",
]
"""Class codes of N42.42-2011, used verbatim."""


class Strict(BaseModel):
    """No unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
