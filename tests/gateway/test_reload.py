"""SIGHUP: a good configuration goes on with the same alarms, a bad one changes nothing."""

import asyncio
import os
import signal

import pytest

from drivers.api import Channel, Quantity, Reading, Sample
from gateway.alarms.profiles import ProfileError
from gateway.app import Gateway
from gateway.notify import Notifier
from gateway.values import Command
from gateway.verbs import run

CONFIGURATION = """
[gateway]
id = "north"
state_dir = "{folder}/state"
control_socket = "{folder}/control.sock"

[alarms]
off_delay_s = {off_delay_s}

[[detector]]
id = "d"
driver = "thermo-radeye"
link = {{ kind = "serial", port = "{folder}/tty-d" }}
"""
ANOTHER = """
[[detector]]
id = "e"
driver = "thermo-radeye"
link = {{ kind = "serial", port = "{folder}/tty-e" }}
"""


class Told(Notifier):
    """What systemd would be told."""

    def __init__(self):
        super().__init__({})
        self.said = []
        self._more = asyncio.Event()

    def ready(self, text):
        self._say("ready")

    def reloading(self, mono):
        self._say("reloading")

    def stopping(self):
        self._say("stopping")

    def _say(self, word):
        self.said.append(word)
        self._more.set()

    async def until(self, *said):
        async with asyncio.timeout(10):
            while tuple(self.said) != said:
                self._more.clear()
                await self._more.wait()


class Service:
    """The daemon on this loop, its file, and the gateways that it ran."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "dosegate.toml"
        self.gateways, self.notifier = [], Told()
        self.write()

    def write(self, more="", off_delay_s=10):
        text = CONFIGURATION + more
        self.file.write_text(text.format(folder=self.folder, off_delay_s=off_delay_s))

    def start(self):
        configuration = run.load_or_complain(self.file)
        self.task = asyncio.create_task(run.serve_all(configuration, self.notifier, self.file))

    @property
    def gateway(self):
        return self.gateways[-1]

    def measure(self, value, detector="d"):
        rate = Quantity.AMBIENT_DOSE_EQUIVALENT_RATE
        sample = Sample((Reading(Channel.DOSE_RATE, value, "µSv/h", rate),))
        self.gateway.deliver(detector, sample, self.gateway.now)

    def alarm(self):
        alarms = self.gateway._pipeline.engine.active()
        (found,) = [one for one in alarms if one.alarm == "dose_rate"]
        return found

    def send(self, number):
        os.kill(os.getpid(), number)

    async def end(self):
        self.send(signal.SIGTERM)
        async with asyncio.timeout(10):
            await self.task


@pytest.fixture
async def service(tmp_path, monkeypatch):
    service = Service(tmp_path)

    class Kept(Gateway):
        def __init__(self, configuration, **more):
            if len(configuration.detector) > 2:
                raise ProfileError("detector", "cannot be made")
            super().__init__(configuration, **more)

        async def run(self):
            service.gateways.append(self)
            await super().run()

    monkeypatch.setattr(run, "Gateway", Kept)
    monkeypatch.setattr(run.logs, "set_up", lambda *args, **more: None)
    service.start()
    await service.notifier.until("ready")
    yield service
    if not service.task.done():
        await service.end()


async def test_a_new_configuration_goes_on_with_the_same_alarms(service):
    service.measure(150.0)
    before = service.alarm()
    command = Command("acknowledge", "anna", "c", (("occurrence", before.occurrence),))
    assert (await service.gateway.execute(command)).accepted
    order = {"detector": "d", "level": "R3", "duration_s": 3600, "reason": "known"}
    shelve = Command("shelve", "anna", "c", tuple(order.items()))
    assert (await service.gateway.execute(shelve)).accepted
    service.write(ANOTHER)
    service.send(signal.SIGHUP)
    await service.notifier.until("ready", "reloading", "ready")
    assert len(service.gateways) == 2
    after = service.alarm()
    assert (after.occurrence, after.level, after.active) == (before.occurrence, "R5", True)
    assert (after.acknowledged_by, after.stale) == ("anna", True)
    assert set(service.gateway._pipeline.health()) == {"d", "e"}
    engine = service.gateway._pipeline.engine
    assert "R3 shelved by anna: known" in str(engine.detector("d").conditions(service.gateway.now))
    service.measure(150.0)
    assert service.alarm().occurrence == before.occurrence
    await service.end()
    assert service.notifier.said[-1] == "stopping"
    assert service.notifier.said.count("stopping") == 1


@pytest.mark.parametrize(
    "broken",
    [
        "[gateway",
        "[gateway]\nid = 'north'\nnonsense = 1\n",
        None,  # the file is gone
        "no gateway",
    ],
)
async def test_a_broken_configuration_is_refused_and_changes_nothing(service, broken, capsys):
    service.measure(150.0)
    before, first = service.alarm(), service.gateway
    if broken is None:
        service.file.unlink()
    elif broken == "no gateway":  # right as far as it goes
        service.write(ANOTHER + ANOTHER.replace('"e"', '"f"').replace("-e", "-f"))
    else:
        service.file.write_text(broken)
    service.send(signal.SIGHUP)
    await service.notifier.until("ready", "reloading", "ready")
    assert capsys.readouterr().err
    assert service.gateways == [first]
    assert not service.task.done()
    assert service.alarm().occurrence == before.occurrence
    service.measure(2e5)
    assert service.alarm().level == "R7"
    service.write()
    service.send(signal.SIGHUP)
    await service.notifier.until("ready", "reloading", "ready", "reloading", "ready")
    assert len(service.gateways) == 2


async def test_a_stop_during_a_reload_stops(service):
    service.send(signal.SIGHUP)
    await service.notifier.until("ready", "reloading")
    service.send(signal.SIGTERM)
    async with asyncio.timeout(10):
        await service.task
    assert len(service.gateways) == 1


async def test_a_reload_during_a_stop_stops(service):
    service.send(signal.SIGTERM)
    service.send(signal.SIGHUP)
    async with asyncio.timeout(10):
        await service.task
    assert len(service.gateways) == 1
    assert service.notifier.said == ["ready", "stopping"]


async def test_the_newest_of_two_reloads_counts(service):
    service.send(signal.SIGHUP)
    await service.notifier.until("ready", "reloading")
    service.write(ANOTHER)
    service.send(signal.SIGHUP)
    await service.notifier.until("ready", "reloading", "reloading", "ready")
    assert set(service.gateway._pipeline.health()) == {"d", "e"}


async def test_without_a_place_for_its_journal_it_goes_on_in_memory(service, tmp_path):
    (tmp_path / "file").write_text("no folder")
    text = service.file.read_text().replace(f"{tmp_path}/state", f"{tmp_path}/file")
    service.file.write_text(text)
    service.send(signal.SIGHUP)
    await service.notifier.until("ready", "reloading", "ready")
    assert not service.gateway._parts.journal.durable
