"""High fields and sensors that fail: over range, fold-over, silence, lost counts, garbage."""

import math

import pytest

from drivers.api import Sample
from drivers.errors import DriverError
from drivers.registry import find

SECONDS_OF_DAY = slice(11, 23)


def second(body):
    """The second of play that a sample's time stands for: plays begin at midnight."""
    hours, minutes, seconds = body["time"][SECONDS_OF_DAY].split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def rates(played, detector):
    """Second, dose rate, and flags of the reading, of each sample that speaks of a dose rate."""
    return [
        (second(body), reading)
        for body in played.kept["sample"]
        if body["detector"] == detector
        for reading in body["readings"]
        if reading["channel"] == "dose_rate"
    ]


# DT-35. Over range.


@pytest.fixture(scope="module")
def beyond(play):
    return play("dt-35-over-range.toml", kinds=("sample",))


def test_over_range_is_no_number_with_a_lower_bound(beyond):
    during = [reading for at, reading in rates(beyond, "area-1") if 62 <= at <= 120]
    assert len(during) == 30
    for reading in during:
        assert reading["value"] is None
        assert reading["flags"] == ["over_range"]
        assert reading["lower_bound"] == 10_000


def test_over_range_claims_what_it_proves_and_no_more(beyond):
    assert beyond.failed == []
    ((at_s, body),) = beyond.find(alarm="dose_rate")
    assert at_s == 62.0
    assert [each["level"] for each in body["levels"]] == ["R3", "R4", "R5", "R6", "R8"]
    assert (body["level"], body["priority"], body["latched"]) == ("R8", 1, True)
    assert (body["value"], body["peak"], body["lower_bound"]) == (None, None, 10_000)
    told = {each["level"] for body in beyond.events for each in body["levels"]}
    assert "R7" not in told


def test_an_over_range_alarm_has_no_number_for_its_peak(beyond):
    """What is measured afterwards was not the worst."""
    assert {body["peak"] for body in beyond.events} == {None}
    assert beyond.moments("peak") == []


def test_over_range_ends_after_ten_valid_seconds_and_stays_latched(beyond):
    first_valid = min(at for at, reading in rates(beyond, "area-1") if at > 62 and reading["value"])
    assert first_valid == 122.0
    assert beyond.moments("returned") == [132.0]
    assert beyond.moments("latched") == [132.0]
    assert beyond.moments("reset") == [180.0]
    ((_, body),) = beyond.find("returned")
    assert {each["left"] for each in body["levels"]} == {"2026-01-01T00:02:12.000Z"}
    refused, *_ = (answer for _, answer in beyond.play.answers)
    assert not refused.accepted
    assert "still true" in refused.reason


# DT-36. Fold-over.


def registered(true_cps):
    """A counter with 100 µs of paralysable dead time."""
    return true_cps * math.exp(-true_cps * 1e-4)


def test_the_computed_readings_of_a_folding_counter():
    assert registered(10_000) == pytest.approx(3679, abs=1)
    assert registered(2_320) == pytest.approx(1839, abs=1)
    assert registered(26_783) == pytest.approx(1839, abs=1)
    assert registered(100_000) == pytest.approx(4.5, abs=0.1)
    assert registered(200_000) < 0.001


@pytest.fixture(scope="module")
def folded(play):
    return play("dt-36-fold-over.toml", kinds=("sample",))


def test_what_folds_over_is_not_seen_and_then_suspect(folded):
    shown = dict(rates(folded, "area-1"))
    for at in (120.0, 130.0, 180.0):
        assert shown[at]["value"] == pytest.approx(1839, abs=1)
        assert shown[at]["flags"] == []
    for at, value in ((184.0, 4.5), (240.0, 4.5), (300.0, 0.0)):
        assert shown[at]["value"] == pytest.approx(value, abs=0.1)
        assert shown[at]["flags"] == ["suspect_fold_over"]


def test_a_fold_over_is_r8_and_holds_the_alarm(folded):
    assert folded.failed == []
    ((at_s, body),) = folded.find("escalated", level="R8")
    assert 182.0 <= at_s <= 184.0
    assert "suspect_fold_over" in body["flags"]
    assert (body["priority"], body["latched"], body["note"]) == (1, True, "suspect fold-over")
    assert body["rule"]["id"] == "fold_over"
    assert body["rule"]["parameters"]["top"] == pytest.approx(3679, abs=1)
    (record,) = folded.records()
    assert record.active
    assert not record.stale
    assert record.held == ("R3", "R4", "R5", "R6", "R8")


def counts_of(sample):
    (counts,) = [one["value"] for one in sample["readings"] if one["channel"] == "gamma_counts"]
    return counts


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_source_that_is_carried_away_clears_normally(play, seed):
    """2320 µSv/h fall to 1.7 within 30 s, through the middle of the range: nothing is suspect.

    The alarm takes back what the first reading beside the source might have taught: zeros of the
    background that follows are no loss of counts.
    """
    played = play("dt-36-carried-away.toml", seed, ("sample",))
    assert played.failed == []
    assert played.raised() == {"dose_rate": 1}
    ((at_s, body),) = played.find("returned")
    # 0.3 µSv/h above the background are left at 88 m, 19 s after the first 37 m; then 10 s. A run
    # of zeros, as a dead tube gives them as well, clears nothing: the first count after that does.
    counted = [second(sample) for sample in played.kept["sample"] if counts_of(sample)]
    assert at_s == next(at for at in counted if at >= 180)
    assert body["level"] == "R6"
    assert played.records() == []


# DT-38. Unplugged during an alarm.


@pytest.fixture(scope="module")
def unplugged(play):
    return play("dt-38-unplugged.toml")


def test_silence_is_told_within_three_missed_outputs(unplugged):
    assert unplugged.failed == []
    ((at_s, body),) = unplugged.find(alarm="silence")
    assert 30.0 < at_s <= 33.0
    assert (body["level"], body["priority"], body["text"]) == ("H1", 2, "unplugged")


def test_silence_clears_nothing(unplugged):
    """Active and stale for as long as nothing is heard, whoever acknowledges it."""
    away = [
        body
        for told, body in zip(unplugged.told, unplugged.events, strict=True)
        if body["alarm"] == "dose_rate" and 30.0 < told.at_s < 91.0
    ]
    assert [body["event"] for body in away] == ["acknowledged"]
    ((_, stale),) = unplugged.find("stale")
    for body in (stale, *away):
        assert (body["active"], body["stale"], body["level"]) == (True, True, "R5")
        assert body["raised"] == "2026-01-01T00:00:11.000Z"


def test_what_comes_back_clears_as_usual(unplugged):
    assert unplugged.moments("returned", alarm="silence") == [91.0]
    assert unplugged.moments("fresh") == [91.0]
    assert unplugged.moments("returned", alarm="dose_rate") == [101.0]
    assert unplugged.moments("closed", alarm="dose_rate") == [120.0]


# DT-39. Dead channels.

LOSS = math.log(1e9)
COUNTERS = {"fast": (20.0, 0.25, 120), "slow": (1.0, 1.0, 420), "slowest": (0.2, 2.0, 420)}
"""Counts and seconds between lines, and when each of them dies, having learned so long."""


@pytest.fixture(scope="module")
def dead(play_seeds):
    """Twenty runs with all three: each detector with the play that has it."""
    kinds = ("sample", "state")
    pagers = play_seeds("dt-39-dead-pager.toml", kinds=kinds)
    others = play_seeds("dt-39-dead-channels.toml", kinds=kinds)
    return [
        {"fast": pager, "slow": other, "slowest": other}
        for pager, other in zip(pagers, others, strict=True)
    ]


def test_the_computed_times_of_a_loss():
    """20.7 expected counts: 1.0, 21 and 104 s."""
    assert [round(LOSS / rate, 1) for rate, _, _ in COUNTERS.values()] == [1.0, 20.7, 103.6]


@pytest.mark.parametrize("detector", COUNTERS)
def test_lost_counts_are_told_in_time_and_not_before(dead, detector):
    """With the background that was learned, whose own chance moves the moment."""
    rate, period_s, dies_s = COUNTERS[detector]
    for played in (each[detector] for each in dead):
        assert played.failed == []
        ((at_s, body),) = played.find(alarm="loss_of_counts", detector=detector)
        statistic = body["statistic"]
        learned = statistic["expected_counts"] / statistic["window_s"]
        assert abs(learned - rate) < 4 * math.sqrt(rate / dies_s)
        assert statistic["p_value"] <= 1e-9
        usual_s = max(LOSS / learned, 3 * period_s)
        assert usual_s <= statistic["window_s"] < usual_s + period_s + 1e-6
        # Zeros that came by chance before it died count as well.
        assert 3 * period_s <= at_s - dies_s <= usual_s + period_s


@pytest.mark.parametrize("detector", COUNTERS)
def test_a_lost_counter_measures_no_zero(dead, detector):
    for played in (each[detector] for each in dead):
        ((lost, _),) = played.find(alarm="loss_of_counts", detector=detector)
        ((back, _),) = played.find("returned", alarm="loss_of_counts", detector=detector)
        told = [reading for at, reading in rates(played, detector) if lost <= at < back]
        zeros = [reading for reading in told if reading["value"] is None]
        # Above zero: the tube lives again and has counted nothing yet.
        assert all(reading["value"] is None or reading["value"] > 0 for reading in told)
        assert zeros
        assert all(reading["flags"] == ["loss_of_counts"] for reading in told)
        assert all(reading["raw"].startswith("0.0 ") for reading in zeros)
        states = [body for body in played.kept["state"] if body["detector"] == detector]
        assert "fault" in {body["state"] for body in states}


def test_a_counter_that_lives_again_raises_nothing(dead):
    """The zeros were no background that one could rise from: of 60 revivals none is a rise.

    A rise by chance is in the budget of 0.6 an hour for each play: in 4.7 h seven are too many.
    """
    plays = [each[name] for each in dead for name in ("fast", "slow")]
    assert sum(played.raised()["gamma_rise"] for played in plays) < 7
    back = [at for each in dead for at in each["fast"].moments(alarm="gamma_rise") if at >= 150]
    back += [at for each in dead for at in each["slow"].moments(alarm="gamma_rise") if at >= 600]
    assert len(back) <= 1
    assert not any(played.raised()["dose_rate"] for played in plays)


# DT-41. Garbage.


@pytest.fixture(scope="module")
def garbage(play):
    return play("dt-41-garbage.toml", kinds=("sample",))


def test_garbage_is_never_a_number_and_costs_no_line(garbage):
    assert garbage.failed == []
    told = rates(garbage, "hh-1")
    assert [at for at, _ in told if at < 40] == [float(at) for at in range(1, 40)]
    assert {reading["value"] for at, reading in told if at == int(at)} == {0.1}
    assert garbage.raised() == {"dose_rate": 1}


def test_the_same_words_where_the_format_has_a_place_for_them(garbage):
    """1.2E3 nSv/h; 20 µR/h with U+00B5, U+03BC and u; over range with its own words."""
    said = [(at, reading) for at, reading in rates(garbage, "hh-1") if at != int(at)]
    assert [at for at, _ in said] == [40.5, 41.5, 42.5, 43.5, 50.5]
    assert said[0][1]["value"] == pytest.approx(1.2)
    for (_, reading), micro in zip(said[1:4], "\u00b5\u03bcu", strict=True):
        assert reading["value"] == pytest.approx(0.2104)
        assert (reading["unit"], reading["raw"]) == ("\u00b5Sv/h", f"20 {micro}R/h")
    over = said[4][1]
    assert (over["value"], over["flags"], over["lower_bound"]) == (None, ["over_range"], 30)
    assert over["raw"] == "-OL-"


WORDS = ("-OL-", "OL", "over", "1.2E3", "0,12", " \u00b5R/h", " \u03bcR/h", "uR/h", "NaN", "")


def rapiscan(word):
    return f"GB,000410,{word},000420,000405\r\n".encode()


def bgeigie(word):
    body = f"BNRDD,2108,2013-12-06T13:03:58Z,{word},2,115,A,3145.7607,N,03510.1975,E,734.90,V,3,908"
    total = 0
    for byte in body.encode():
        total ^= byte
    return f"${body}*{total:02X}\r\n".encode()


def json_lines(word):
    number = word if word.isdecimal() else f'"{word}"'
    reading = f'{{"channel":"gamma_count_rate","value":{number},"unit":"1/s"}}'
    return f'{{"readings":[{reading}]}}\n'.encode()


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    ("name", "frame"),
    [("json-lines", json_lines), ("rapiscan-tsa-rpm", rapiscan), ("bgeigie-nmea", bgeigie)],
)
def test_no_driver_makes_a_number_of_a_word(name, frame, word):
    """A word in the place of a number costs that frame, and not the next one."""
    error, sample = find(name).create({}).feed(frame(word) + frame("12"))
    assert isinstance(error, DriverError)
    assert isinstance(sample, Sample)
    assert 12 in [reading.value for reading in sample.readings]


# DT-42. The trap of units.


def test_what_20_micro_roentgen_are(play):
    played = play("dt-42-unit-trap.toml", kinds=("sample",))
    assert played.failed == []
    expected = {
        "labelled": (0.200, ["vendor_convention"]),
        "caesium": (0.210, ["converted:exposure", "assumed_energy"]),
        "americium": (0.305, ["converted:exposure", "assumed_energy"]),
    }
    for detector, (value, flags) in expected.items():
        told = [reading for _, reading in rates(played, detector)]
        assert len(told) == 30
        for reading in told:
            assert reading["value"] == pytest.approx(value, abs=0.0005)
            assert (reading["unit"], reading["flags"]) == ("\u00b5Sv/h", flags)
            number, unit = reading["raw"].split()
            assert (float(number), unit) == (pytest.approx(20), "\u00b5R/h")
