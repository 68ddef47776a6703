"""Capture files to table `flows`, joined with the balancer's records and checked with the kernel.

`python -m experiments.tables.pcap.flows FILE` prints the flows of a file, and how fast it was read.
"""

import socket
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd
from scapy.error import Scapy_Exception
from scapy.utils import RawPcapReader

from experiments.tables.pcap.datagrams import DatagramFlow
from experiments.tables.pcap.segments import segments
from experiments.tables.pcap.tcp import Endpoint, Flow, track
from experiments.tables.schema import DatasetError, flows_frame
from experiments.tables.serving_backend import nearest_backend
from nginy.address import Address

Read = TypeVar("Read")


def read_flows(
    path: Path, point: str, *, clock_offset_s: float = 0.0, t0_s: float = 0.0
) -> pd.DataFrame:
    """Table `flows` of one pcap file (any byte order, micro- or nanoseconds, cut at the end).

    `clock_offset_s` is what the capture measured of CLOCK_REALTIME - CLOCK_MONOTONIC, `t0_s` the
    monotonic start of load. `backend` is still empty: see `join_backends`.
    DatasetError if the file is no capture or of an unknown link type.
    """
    flows = read_capture(path, lambda frames, link_type: track(segments(frames, link_type)))
    return flows_frame(_row(flow, point, clock_offset_s + t0_s) for flow in flows)


def read_capture(path: Path, read: Callable[[Iterator[tuple[float, bytes]], int], Read]) -> Read:
    """What `read` makes of the frames (time, bytes) of a pcap file and of its link type.

    DatasetError if the file is no capture, or `read` raises KeyError for the link type.
    """
    try:
        reader = RawPcapReader(str(path))
    except (OSError, Scapy_Exception) as error:
        raise DatasetError(f"{path} is not a capture: {error}") from error
    with reader:
        try:
            return read(_packets(reader), reader.linktype)
        except KeyError as error:
            raise DatasetError(f"{path} has link type {reader.linktype}, not known") from error


def join_backends(
    flows: pd.DataFrame, connections: pd.DataFrame, known: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """`flows` with `backend` filled in from the balancer's records.

    Backend side: by the server's address; `known` are addresses (`ip:port`) of backends that no
    record may name, such as those that only refused. Client side: by the client's address and
    port; where a port was used again, the record opened nearest in time. Stays null for what no
    record names.
    """
    carried = connections.dropna(subset=["backend"])
    by_server = dict(zip(carried["backend_address"], carried["backend"], strict=True))
    by_server |= known or {}
    server = _endpoints(flows, "server")
    ends = pd.DataFrame({"client": _endpoints(flows, "client"), "opened_s": flows["first_s"]})
    nearest = nearest_backend(ends, connections)
    return flows.assign(backend=server.map(by_server).astype("str").fillna(nearest))


@dataclass(frozen=True, slots=True)
class RetransmissionCheck:
    """One capture point's own retransmissions: as captured, and as its kernel counted them."""

    point: str
    captured: int
    kernel: int
    kernel_after: int
    lost_before_capture: int

    @property
    def ok(self) -> bool:
        """Every retransmission is in the capture but those lost before it, and none besides."""
        return self.kernel - self.lost_before_capture <= self.captured <= self.kernel_after


def check_retransmissions(
    flows: pd.DataFrame,
    kernel_counts: Mapping[str, int],
    local_addresses: Mapping[str, Collection[str]],
    kernel_counts_after: Mapping[str, int] | None = None,
    lost_before_capture: Mapping[str, int] | None = None,
) -> list[RetransmissionCheck]:
    """Compare flows with the growth of `Tcp: RetransSegs` (/proc/net/snmp) at each capture point.

    All mappings have capture points as keys. `local_addresses`: those of that host; only what it
    sent itself is compared. RetransSegs counts repeated data and FIN, SYN, and SYN/ACK segments
    (Linux 6.18, tests/root/test_capture_retransmissions.py), so all four are added up.

    They agree exactly, but for two things. A connection may still repeat its FIN while a capture
    is being ended: `kernel_counts` is the growth read before that, `kernel_counts_after` the one
    read after it (none given: the same), and the capture's count lies between them. And packets
    may be lost before the capture sees them: `lost_before_capture` is the sum of the drops of the
    host's own queueing discipline and of the capture.
    """
    after, lost = kernel_counts_after or kernel_counts, lost_before_capture or {}
    return [
        RetransmissionCheck(
            point,
            _own_retransmissions(flows[flows["capture_point"] == point], local_addresses[point]),
            kernel,
            after[point],
            lost.get(point, 0),
        )
        for point, kernel in kernel_counts.items()
    ]


def uncaptured(
    requests: pd.DataFrame, flows: pd.DataFrame, balancers: Collection[str]
) -> dict[str, int]:
    """By client and for all balancers (`balancer`), where they were captured: the connections or
    sessions whose answers clients have and that no capture there has seen."""
    answered = requests[requests["status"] == "ok"][["client", "local"]].drop_duplicates()
    places = {point: [point] for point in answered["client"].unique()}
    captured = set(flows["capture_point"])
    missing = {}
    for place, points in [*places.items(), ("balancer", list(balancers))]:
        if captured.isdisjoint(points):
            continue
        seen = _endpoints(flows[flows["capture_point"].isin(points)], "client")
        here = answered[answered["client"] == place] if place in places else answered
        missing[place] = int((~here["local"].isin(set(seen))).sum())
    return missing


def _own_retransmissions(flows: pd.DataFrame, addresses: Collection[str]) -> int:
    as_client = flows[flows["client_address"].isin(addresses)]
    as_server = flows[flows["server_address"].isin(addresses)]
    return int(
        as_client[["retransmissions_up", "syn_retries"]].to_numpy().sum()
        + as_server[["retransmissions_down", "synack_retries"]].to_numpy().sum()
    )


def _packets(reader: RawPcapReader) -> Iterator[tuple[float, bytes]]:
    fraction_s = 1e-9 if reader.nano else 1e-6
    for frame, (second, fraction, _, _) in reader:
        yield second + fraction * fraction_s, frame


def _endpoints(flows: pd.DataFrame, end: str) -> pd.Series:
    hosts, ports = flows[f"{end}_address"], flows[f"{end}_port"]
    texts = [str(Address(host, port)) for host, port in zip(hosts, ports, strict=True)]
    return pd.Series(texts, index=flows.index, dtype="str")


def address_text(endpoint: Endpoint) -> str:
    """The address of an endpoint as people write it."""
    family = socket.AF_INET if len(endpoint[0]) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, endpoint[0])


def whose_and_when(flow: Flow | DatagramFlow, point: str, zero_s: float) -> dict[str, object]:
    """The columns of table `flows` that TCP and UDP have alike; times count from `zero_s`."""
    return {
        "capture_point": point,
        "client_address": address_text(flow.client),
        "client_port": flow.client[1],
        "server_address": address_text(flow.server),
        "server_port": flow.server[1],
        "first_s": flow.first_s - zero_s,
        "last_s": flow.last_s - zero_s,
        "duration_s": flow.last_s - flow.first_s,
    }


def _row(flow: Flow, point: str, zero_s: float) -> dict[str, object]:
    ways = {"up": flow.up, "down": flow.down}
    counts = ("packets", "wire_bytes", "payload_bytes", "retransmissions", "out_of_order")
    return {
        **whose_and_when(flow, point, zero_s),
        "syn_retries": flow.syn_retries,
        "synack_retries": flow.synack_retries,
        "handshake_rtt_ms": flow.handshake_rtt_ms,
        "server_rtt_ms": flow.server_rtt_ms,
        "client_rtt_ms": flow.client_rtt_ms,
        "ended": flow.ended,
        "protocol": "tcp",
        **{f"{what}_{way}": getattr(sent, what) for way, sent in ways.items() for what in counts},
    }


def main(path: Path) -> None:
    """Print the flows of `path`, and how fast they were read."""
    start_s = time.perf_counter()
    flows = read_flows(path, path.stem)
    seconds = time.perf_counter() - start_s
    packets = int(flows[["packets_up", "packets_down"]].to_numpy().sum())
    print(flows.drop(columns=["capture_point", "backend"]).to_string(max_rows=40))
    print(f"{packets} packets, {len(flows)} flows in {seconds:.2f} s: {packets / seconds:.0f}/s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
