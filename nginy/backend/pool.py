"""All backends by id, and the lease: the one way a connection is counted on a backend."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from nginy.backend.backend import Backend
from nginy.backend.outcome import Outcome


class LeaseObserver(Protocol):
    """Who is told of a lease's life; a `Balancer` is one."""

    def opened(self, backend: Backend, now: float) -> None:
        """The lease was taken."""

    def connected(self, backend: Backend, seconds: float, now: float) -> None:
        """The backend was reached, `seconds` after the attempt began."""

    def first_byte(self, backend: Backend, seconds: float, now: float) -> None:
        """The backend's first byte came, `seconds` after the attempt began."""

    def moved(self, backend: Backend, byte_count: int, now: float) -> None:
        """So many more bytes were carried."""

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        """The lease was released."""


class Lease:
    """One attempt's or connection's hold on a backend, counted from its making to `release`."""

    __slots__ = ("_observer", "_pool", "_released", "backend")

    def __init__(
        self, pool: "BackendPool", backend: Backend, observer: LeaseObserver, now: float
    ) -> None:
        """Count it; use `BackendPool.lease`."""
        self._pool = pool
        self._observer = observer
        self._released = False
        self.backend = backend
        pool.open_leases += 1
        backend.opened(now)
        observer.opened(backend, now)

    def connected(self, seconds: float, now: float) -> None:
        """The backend was reached, `seconds` after the attempt began."""
        self.backend.succeeded(now)
        self._observer.connected(self.backend, seconds, now)

    def first_byte(self, seconds: float, now: float) -> None:
        """The backend's first byte came, `seconds` after the attempt began."""
        self._observer.first_byte(self.backend, seconds, now)

    def moved(self, byte_count: int, now: float) -> None:
        """So many more bytes were carried, both ways, since the last call."""
        self._observer.moved(self.backend, byte_count, now)

    def release(self, outcome: Outcome, now: float) -> None:
        """Stop counting it. Only the first call has an effect, so a `finally` may repeat it."""
        if self._released:
            return
        self._released = True
        self._pool.open_leases -= 1
        if outcome.failed:
            self.backend.failed(now)
        self.backend.released(now)
        self._observer.closed(self.backend, outcome, now)


class BackendPool(Mapping[str, Backend]):
    """The backends by id, in the order of the configuration."""

    def __init__(self, backends: Iterable[Backend]) -> None:
        """Hold `backends`; their ids are unique (the configuration checks it)."""
        self._backends = {backend.id: backend for backend in backends}
        self.open_leases = 0
        """Leases taken and not yet released, over all backends."""

    def __getitem__(self, backend_id: str) -> Backend:
        """The backend of that id; KeyError if there is none."""
        return self._backends[backend_id]

    def __iter__(self) -> Iterator[str]:
        """Ids in order."""
        return iter(self._backends)

    def __len__(self) -> int:
        """Number of backends."""
        return len(self._backends)

    def members(self, ids: Iterable[str]) -> tuple[Backend, ...]:
        """The backends named, in that order, each once; KeyError for an unknown id."""
        return tuple(self._backends[backend_id] for backend_id in dict.fromkeys(ids))

    def lease(self, backend: Backend, observer: LeaseObserver, now: float) -> Lease:
        """Count an attempt on `backend` from `now` (seconds) until the lease is released."""
        return Lease(self, backend, observer, now)
