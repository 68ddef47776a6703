"""The one table of balancing algorithms: configuration name to class."""

import random

from nginy.balancer.base import Balancer
from nginy.balancer.least_conn import LeastConn
from nginy.balancer.random_choice import RandomChoice
from nginy.balancer.random_two import RandomTwo
from nginy.balancer.round_robin import RoundRobin
from nginy.balancer.source_hash import SourceHash
from nginy.config.schema import StrategySettings

ALGORITHMS: dict[str, type[Balancer]] = {
    "round_robin": RoundRobin,
    "least_conn": LeastConn,
    "random": RandomChoice,
    "random_two": RandomTwo,
    "source_hash": SourceHash,
}


def make_balancer(strategy: StrategySettings, rng: random.Random) -> Balancer:
    """A balancer of `strategy.type`, without members yet (`rebuild` gives them)."""
    return ALGORITHMS[strategy.type](rng)
