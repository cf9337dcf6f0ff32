"""Alarms as N42 documents: the numbers of the journal's own messages, and nothing invented."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from config.scenario import load_scenario
from drivers.api import Channel, Flag, Position, Quantity, Reading
from gateway import cli
from gateway.alarms.record import AlarmEvent, AlarmRecord, Change, LevelReached, Rule
from gateway.journal.look import journal_outputs
from gateway.n42 import NAMESPACE, Author, Occurrence, category, document
from gateway.values import Entry, Instant, Lane, Measured, Outputs
from gateway.verbs.virtual import VirtualPlay
from gateway.wire.alarms import encode_event
from gateway.wire.samples import SAMPLE, Told
from gateway.wire.table import dump

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "config" / "examples" / "scenarios"
SCHEMA = ROOT.parent / "shared" / "samples" / "n42" / "schema" / "n42-2011_v0.0.54.xsd"
NOON = 1_780_315_200.0
"""2026-06-01T12:00:00Z."""
AUTHOR = Author("gw", "1.2.3", NOON + 600)
N = {"n": NAMESPACE}


def at(seconds):
    return Instant(NOON + seconds, seconds)


RAISED = AlarmRecord(
    "o1", "hh-1", "dose_rate",
    Rule("absolute_level", 1, (("level", "R3"), ("raise_usv_h", 0.5), ("authority", "a; b, c"))),
    "R3", 3, at(100), at(100),
    detector_class="Gamma Handheld", serial="4711", post="gate-c",
    levels=(LevelReached("R3", at(100)),), held=("R3",),
    value=0.62, unit="µSv/h", peak=0.6200000000000001, peak_at=at(100), lasted_s=7.25,
)  # fmt: skip


def message(record, event=AlarmEvent.RAISED):
    encoded = encode_event(Change(event, record, record.value, record.unit, "", "", at(100)))
    return json.loads(dump(encoded))


def measured(seconds, *readings, **more):
    told = SAMPLE.text(Told(Measured("hh-1", at(seconds), at(seconds), readings, **more)))
    return json.loads(told)


def dose_rate(value, window_s=2.0, flags=(), lower_bound=None):
    quantity = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
    return Reading(Channel.DOSE_RATE, value, "µSv/h", quantity, flags, lower_bound, window_s)


def counts(value, window_s=1.0, channel=Channel.GAMMA_COUNTS, part=""):
    return Reading(channel, value, "count", window_s=window_s, part=part)


def written(record=RAISED, *samples, **more):
    return document(Occurrence(message(record), samples, **more), AUTHOR)


def tree(record=RAISED, *samples, **more):
    return ElementTree.fromstring(written(record, *samples, **more))


def texts(root, name):
    return [element.text for element in root.iterfind(f".//n:{name}", N)]


def check(*paths):
    """By the schema of the standard, where it and a program for it are at hand."""
    program = shutil.which("xmllint")
    if program is None or not SCHEMA.is_file():
        pytest.skip("NOT VALIDATED: needs xmllint (libxml2-utils) and the N42 schema 0.0.54")
    words = [program, "--nonet", "--noout", "--schema", SCHEMA, *paths]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_class_code_is_that_of_the_message_and_nothing_is_invented():
    root = tree()
    assert texts(root, "RadInstrumentClassCode") == ["Gamma Handheld"]
    assert texts(root, "RadInstrumentManufacturerName") == ["unknown"]
    assert texts(root, "RadInstrumentModelName") == ["unknown"]
    assert texts(root, "RadInstrumentIdentifier") == ["4711"]
    assert set(texts(root, "RadDetectorKindCode")) == {"Other"}


@pytest.mark.parametrize(
    ("record", "element", "said"),
    [
        (replace(RAISED, detector_class=""), "RadInstrumentClassCode", "Other"),
        (replace(RAISED, serial=None), "RadInstrumentIdentifier", "hh-1"),
    ],
)
def test_what_is_not_known(record, element, said):
    assert texts(tree(record), element) == [said]


def test_the_alarm():
    root = tree()
    assert texts(root, "RadAlarmDateTime") == ["2026-06-01T12:01:40.000Z"]
    assert texts(root, "RadAlarmCategoryCode") == ["Gamma"]
    (description,) = texts(root, "RadAlarmDescription")
    assert "at or above 0.5 µSv/h" in description
    assert texts(root, "MaximumDoseRateValue") == ["0.6200000000000001"]
    assert "occurrence o1" in texts(root, "AnalysisResultDescription")[0]


@pytest.mark.parametrize(
    ("alarm", "code"),
    [
        ("dose_rate", "Gamma"),
        ("gamma_ratio", "Gamma"),
        ("portal_neutron", "Neutron"),
        ("neutron_rise", "Neutron"),
        ("nuclide", "Isotope"),
        ("area_wide", "Other"),
    ],
)
def test_categories(alarm, code):
    assert category(alarm) == code


def test_each_level_is_an_alarm():
    levels = (LevelReached("R3", at(100)), LevelReached("R4", at(103)))
    root = tree(replace(RAISED, levels=levels, level="R4"))
    assert texts(root, "RadAlarmDateTime")[1] == "2026-06-01T12:01:43.000Z"


def test_numbers_are_those_of_the_samples():
    sample = measured(101, dose_rate(0.1 + 0.2), counts(812), counts(3, 2.0))
    root = tree(RAISED, sample)
    assert texts(root, "DoseRateValue") == ["0.30000000000000004"]
    assert sorted(texts(root, "CountData")) == ["3", "812"]
    by_duration = {
        each.findtext("n:RealTimeDuration", "", N): each
        for each in root.iterfind("n:RadMeasurement", N)
    }
    assert by_duration.keys() == {"PT7.25S", "PT2.0S", "PT1.0S"}
    assert by_duration["PT1.0S"].findtext("n:StartDateTime", "", N) == "2026-06-01T12:01:40.000Z"
    assert by_duration["PT2.0S"].findtext("n:StartDateTime", "", N) == "2026-06-01T12:01:39.000Z"
    assert by_duration["PT2.0S"].findtext(".//n:CountData", "", N) == "3"


@pytest.mark.parametrize("window_s", [None, 0.0])
def test_a_duration_that_is_not_known_is_not_invented(window_s):
    root = tree(replace(RAISED, lasted_s=0.0), measured(101, dose_rate(0.7, window_s)))
    assert not root.findall("n:RadMeasurement", N)
    assert not texts(root, "DoseRateValue")
    assert not texts(root, "RealTimeDuration")
    results = root.find("n:AnalysisResults", N)
    group = root.find("n:RadMeasurementGroup", N)
    assert results.get("radMeasurementGroupReferences") == group.get("id")


def test_no_number_is_no_number():
    over = dose_rate(None, flags=(Flag.OVER_RANGE,), lower_bound=1000.0)
    root = tree(replace(RAISED, peak=None, lower_bound=1000.0), measured(101, over))
    assert not texts(root, "DoseRateValue")
    assert not texts(root, "MaximumDoseRateValue")
    assert texts(root, "DoseRateLevelDescription") == ["over_range, at least 1000.0 µSv/h"]
    assert "at least 1000.0 µSv/h" in texts(root, "AnalysisResultDescription")[0]


def test_a_reading_below_zero_is_told_in_words_as_the_schema_has_none():
    root = tree(RAISED, measured(101, dose_rate(-0.02)))
    assert not texts(root, "DoseRateValue")
    assert texts(root, "DoseRateLevelDescription") == ["below zero: -0.02 µSv/h"]


def test_neutrons_have_a_detector_of_their_own():
    sample = measured(101, counts(5, channel=Channel.NEUTRON_COUNTS), counts(800, part="1"))
    root = tree(RAISED, sample)
    detectors = {
        each.get("id"): each.findtext("n:RadDetectorCategoryCode", "", N)
        for each in root.iterfind("n:RadDetectorInformation", N)
    }
    found = {
        each.findtext("n:CountData", "", N): detectors[each.get("radDetectorInformationReference")]
        for each in root.iterfind(".//n:GrossCounts", N)
    }
    assert found == {"5": "Neutron", "800": "Gamma"}


def test_the_place_is_the_instruments_or_the_name_of_the_post():
    here = Position(52.5146, 13.386819853426964, accuracy_m=4.0)
    root = tree(replace(RAISED, position=here))
    assert texts(root, "LatitudeValue") == ["52.5146"]
    assert texts(root, "LongitudeValue") == ["13.386819853426964"]
    assert texts(root, "GeoPointAccuracyValue") == ["4.0"]
    assert not texts(tree(), "LatitudeValue")
    assert texts(tree(), "LocationDescription") == ["post gate-c"]


def test_an_exercise_says_so_twice():
    root = tree(replace(RAISED, exercise=True))
    assert texts(root, "RadInstrumentModeCode") == ["Test"]
    assert "EXERCISE" in texts(root, "RadInstrumentDataCreatorName")[0]
    assert not texts(tree(), "RadInstrumentModeCode")


NUCLIDES = replace(
    RAISED, alarm="nuclide", level="I1", unit="", peak=None, value=None,
    device_alarms=("industrial:Cs-137", "medical", "unknown:X-1"),
    statistic=(("industrial:Cs-137", 0.87), ("medical", 0.99)),
)  # fmt: skip


def test_nuclides_of_persons_are_not_named():
    root = tree(NUCLIDES)
    assert texts(root, "NuclideName") == ["Cs-137", "X-1"]
    assert texts(root, "NuclideIDConfidenceValue") == ["87.00"]
    assert texts(root, "NuclideIDConfidenceDescription") == ["not stated by the instrument"]
    assert "medical nuclide" in texts(root, "AnalysisResultDescription")[0]


def test_the_same_occurrence_is_the_same_document():
    assert tree().get("n42DocUUID") == tree().get("n42DocUUID")
    other = document(Occurrence(message(RAISED)), replace(AUTHOR, gateway="other"))
    assert ElementTree.fromstring(other).get("n42DocUUID") != tree().get("n42DocUUID")


def test_hostile_texts():
    evil = replace(RAISED, serial="\x00<!DOCTYPE x>]]>&\x1b[2J", note="\x07", post="a b; c d, e")
    root = tree(evil)
    assert texts(root, "RadInstrumentIdentifier")[0].replace("\xa0", " ") == "?<!DOCTYPE x>]]>&?[2J"


def test_documents_are_valid(tmp_path):
    everything = measured(
        101, dose_rate(0.3), dose_rate(None, lower_bound=5.0), counts(1), counts(2, part="b"),
        counts(3, channel=Channel.NEUTRON_COUNTS), occupied=True,
    )  # fmt: skip
    records = [
        RAISED,
        NUCLIDES,
        replace(RAISED, lasted_s=0.0),
        replace(RAISED, exercise=True, position=Position(52.5, 13.4), detector_class="?"),
        replace(RAISED, alarm="dose", unit="µSv", peak=1000.0),
        replace(RAISED, alarm="gamma_rise", unit="1/s", peak=250.5),
        replace(RAISED, alarm="area_wide", detector="@area", members=("hh-1", "hh-2"), post=None),
        replace(RAISED, serial="\x00 a; b, c_d e_f", post="a_b c_d; e", note="\x1b"),
    ]
    paths = []
    for number, record in enumerate(records):
        path = tmp_path / f"{number}.n42"
        path.write_bytes(written(record, everything))
        paths.append(path)
    check(*paths)


@pytest.mark.parametrize("scenario", ["event", "drive", "over-range", "norm-truck"])
def test_a_scenarios_documents(scenario, tmp_path, capsys):
    events, samples = [], []
    play = VirtualPlay(load_scenario(SCENARIOS / f"{scenario}.toml"))
    with journal_outputs(tmp_path / "state") as store:
        for outputs in play.outputs():
            store(outputs)
            for entry in outputs.entries:
                kept = {"alarm/event": events}.get(entry.topic, samples)
                kept.append(json.loads(entry.body))
    words = ["journal", "export", tmp_path / "out", "--format", "n42"]
    code = cli.main([str(word) for word in (*words, "--directory", tmp_path / "state")])
    capsys.readouterr()
    assert code == 0
    newest = {event["occurrence"]: event for event in events}
    files = {path.stem: path for path in (tmp_path / "out").iterdir()}
    assert files
    assert files.keys() <= newest.keys()
    for occurrence, path in files.items():
        alarm = newest[occurrence]
        root = ElementTree.parse(path).getroot()
        assert texts(root, "RadInstrumentClassCode") == [alarm["class"]]
        assert texts(root, "RadAlarmDateTime") == [level["at"] for level in alarm["levels"]]
        if alarm["unit"] == "µSv/h" and alarm["peak"] is not None:
            assert [float(text) for text in texts(root, "MaximumDoseRateValue")] == [alarm["peak"]]
        said = {
            (reading["channel"].partition("_")[0], str(reading["value"]))
            for sample in samples
            if sample["kind"] == "sample" and sample["detector"] == alarm["detector"]
            for reading in sample["readings"]
        }
        counted = {value for name, value in said if name in ("gamma", "neutron")}
        assert set(texts(root, "CountData")) <= counted
        assert {("dose", text) for text in texts(root, "DoseRateValue")} <= said
    check(*files.values())


def test_one_alarm_goes_to_standard_output(tmp_path, capfdbinary):
    with journal_outputs(tmp_path / "state") as store:
        body = dump(message(RAISED))
        store(Outputs((Entry(Lane.ALARMS, "alarm/event", body),), urgent=True))
    words = ["journal", "export", "-", "--format", "n42", "--directory", str(tmp_path / "state")]
    assert cli.main([*words, "--occurrence", "o1"]) == 0
    root = ElementTree.fromstring(capfdbinary.readouterr().out)
    assert "occurrence o1" in texts(root, "AnalysisResultDescription")[0]
    assert cli.main(words) == 2
    assert cli.main([*words, "--occurrence", "o9"]) == 1
