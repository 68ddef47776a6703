"""A backend: who it is, what it may carry, what it carries now."""

from dataclasses import dataclass, field

from nginy.address import Address


@dataclass(eq=False, slots=True)
class Backend:
    """One server. Compared by identity: two rules that name it share its counters.

    `max_connections` 0 means no limit. `max_fails` 0 turns passive failure detection off;
    otherwise nginx's rule holds: after `max_fails` failed attempts the backend is left alone for
    `fail_timeout_s`, then any new connection may try it, one failure puts it back and one success
    clears the count (ngx_stream_upstream_round_robin.c; `max_fails` and `fail_timeout` of its
    `server` directive). nginx compares whole seconds, so its penalty lasts up to 1 s longer.
    """

    id: str
    address: Address
    weight: int = 1
    max_connections: int = 0
    max_fails: int = 0
    fail_timeout_s: float = 10.0
    down: bool = False
    active: int = field(default=0, init=False)
    """Leases open now; counted by the lease guard alone."""
    fails: int = field(default=0, init=False)
    """Failed attempts since the count was last cleared."""
    failed_at: float = field(default=float("-inf"), init=False)
    """When the last attempt failed (nginx's `accessed`), seconds on the caller's clock."""
    checked_at: float = field(default=float("-inf"), init=False)
    """When the penalty began, or when the trial after it began (nginx's `checked`)."""

    def available(self, now: float) -> bool:
        """Whether it may be chosen now: not down, not penalised, not full."""
        return self.accepting and not self.penalised(now)

    @property
    def accepting(self) -> bool:
        """Neither down nor full; says nothing of the penalty."""
        return not self.down and (self.max_connections == 0 or self.active < self.max_connections)

    def penalised(self, now: float) -> bool:
        """Whether it failed too often, too recently."""
        return 0 < self.max_fails <= self.fails and now - self.checked_at <= self.fail_timeout_s

    def chosen(self, now: float) -> None:
        """Start of an attempt: the first after a penalty is the trial that may clear the count."""
        if now - self.checked_at > self.fail_timeout_s:
            self.checked_at = now

    def succeeded(self, now: float) -> None:
        """An attempt reached the backend; a failure older than the trial is forgiven."""
        if self.failed_at < self.checked_at:
            self.fails = 0

    def failed(self, now: float) -> None:
        """An attempt failed by the backend's fault."""
        self.fails += 1
        self.failed_at = self.checked_at = now
