"""From captures at both ends: how long the packets between clients and balancer took."""

import ipaddress
from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.judge.punctuality import LATE_MS, OneWay, one_way_error
from experiments.lab.capture import Capture
from experiments.tables.pcap.one_way import Stamps, one_way, read_stamps
from topologies.shapes.shape import Shape

LATE_COLUMNS = ["local", "arrived_s", "late_ms"]


def measured_ways(
    shape: Shape, captures: Sequence[Capture], balancers: Sequence[str], t0_s: float
) -> tuple[list[OneWay], pd.DataFrame]:
    """Each direction between a client and a balancer, and the packets that were late
    (`LATE_COLUMNS`, for `experiments.judge.punctuality.added_ms`).

    Nothing of a direction where a packet's time is not known beforehand (`_expected`), or where one
    of the ends was not captured.
    """
    by_point = {capture.point: capture for capture in captures}
    stamps = {point: read_stamps(each.path) for point, each in by_point.items()}
    ways: list[OneWay] = []
    late: list[pd.DataFrame] = []
    for balancer in (name for name in balancers if name in by_point):
        zero_s = by_point[balancer].clock_offset_s + t0_s
        for client in (host.name for host in shape.with_role("client") if host.name in by_point):
            for direction, ends in (("up", (client, balancer)), ("down", (balancer, client))):
                packets, asked_ms = _packets(shape, stamps, client, ends)
                if len(packets):
                    ways.append(one_way_error(client, direction, asked_ms, packets))
                    local = f"{shape.host(client).address}:"
                    found = _late(packets, asked_ms, local, direction)
                    late.append(found.assign(arrived_s=found["arrived_s"] - zero_s))
    empty = pd.DataFrame(columns=LATE_COLUMNS)
    return ways, pd.concat(late, ignore_index=True) if late else empty


def _packets(
    shape: Shape, stamps: Mapping[str, Stamps], client: str, ends: tuple[str, str]
) -> tuple[pd.DataFrame, float]:
    """What was seen at both ends, if anything was, and the delay asked of the way (ms)."""
    expected = _expected(shape, client, ends)
    if expected is None:
        return pd.DataFrame(), 0.0
    asked_ms, rate_mbps = expected
    source, destination = (ipaddress.IPv4Address(shape.host(end).address).packed for end in ends)
    packets = one_way(stamps[ends[0]], stamps[ends[1]], (source, destination), rate_mbps)
    return packets, asked_ms


def _expected(
    shape: Shape, client: str, ends: tuple[str, str]
) -> tuple[float, float | None] | None:
    """Delay (ms) and rate that explain how long a packet takes from one end to the other.

    None where it is not known beforehand: with jitter or reordering, with a link that a fault
    changes, and with a rate where others queue with it (only the client's own link is its alone).
    """
    edges = shape.way(*ends)
    specs = [shape.specs[edge] for edge in edges]
    changes = {edge for link in shape.links if link.changes for edge in link.directions}
    own = shape.link_of(client).directions
    shared = any(shape.specs[edge].rate_mbps for edge in edges if edge not in own)
    if shared or changes & set(edges) or any(each.jitter_ms or each.reorder_pct for each in specs):
        return None
    rates = [each.rate_mbps for each in specs if each.rate_mbps is not None]
    return sum(each.delay_ms for each in specs), (rates[0] if rates else None)


def _late(packets: pd.DataFrame, asked_ms: float, host: str, direction: str) -> pd.DataFrame:
    late_ms = packets["delay_ms"] - packets["queue_ms"] - asked_ms
    late = packets[late_ms > LATE_MS]
    port = "source_port" if direction == "up" else "destination_port"
    return pd.DataFrame(
        {
            "local": host + late[port].astype(str),
            "arrived_s": late["sent_s"] + late["delay_ms"] / 1e3,
            "late_ms": late_ms[late_ms > LATE_MS],
        }
    )
