"""Links and sinks: what is shared that must not be, and what is not there. Run on raw data."""

import os
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Final
from urllib.parse import urlsplit

from config.locate import Path
from config.problem import Findings, did_you_mean, shown
from config.tables import Table, part, tables, text

_SCHEMES: Final = ("mqtt", "mqtts")


def check_links(findings: Findings) -> None:
    """One instrument, one detector: only a Modbus bus is shared, by different units."""
    taken: dict[tuple[object, ...], Path] = {}
    buses: dict[str, tuple[Path, Table]] = {}
    ports: dict[str, tuple[str, Path]] = {}
    for path, detector in tables(findings.data, "detector"):
        link = part(detector, "link")
        kind, port = text(link, "kind"), text(link, "port")
        if kind == "modbus_rtu" and port is not None:
            _check_bus(findings, path, link, buses)
        for key, where in _claims(kind, link):
            if key not in taken:
                taken[key] = (*path, "link", where)
                continue
            findings.error(
                (*path, "link", where),
                f"{_claimed(key)} is already used in {findings.line(taken[key])}",
                "each detector needs its own",
            )
        if kind in ("serial", "modbus_rtu") and port is not None:
            where_port = (*path, "link", "port")
            first_kind, first = ports.setdefault(os.path.realpath(port), (kind, where_port))
            if first_kind != kind:
                findings.error(
                    where_port,
                    f"the port {shown(port)} is already used in {findings.line(first)}",
                    "a Modbus bus and a single instrument cannot share a port",
                )
            _advise_port(findings, where_port, port)


def _claims(kind: str | None, link: Table) -> Iterator[tuple[tuple[object, ...], str]]:
    port, host = link.get("port"), text(link, "host")
    if kind == "serial" and isinstance(port, str):
        yield ("serial", os.path.realpath(port)), "port"
    elif kind == "modbus_rtu" and isinstance(port, str):
        yield ("unit", os.path.realpath(port), link.get("unit")), "unit"
    elif kind in ("tcp", "tcp_listen") and host and isinstance(port, int):
        yield ("address", host, port), "port"
    elif kind == "modbus_tcp" and host:
        yield (
            ("unit", host, link.get("port", 502), link.get("unit", 1)),
            ("unit" if "unit" in link else "host"),
        )


def _claimed(key: tuple[object, ...]) -> str:
    match key:
        case ("serial", port):
            return f"the port {shown(port)}"
        case ("address", host, port):
            return f"{shown(host)} port {port}"
        case (_, bus, unit):
            return f"unit {unit} on {shown(bus)}"
        case (_, host, port, unit):
            return f"unit {unit} at {shown(host)} port {port}"
    return "this link"


def _check_bus(
    findings: Findings, path: Path, link: Table, buses: dict[str, tuple[Path, Table]]
) -> None:
    bus = os.path.realpath(str(link["port"]))
    settings = {"baud": 9600, "bits": 8, "parity": "N", "stop": 1, "echo": False}
    mine = {key: link.get(key, default) for key, default in settings.items()}
    first_path, first = buses.setdefault(bus, (path, dict(mine)))
    for key in settings:
        if mine[key] != first[key]:
            findings.error(
                (*path, "link", key),
                f"{shown(mine[key])} differs from {shown(first[key])} of the detector in "
                f"{findings.line(first_path)} on the same bus",
                "detectors on one port need the same line settings",
            )


def _advise_port(findings: Findings, path: Path, port: str) -> None:
    if FilePath(port).exists():
        return
    found = sorted(str(each) for each in FilePath("/dev/serial/by-id").glob("*"))
    hint = did_you_mean(port, found) or "plug it in; the gateway keeps trying"
    findings.advice(path, f"{shown(port)} is not there now", hint)


def check_sinks(findings: Findings) -> None:
    """Addresses are addresses, hold no secrets, and the files that sinks name exist."""
    for path, sink in tables(findings.data, "sink"):
        brokers = sink.get("brokers")
        for index, broker in enumerate(brokers if isinstance(brokers, list) else ()):
            if isinstance(broker, str):
                _check_broker(findings, (*path, "brokers", index), broker)
        tls = part(sink, "tls")
        for one, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
            if one in tls and other not in tls:
                findings.error((*path, "tls", one), f"{other} is missing beside it")
        files = [("password_file",), ("tls", "ca_file"), ("tls", "cert_file"), ("tls", "key_file")]
        for keys in files:
            name = text(sink if len(keys) == 1 else tls, keys[-1])
            if name is not None and not FilePath(name).is_file():
                findings.advice((*path, *keys), f"there is no file {name!r}, or it is not readable")
        if "password_file" in sink and "username" not in sink:
            findings.error((*path, "password_file"), "username is missing beside it")
        if sink.get("commands") is True:
            _check_commands(findings, path, sink)


def _check_commands(findings: Findings, path: Path, sink: Table) -> None:
    """Whoever reaches the broker must not be somebody who may do everything."""
    key = (*path, "commands")
    if not any(True for _ in tables(findings.data, "user")):
        findings.error(
            key,
            "commands are taken over MQTT, but nobody is named who may give them",
            "add [[user]] with id and roles; the broker's access list binds command/ID/# to them",
        )
    if text(sink, "protocol") == "3.1.1":
        findings.advice(
            key,
            "with MQTT 3.1.1 a refused subscription or answer may look like an accepted one",
            'use protocol = "5" where the broker speaks it',
        )


def _check_broker(findings: Findings, path: Path, broker: str) -> None:
    scheme, separator, rest = broker.rpartition("://")
    if "@" in rest:
        findings.error(
            path,
            "an address holds no user name or password",
            "use username and password_file of the sink",
        )
        return
    if not separator:
        findings.error(
            path, f"{shown(broker)} does not begin with mqtt://", f'write "mqtt://{rest}"'
        )
    elif scheme not in _SCHEMES:
        findings.error(
            path, f"{shown(scheme)} is not a kind of address", did_you_mean(scheme, _SCHEMES)
        )
    elif not _is_address(broker):
        findings.error(path, f"{shown(broker)} is no address", 'such as "mqtt://127.0.0.1:1883"')


def _is_address(url: str) -> bool:
    """A host, perhaps a port, and nothing else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    rest = parts.path.strip("/") or parts.query or parts.fragment
    return bool(parts.hostname) and port != 0 and not rest
