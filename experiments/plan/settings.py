"""The groups of settings of a scenario, with units in the names and their defaults."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from experiments.plan.workload import Demand, Distribution
from nginy.config.guard_settings import (
    AgentCheckSettings,
    HealthCheckSettings,
    LiveSettings,
    QueueSettings,
    SlowStartSettings,
    UdpSettings,
)
from nginy.config.schema import Retries
from nginy.config.settings import Count, Seconds
from topologies.shapes.shape import LinkSpec, Shape
from topologies.shapes.shapes import star


class SettingsModel(BaseModel):
    """Frozen settings; a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LinkSettings(SettingsModel):
    """One kind of link. Every value holds for each direction by itself; delay is one way."""

    delay_ms: float = Field(0, ge=0, le=10_000)
    jitter_ms: float = Field(0, ge=0, le=10_000)
    loss_pct: float = Field(0, ge=0, lt=100)
    rate_mbps: float | None = Field(None, ge=0.1, le=10_000)

    @model_validator(mode="after")
    def _jitter_fits(self) -> "LinkSettings":
        if self.jitter_ms > self.delay_ms:
            raise ValueError(f"jitter_ms {self.jitter_ms:g} exceeds delay_ms {self.delay_ms:g}")
        return self

    def spec(self) -> LinkSpec:
        """The same values as the topology wants them."""
        return LinkSpec(**self.model_dump())


class NetworkSettings(SettingsModel):
    """A star: clients and backends around one switch, the balancer on a port of its own."""

    clients: int = Field(3, ge=1, le=50)
    backends: int = Field(4, ge=1, le=50)
    client_link: LinkSettings = LinkSettings()
    balancer_link: LinkSettings = LinkSettings()
    backend_link: LinkSettings = LinkSettings()
    congestion_control: str = "cubic"

    def shape(self) -> Shape:
        """The pure description that `topologies.build.network` builds."""
        return star(
            self.clients,
            self.backends,
            client_link=self.client_link.spec(),
            balancer_link=self.balancer_link.spec(),
            backend_link=self.backend_link.spec(),
        )


class BackendSettings(SettingsModel):
    """The emulated servers. `speeds` and `weights` give one value per backend; empty: all 1."""

    servers: int = Field(1, ge=1, le=1000)
    queue_limit: int = Field(1000, ge=0)
    speeds: tuple[Annotated[float, Field(gt=0, le=1000)], ...] = ()
    weights: tuple[Annotated[int, Field(ge=1)], ...] = ()


class BalancerSettings(SettingsModel):
    """What the balancer under test is configured with besides its algorithm, in nginy's words.

    `auto`: checked over a port of their own if the scenario has faults, else not; agents are asked
    if a backend is drained; backends push load reports if the algorithm is one that reads them.
    """

    health_check: HealthCheckSettings | Literal["auto"] | None = "auto"
    agent_check: AgentCheckSettings | Literal["auto"] | None = "auto"
    load_reports: bool | Literal["auto"] = "auto"
    max_fails: Count = 0
    fail_timeout_s: Seconds = 10.0
    max_connections: Count = 0
    slow_start: SlowStartSettings = SlowStartSettings()
    queue: QueueSettings = QueueSettings()
    live_connections: LiveSettings = LiveSettings()
    retries: Retries = Retries()
    all_down: Literal["refuse", "try_all"] = "refuse"
    udp: UdpSettings = UdpSettings()


class WorkloadSettings(SettingsModel):
    """Open-loop load: Poisson arrivals, demands drawn by the client from the seed.

    `load` is the offered load as a fraction of the backends' capacity, which is the sum over
    backends of servers * speed / mean demand. `mean_demand_ms` is the mean service time at speed 1;
    `demand_cv2` its squared coefficient of variation where the distribution leaves it free
    (lognormal, hyperexponential). With `protocol: udp` a connection is a flow: a client's socket,
    `mode: per_request` gives every request one of its own, and a response is one datagram.
    """

    load: float = Field(0.7, gt=0, le=2)
    mean_demand_ms: float = Field(20, gt=0, le=60_000)
    distribution: Distribution = "exponential"
    demand_cv2: float = Field(4, gt=0, le=1000)
    response_bytes: int = Field(20_000, ge=0, le=100_000_000)
    mode: Literal["per_request", "persistent"] = "per_request"
    connections: int = Field(8, ge=1, le=1000)
    timeout_ms: float = Field(5_000, gt=0, le=600_000)

    @model_validator(mode="after")
    def _demand_exists(self) -> "WorkloadSettings":
        Demand(self.distribution, self.mean_demand_ms, self.demand_cv2)
        return self
