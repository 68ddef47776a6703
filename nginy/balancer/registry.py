"""The one table of balancing algorithms: configuration name to class."""

import random
from typing import Any

from nginy.balancer.adaptive import Adaptive
from nginy.balancer.base import Balancer
from nginy.balancer.first import First
from nginy.balancer.join_idle_queue import JoinIdleQueue
from nginy.balancer.ketama import Ketama
from nginy.balancer.least_bytes import LeastBytes
from nginy.balancer.least_conn import LeastConn
from nginy.balancer.least_time import LeastTime
from nginy.balancer.maglev import Maglev
from nginy.balancer.modulo_hash import IpHash, SourceHash
from nginy.balancer.peak_ewma import PeakEwma
from nginy.balancer.prequal import Prequal
from nginy.balancer.random_choice import RandomChoice, RandomTwo
from nginy.balancer.ring_hash import RingHash
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.round_robin import RoundRobin
from nginy.balancer.source import Source
from nginy.config.strategies import StrategySettings

ALGORITHMS: dict[str, type[Balancer[Any]]] = {
    "round_robin": RoundRobin,
    "least_conn": LeastConn,
    "random": RandomChoice,
    "random_two": RandomTwo,
    "source_hash": SourceHash,
    "hash": SourceHash,
    "ip_hash": IpHash,
    "ketama": Ketama,
    "least_time": LeastTime,
    "ring_hash": RingHash,
    "maglev": Maglev,
    "source": Source,
    "first": First,
    "peak_ewma": PeakEwma,
    "least_bytes": LeastBytes,
    "join_idle_queue": JoinIdleQueue,
    "prequal": Prequal,
    "adaptive": Adaptive,
}


def make_balancer(
    settings: StrategySettings,
    rng: random.Random,
    policy: RosterPolicy = RosterPolicy(),  # noqa: B008  (frozen)
) -> Balancer[Any]:
    """A balancer of `settings.type`, without members yet (`rebuild` gives them)."""
    return ALGORITHMS[settings.type](settings, rng, policy)
