"""What a configuration may say: strict models, every key documented here.

Quantities are written with their unit (``"20 µSv/h"``), see ``config.amounts``.
"""

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from config.amounts import CountRate as CountRate
from config.amounts import Dose as Dose
from config.amounts import DoseRate as DoseRate

Id = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$"),
    Field(examples=["gate-1"]),
]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535, examples=[502])]
Host = Annotated[str, Field(min_length=1, examples=["192.168.1.20"])]
SerialPort = Annotated[
    str,
    Field(
        min_length=1,
        description="best below /dev/serial/by-id",
        examples=["/dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0"],
    ),
]

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


class SerialLink(Strict):
    """A serial port; line settings default to what the driver declares."""

    kind: Literal["serial"]
    port: SerialPort
    baud: Annotated[int, Field(gt=0)] | None = None
    bits: Literal[7, 8] | None = None
    parity: Literal["N", "E", "O"] | None = None
    stop: Literal[1, 2] | None = None


class TcpLink(Strict):
    """A TCP connection to the instrument or to a device server."""

    kind: Literal["tcp"]
    host: Host
    port: Port


class ModbusTcpLink(Strict):
    """Modbus TCP; ``rtu_frames`` for RTU frames over TCP."""

    kind: Literal["modbus_tcp"]
    host: Host
    port: Port = 502
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    timeout_s: Seconds = 1.0
    rtu_frames: bool = False


class ModbusRtuLink(Strict):
    """Modbus RTU on a serial bus; detectors that name the same port share it."""

    kind: Literal["modbus_rtu"]
    port: SerialPort
    unit: Annotated[int, Field(ge=1, le=247, examples=[1])]
    baud: Annotated[int, Field(gt=0)] = 9600
    bits: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stop: Literal[1, 2] = 1
    timeout_s: Seconds = 1.0
    echo: Annotated[bool, Field(description="the adapter repeats what is sent")] = False


class RecordingLink(Strict):
    """A recording (JSON lines) in place of the instrument."""

    kind: Literal["recording"]
    path: Annotated[str, Field(min_length=1, examples=["gate-1.jsonl"])]
    speed: Annotated[float, Field(ge=0, description="1 original, 0 as fast as possible")] = 1.0


Link = Annotated[
    SerialLink | TcpLink | ModbusTcpLink | ModbusRtuLink | RecordingLink,
    Field(discriminator="kind"),
]


DEFAULT_LEVELS: Final[Mapping[str, float]] = MappingProxyType(
    {"R3": 0.5, "R4": 20.0, "R5": 100.0, "R6": 1e3, "R7": 1e5}
)
"""Shipped absolute levels in µSv/h, lowest first; every site must review them."""
CLEAR_FACTOR: Final = 0.8
"""A level without ``clear`` is cleared below this part of it."""


class Level(Strict):
    """One absolute level: raised at ``raise``, cleared below ``clear`` (default 0.8 of it)."""

    raise_at: Annotated[DoseRate, Field(alias="raise")]
    clear: DoseRate | None = None
    on_delay_s: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False, description="so long must it hold before it is raised"),
    ] = 0.0
    enabled: bool = True


DEFAULT_DOSES: Final[Mapping[str, float]] = MappingProxyType(
    {"D1": 1e3, "D2": 20e3, "D3": 50e3, "D4": 500e3, "D5": 1e6}
)
"""Shipped levels of accumulated dose in µSv, lowest first; D5 is off unless a site turns it on."""


class DoseLevel(Strict):
    """One level of accumulated dose."""

    raise_at: Annotated[Dose, Field(alias="raise")]
    enabled: bool = True


class DoseLevels(Strict):
    """Overrides of the shipped dose levels of worn instruments."""

    D1: DoseLevel | None = None
    D2: DoseLevel | None = None
    D3: DoseLevel | None = None
    D4: DoseLevel | None = None
    D5: DoseLevel | None = None


class Profile(Strict):
    """How detectors of a class, or one of them, are judged; what is not named keeps its default."""

    platform: Annotated[
        Literal["static", "walking", "vehicle"] | None,
        Field(description="what carries it: decides how a rise over background is found"),
    ] = None
    moving_subject: Annotated[
        bool | None,
        Field(description="it must catch who walks or drives past: sampled every second"),
    ] = None
    worn: Annotated[bool | None, Field(description="it measures a person's dose")] = None
    background_s: Annotated[
        Seconds | None, Field(description="time over which the background is learned")
    ] = None
    background_rate: Annotated[
        CountRate | None, Field(description="usual background; thrice as much is not believed")
    ] = None
    smoothing_s: Annotated[
        Seconds | None, Field(description="time constant of the dose rate it shows")
    ] = None
    sampling_s: Annotated[
        Seconds | None, Field(description="time between its outputs, if not the driver's")
    ] = None
    freeze_limit_s: Annotated[
        Seconds | None, Field(description="a background frozen for longer is an alarm of its own")
    ] = None
    frozen_value_s: Annotated[
        Seconds | None, Field(description="the same number for so long is a fault")
    ] = None
    ratio: Annotated[
        float | None, Field(gt=1, le=10, description="R2: raised at so many times the baseline")
    ] = None
    ratio_clear: Annotated[
        float | None, Field(gt=1, le=10, description="R2: cleared below so many times")
    ] = None
    moving_sigma: Annotated[
        float | None, Field(ge=4, le=20, description="moving platforms: least rise in deviations")
    ] = None
    neutron_gamma_limit: Annotated[
        DoseRate | None, Field(description="above it neutron alarms are held back")
    ] = None


class ClassProfile(Profile):
    """A profile for all detectors of one class."""

    detector_class: Annotated[DetectorClass, Field(alias="class")]


class Levels(Strict):
    """Overrides of the shipped absolute levels; what is not named keeps its default."""

    R3: Level | None = None
    R4: Level | None = None
    R5: Level | None = None
    R6: Level | None = None
    R7: Level | None = None


class CalibrationPoint(Strict):
    """One point of a calibration: this count rate is this dose rate."""

    counts: CountRate
    dose_rate: DoseRate


class CalibrationTable(Strict):
    """Counts to dose rate for an instrument that does not store its own."""

    points: Annotated[tuple[CalibrationPoint, ...], Field(min_length=1, strict=False)]
    source: Annotated[
        str,
        Field(min_length=1, description="certificate or document", examples=["certificate 4711"]),
    ]
    nuclide: str = "Cs-137"


class DetectorSettings(Strict):
    """What is known about one instrument, however it is reached."""

    id: Id
    driver: Annotated[str, Field(examples=["thermo-radeye"])]
    detector_class: Annotated[DetectorClass | None, Field(alias="class")] = None
    post: Id | None = None
    serial_number: str | None = None
    options: dict[str, bool | int | float | str] = {}
    permissions: Annotated[tuple[str, ...], Field(strict=False)] = ()
    unit: str | None = None
    convention: Literal["true_exposure", "vendor_100_to_1", "dose_equivalent_labelled_R"] | None = (
        None
    )
    nuclide: Annotated[
        Literal["Cs-137", "Ra-226", "Co-60", "Am-241"],
        Field(description="energy assumed where exposure is converted"),
    ] = "Cs-137"
    calibration: CalibrationTable | None = None
    range_top: DoseRate | None = None
    max_count_rate: Annotated[
        CountRate | None,
        Field(description="greatest rate its counter can register: fold-over is judged by it"),
    ] = None
    levels: Levels = Levels()
    dose_levels: DoseLevels = DoseLevels()
    profile: Profile = Profile()
    calibration_due: Annotated[
        date | None, Field(strict=False, description="day on which its calibration ends")
    ] = None
    commissioned: Annotated[
        str | None,
        Field(
            min_length=1,
            description="source check at the site: when, by whom, with what",
            examples=["2026-05-02, Cs-137 check source 12, A. Meyer"],
        ),
    ] = None


class Detector(DetectorSettings):
    """One instrument and its link."""

    link: Link
    simulated: bool = False


class Post(Strict):
    """A place that detectors belong to."""

    id: Id
    names: dict[str, str] = {}
    callsign: str | None = None
    zone: str | None = None
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    plan_x_m: float | None = None
    plan_y_m: float | None = None


class Tls(Strict):
    """TLS towards a broker; verification is never off."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


class Sink(Strict):
    """One MQTT destination; its brokers are tried in order."""

    id: Id
    brokers: Annotated[
        tuple[str, ...],
        Field(min_length=1, strict=False, examples=[["mqtt://127.0.0.1:1883"]]),
    ]
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: str | None = None
    username: str | None = None
    password_file: str | None = None
    tls: Tls | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=600)] = 15


class Budget(Strict):
    """How many false alarms the whole fleet may raise, by consequence."""

    rises_per_hour: Annotated[
        float, Field(gt=0, le=60, description="R1, R2 and levels judged by counts, together")
    ] = 0.6
    neutrons_per_event: Annotated[float, Field(gt=0, le=100, description="N1 in a whole event")] = (
        1.0
    )
    event_h: Annotated[float, Field(gt=0, le=10_000, description="how long the event lasts")] = 24.0
    share: Annotated[float, Field(gt=0, le=1, description="this gateway's part of both")] = 1.0
    operators: Annotated[int, Field(ge=1, le=1000, description="who share the alarms")] = 1


class Alarms(Strict):
    """Settings of the alarm engine that hold for the whole gateway."""

    levels: Levels = Levels()
    dose_levels: DoseLevels = DoseLevels()
    budget: Budget = Budget()
    off_delay_s: Annotated[float, Field(ge=0, le=600)] = 10.0


Role = Literal["officer", "operator", "assessor", "custodian", "exercise_leader", "viewer"]


class User(Strict):
    """Somebody who may give commands; without any, all who reach the control socket may."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]{0,31}$")]
    roles: Annotated[tuple[Role, ...], Field(min_length=1, strict=False)]
    detectors: Annotated[
        tuple[Id, ...], Field(strict=False, description="an officer's own; empty: none")
    ] = ()


class Guidance(Strict):
    """Texts of the site in place of the shipped ones."""

    directory: Annotated[str | None, Field(description="folder of LANGUAGE.toml files")] = None
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z]+)?$")] = "en"


class Gateway(Strict):
    """The gateway itself."""

    id: Id
    state_dir: str = "/var/lib/dosegate"
    control_socket: str = "/run/dosegate/control.sock"
    root: str = "dosegate/v1"
    exercise_root: str = "dosegate-exercise/v1"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Configuration(Strict):
    """One whole configuration file."""

    gateway: Gateway
    alarms: Alarms = Alarms()
    guidance: Guidance = Guidance()
    user: Annotated[tuple[User, ...], Field(strict=False)] = ()
    profile: Annotated[tuple[ClassProfile, ...], Field(strict=False)] = ()
    sink: Annotated[tuple[Sink, ...], Field(strict=False)] = ()
    post: Annotated[tuple[Post, ...], Field(strict=False)] = ()
    detector: Annotated[tuple[Detector, ...], Field(strict=False)] = ()
