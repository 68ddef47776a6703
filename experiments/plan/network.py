"""The shapes of network, as a scenario file chooses them: `network: {shape: NAME, ...}`."""

from collections import Counter
from typing import Annotated, Any, Literal, TypedDict

from pydantic import Discriminator, Field, Tag, model_validator

from experiments.plan.base import SettingsModel
from topologies.shapes.shape import Host, Link, LinkSpec, Role, Shape, Specs
from topologies.shapes.shapes import dumbbell, leaf_spine, star, two_sites

_FRAME_BITS = 1514 * 8

Delay = Annotated[float, Field(ge=0, le=10_000)]
Percent = Annotated[float, Field(ge=0, lt=100)]
Rate = Annotated[float, Field(ge=0.1, le=10_000)]


class OneWaySettings(SettingsModel):
    """What is different in one direction."""

    delay_ms: Delay | None = None
    jitter_ms: Delay | None = None
    loss_pct: Percent | None = None
    rate_mbps: Rate | None = None
    loss_burst_packets: float | None = Field(None, ge=1, le=1000)
    reorder_pct: Percent | None = None
    duplicate_pct: Percent | None = None
    queue_packets: int | None = Field(None, ge=1, le=1_000_000)


class LinkSettings(SettingsModel):
    """One kind of link. Every value holds for each direction by itself; delay is one way. What they
    mean: `LinkSpec` in topologies/shapes/shape.py.

    `up`, `down`: what is different towards the switch (over a trunk: away from the clients), and
    back. `queue_bdp`: the queue before the rate in bandwidth-delay products of the link's own round
    trip, instead of `queue_packets`.
    """

    delay_ms: Delay = 0
    jitter_ms: Delay = 0
    loss_pct: Percent = 0
    rate_mbps: Rate | None = None
    loss_burst_packets: float | None = Field(None, ge=1, le=1000)
    reorder_pct: Percent = 0
    duplicate_pct: Percent = 0
    queue_packets: int | None = Field(None, ge=1, le=1_000_000)
    queue_bdp: float | None = Field(None, gt=0, le=100)
    up: OneWaySettings | None = None
    down: OneWaySettings | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> "LinkSettings":
        if self.jitter_ms > self.delay_ms:
            raise ValueError(f"jitter_ms {self.jitter_ms:g} exceeds delay_ms {self.delay_ms:g}")
        if self.queue_bdp is not None and (self.queue_packets or not self.rate_mbps):
            raise ValueError("queue_bdp needs a rate_mbps, and no queue_packets")
        _ = self.specs
        return self

    @property
    def specs(self) -> tuple[LinkSpec, LinkSpec]:
        """What leaves the host, and what reaches it. Raises ValueError for what no link can do."""
        return self._spec(self.up), self._spec(self.down)

    def _spec(self, different: OneWaySettings | None) -> LinkSpec:
        values = self.model_dump(include=set(LinkSpec.__dataclass_fields__))
        if self.queue_bdp is not None:
            values["queue_packets"] = self._queue_packets(self.queue_bdp)
        if different is not None:
            values |= different.model_dump(exclude_none=True)
        return LinkSpec(**values)

    def _queue_packets(self, products: float) -> int:
        bits = (self.rate_mbps or 0) * 1e3 * 2 * self.delay_ms
        return max(1, round(products * bits / _FRAME_BITS))


class CongestionControl(SettingsModel):
    """By role."""

    client: str = "cubic"
    balancer: str = "cubic"
    backend: str = "cubic"


class HostLinks(TypedDict):
    """Of each role."""

    client_link: Specs
    balancer_link: Specs
    backend_link: Specs


class AnyNetwork(SettingsModel):
    """What every shape has."""

    congestion_control: str | CongestionControl = "cubic"

    def topology(self) -> Shape:
        """The pure description that `topologies.build.network` builds. Raises ValueError."""
        raise NotImplementedError

    def algorithms(self) -> dict[Role, str]:
        """The congestion control of each role."""
        asked = self.congestion_control
        if isinstance(asked, str):
            asked = CongestionControl(client=asked, balancer=asked, backend=asked)
        return {"client": asked.client, "balancer": asked.balancer, "backend": asked.backend}


class Network(AnyNetwork):
    """Shapes with numbered hosts, c1.., lb, b1.., whose links are alike by role."""

    clients: int = Field(3, ge=1, le=100_000)
    backends: int = Field(4, ge=1, le=100_000)
    client_link: LinkSettings = LinkSettings()
    balancer_link: LinkSettings = LinkSettings()
    backend_link: LinkSettings = LinkSettings()

    def links(self) -> HostLinks:
        """Of the hosts, as the shapes' functions take them."""
        return {
            "client_link": self.client_link.specs,
            "balancer_link": self.balancer_link.specs,
            "backend_link": self.backend_link.specs,
        }


class StarNetwork(Network):
    """Clients and backends around one switch, the balancer on a port of its own."""

    shape: Literal["star"] = "star"

    def topology(self) -> Shape:
        """See `topologies.shapes.shapes.star`."""
        return star(self.clients, self.backends, **self.links())


class ChainNetwork(Network):
    """A star with several balancers, each of which knows all backends and only its own load, and a
    stage before them that spreads connections."""

    shape: Literal["chain"]
    balancers: int = Field(2, ge=1, le=20)
    spread: Literal["flow", "client"] = "flow"
    """Which balancer a connection goes to: drawn anew for each, as routers do by a hash of
    addresses and ports (ECMP), or the same for all of a client."""

    def topology(self) -> Shape:
        """See `topologies.shapes.shapes.star`."""
        return star(self.clients, self.backends, balancers=self.balancers, **self.links())


class DumbbellNetwork(Network):
    """Clients here, balancer and backends there, one bottleneck between them."""

    shape: Literal["dumbbell"]
    bottleneck: LinkSettings = LinkSettings(delay_ms=10, rate_mbps=50)

    def topology(self) -> Shape:
        """See `topologies.shapes.shapes.dumbbell`."""
        return dumbbell(
            self.clients, self.backends, bottleneck=self.bottleneck.specs, **self.links()
        )


class TwoSitesNetwork(Network):
    """Near and far backends; the balancer is at the near site."""

    shape: Literal["two_sites"]
    far_backends: int = Field(2, ge=1)
    between_sites: LinkSettings = LinkSettings(delay_ms=15)

    def topology(self) -> Shape:
        """See `topologies.shapes.shapes.two_sites`."""
        return two_sites(
            self.clients,
            self.backends,
            self.far_backends,
            between_sites=self.between_sites.specs,
            **self.links(),
        )


class LeafSpineNetwork(Network):
    """Racks with several ways between them."""

    shape: Literal["leaf_spine"]
    leaves: int = Field(2, ge=2, le=9)
    spines: int = Field(2, ge=1, le=9)
    trunk: LinkSettings = LinkSettings()

    def topology(self) -> Shape:
        """See `topologies.shapes.shapes.leaf_spine`."""
        return leaf_spine(
            self.clients,
            self.backends,
            self.leaves,
            self.spines,
            trunk=self.trunk.specs,
            **self.links(),
        )


class NodeSettings(SettingsModel):
    """A host of a `custom` shape."""

    name: str
    role: Role


class EdgeSettings(LinkSettings):
    """A link of a `custom` shape: `between: [c1, s1]`, a host or switch and a switch."""

    between: tuple[str, str]


class CustomNetwork(AnyNetwork):
    """Hosts, switches and links one by one. Ways are the shortest, and fixed, so links between
    switches may form circles."""

    shape: Literal["custom"]
    hosts: tuple[NodeSettings, ...] = Field(min_length=3)
    switches: tuple[str, ...] = Field(min_length=1)
    links: tuple[EdgeSettings, ...] = Field(min_length=3)

    def topology(self) -> Shape:
        """As listed; hosts get addresses by their role and place."""
        subnets: dict[Role, int] = {"balancer": 0, "client": 1, "backend": 2}
        placed: Counter[Role] = Counter()
        hosts = []
        for each in self.hosts:
            placed[each.role] += 1
            address = f"10.0.{subnets[each.role]}.{placed[each.role]}"
            hosts.append(Host(each.name, each.role, address))
        if missing := [role for role in subnets if not placed[role]]:
            raise ValueError(f"hosts: none has the role {', '.join(missing)}")
        links = tuple(Link.of(*each.between, each.specs) for each in self.links)
        return Shape("custom", tuple(hosts), self.switches, links)


SHAPES = ("star", "chain", "dumbbell", "two_sites", "leaf_spine", "custom")


def _shape(value: Any) -> Any:
    """Without one: a star, as scenario files of before there were shapes mean."""
    return value.get("shape", "star") if isinstance(value, dict) else getattr(value, "shape", None)


NetworkSettings = Annotated[
    Annotated[StarNetwork, Tag("star")]
    | Annotated[ChainNetwork, Tag("chain")]
    | Annotated[DumbbellNetwork, Tag("dumbbell")]
    | Annotated[TwoSitesNetwork, Tag("two_sites")]
    | Annotated[LeafSpineNetwork, Tag("leaf_spine")]
    | Annotated[CustomNetwork, Tag("custom")],
    Discriminator(_shape),
]
