"""All backends by id, and the lease: the one way a connection is counted on a backend."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.penalty import Penalty
from nginy.backend.slow_start import SlowStart
from nginy.backend.wishes import Admin
from nginy.config.schema import BackendSettings


class Outcome(NamedTuple):
    """How a lease ended; `failed` is the backend's fault: refused, timed out, reset on connect.

    Times are seconds from the start of the attempt; None: it did not come to that.
    """

    failed: bool = False
    bytes_up: int = 0
    bytes_down: int = 0
    duration_s: float = 0.0
    connect_s: float | None = None
    first_byte_s: float | None = None
    last_byte_s: float | None = None
    """Of the backend, as far as its bytes are timed (TCP)."""


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
        """Count it; use `BackendPool.lease`. If an observer raises, nothing stays counted."""
        self._pool = pool
        self._observer = observer
        self._released = False
        self.backend = backend
        pool.open_leases += 1
        try:
            backend.opened(now)
            observer.opened(backend, now)
        except BaseException:
            self.release(Outcome(), now)
            raise

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
        """Stop counting it, whatever an observer raises. Only the first call has an effect, so a
        `finally` may repeat it."""
        if self._released:
            return
        self._released = True
        self._pool.open_leases -= 1
        try:
            if outcome.failed:
                self.backend.failed(now)
        finally:
            try:
                self.backend.released(now)
            finally:
                self._observer.closed(self.backend, outcome, now)


class BackendPool(Mapping[str, Backend]):
    """The backends by id, in the order of the configuration.

    A configured backend may stand for several, the addresses of its name: see `expand`.
    """

    def __init__(self, backends: Iterable[Backend]) -> None:
        """Hold `backends`; their ids are unique (the configuration checks it)."""
        self._backends = {backend.id: backend for backend in backends}
        self._configured: dict[str, tuple[Backend, ...]] = {
            backend_id: (backend,) for backend_id, backend in self._backends.items()
        }
        """What each configured id stands for."""
        self._stale = False
        """Whether `_backends` is to be made again: once for any number of names that change."""
        self.open_leases = 0
        """Leases taken and not yet released, over all backends."""

    def __getitem__(self, backend_id: str) -> Backend:
        """The backend of that id; KeyError if there is none."""
        return self._by_id()[backend_id]

    def __iter__(self) -> Iterator[str]:
        """Ids in order."""
        return iter(self._by_id())

    def __len__(self) -> int:
        """Number of backends."""
        return len(self._by_id())

    def expand(self, configured_id: str, backends: Iterable[Backend]) -> None:
        """From now on `configured_id` stands for `backends`, which may be none.

        What it stood for before leaves the pool unless it is among them; leases stay valid.
        Raises KeyError if nothing of that id is configured.
        """
        if configured_id not in self._configured:
            raise KeyError(configured_id)
        self._configured[configured_id] = tuple(backends)
        self._stale = True

    def _by_id(self) -> dict[str, Backend]:
        if self._stale:
            groups = self._configured.values()
            self._backends = {backend.id: backend for group in groups for backend in group}
            self._stale = False
        return self._backends

    def members(self, ids: Iterable[str]) -> tuple[Backend, ...]:
        """The backends that configured `ids` stand for, in that order, each once.

        KeyError for an unknown id.
        """
        return tuple(
            backend for each_id in dict.fromkeys(ids) for backend in self._configured[each_id]
        )

    def lease(self, backend: Backend, observer: LeaseObserver, now: float) -> Lease:
        """Count an attempt on `backend` from `now` (seconds) until the lease is released."""
        return Lease(self, backend, observer, now)


def make_backend(settings: BackendSettings) -> Backend:
    """The backend that `settings` describe, as it is at process start."""
    check = settings.health_check
    return Backend(
        id=settings.id,
        address=settings.address,
        weight=settings.weight,
        max_connections=settings.max_connections,
        backup=settings.backup,
        penalty=Penalty(settings.max_fails, settings.fail_timeout_s, settings.fail_timeout_max_s),
        slow_start=SlowStart(settings.slow_start.duration_s, settings.slow_start.floor_pct / 100),
        admin=Admin.DOWN if settings.down else Admin.READY,
        healthy=check is None or check.initial == "up",
    )


def at_host(settings: BackendSettings, host: str) -> BackendSettings:
    """The backend that the address `host` of a name is: `web@10.0.0.1`, alike in all else."""
    address = Address(host, settings.address.port)
    return settings.model_copy(update={"id": f"{settings.id}@{host}", "address": address})
