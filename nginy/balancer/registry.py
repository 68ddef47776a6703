"""The one table of balancing algorithms: configuration name to class."""

import random

from nginy.balancer.base import Balancer
from nginy.config.schema import StrategySettings

ALGORITHMS: dict[str, type[Balancer]] = {}


def make_balancer(strategy: StrategySettings, rng: random.Random) -> Balancer:
    """A balancer of `strategy.type`, without members yet (`rebuild` gives them)."""
    raise NotImplementedError
