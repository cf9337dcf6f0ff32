"""A recording that the daemon took says the same again through the same code."""

import json

import pytest

DRIVERS = [
    "thermo-radeye",
    "gq-gmc",
    "json-lines",
    "bgeigie-nmea",
    "rapiscan-tsa-rpm",
    "aspect-rpm-modbus-tcp",
]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_recording_from_the_first_opening_says_the_same_again(studio, driver, told_by_replay):
    take = studio.record(driver, 60.0)
    lines, playback = studio.replay(take)
    said, again = take.said(), told_by_replay(lines)
    assert len(said) >= 10
    if driver == "gq-gmc":  # its configuration is secret, so the first cycle comes later
        assert again == said[: len(again)]
        assert len(again) >= len(said) - 12
    else:
        assert again == said
    assert playback.differing == 0


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_recording_of_an_instrument_long_identified_can_be_read(studio, driver, told_by_replay):
    take = studio.record(driver, 30.0, since_s=100.0)
    lines, playback = studio.replay(take)
    said = [each[0] for each in take.said(since_s=100.0)]
    again = [each[0] for each in told_by_replay(lines) if each[0] in said]
    assert len(again) >= len(said) - 3
    assert again in [said[at : at + len(again)] for at in range(4)]
    header = take.recording.header
    assert header.started < "2026-05-02T14:04:51"
    if driver == "gq-gmc":  # it asks for the battery in its first cycle, which was long ago
        assert 1 <= playback.differing <= 3
        assert all("GETVOLT" in str(each) for each in playback.differences[:1])
        assert header.serial == "F7F4C578139D08"
    else:
        assert playback.differing == 0


def test_a_replay_is_the_same_each_time(studio):
    take = studio.record("thermo-radeye", 30.0)
    assert studio.replay(take)[0] == studio.replay(take)[0]
    (first, *_) = (json.loads(line) for line in studio.replay(take)[0])
    assert first["time"].startswith("2026-05-02T14:03:1")
    assert "simulated" in first["flags"]


def silent_from(at_s):
    return lambda now, data: b"" if now >= at_s else data


def test_an_instrument_that_falls_silent_falls_silent_again(studio, told_by_replay):
    take = studio.record("thermo-radeye", 60.0, spoil=silent_from(20.0))
    lines, playback = studio.replay(take)
    said, again = take.said(), told_by_replay(lines)
    assert said.count("timeout") >= 4
    assert again == said
    assert playback.differing == 0
    assert take.recording.duration_s == 60.0


def test_garbage_in_the_middle_is_rejected_again(studio, told_by_replay):
    def garbage(at_s, data):
        return b"\x80\xff\x00GS,12\r\n" + data if 10.0 <= at_s < 10.3 else data

    take = studio.record("rapiscan-tsa-rpm", 30.0, spoil=garbage)
    lines, _ = studio.replay(take)
    again = told_by_replay(lines)
    assert [each for each in again if isinstance(each, str)]
    assert again == take.said()


@pytest.mark.parametrize("driver", ["thermo-radeye", "gq-gmc", "json-lines", "rapiscan-tsa-rpm"])
def test_a_lost_link_is_lost_again_at_the_same_place(studio, driver, told_by_replay):
    take = studio.record(driver, 60.0, plugged=lambda at_s: not 20.0 <= at_s < 40.0)
    kinds = [str(piece.kind) for piece in take.recording.pieces]
    assert kinds.count("closed") == 1
    lines, playback = studio.replay(take)
    said, again = take.said(), told_by_replay(lines)
    assert any("alarm_event" in line for line in lines)
    if driver == "gq-gmc":
        assert [each for each in again if each != "timeout"][:25] == said[:25]
    else:
        assert again == said
        assert playback.differing == 0


@pytest.mark.parametrize("wrong", [False, 4])
def test_registers_that_fail_fail_again(studio, wrong, told_by_replay):
    take = studio.record(
        "aspect-rpm-modbus-tcp", 60.0, answers=lambda at_s: wrong if 20 <= at_s < 26 else True
    )
    lines, playback = studio.replay(take)
    said, again = take.said(), told_by_replay(lines)
    assert {each for each in said if isinstance(each, str)} == {"refused" if wrong else "timeout"}
    assert playback.differing == 0
    assert again == said
