"""The parameters of every balancing algorithm: one class per `strategy.type`. No I/O.

The docstring of a class is its line in `nginy algorithms`, those of its attributes describe its
parameters there.
"""

from math import isqrt
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from nginy.config.parse import InvalidValue, parse_strategy_type
from nginy.config.settings import Flag, Port, Positive, PositiveSeconds, Settings

HashKey = Literal["address", "address_port"]
Metric = Literal["connect", "first_byte", "last_byte"]
LoadFactor = Annotated[float, Field(strict=True, gt=1, le=1000)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
NotNegative = Annotated[float, Field(strict=True, ge=0, le=1e9, allow_inf_nan=False)]


class StrategySettings(Settings):
    """The balancing algorithm of a rule."""

    type: str
    """Its name; `nginy algorithms` lists them."""


class RoundRobinSettings(StrategySettings):
    """In turn, by weight, spread evenly (nginx's default)."""

    type: Literal["round_robin"] = "round_robin"


class LeastConnSettings(StrategySettings):
    """Fewest open connections per weight (nginx's least_conn)."""

    type: Literal["least_conn"] = "least_conn"


class RandomSettings(StrategySettings):
    """By chance, in proportion to weight (nginx's random)."""

    type: Literal["random"] = "random"


class RandomTwoSettings(StrategySettings):
    """The less loaded of two drawn by weight (nginx's random two least_conn)."""

    type: Literal["random_two"] = "random_two"


class SourceHashSettings(StrategySettings):
    """A client address keeps its backend: hash modulo weight (nginx's hash $remote_addr)."""

    type: Literal["source_hash"] = "source_hash"


class KeyedSettings(StrategySettings):
    """What the algorithms share that hash a key."""

    key: HashKey = "address"
    """What is hashed: the client's `address`, or `address_port` (every connection by itself)."""


class HashSettings(KeyedSettings):
    """Hash of the key modulo weight (nginx's hash KEY)."""

    type: Literal["hash"] = "hash"


class IpHashSettings(StrategySettings):
    """Clients of one IPv4 /24 share a backend (ip_hash of nginx's http module)."""

    type: Literal["ip_hash"] = "ip_hash"


class BoundedSettings(KeyedSettings):
    """What the consistent hashes share."""

    load_factor: LoadFactor | None = None
    """No backend takes more than this times its fair share of the open connections (1.25, say);
    who would exceed it hands the client on. Default: no bound."""


class KetamaSettings(BoundedSettings):
    """Consistent ring, mapping as nginx's hash KEY consistent, key for key."""

    type: Literal["ketama"] = "ketama"


class RingHashSettings(BoundedSettings):
    """Consistent ring of xxHash points (Envoy's ring_hash)."""

    type: Literal["ring_hash"] = "ring_hash"
    minimum_ring_size: Annotated[int, Field(strict=True, ge=1, le=8_388_608)] = 1024
    """Points on the ring at least (default 1024)."""
    maximum_ring_size: Annotated[int, Field(strict=True, ge=1, le=8_388_608)] = 8_388_608
    """Points on the ring at most (default 8388608)."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> "RingHashSettings":
        if self.minimum_ring_size > self.maximum_ring_size:
            raise InvalidValue(
                f"{self.minimum_ring_size} exceeds maximum_ring_size",
                f"at most {self.maximum_ring_size}",
                "minimum_ring_size",
            )
        return self


class MaglevSettings(BoundedSettings):
    """Consistent table lookup, the most even of the hashes (Google's Maglev)."""

    type: Literal["maglev"] = "maglev"
    table_size: Annotated[int, Field(strict=True, ge=2, le=5_000_011)] = 65_537
    """Slots, a prime, at least 100 per backend for an even spread (default 65537)."""

    @model_validator(mode="after")
    def _prime(self) -> "MaglevSettings":
        if not _is_prime(self.table_size):
            below = next(n for n in range(self.table_size, 1, -1) if _is_prime(n))
            raise InvalidValue(
                f"{self.table_size} is not a prime", f"a prime, such as {below}", "table_size"
            )
        return self


class SourceSettings(StrategySettings):
    """Source address as HAProxy's balance source maps it."""

    type: Literal["source"] = "source"
    method: Literal["map", "consistent"] = "map"
    """HAProxy's hash-type: `map` (default) or `consistent`."""
    avalanche: Flag | None = None
    """HAProxy's avalanche modifier; default as in HAProxy: on for `consistent`, off for `map`."""
    load_factor: LoadFactor | None = None
    """HAProxy's hash-balance-factor / 100, for `consistent` only. Default: no bound."""

    @model_validator(mode="after")
    def _bound_is_for_consistent(self) -> "SourceSettings":
        if self.load_factor is not None and self.method != "consistent":
            raise InvalidValue(
                f"has no effect with method: {self.method}", "method: consistent", "load_factor"
            )
        return self


class FirstSettings(StrategySettings):
    """The first in the configuration's order that has room (HAProxy's first)."""

    type: Literal["first"] = "first"


class LeastTimeSettings(StrategySettings):
    """Shortest average time times open connections, per weight (nginx's least_time)."""

    type: Literal["least_time"] = "least_time"
    metric: Metric = "first_byte"
    """Time to `connect`, to the `first_byte` (default) or to the `last_byte`."""
    inflight: Flag = False
    """Count the age of connections that are still waiting, too (default false)."""


class PeakEwmaSettings(StrategySettings):
    """The cheaper of two by decaying peak latency times open connections (Finagle)."""

    type: Literal["peak_ewma"] = "peak_ewma"
    metric: Metric = "first_byte"
    """Time to `connect`, to the `first_byte` (default) or to the `last_byte`."""
    decay_s: PositiveSeconds = 10.0
    """How fast a measured latency is forgotten (time constant, default 10)."""
    initial_ms: NotNegative | None = None
    """Assumed of a backend not yet measured; default: each unknown one is tried once (Finagle)."""


class LeastBytesSettings(StrategySettings):
    """Least recent traffic per weight, both directions, forgotten exponentially."""

    type: Literal["least_bytes"] = "least_bytes"
    decay_s: PositiveSeconds = 10.0
    """How fast past bytes are forgotten (time constant, default 10)."""


class JoinIdleQueueSettings(StrategySettings):
    """A backend that is idle, longest idle first; if none is, by chance."""

    type: Literal["join_idle_queue"] = "join_idle_queue"
    otherwise: Literal["random", "random_two", "least_conn"] = "random"
    """What decides when nobody is idle (default random, as in the paper)."""


class PrequalSettings(StrategySettings):
    """Backends are probed for load and latency; the fastest that is not hot (Google's Prequal)."""

    type: Literal["prequal"] = "prequal"
    probe_port: Port | None = None
    """UDP port of the backend that answers probes; default: its own port."""
    probes_per_pick: NotNegative = 3.0
    """Probes sent per connection, fractions by chance (r_probe, default 3)."""
    removed_per_pick: NotNegative = 1.0
    """Answers dropped per connection, oldest and worst in turn (r_remove, default 1)."""
    pool_size: Positive = 16
    """Answers kept at most (m, default 16)."""
    max_age_s: PositiveSeconds = 1.0
    """An answer older than this is dropped (default 1)."""
    idle_probe_s: PositiveSeconds = 0.5
    """Without connections, probe this often (default 0.5)."""
    delta: NotNegative = 1.0
    """Net rate at which answers may pile up; enters how often one is reused (default 1)."""
    hot_quantile: Fraction = 0.84
    """A backend above this quantile of requests in flight is hot (Q_RIF, default 0.84)."""


class AdaptiveSettings(StrategySettings):
    """By the load the backends report: cpu, mem, net, io (He and Tan, an interpretation)."""

    type: Literal["adaptive"] = "adaptive"
    coefficients: tuple[NotNegative, NotNegative, NotNegative, NotNegative] = (1.5, 1.0, 0.5, 0.1)
    """Of cpu, mem, net, io; only their proportions count (default 1.5, 1, 0.5, 0.1)."""
    alpha: Annotated[float, Field(strict=True, gt=0, le=100)] = 0.75
    """A backend is acceptable up to alpha times the mean load per weight (default 0.75)."""
    gain: NotNegative = 0.1
    """How strongly weights follow the connection counts at each update (default 0.1)."""
    interval_s: PositiveSeconds = 1.0
    """Time between updates of the weights (default 1)."""
    report_ttl_s: PositiveSeconds = 10.0
    """A report older than this counts no more (default 10)."""

    @model_validator(mode="after")
    def _some_coefficient(self) -> "AdaptiveSettings":
        if not any(self.coefficients):
            raise InvalidValue("all are 0", "at least one above 0", "coefficients")
        return self


def _is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, isqrt(number) + 1))


STRATEGIES: dict[str, type[StrategySettings]] = {
    settings.model_fields["type"].default: settings
    for settings in (
        RoundRobinSettings,
        LeastConnSettings,
        RandomSettings,
        RandomTwoSettings,
        SourceHashSettings,
        HashSettings,
        IpHashSettings,
        KetamaSettings,
        RingHashSettings,
        MaglevSettings,
        SourceSettings,
        FirstSettings,
        LeastTimeSettings,
        PeakEwmaSettings,
        LeastBytesSettings,
        JoinIdleQueueSettings,
        PrequalSettings,
        AdaptiveSettings,
    )
}
"""By the name in the configuration."""

SYNONYMS = {"RoundRobin": "round_robin", "SourceIPHash": "source_hash", "Adaptive": "adaptive"}
"""The original project's spellings."""


def strategy_settings(data: Any) -> type[StrategySettings]:
    """The class for a rule's `strategy` mapping, by its `type`. Raises InvalidValue."""
    if not isinstance(data, dict) or "type" not in data:
        return RoundRobinSettings
    return STRATEGIES[parse_strategy_type(data["type"], tuple(STRATEGIES), SYNONYMS)]
