"""A recording stands as an instrument in a scenario, in virtual time and on real ports."""

import asyncio
import json
from pathlib import Path

import pytest

from config.loader import examine
from config.problem import ConfigErrors
from config.scenario import load_scenario
from gateway.verbs.stage import on_stage
from gateway.verbs.virtual import VirtualPlay

DATA = Path(__file__).resolve().parents[1] / "data" / "recordings"
PORTAL = DATA / "portal-garbage" / "recording.jsonl"
RADEYE = DATA / "radeye-falls-silent" / "recording.jsonl"
HEAD = '[scenario]\nname = "s"\nduration_s = 60\n\n'


def samples(path, detector):
    play = VirtualPlay(load_scenario(path))
    bodies = [json.loads(entry.body) for outputs in play.outputs() for entry in outputs.entries]
    return [each for each in bodies if each["kind"] == "sample" and each["detector"] == detector]


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "fault.jsonl").write_bytes(RADEYE.read_bytes())
        (tmp_path / "portal.jsonl").write_bytes(PORTAL.read_bytes())
        path = tmp_path / "scenario.toml"
        path.write_text(HEAD + text)
        return path

    return write


def one(**keys):
    given = {"id": "d", "archetype": "PRD", "recording": "fault.jsonl"} | keys
    lines = [f"{key} = {json.dumps(value)}" for key, value in given.items()]
    return "[[detector]]\n" + "\n".join(lines) + "\n"


def event(do, **keys):
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return f'\n[[event]]\nat_s = 5\ndo = "{do}"\ndetector = "d"\n' + "\n".join(lines) + "\n"


def test_it_begins_when_it_is_told_and_loses_what_the_cable_loses():
    said = samples(DATA / "second-portal.toml", "gate-1")
    times = [each["time"][14:] for each in said]
    assert times[0] == "00:14.892Z"  # 4.892 s after its own beginning
    assert not [time for time in times if "00:30" < time < "00:35"]
    assert len(said) == 15  # of 17, two while it was unplugged
    others = samples(DATA / "second-portal.toml", "prd-1")
    assert len(others) > 50


def test_one_that_is_asked_answers(write):
    said = samples(write(one()), "d")
    assert len(said) == 16
    assert said[0]["flags"] == ["simulated"]
    late = samples(write(one(on_s=20)), "d")
    assert [each["readings"] for each in late[:12]] == [each["readings"] for each in said[:12]]
    assert late[0]["time"] > said[0]["time"]


def test_it_plays_the_same_each_time(write):
    path = write(one(at_s=3))
    assert samples(path, "d") == samples(path, "d")


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        (one(recording="none.jsonl"), "detector[0] (id d).recording", "cannot be read"),
        (one(recording="scenario.toml"), "detector[0] (id d).recording", "is no recording"),
        (one(driver="gq-gmc"), "detector[0] (id d).driver", "is of 'thermo-radeye'"),
        (one() + "settings = { firmware = 3 }\n", "settings", "says what it said"),
        (one() + event("reading", dose_rate="1 µSv/h"), "event[0].do", "a recording cannot play"),
        (one() + event("wrong_serial", serial_number="7"), "event[0].do", "cannot play"),
        ('[[detector]]\nid = "d"\narchetype = "PRD"\nat_s = 3\n', "at_s", "recording is missing"),
    ],
)
def test_what_does_not_fit_a_recording(write, text, key, reason):
    with pytest.raises(ConfigErrors) as errors:
        load_scenario(write(text))
    problems = [each for each in errors.value.problems if each.severity == "error"]
    assert [each for each in problems if key in each.field and reason in each.message], problems


def test_garbage_and_cables_may_happen_to_it(write):
    text = one() + event("garbage") + event("unplug") + event("replug")
    assert load_scenario(write(text)).detector[0].recording.endswith("fault.jsonl")


async def test_it_stands_on_a_real_port(write, tmp_path):
    path = write(one(recording="portal.jsonl", archetype="RPM", link="tcp"))
    lines = PORTAL.read_text().splitlines()
    shifted = [
        line.replace(f'"t": {json.loads(line)["t"]}', f'"t": {at * 0.05}')
        for at, line in enumerate(lines[1:6])
    ]
    (tmp_path / "portal.jsonl").write_text("\n".join([lines[0], *shifted]))
    async with on_stage(load_scenario(path), tmp_path, ()) as stage:
        link = stage.configuration.detector[0].link
        reader, writer = await asyncio.open_connection(link.host, link.port)
        async with asyncio.timeout(5):
            heard = await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert heard[:3] in (b"NB,", b"GB,")  # the first may have been said to nobody


CONFIGURATION = """
[gateway]
id = "g"

[recording]
{recording}

[[detector]]
id = "d"
driver = "thermo-radeye"
link = {{ kind = "recording", path = "d.jsonl", loop = true }}
"""


@pytest.mark.parametrize(
    ("recording", "reason"),
    [
        ('detectors = ["d"]', ""),
        ('detectors = ["e"]', "no detector has the id 'e'"),
        ('detectors = ["d"]\nkeep_mb = 30', "30 MB hold less than"),
        ('detectors = ["d"]\nfile_mb = 900', "1000 MB hold less than"),
        ("keep_mb = 1", "keep_mb"),
        ("for_ever = true", "for_ever"),
    ],
)
def test_what_a_configuration_says_of_recordings(tmp_path, recording, reason):
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIGURATION.format(recording=recording))
    examination = examine(path)
    errors = [each for each in examination.problems if each.severity == "error"]
    assert bool(errors) is bool(reason)
    assert not reason or any(reason in f"{each.field} {each.message}" for each in errors)
