"""No task ends unseen: some are begun again, the others take the gateway with them."""

import asyncio

import pytest

from gateway import supervision
from gateway.supervision import Supervisor, TaskEnded


class Runs:
    """A piece of work that counts its beginnings."""

    def __init__(self, *ends):
        self.begun, self.ends, self.more = 0, list(ends), asyncio.Event()

    async def work(self):
        self.begun += 1
        self.more.set()
        if self.ends:
            end = self.ends.pop(0)
            if end is not None:
                raise end
            return
        await asyncio.Event().wait()

    async def until(self, begun):
        async with asyncio.timeout(5):
            while self.begun < begun:
                self.more.clear()
                await self.more.wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(supervision, "AGAIN_S", 0.001)


async def stopped(supervisor):
    supervisor.ending()
    await supervisor.cancel(supervisor.names())


async def test_what_is_kept_is_begun_again_however_it_ends():
    runs = Runs(None, RuntimeError("defect"), None)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        supervisor = Supervisor(group)
        supervisor.kept("publisher hall", runs.work)
        await runs.until(4)
        (task,) = [one for one in asyncio.all_tasks() if one.get_name() == "publisher hall"]
        task.cancel()
        await runs.until(5)
        assert supervisor.restarts == {"publisher hall": 4}
        await stopped(supervisor)
    supervisor.check()
    assert runs.begun == 5


@pytest.mark.parametrize("end", ["cancel", "return"])
async def test_the_end_of_what_is_needed_wakes_the_gateway(end):
    runs = Runs() if end == "cancel" else Runs(None)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        supervisor = Supervisor(group)
        supervisor.needed("committer", runs.work())
        if end == "cancel":
            await runs.until(1)
            (task,) = [one for one in asyncio.all_tasks() if one.get_name() == "committer"]
            task.cancel()
        await supervisor.until(asyncio.Event())
        await stopped(supervisor)
    with pytest.raises(TaskEnded, match="committer"):
        supervisor.check()


async def test_an_exception_of_what_is_needed_ends_the_group():
    async def live():
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            supervisor = Supervisor(group)
            try:
                supervisor.needed("tick", Runs(ZeroDivisionError()).work())
                supervisor.kept("session d", Runs().work)
                await supervisor.until(asyncio.Event())
            finally:
                supervisor.ending()

    with pytest.raises(ExceptionGroup) as caught:
        await live()
    assert caught.value.subgroup(ZeroDivisionError)


async def test_an_orderly_end_is_no_failure():
    runs, stop = Runs(), asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        supervisor = Supervisor(group)
        supervisor.kept("publisher hall", runs.work)
        supervisor.needed("tick", Runs().work())
        stop.set()
        await supervisor.until(stop)
        await stopped(supervisor)
    supervisor.check()
    assert not supervisor.restarts
