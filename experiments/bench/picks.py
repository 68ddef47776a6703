"""What a pick costs: every algorithm at 10, 1 000 and 10 000 backends, no network.

    python -m experiments.bench.picks [ALGORITHM ...]

Each figure is the median over single calls, timed one by one, with the clock's own cost taken off:
the pick, and beside it what a lease costs the balancer and the backend (opened, closed). About
one connection per weight is open, clients are many, one connection closes for each that opens. The
building of tables, by `rebuild` or in the first pick, stands apart.
"""

import gc
import random
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from time import perf_counter_ns

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.load import LoadReport
from nginy.backend.pool import BackendPool, Lease, Outcome
from nginy.balancer.base import Balancer
from nginy.balancer.registry import ALGORITHMS, make_balancer
from nginy.config.strategies import STRATEGIES, StrategySettings

SIZES = (10, 1_000, 10_000)
TARGET_NS = 3_000
"""Of a pick; more is marked."""
ROUNDS = 1_000
MOST_HELD = 12_000
"""Connections open at the most."""
STEP_S = 1e-5
"""Time passes between connections: penalties, averages and decays move on."""
OUTCOME = Outcome(False, 500, 20_000, 0.03, 0.001, 0.02)


@dataclass(frozen=True)
class Cost:
    """Nanoseconds, medians; `build` is the first `rebuild` and pick."""

    build: float
    pick: float
    opened: float
    closed: float


class Bench:
    """One algorithm over some backends, with connections held."""

    def __init__(self, method: str, weights: Sequence[int], seed: int = 1) -> None:
        """Rebuild the balancer and tell it what it may want to know."""
        self.rng = random.Random(seed)
        backends = [
            Backend(str(i), Address(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", 80), weight)
            for i, weight in enumerate(weights)
        ]
        self.pool = BackendPool(backends)
        settings = settings_of(method)
        self.balancer: Balancer[StrategySettings] = make_balancer(settings, self.rng)
        self.now = 1000.0
        began_ns = perf_counter_ns()
        self.balancer.rebuild(backends, self.now)
        self.build_ns = perf_counter_ns() - began_ns
        for backend in backends:
            load = self.rng.uniform(10, 90)
            self.balancer.reported(backend, LoadReport(load, load, load, load), self.now)
        self.held: deque[Lease] = deque()
        self.clients = [
            Address(f"192.{self.rng.randrange(256)}.{self.rng.randrange(256)}.{i % 256}", 40_000)
            for i in range(1024)
        ]

    def measure(self) -> Cost:
        """The first pick, then as many connections as the weights sum to, then the medians."""
        first = self.round(0)[0]
        for number in range(min(MOST_HELD, sum(backend.weight for backend in self.pool.values()))):
            self.round(number)
        gc.collect()
        gc.disable()
        rounds = [self.round(number, close=True) for number in range(ROUNDS)]
        gc.enable()
        pick, opened, closed = (
            max(0.0, median(column) - CLOCK_NS) for column in zip(*rounds, strict=True)
        )
        return Cost(self.build_ns + first, pick, opened, closed)

    def round(self, number: int, *, close: bool = False) -> tuple[int, int, int]:
        """One connection opens, and the oldest one closes; nanoseconds of each call."""
        client = self.clients[number % len(self.clients)]
        balancer, now = self.balancer, self.now
        t0 = perf_counter_ns()
        backend = balancer.pick(client, now)
        t1 = perf_counter_ns()
        assert backend is not None
        lease = self.pool.lease(backend, balancer, now)
        t2 = perf_counter_ns()
        self.held.append(lease)
        self.tell(lease)
        t3 = t4 = 0
        if close:
            oldest = self.held.popleft()
            t3 = perf_counter_ns()
            oldest.release(OUTCOME, now)
            t4 = perf_counter_ns()
        self.now += STEP_S
        return t1 - t0, t2 - t1, t4 - t3

    def tell(self, lease: Lease) -> None:
        """What goes with a connection and is not timed: progress, and answers to probes."""
        balancer, now = self.balancer, self.now
        latency_s = self.rng.uniform(0.001, 0.1)
        lease.connected(0.001, now)
        if balancer.wants_progress:
            lease.first_byte(latency_s, now)
            lease.moved(20_000, now)
        if balancer.wants_probes:
            for backend in balancer.probes_due(now):
                balancer.probed(backend, backend.active, latency_s, now)


def settings_of(method: str) -> StrategySettings:
    """The algorithm's, with their defaults."""
    return STRATEGIES[method](type=method)


def clock_cost() -> float:
    """Nanoseconds between two calls of the clock."""
    stamps = [perf_counter_ns() for _ in range(10_001)]
    return median(after - before for before, after in pairwise(stamps))


CLOCK_NS = clock_cost()


def row(method: str, size: int) -> str:
    """One line of the table."""
    rng = random.Random(0)
    equal = Bench(method, [1] * size).measure()
    mixed = Bench(method, [rng.randint(1, 5) for _ in range(size)]).measure()
    cells = [f"{method:16}{size:>7}"]
    for cost in (equal, mixed):
        mark = "*" if cost.pick > TARGET_NS else " "
        cells.append(
            f"{cost.pick / 1e3:9.2f}{mark}{cost.opened / 1e3:9.2f}{cost.closed / 1e3:9.2f}"
            f"{cost.build / 1e6:10.1f}"
        )
    return " |".join(cells)


def main(methods: Sequence[str]) -> None:
    """Print the table, of all algorithms unless some are named."""
    unknown = set(methods) - set(ALGORITHMS)
    if unknown:
        raise SystemExit(f"no such algorithm: {', '.join(sorted(unknown))}")
    columns = f"{'pick us':>10}{'opened':>9}{'closed':>9}{'build ms':>10}"
    print(f"{'':23} |{'equal weights':^38} |{'weights 1 to 5':^38}")
    print(f"{'algorithm':16}{'n':>7} |{columns} |{columns}")
    for method in methods or ALGORITHMS:
        for size in SIZES:
            print(row(method, size), flush=True)
    print(f"* a pick takes more than {TARGET_NS / 1e3:g} us (median)")


if __name__ == "__main__":
    main(sys.argv[1:])
