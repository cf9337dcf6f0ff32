"""What a configuration may say: strict models, every key documented here.

Quantities are written with their unit (``"20 µSv/h"``), see ``config.amounts``. What is said about
alarms is in ``config.alarm_models``.
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from config.alarm_models import CLEAR_FACTOR as CLEAR_FACTOR
from config.alarm_models import DEFAULT_DOSES as DEFAULT_DOSES
from config.alarm_models import DEFAULT_LEVELS as DEFAULT_LEVELS
from config.alarm_models import Alarms as Alarms
from config.alarm_models import Budget as Budget
from config.alarm_models import ClassProfile as ClassProfile
from config.alarm_models import DoseLevel as DoseLevel
from config.alarm_models import DoseLevels as DoseLevels
from config.alarm_models import Level as Level
from config.alarm_models import Levels as Levels
from config.alarm_models import Profile as Profile
from config.amounts import CountRate as CountRate
from config.amounts import Dose as Dose
from config.amounts import DoseRate as DoseRate
from config.strict import DetectorClass as DetectorClass
from config.strict import Id as Id
from config.strict import Seconds as Seconds
from config.strict import Strict as Strict

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


class TcpListenLink(Strict):
    """A TCP port on which the instrument calls this machine; one caller at a time."""

    kind: Literal["tcp_listen"]
    host: Annotated[
        Host, Field(description="own address to listen on", examples=["0.0.0.0", "192.168.1.2"])
    ]
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
    loop: Annotated[bool, Field(description="begins again when it has ended")] = False


Link = Annotated[
    SerialLink | TcpLink | TcpListenLink | ModbusTcpLink | ModbusRtuLink | RecordingLink,
    Field(discriminator="kind"),
]


class CalibrationPoint(Strict):
    """One point of a calibration: this count rate is this dose rate."""

    counts: Annotated[CountRate, Field(description="this rate")]
    dose_rate: Annotated[DoseRate, Field(description="stands for this")]


class CalibrationTable(Strict):
    """Counts to dose rate for an instrument that does not store its own."""

    points: Annotated[
        tuple[CalibrationPoint, ...],
        Field(min_length=1, strict=False, description="straight between them"),
    ]
    source: Annotated[
        str,
        Field(min_length=1, description="certificate or document", examples=["certificate 4711"]),
    ]
    nuclide: Annotated[str, Field(description="with which it was made")] = "Cs-137"


class DetectorSettings(Strict):
    """What is known about one instrument, however it is reached."""

    id: Annotated[Id, Field(description="part of every topic")]
    driver: Annotated[
        str, Field(examples=["thermo-radeye"], description="its name in the instrument table")
    ]
    detector_class: Annotated[
        DetectorClass | None,
        Field(alias="class", description="default: the driver's; in a scenario the archetype's"),
    ] = None
    post: Annotated[Id | None, Field(description="where it stands or belongs")] = None
    serial_number: Annotated[
        str | None, Field(description="another one that answers is an identity alarm")
    ] = None
    options: Annotated[dict[str, bool | int | float | str], Field(description="of the driver")] = (
        Field(default_factory=dict, description="of the driver")
    )
    permissions: Annotated[
        tuple[str, ...], Field(strict=False, description="what the driver may do beyond reading")
    ] = ()
    unit: Annotated[str | None, Field(description="in place of the one on the wire")] = None
    convention: Annotated[
        Literal["true_exposure", "vendor_100_to_1", "dose_equivalent_labelled_R"] | None,
        Field(description="what roentgen on the wire stand for"),
    ] = None
    nuclide: Annotated[
        Literal["Cs-137", "Ra-226", "Co-60", "Am-241"],
        Field(description="energy assumed where exposure is converted"),
    ] = "Cs-137"
    calibration: Annotated[CalibrationTable | None, Field(description="counts to dose rate")] = None
    range_top: Annotated[DoseRate | None, Field(description="above it a reading is over range")] = (
        None
    )
    max_count_rate: Annotated[
        CountRate | None,
        Field(description="greatest rate its counter can register: fold-over is judged by it"),
    ] = None
    levels: Annotated[Levels, Field(description="its own")] = Levels()
    dose_levels: Annotated[DoseLevels, Field(description="its own")] = DoseLevels()
    profile: Annotated[Profile, Field(description="its own")] = Profile()
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

    id: Annotated[Id, Field(description="part of its topic")]
    names: Annotated[dict[str, str], Field(description="for displays, by language")] = Field(
        default_factory=dict, description="for displays, by language"
    )
    callsign: Annotated[str | None, Field(description="on the radio")] = None
    zone: Annotated[str | None, Field(description="which it is in")] = None
    latitude: Annotated[
        Annotated[float, Field(ge=-90, le=90)] | None, Field(description="degrees, WGS84")
    ] = None
    longitude: Annotated[
        Annotated[float, Field(ge=-180, le=180)] | None, Field(description="degrees, WGS84")
    ] = None
    plan_x_m: Annotated[float | None, Field(description="to the east of the plan's origin")] = None
    plan_y_m: Annotated[float | None, Field(description="to the north of the plan's origin")] = None


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
    samples: Annotated[
        Literal["all", "reduced", "batch", "none"],
        Field(description="how samples go out; alarms and states always go out whole"),
    ] = "all"
    every_s: Annotated[
        float,
        Field(ge=1, le=600, description="samples reduced or batched: over so long"),
    ] = 10.0
    commands: Annotated[
        bool, Field(description="takes commands of the users below from this sink's broker")
    ] = False


class JournalSettings(Strict):
    """How much the durable log keeps."""

    max_mb: Annotated[
        int, Field(ge=16, le=1_000_000, description="greatest size of its file, in MB of 10⁶ bytes")
    ] = 8000
    keep_days: Annotated[
        float,
        Field(gt=0, le=3650, description="delivered samples are deleted when older than this"),
    ] = 30.0
    keep_alarms_days: Annotated[
        float,
        Field(
            gt=0,
            le=3650,
            description="delivered alarm events, and samples within 10 min of an alarm",
        ),
    ] = 400.0
    ballast_mb: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            description="kept for alarms on a full disk, in MB; 15 % of max_mb at most",
        ),
    ] = 32


class RecordingSettings(Strict):
    """Raw bytes of instruments that are always recorded, the newest of them."""

    detectors: Annotated[
        tuple[Id, ...], Field(strict=False, description="whose; none: nothing is recorded")
    ] = ()
    keep_mb: Annotated[
        int, Field(ge=2, le=1_000_000, description="so much in all, in MB; the oldest files go")
    ] = 1000
    file_mb: Annotated[
        int, Field(ge=1, le=1000, description="a new file is begun at this size, in MB")
    ] = 20


Role = Literal["officer", "operator", "assessor", "custodian", "exercise_leader", "viewer"]


class User(Strict):
    """Somebody who may give commands; without any, all who reach the control socket may."""

    id: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]{0,31}$"),
        Field(description="by which commands name him"),
    ]
    roles: Annotated[
        tuple[Role, ...], Field(min_length=1, strict=False, description="what he may do")
    ]
    detectors: Annotated[
        tuple[Id, ...], Field(strict=False, description="an officer's own; empty: none")
    ] = ()


class Guidance(Strict):
    """Texts of the site in place of the shipped ones."""

    directory: Annotated[str | None, Field(description="folder of LANGUAGE.toml files")] = None
    language: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z]+)?$"),
        Field(description="of the texts"),
    ] = "en"


class Gateway(Strict):
    """The gateway itself."""

    id: Annotated[Id, Field(description="part of every topic")]
    state_dir: Annotated[str, Field(description="where the journal is")] = "/var/lib/dosegate"
    control_socket: Annotated[str, Field(description="of the verbs of this laptop")] = (
        "/run/dosegate/control.sock"
    )
    root: Annotated[str, Field(description="of the topics of live detectors")] = "dosegate/v1"
    exercise_root: Annotated[str, Field(description="of the topics of simulated ones")] = (
        "dosegate-exercise/v1"
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="the least that is logged")
    ] = "info"
    command_limit_s: Annotated[
        float,
        Field(
            ge=10,
            le=3600,
            description="a command over MQTT is refused when the heartbeat it names is older",
        ),
    ] = 30.0


class Configuration(Strict):
    """One whole configuration file."""

    gateway: Gateway
    journal: JournalSettings = JournalSettings()
    recording: RecordingSettings = RecordingSettings()
    alarms: Alarms = Alarms()
    guidance: Guidance = Guidance()
    user: Annotated[tuple[User, ...], Field(strict=False)] = ()
    profile: Annotated[tuple[ClassProfile, ...], Field(strict=False)] = ()
    sink: Annotated[tuple[Sink, ...], Field(strict=False)] = ()
    post: Annotated[tuple[Post, ...], Field(strict=False)] = ()
    detector: Annotated[tuple[Detector, ...], Field(strict=False)] = ()
