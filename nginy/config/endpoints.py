"""What a backend's kind of address (IP, name, Unix socket) rules out."""

from collections.abc import Iterable
from socket import AF_UNIX, AF_UNSPEC

from nginy.config.document import Document, Location
from nginy.config.guard_settings import AgentCheckSettings, HealthCheckSettings
from nginy.config.schema import BackendSettings, FileSettings


def agent_check(backend: BackendSettings, top: FileSettings) -> AgentCheckSettings | None:
    """Its own, else the global one; a Unix socket has no host where an agent could be."""
    if backend.address.family is AF_UNIX:
        return None
    return backend.agent_check or top.agent_check


def check_endpoint(
    index: int, backend: BackendSettings, top: FileSettings, document: Document
) -> None:
    """Report what a Unix socket cannot have."""
    if backend.address.family is not AF_UNIX:
        return
    location: Location
    if backend.agent_check is not None:
        location = ("backends", index, "agent_check")
        message = "an agent is asked at the backend's host, and a Unix socket has none"
        document.report(location, message, "an IP address or a name as the backend's address")
    own = backend.health_check
    check = own or top.health_check
    key = check and _ruled_out(check)
    if key and own:
        location = ("backends", index, "health_check", key)
        message = f"{key} does not go with a Unix socket, which is checked by connecting to it"
        document.report(location, message, "type: tcp or command, without port")
    elif key:
        message = f"the global health_check has {key} set to what a Unix socket cannot do"
        document.report(
            ("backends", index, "address"), message, "a health_check of its own: tcp or command"
        )


def _ruled_out(check: HealthCheckSettings) -> str | None:
    """The setting that does not go with a Unix socket."""
    if check.type == "udp":
        return "type"
    return None if check.port is None else "port"


def check_ids_of_names(backends: Iterable[tuple[int, BackendSettings]], document: Document) -> None:
    """The addresses of `web` will be called `web@10.0.0.1`: nobody else may be."""
    backends = tuple(backends)
    names = {each.id for _, each in backends if each.address.family is AF_UNSPEC}
    for index, backend in backends:
        name, at, _ = backend.id.rpartition("@")
        if at and name in names:
            message = f"{name!r} is resolved, and its addresses are called {name}@ADDRESS"
            document.report(("backends", index, "id"), message, f"one that does not begin {name}@")
