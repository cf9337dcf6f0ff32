"""Links of a scenario, and events about them: what one table cannot tell. Run on raw data."""

from collections.abc import Mapping
from typing import Final, get_args

from config.checks import check_reference
from config.drivers import UnloadableDriver, find_driver, reached_by
from config.link_actions import ByteFault
from config.locate import Path
from config.problem import Findings, shown
from config.scenario_detectors import DEFAULT_DRIVER
from config.tables import Table, tables, text
from drivers.registry import UnknownDriver

BYTE_FAULTS: Final = frozenset(
    name for fault in get_args(ByteFault) for name in get_args(fault.model_fields["do"].annotation)
)
_ON_A_PORT: Final = ("serial", "modbus_rtu")
_RTU_OVER_TCP: Final = "modbus_rtu_tcp"


def driver_of(detector: Table) -> tuple[str, str]:
    """Full name and contract; of one that is not known, which is an error already, its name."""
    name = text(detector, "driver") or DEFAULT_DRIVER
    try:
        info = find_driver(name)
    except (UnknownDriver, UnloadableDriver):
        return name, ""
    return info.name, info.contract


def link_of(detector: Table) -> str:
    """The kind of a detector's link with ``--live``; empty if its driver is not known."""
    given = text(detector, "link")
    if given is not None:
        return given
    try:
        return find_driver(text(detector, "driver") or DEFAULT_DRIVER).links[0]
    except (UnknownDriver, UnloadableDriver):
        return ""


def unable(findings: Findings, path: Path, who: str, action: str | None, hint: str) -> None:
    """An instrument or link cannot do what an event asks for."""
    findings.error(path, f"{who} cannot play {shown(action)}", hint)


def check_live_link(findings: Findings, path: Path, detector: Table) -> None:
    """The driver can be reached over that kind of link, and only registers share a bus."""
    name, contract = driver_of(detector)
    kind = text(detector, "link")
    if contract and kind is not None:
        offered = reached_by(find_driver(name))
        known = (*offered, *((_RTU_OVER_TCP,) if "modbus_tcp" in offered else ()))
        if kind not in known:
            findings.error(
                (*path, "link"),
                f"{name} is not reached by {shown(kind)}",
                f"it offers: {', '.join(known)}",
            )
    if "bus" in detector and contract not in ("registers", ""):
        findings.error((*path, "bus"), f"{name} is not on Modbus", "leave it out")


def check_buses(findings: Findings) -> None:
    """All units of a bus are on the same kind of link."""
    kinds: dict[str, str] = {}
    for path, detector in tables(findings.data, "detector"):
        bus, kind = text(detector, "bus"), link_of(detector)
        if bus is not None and kinds.setdefault(bus, kind) != kind:
            findings.error(
                (*path, "bus"),
                f"{shown(bus)} is on {kinds[bus]}, this detector on {kind}",
                "all units of a bus have the same kind of link",
            )


def check_swap(
    findings: Findings, path: Path, event: Table, detectors: Mapping[str, Table]
) -> None:
    """Two different detectors, both on bytes or both on registers."""
    name, other = text(event, "detector"), text(event, "other")
    where = (*path, "other")
    check_reference(findings, where, other, set(detectors), "detector")
    if name is not None and name == other:
        findings.error(where, f"{shown(other)} cannot change places with itself")
    both = [detectors[each] for each in (name, other) if each is not None and each in detectors]
    if len(both) > 1:
        kinds = {driver_of(each)[1] == "registers" for each in both}
        if len(kinds) > 1:
            findings.error(where, "registers and bytes cannot change places")


def check_connection(findings: Findings, path: Path, event: Table, kind: str) -> None:
    """Half open is TCP, another tty number a serial port."""
    if text(event, "do") == "half_open" and kind in _ON_A_PORT:
        unable(findings, (*path, "do"), "a serial port", "half_open", 'set link = "tcp"')
    elif event.get("renumbered") is True and kind not in _ON_A_PORT:
        findings.error(
            (*path, "renumbered"), "what is no serial port has no number", 'set link = "serial"'
        )
