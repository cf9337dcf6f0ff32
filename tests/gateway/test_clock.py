"""The ticker: many waiters, one timer. Loop time is the test's own."""

import asyncio
from random import Random

import pytest

from gateway.backoff import BackOff, BackOffLimits
from gateway.clock import Ticker, boot_id, system_now
from gateway.notify import Notifier


def timers(loop):
    return [handle for handle in loop._scheduled if not handle.cancelled()]


async def test_many_waiters_share_one_timer_and_wake_together():
    loop = asyncio.get_running_loop()
    before = len(timers(loop))
    ticker = Ticker(0.02)
    due = loop.time() + 0.03
    waiting = [asyncio.create_task(ticker.until(due + i * 1e-6)) for i in range(50)]
    await asyncio.sleep(0)
    assert len(timers(loop)) <= before + 2  # two ticks at most
    await asyncio.gather(*waiting)
    assert loop.time() >= due
    assert len(timers(loop)) == before


async def test_wakes_in_order_and_never_early():
    loop = asyncio.get_running_loop()
    ticker, woken = Ticker(0.005), []
    start = loop.time()

    async def wait(name, after_s):
        await ticker.until(start + after_s)
        woken.append(name)
        assert loop.time() >= start + after_s - 1e-6

    await asyncio.gather(wait("c", 0.03), wait("a", 0.01), wait("b", 0.02), wait("now", -1.0))
    assert woken == ["now", "a", "b", "c"]


async def test_a_cancelled_waiter_leaves_the_others():
    loop = asyncio.get_running_loop()
    ticker = Ticker(0.005)
    due = loop.time() + 0.01
    first, second = (asyncio.create_task(ticker.until(due)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert first.cancelled()
    await ticker.until(loop.time())


def test_system_now_has_both_clocks():
    first, second = system_now(), system_now()
    assert second.mono >= first.mono
    assert first.wall > 1.7e9


def test_back_off_doubles_to_its_cap_and_forgets():
    backoff = BackOff(BackOffLimits(0.5, 15.0, 0.0), Random(1))
    assert [backoff.wait_s() for _ in range(7)] == [0.5, 1, 2, 4, 8, 15, 15]
    assert backoff.tries == 7
    backoff.succeeded()
    assert backoff.wait_s() == 0.5


def test_back_off_jitter_only_shortens():
    backoff = BackOff(BackOffLimits(1.0, 1.0, 0.3), Random(1))
    waits = [backoff.wait_s() for _ in range(200)]
    assert 0.7 <= min(waits) < 0.75
    assert 0.95 < max(waits) <= 1.0


def test_notifier_tells_systemd_and_never_blocks(tmp_path):
    import socket

    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        notifier = Notifier({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "15000000"})
        notifier.ready("3 detectors")
        notifier.stopping()
        assert listener.recv(100) == b"READY=1\nSTATUS=3 detectors"
        assert listener.recv(100) == b"STOPPING=1"
        for _ in range(2000):
            notifier.alive()
    notifier.alive()
    assert notifier.watchdog_s == 15.0


@pytest.mark.parametrize(
    "environment", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}]
)
def test_no_watchdog(environment):
    notifier = Notifier(environment)
    assert notifier.watchdog_s is None
    notifier.ready("nobody listens")


def test_the_boot_is_named_by_the_service_manager_where_it_is_hidden():
    assert boot_id({"DOSEGATE_BOOT": "b1"}) == "b1"
    assert boot_id({}) == boot_id({"DOSEGATE_BOOT": ""})
