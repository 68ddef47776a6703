"""Faults of nginy, put into a running proxy by a test: each raises once, in the server's thread."""

from collections.abc import Callable
from typing import Any

from nginy.backend.backend import Backend


class Once:
    """Stands before what is called, and raises instead of it, the first time."""

    def __init__(self, instead_of: Callable[..., Any]) -> None:
        self._instead_of = instead_of
        self.raised = False

    def __call__(self, *args: Any, **named: Any) -> Any:
        if not self.raised:
            self.raised = True
            raise RuntimeError("a bug")
        return self._instead_of(*args, **named)


class Watcher:
    """Of backends: one of its two verbs is at fault."""

    def __init__(self, verb: str) -> None:
        self.once = Once(lambda *_: None)
        setattr(self, verb, self.once)

    def state_changed(self, backend: Backend, now: float) -> None:
        pass

    def share_changed(self, backend: Backend, now: float) -> None:
        pass

    def load_changed(self, backend: Backend, now: float) -> None:
        pass


def put_fault(balancer: Any, observer: str) -> Once:
    """The next call of `observer`, a verb of the algorithm, of a backend's watcher, of the probes
    or of the log, raises."""
    server = balancer.server
    rule = server.rules[0]
    faults: list[Once] = []

    def put() -> None:
        if observer in ("state_changed", "load_changed"):
            watcher = Watcher(observer)
            for backend in server.pool.values():
                backend.watchers.insert(0, watcher)
                backend.load_watchers.insert(0, watcher)
            faults.append(watcher.once)
            return
        owner, name = {
            "after_pick": (rule, "after_pick"),
            "write_record": (server.ledger, "_write_record"),
        }.get(observer, (rule.balancer, observer))
        once = Once(getattr(owner, name) or (lambda now: None))
        setattr(owner, name, once)
        faults.append(once)

    balancer.call(put)
    return faults[0]
