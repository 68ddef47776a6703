"""The kinds of workload, as a scenario file chooses them: `workload: {kind: NAME, ...}`.

All but `closed` and `wrk` are open loops: what is sent does not wait for what came back, so a slow
system gets no mercy. What each kind sends is planned by the function of its name in `plan.py`."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from experiments.plan.base import SettingsModel
from experiments.plan.workload.laws import Demand, Distribution, SizeLaw, Sizes
from experiments.plan.workload.streams import Phase

MAX_BYTES = 100_000_000


class Workload(SettingsModel):
    """What every kind has."""

    timeout_ms: float = Field(5_000, gt=0, le=600_000)

    @property
    def demand(self) -> Demand:
        """Of one request."""
        raise NotImplementedError

    @property
    def offered_load(self) -> float | None:
        """As a fraction of the backends' capacity; None where it does not follow from that."""
        return None

    @property
    def offered_rps(self) -> float | None:
        """Of all clients together, where it is given as such."""
        return None

    @property
    def alone(self) -> bool:
        """Whether each request has a connection (over UDP: a flow) of its own."""
        return False

    @property
    def usual_response_bytes(self) -> float:
        """The mean."""
        raise NotImplementedError

    @property
    def most_response_bytes(self) -> float:
        """None is larger."""
        return self.usual_response_bytes

    @property
    def closed_loop(self) -> bool:
        """Whether a slow system is asked less: its latencies are not those of an open loop."""
        return False


class Served(Workload):
    """What is served for a time: `mean_demand_ms` is the mean service time at speed 1, `demand_cv2`
    its squared coefficient of variation where the distribution leaves it free (lognormal,
    hyperexponential)."""

    mean_demand_ms: float = Field(20, gt=0, le=60_000)
    distribution: Distribution = "exponential"
    demand_cv2: float = Field(4, gt=0, le=1000)
    response_bytes: int = Field(20_000, ge=0, le=MAX_BYTES)
    request_bytes: int = Field(0, ge=0, le=MAX_BYTES)
    """Payload of a request, beside its header."""

    @model_validator(mode="after")
    def _demand_exists(self) -> "Served":
        _ = self.demand
        return self

    @property
    def demand(self) -> Demand:
        """The law of the settings."""
        return Demand(self.distribution, self.mean_demand_ms, self.demand_cv2)

    @property
    def usual_response_bytes(self) -> float:
        """All are alike."""
        return self.response_bytes


class PhaseSettings(SettingsModel):
    """One part of a `profile`."""

    until_s: float = Field(gt=0)
    factor: float = Field(ge=0, le=100)


class Requests(Served):
    """Poisson arrivals at `load`, the offered load as a fraction of the backends' capacity, which
    is the sum over backends of servers * speed / mean demand.

    `mode: per_request` gives every request a connection of its own; with `persistent` request n of
    a client travels on connection n mod `connections`. With `protocol: udp` a connection is a flow,
    a client's socket, and a response is one datagram. `profile`: until when the rate is how many
    times that of `load`, in order; afterwards it is that of `load` (on and off, or a flash crowd).
    """

    kind: Literal["requests"] = "requests"
    load: float = Field(0.7, gt=0, le=2)
    mode: Literal["per_request", "persistent"] = "per_request"
    connections: int = Field(8, ge=1, le=1000)
    profile: tuple[PhaseSettings, ...] = ()

    @model_validator(mode="after")
    def _profile_goes_forward(self) -> "Requests":
        ends = [phase.until_s for phase in self.profile]
        if ends != sorted(set(ends)):
            raise ValueError("profile: each until_s must be later than the one before")
        return self

    @property
    def offered_load(self) -> float | None:
        """Outside of the profile."""
        return self.load

    @property
    def alone(self) -> bool:
        """By the mode."""
        return self.mode == "per_request"

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The profile."""
        return tuple(Phase(each.until_s, each.factor) for each in self.profile)


class LongLived(Served):
    """The same requests as `requests` with this load and seed, on `connections` of each client that
    live long, as of clients of a database or a message broker.

    They are uneven: a connection's share of its client's requests is lognormal with `rate_cv2`.
    With `lifetime_s` each is closed after an exponential time and another opened in its place."""

    kind: Literal["long_lived"]
    load: float = Field(0.7, gt=0, le=2)
    connections: int = Field(16, ge=1, le=1000)
    rate_cv2: float = Field(2.0, ge=0, le=100)
    lifetime_s: float | None = Field(None, gt=0)

    @property
    def offered_load(self) -> float | None:
        """Of all connections together."""
        return self.load


class Closed(Served):
    """`users` in all, spread over the clients in turn. Each asks, waits for the answer, thinks for
    an exponential time, and asks again, on a connection of its own per request.

    With `sessions_per_s` (partly open) users arrive at that rate in all, ask `requests_per_session`
    times in the mean (geometric), and leave: Schroeder et al., "Open versus closed: a cautionary
    tale", NSDI 2006.
    """

    kind: Literal["closed"]
    users: int = Field(20, ge=1, le=10_000)
    think_ms: float = Field(200, ge=0, le=600_000)
    sessions_per_s: float | None = Field(None, gt=0, le=10_000)
    requests_per_session: float = Field(5, ge=1, le=1000)

    @property
    def alone(self) -> bool:
        """Yes."""
        return True

    @property
    def closed_loop(self) -> bool:
        """Yes."""
        return True


class Bulk(Workload):
    """Transfers of heavy-tailed sizes, each on a connection of its own, Poisson arrivals, together
    `offered_mbps` of payload. `direction`: `down` from the backends, `up` to them, `both`."""

    kind: Literal["bulk"]
    offered_mbps: float = Field(50, gt=0, le=10_000)
    sizes: SizeLaw = "bounded_pareto"
    mean_bytes: float = Field(100_000, ge=1, le=MAX_BYTES)
    size_cv2: float = Field(4, gt=0, le=1000)
    tail_index: float = Field(1.2, gt=0, le=10)
    spread: float = Field(1000, gt=1, le=1e9)
    scale: float = Field(1.0, gt=0, le=1)
    """Of the measured laws, whose largest flows are of 30 MB and 1 GB."""
    direction: Literal["down", "up", "both"] = "down"
    timeout_ms: float = Field(60_000, gt=0, le=600_000)

    @property
    def law(self) -> Sizes:
        """Of the settings."""
        return Sizes(
            self.sizes, self.mean_bytes, self.size_cv2, self.tail_index, self.spread, self.scale
        )

    @property
    def demand(self) -> Demand:
        """Nothing is computed: what takes time is the way."""
        return Demand("constant", 0.001)

    @property
    def alone(self) -> bool:
        """Yes."""
        return True

    @property
    def usual_response_bytes(self) -> float:
        """None of an upload."""
        return 0 if self.direction == "up" else self.law.mean()


class Trace(Workload):
    """What a file says: CSV or parquet with the columns time_s, client (a name or number; all else
    follows in turn), request_bytes, response_bytes and demand_ms, one row per request (times from
    any zero). `speedup`: of its clock."""

    kind: Literal["trace"]
    path: str
    speedup: float = Field(1.0, gt=0, le=1e6)
    connections: int = Field(0, ge=0, le=1000)
    """0: each request has its own."""

    @property
    def demand(self) -> Demand:
        """Not known before the file is read; that of the backends' capacity."""
        return Demand("constant", 1.0)

    @property
    def alone(self) -> bool:
        """By `connections`."""
        return self.connections == 0

    @property
    def usual_response_bytes(self) -> float:
        """Not known before the file is read."""
        return 0


class Calls(Workload):
    """Voice over UDP: each client holds `calls_per_client` calls, each a flow that carries
    `payload_bytes` both ways every `packet_ms` (G.711 by default: 160 bytes in 20 ms)."""

    kind: Literal["calls"]
    calls_per_client: int = Field(10, ge=1, le=1000)
    packet_ms: float = Field(20, ge=1, le=1000)
    payload_bytes: int = Field(160, ge=1, le=1400)
    timeout_ms: float = Field(1_000, gt=0, le=600_000)

    @property
    def demand(self) -> Demand:
        """Next to nothing: the other side speaks at once."""
        return Demand("constant", 0.001)

    @property
    def usual_response_bytes(self) -> float:
        """As much as is sent."""
        return self.payload_bytes


class Http(Workload):
    """What real servers are asked: `GET /<response_bytes>` over HTTP/1.1, Poisson arrivals, in all
    `rate_rps`. How long a server takes for it is its own affair, so there is no load and no demand.
    `mode` and `connections` as of `requests`."""

    kind: Literal["http"]
    rate_rps: float = Field(50, gt=0, le=100_000)
    response_bytes: int = Field(20_000, ge=1, le=MAX_BYTES)
    mode: Literal["per_request", "persistent"] = "per_request"
    connections: int = Field(8, ge=1, le=1000)

    @property
    def demand(self) -> Demand:
        """Nobody knows; none is asked for."""
        return Demand("constant", 0.001)

    @property
    def offered_rps(self) -> float | None:
        """As given."""
        return self.rate_rps

    @property
    def alone(self) -> bool:
        """By the mode."""
        return self.mode == "per_request"

    @property
    def usual_response_bytes(self) -> float:
        """All are alike."""
        return self.response_bytes


class Wrk(Workload):
    """The same question from a real client: wrk in each client's host, `threads` that keep
    `connections` in all busy (a closed loop without thinking) for the length of the run. It gives
    its totals alone, no record of each request, and knows no warm-up."""

    kind: Literal["wrk"]
    connections: int = Field(8, ge=1, le=1000)
    threads: int = Field(1, ge=1, le=64)
    response_bytes: int = Field(20_000, ge=1, le=MAX_BYTES)

    @model_validator(mode="after")
    def _threads_have_connections(self) -> "Wrk":
        if self.threads > self.connections:
            raise ValueError(
                f"threads {self.threads}: expected at most one per connection ({self.connections})"
            )
        return self

    @property
    def demand(self) -> Demand:
        """Nobody knows; none is asked for."""
        return Demand("constant", 0.001)

    @property
    def usual_response_bytes(self) -> float:
        """All are alike."""
        return self.response_bytes

    @property
    def closed_loop(self) -> bool:
        """Yes."""
        return True


KINDS: tuple[type[Workload], ...] = (Requests, LongLived, Closed, Bulk, Trace, Calls, Http, Wrk)
KIND_NAMES = ("requests", "long_lived", "closed", "bulk", "trace", "calls", "http", "wrk")


def _kind(value: Any) -> Any:
    """Without one: `requests`, as scenario files of before there were kinds mean."""
    return (
        value.get("kind", "requests") if isinstance(value, dict) else getattr(value, "kind", None)
    )


WorkloadSettings = Annotated[
    Annotated[Requests, Tag("requests")]
    | Annotated[LongLived, Tag("long_lived")]
    | Annotated[Closed, Tag("closed")]
    | Annotated[Bulk, Tag("bulk")]
    | Annotated[Trace, Tag("trace")]
    | Annotated[Calls, Tag("calls")]
    | Annotated[Http, Tag("http")]
    | Annotated[Wrk, Tag("wrk")],
    Discriminator(_kind),
]
