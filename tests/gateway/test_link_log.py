"""What is logged of links: changes at once, what stays the same once a minute."""

from random import Random

import pytest
from structlog.testing import capture_logs

from config.models import Configuration
from gateway.app import Gateway
from gateway.link_log import AGAIN_S
from gateway.values import Instant, LinkState

WAITING, READING, OPENING = LinkState.WAITING, LinkState.READING, LinkState.OPENING


class Clock:
    def __init__(self):
        self.mono = 1000.0

    def __call__(self):
        return Instant(1_780_000_000.0 - self.mono, self.mono)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gateway(clock, tmp_path):
    told = {
        "gateway": {
            "id": "north",
            "state_dir": str(tmp_path / "state"),
            "control_socket": str(tmp_path / "control.sock"),
        },
        "detector": [
            {
                "id": name,
                "driver": "thermo-radeye",
                "link": {"kind": "serial", "port": f"/dev/{name}"},
            }
            for name in ("hh-1", "hh-2")
        ],
    }
    return Gateway(Configuration.model_validate(told), now=clock, random=Random(1))


@pytest.fixture
def report(gateway):
    """Reports and returns what was logged."""

    def run(detector, state, reason=""):
        with capture_logs() as lines:
            gateway.report(detector, state, reason)
        return [(line["event"], line["detector"], line.get("reason")) for line in lines]

    return run


def test_retries_with_the_same_reason_are_logged_once_a_minute(report, clock):
    count = 0
    for _ in range(240):
        report("hh-1", OPENING)
        count += len(report("hh-1", WAITING, "refused"))
        clock.mono += 1.0
    assert count == 240 / AGAIN_S


def test_a_new_reason_or_state_is_logged_at_once(report):
    assert report("hh-1", WAITING, "refused") == [("link_down", "hh-1", "refused")]
    assert report("hh-1", WAITING, "refused") == []
    assert report("hh-1", WAITING, "no such host") == [("link_down", "hh-1", "no such host")]
    assert report("hh-1", READING) == [("link_up", "hh-1", None)]
    assert report("hh-1", WAITING, "no such host") == [("link_down", "hh-1", "no such host")]


def test_each_detector_is_logged_by_itself(report):
    assert report("hh-1", WAITING, "refused")
    assert report("hh-2", WAITING, "refused")
    assert not report("hh-1", WAITING, "refused")
