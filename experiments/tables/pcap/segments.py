"""Captured frames to TCP segments: pure bytes in, numbers out.

Field positions: Ethernet II; Linux cooked capture v1 and v2 (tcpdump.org/linktypes); IPv4
(RFC 791), IPv6 (RFC 8200), TCP (RFC 9293). No VLANs, no tunnels.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple

ETHERNET, COOKED_V1, COOKED_V2 = 1, 113, 276
"""pcap link types."""

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

_ETHERNET_HEADER = 14
TYPE_OFFSET_AND_LENGTH = {ETHERNET: (12, 14), COOKED_V1: (14, 16), COOKED_V2: (0, 20)}
_IPV4, _IPV6, _TCP = 0x0800, 0x86DD, 6
_SKIPPED_EXTENSIONS = frozenset({0, 43, 60})  # hop-by-hop, routing, destination options
_FRAGMENT = 44

_TYPE = Struct("!H")
_IPV4_HEADER = Struct("!BxHxxHxB2x4s4s")
_IPV6_HEADER = Struct("!4xHBx16s16s")
_TCP_HEADER = Struct("!HHIIBBH")


class Segment(NamedTuple):
    """One TCP segment. An endpoint is (packed address, port); `window` is unscaled."""

    time_s: float
    source: tuple[bytes, int]
    destination: tuple[bytes, int]
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    payload_bytes: int
    wire_bytes: int
    """IP packet plus 14 bytes of Ethernet header, whatever the capture's own link type."""


def segments(packets: Iterable[tuple[float, bytes]], link_type: int) -> Iterator[Segment]:
    """The TCP segments among `packets` (time, frame), in their order.

    Frames may be cut anywhere after the fixed TCP header: lengths come from the IP header.
    Anything else (not TCP, later fragments, cut shorter) is passed over.
    KeyError for a link type that is not one of the three above.
    """
    type_offset, link_bytes = TYPE_OFFSET_AND_LENGTH[link_type]
    for time_s, frame in packets:
        if len(frame) < link_bytes + 20:
            continue
        (ether_type,) = _TYPE.unpack_from(frame, type_offset)
        if ether_type == _IPV4:
            version, ip_bytes, fragment, protocol, source, destination = _IPV4_HEADER.unpack_from(
                frame, link_bytes
            )
            if protocol != _TCP or fragment & 0x1FFF:
                continue
            ip_header_bytes = (version & 0x0F) * 4
        elif ether_type == _IPV6:
            found = _ipv6(frame, link_bytes)
            if found is None:
                continue
            ip_bytes, ip_header_bytes, source, destination = found
        else:
            continue
        tcp_at = link_bytes + ip_header_bytes
        if len(frame) < tcp_at + 16:
            continue
        source_port, destination_port, sequence, acknowledgement, offset, flags, window = (
            _TCP_HEADER.unpack_from(frame, tcp_at)
        )
        payload_bytes = ip_bytes - ip_header_bytes - (offset >> 4) * 4
        if payload_bytes < 0:
            continue
        yield Segment(
            time_s,
            (source, source_port),
            (destination, destination_port),
            sequence,
            acknowledgement,
            flags,
            window,
            payload_bytes,
            ip_bytes + _ETHERNET_HEADER,
        )


def _ipv6(frame: bytes, at: int) -> tuple[int, int, bytes, bytes] | None:
    """(packet bytes, header bytes with extensions, source, destination) if TCP follows."""
    if len(frame) < at + 40:
        return None
    payload_bytes, following, source, destination = _IPV6_HEADER.unpack_from(frame, at)
    header_bytes = 40
    while following != _TCP:
        here = at + header_bytes
        if len(frame) < here + 8:
            return None
        if following in _SKIPPED_EXTENSIONS:
            header_bytes += 8 * (frame[here + 1] + 1)
        elif following == _FRAGMENT and _TYPE.unpack_from(frame, here + 2)[0] >> 3 == 0:
            header_bytes += 8
        else:
            return None
        following = frame[here]
    return 40 + payload_bytes, header_bytes, source, destination
