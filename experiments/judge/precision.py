"""How much too high a run's latencies may be, because this machine was late. Pure.

Being late is an uncertainty of the result. It is stated with every run, and refuses one only where
it could change what the run shows. Three parts of this machine can make a request late beside the
network and the system under test:

- **the links**, once per packet that a request waits for in turn: `round_trips` times up
  and down. The 99th percentiles of these packets are added up. That bounds the 99th percentile of
  the sum when all are late together, and when they are late by turns if the tail falls off faster
  than 1 / x (Danielsson et al., "Fat tails, VaR and subadditivity", J. Econometrics 172, 2013). It
  is on the safe side: most packets are far less late than their p99.
- **the generators**: latency counts from the intended start.
- **the backends**, which are emulated: how late they answer after the end of a service.
- **the balancer's wait for a processor** that others hold. The kernel counts its sum, so this is
  a mean: what shifts the whole curve.

Stolen time needs no bound of its own: where more than one moment in a hundred is stolen, more than
one packet in a hundred falls into one, and the p99 above is how long they last.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from experiments.judge.punctuality import OneWay
from experiments.lab.host_load import RunQueue
from experiments.plan.scenario import Scenario
from topologies.emulate.method import DirectionCounters
from topologies.shapes.shape import Host, Role, Shape

SHARE = 0.10
"""Of the median latency. The links' own delays are accepted within 10 % (RTT_RELATIVE in
topologies/verify/checks.py): what the machine adds may be no more than that."""

FLOOR_MS = 2.0
"""Never refused below: 1 ms of the generators (wrk2's granularity) and 1 ms of the links, which is
what is accepted of each where precision is wanted."""

_MSS_BYTES = 1448
_INITIAL_WINDOW = 10
"""Segments that TCP sends before the first acknowledgement (RFC 6928)."""


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """What was added to a request's latency at most, at p99, part by part (ms)."""

    links_ms: float
    links_max_ms: float
    """The latest single packet."""
    generators_ms: float
    balancer_ms: float
    median_latency_ms: float
    """Of the answered requests; 0 without any."""
    backends_ms: float = 0.0
    one_way: tuple[OneWay, ...] = ()
    """By captures, each direction between a client and the balancer; none where that cannot be
    compared (jitter, a rate, no captures)."""

    @property
    def added_ms(self) -> float:
        """All parts together."""
        return self.links_ms + self.generators_ms + self.balancer_ms + self.backends_ms

    @property
    def added_pct(self) -> float | None:
        """Of the median latency; None without one."""
        return 100 * self.added_ms / self.median_latency_ms if self.median_latency_ms else None

    @property
    def allowed_ms(self) -> float:
        """More could change what the run shows."""
        return max(FLOOR_MS, SHARE * self.median_latency_ms)

    @property
    def acceptable(self) -> bool:
        """Whether the run shows the same with and without it."""
        return self.added_ms <= self.allowed_ms

    @property
    def cause(self) -> str:
        """The largest part, in words."""
        parts = {
            "links late": self.links_ms,
            "generators late": self.generators_ms,
            "backends late": self.backends_ms,
            "balancer kept waiting for a processor": self.balancer_ms,
        }
        return max(parts, key=lambda name: parts[name])

    @property
    def detail(self) -> str:
        """Every part, for the verdict's check."""
        return (
            f"{self} (links {self.links_ms:.1f} ms, latest packet {self.links_max_ms:.1f} ms; "
            f"generators {self.generators_ms:.1f} ms; backends {self.backends_ms:.1f} ms; balancer "
            f"waiting {self.balancer_ms:.1f} ms), "
            f"allowed {self.allowed_ms:.1f} ms"
        )

    def __str__(self) -> str:
        """`latencies up to 2.1 ms (1.3 %) too high at p99, links late`."""
        share = "" if self.added_pct is None else f" ({self.added_pct:.1f} %)"
        return f"latencies up to {self.added_ms:.1f} ms{share} too high at p99, {self.cause}"

    def to_json(self) -> dict[str, Any]:
        """For verdict.json."""
        return {
            **asdict(self),
            "added_ms": self.added_ms,
            "added_pct": self.added_pct,
            "allowed_ms": self.allowed_ms,
        }


def assess(
    scenario: Scenario,
    counters: Mapping[str, DirectionCounters],
    waited: RunQueue | None,
    generators_late_ms: Mapping[str, float],
    median_latency_ms: float,
    *,
    backends_late_ms: Collection[float] = (),
    one_way: Sequence[OneWay] = (),
) -> Uncertainty:
    """Of one run: the links' `counters` by direction, how the balancer `waited` for a processor,
    what `generators_ms` found, the median latency of the answered requests (0 without any), p99 of
    each backend's lateness, and what captures at both ends say of the way.

    Of what the emulator says of itself and what the captures show, the worse counts: it cannot know
    how long a packet waited before the kernel told it, and the captures are only at two hosts.
    """
    work = scenario.workload
    trips = round_trips(scenario.protocol, work.usual_response_bytes, alone=work.alone)
    return Uncertainty(
        links_ms=max(links_ms(scenario.topology, counters, trips), way_ms(one_way, trips)),
        links_max_ms=max(
            *(each.lateness_max_ms or 0.0 for each in counters.values()),
            *(way.max_ms for way in one_way),
            0.0,
            0.0,
        ),
        generators_ms=max(generators_late_ms.values(), default=0.0),
        balancer_ms=balancer_ms(waited, trips),
        median_latency_ms=median_latency_ms,
        backends_ms=max(backends_late_ms, default=0.0),
        one_way=tuple(one_way),
    )


def way_ms(one_way: Sequence[OneWay], trips: int) -> float:
    """What late packets between clients and balancer add to a request at p99: `trips` up and down,
    each the worst of all clients."""
    worst = {
        direction: max((way.p99_ms for way in one_way if way.direction == direction), default=0.0)
        for direction in ("up", "down")
    }
    return trips * sum(max(0.0, late_ms) for late_ms in worst.values())


def round_trips(protocol: str, response_bytes: float, *, alone: bool) -> int:
    """Round trips of a request between client and balancer, one after another, without loss.

    UDP: 1. TCP: one for the request and the first ten segments of the answer, one for each further
    window of twice the size, and one for the handshake if it is `alone` on its connection.
    """
    if protocol == "udp":
        return 1
    segments = max(1, math.ceil(response_bytes / _MSS_BYTES))
    windows = math.ceil(math.log2(segments / _INITIAL_WINDOW + 1))
    return windows + alone


def links_ms(shape: Shape, counters: Mapping[str, DirectionCounters], trips: int) -> float:
    """What late packets add to a request at p99.

    `counters` by direction (`c1->s1`); where the kernel keeps the time (netem) it tells nothing,
    and nothing is added. A request makes `trips` round trips between its client and the balancer,
    and as many between the balancer and its backend; of each, the worst pair of hosts counts.
    """
    late_ms = {name: counted.lateness_p99_ms or 0.0 for name, counted in counters.items()}

    def worst_ms(sources: Sequence[Host], destinations: Sequence[Host]) -> float:
        return max(
            sum(
                late_ms.get(edge, 0.0)
                for ends in ((one.name, other.name), (other.name, one.name))
                for edge in shape.way(*ends)
            )
            for one in sources
            for other in destinations
        )

    clients, balancers, backends = map(shape.with_role, get_args(Role))
    return trips * (worst_ms(clients, balancers) + worst_ms(balancers, backends))


def balancer_ms(waited: RunQueue | None, trips: int) -> float:
    """Mean time that a request waits because the balancer waits for a processor; 0 if not known.

    It must run when a client is there, when the backend is reached, when the request is, and for
    each window of the answer.
    """
    if waited is None or not waited.runs:
        return 0.0
    return (trips + 2) * 1000 * waited.waited_s / waited.runs


def generators_ms(summaries: Collection[Mapping[str, Any]]) -> dict[str, float]:
    """By client, p99 of actual minus intended start; infinite where nothing was sent of what should
    have been. Clients that had nothing to send are left out."""
    return {
        item["client"]: (item["lateness_ms"] or {}).get("p99", math.inf)
        for item in summaries
        if item["offered"]
    }
