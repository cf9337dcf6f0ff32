"""Drivers made up for these tests, so that they say nothing about real families."""

import pytest

from drivers import registry
from drivers.api import DriverInfo, Option, SerialLine, Verified


def _info(
    name: str,
    classes: tuple[str, ...] = ("Gamma Handheld",),
    links: tuple[str, ...] = ("serial",),
    tcp_port: int | None = None,
    options: tuple[Option, ...] = (),
    permissions: tuple[str, ...] = (),
) -> DriverInfo:
    return DriverInfo(
        name=name,
        title=name,
        contract="listener",
        classes=classes,
        links=links,
        channels=(),
        source="none; made up for a test",
        verified=Verified.CONSTRUCTED,
        silence_s=1.0,
        create=lambda options: pytest.fail("nothing here makes a driver"),
        serial=SerialLine(9600),
        tcp_port=tcp_port,
        options=options,
        permissions=permissions,
    )


_OPTIONS = (
    Option("heartbeat", False, "ask for one count a second"),
    Option("model", "500", "the series", ("300", "500", "600")),
    Option("tube", "M4011", "the tube", ("M4011", "SBM-20")),
    Option("factor", 1.5, "a factor"),
)
FAKES = {
    info.name: info
    for info in (
        _info("thermo-radeye"),
        _info("gq-gmc", options=_OPTIONS, permissions=("heartbeat_off",)),
        _info("bgeigie-nmea", classes=("Mobile System",)),
        _info("rapiscan-tsa-rpm", ("Portal Monitor",), ("tcp",), tcp_port=1600),
        _info("aspect-rpm-modbus-tcp", ("Portal Monitor",), ("modbus_tcp",)),
        _info("bus-meter", ("Network Area Monitor",), ("modbus_rtu",)),
    )
}


@pytest.fixture(autouse=True)
def fake_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> DriverInfo:
        if name == "broken":
            raise ImportError("No module named 'drivers.broken'")
        matches = [full for full in FAKES if name == full or name in full.split("-")]
        if len(matches) != 1:
            raise registry.UnknownDriver(name, tuple(sorted(FAKES)))
        return FAKES[matches[0]]

    monkeypatch.setattr(registry, "find", find)
