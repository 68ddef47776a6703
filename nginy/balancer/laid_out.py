"""What random draws and modulo hashes share: members laid end to end by weight, as nginx does."""

import random
from abc import abstractmethod
from collections.abc import Sequence

from nginy.backend.backend import Backend
from nginy.balancer.base import SettingsT
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.weight_table import WeightTable
from nginy.balancer.weighted import WeightedBalancer


class LaidOutBalancer(WeightedBalancer[SettingsT]):
    """Keeps the table of all members, usable or not; a subclass says how long each one is."""

    def __init__(
        self,
        settings: SettingsT,
        rng: random.Random,
        policy: RosterPolicy = RosterPolicy(),  # noqa: B008  (frozen)
    ) -> None:
        """No members until `rebuild`."""
        super().__init__(settings, rng, policy)
        self._table = WeightTable(self.length)

    @staticmethod
    @abstractmethod
    def length(backend: Backend) -> int:
        """Of a member in the table, at least 1."""

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Take a new membership."""
        super().rebuild(backends, now)
        self._table.rebuild(self.roster.members)

    def reweighed(self, backend: Backend, now: float) -> None:
        """Another weight, for the fallback and, if its length changed, for the table."""
        super().reweighed(backend, now)
        self._table.check(self.roster.position[backend])
