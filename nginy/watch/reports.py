"""Load reports on their way from the listener to the algorithms."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from socket import AF_UNIX
from typing import Any

from nginy.backend.backend import Backend
from nginy.backend.load import LoadReport
from nginy.backend.load_report import plain_host
from nginy.balancer.base import Balancer


class Reports:
    """Backends by address, so that a report costs the same however many there are."""

    def __init__(self, balancers: Sequence[Balancer[Any]]) -> None:
        """Every report is told to all `balancers`; who does not know the backend ignores it."""
        self._balancers = balancers
        self._named: Mapping[tuple[str, str | None], list[Backend]] = {}
        """By host and id; with the id None, all of the host."""

    def know(self, backends: Iterable[Backend]) -> None:
        """These are the backends now."""
        named: defaultdict[tuple[str, str | None], list[Backend]] = defaultdict(list)
        for backend in backends:
            if backend.address.family is AF_UNIX:
                continue
            host = plain_host(backend.address.host)
            for name in {None, backend.id, backend.id.partition("@")[0]}:
                named[host, name].append(backend)
        self._named = dict(named)

    def find(self, host: str, backend_id: str | None) -> list[Backend]:
        """Whom a report from `host` is about: all backends there, or the one there with this id.

        One of the backends behind a name (`web@10.0.0.1`) may call itself by the configured id,
        `web`.
        """
        return self._named.get((host, backend_id), [])

    def deliver(self, backend: Backend, report: LoadReport, now: float) -> None:
        """Tell the algorithms."""
        for balancer in self._balancers:
            balancer.reported(backend, report, now)
