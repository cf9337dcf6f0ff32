"""The watchdog is withheld while anything stands still, and never for what only waits."""

from gateway.publisher.values import PublisherCounters, PublisherState
from gateway.vitality import JOURNAL_S, PUBLISHER_S, STUCK_S, Vitality


class Committer:
    busy_since = unstored_since = None
    is_moving = True


class Publisher:
    def __init__(self, state=PublisherState.ONLINE):
        self.counters = PublisherCounters(state=state)


def made(**publishers):
    committer = Committer()
    return committer, Vitality(committer, publishers, 0.0)


def test_all_well():
    _, vitality = made()
    vitality.mark(100.0)
    assert vitality.standing(0, 100.0 + STUCK_S) == []


def test_a_tick_that_does_not_turn():
    _, vitality = made()
    assert vitality.standing(0, STUCK_S + 0.1) == ["tick"]


def test_a_committer_that_does_not_come_back_or_keep_up():
    committer, vitality = made()
    committer.busy_since = 5.0
    vitality.mark(20.0)
    assert vitality.standing(0, 14.0) == []
    assert vitality.standing(0, 15.1) == ["committer"]
    committer.busy_since, committer.is_moving = None, False
    assert vitality.standing(0, 15.1) == ["committer"]


def test_a_writer_that_hangs_and_one_that_is_told_no():
    committer, vitality = made()
    committer.unstored_since = 10.0
    later = 10.0 + JOURNAL_S + 1.0
    vitality.mark(later)
    assert vitality.standing(0, later) == ["journal"]
    assert vitality.standing(1, later) == []  # the disk answered, if only that it cannot
    later += JOURNAL_S - 1.0
    vitality.mark(later)
    assert vitality.standing(1, later) == []
    later += 2.0
    vitality.mark(later)
    assert vitality.standing(1, later) == ["journal"]


def test_a_journal_in_memory_is_not_stuck():
    committer, vitality = made()
    committer.unstored_since = 10.0
    vitality.mark(1000.0)
    assert vitality.standing(None, 1000.0) == []


def test_a_connected_publisher_that_sends_nothing_is_named_once_in_its_time():
    publisher = Publisher()
    _, vitality = made(hall=publisher)
    found = []
    for second in range(0, int(3 * PUBLISHER_S), 5):
        found += [(name, second) for name in vitality.silent_publishers(float(second))]
    assert [name for name, _ in found] == ["hall", "hall"]
    assert found[0][1] == PUBLISHER_S + 5


def test_one_that_sends_or_has_no_connection_is_left_alone():
    sending, waiting = Publisher(), Publisher(PublisherState.WAITING)
    _, vitality = made(hall=sending, centre=waiting)
    for second in range(0, 600, 5):
        sending.counters.sent += second % 10 == 0
        assert vitality.silent_publishers(float(second)) == []
