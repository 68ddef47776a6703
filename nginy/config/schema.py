"""Every setting of the configuration file: its type, unit, default and meaning. No I/O.

The file is YAML, in the shape of the original project's, which loads unchanged:

    backends:
      - {id: srv-1, address: "10.0.1.11:8081"}
      - {id: srv-2, address: "10.0.1.12:8082", weight: 2}
    clusters:
      main-api: [srv-1, srv-2]
    rules:
      - clients: ["0.0.0.0/0:8080"]
        targets: [main-api]
        strategy: {type: least_conn}
"""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, PlainValidator, model_validator

from nginy.address import Address
from nginy.config.guard_settings import (
    AccessSettings,
    AgentCheckSettings,
    DnsSettings,
    GlobalLimitSettings,
    HealthCheckSettings,
    LimitSettings,
    LiveSettings,
    PassiveSettings,
    QueueSettings,
    SlowStartSettings,
    UdpSettings,
)
from nginy.config.parse import (
    ClientMatch,
    InvalidValue,
    parse_address,
    parse_at,
    parse_client,
    parse_endpoint,
    parse_host,
    parse_port,
    parse_socket_path,
)
from nginy.config.settings import Count, Flag, Name, Positive, PositiveSeconds, Seconds, Settings
from nginy.config.strategies import RoundRobinSettings, StrategySettings

HostPort = Annotated[Address, PlainValidator(parse_address)]
Endpoint = Annotated[Address, PlainValidator(parse_endpoint)]
SocketPath = Annotated[str, PlainValidator(parse_socket_path)]


class ConnectionTimeouts(Settings):
    """How long one connection waits, in milliseconds. Global, and overridden per rule."""

    connect_timeout_ms: Positive = 5_000
    """For one attempt to connect to one backend (default 5 s)."""
    idle_timeout_ms: Positive = 600_000
    """A connection without a byte in either direction is closed after this (default 10 min)."""
    half_closed_timeout_ms: Positive = 30_000
    """The same once one side has finished sending (default 30 s)."""
    backend_finished_timeout_ms: Positive | None = 2_000
    """The same if that side is the backend (default 2 s): the connection takes a place of its
    `max_connections` until it is closed, and few clients have more to say; null:
    half_closed_timeout_ms."""
    keepalive_idle_s: Annotated[int, Field(strict=True, ge=0, le=32_767)] = 0
    """TCP keepalive on both sides: the first probe after so long a silence; 0 (default): off. A
    peer that vanished is found; a quiet one that lives stays, up to idle_timeout_ms."""
    keepalive_interval_s: Annotated[int, Field(strict=True, ge=1, le=32_767)] = 10
    """From probe to probe (default 10)."""
    keepalive_count: Annotated[int, Field(strict=True, ge=1, le=127)] = 3
    """Probes without an answer until the connection is dead (default 3)."""
    user_timeout_ms: Count = 0
    """TCP_USER_TIMEOUT (RFC 5482) on both sides: sent data may stay unacknowledged for so long;
    0 (default): the system's limit, about 15 minutes."""


class Timeouts(ConnectionTimeouts):
    """The global timeouts, in milliseconds."""

    drain_timeout_ms: Positive = 30_000
    """After SIGTERM, connections still open when this has passed are closed (default 30 s)."""
    handover_ms: Count = 1_000
    """Before that, after SIGTERM: newcomers are still served, until a successor has taken over the
    listening sockets, or this has passed (default 1 s); 0: they are not."""


class Retries(Settings):
    """What one connection may try before it is given up. Global, and overridden per rule."""

    max_tries: Positive = 3
    """Backends tried, the first included (default 3); each at most once."""
    total_timeout_ms: Positive = 10_000
    """No further attempt starts once this has passed, in milliseconds (default 10 s)."""


class BackendSettings(Settings):
    """One backend: an entry of `backends`."""

    id: Name = Field(description="a unique name")
    """Unique among backends and clusters."""
    address: Endpoint = Field(
        validation_alias=AliasChoices("address", "ip"),
        description="IP:port, such as 10.0.1.11:8081, name:port or unix:/path",
    )
    """`IP:port`, `name:port` (every address it resolves to is a backend of its own) or
    `unix:/path`; `ip` is the same, also with the port apart (`ip: 10.0.1.11`, `port: 8081`)."""
    weight: Count = 1
    """Share of connections relative to the other backends (default 1); 0: drained."""
    backup: Flag = False
    """Only used when no backend that is not a backup can be (default false)."""
    max_connections: Count = 0
    """Connections open at the same time; 0 (default): no limit."""
    max_fails: Count = 0
    """Failed attempts before the backend is left alone; 0 (default): never (nginx's is 1)."""
    fail_timeout_s: Seconds = 10.0
    """How long it is left alone, in seconds (default 10)."""
    fail_timeout_max_s: PositiveSeconds | None = None
    """Failing again right after, it is left alone twice as long, up to this; default: as before."""
    down: Flag = False
    """Never chosen (default false). It keeps its place in hashes."""
    slow_start: SlowStartSettings = SlowStartSettings()
    """What is set here overrides the global slow_start."""
    health_check: HealthCheckSettings | None = None
    """Instead of the global health_check."""
    agent_check: AgentCheckSettings | None = None
    """Instead of the global agent_check."""

    @model_validator(mode="before")
    @classmethod
    def _join_port(cls, data: Any) -> Any:
        """`ip` and `port` apart, as in the original project's file."""
        if not isinstance(data, dict):
            return data
        for key in ("ip", "port"):
            if "address" in data and key in data:
                expected = "address: IP:port alone, or ip and port"
                raise InvalidValue("stands beside address, which says it all", expected, key)
        if "port" not in data or "ip" not in data:
            return data
        host = parse_at("ip", _parse_ip, data["ip"])
        port = parse_at("port", parse_port, data["port"])
        rest = {key: value for key, value in data.items() if key != "port"}
        return rest | {"ip": Address(host, port)}

    @model_validator(mode="after")
    def _penalty_makes_sense(self) -> "BackendSettings":
        _check_penalty(self)
        return self


def _parse_ip(value: object) -> str:
    try:
        return parse_host(value)
    except InvalidValue as error:
        hint = f"{error.expected}; a name goes into address, as name:port"
        raise InvalidValue(error.message, hint) from None


def _check_penalty(backend: BackendSettings) -> None:
    """Raises InvalidValue for what would have no effect."""
    written = backend.model_fields_set
    for key in ("fail_timeout_s", "fail_timeout_max_s"):
        if key in written and "max_fails" not in written:
            expected = "max_fails: 1, say, which is nginx's default and not this program's"
            raise InvalidValue("has no effect without max_fails", expected, key)
    longest_s = backend.fail_timeout_max_s
    if longest_s is not None and longest_s < backend.fail_timeout_s:
        expected = f"at least {backend.fail_timeout_s:g}"
        raise InvalidValue(f"{longest_s:g} is below fail_timeout_s", expected, "fail_timeout_max_s")


class RuleSettings(Settings):
    """Which clients go where: an entry of `rules`."""

    name: Name | None = None
    """For logs and figures; default: its place in the file, `rules[0]`."""
    clients: tuple[Annotated[ClientMatch, PlainValidator(parse_client)], ...] = ()
    """`CIDR:port`, the port being the balancer's. Of all rules, the longest prefix that holds the
    client on that port wins. At least one."""
    protocol: Literal["tcp", "udp"] = "tcp"
    """Default tcp."""
    targets: tuple[Name, ...] = ()
    """Ids of clusters and backends; one named twice counts once. At least one."""
    strategy: StrategySettings = RoundRobinSettings()
    """Its class is the one of its `type` (`nginy.config.strategies`)."""
    all_down: Literal["refuse", "try_all"] = "refuse"
    """When no backend is up (health, penalty), backups included: refuse, or choose among all."""
    timeouts: ConnectionTimeouts = ConnectionTimeouts()
    """What is set here overrides the global timeouts."""
    retries: Retries = Retries()
    """What is set here overrides the global retries."""
    queue: QueueSettings = QueueSettings()
    live_connections: LiveSettings = LiveSettings()
    access: tuple[AccessSettings, ...] = ()
    """In order; the first line that matches the client decides; none: allowed."""
    limits: LimitSettings = LimitSettings()
    passive: PassiveSettings = PassiveSettings()
    udp: UdpSettings = UdpSettings()


class FileSettings(Settings):
    """The whole file."""

    backends: tuple[Any, ...] = ()
    """Each a BackendSettings, validated one by one so that one fault hides no other."""
    clusters: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)
    """A name for several backends, by their ids."""
    rules: tuple[Any, ...] = ()
    """Each a RuleSettings, validated one by one."""
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    bind_addresses: Annotated[
        tuple[Annotated[str, BeforeValidator(parse_host)], ...], Field(min_length=1)
    ] = ("0.0.0.0",)
    """Every port of a rule is listened to on each of these. Default: 0.0.0.0, and `::` too if
    any rule has IPv6 clients."""
    access_log: Name | None = None
    """A path, or `-` for standard output; default: no access log."""
    status_socket: SocketPath | None = None
    """Where `nginy status` asks: a path from the root, or `off`; default: made from the path of
    this file and the user, so that `nginy status -c FILE` finds it."""
    health_check: HealthCheckSettings | None = None
    """Of every backend that has none of its own; default: none is checked."""
    agent_check: AgentCheckSettings | None = None
    """Of every backend that has none of its own; default: no agents."""
    slow_start: SlowStartSettings = SlowStartSettings()
    limits: GlobalLimitSettings = GlobalLimitSettings()
    dns: DnsSettings = DnsSettings()
    healthcheck_addr: HostPort | None = None
    """Where backends push load reports as JSON lines, over TCP; default: not listened to."""
    iperf_addr: HostPort | None = None
    """Accepted for the original project's files and not used."""
