"""What a configuration says about drivers, checked against what each driver declares."""

from difflib import get_close_matches
from typing import Final

from config.locate import Path
from config.problem import Findings, did_you_mean, shown
from config.tables import Table
from drivers import registry
from drivers.api import DriverInfo, Option

KINDS: Final = ("serial", "tcp", "tcp_listen", "modbus_tcp", "modbus_rtu")
LISTENING: Final = "tcp_listen"
_NOUNS: Final = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


class UnloadableDriver(Exception):
    """The driver is registered but its code or map cannot be loaded."""


def find_driver(name: str) -> DriverInfo:
    """The driver of that name. Raises registry.UnknownDriver or UnloadableDriver."""
    try:
        return registry.find(name)
    except registry.UnknownDriver:
        raise
    except (ImportError, AttributeError, SyntaxError, ValueError, OSError) as error:
        raise UnloadableDriver(f"{type(error).__name__}: {error}") from error


def default_class(name: str) -> str | None:
    """The class that a driver's instruments have unless the configuration says otherwise."""
    try:
        classes = find_driver(name).classes
    except (registry.UnknownDriver, UnloadableDriver):
        return None
    return classes[0] if classes else None


def check_driver(findings: Findings, path: Path, detector: Table) -> None:
    """The driver exists and offers the link, the options and the permissions."""
    name = detector.get("driver")
    if not isinstance(name, str):
        return
    where = (*path, "driver")
    try:
        info = find_driver(name)
    except registry.UnknownDriver as error:
        findings.error(where, f"no driver is called {shown(name)}", _likely(name, error.known))
        return
    except UnloadableDriver as error:
        findings.error(
            where,
            f"the driver {shown(name)} cannot be loaded: {error}",
            "the installation is damaged or incomplete",
        )
        return
    _check_link(findings, (*path, "link"), detector.get("link"), info)
    _check_options(findings, (*path, "options"), detector.get("options"), info)
    _check_permissions(findings, (*path, "permissions"), detector.get("permissions"), info)


def _likely(name: str, known: tuple[str, ...]) -> str:
    """Names share words with a family: ``radeye`` is as good as ``thermo-radeye``."""
    words = set(name.casefold().split("-"))
    sharing = [full for full in known if words & set(full.split("-"))]
    if len(sharing) > 1:
        return f"did you mean one of {', '.join(sharing)}?"
    if sharing:
        return f"did you mean {sharing[0]!r}?"
    by_word = {word: full for full in known for word in (full, *full.split("-"))}
    close = get_close_matches(name.casefold(), by_word, n=1, cutoff=0.6)
    return f"did you mean {by_word[close[0]]!r}?" if close else f"known: {', '.join(known)}"


def reached_by(info: DriverInfo) -> tuple[str, ...]:
    """The kinds of links of an instrument; what talks over TCP may also be the one that calls."""
    return (*info.links, LISTENING) if "tcp" in info.links else info.links


def _check_link(findings: Findings, path: Path, link: object, info: DriverInfo) -> None:
    if not isinstance(link, dict):
        return
    kind = link.get("kind")
    if not isinstance(kind, str):
        return
    if kind == "recording":
        return
    offered = (*reached_by(info), "recording")
    if kind in KINDS and kind not in offered:
        findings.error(
            (*path, "kind"),
            f"{info.name} is not reached by {shown(kind)}",
            f"it offers: {', '.join(dict.fromkeys(offered))}",
        )
    elif kind == "tcp" and "port" not in link and info.tcp_port is not None:
        findings.error(
            (*path, "port"),
            "the key is missing",
            f"such as port = {info.tcp_port}, where {info.name} usually listens",
        )


def _check_options(findings: Findings, path: Path, options: object, info: DriverInfo) -> None:
    if not isinstance(options, dict):
        return
    known = {option.name: option for option in info.options}
    for name, value in options.items():
        if name not in known:
            hint = did_you_mean(str(name), known) or "it has none"
            findings.error((*path, name), f"{info.name} has no such option", hint)
        elif not isinstance(value, list | dict):
            _check_option(findings, (*path, name), known[name], value)


def _check_option(findings: Findings, path: Path, option: Option, value: object) -> None:
    wanted = type(option.default)
    fits = type(value) is wanted or (wanted is float and type(value) is int)
    if not fits:
        findings.error(path, f"needs {_NOUNS[wanted]}, not {shown(value, path)}", option.doc)
    elif option.choices and str(value) not in option.choices:
        hint = did_you_mean(str(value), option.choices)
        findings.error(
            path, f"{shown(value, path)} is not one of {', '.join(option.choices)}", hint
        )


def _check_permissions(findings: Findings, path: Path, wanted: object, info: DriverInfo) -> None:
    for index, name in enumerate(wanted if isinstance(wanted, list) else ()):
        if isinstance(name, str) and name not in info.permissions:
            hint = did_you_mean(name, info.permissions) or "it needs none"
            findings.error((*path, index), f"{info.name} has no permission {shown(name)}", hint)
