"""Which backends a load report is about, and who hears of it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from socket import AF_UNIX
from typing import Any

from nginy.backend.backend import Backend
from nginy.backend.load import LoadReport, canonical_host
from nginy.balancer.base import Balancer

MOST_AT_ONCE = 64
"""Backends of one host that a line without an id speaks for: each of them costs every algorithm
some work, and a host may have thousands."""


class AmbiguousReport(ValueError):
    """A line names no backend, and its host has too many; the message says how many."""


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
            host = canonical_host(backend.address.host)
            for name in {None, backend.id, backend.id.partition("@")[0]}:
                named[host, name].append(backend)
        self._named = dict(named)

    def find(self, host: str, backend_id: str | None) -> list[Backend]:
        """Whom a report from `host` is about: all backends there, or the one there with this id.

        One of the backends behind a name (`web@10.0.0.1`) may call itself by the configured id,
        `web`.
        """
        return self._named.get((host, backend_id), [])

    def deliver(self, host: str, backend_id: str | None, report: LoadReport, now: float) -> bool:
        """Tell the algorithms; whether there is such a backend. `now`: monotonic seconds.

        Without an id a report is the host's: its utilisation counts for every backend there, but
        what one server says of its requests (`in_flight`, `latency_s`) only if it is the only one.
        Raises AmbiguousReport if there are more than MOST_AT_ONCE.
        """
        backends = self.find(host, backend_id)
        if len(backends) > MOST_AT_ONCE:
            raise AmbiguousReport(f"{len(backends)} backends are there, and it has no id")
        if backend_id is None and len(backends) > 1:
            report = replace(report, in_flight=None, latency_s=None)
        for backend in backends:
            for balancer in self._balancers:
                balancer.reported(backend, report, now)
        return bool(backends)
