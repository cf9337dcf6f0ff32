"""Why a link is not there, said so that somebody can act on it.

LinkError
├── PortMissing     no such device, host or file
├── PortForbidden   the rights are missing
├── PortBusy        another program holds it
├── PortRefused     the other side does not accept
└── LinkLost        it was open and is gone
"""


class LinkError(Exception):
    """A link that cannot be used; ``port`` names it, ``advice`` says what may help."""

    reason = "link_error"

    def __init__(self, port: str, detail: str, advice: str = "") -> None:
        super().__init__(f"{port}: {detail}" + (f" ({advice})" if advice else ""))
        self.port = port
        self.detail = detail
        self.advice = advice


class PortMissing(LinkError):
    """There is no such port, host or file."""

    reason = "port_missing"


class PortForbidden(LinkError):
    """The process may not open the port."""

    reason = "port_forbidden"


class PortBusy(LinkError):
    """Another program holds the port."""

    reason = "port_busy"


class PortRefused(LinkError):
    """Nothing answers there, or it declines."""

    reason = "port_refused"


class LinkLost(LinkError):
    """The link was open and is no more."""

    reason = "link_lost"
