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

    name: Annotated[Id, Field(description="its id")]
    title: Annotated[str, Field(description="for readers")] = ""
    seed: Annotated[
        int, Field(ge=0, description="of all chance: the same file and seed play the same")
    ] = 1
    duration_s: Annotated[
        float, Field(gt=0, allow_inf_nan=False, examples=[300], description="how long it is played")
    ]
    start: Annotated[
        AwareDatetime | None,
        Field(description="what the clock shows at 0 s; default: 2026-01-01T00:00:00Z"),
    ] = None


class Site(Strict):
    """Where the origin lies (WGS84); without it nothing has a position on the globe."""

    latitude: Annotated[
        float, Field(ge=-90, le=90, examples=[52.5146], description="of the origin, degrees")
    ]
    longitude: Annotated[
        float, Field(ge=-180, le=180, examples=[13.2394], description="of the origin, degrees")
    ]


class Surroundings(Strict):
    """What is between sources and detectors, and what the weather does to neutrons."""

    air: Annotated[
        bool,
        Field(
            description="air attenuates and scatters the photons of nuclides (ANSI/ANS-6.4.3, air "
            "without an end, 20 °C); false: as in a void"
        ),
    ] = False
    neutrons_per_hpa: Annotated[
        float | None,
        Field(
            gt=0,
            le=0.1,
            description="relative fall of the neutron background for 1 hPa more, where pressure is "
            "given in hPa; yours to choose",
        ),
    ] = None
    reference_hpa: Annotated[
        float,
        Field(ge=300, le=1100, description="where the neutron background has its usual level"),
    ] = 1013.25


class Background(Strict):
    """The natural field: every detector's background follows it."""

    dose_rate: Annotated[FieldRate, Field(description="from the start on")] = 0.10


class BackgroundChange(Strict):
    """From ``at_s`` on the background moves to ``dose_rate`` in ``over_s``, and stays."""

    at_s: At
    over_s: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="so long it takes; 0: at once")
    ] = 0.0
    dose_rate: Annotated[FieldRate, Field(description="where it moves to")]
    detectors: Annotated[
        tuple[Id, ...], Field(strict=False, description="only these; empty: all")
    ] = ()


class Rain(Strict):
    """Radon daughters washed out: a linear rise, then decay.

    Defaults: 14 mm in 15 min at PTB Braunschweig raised 106 to 196 nSv/h; decay half-time 30 min.
    """

    at_s: At
    rise: Annotated[DoseRate, Field(description="how much it brings in all")] = 0.090
    rise_s: Annotated[Seconds, Field(description="how long it rises")] = 900.0
    half_life_s: Annotated[Seconds, Field(description="half of it is gone after so long")] = 1800.0


class Zone(Strict):
    """A building or a square with a field of its own; a detector inside sees it.

    Where zones overlap their factors multiply.
    """

    x_min: Annotated[Metres, Field(description="western border, belongs to it")]
    x_max: Annotated[Metres, Field(description="eastern border")]
    y_min: Annotated[Metres, Field(description="southern border, belongs to it")]
    y_max: Annotated[Metres, Field(description="northern border")]
    factor: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="of the gamma background")
    ] = 1.0
    neutron_factor: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="of the neutron background")
    ] = 1.0


class Pressure(Strict):
    """One corner of the neutron background's course over time, as the air pressure drives it.

    Straight between corners, constant before the first and after the last one. The dependence on
    pressure is exponential; its coefficient is for the writer of the scenario to choose: either all
    corners have the factor, or all the pressure and ``[world]`` the coefficient.
    """

    t: At
    factor: Annotated[
        float | None,
        Field(ge=0, allow_inf_nan=False, description="of the neutron background"),
    ] = None
    hpa: Annotated[float | None, Field(ge=300, le=1100, description="the pressure itself")] = None


class Point(Strict):
    """A place."""

    x: Annotated[Metres, Field(description="to the east")]
    y: Annotated[Metres, Field(description="to the north")]
    z: Annotated[Metres, Field(description="upwards")] = 0.0


class Waypoint(Point):
    """A place at a time; between two of them movement is straight and even."""

    t: At


class Pass(Strict):
    """A straight walk or drive past a detector, closest at ``at_s``.

    It passes on the left of the detector as seen along the heading.
    """

    past: Annotated[Id, Field(description="the detector that it passes")]
    closest_m: Annotated[Length, Field(description="how near it comes")]
    speed: Annotated[Speed, Field(description="along the way")]
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
    """A point or a line; it has one of ``at``, ``path``, ``pass``, or rides in a vehicle."""

    id: Annotated[Id, Field(description="its own name")]
    nuclide: Annotated[
        str | None, Field(examples=["Cs-137"], description="with an activity; none: neutrons alone")
    ] = None
    activity: Annotated[Activity | None, Field(description="at reference_s")] = None
    constant: Annotated[
        float | None,
        Field(gt=0, description="µSv·m²/(h·GBq) in place of the nuclide's"),
    ] = None
    kind: Annotated[
        Kind,
        Field(description="a patient shields himself as measured; other kinds are for readers"),
    ] = "bare"
    shielding: Annotated[
        Fraction | None,
        Field(description="part of the bare field that remains; a patient's own by default"),
    ] = None
    n_per_s: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="neutrons; 2310 for 1 ng of Cf-252")
    ] = 0.0
    spread_m: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="length of the line on which it lies evenly, along its pass or its "
            "vehicle, as a cargo does; 0: a point",
        ),
    ] = 0.0
    spread_deg: Annotated[
        float,
        Field(ge=0, lt=360, description="where the line points with at or path: 0 north, 90 east"),
    ] = 90.0
    at: Annotated[Point | None, Field(description="where it lies")] = None
    path: Annotated[
        Waypoints | None,
        Field(description="how it moves: at rest before the first point and after the last"),
    ] = None
    passing: Annotated[
        Pass | None, Field(alias="pass", description="a straight way past a detector")
    ] = None
    appears_s: At = 0.0
    leaves_s: Annotated[At | None, Field(description="then it is gone; default: it stays")] = None
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

    count: Annotated[int, Field(ge=1, le=1_000_000, examples=[10], description="how often in all")]
    every_s: Annotated[
        float, Field(gt=0, examples=[12.0], description="from one beginning to the next")
    ]


class Occupancy(Strict):
    """Somebody or something in a portal's lane, with what it hides or adds."""

    portal: Annotated[Id, Field(description="whose lane")]
    at_s: At
    length_s: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False, examples=[2.5], description="how long it is in the lane"),
    ]
    speed: Annotated[Speed | None, Field(description="told by portals that measure it")] = None
    suppression: Annotated[Fraction, Field(description="part of the background that is hidden")] = (
        0.0
    )
    gamma_rate: Annotated[CountRate, Field(description="added in the middle")] = 0.0
    neutron_rate: Annotated[CountRate, Field(description="added in the middle")] = 0.0
    cargo_s: Annotated[float | None, Field(gt=0, description="how long; default: all of it")] = None
    repeat: Annotated[Repeat | None, Field(description="the same again; default: once")] = None


class Vehicle(Strict):
    """A vehicle through a portal, its middle there at ``at_s``; ``cargo`` names a source in it."""

    id: Annotated[Id, Field(description="its own name")]
    portal: Annotated[Id, Field(description="that it drives through")]
    at_s: At
    length_m: Annotated[Length, Field(description="of the vehicle")]
    speed: Annotated[Speed, Field(description="of the vehicle")]
    closest_m: Annotated[Length, Field(description="of its cargo to the portal")] = 2.0
    suppression: Annotated[Fraction, Field(description="part of the background that is hidden")] = (
        0.0
    )
    cargo: Annotated[Id | None, Field(description="the source in its middle")] = None


class Xray(Strict):
    """An X-ray machine that is on for ``length_s``: its field falls with the square of distance.

    Counts follow from the dose rate by the detector's sensitivity.
    """

    id: Annotated[Id, Field(description="its own name")]
    at: Annotated[Point, Field(description="where it stands")]
    at_s: At
    length_s: Annotated[Seconds, Field(description="how long it is on")]
    dose_rate_1m: Annotated[DoseRate, Field(description="at 1 m")]
    repeat: Annotated[Repeat | None, Field(description="the same again; default: once")] = None


LONDON_2012: Final = 1 / 27_400
"""Carriers of medical nuclides per spectator, as counted at the Games of London 2012."""


class Crowd(Strict):
    """People through portals, evenly in time and among the portals; some carry a nuclide.

    Each is an occupancy. Carriers are drawn by chance, and each is a patient who walks past the
    portal's middle, from 100 m before it to 100 m behind it: portals stand side by side across
    the heading, or he walks through one after the other. The default is what was counted at the
    Games of London 2012, 1 in 27 400.
    """

    portals: Annotated[
        tuple[Id, ...],
        Field(min_length=1, strict=False, description="that share the people evenly"),
    ]
    from_s: At
    to_s: At
    people: Annotated[int, Field(ge=1, le=1_000_000, examples=[80_000], description="how many")]
    length_s: Annotated[Seconds, Field(description="of one occupancy")] = 1.0
    speed: Annotated[Speed, Field(description="at which they walk")] = 1.2
    carriers: Annotated[Fraction, Field(description="probability of each person")] = LONDON_2012
    nuclide: Annotated[str, Field(examples=["Tc-99m"], description="in those who carry")] = "Tc-99m"
    activity: Annotated[Activity, Field(description="in each who carries")] = 740e6
    shielding: Annotated[Fraction | None, Field(description="in place of the patient's own")] = None
    closest_m: Annotated[
        Length, Field(description="how near a carrier passes the portal's place")
    ] = 1.0
    heading_deg: Annotated[
        float, Field(ge=0, lt=360, description="where they walk: 0 north, 90 east")
    ] = 0.0
