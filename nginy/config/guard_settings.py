"""Settings that guard backends and the balancer: health checks, limits, access, queue. No I/O."""

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from nginy.address import Address
from nginy.config.parse import (
    InvalidValue,
    Network,
    parse_bytes,
    parse_nameserver,
    parse_networks,
    parse_pattern,
)
from nginy.config.pattern import Pattern
from nginy.config.settings import (
    Count,
    Flag,
    Name,
    Percent,
    Port,
    Positive,
    PositiveSeconds,
    Seconds,
    Settings,
)

Networks = Annotated[tuple[Network, ...], PlainValidator(parse_networks)]
Nameserver = Annotated[Address, PlainValidator(parse_nameserver)]
Bytes = Annotated[bytes, PlainValidator(parse_bytes)]
Expected = Annotated[Pattern, PlainValidator(parse_pattern)]
ByteRate = Annotated[float, Field(strict=True, ge=0, le=1e12, allow_inf_nan=False)]


class HealthCheckSettings(Settings):
    """An active health check of one backend."""

    type: Literal["tcp", "udp", "command"] = "tcp"
    """`tcp`: connect, then send and expect if set; `udp`: send, and expect an answer if set (else
    silence for `timeout_s` is success, and only an ICMP refusal fails; hosts limit the rate of
    these); `command`: run it, exit status 0 is success."""
    port: Port | None = None
    """Checked instead of the backend's own port; not for Unix sockets."""
    interval_s: PositiveSeconds = 2.0
    """From check to check (default 2)."""
    timeout_s: PositiveSeconds = 1.0
    """A check that takes longer has failed (default 1)."""
    rise: Positive = 2
    """Successes in a row until a backend that is down counts as up (default 2)."""
    fall: Positive = 3
    """Failures in a row until a backend that is up counts as down (default 3)."""
    jitter_pct: Percent = 10.0
    """Each interval is lengthened by chance by up to this much (default 10)."""
    initial: Literal["up", "down"] = "up"
    """Counts as this until checked otherwise; then the first result alone decides (default up)."""
    send: Bytes | None = None
    """Text to send; `hex:0a0b` for bytes."""
    expect: Expected | None = None
    """What the answer must contain within its first 16 KiB: text, `hex:0a0b`, or `regex:^OK` in
    RE2's syntax, which has no look-around (not `(?!ERR)` but `^[^E]`)."""
    command: tuple[Name, ...] = ()
    """Program and arguments; the environment has NGINY_BACKEND, NGINY_HOST and NGINY_PORT."""

    @model_validator(mode="after")
    def _complete(self) -> "HealthCheckSettings":
        if (self.type == "command") != bool(self.command):
            raise InvalidValue(
                "belongs to type: command, and that needs it",
                "a list such as [/bin/check]",
                "command",
            )
        if self.type == "udp" and self.send is None:
            raise InvalidValue("a udp check needs something to send", "text or hex:...", "send")
        for key in ("send", "expect"):
            if self.type == "command" and getattr(self, key) is not None:
                raise InvalidValue("has no effect with type: command", "type tcp or udp", key)
        return self


class AgentCheckSettings(Settings):
    """An agent beside the backend, asked over TCP, that answers one line of words (HAProxy's
    agent-check): `75%` (of the configured weight), `weight:5`, `maxconn:100`, `ready`, `drain`,
    `maint`, `up`, `down`. It cannot raise a weight above 1000 or, if larger, the configured one,
    and none of 0; it takes back only what it said itself. Backends at Unix sockets have none."""

    port: Port = Field(description="a port, 1 to 65535")
    """The agent's port on the backend's host."""
    interval_s: PositiveSeconds = 2.0
    """From question to question (default 2)."""
    timeout_s: PositiveSeconds = 1.0
    """Silence is no failure: what the agent said last stays (default 1)."""
    send: Bytes | None = None
    """Text to send first, or `hex:0a0b`; default nothing."""


class QueueSettings(Settings):
    """Where connections wait while every backend of a rule is full."""

    max_waiting: Count = 0
    """Connections that may wait; 0 (default): none, they are refused at once."""
    timeout_ms: Positive = 5_000
    """Waiting longer than this, a connection is refused (default 5 s)."""

    @model_validator(mode="after")
    def _somebody_waits(self) -> "QueueSettings":
        written = self.model_fields_set
        if "timeout_ms" in written and "max_waiting" not in written:
            raise InvalidValue("has no effect without max_waiting", "max_waiting", "timeout_ms")
        return self


EventPolicy = Literal["keep", "close", "close_spread", "rebind"]


class LiveSettings(Settings):
    """What happens to live connections and UDP sessions of a backend at an event: `keep`,
    `close` at once, `close_spread` evenly over `spread_s`, `rebind` to another backend (UDP)."""

    on_down: EventPolicy | None = None
    """The backend's health check fails or it is taken down. Default: close; UDP: rebind."""
    on_drain: EventPolicy = "keep"
    """It is drained, or its weight becomes 0 (default keep)."""
    on_removed: EventPolicy = "keep"
    """It is no longer configured, or its name no longer resolves to it (default keep)."""
    spread_s: PositiveSeconds = 30.0
    """How long close_spread takes (default 30)."""


class AccessSettings(Settings):
    """One line of an access list: `allow: CIDR` or `deny: CIDR`; the first that matches decides."""

    allow: Networks | None = None
    """Clients let in; `all` for everybody."""
    deny: Networks | None = None
    """Clients refused; `all` for everybody."""

    @model_validator(mode="before")
    @classmethod
    def _one_of_both(cls, data: Any) -> Any:
        # Unknown keys have an error of their own.
        if isinstance(data, dict) and data.keys() in (set(), {"allow", "deny"}):
            raise InvalidValue("needs one of allow and deny", "allow: CIDR or deny: CIDR")
        for key in ("allow", "deny"):
            if isinstance(data, dict) and key in data and data[key] is None:
                raise InvalidValue("no value is not a network", "a CIDR, or all", key)
        return data


class LimitSettings(Settings):
    """Caps of one rule. 0 (default everywhere): no limit."""

    max_connections: Count = 0
    """Open connections and UDP sessions of the rule."""
    max_connections_per_source: Count = 0
    """Open at the same time from one source."""
    new_per_s_per_source: Annotated[float, Field(strict=True, ge=0, le=1e9)] = 0.0
    """New ones per second from one source, in the long run."""
    burst_per_source: Positive = 10
    """How many may come at once before that rate is held (default 10)."""
    source_prefix_v4: Annotated[int, Field(strict=True, ge=0, le=32)] = 32
    """IPv4 clients that share this many leading bits are one source (default 32)."""
    source_prefix_v6: Annotated[int, Field(strict=True, ge=0, le=128)] = 64
    """IPv6 clients that share this many leading bits are one source (default 64)."""
    max_sources: Positive = 100_000
    """Sources remembered; beyond, the one longest silent is forgotten (default 100000)."""
    upload_bytes_per_s: ByteRate = 0.0
    """Client to backend, of each connection (nginx's proxy_upload_rate). UDP: all clients share one
    socket, so what exceeds cannot be left in it, and is dropped."""
    download_bytes_per_s: ByteRate = 0.0
    """Backend to client, of each connection (nginx's proxy_download_rate)."""


class GlobalLimitSettings(Settings):
    """Caps of the whole process. 0: no limit."""

    max_connections: Count = 0
    """Open connections and UDP sessions (default no limit)."""


class UdpSettings(Settings):
    """UDP sessions of a rule with `protocol: udp`."""

    idle_timeout_ms: Positive = 30_000
    """A session without a datagram either way ends after this (default 30 s)."""
    requests: Count = 0
    """Datagrams of the client after which its next one starts a new session (nginx's
    proxy_requests); 0 (default): any number."""
    responses: Count | None = None
    """Datagrams of the backend that end the session (nginx's proxy_responses): 0 expects no answer;
    default: any number."""
    max_sessions: Positive = 8_192
    """Sessions at the same time (default 8192; each needs a descriptor, and all UDP sessions of the
    process together have half of those at most: see `ulimit -n`)."""
    when_full: Literal["evict_oldest", "shed"] = "evict_oldest"
    """A new session when there are max_sessions: the one idle longest goes (if some never had an
    answer, of those), or the new one."""
    per_datagram: Flag = False
    """Every datagram is balanced by itself; replies still find their client (default false)."""
    receive_buffer_bytes: Count = 4_194_304
    """Kernel buffer of the listening socket, and of those towards backends (default 4 MiB)."""


class DnsSettings(Settings):
    """How names of backends are resolved."""

    nameservers: tuple[Nameserver, ...] = ()
    """`IP` or `IP:port`, asked in turn; default: the system's, with its search list, /etc/hosts and
    whatever else the system's own lookup knows."""
    min_ttl_s: PositiveSeconds = 1.0
    """A name is asked again no sooner than this (default 1)."""
    max_ttl_s: PositiveSeconds = 300.0
    """And no later than this (default 300); also for names without a TTL (/etc/hosts)."""
    timeout_s: PositiveSeconds = 5.0
    """Of one question (default 5); the old addresses stay while there is no answer."""
    hold_s: Seconds = 30.0
    """How long they stay when the answer is that the name has no address or does not exist
    (default 30, as HAProxy's hold nx)."""

    @model_validator(mode="after")
    def _ttls_fit(self) -> "DnsSettings":
        if self.min_ttl_s > self.max_ttl_s:
            raise InvalidValue(
                f"{self.min_ttl_s:g} exceeds max_ttl_s", f"at most {self.max_ttl_s:g}", "min_ttl_s"
            )
        return self


class PassiveSettings(Settings):
    """How far failures of live traffic may thin out a rule's backends."""

    max_ejected_pct: Percent = 100.0
    """At most this share of the backends is left alone because of max_fails (default 100)."""


class SlowStartSettings(Settings):
    """The ramp of new and recovered backends."""

    duration_s: Seconds = 0.0
    """From the floor to full weight, linearly; 0 (default): at once."""
    floor_pct: Annotated[float, Field(strict=True, ge=1, le=100)] = 10.0
    """Share of its weight that the backend starts with (default 10)."""
