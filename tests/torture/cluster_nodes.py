"""Clusters of three brokers on loopback, each with its own ports and folders: NATS and RabbitMQ.

Sources: docs.nats.io, "Configuring MQTT"; rabbitmq.com, "MQTT Plugin" and "Cluster Formation" for
version 3.10. Both speak MQTT 3.1.1 here.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

START_S: Final = 90.0
STOP_S: Final = 15.0
NODES: Final = 3
RABBIT: Final = next(iter(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin")), None)
NATS: Final = shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin")
EPMD: Final = shutil.which("epmd")


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on, all different."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def answers(port: int) -> bool:
    """Whether somebody speaks MQTT 3.1.1 there and lets a client in."""
    hello = bytes.fromhex("10 11 0004 4d515454 04 02 0000 0005") + b"probe"
    with closing(socket.socket()) as probe:
        probe.settimeout(2)
        try:
            probe.connect(("127.0.0.1", port))
            probe.sendall(hello)
            return probe.recv(4) == bytes.fromhex("20 02 00 00")
        except OSError:
            return False


class Cluster:
    """Three nodes; ``ports`` are those that speak MQTT."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = free_ports(NODES)
        self._running: list[subprocess.Popen[bytes]] = []
        self._commands: list[tuple[str, Sequence[str | Path], Mapping[str, str]]] = []
        self._others: list[subprocess.Popen[bytes]] = []

    @property
    def urls(self) -> list[str]:
        """For the list of a sink."""
        return [f"mqtt://127.0.0.1:{port}" for port in self.ports]

    def start(self) -> None:
        """Returns when every node answers."""
        raise NotImplementedError

    def kill(self, node: int) -> None:
        """Ends one node as a crash would, with all its processes."""
        _kill(self._running[node])

    def revive(self, node: int) -> None:
        """Starts it again, on what it had on disk; returns when it answers."""
        self._running[node] = self._begin(*self._commands[node])
        self._await_all()

    def stop(self) -> None:
        """Leaves no process behind."""
        for process in (*self._running, *self._others):
            _kill(process)

    def _add(self, name: str, command: Sequence[str | Path], more: Mapping[str, str]) -> None:
        self._commands.append((name, command, more))
        self._running.append(self._begin(name, command, more))

    def _begin(
        self, name: str, command: Sequence[str | Path], more: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={**os.environ, **more},
                start_new_session=True,
            )

    def _await_all(self) -> None:
        deadline = time.monotonic() + START_S
        while not all(answers(port) for port in self.ports):
            assert time.monotonic() < deadline, f"not up, see {self.folder}/*.log"
            for process in self._running:
                assert process.poll() is None, f"a node ended, see {self.folder}/*.log"
            time.sleep(0.2)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Its whole group: a node's helpers are children of its own."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait(STOP_S)


class Nats(Cluster):
    """NATS with JetStream; everything is kept on all three nodes."""

    def start(self) -> None:
        """Returns when every node answers."""
        routes = free_ports(NODES)
        known = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
        assert NATS is not None
        for number, (port, route) in enumerate(zip(self.ports, routes, strict=True), 1):
            config = self.folder / f"nats-{number}.conf"
            config.write_text(
                f"server_name: n{number}\n"
                "listen: 127.0.0.1:-1\n"
                f'jetstream {{ store_dir: "{self.folder}/nats-{number}" }}\n'
                f"mqtt {{ listen: 127.0.0.1:{port}, stream_replicas: {NODES}"
                f", consumer_replicas: {NODES}, max_ack_pending: 1000 }}\n"
                f"cluster {{ name: site, listen: 127.0.0.1:{route}, routes: [{known}] }}\n",
                encoding="utf-8",
            )
            self._add(f"nats-{number}", [NATS, "-c", config], {})
        self._await_all()


class RabbitMq(Cluster):
    """RabbitMQ with its MQTT plugin; sessions are quorum queues."""

    def start(self) -> None:
        """Returns when every node answers."""
        assert RABBIT is not None
        assert EPMD is not None
        (epmd,) = free_ports(1)
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text("DOSEGATETEST", encoding="utf-8")
        cookie.chmod(0o400)
        (self.folder / "plugins").write_text("[rabbitmq_mqtt].\n", encoding="utf-8")
        address = ["-address", "127.0.0.1", "-port", str(epmd)]
        self._others.append(self._begin("epmd", [EPMD, *address], {}))
        amqp, between = free_ports(NODES), free_ports(NODES)
        for number in range(1, NODES + 1):
            config = self.folder / f"rabbit-{number}.conf"
            config.write_text(self._settings(number, amqp[number - 1]), encoding="utf-8")
            self._add(
                f"rabbit-{number}",
                [RABBIT / "rabbitmq-server"],
                {
                    "HOME": str(self.folder),
                    "ERL_EPMD_PORT": str(epmd),
                    "RABBITMQ_NODENAME": f"rabbit{number}@localhost",
                    "RABBITMQ_DIST_PORT": str(between[number - 1]),
                    "RABBITMQ_CONFIG_FILE": str(config),
                    "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
                    "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
                    "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
                    "RABBITMQ_LOG_BASE": str(self.folder / "log"),
                    "RABBITMQ_PID_FILE": str(self.folder / f"rabbit-{number}.pid"),
                    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
                },
            )
        self._await_all()

    def _settings(self, number: int, amqp: int) -> str:
        nodes = [
            f"cluster_formation.classic_config.nodes.{each} = rabbit{each}@localhost"
            for each in range(1, NODES + 1)
        ]
        return "\n".join(
            [
                f"listeners.tcp.1 = 127.0.0.1:{amqp}",
                f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.ports[number - 1]}",
                "mqtt.allow_anonymous = true",
                "mqtt.durable_queue_type = quorum",
                "cluster_formation.peer_discovery_backend = classic_config",
                "cluster_partition_handling = pause_minority",
                *nodes,
                "",
            ]
        )
