"""Captured frames to UDP flows and packet counts. Pure bytes in, numbers out.

A datagram larger than the links' MTU travels as fragments, of which only the first has ports; the
others are told by addresses and identification (RFC 791, 3.2). IPv4 only, as the virtual networks.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple

from experiments.tables.pcap.segments import TYPE_OFFSET_AND_LENGTH
from experiments.tables.pcap.tcp import Endpoint

_IPV4, _ICMP, _UDP = 0x0800, 1, 17
_TYPE = Struct("!H")
_IPV4_HEADER = Struct("!BxHHHxB2x4s4s")
_PORTS = Struct("!HH")
_UDP_HEADER_BYTES = 8
_ETHERNET_HEADER_BYTES = 14


class Packet(NamedTuple):
    """One IPv4 packet with UDP or ICMP in it."""

    time_s: float
    source: bytes
    destination: bytes
    is_udp: bool
    identification: int
    first_fragment: bool
    """Of a datagram, or the whole datagram."""
    ports: tuple[int, int] | None
    """Source and destination, of the first fragment."""
    payload_bytes: int
    """Of UDP, without its header."""
    wire_bytes: int
    """IP packet plus 14 bytes of Ethernet header, whatever the capture's own link type."""


class Way:
    """What one end of a flow sent."""

    __slots__ = ("packets", "payload_bytes", "wire_bytes")

    def __init__(self) -> None:
        """Nothing yet."""
        self.packets = self.wire_bytes = self.payload_bytes = 0


class DatagramFlow:
    """One UDP flow: all between two endpoints. `up` is from who spoke first. Times in seconds."""

    __slots__ = ("client", "down", "first_s", "last_s", "last_up_s", "server", "up")

    def __init__(self, client: Endpoint, server: Endpoint, first_s: float) -> None:
        """A flow whose first captured packet came at `first_s`."""
        self.client = client
        self.server = server
        self.first_s = self.last_s = self.last_up_s = first_s
        self.up, self.down = Way(), Way()

    def add(self, packet: Packet, *, upward: bool) -> None:
        """Count a packet or fragment."""
        way = self.up if upward else self.down
        way.packets += 1
        way.wire_bytes += packet.wire_bytes
        way.payload_bytes += packet.payload_bytes
        self.last_s = packet.time_s
        if upward:
            self.last_up_s = packet.time_s


def packets(frames: Iterable[tuple[float, bytes]], link_type: int) -> Iterator[Packet]:
    """The UDP and ICMP packets among `frames` (time, bytes), in their order, fragments too.

    KeyError for a link type that is not known.
    """
    type_offset, link_bytes = TYPE_OFFSET_AND_LENGTH[link_type]
    for time_s, frame in frames:
        if len(frame) < link_bytes + 28 or _TYPE.unpack_from(frame, type_offset)[0] != _IPV4:
            continue
        version, ip_bytes, identification, fragment, protocol, source, destination = (
            _IPV4_HEADER.unpack_from(frame, link_bytes)
        )
        if protocol not in (_ICMP, _UDP):
            continue
        header_bytes = (version & 0x0F) * 4
        first = not fragment & 0x1FFF
        has_ports = protocol == _UDP and first
        yield Packet(
            time_s,
            source,
            destination,
            protocol == _UDP,
            identification,
            first,
            _PORTS.unpack_from(frame, link_bytes + header_bytes) if has_ports else None,
            ip_bytes - header_bytes - (_UDP_HEADER_BYTES if first else 0),
            ip_bytes + _ETHERNET_HEADER_BYTES,
        )


def track_datagrams(captured: Iterable[Packet]) -> list[DatagramFlow]:
    """The flows of one capture point, in order of their first packet.

    A fragment whose first one was not seen is in none.
    """
    flows: list[DatagramFlow] = []
    ways: dict[tuple[Endpoint, Endpoint], tuple[DatagramFlow, bool]] = {}
    fragmented: dict[tuple[bytes, bytes, int], tuple[int, int]] = {}
    for packet in captured:
        if not packet.is_udp:
            continue
        datagram = (packet.source, packet.destination, packet.identification)
        if packet.ports is not None:
            fragmented[datagram] = packet.ports
        ports = packet.ports or fragmented.get(datagram)
        if ports is None:
            continue
        ends = ((packet.source, ports[0]), (packet.destination, ports[1]))
        if ends not in ways:
            flow = DatagramFlow(*ends, packet.time_s)
            flows.append(flow)
            ways[ends], ways[ends[::-1]] = (flow, True), (flow, False)
        flow, upward = ways[ends]
        flow.add(packet, upward=upward)
    return flows
