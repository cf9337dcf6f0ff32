"""What a faulty line makes of bytes, with time as an argument."""

from random import Random

import pytest

from config.link_actions import Corruption, Delay, Echo, Flood, LateReply, Loss, Split
from drivers.api import DriverInfo, Verified
from simulators.api import Emission
from simulators.dialogue import VirtualSession
from simulators.link_faults import Wire

DATA = bytes(range(256)) * 4


def fault(model, do, **keys):
    return model(at_s=0.0, do=do, detector="d", **keys)


@pytest.fixture
def wire():
    return Wire(Random(1))


def arrived(pieces):
    return b"".join(piece.data for piece in pieces)


def test_a_sound_line_passes_everything_at_once(wire):
    (piece,) = wire.carry(3.0, DATA)
    assert (piece.due_s, piece.data, piece.whole) == (3.0, DATA, True)
    assert wire.is_sound


def test_pieces_have_their_size_and_gap_and_the_last_completes(wire):
    wire.begin(fault(Split, "split", size=100, gap_s=0.5))
    pieces = wire.carry(1.0, DATA)
    assert arrived(pieces) == DATA
    assert {len(piece.data) for piece in pieces[:-1]} == {100}
    assert [piece.due_s for piece in pieces] == pytest.approx([1 + n / 2 for n in range(11)])
    assert [piece.whole for piece in pieces] == [False] * 10 + [True]
    later = wire.carry(1.1, b"x")
    assert later[0].due_s >= pieces[-1].due_s + 0.5


def test_lost_bytes_are_gone_and_the_others_stay_in_order(wire):
    wire.begin(fault(Loss, "loss", share=0.25))
    (piece,) = wire.carry(0.0, DATA * 10)
    assert len(piece.data) == pytest.approx(0.75 * 10_240, rel=0.05)
    rest = iter(DATA * 10)
    assert all(byte in rest for byte in piece.data)
    assert not piece.whole


def test_a_corrupt_byte_differs_in_one_bit(wire):
    wire.begin(fault(Corruption, "corruption", share=0.25))
    (piece,) = wire.carry(0.0, DATA)
    changes = [one ^ other for one, other in zip(piece.data, DATA, strict=True)]
    assert {change.bit_count() for change in changes} == {0, 1}
    assert sum(map(bool, changes)) == pytest.approx(256, rel=0.2)
    assert len({change for change in changes if change}) == 8
    assert not piece.whole


def test_what_chance_spares_is_whole(wire):
    wire.begin(fault(Loss, "loss", share=1e-9))
    assert wire.carry(0.0, DATA)[0].whole


def test_late_bytes_never_overtake(wire):
    wire.begin(fault(Delay, "delay", delay_s=1.0, jitter_s=5.0))
    dues = [wire.carry(n / 10, b"x")[0].due_s for n in range(50)]
    assert dues == sorted(dues)
    assert all(due - n / 10 >= 1.0 for n, due in enumerate(dues))
    wire.mend()
    assert wire.carry(5.0, b"x")[0].due_s >= dues[-1]
    assert wire.carry(100.0, b"x")[0].due_s == 100.0


def test_so_many_answers_are_late(wire):
    wire.begin(fault(LateReply, "late_reply", late_s=0.7, count=2))
    late = [wire.carry(10.0 * n, b"x")[0].due_s - 10.0 * n for n in range(4)]
    assert late == pytest.approx([0.7, 0.7, 0.0, 0.0])
    assert wire.is_sound


def test_the_end_of_one_fault_is_not_that_of_the_next_of_its_kind(wire):
    first, second = (fault(Loss, "loss", share=share) for share in (0.1, 1.0))
    wire.begin(first)
    wire.begin(second)
    assert not wire.end(first)
    assert arrived(wire.carry(0.0, DATA)) == b""
    assert wire.end(second)
    assert wire.carry(1.0, DATA)[0].whole


def test_a_flood_is_printable_without_an_end_of_line(wire):
    flood = fault(Flood, "flood", rate=10_000)
    wire.begin(flood)
    noise = wire.noise(flood, 0.5)
    assert len(noise) == 5000
    assert noise.isascii()
    assert not set(noise) & set(b"\r\n\x02\x03 ")


def test_equal_seeds_give_equal_damage():
    found = []
    for _ in range(2):
        wire = Wire(Random("7 d wire"))
        wire.begin(fault(Corruption, "corruption", share=0.1))
        wire.begin(fault(Split, "split", size=3, gap_s=0.1))
        wire.begin(fault(Delay, "delay", delay_s=0.1, jitter_s=1.0))
        found.append([wire.carry(n, DATA) for n in range(5)])
    assert found[0] == found[1]


class Talker:
    """Sends a line each second that says what number it has."""

    def __init__(self):
        self.sent = 0

    def advance(self, to_s, field):
        said = []
        while self.sent + 1 <= to_s:
            self.sent += 1
            said.append(Emission(float(self.sent), b"%04d\n" % self.sent, {"n": self.sent}))
        return said

    def receive(self, at_s, data, field):
        return ()


class Bytes:
    """A listener that keeps what it gets."""

    def __init__(self):
        self.got = bytearray()

    def hello(self):
        return b"hello"

    def interrupted(self):
        pass

    def feed(self, data):
        self.got += data
        return iter(())


def session(wire):
    info = DriverInfo(
        "toy", "Toy", "listener", (), (), (), "none", Verified.CONSTRUCTED, 1.0, lambda _: None
    )
    heard, driver = [], Bytes()
    made = VirtualSession(info, driver, Talker(), None, wire=wire, witness=heard.append)
    return made, driver, heard


def test_in_virtual_time_only_what_arrives_unharmed_says_something(wire):
    made, driver, heard = session(wire)
    list(made.run(10.5))
    wire.begin(fault(Loss, "loss", share=0.1))
    list(made.run(110.5))
    wire.mend()
    list(made.run(120.5))
    told = [emission.says["n"] for emission in heard if emission.says]
    assert told[:10] == [*range(1, 11)]
    assert told[-10:] == [*range(111, 121)]
    assert 40 < len(told[10:-10]) < 75
    assert all(b"%04d\n" % n in driver.got for n in told)


def test_in_virtual_time_an_echoing_line_says_hello_back(wire):
    wire.begin(fault(Echo, "echo"))
    made, driver, _ = session(wire)
    list(made.run(2.5))
    assert bytes(driver.got) == b"hello0001\n0002\n"
