"""The clock of a stage, in a loop whose time jumps."""

import asyncio

import pytest

from simulators.stage_clock import FASTEST, BadSpeed, StageClock


def test_it_stands_at_zero_until_it_is_started(virtually):
    async def play():
        clock = StageClock()
        await asyncio.sleep(5)
        assert clock.now_s() == 0
        assert clock.wait_s(1) is None
        clock.start()
        await asyncio.sleep(5)
        assert clock.now_s() == pytest.approx(5)

    virtually(play())


def test_speeds_and_pauses_add_up(virtually):
    async def play():
        clock = StageClock(4)
        clock.start()
        await asyncio.sleep(2)
        clock.set_speed(0.5)
        await asyncio.sleep(2)
        clock.pause()
        clock.set_speed(2)
        await asyncio.sleep(100)
        assert clock.now_s() == pytest.approx(9)
        clock.resume()
        clock.resume()
        await asyncio.sleep(1)
        return clock.now_s()

    assert virtually(play()) == pytest.approx(11)


@pytest.mark.parametrize("speed", [0.0, -1.0, FASTEST * 2, float("nan"), float("inf")])
def test_what_is_no_speed_is_refused_and_changes_nothing(virtually, speed):
    with pytest.raises(BadSpeed):
        StageClock(speed)

    async def play():
        clock = StageClock(2)
        clock.start()
        with pytest.raises(BadSpeed):
            clock.set_speed(speed)
        await asyncio.sleep(1)
        return clock.now_s()

    assert virtually(play()) == pytest.approx(2)


def test_who_waits_for_a_time_wakes_then_however_the_clock_goes(virtually):
    async def play():
        clock, loop = StageClock(1, paused=True), asyncio.get_running_loop()
        clock.start()
        began = loop.time()
        waiting = asyncio.create_task(clock.until(10))
        await asyncio.sleep(3)
        clock.resume()
        await asyncio.sleep(2)
        clock.set_speed(4)
        await asyncio.sleep(1)
        clock.pause()
        await asyncio.sleep(7)
        assert not waiting.done()
        clock.resume()
        await waiting
        return loop.time() - began

    # 3 s still, 2 s at 1, 1 s at 4, 7 s still, and 4 s of play are left at 4.
    assert virtually(play()) == pytest.approx(14, abs=0.01)


def test_sleepers_are_woken_together(virtually):
    async def play():
        clock, loop = StageClock(), asyncio.get_running_loop()
        clock.start()
        woken = []

        async def sleep(at_s):
            await clock.sleep(at_s, 0.02)
            woken.append(loop.time())

        await asyncio.gather(*(sleep(1 + n / 1000) for n in range(1, 10)))
        return woken

    assert len(set(virtually(play()))) == 1
