"""Capture files of UDP to table `flows`, and whether the packets that are missing are the links'.

What was captured at both ends of a client's way to the balancer tells how many packets were lost
between; the links' own counters tell how many they dropped. Both must agree, or something else
lost packets: then the loss that clients see is not the loss that was asked for.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments.tables.pcap.datagrams import (
    DatagramFlow,
    Packet,
    packets,
    track_datagrams,
)
from experiments.tables.pcap.flows import address_text, read_capture, whose_and_when
from experiments.tables.schema import flows_frame

NEVER, FOREVER = float("-inf"), float("inf")
TAIL_S = 0.5
"""Packets sent this shortly before a moment may still be under way at that moment."""


@dataclass(frozen=True)
class DatagramCapture:
    """What one capture point saw."""

    point: str
    flows: pd.DataFrame
    """Table `flows`, without backends."""
    times_s: Mapping[tuple[str, str], Sequence[float]]
    """When packets passed, fragments each for itself, by source and destination address."""
    end_s: float
    """When the last packet passed; -inf: none did."""

    def count(self, way: tuple[str, str], since_s: float = NEVER, until_s: float = FOREVER) -> int:
        """Packets that passed after `since_s`, up to and including `until_s`."""
        return sum(since_s < time_s <= until_s for time_s in self.times_s.get(way, ()))


def read_datagrams(
    path: Path, point: str, *, clock_offset_s: float = 0.0, t0_s: float = 0.0
) -> DatagramCapture:
    """One pcap file; arguments and errors as in `experiments.tables.pcap.flows.read_flows`."""
    captured = read_capture(path, lambda frames, link_type: list(packets(frames, link_type)))
    zero_s = clock_offset_s + t0_s
    return DatagramCapture(
        point,
        flows_frame(_row(flow, point, zero_s) for flow in track_datagrams(captured)),
        _times(captured),
        captured[-1].time_s if captured else NEVER,
    )


@dataclass(frozen=True, slots=True)
class WayCheck:
    """One direction between a client and the balancer: packets missing, and dropped by its link."""

    direction: str
    missing: int
    dropped: int
    at_least: int
    at_most: int

    @property
    def ok(self) -> bool:
        """What is missing was dropped by the link, and all that it dropped is missing."""
        return self.at_least <= self.missing <= self.at_most


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

    Captures end one after another, and late answers may still flow then: if their ends lie apart,
    compared is what passed until the first of the two ended. What the link dropped later cannot be
    more than what passed later (at losses below one half).
    """
    up = (addresses[client.point], addresses[balancer.point])
    end_s = min(client.end_s, balancer.end_s)
    until_s = end_s if max(client.end_s, balancer.end_s) - end_s > TAIL_S else FOREVER
    ways = (
        (f"{client.point}->s1", client, balancer, up),
        (f"s1->{client.point}", balancer, client, up[::-1]),
    )
    checks = []
    for direction, sender, receiver, way in ways:
        later = sender.count(way, end_s) + receiver.count(way, end_s)
        under_way = sender.count(way, end_s - TAIL_S, until_s)
        checks.append(
            WayCheck(
                direction,
                missing=sender.count(way, NEVER, until_s) - receiver.count(way, NEVER, until_s),
                dropped=dropped.get(direction, 0),
                at_least=dropped.get(direction, 0) - later,
                at_most=dropped_after.get(direction, 0) + under_way,
            )
        )
    return checks


def _times(captured: Iterable[Packet]) -> dict[tuple[str, str], list[float]]:
    times: dict[tuple[bytes, bytes], list[float]] = defaultdict(list)
    for packet in captured:
        times[packet.source, packet.destination].append(packet.time_s)
    return {
        (address_text((source, 0)), address_text((destination, 0))): at
        for (source, destination), at in times.items()
    }


def _row(flow: DatagramFlow, point: str, zero_s: float) -> dict[str, object]:
    ways = {"up": flow.up, "down": flow.down}
    counts = ("packets", "wire_bytes", "payload_bytes")
    return {
        **whose_and_when(flow, point, zero_s),
        "protocol": "udp",
        "last_up_s": flow.last_up_s - zero_s,
        **{f"{what}_{way}": getattr(sent, what) for way, sent in ways.items() for what in counts},
    }
