"""What a tap lets a recorder hear, and what it never does."""

import json
from dataclasses import replace
from random import Random

import pytest

from config.models import Configuration
from drivers.api import Option
from drivers.codec.recording import Kind, encode_header
from drivers.registry import find
from gateway.recorder.recorder import header_of
from gateway.tap import KEPT_BYTES, WARY_S, Tap
from simulators.registry import find as find_instrument

CANARY = b"CANARY-wifi-password"


class Track:
    def __init__(self):
        self.pieces = []

    def add(self, piece):
        self.pieces.append(piece)

    @property
    def told(self):
        return [(str(piece.kind), piece.data, piece.secret) for piece in self.pieces]


class Clock:
    now = 1.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tap(clock):
    return Tap(clock)


def test_nothing_is_kept_while_nobody_records(tap):
    tap.opened()
    tap.sent(b"?")
    tap.received(b"!")
    assert not tap.is_on
    assert tap.beginning == ()
    track = Track()
    tap.join(track)
    assert track.pieces == []
    tap.received(b"!")
    tap.leave(track)
    tap.received(b"!")
    assert track.told == [("rx", b"!", False)]


def test_how_it_was_identified_is_kept_for_who_comes_later(tap):
    tap.opened()
    tap.identifying()
    tap.sent(b"who")
    tap.received(b"me")
    tap.identified("7")
    assert not tap.is_on
    assert [piece.data for piece in tap.beginning] == [b"", b"who", b"me", b""]
    assert tap.serial == "7"
    tap.closed()
    assert tap.beginning == ()


def test_an_endless_identification_is_not_kept(tap):
    tap.identifying()
    for _ in range(KEPT_BYTES // 1000):
        tap.received(bytes(1000))
    assert not tap.is_identifying
    tap.identified(None)
    assert tap.beginning == ()
    assert not tap.is_on


def test_what_follows_a_secret_is_held_back_until_a_cycle_made_sense(tap):
    track = Track()
    tap.join(track)
    tap.doubt()
    tap.received(b"secret", secret=True)
    tap.sent(b"?")
    tap.received(b"answer")
    assert track.pieces == []
    tap.settled(clean=True)
    assert track.told == [("rx", b"", True), ("tx", b"?", False), ("rx", b"answer", False)]
    assert track.pieces[0].count == 6
    tap.received(b"more")
    assert track.told[-1] == ("rx", b"more", False)


def test_a_late_rest_of_a_secret_is_secret_for_a_minute_and_on_a_new_connection(tap, clock):
    track = Track()
    tap.join(track)
    tap.doubt()
    tap.received(b"sec", secret=True)
    tap.received(b"ret")
    tap.settled(clean=False)
    tap.received(b"and more of it")
    tap.settled(clean=True)
    tap.closed()
    tap.received(b"and more")
    clock.now += WARY_S - 1
    tap.settled(clean=True)
    assert [told for told in track.told if told[1]] == []
    clock.now += 1
    tap.received(b"after")
    tap.settled(clean=True)
    assert track.told[-1] == ("rx", b"after", False)


def test_what_nobody_asked_for_is_secret_for_a_minute(tap, clock):
    track = Track()
    tap.join(track)
    tap.doubt()
    tap.received(b"secret", secret=True)
    tap.received(b"answer")
    tap.settled(clean=True)
    tap.received(b"rest", unasked=True)
    assert track.told[-1] == ("rx", b"", True)
    clock.now += WARY_S
    tap.received(b"heartbeat", unasked=True)
    assert track.told[-1] == ("rx", b"heartbeat", False)


def test_a_secret_that_did_not_come_may_still_come(tap):
    track = Track()
    tap.join(track)
    tap.doubt()
    tap.suspect()
    tap.identified("1")
    tap.received(b"rest")
    tap.settled(clean=True)
    assert track.told[-1] == ("rx", b"", True)


def test_a_secret_that_has_to_be_asked_for_twice_may_still_come(tap, clock):
    track = Track()
    tap.join(track)
    tap.doubt()
    tap.doubt()
    tap.identified("1")
    tap.received(b"answer")
    tap.settled(clean=True)
    assert track.told[-1] == ("rx", b"", True)


def test_a_cycle_without_an_answer_proves_nothing(tap):
    track = Track()
    tap.join(track)
    tap.doubt()
    tap.settled(clean=True)
    tap.received(b"rest")
    tap.settled(clean=False)
    assert track.told == [("rx", b"", True)]


def test_a_flood_after_a_secret_is_not_held_for_ever(tap):
    track = Track()
    tap.join(track)
    tap.doubt()
    for _ in range(3 * KEPT_BYTES // 1000):
        tap.received(bytes(1000))
    assert len(track.pieces) > KEPT_BYTES // 1000
    assert all(piece.secret for piece in track.pieces)


class Leaky:
    """A GMC whose configuration holds a password; ``parts`` are delays and (from, to) of it."""

    def __init__(self, *parts):
        self._instrument = find_instrument("gq-gmc")({}, Random(3), None)
        self._parts = parts

    def advance(self, to_s, field):
        return self._instrument.advance(to_s, field)

    def receive(self, at_s, data, field):
        emissions = self._instrument.receive(at_s, data, field)
        if b"GETCFG" not in data:
            return emissions
        (whole,) = emissions
        leaky = whole.data + CANARY
        return [
            replace(whole, at_s=whole.at_s + delay, data=leaky[begin:end])
            for delay, begin, end in self._parts
        ]


SIZE = 256
END = SIZE + len(CANARY)
LEAKS = {
    "at once": [(0.0, 0, END)],
    "in two": [(0.0, 0, 200), (0.01, 200, END)],
    "the rest in place of the next answer": [(0.0, 0, SIZE), (0.06, SIZE, END)],
    "the rest between cycles": [(0.0, 0, SIZE), (1.3, SIZE, END)],
    "half of it after the timeout": [(0.0, 0, 128), (3.2, 128, END)],
    "the rest after the last try": [(0.0, 0, 128), (3.02, 128, 200), (4.1, SIZE, END)],
    "very late": [(0.0, 0, 128), (12.0, SIZE, END)],
}


@pytest.mark.parametrize("since_s", [0.0, 30.0])
@pytest.mark.parametrize("parts", LEAKS.values(), ids=LEAKS)
def test_the_wifi_password_of_a_gmc_is_nowhere(studio, since_s, parts):
    take = studio.record("gq-gmc", 100.0, since_s=since_s, instrument=Leaky(*parts))
    pieces = take.recording.pieces
    everything = b"".join(piece.data for piece in pieces)
    for part in (CANARY, CANARY[:6], CANARY[8:], b"wifi"):
        assert part not in everything
        assert part.hex() not in take.text
        assert part.decode() not in take.text
    assert any(b"GETCFG" in piece.data for piece in pieces)
    assert any(piece.secret and piece.count for piece in pieces)
    assert any(piece.kind is Kind.RECEIVED and piece.data for piece in pieces)


def test_options_that_are_free_text_are_left_out():
    def option(name, default, *choices):
        return Option(name, default, "made up", choices)

    options = (option("token", ""), option("size", 1), option("unit", "", "", "m"))
    info = replace(find("json-lines"), options=options)
    detector = Configuration.model_validate(
        {
            "gateway": {"id": "g"},
            "detector": [
                {
                    "id": "d",
                    "driver": "json-lines",
                    "options": {"token": "CANARY", "size": 7, "unit": "m"},
                    "link": {"kind": "serial", "port": "/dev/ttyCANARY"},
                }
            ],
        }
    ).detector[0]
    line = encode_header(header_of(detector, info))
    assert "CANARY" not in line
    assert json.loads(line)["options"] == {"size": 7, "unit": "m"}


def test_the_header_names_no_host_and_no_free_text(studio):
    take = studio.record("thermo-radeye", 5.0, options={"bcc": "reject", "dose_step_usv": 0.1})
    header = json.loads(take.text.splitlines()[0])
    assert "secret-host" not in take.text
    assert header == {
        "recording": 1,
        "driver": "thermo-radeye",
        "detector": "d",
        "class": "Personal Radiation Detector",
        "link": "tcp",
        "started": "2026-05-02T14:03:10.000Z",
        "gateway": header["gateway"],
        "identified": "2026-05-02T14:03:10.000Z",
        "options": {"bcc": "reject", "dose_step_usv": 0.1},
    }
