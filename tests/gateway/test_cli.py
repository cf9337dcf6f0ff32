"""The verbs as an operator calls them: output, exit codes, reference figures."""

import errno
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from drivers.registry import find, names
from gateway import cli
from simulators.dialogue import VirtualSession
from simulators.registry import find as find_instrument

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT.parent / "shared" / "samples"
SCENARIO = ROOT / "config" / "examples" / "scenarios" / "event.toml"
BROKEN = ROOT / "tests" / "data" / "config" / "four-faults.toml"


def sample(*parts):
    path = SAMPLES.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"captured data is not here: {path}")
    return str(path)


@pytest.fixture
def call(capsys):
    def run(*words):
        code = cli.main([str(word) for word in words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def of(records, kind):
    return [record for record in records if record["kind"] == kind]


def test_a_broken_configuration_names_all_its_faults(call):
    code, out, err = call("check", "-c", BROKEN)
    assert (code, out) == (2, "")
    for fault in ("log_levle", "µSv/min", "prd-1", "port"):
        assert fault in err
    assert "4 errors" in err
    code, out, _ = call("check", "-c", BROKEN, "--json")
    errors = [problem for problem in objects(out) if problem["severity"] == "error"]
    assert (code, len(errors)) == (2, 4)


def test_the_example_is_well(call):
    code, out, _ = call("check", "-c", ROOT / "config" / "examples" / "event.toml")
    assert code == 0
    assert "well" in out


def test_no_such_configuration(call, tmp_path):
    assert call("check", "-c", tmp_path / "none.toml")[0] == 2


def test_drivers(call):
    code, out, _ = call("drivers")
    assert code == 0
    first, *rows = out.splitlines()
    assert first.startswith("driver")
    assert [row.split()[0] for row in rows] == list(names())
    code, out, _ = call("drivers", "--json")
    assert [record["driver"] for record in objects(out)] == list(names())
    assert all(record["source"] and record["verified"] for record in objects(out))


def test_schemas_are_written_and_found_fresh(call, tmp_path):
    assert call("schema", "--write", tmp_path)[0] == 0
    assert call("schema", "--check", tmp_path)[0] == 0
    (tmp_path / "sample.schema.json").write_text("{}")
    (tmp_path / "left-over.md").write_text("")
    code, _, err = call("schema", "--check", tmp_path)
    assert (code, err.count("not fresh")) == (1, 1)
    assert f"{tmp_path / 'left-over.md'} is no file of the schema set: remove it" in err
    code, _, err = call("schema", "--check", tmp_path / "none")
    assert (code, err) == (2, f"{tmp_path / 'none'}: no such folder\n")
    assert call("schema", "nothing")[0] == 2


def test_usage(call):
    assert call()[0] == 2
    for words in (["fly"], ["decode"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(words)
        assert caught.value.code == 2


# decode


DAY = {
    # number: neutron background 1/s, largest sum of five, largest neutrons in 1 s
    603: (2.466, 1437, 5), 604: (2.466, 1635, 5), 618: (2.799, 1448, 4), 621: (2.416, 1627, 4),
    630: (2.566, 1652, 6), 637: (2.641, 2361, 9), 677: (2.466, 1620, 4), 1: (2.566, 1554, 8),
    194: (2.716, 2321, 6), 438: (2.666, 1544, 7),
}  # fmt: skip
DATED = {
    "C0-NONE_first2occ": {17: (6.683, 1531, 9), 18: (6.491, 1564, 11)},
    "C3-NORM2_first3occ": {
        109: (6.383, 8009, 11), 110: (6.666, 8174, 12), 111: (6.508, 8164, 14),
    },
}  # fmt: skip


def figures(passages):
    return {
        each["number"]: (each["neutron_background"], each["gamma_max"], each["neutron_max"])
        for each in passages
    }


def test_a_portals_day_has_the_reference_figures_and_no_times(call):
    code, out, err = call("decode", "rapiscan", sample("rpm", "rapiscan_day_extract.txt"))
    records = objects(out)
    passages = of(records, "passage")
    assert code == 0
    assert figures(passages) == DAY
    assert {each["number"] for each in passages if each["gamma_alarm"]} == {630, 637, 194}
    assert not of(records, "reject")
    assert "840 samples, 10 passages, 0 rejected" in err
    for each in records:
        assert {each.get(key) for key in ("time", "arrived", "start", "end")} == {None}


@pytest.mark.parametrize("name", DATED)
def test_a_dated_log_gives_times(call, name):
    code, out, _ = call("decode", "rapiscan", sample("rpm", f"rapiscan_labs_S2-{name}.csv"))
    records = objects(out)
    passages = of(records, "passage")
    assert code == 0
    assert figures(passages) == DATED[name]
    assert all(each["start"] < each["end"] <= each["time"] for each in passages)
    samples = of(records, "sample")
    assert all(each["time"] and each["time_estimated"] for each in samples)
    times = [each["arrived"] for each in samples]
    assert times == sorted(times)
    assert all(each["time"] <= each["arrived"] for each in samples)
    assert {each["reason"] for each in of(records, "reject")} == {"unsupported"}


LOGS = {
    "czechrad_CZRA1_sample.LOG": (194, 0),
    "nano_prerelease_LOG00001.TXT": (0, 66),
    "nanokit_SAFECAST.TXT": (0, 16),
    "rtbreader_sample_1.log": (212, 1),
    "rtbreader_sample_invalid_time.log": (3, 0),
    "safecastapi_bgeigie.log": (23, 0),
    "safecastapi_bgeigie3.log": (23, 2),
    "safecastapi_bgeigie_nyc.log": (29, 0),
    "safecastapi_bgeigie_with_corruption.log": (7, 2),
    "safecastapi_bgeigie_with_tinygps_bug.log": (0, 29),
    "safecastapi_malformed_bgeigie.log": (9, 2),
}


@pytest.mark.parametrize("name", LOGS)
def test_bgeigie_logs(call, name):
    code, out, err = call("decode", "bgeigie", sample("bgeigie", name))
    records = objects(out)
    assert code == 0
    assert (len(of(records, "sample")), len(of(records, "reject"))) == LOGS[name]
    assert f"{LOGS[name][0]} samples, 0 passages, {LOGS[name][1]} rejected" in err
    for each in of(records, "sample"):
        assert each["arrived"] is None  # nobody knows when it came
        assert bool(each["time"]) is not each["time_estimated"]
        assert "time_unsynchronised" not in each["flags"]
    for each in of(records, "reject"):
        assert each["line"] >= 1


def test_undated_logs_have_the_times_of_the_instrument(call):
    _, out, _ = call("decode", "bgeigie", sample("bgeigie", "rtbreader_sample_1.log"))
    samples = of(objects(out), "sample")
    assert all(re.match(r"20\d\d-", each["time"]) for each in samples)
    _, out, _ = call("decode", "bgeigie", sample("bgeigie", "rtbreader_sample_invalid_time.log"))
    assert [bool(each["time"]) for each in of(objects(out), "sample")].count(False) == 1


def test_strict_ends_with_one_if_anything_was_rejected(call, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"GB,000100,000100,000100,000100\r\nnonsense\r\n")
    assert call("decode", "rapiscan", path)[0] == 0
    code, out, _ = call("decode", "rapiscan", path, "--strict")
    assert (code, len(of(objects(out), "reject"))) == (1, 1)
    path.write_bytes(b"GB,000100,000100,000100,000100\r\n")
    assert call("decode", "rapiscan", path, "--strict")[0] == 0


def test_decode_of_standard_input(call, monkeypatch):
    class Stdin:
        buffer = io.BytesIO(b"GB,000100,000100,000100,000100\r\n")

    monkeypatch.setattr(sys, "stdin", Stdin)
    code, out, _ = call("decode", "rapiscan-tsa-rpm", "-")
    assert (code, len(of(objects(out), "sample"))) == (0, 1)


def test_what_cannot_be_decoded(call, tmp_path):
    code, _, err = call("decode", "nosuch", "-")
    assert code == 2
    assert "nosuch" in err
    assert call("decode", "rapiscan", tmp_path / "none")[0] == 2
    assert call("decode", "rapiscan", tmp_path)[0] == 2
    path = tmp_path / "no-recording"
    path.write_text("x\n")
    assert call("decode", "gq-gmc", path)[0] == 2
    assert call("decode", "rapiscan", path, "--option", "colour=red")[0] == 2


def test_a_reader_that_has_seen_enough_is_no_fault(monkeypatch, tmp_path):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    path = tmp_path / "log"
    path.write_bytes(b"nonsense\r\n")
    monkeypatch.setattr(sys, "stdout", Closed())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert cli.main(["decode", "rapiscan", str(path)]) == 0


@pytest.mark.parametrize("at", ["write", "flush"])
def test_an_output_that_takes_nothing_is_one_line(monkeypatch, capsys, at):
    class Full(io.StringIO):
        pass

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    setattr(Full, at, refuse)
    monkeypatch.setattr(sys, "stdout", Full())
    assert cli.main(["drivers"]) == 1
    assert capsys.readouterr().err == "cannot write the output: No space left on device\n"


def test_a_full_disk_is_said_once_by_the_process_too():
    dosegate = Path(sys.executable).with_name("dosegate")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [dosegate, "drivers"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == "cannot write the output: No space left on device\n"


def test_what_a_terminal_cannot_show_is_spelt_out(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert cli.main(["guidance", "--language", "zh"]) == 0
    assert b"\\u" in stream.buffer.getvalue()


class Field:
    """A steady field."""

    def dose_rate(self, at_s):
        return 0.12

    def gamma_counts(self, from_s, to_s, part=0):
        return int(from_s) % 7

    def neutron_counts(self, from_s, to_s, part=0):
        return 0

    def occupied(self, at_s):
        return False

    def speed_m_s(self, at_s):
        return None

    def position(self, at_s):
        return None

    def on_since(self, at_s):
        return 0.0


class Recorder:
    """An instrument whose conversation is written down."""

    def __init__(self, instrument):
        self._instrument, self._pieces = instrument, []

    def advance(self, to_s, field):
        return self._note(self._instrument.advance(to_s, field))

    def receive(self, at_s, data, field):
        self._pieces.append((at_s, "tx", data))
        return self._note(self._instrument.receive(at_s, data, field))

    def _note(self, emissions):
        self._pieces += [(each.at_s, "rx", each.data) for each in emissions]
        return emissions

    def write(self, path):
        lines = (
            json.dumps({"t": at_s, "dir": way, "hex": data.hex()})
            for at_s, way, data in sorted(self._pieces, key=lambda piece: piece[0])
        )
        path.write_text("\n".join(lines))


@pytest.mark.parametrize("driver", ["thermo-radeye", "gq-gmc"])
def test_a_recording_gives_again_what_was_read(call, tmp_path, driver):
    from datetime import UTC, datetime

    from drivers.api import Sample

    info = find(driver)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    recorder = Recorder(find_instrument(driver)({}, Random(3), start))
    options = {option.name: option.default for option in info.options}
    options |= {f"permission.{name}": False for name in info.permissions}
    session = VirtualSession(info, info.create(options), recorder, Field())
    read = [
        [(r.channel, r.raw) for r in output.readings]
        for _, output in session.run(30.0)
        if isinstance(output, Sample) and output.readings
    ]
    path = tmp_path / "recording.jsonl"
    recorder.write(path)
    code, out, _ = call("decode", driver, path)
    records = objects(out)
    assert code == 0
    told = [
        [(r["channel"], r["raw"].split(" ")[0]) for r in each["readings"]][: len(was)]
        for each, was in zip(of(records, "sample"), read, strict=False)
    ]
    assert len(read) >= 15
    assert len(of(records, "sample")) >= len(read) - 2  # the recording was cut in mid-cycle
    assert told == [[(c, raw.split(" ")[0]) for c, raw in was] for was in read[: len(told)]]
    assert all(each["time"] is None for each in of(records, "sample"))


# simulate


def events(out):
    return [
        (each["event"], each["detector"], each["alarm"], each["level"])
        for each in objects(out)
        if each["kind"] == "alarm_event"
    ]  # fmt: skip


@pytest.fixture(scope="module")
def played():
    """The event scenario, once for all that look at it."""
    with pytest.MonkeyPatch.context() as patch:
        out = io.StringIO()
        patch.setattr(sys, "stdout", out)
        assert cli.main(["simulate", str(SCENARIO)]) == 0
    return out.getvalue()


def test_the_event_raises_and_returns(played):
    told = events(played)
    assert ("raised", "hh-1", "dose_rate", "R3") in told
    assert ("returned", "hh-1", "dose_rate", "R3") in told
    assert ("raised", "portal-a", "portal_gamma", "device") in told
    kinds = {record["kind"] for record in objects(played)}
    assert kinds == {"sample", "passage", "alarm_event", "state", "watch", "dose"}
    detectors = {record["detector"] for record in of(objects(played), "sample")}
    assert detectors == {"hh-1", "hh-2", "van-1", "portal-a", "portal-b"}


def test_a_seed_gives_the_same_again_and_another_seed_does_not(call, played):
    assert call("simulate", SCENARIO)[1] == played
    assert call("simulate", SCENARIO, "--seed", 2)[1] != played


def test_only_what_was_asked_for(call, played):
    code, out, err = call("simulate", SCENARIO, "--only", "passage", "--only", "alarm_event")
    assert code == 0
    assert {record["kind"] for record in objects(out)} == {"passage", "alarm_event"}
    assert len(events(out)) == len(events(played))
    assert "sample" in err


def test_without_the_source_there_is_no_alarm(call, tmp_path):
    text = SCENARIO.read_text(encoding="utf-8")
    quiet = re.sub(r"\[\[source\]\].*?(?=\n# Handheld on a tripod)", "", text, flags=re.DOTALL)
    assert quiet != text
    path = tmp_path / "quiet.toml"
    path.write_text(quiet, encoding="utf-8")
    for seed in range(1, 6):
        code, out, _ = call("simulate", path, "--only", "alarm_event", "--seed", seed)
        assert (code, out) == (0, "")


def test_a_scenario_that_is_none(call, tmp_path):
    assert call("simulate", BROKEN)[0] == 2
    assert call("simulate", tmp_path / "none.toml")[0] == 2


def test_a_restarted_gateway_knows_its_instruments_again(call, tmp_path):
    path = tmp_path / "restart.toml"
    path.write_text(
        """
        [scenario]
        name = "restart"
        title = "A restart"
        seed = 1
        duration_s = 60
        [[detector]]
        id = "hh"
        driver = "gq-gmc"
        class = "Gamma Handheld"
        archetype = "AREA"
        sensitivity = 2.57
        background_rate = "15 cpm"
        [[event]]
        at_s = 20
        do = "kill"
        down_s = 5
        """
    )
    code, out, err = call("simulate", path, "--only", "sample")
    samples = objects(out)
    assert code == 0, err
    estimated = [
        any("estimated:from_counts" in reading["flags"] for reading in each["readings"])
        for each in samples
    ]
    assert len(samples) > 40
    assert all(estimated)  # by the calibration that the unit stores
