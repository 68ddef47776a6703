"""A link's rate: a token bucket in front of the wire, at each of its two sending ends.

One mechanism for every way of delaying and losing packets, so a rate means the same everywhere:
what leaves the host is queued at the host's own interface, as at a real network card, and what
leaves the switch at the switch port.
"""

from collections.abc import Collection

from topologies.emulate.port import Port
from topologies.machine.namespaces import execute
from topologies.shapes.shape import LinkSpec

FRAME_BYTES = 1514
MIN_QUEUE_PACKETS = 100
# One timer tick of a 250 Hz kernel is 4 ms, but tbf uses high-resolution timers: 1 ms of tokens
# keeps the queue's wake-ups to 1000 a second and still lets no burst through that TCP would see.
BURST_MS = 1.0
_BELOW_NETEM = ["parent", "1:1"]


def queue_bytes(spec: LinkSpec) -> int:
    """The queue in front of a limited link: what was asked, or one bandwidth-delay product of the
    link's own round trip, and at least 100 full frames (a small router's buffer)."""
    if spec.rate_mbps is None:
        raise ValueError("a link without a rate has no queue")
    if spec.queue_packets is not None:
        return spec.queue_packets * FRAME_BYTES
    bandwidth_delay = spec.rate_mbps * 1e6 / 8 * 2 * spec.delay_ms / 1e3
    return max(MIN_QUEUE_PACKETS * FRAME_BYTES, int(bandwidth_delay))


def burst_bytes(rate_mbps: float) -> int:
    """The bucket: `BURST_MS` of the rate, and at least two full frames."""
    return max(2 * FRAME_BYTES, int(rate_mbps * 1e6 / 8 * BURST_MS / 1e3))


def tbf(spec: LinkSpec) -> list[str]:
    """The words of `tc qdisc add` after the parent."""
    if spec.rate_mbps is None:
        raise ValueError("a link without a rate has no bucket")
    rate = f"{round(spec.rate_mbps * 1e6)}bit"
    burst = str(burst_bytes(spec.rate_mbps))
    return ["tbf", "rate", rate, "burst", burst, "limit", str(queue_bytes(spec))]


def limit_host(port: Port) -> None:
    """Limit what leaves the host, at its own interface; nothing at a trunk."""
    leaving, _ = port.link.directions
    if port.egress(leaving) is None and port.link.leaving.rate_mbps is not None:
        _tc("add", port.end_pid, port.end_interface, ["root"], port.link.leaving)


def limit_switch(port: Port, below: Collection[str] = ()) -> None:
    """Limit what leaves switches, at the root of the sending port; of the directions `below`, under
    the netem that is there."""
    for direction, spec in port.link.specs.items():
        place = port.egress(direction)
        if place is not None and spec.rate_mbps is not None:
            _tc("add", *place, _BELOW_NETEM if direction in below else ["root"], spec)


def change_rate(port: Port, direction: str) -> None:
    """Give the bucket of a direction that has one the rate that `port` now says."""
    place = port.egress(direction) or (port.end_pid, port.end_interface)
    parent = _BELOW_NETEM if _has_netem(*place) else ["root"]
    _tc("change", *place, parent, port.link.specs[direction])


def _has_netem(pid: int, interface: str) -> bool:
    return "netem" in execute(pid, ["tc", "qdisc", "show", "dev", interface])


def _tc(verb: str, pid: int, interface: str, parent: list[str], spec: LinkSpec) -> None:
    execute(pid, ["tc", "qdisc", verb, "dev", interface, *parent, *tbf(spec)])
