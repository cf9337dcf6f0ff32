"""The public contract: what is encoded is what the schemas and the design say."""

import json
from datetime import UTC, date, datetime

import jsonschema
import pytest

from config.models import Configuration, Post
from drivers.api import (
    Channel,
    DriverInfo,
    Flag,
    Identity,
    Passage,
    PassageFlag,
    Position,
    Quantity,
    Reading,
    Sample,
    Verified,
)
from drivers.errors import FrameError, Reject
from gateway.clock_state import ClockState, ClockTold
from gateway.pipeline import Arrived, Commanded, Pipeline, Ticked
from gateway.reference import MESSAGES
from gateway.values import Command, Instant, Measured
from gateway.wire import alarms as wire_alarms
from gateway.wire import envelope, gateways, places, samples
from gateway.wire.table import TIME_PATTERN, Key, Kind, Table, dump, iso

CLOCK = ClockTold(ClockState.UNKNOWN, 0.0)
NOW = Instant(1_780_000_000.5, 500.0)
INFO = DriverInfo(
    "made-up", "made up", "listener", ("Portal Monitor",), ("serial",), tuple(Channel),
    "none", Verified.CONSTRUCTED, 1.0, lambda options: None,
)  # fmt: skip
TABLES = {table.kind: table for table, _, _ in MESSAGES} | {"reject": samples.REJECT}


def validate(body, table=None):
    schema = (table or TABLES[body["kind"]]).schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(body)


def told():
    """One of every message that the pipeline makes, of a rich story."""
    link = {"kind": "recording", "path": "-"}
    detectors = [
        {"id": "hh", "driver": "made-up", "class": "Gamma Handheld", "link": link},
        {
            "id": "prd",
            "driver": "made-up",
            "class": "Personal Radiation Detector",
            "link": link,
            "commissioned": "2026-05-01 Cs-137",
            "calibration_due": date(2027, 1, 1),
        },
        {"id": "gate", "driver": "made-up", "link": link, "serial_number": "1"},
    ]
    configuration = Configuration.model_validate({"gateway": {"id": "g"}, "detector": detectors})
    numbers = iter(range(100))
    drivers = dict.fromkeys(("hh", "prd", "gate"), INFO)
    pipeline = Pipeline(configuration, drivers, lambda: f"o{next(numbers)}", NOW)
    bodies = [document.body for document in pipeline.about()]

    def keep(outputs):
        bodies.extend(entry.body for entry in outputs.entries)
        bodies.extend(document.body for document in outputs.documents if document.body)

    def say(detector, output, at_s):
        at = Instant(NOW.wall + at_s, NOW.mono + at_s)
        keep(pipeline.step(at, Arrived(detector, output, at)))

    rate = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
    place = Position(52.5, 13.2, 40.0, 3.0, 9, 0.8, 0.5)
    for at_s, value in enumerate((0.1, 3.0, 30.0, *[0.1] * 13)):
        reading = Reading(Channel.DOSE_RATE, value, "µSv/h", rate, window_s=1.0, raw=f"{value}")
        say("hh", Sample((reading,), position=place, device_time=datetime.now(UTC)), at_s)
    over = Reading(Channel.DOSE_RATE, None, "µSv/h", rate, (Flag.OVER_RANGE,), 1e5, raw="OL")
    say("hh", Sample((over,), flags=(Flag.WARMING_UP,)), 17)
    counts = Reading(Channel.GAMMA_COUNTS, 120, "count", Quantity.GAMMA_COUNTS, part="1")
    alarm = Reading(Channel.DEVICE_ALARM, 1, "1", part="gamma")
    identity = Identity("VM250", "2", "1.0", None, (("occupancy", "1"),))
    say("gate", Sample((counts, alarm), occupied=True, identity=identity), 18)
    flags = (PassageFlag.SPEED_CLAMPED,)
    say(
        "gate", Passage(7, 9.0, 1.0, True, False, 900, "5x200ms", 3, "1s", 1.0, 0.1, 2.0, flags), 19
    )
    say("gate", Passage(None, None, None, False, True), 20)
    for at_s in range(20, 90):
        readings = (
            Reading(Channel.DOSE_RATE, 0.1 + at_s / 1e4, "µSv/h", rate),
            Reading(Channel.GAMMA_COUNT_RATE, 20.0 + at_s % 7, "1/s"),
            Reading(Channel.DOSE, 3.0, "µSv", Quantity.PERSONAL_DOSE_EQUIVALENT),
        )
        say("prd", Sample(readings), at_s)

    def order(name, **arguments):
        at = Instant(NOW.wall + 90, NOW.mono + 90)
        keep(pipeline.step(at, Commanded(Command(name, "anna", "c", tuple(arguments.items())))))

    occurrence = pipeline.engine.active()[0].occurrence
    order("acknowledge", occurrence=occurrence)
    order("acknowledge", occurrence="never")
    order("assess", occurrence=occurrence, disposition="innocent_medical", nuclides="I-131")
    order("shelve", detector="hh", level="R3", duration_s=60, reason="known")
    order("maintenance", detector="hh", on=True, duration_s=60.5, reason="probe")
    order("report", text="hot package", dose_rate=2.5, post="nowhere")
    keep(pipeline.step(Instant(NOW.wall + 100, NOW.mono + 100), Ticked()))
    return [json.loads(body) for body in bodies]


TOLD = told()


def of(kind):
    found = [body for body in TOLD if body["kind"] == kind]
    assert found, kind
    return found


def test_everything_the_pipeline_says_is_valid():
    assert {body["kind"] for body in TOLD} == {
        "sample", "passage", "state", "about", "dose", "watch", "alarm_event", "alarm",
        "answer", "assessment",
    }  # fmt: skip
    for body in TOLD:
        validate(body)


def test_the_rest_is_valid():
    others = [
        places.POST.encode(Post(id="p", names={"en": "Gate"}, latitude=1.0)),
        gateways.STATUS.encode(gateways.Status("online", "1", 3, NOW, (("alarms", 9),), "ab")),
        gateways.HEARTBEAT.encode(
            gateways.Heartbeat(1, 2, NOW, (("alarms", 1),), 0, "", (("c", 0),), CLOCK)
        ),
        gateways.HEALTH.encode(
            {
                "alarms": {"stale": 1},
                "alarm_sources": {"d dose_rate": 3},
                "process": {"a": 1.5},
                "clock": {"state": "unknown", "offset_s": 0.0},
                "journal": {},
                "sinks": {"hall.state": "online", "hall.rate_bytes_s": None},
                "commands": {"executed": 1},
                "rejects": {},
            }
        ),
        samples.REJECT.encode(samples.Rejected("d", FrameError(Reject.SYNTAX, b"\x00\\a", line=3))),
    ]
    for body in others:
        validate(json.loads(dump(body)))


def test_names_of_the_design():
    names = {
        "sample": "detector time time_estimated arrived readings flags position",
        "passage": "detector time number start end gamma_alarm neutron_alarm gamma_max"
        " gamma_max_basis neutron_max neutron_background speed flags",
        "alarm_event": "event occurrence revision detector post alarm rule level priority time"
        " value unit",
        "state": "detector state reasons since",
    }
    for kind, wanted in names.items():
        for body in of(kind):
            assert set(wanted.split()) <= body.keys(), kind
    fields = "channel value unit quantity flags lower_bound window_s raw"
    for body in of("sample"):
        for reading in body["readings"]:
            assert set(fields.split()) <= reading.keys()
    assert {
        "schema",
        "gateway",
        "lane",
        "epoch",
        "seq",
        "replayed",
    } <= envelope.DELIVERY_KEYS.keys()
    assert {"reason", "line", "offset", "raw"} <= {key.name for key in samples.REJECT.keys}


def test_every_journalled_message_has_its_time():
    for kind in ("sample", "passage", "watch", "alarm_event", "answer", "assessment"):
        for body in of(kind):
            jsonschema.validate(body["time"], {"type": "string", "pattern": TIME_PATTERN})


def test_times():
    assert iso(0.0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_780_000_000.5) == "2026-05-28T20:26:40.500Z"
    assert iso(1.9996) == "1970-01-01T00:00:02.000Z"
    assert iso(-0.25) == "1969-12-31T23:59:59.750Z"


def test_what_has_no_date_has_no_times():
    measured = Measured("d", NOW, NOW, ())
    body = samples.SAMPLE.encode(samples.Told(measured, dated=False))
    assert (body["time"], body["arrived"]) == (None, None)
    validate(body)


@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        ("sample", ("readings", 0, "channel"), "radiation"),
        ("sample", ("readings", 0, "quantity"), "effective_dose"),
        ("sample", ("readings", 0, "value"), "1"),
        ("sample", ("flags",), ["fine"]),
        ("sample", ("time",), "2026-05-28 20:26:40"),
        ("sample", ("time",), "2026-05-28T20:26:40Z"),
        ("passage", ("flags",), ["fine"]),
        ("passage", ("number",), 1.5),
        ("passage", ("gamma_alarm",), None),
        ("state", ("state",), "fine"),
        ("about", ("channels",), ["radiation"]),
        ("alarm_event", ("event",), "happened"),
        ("alarm_event", ("display",), "J"),
        ("alarm", ("flags",), ["fine"]),
        ("alarm", ("priority",), "1"),
        ("alarm", ("kind",), "sample"),
        ("alarm", ("shelved",), "no"),
        ("answer", ("accepted",), "yes"),
        ("assessment", ("disposition",), "harmless"),
        ("watch", ("rules",), {}),
    ],
)
def test_what_the_contract_does_not_know_is_invalid(kind, path, wrong):
    body = json.loads(json.dumps(of(kind)[0]))
    *way, last = path
    place = body
    for step in way:
        place = place[step]
    place[last] = wrong
    with pytest.raises(jsonschema.ValidationError):
        validate(body, TABLES[kind])


@pytest.mark.parametrize("kind", sorted({body["kind"] for body in TOLD}))
def test_every_key_is_required_that_is_always_published(kind):
    terse = {key.name for key in TABLES[kind].keys if key.terse}
    for name in of(kind)[0].keys() - terse:
        body = {key: value for key, value in of(kind)[0].items() if key != name}
        with pytest.raises(jsonschema.ValidationError):
            validate(body, TABLES[kind])


def test_optional_keys_are_left_out():
    table = Table("t", "", (Key("a", Kind.NUMBER, "", dict.get, optional=True),), kind="t")
    key = Key("a", Kind.NUMBER, "", lambda d: d.get("a"), optional=True)
    table = Table("t", "", (key,), kind="t")
    assert table.encode({}) == {"kind": "t"}
    assert table.encode({"a": 0}) == {"kind": "t", "a": 0}
    jsonschema.validate({"kind": "t"}, table.schema())


def test_what_json_does_not_have_is_never_written():
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            dump({"a": value})


def test_raw_bytes_are_harmless_text():
    assert samples.printable(b"a\\\x1b[2J\xff") == "a\\x5c\\x1b[2J\\xff"


def test_event_and_document_share_the_record():
    record = {key.name for key in wire_alarms.ACTIVE.keys}
    event = {key.name for key in wire_alarms.EVENT.keys}
    assert record <= event
    assert event - record == {"event", "time", "actor", "note"}


@pytest.mark.parametrize("value", [0, 7, 0.1, 1e-7, 1e22, -2.5, None])
@pytest.mark.parametrize("flags", [(), (Flag.OVER_RANGE,)])
def test_the_quick_way_writes_a_reading_as_the_slow_one_does(value, flags):
    """The second of a form is put together from the first."""
    for number in (3, value):
        reading = Reading(Channel.DOSE_RATE, number, "µSv/h", flags=flags, window_s=1.0, part="1")
        assert samples.READING.text(reading).encode() == dump(samples.READING.encode(reading))


@pytest.mark.parametrize(
    ("more", "dated"),
    [
        ({}, True),
        ({}, False),
        ({"occupied": True, "flags": (Flag.SIMULATED,)}, True),
        ({"time_estimated": False}, False),
        ({"position": Position(52.5, 13.2)}, True),
    ],
)
def test_the_quick_way_writes_a_sample_as_the_slow_one_does(more, dated):
    """Nothing of one sample is left in the next one."""
    for seconds in (0.0, 1.25):
        readings = (
            Reading(Channel.GAMMA_COUNTS, 20 + seconds, "count", window_s=1.0),
            Reading(Channel.BATTERY, 50 - seconds, "%", raw=f"{seconds} %"),
            Reading(Channel.TAMPER, int(seconds > 1), "1", part='100 % "odd"'),
        )
        at, arrived = Instant(1.75e9 + seconds, seconds), Instant(1.75e9 + 2 * seconds, seconds)
        told = samples.Told(Measured("d-1", at, arrived, readings, **more), dated=dated)
        assert json.loads(samples.SAMPLE.text(told)) == json.loads(
            dump(samples.SAMPLE.encode(told))
        )
