"""Capture files of UDP to table `flows`, and whether the packets that are missing are the links'.

What was captured at both ends of a client's way to the balancer tells how many packets were lost
between; the links' own counters tell how many they dropped. Both must agree, or something else
lost packets: then the loss that clients see is not the loss that was asked for.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments.flows import address_text, read_capture
from experiments.pcap_datagrams import (
    DatagramFlow,
    Packet,
    count_packets,
    packets,
    track_datagrams,
)
from experiments.tables import flows_frame

TAIL_S = 0.5
"""Packets this near to the end of a capture may still be under way when the other one ends."""


@dataclass(frozen=True)
class DatagramCapture:
    """What one capture point saw."""

    point: str
    flows: pd.DataFrame
    """Table `flows`, without backends."""
    counts: Counter[tuple[str, str]]
    """Packets, fragments each for itself, by source and destination address."""
    tail: Counter[tuple[str, str]]
    """Those of the last TAIL_S."""


def read_datagrams(
    path: Path, point: str, *, clock_offset_s: float = 0.0, t0_s: float = 0.0
) -> DatagramCapture:
    """One pcap file; arguments and errors as in `experiments.flows.read_flows`."""
    captured = read_capture(path, lambda frames, link_type: list(packets(frames, link_type)))
    end_s = captured[-1].time_s if captured else 0.0
    zero_s = clock_offset_s + t0_s
    return DatagramCapture(
        point,
        flows_frame(_row(flow, point, zero_s) for flow in track_datagrams(captured)),
        _counts(captured),
        _counts(packet for packet in captured if packet.time_s > end_s - TAIL_S),
    )


@dataclass(frozen=True, slots=True)
class WayCheck:
    """One direction between a client and the balancer: packets missing, and dropped by its link."""

    direction: str
    missing: int
    dropped: int
    dropped_after: int

    @property
    def ok(self) -> bool:
        """What is missing was dropped by the link, and all that it dropped is missing."""
        return self.dropped <= self.missing <= self.dropped_after


def check_ways(
    client: DatagramCapture,
    balancer: DatagramCapture,
    addresses: Mapping[str, str],
    dropped: Mapping[str, int],
    dropped_after: Mapping[str, int],
) -> list[WayCheck]:
    """Both directions between a client and the balancer, whose own link drops nothing.

    `dropped`: per direction (`c1->s1`) before the captures ended, `dropped_after` once they had;
    a direction without impairment is missing in both. `addresses`: of each host.
    """
    up = (addresses[client.point], addresses[balancer.point])
    ways = (
        (f"{client.point}->s1", client, balancer, up),
        (f"s1->{client.point}", balancer, client, up[::-1]),
    )
    return [
        WayCheck(
            direction,
            sender.counts[way] - receiver.counts[way],
            dropped.get(direction, 0),
            dropped_after.get(direction, 0) + sender.tail[way],
        )
        for direction, sender, receiver, way in ways
    ]


def _counts(captured: Iterable[Packet]) -> Counter[tuple[str, str]]:
    counted = count_packets(captured)
    return Counter(
        {
            (address_text((source, 0)), address_text((destination, 0))): count
            for (source, destination), count in counted.items()
        }
    )


def _row(flow: DatagramFlow, point: str, zero_s: float) -> dict[str, object]:
    ways = {"up": flow.up, "down": flow.down}
    counts = ("packets", "wire_bytes", "payload_bytes")
    return {
        "capture_point": point,
        "client_address": address_text(flow.client),
        "client_port": flow.client[1],
        "server_address": address_text(flow.server),
        "server_port": flow.server[1],
        "first_s": flow.first_s - zero_s,
        "last_s": flow.last_s - zero_s,
        "duration_s": flow.last_s - flow.first_s,
        "protocol": "udp",
        "last_up_s": flow.last_up_s - zero_s,
        **{f"{what}_{way}": getattr(sent, what) for way, sent in ways.items() for what in counts},
    }
