"""Every setting of the configuration file: its type, unit, default and meaning. No I/O."""

from pydantic import BaseModel, ConfigDict

from nginy.address import Address


STRATEGY_TYPES = ("round_robin", "least_conn", "random", "random_two", "source_hash")


class Settings(BaseModel):
    """A group of settings: unchangeable, and a key nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Timeouts(Settings):
    """How long to wait, in milliseconds."""

    connect_timeout_ms: int = 5000
    idle_timeout_ms: int = 600_000
    half_closed_timeout_ms: int = 30_000
    drain_timeout_ms: int = 30_000


class Retries(Settings):
    """How many backends to try for one connection, and for how long in all."""

    max_tries: int = 3
    total_timeout_ms: int = 10_000


class BackendSettings(Settings):
    """One backend."""

    id: str
    address: Address
    weight: int = 1
    max_connections: int = 0
    max_fails: int = 0
    fail_timeout_s: float = 10.0
    down: bool = False


class StrategySettings(Settings):
    """The balancing algorithm of a rule and its parameters."""

    type: str = "round_robin"
