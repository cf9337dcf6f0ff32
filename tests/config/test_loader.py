"""The configuration loader: every fault with its line, field and likely fix, in one run."""

from pathlib import Path

import pytest

from config.document import SIZE_LIMIT
from config.loader import Examination, examine, load
from config.problem import ConfigErrors, Severity, format_problem

DATA = Path(__file__).resolve().parents[1] / "data" / "config"
EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "examples" / "event.toml"

GATEWAY = '[gateway]\nid = "gw"\n'


def found(examination: Examination) -> set[tuple[int | None, str]]:
    return {
        (problem.line, problem.field)
        for problem in examination.problems
        if problem.severity is Severity.ERROR
    }


def of_text(tmp_path: Path, text: str) -> Examination:
    path = tmp_path / "gw.toml"
    path.write_text(text, encoding="utf-8")
    return examine(path)


def only(tmp_path: Path, text: str) -> str:
    """The one error of a text, formatted, without its file name."""
    errors = [each for each in of_text(tmp_path, text).problems if each.severity == "error"]
    assert len(errors) == 1, [format_problem(each) for each in errors]
    return format_problem(errors[0]).split("gw.toml", 1)[1]


def test_the_example_loads_and_classes_come_from_drivers() -> None:
    configuration = load(EXAMPLE)
    classes = {each.id: each.detector_class for each in configuration.detector}
    assert classes == {
        "hh-1": "Gamma Handheld",
        "hh-2": "Personal Radiation Detector",
        "van-1": "Mobile System",
        "portal-a": "Portal Monitor",
        "portal-b": "Portal Monitor",
    }
    levels = configuration.alarms.levels
    assert levels.R3 is not None
    assert levels.R3.raise_at == 0.5
    assert levels.R6 is not None
    assert levels.R6.raise_at == 1000.0


def test_misspelt_key_wrong_unit_double_id_and_missing_port_in_one_run() -> None:
    with pytest.raises(ConfigErrors) as raised:
        load(DATA / "four-faults.toml")
    file = DATA / "four-faults.toml"
    errors = [each for each in raised.value.problems if each.severity is Severity.ERROR]
    assert [format_problem(each) for each in errors] == [
        f"{file}:4: gateway.log_levle: unknown key\n    did you mean 'log_level'?",
        f"{file}:7: alarms.levels.R3.raise: 'µSv/min' is not a unit of dose equivalent rate\n"
        '    0.5 µSv/min is "30 µSv/h"; units: µSv/h, nSv/h, mSv/h, Sv/h, µrem/h, mrem/h, rem/h',
        f"{file}:15: detector[1] (id prd-1).id: 'prd-1' is already the id of the detector in "
        "line 10\n    give one of them another id",
        f"{file}:18: detector[1] (id prd-1).link.port: the key is missing\n"
        "    such as port = 1600, where rapiscan-tsa-rpm usually listens",
    ]


def test_many_faults_are_all_found_and_sorted() -> None:
    examination = examine(DATA / "many-faults.toml")
    assert examination.configuration is None
    assert found(examination) == {
        (2, "gateway.id"),
        (3, "gateway.exercise_root"),
        (6, "alarms.off_delay_s"),
        (7, "alarms.levels.R4.raise"),
        (8, "alarms.levels.R5.clear"),
        (9, "alarms.levels.R6.raise"),
        (13, "sink[0] (id venue).brokers[0]"),
        (13, "sink[0] (id venue).brokers[1]"),
        (13, "sink[0] (id venue).brokers[2]"),
        (14, "sink[0] (id venue).password"),
        (15, "sink[0] (id venue).password_file"),
        (19, "post[0] (id gate-a).latitude"),
        (22, "post[1] (id gate-a).id"),
        (26, "detector[0] (id hh-1).driver"),
        (27, "detector[0] (id hh-1).link"),
        (32, "detector[1] (id hh-2).class"),
        (33, "detector[1] (id hh-2).post"),
        (34, "detector[1] (id hh-2).link.unit"),
        (34, "detector[1] (id hh-2).link.kind"),
        (35, "detector[1] (id hh-2).unit"),
        (40, "detector[2] (id hh-3).link.parity"),
        (41, "detector[2] (id hh-3).options.hartbeat"),
        (41, "detector[2] (id hh-3).options.model"),
        (41, "detector[2] (id hh-3).options.tube"),
        (43, "detector[2] (id hh-3).permissions[0]"),
        (46, "detector[2] (id hh-3).convention"),
        (50, "detector[2] (id hh-3).levels.R7.raise"),
        (55, "detector[3] (id hh-4).link.port"),
        (56, "detector[3] (id hh-4).calibration.source"),
        (56, "detector[3] (id hh-4).calibration.points"),
        (58, "detector[3] (id hh-4).calibration.points[1].dose_rate"),
        (71, "detector[5] (id p-2).link.unit"),
    }
    lines = [problem.line for problem in examination.problems]
    assert lines == sorted(lines, key=lambda line: line or 0)


def test_secrets_are_never_shown() -> None:
    examination = examine(DATA / "many-faults.toml")
    assert "hunter2" not in "".join(map(format_problem, examination.problems))
    with pytest.raises(ConfigErrors) as raised:
        load(DATA / "many-faults.toml")
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_missing_files_are_advice_and_do_not_keep_it_from_loading(tmp_path: Path) -> None:
    text = GATEWAY + (
        '[[sink]]\nid = "venue"\nbrokers = ["mqtt://broker"]\nusername = "gw"\n'
        'password_file = "/nonexistent/password"\ntls.ca_file = "/nonexistent/ca.pem"\n'
    )
    examination = of_text(tmp_path, text)
    assert examination.configuration is not None
    assert [(each.severity, each.line) for each in examination.problems] == [
        (Severity.ADVICE, 7),
        (Severity.ADVICE, 8),
    ]
    assert "advice: sink[0] (id venue).tls.ca_file" in format_problem(examination.problems[1])


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("0.5 µSv/min", '0.5 µSv/min is "30 µSv/h"'),
        ("0.5 uSv", 'did you mean "0.5 µSv/h"?'),
        ("0.5 Sv/hr", 'did you mean "0.5 Sv/h"?'),
        ("0.5 usv/h", 'did you mean "0.5 µSv/h"?'),
        ("0.5 bananas", "units: µSv/h, nSv/h"),
        ("0.5 µR/h", "units: µSv/h, nSv/h"),
        ("0.5µSv/h", 'write "0.5 µSv/h"'),
        ("0,5 µSv/h", 'write "0.5 µSv/h"'),
        ("0.5", 'such as "0.5 µSv/h"'),
        ("much", 'such as "20 µSv/h"'),
    ],
)
def test_a_wrong_unit_names_the_likely_one(tmp_path: Path, wrong: str, hint: str) -> None:
    text = GATEWAY + f'[alarms.levels]\nR3 = {{ raise = "{wrong}" }}\n'
    message = only(tmp_path, text)
    assert message.startswith(":4: alarms.levels.R3.raise: ")
    assert message.split("\n    ")[1].startswith(hint)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ": gateway: the key is missing\n    add a table [gateway]"),
        ("[gateway]\n", ':1: gateway.id: the key is missing\n    such as id = "gate-1"'),
        (
            GATEWAY + 'log_level = "Warning"\n',
            ":3: gateway.log_level: 'Warning' is not one of debug, info, warning, error\n"
            "    did you mean 'warning'?",
        ),
        (
            GATEWAY + '[sink]\nid = "a"\nbrokers = ["mqtt://b"]\n',
            ":3: sink: needs a list, not a table\n    write [[sink]] with two brackets, "
            "once for each",
        ),
        (
            GATEWAY + '[[sink]]\nid = "a"\nbrokers = []\n',
            ":5: sink[0] (id a).brokers: needs at least one element\n"
            '    such as brokers = ["mqtt://127.0.0.1:1883"]',
        ),
        (
            GATEWAY + '[[sink]]\nid = "a"\nbrokers = ["mqtt://b"]\nprotocol = 5\n',
            ':6: sink[0] (id a).protocol: 5 is not one of 5, 3.1.1\n    write "5"',
        ),
        (
            GATEWAY + "state_dir = 5\n",
            ':3: gateway.state_dir: needs text in quotes, not 5\n    write "5"',
        ),
        (
            GATEWAY + 'root = "a/#"\n',
            ":3: gateway.root: 'a/#' is not a topic root\n"
            "    no + or #, no / at its beginning or end",
        ),
        (
            GATEWAY + 'exercise_root = "dosegate/v1"\n',
            ":3: gateway.exercise_root: exercise data ('dosegate/v1') would mix with live data "
            "('dosegate/v1')\n    neither root may lie below the other",
        ),
        (
            GATEWAY + '[alarms.levels]\nR4.raise = "100 µSv/h"\n',
            ":4: alarms.levels.R4.raise: 100 µSv/h must be below R5, 100 µSv/h (not set here)\n"
            "    levels ascend from R3 to R7",
        ),
    ],
)
def test_each_fault_says_what_is_expected(tmp_path: Path, text: str, expected: str) -> None:
    assert only(tmp_path, text) == expected


def detector(extra: str, driver: str = "thermo-radeye", number: int = 1) -> str:
    return f'[[detector]]\nid = "d-{number}"\ndriver = "{driver}"\n{extra}\n'


SERIAL = 'link = { kind = "serial", port = "/dev/null" }\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            detector(SERIAL, "termo-radeye"),
            ":5: detector[0] (id d-1).driver: no driver is called 'termo-radeye'\n"
            "    did you mean 'thermo-radeye'?",
        ),
        (
            detector(SERIAL, "rapiscn"),
            ":5: detector[0] (id d-1).driver: no driver is called 'rapiscn'\n"
            "    did you mean 'rapiscan-tsa-rpm'?",
        ),
        (
            detector(SERIAL, "rpm"),
            ":5: detector[0] (id d-1).driver: no driver is called 'rpm'\n"
            "    did you mean one of aspect-rpm-modbus-tcp, rapiscan-tsa-rpm?",
        ),
        (
            detector(SERIAL, "broken"),
            ":5: detector[0] (id d-1).driver: the driver 'broken' cannot be loaded: ImportError: "
            "No module named 'drivers.broken'\n    the installation is damaged or incomplete",
        ),
        (
            detector('link = { port = "/dev/null" }'),
            ":6: detector[0] (id d-1).link: the key 'kind' is missing\n"
            "    known: modbus_rtu, modbus_tcp, recording, serial, tcp, tcp_listen",
        ),
        (
            detector('link = { kind = "serial", bauds = 9600, port = "/dev/null" }'),
            ":6: detector[0] (id d-1).link.bauds: unknown key\n    did you mean 'baud'?",
        ),
        (
            detector('link = { kind = "serial", port = "/dev/null", baud = "9600" }'),
            ":6: detector[0] (id d-1).link.baud: needs a whole number, not '9600'\n"
            "    write 9600 without quotes",
        ),
        (
            detector(SERIAL + "options = { factor = [1.5] }", "gq-gmc"),
            ":7: detector[0] (id d-1).options.factor: is a list; needs text, a number, or true "
            "or false",
        ),
        (
            detector(SERIAL + 'options = { heartbeat = "yes" }', "gq-gmc"),
            ":7: detector[0] (id d-1).options.heartbeat: needs true or false, not 'yes'\n"
            "    ask for one count a second",
        ),
        (
            detector(SERIAL + "options = { speed = 1 }"),
            ":7: detector[0] (id d-1).options.speed: thermo-radeye has no such option\n"
            "    it has none",
        ),
        (
            detector(SERIAL + 'range_top = "90 µSv/h"\nlevels.R5 = { raise = "100 µSv/h" }'),
            ":8: detector[0] (id d-1).levels.R5.raise: 100 µSv/h is above the instrument's "
            "range_top of 90 µSv/h: it could never be reached\n"
            "    lower the level, correct range_top, or set enabled = false",
        ),
    ],
)
def test_faults_of_one_detector(tmp_path: Path, text: str, expected: str) -> None:
    assert only(tmp_path, GATEWAY + text) == expected


def test_what_is_allowed_is_allowed(tmp_path: Path) -> None:
    text = (
        GATEWAY
        + detector(SERIAL + "options = { factor = 2 }\n" + 'permissions = ["heartbeat_off"]', "gmc")
        + detector('link = { kind = "recording", path = "x.jsonl" }', number=2)
        + detector('link = { kind = "modbus_rtu", port = "/dev/zero", unit = 1 }', "bus-meter", 3)
        + detector('link = { kind = "modbus_rtu", port = "/dev/zero", unit = 2 }', "bus-meter", 4)
        + detector(
            'link = { kind = "recording", path = "y.jsonl" }\nunit = "µR/h"\n'
            'convention = "vendor_100_to_1"\nlevels.R7 = { raise = "1 Sv/h", enabled = false }\n'
            'range_top = "10 mSv/h"',
            number=5,
        )
    )
    examination = of_text(tmp_path, text)
    assert [format_problem(each) for each in examination.problems] == []


def test_a_bus_is_shared_only_with_equal_settings_and_different_units(tmp_path: Path) -> None:
    bus = 'link = {{ kind = "modbus_rtu", port = "{}", unit = {}, baud = {} }}'
    link = tmp_path / "by-id"
    link.symlink_to("/dev/zero")
    text = (
        GATEWAY
        + detector(bus.format("/dev/zero", 1, 9600), "bus-meter", 1)
        + detector(bus.format("/dev/zero", 1, 9600), "bus-meter", 2)
        + detector(bus.format(link, 3, 19200), "bus-meter", 3)
    )
    messages = [
        format_problem(each).split("gw.toml")[1] for each in of_text(tmp_path, text).problems
    ]
    assert messages == [
        ":10: detector[1] (id d-2).link.unit: unit 1 on '/dev/zero' is already used in line 6\n"
        "    each detector needs its own",
        ":14: detector[2] (id d-3).link.baud: 19200 differs from 9600 of the detector in line 3 "
        "on the same bus\n    detectors on one port need the same line settings",
    ]


def test_a_serial_line_and_a_bus_do_not_share_a_port(tmp_path: Path) -> None:
    text = (
        GATEWAY
        + detector(SERIAL)
        + detector('link = { kind = "modbus_rtu", port = "/dev/null", unit = 1 }', "bus-meter", 2)
    )
    assert only(tmp_path, text) == (
        ":11: detector[1] (id d-2).link.port: the port '/dev/null' is already used in line 6\n"
        "    a Modbus bus and a single instrument cannot share a port"
    )


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"[gateway]\nid = gw\n", 2, "not TOML: Invalid value at column 6"),
        (b"[gateway]\nid = 'a'\nid = 'b'\n", 3, "not TOML: Cannot overwrite a value"),
        (b"[gateway\n", 1, "not TOML: Expected ']' at the end of a table declaration"),
        (b"a = [1,\n\n", 3, "not TOML: Invalid value at the end of the file"),
        (b"[gateway]\n\nid = '\xff'\n", 3, "the file is not UTF-8 text"),
        (b"\x00" * 10, 1, "not TOML: Invalid statement"),
        (b"# " + b"x" * SIZE_LIMIT, None, f"is larger than {SIZE_LIMIT} bytes"),
        (b"a = " + b"[" * 100_000, None, "arrays or tables are nested too deeply"),
    ],
)
def test_what_is_not_toml_is_said_with_its_line(
    tmp_path: Path, content: bytes, line: int | None, message: str
) -> None:
    path = tmp_path / "gw.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigErrors) as raised:
        load(path)
    (problem,) = raised.value.problems
    assert problem.line == line
    assert problem.message.startswith(message)


def test_no_file_a_folder_and_a_device_are_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "other.toml").touch()
    for path, expected in (
        (tmp_path / "gw.toml", "no such file\n    beside it: other.toml"),
        (tmp_path, "is not a regular file\n    name the .toml file itself"),
        (Path("/dev/zero"), "is not a regular file\n    name the .toml file itself"),
    ):
        with pytest.raises(ConfigErrors) as raised:
            load(path)
        assert str(raised.value) == f"{path}: {expected}"


@pytest.mark.parametrize(
    ("broker", "message"),
    [
        ("broker:1883", 'does not begin with mqtt://\n    write "mqtt://broker:1883"'),
        ("ssl://broker", "'ssl' is not a kind of address\n    known: mqtt, mqtts"),
        ("mqtt://broker:port", 'is no address\n    such as "mqtt://127.0.0.1:1883"'),
        ("mqtt://broker:70000", "is no address"),
        ("mqtt://broker/topic", "is no address"),
        ("mqtt://", "is no address"),
        ("mqtt://u:hunter2@broker", "an address holds no user name or password"),
        ("u:hunter2@broker", "an address holds no user name or password"),
    ],
)
def test_what_is_no_address_of_a_broker(tmp_path: Path, broker: str, message: str) -> None:
    said = only(tmp_path, GATEWAY + f'[[sink]]\nid = "a"\nbrokers = ["{broker}"]\n')
    assert message in said
    assert "hunter2" not in said


def test_addresses_of_brokers(tmp_path: Path) -> None:
    brokers = '["mqtt://broker", "mqtts://broker:8883/", "mqtt://[::1]:1883", "mqtt://10.0.0.1"]'
    text = GATEWAY + f'[[sink]]\nid = "a"\nbrokers = {brokers}\n'
    assert of_text(tmp_path, text).problems == ()


def test_a_secret_is_not_shown_whatever_is_wrong_with_it(tmp_path: Path) -> None:
    sink = '[[sink]]\nid = "a"\nbrokers = ["mqtt://b"]\nusername = "u"\n'
    for key in ("password_file = 4711", 'password_file = ["4711"]', "password = 4711"):
        problems = of_text(tmp_path, GATEWAY + sink + key).problems
        assert problems
        assert "4711" not in "".join(map(format_problem, problems))
    port = detector('link = { kind = "serial", port = "/dev/null", parity = "u:4711@x" }')
    assert "4711" not in only(tmp_path, GATEWAY + port)


def test_a_level_that_is_off_does_not_count(tmp_path: Path) -> None:
    levels = (
        '[alarms.levels]\nR4 = { raise = "200 µSv/h", enabled = false }\n'
        'R5 = { raise = "19 µSv/h" }\nR6 = { raise = "2 mSv/h" }\n'
    )
    assert of_text(tmp_path, GATEWAY + levels).problems == ()


def test_two_names_of_one_port_are_one_port(tmp_path: Path) -> None:
    alias = tmp_path / "by-id"
    alias.symlink_to("/dev/null")
    other = f'link = {{ kind = "serial", port = "{alias}" }}'
    message = only(tmp_path, GATEWAY + detector(SERIAL) + detector(other, number=2))
    assert message.startswith(":11: detector[1] (id d-2).link.port: the port ")


def test_a_union_of_plain_values_is_one_fault(tmp_path: Path) -> None:
    text = GATEWAY + detector(SERIAL + "options = { factor = 2026-06-13 }", "gq-gmc")
    assert len(of_text(tmp_path, text).problems) >= 1
    assert {each.field for each in of_text(tmp_path, text).problems} == {
        "detector[0] (id d-1).options.factor"
    }
