"""Which backends a name stands for changes, and who has to know."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool, at_host, make_backend
from nginy.config.schema import BackendSettings
from nginy.traffic.rule import RunningRule
from nginy.watch.watch import Watch

log = logging.getLogger(__name__)

GATHERING_S = 0.05
"""Changes this close together are made together: algorithms rebuild in O(members), and a thousand
names that change one by one would cost that a thousand times."""


class Membership:
    """Puts the addresses of names into the pool, the rules and the watch, and takes them out."""

    def __init__(
        self,
        pool: BackendPool,
        watch: Watch,
        rules: Iterable[RunningRule],
        changed: Callable[[], None],
    ) -> None:
        """`rules` are told of new members, `changed` is called once all know."""
        self._pool = pool
        self._watch = watch
        self._rules = tuple((frozenset(rule.settings.backend_ids), rule) for rule in rules)
        self._changed = changed
        self._wanted: dict[str, tuple[BackendSettings, tuple[str, ...]]] = {}
        """By the configured id."""
        self._due: asyncio.TimerHandle | None = None

    def change(self, settings: BackendSettings, hosts: Sequence[str]) -> None:
        """From now on the backend of `settings`, a name, stands for `hosts`.

        Made known within GATHERING_S, or by `settle`.
        """
        self._wanted[settings.id] = settings, tuple(hosts)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(GATHERING_S, self._gathered)

    def settle(self, now: float, *, new: bool) -> None:
        """Make known what has changed.

        Who stays is as before; the others are removed. `new`: this is at run time, so that those
        who come start slowly.
        """
        self.close()
        wanted, self._wanted = self._wanted, {}
        if not wanted:
            return
        gone: list[Backend] = []
        for settings, hosts in wanted.values():
            gone += self._replace(settings, hosts, now, new=new)
        self._rebuild(wanted.keys(), now)
        # Afterwards, so that what is live and has to move finds the new members.
        for backend in gone:
            self._watch.remove(backend)
            backend.remove(now)
        self._changed()

    def close(self) -> None:
        """Make nothing known any more."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _gathered(self) -> None:
        self.settle(time.monotonic(), new=True)

    def _replace(
        self, settings: BackendSettings, hosts: Sequence[str], now: float, *, new: bool
    ) -> list[Backend]:
        """Change the pool and watch those who come; returns those who go."""
        known = {backend.address.host: backend for backend in self._pool.members([settings.id])}
        own = {host: at_host(settings, host) for host in hosts}
        members = {host: known.get(host) or make_backend(each) for host, each in own.items()}
        self._pool.expand(settings.id, members.values())
        for host, backend in members.items():
            if host not in known:
                self._watch.add(backend, own[host], now, new=new)
        return [backend for host, backend in known.items() if host not in members]

    def _rebuild(self, configured_ids: Iterable[str], now: float) -> None:
        configured_ids = frozenset(configured_ids)
        for own_ids, rule in self._rules:
            if not own_ids.isdisjoint(configured_ids):
                rule.rebuild(now)
