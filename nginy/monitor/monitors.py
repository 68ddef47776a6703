"""All that watches the backends of one process, started and stopped together."""

import random
from collections.abc import Mapping

from nginy.backend.pool import BackendPool
from nginy.config.model import Config
from nginy.proxy.service import Service


class Monitors:
    """Health checks, agents, name resolution, load reports and probes, as configured."""

    def __init__(
        self,
        config: Config,
        pool: BackendPool,
        services: Mapping[str, Service],
        rng: random.Random,
    ) -> None:
        """Nothing runs before `start`."""
        self._config = config
        self._pool = pool
        self._services = services
        self._rng = rng

    async def start(self) -> None:
        """Resolve names, then watch; to be awaited before anybody is served.

        Raises ListenError if the address for load reports is taken.
        """

    def tick(self, now: float) -> None:
        """What is due by time: ramps, probes. Called by the server every 50 ms."""

    def after_pick(self, service: Service, now: float) -> None:
        """A backend was picked for a connection of `service`."""

    async def close(self) -> None:
        """Stop watching."""
