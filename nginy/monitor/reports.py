"""Load reports on their way from the listener to the algorithms."""

from collections.abc import Iterable, Mapping, Sequence
from socket import AF_UNIX
from typing import Any

from nginy.backend.backend import Backend
from nginy.backend.load import LoadReport
from nginy.backend.load_report import plain_host, reporters
from nginy.balancer.base import Balancer


class Reports:
    """Backends by address, so that a report costs the same however many there are."""

    def __init__(self, balancers: Sequence[Balancer[Any]]) -> None:
        """Every report is told to all `balancers`; who does not know the backend ignores it."""
        self._balancers = balancers
        self._at_host: Mapping[str, list[Backend]] = {}

    def know(self, backends: Iterable[Backend]) -> None:
        """These are the backends now."""
        at_host: dict[str, list[Backend]] = {}
        for backend in backends:
            if backend.address.family is AF_UNIX:
                continue
            at_host.setdefault(plain_host(backend.address.host), []).append(backend)
        self._at_host = at_host

    def find(self, host: str, backend_id: str | None) -> list[Backend]:
        """Whom a report from `host` is about."""
        return reporters(self._at_host.get(host, ()), host, backend_id)

    def deliver(self, backend: Backend, report: LoadReport, now: float) -> None:
        """Tell the algorithms."""
        for balancer in self._balancers:
            balancer.reported(backend, report, now)
