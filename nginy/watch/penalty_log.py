"""Says when a backend is left alone because live traffic failed, and when it is back."""

import logging

from nginy.backend.backend import Backend
from nginy.backend.penalty import NEVER

log = logging.getLogger(__name__)


class PenaltyLog:
    """A Watcher of the backends with `max_fails`: one line per penalty, one at the end."""

    def __init__(self) -> None:
        """Nobody is left alone."""
        self._row: dict[Backend, int] = {}
        """Of those that are: how many penalties in a row were told."""

    def watch(self, backend: Backend) -> None:
        """Take care of `backend`."""
        if backend.penalty.max_fails > 0:
            backend.watchers.append(self)

    def state_changed(self, backend: Backend, now: float) -> None:
        """Tell if a penalty began or the last one is over."""
        penalty = backend.penalty
        if backend.removed:
            self._row.pop(backend, None)
        elif penalty.ends_at == NEVER:
            if self._row.pop(backend, 0):
                log.info("backend %s: answers again after its penalty", backend.id)
        elif self._row.get(backend) != penalty.row:
            self._row[backend] = penalty.row
            log.warning(
                "backend %s: left alone for %g s after %d failed attempts",
                backend.id,
                penalty.timeout_s,
                penalty.fails,
            )

    def share_changed(self, backend: Backend, now: float) -> None:
        """Of no interest."""
