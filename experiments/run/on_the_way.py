"""From captures at both ends: how long the packets between clients and balancer took."""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from experiments.judge.punctuality import LATE_MS, OneWay, one_way_error
from experiments.lab.capture import Capture
from experiments.plan.settings import NetworkSettings
from experiments.tables.pcap.one_way import one_way, read_stamps

LATE_COLUMNS = ["local", "arrived_s", "late_ms"]


def measured_ways(
    network: NetworkSettings,
    captures: Sequence[Capture],
    addresses: Mapping[str, str],
    balancer: str,
    t0_s: float,
) -> tuple[list[OneWay], pd.DataFrame]:
    """Each direction, and the packets that were late (`LATE_COLUMNS`, for
    `experiments.judge.punctuality.added_ms`).

    Nothing where a packet's time is not known beforehand (jitter, or a rate of the balancer's link,
    where what goes to backends queues with it), or where one of the ends was not captured.
    """
    links = network.client_link, network.balancer_link
    known = not any(link.jitter_ms for link in links) and links[1].rate_mbps is None
    by_point = {capture.point: capture for capture in captures}
    if not known or balancer not in by_point or len(by_point) == 1:
        return [], pd.DataFrame(columns=LATE_COLUMNS)
    asked_ms = sum(link.delay_ms for link in links)
    ways: list[OneWay] = []
    late: list[pd.DataFrame] = []
    rate_mbps = network.client_link.rate_mbps
    for client, direction, packets in _packets(by_point, addresses, balancer, rate_mbps):
        ways.append(one_way_error(client, direction, asked_ms, packets))
        late.append(_late(packets, asked_ms, f"{addresses[client]}:", direction))
    zero_s = by_point[balancer].clock_offset_s + t0_s
    found = pd.concat(late, ignore_index=True) if late else pd.DataFrame(columns=LATE_COLUMNS)
    return ways, found.assign(arrived_s=found["arrived_s"] - zero_s)


def _packets(
    captures: Mapping[str, Capture],
    addresses: Mapping[str, str],
    balancer: str,
    rate_mbps: float | None,
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Client, direction, and what was seen at both ends, if anything was."""
    at_balancer = read_stamps(captures[balancer].path)
    packed = {host: ipaddress.IPv4Address(address).packed for host, address in addresses.items()}
    for client in captures:
        if client == balancer:
            continue
        at_client = read_stamps(captures[client].path)
        ends = packed[client], packed[balancer]
        for direction, packets in (
            ("up", one_way(at_client, at_balancer, ends, rate_mbps)),
            ("down", one_way(at_balancer, at_client, ends[::-1], rate_mbps)),
        ):
            if len(packets):
                yield client, direction, packets


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
