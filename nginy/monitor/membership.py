"""Which backends a name stands for, and who has to know when that changes."""

import logging
from collections.abc import Iterable, Sequence

from nginy.backend.make import at_host, make_backend
from nginy.backend.pool import BackendPool
from nginy.config.model import Rule
from nginy.config.schema import BackendSettings
from nginy.monitor.watch import Watch
from nginy.proxy.service import Service

log = logging.getLogger(__name__)


class Membership:
    """Puts the addresses of names into the pool, the rules and the watch, and takes them out."""

    def __init__(
        self, pool: BackendPool, watch: Watch, users: Iterable[tuple[Rule, Service]]
    ) -> None:
        """`users` are told of new members; those that do not name a name never are."""
        self._pool = pool
        self._watch = watch
        self._users = tuple(users)

    def change(
        self, settings: BackendSettings, hosts: Sequence[str], now: float, *, new: bool
    ) -> None:
        """From now on the backend of `settings`, a name, stands for `hosts`.

        Those it stood for already stay as they are; the others are removed. `new`: this is at run
        time, so that those who come start slowly.
        """
        known = {backend.address.host: backend for backend in self._pool.members([settings.id])}
        own = {host: at_host(settings, host) for host in hosts}
        members = {host: known.get(host) or make_backend(each) for host, each in own.items()}
        gone = [backend for host, backend in known.items() if host not in members]
        self._pool.expand(settings.id, members.values())
        for host, backend in members.items():
            if host not in known:
                self._watch.add(backend, own[host], now, new=new)
        self._rebuild(settings.id, now)
        # Afterwards, so that what is live and has to move finds the new members.
        for backend in gone:
            self._watch.remove(backend)
            backend.remove(now)

    def _rebuild(self, configured_id: str, now: float) -> None:
        for rule, service in self._users:
            if configured_id in rule.backend_ids:
                service.balancer.rebuild(self._pool.members(rule.backend_ids), now)
