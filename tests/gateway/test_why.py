"""``why`` and what it reads: a journal in use, explained in words that an operator knows."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from config.scenario import load_scenario
from drivers.api import Channel, Flag, Quantity, Reading
from gateway import cli
from gateway.alarms.record import AlarmEvent, AlarmRecord, Change, LevelReached, Rule
from gateway.alarms.watcher import Standing
from gateway.explanation import worded
from gateway.journal.file import FILE, JournalUnusable
from gateway.journal.look import JournalLook, journal_outputs
from gateway.values import Answer, Command, Entry, Instant, Lane, Measured, Outputs
from gateway.verbs.virtual import VirtualPlay
from gateway.verbs.why import moment_of
from gateway.wire.alarms import ANSWER, WATCH, Answered, Watch, encode_event
from gateway.wire.samples import SAMPLE, Told
from gateway.wire.table import dump

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "config" / "examples" / "scenarios"
NOON = 1_780_315_200.0
"""2026-06-01T12:00:00Z."""


def at(seconds):
    return Instant(NOON + seconds, seconds)


def sample(seconds, value, detector="hh-1", flags=()):
    quantity = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
    reading = Reading(Channel.DOSE_RATE, value, "µSv/h", quantity, flags)
    told = SAMPLE.text(Told(Measured(detector, at(seconds), at(seconds), (reading,))))
    return Entry(Lane.SAMPLES, f"detector/{detector}/sample", told.encode())


def watch(seconds, *standings):
    body = dump(WATCH.encode(Watch("hh-1", at(seconds), standings)))
    return Entry(Lane.SAMPLES, "detector/hh-1/watch", body)


def answer(seconds, name, accepted=True, **arguments):
    command = Command(name, "anna", "c1", tuple(arguments.items()))
    body = dump(ANSWER.encode(Answered(Answer(command, accepted), at(seconds))))
    return Entry(Lane.ALARMS, "command/anna/result", body)


def event(seconds, kind, record, actor="", note=""):
    change = Change(kind, record, record.value, record.unit, actor, note, at(seconds))
    return Entry(Lane.ALARMS, "alarm/event", dump(encode_event(change)))


LEVEL = (("off_delay_s", 10.0), ("level", "R3"), ("authority", "ANSI N42.32"))
RAISED = AlarmRecord(
    "o1", "hh-1", "dose_rate",
    Rule("absolute_level_counts", 1, (
        *LEVEL, ("raise_usv_h", 0.5), ("clear_usv_h", 0.4), ("false_alarms_per_hour", 0.04),
    )),
    "R3", 3, at(100), at(100),
    detector_class="Gamma Handheld", serial="4711", post="gate-c",
    levels=(LevelReached("R3", at(100)),), held=("R3",), indicative=True,
    value=0.62, unit="µSv/h", peak=0.62, peak_at=at(100), configuration="cafe",
    statistic=(("counts", 45), ("window_s", 1.0), ("expected_counts", 20.0),
               ("p_value", 1.4e-6), ("alpha", 3.3e-6)),
    background=(("background_per_s", 20.1), ("learned", "while nothing alarmed")),
    flags=(Flag.ESTIMATED_FROM_COUNTS,),
)  # fmt: skip
ACKNOWLEDGED = replace(
    RAISED, revision=2, acknowledged=True, acknowledged_by="anna", acknowledged_at=at(110)
)
CLOSED = replace(ACKNOWLEDGED, active=False, returned_at=at(130), closed_at=at(130))


def history():
    return (
        event(100, AlarmEvent.RAISED, RAISED),
        *(event(160 + 60 * n, AlarmEvent.RE_ALARMED, RAISED) for n in range(3)),
        event(400, AlarmEvent.SHELVED, replace(RAISED, shelved=True), "anna", "patient"),
        event(410, AlarmEvent.ACKNOWLEDGED, ACKNOWLEDGED, "anna"),
    )


@pytest.fixture
def folder(tmp_path):
    """A journal made of entries, one a step."""

    def write(*entries):
        folder = tmp_path / "state"
        with journal_outputs(folder) as store:
            for entry in entries:
                store(Outputs((entry,), urgent=entry.lane.is_alarm))
        return folder

    return write


@pytest.fixture
def call(capsys):
    def run(*words):
        code = cli.main([str(word) for word in words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def said(out, label):
    """The lines of one label."""
    found, inside = [], False
    for line in out.splitlines():
        inside = line.startswith(f"{label} ") or (inside and line.startswith(" "))
        if inside:
            found.append(line[15:])
    return found


def test_an_alarm_is_explained(folder, call):
    code, out, _ = call("why", "o1", "--state-dir", folder(*history()))
    assert code == 0
    assert said(out, "alarm") == [
        "dose_rate R3, priority 3, of hh-1 (Gamma Handheld, serial 4711, post gate-c)"
    ]
    assert said(out, "raised") == ["2026-06-01T12:01:40.000Z  0.62 µSv/h"]
    (rule,) = said(out, "rule")
    for part in ("version 1", "R3 at 0.5 µSv/h", "below 0.4 µSv/h", "ANSI N42.32"):
        assert part in rule
    (test,) = said(out, "test")
    assert test == "45 counts in 1 s, 20 expected, p-value 1.4e-06 (at most 3.3e-06 a test)"
    assert said(out, "budget") == ["0.04 false alarms per hour of this channel, one in 25 h"]
    assert said(out, "background") == ["background 20.1 1/s, learned while nothing alarmed"]
    assert said(out, "flags") == ["estimated:from_counts"]
    assert said(out, "peak") == ["0.62 µSv/h at 2026-06-01T12:01:40.000Z"]
    assert "estimate" in said(out, "note")[0]
    assert said(out, "configuration") == ["cafe"]
    assert said(out, "history") == [
        "2026-06-01T12:01:40.000Z  raised 0.62 µSv/h",
        "2026-06-01T12:02:40.000Z  announced again, 3 times to 2026-06-01T12:04:40.000Z",
        "2026-06-01T12:06:40.000Z  shelved by anna: patient",
        "2026-06-01T12:06:50.000Z  acknowledged by anna",
    ]


def test_an_event_that_cannot_be_read_is_left_out_and_said(folder, call):
    state = folder(*history())
    with sqlite3.connect(state / FILE) as con:
        turned = "CAST(replace(body, '0.62', '0.63') AS BLOB)"
        con.execute(f"UPDATE events SET body = {turned} WHERE id = 6")
    con.close()
    code, out, err = call("why", "o1", "--state-dir", state)
    assert code == 0
    assert "acknowledged by anna" not in out
    assert err == "1 row cannot be read: dosegate journal verify tells which\n"


def test_what_was_expected_follows_from_the_background(folder, call):
    statistic = (
        ("counts", 50), ("window_s", 2.0), ("threshold", 43), ("p_value", 9.1e-9),
        ("background_counts", 6000), ("background_live_s", 300.0),
    )  # fmt: skip
    rise = replace(RAISED, alarm="gamma_rise", level="R1", statistic=statistic)
    _, out, _ = call("why", "o1", "--state-dir", folder(event(100, AlarmEvent.RAISED, rise)))
    (test,) = said(out, "test")
    assert test.startswith("50 counts in 2 s, 40 expected, threshold 43, p-value 9.1e-09")


def test_an_escalation_has_its_own_reason(folder, call):
    worse = replace(
        RAISED,
        rule=Rule("absolute_level", 1, (("level", "R8"), ("authority", "treat as danger"))),
        level="R8", priority=1, latched=True, value=None, lower_bound=1e5, statistic=(),
        levels=(*RAISED.levels, LevelReached("R8", at(120))),
    )  # fmt: skip
    entries = (event(100, AlarmEvent.RAISED, RAISED), event(120, AlarmEvent.ESCALATED, worse))
    _, out, _ = call("why", "o1", "--state-dir", folder(*entries))
    assert "over range, at least 1e+05 µSv/h" in said(out, "escalated")[0]
    assert [line.split()[0] for line in said(out, "levels")] == ["R3", "R8"]
    assert "treat as danger" in said(out, "levels")[1]


def test_an_alarm_as_json_is_its_whole_history(folder, call):
    _, out, _ = call("why", "o1", "--state-dir", folder(*history()), "--json")
    story = json.loads(out)
    assert [each["event"] for each in story["events"]][::5] == ["raised", "acknowledged"]
    assert story["events"][0]["statistic"]["p_value"] == 1.4e-6


def test_what_the_journal_does_not_know(folder, call, tmp_path):
    place = folder(*history())
    code, _, err = call("why", "o2", "--state-dir", place)
    assert (code, "no alarm 'o2'" in err) == (1, True)
    code, _, err = call("why", "hh-1", "--state-dir", place)
    assert (code, "name a time" in err) == (1, True)
    code, _, err = call("why", "hh-7", "12:00", "--state-dir", place)
    assert (code, "nothing of 'hh-7'" in err) == (1, True)
    code, _, err = call("why", "o1", "--state-dir", tmp_path / "none")
    assert (code, "no journal" in err) == (1, True)
    code, _, err = call("why", "hh-1", "noon", "--state-dir", place)
    assert (code, "is no time" in err) == (2, True)
    assert call("why", "o1", "-c", tmp_path / "none.toml")[0] == 2


ARMED = Standing(
    "gamma_rise", True,
    facts=(("background_per_s", 20.1), ("smallest_rise", 12.3), ("smallest_unit", "1/s")),
)  # fmt: skip
LEARNING = Standing("neutron_rise", False, "learning, 20 of 60 s")


def quiet_minutes():
    """Two quiet minutes; at 90 s the rules are told, at 95 s R3 is shelved for ten minutes."""
    for second in range(120):
        yield sample(second, 0.1 + 0.001 * second)
        if second == 30:
            yield watch(second, Standing("gamma_rise", False, "learning"))
        if second == 90:
            yield watch(second, ARMED, LEARNING)
        if second == 95:
            yield answer(second, "shelve", detector="hh-1", level="R3", duration_s=600, reason="p")


def test_why_there_was_none(folder, call):
    code, out, _ = call("why", "hh-1", "12:01:40", "--state-dir", folder(*quiet_minutes()))
    assert code == 0
    assert said(out, "alarms") == ["no radiation alarm was open"]
    armed, known, learning, age, chance = said(out, "rules")
    assert armed == "gamma_rise was armed: from 12.3 1/s above the background on"
    assert known.strip() == "background 20.1 1/s"
    assert learning == "neutron_rise was not armed: learning, 20 of 60 s"
    assert "10 s before" in age
    assert "one case of two" in chance
    assert said(out, "orders") == ["R3 shelved by anna until 2026-06-01T12:11:35.000Z: p"]
    values = said(out, "values")
    assert [line[11:19] for line in (values[0], values[-1])] == ["12:01:35", "12:01:45"]
    assert len(values) == 11
    assert values[0].endswith("dose_rate 0.195 µSv/h")


def test_a_standing_of_later_says_nothing_of_now(folder, call):
    _, out, _ = call("why", "hh-1", "12:01:29", "--state-dir", folder(*quiet_minutes()))
    assert said(out, "rules")[0] == "gamma_rise was not armed: learning"
    assert said(out, "orders") == []


def test_the_same_as_json(folder, call):
    place = folder(*quiet_minutes())
    _, out, _ = call("why", "hh-1", "12:01:40", "--state-dir", place, "--json")
    story = json.loads(out)
    assert story["smallest_rises"] == [{"rule": "gamma_rise", "rise": 12.3, "unit": "1/s"}]
    assert story["orders"][0]["until"] == "2026-06-01T12:11:35.000Z"
    assert (len(story["samples"]), story["alarms"]) == (11, [])


def test_with_the_configuration_the_levels_are_told(folder, call, tmp_path):
    place = folder(*quiet_minutes())
    path = tmp_path / "gw.toml"
    path.write_text(
        f'[gateway]\nid = "gw"\nstate_dir = "{place}"\n[[detector]]\nid = "hh-1"\n'
        'driver = "radeye"\nlink = { kind = "serial", port = "/dev/null" }\n'
    )
    _, out, _ = call("why", "hh-1", "12:01:40", "-c", path)
    lowest, largest = said(out, "levels")
    assert "R3, 0.5 µSv/h" in lowest
    assert largest == "the largest dose rate around was 0.205 µSv/h, 0.295 µSv/h below it"
    code, _, err = call("why", "hh-2", "12:01:40", "-c", path)
    assert (code, "did you mean 'hh-1'?" in err) == (2, True)


def test_an_alarm_that_was_open_is_pointed_to(folder, call):
    place = folder(
        *(sample(second, 0.6) for second in range(100, 120)),
        event(100, AlarmEvent.RAISED, RAISED),
        event(130, AlarmEvent.CLOSED, CLOSED),
        sample(140, 0.1),
    )
    _, out, _ = call("why", "hh-1", "12:01:50", "--state-dir", place)
    assert said(out, "alarms") == ["dose_rate R3 was active: dosegate why o1"]
    _, out, _ = call("why", "hh-1", "12:02:20", "--state-dir", place)
    assert said(out, "alarms") == ["no radiation alarm was open"]


def test_silence_and_flags_are_told(folder, call):
    place = folder(sample(0, None, flags=(Flag.INSTRUMENT_FAULT,)), sample(900, 0.1, "hh-2"))
    _, out, _ = call("why", "hh-1", "12:01:00", "--state-dir", place)
    assert said(out, "state") == ["last reading 60.0 s before", "flagged instrument_fault"]
    assert said(out, "values") == []
    assert call("why", "hh-1", "12:15", "--state-dir", place)[0] == 1


def test_orders_that_were_over_are_not_in_force(folder, call):
    shelve = {"detector": "hh-1", "level": "R3", "reason": "p", "duration_s": 600}
    place = folder(
        answer(0, "shelve", **shelve),
        answer(1, "maintenance", detector="hh-1", on=True, duration_s=20, reason="cable"),
        answer(2, "duty", detector="hh-1", state="off_duty", duration_s=600, reason="shift"),
        answer(3, "test_source", detector="hh-1", on=True, duration_s=600, reason="check"),
        answer(4, "shelve", accepted=False, **{**shelve, "level": "R4"}),
        answer(5, "shelve", **{**shelve, "detector": "hh-2"}),
        answer(10, "unshelve", detector="hh-1", level="R3"),
        answer(11, "duty", detector="hh-1", state="on_duty"),
        *(sample(second, 0.1) for second in range(60)),
    )

    def orders(time):
        _, out, _ = call("why", "hh-1", time, "--state-dir", place)
        return sorted(line.split(" by ")[0] for line in said(out, "orders"))

    assert orders("12:00:06") == ["R3 shelved", "maintenance", "off_duty", "test source"]
    assert orders("12:00:15") == ["maintenance", "test source"]
    assert orders("12:00:30") == ["test source"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-06-01T12:00:30Z", 30),
        ("2026-06-01T14:00:30.5+02:00", 30.5),
        ("2026-06-01T12:01", 60),
        ("12:02", 120),
        ("12:02:03", 123),
        ("-90s", -80),
        (" -5min", -290),
    ],
)
def test_times(text, seconds):
    assert moment_of(text, NOON + 10) == pytest.approx(NOON + seconds)


def test_time_that_has_passed_is_no_option(folder, call):
    place = folder(*quiet_minutes())
    _, out, _ = call("why", "hh-1", "-20s", "--state-dir", place)
    assert said(out, "detector") == ["hh-1 at 2026-06-01T12:01:39.000Z"]


def test_words_of_facts():
    facts = {"windows_s": "1 2", "rise_limit_usv_h": 0.15, "surveyed_at": NOON, "user": "anna"}
    assert worded(facts) == (
        "windows 1 2 s, rise limit 0.15 µSv/h, surveyed at 2026-06-01T12:00:00.000Z, user anna"
    )


def test_a_journal_in_use_is_read_and_not_touched(folder, call):
    place = folder(*history())
    file = place / "journal.sqlite"
    with sqlite3.connect(file, isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert call("why", "o1", "--state-dir", place)[0] == 0
        writer.execute("ROLLBACK")
    writer.close()
    before = file.read_bytes()
    assert call("why", "o1", "--state-dir", place)[0] == 0
    assert file.read_bytes() == before


def test_a_file_that_is_no_journal(tmp_path, call):
    (tmp_path / "journal.sqlite").write_bytes(b"no database at all" * 100)
    code, _, err = call("why", "o1", "--state-dir", tmp_path)
    assert (code, "not a database" in err) == (1, True)


def test_a_play_does_not_go_into_a_journal_that_is_there(folder):
    place = folder(*history())
    with pytest.raises(JournalUnusable, match="name another folder"), journal_outputs(place):
        pass


def test_times_are_found_without_reading_everything(folder):
    place = folder(*(sample(second, 0.1) for second in range(3000)))
    with JournalLook.open(place) as look:
        found = list(look.around("hh-1", "sample", NOON + 1500, NOON + 1501))
        assert len(found) == 2
        assert look.last("hh-1", "sample", NOON + 10.5, 5.0)["time"].endswith("12:00:10.000Z")
        assert look.last("hh-1", "sample", NOON - 10, 5.0) is None
        assert list(look.around("hh-1", "sample", NOON + 9000, NOON + 9001)) == []
        assert look.newest() == NOON + 2999


def test_an_empty_journal(folder, call):
    place = folder()
    assert call("why", "hh-1", "12:00", "--state-dir", place)[0] == 1
    with JournalLook.open(place) as look:
        assert look.newest() is None
        assert look.last("hh-1", "sample", NOON, 5.0) is None


def test_a_scenario_explains_itself(tmp_path, call):
    play = VirtualPlay(load_scenario(SCENARIOS / "walk-past.toml"))
    with journal_outputs(tmp_path / "play") as store:
        for outputs in play.outputs():
            store(outputs)
    with JournalLook.open(tmp_path / "play") as look:
        (detector,) = {event.detector for event, _ in play.answers}
        events = [each for each in look.history(detector) if each["alarm"] == "dose_rate"]
    occurrence = events[0]["occurrence"]
    code, out, _ = call("why", occurrence, "--state-dir", tmp_path / "play")
    assert code == 0
    assert "R3 at 0.5 µSv/h" in said(out, "rule")[0]
    assert any("acknowledged by" in line for line in said(out, "history"))
