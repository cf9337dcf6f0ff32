"""What a scenario says about the world: background, weather, buildings, sources, who passes.

Coordinates are metres, x to the east and y to the north of the site's origin, z upwards. Times
are seconds after the start of play.
"""

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field

from config.action import At, Fraction
from config.amounts import Activity, CountRate, DoseRate, FieldRate, Speed
from config.models import Id, Seconds, Strict

Metres = Annotated[float, Field(allow_inf_nan=False)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Play(Strict):
    """The scenario as a whole."""

    name: Id
    title: str = ""
    seed: Annotated[int, Field(ge=0)] = 1
    duration_s: Annotated[float, Field(gt=0, allow_inf_nan=False, examples=[300])]
    start: Annotated[AwareDatetime | None, Field(description="what the clock shows at 0 s")] = None


class Site(Strict):
    """Where the origin lies (WGS84); without it nothing has a position on the globe."""

    latitude: Annotated[float, Field(ge=-90, le=90, examples=[52.5146])]
    longitude: Annotated[float, Field(ge=-180, le=180, examples=[13.2394])]


class Background(Strict):
    """The natural field: every detector's background follows it."""

    dose_rate: FieldRate = 0.10


class BackgroundChange(Strict):
    """From ``at_s`` on the background moves to ``dose_rate`` in ``over_s``, and stays."""

    at_s: At
    over_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    dose_rate: FieldRate
    detectors: Annotated[
        tuple[Id, ...], Field(strict=False, description="only these; empty: all")
    ] = ()


class Rain(Strict):
    """Radon daughters washed out: a linear rise, then decay.

    Defaults: 14 mm in 15 min at PTB Braunschweig raised 106 to 196 nSv/h; decay half-time 30 min.
    """

    at_s: At
    rise: DoseRate = 0.090
    rise_s: Seconds = 900.0
    half_life_s: Seconds = 1800.0


class Zone(Strict):
    """A building or a square with a field of its own; a detector inside sees it.

    Where zones overlap their factors multiply.
    """

    x_min: Metres
    x_max: Metres
    y_min: Metres
    y_max: Metres
    factor: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="of the gamma background")
    ] = 1.0
    neutron_factor: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="of the neutron background")
    ] = 1.0


class Pressure(Strict):
    """One corner of the neutron background's course over time, as the air pressure drives it.

    Straight between corners, constant before the first and after the last one. The dependence on
    pressure is exponential; its coefficient is for the writer of the scenario to choose.
    """

    t: At
    factor: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Point(Strict):
    """A place."""

    x: Metres
    y: Metres
    z: Metres = 0.0


class Waypoint(Point):
    """A place at a time; between two of them movement is straight and even."""

    t: At


class Pass(Strict):
    """A straight walk or drive past a detector, closest at ``at_s``."""

    past: Id
    closest_m: Length
    speed: Speed
    at_s: At
    heading_deg: Annotated[float, Field(ge=0, lt=360, description="0 north, 90 east")] = 90.0
    stay_s: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="stands still there for so long")
    ] = 0.0
    jitter_s: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="up to so much later, by the seed")
    ] = 0.0


Waypoints = Annotated[tuple[Waypoint, ...], Field(min_length=1, strict=False)]


Kind = Literal["bare", "patient", "shielded", "norm", "exercise"]


class Source(Strict):
    """A point source; it has exactly one of ``at``, ``path``, ``pass``, or rides in a vehicle."""

    id: Id
    nuclide: Annotated[str | None, Field(examples=["Cs-137"])] = None
    activity: Activity | None = None
    constant: Annotated[
        float | None,
        Field(gt=0, description="µSv·m²/(h·GBq) in place of the nuclide's"),
    ] = None
    kind: Kind = "bare"
    shielding: Annotated[
        Fraction | None,
        Field(description="part of the bare field that remains; a patient's own by default"),
    ] = None
    n_per_s: Annotated[float, Field(ge=0, allow_inf_nan=False, description="neutrons")] = 0.0
    at: Point | None = None
    path: Waypoints | None = None
    passing: Annotated[Pass | None, Field(alias="pass")] = None
    appears_s: At = 0.0
    leaves_s: At | None = None
    decays: Annotated[bool, Field(description="its activity falls with its half-life")] = False
    reference_s: Annotated[
        float,
        Field(
            allow_inf_nan=False,
            description="when it has its activity; below 0: before the start",
            examples=[-86400.0],
        ),
    ] = 0.0
    enters_lanes: Annotated[
        bool, Field(description="who carries it is seen by the portals it passes")
    ] = True


class Repeat(Strict):
    """The same again, ``count`` times in all."""

    count: Annotated[int, Field(ge=1, le=1_000_000, examples=[10])]
    every_s: Annotated[float, Field(gt=0, examples=[12.0])]


class Occupancy(Strict):
    """Somebody or something in a portal's lane, with what it hides or adds."""

    portal: Id
    at_s: At
    length_s: Annotated[float, Field(gt=0, allow_inf_nan=False, examples=[2.5])]
    speed: Speed | None = None
    suppression: Annotated[Fraction, Field(description="part of the background that is hidden")] = (
        0.0
    )
    gamma_rate: Annotated[CountRate, Field(description="added in the middle")] = 0.0
    neutron_rate: CountRate = 0.0
    cargo_s: Annotated[float | None, Field(gt=0, description="how long; default: all of it")] = None
    repeat: Repeat | None = None


class Vehicle(Strict):
    """A vehicle through a portal, its middle there at ``at_s``; ``cargo`` names a source in it."""

    id: Id
    portal: Id
    at_s: At
    length_m: Length
    speed: Speed
    closest_m: Length = 2.0
    suppression: Fraction = 0.0
    cargo: Id | None = None


class Xray(Strict):
    """An X-ray machine that is on for ``length_s``: its field falls with the square of distance.

    Counts follow from the dose rate by the detector's sensitivity.
    """

    id: Id
    at: Point
    at_s: At
    length_s: Seconds
    dose_rate_1m: DoseRate
    repeat: Repeat | None = None


LONDON_2012: Final = 1 / 27_400
"""Carriers of medical nuclides per spectator, as counted at the Games of London 2012."""


class Crowd(Strict):
    """People through portals, evenly in time and among the portals; some carry a nuclide.

    Each is an occupancy. Carriers are drawn by chance, and each is a patient who walks past the
    portal's middle.
    """

    portals: Annotated[tuple[Id, ...], Field(min_length=1, strict=False)]
    from_s: At
    to_s: At
    people: Annotated[int, Field(ge=1, le=1_000_000, examples=[80_000])]
    length_s: Annotated[Seconds, Field(description="of one occupancy")] = 1.0
    speed: Speed = 1.2
    carriers: Annotated[Fraction, Field(description="probability of each person")] = LONDON_2012
    nuclide: Annotated[str, Field(examples=["Tc-99m"])] = "Tc-99m"
    activity: Activity = 740e6
    shielding: Annotated[Fraction | None, Field(description="in place of the patient's own")] = None
    closest_m: Length = 1.0
    heading_deg: Annotated[
        float, Field(ge=0, lt=360, description="where they walk: 0 north, 90 east")
    ] = 0.0
