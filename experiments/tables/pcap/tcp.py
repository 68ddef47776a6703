"""TCP segments to connections: bytes, retransmissions, handshake times, how each ended. Pure.

**Retransmission**: a segment with payload or FIN that begins with sequence numbers already seen
from its sender, or that fills a gap left open for longer than 3 ms. At the sender's own capture
point there are no gaps and the count is exact. Further on, a segment lost on the way to the point
leaves a gap, and one that fills it sooner was only overtaken (`out_of_order`; seen on veth pairs
when the sender moves to another CPU; Wireshark draws the line at 3 ms too). A repeat whose
original and successors were all lost before the point looks new: there the count is a lower bound.
Not counted: segments without payload (keep-alives and window probes of Linux), one-byte
keep-alives (RFC 9293, 3.8.4: the byte before what is next, already acknowledged), one-byte probes
of a closed window (3.8.6.1). SYN and SYN/ACK repeats are counted by themselves.

**Handshake RTT**: only from handshakes where neither SYN nor SYN/ACK was repeated (Karn and
Partridge 1987: it is not known which of them was answered).
"""

from collections.abc import Iterable

from experiments.tables.pcap.segments import ACK, FIN, RST, SYN, Segment

REORDERING_S = 0.003

_MODULUS = 1 << 32
_HALF = 1 << 31

Endpoint = tuple[bytes, int]


class Direction:
    """What one end sent."""

    __slots__ = (
        "acknowledged",
        "end",
        "fin",
        "gaps",
        "out_of_order",
        "packets",
        "payload_bytes",
        "retransmissions",
        "window",
        "wire_bytes",
    )

    def __init__(self) -> None:
        """Nothing sent yet."""
        self.packets = 0
        self.wire_bytes = 0
        self.payload_bytes = 0
        self.retransmissions = 0
        self.out_of_order = 0
        self.fin = False
        self.end: int | None = None
        """Highest sequence number sent, plus one; counts on past 2^32."""
        self.gaps: list[tuple[int, int, float]] = []
        """Sequence numbers skipped so far: first, last plus one, since when."""
        self.acknowledged: int | None = None
        self.window: int | None = None


class Flow:
    """One TCP connection. `up` is from the client, `down` from the server. Times in seconds."""

    __slots__ = (
        "ack_s",
        "client",
        "down",
        "first_s",
        "initial_sequence",
        "last_s",
        "reset",
        "server",
        "syn_retries",
        "syn_s",
        "synack_retries",
        "synack_s",
        "up",
    )

    def __init__(self, client: Endpoint, server: Endpoint, first_s: float) -> None:
        """A connection whose first captured packet came at `first_s`."""
        self.client = client
        self.server = server
        self.first_s = first_s
        self.last_s = first_s
        self.up = Direction()
        self.down = Direction()
        self.initial_sequence: int | None = None
        self.syn_s: float | None = None
        self.synack_s: float | None = None
        self.ack_s: float | None = None
        self.syn_retries = 0
        self.synack_retries = 0
        self.reset = False

    @property
    def ended(self) -> str:
        """`rst`; `fin` (both ends finished, resets after that do not matter); else `open`."""
        if self.up.fin and self.down.fin:
            return "fin"
        return "rst" if self.reset else "open"

    @property
    def server_rtt_ms(self) -> float | None:
        """From SYN to SYN/ACK: capture point to server and back."""
        return self._unrepeated_ms(self.syn_s, self.synack_s)

    @property
    def client_rtt_ms(self) -> float | None:
        """From SYN/ACK to the client's first segment after it: capture point to client and back."""
        return self._unrepeated_ms(self.synack_s, self.ack_s)

    @property
    def handshake_rtt_ms(self) -> float | None:
        """From SYN to the client's first segment after SYN/ACK: the whole path, at any point."""
        return self._unrepeated_ms(self.syn_s, self.ack_s)

    def _unrepeated_ms(self, begin_s: float | None, end_s: float | None) -> float | None:
        if begin_s is None or end_s is None or self.syn_retries or self.synack_retries:
            return None
        return (end_s - begin_s) * 1000.0


def track(segments: Iterable[Segment]) -> list[Flow]:
    """The connections in `segments` of one capture point, in order of their first packet.

    A SYN with another initial sequence number begins a new connection on the same addresses.
    Where the capture starts in the middle of a connection, the lower port is taken as the server.
    """
    flows: list[Flow] = []
    ways: dict[tuple[Endpoint, Endpoint], Flow] = {}
    for segment in segments:
        way = (segment.source, segment.destination)
        flow = ways.get(way)
        if flow is None or _begins_anew(flow, segment):
            client, server = _roles(segment)
            flow = Flow(client, server, segment.time_s)
            flows.append(flow)
            ways[way] = ways[way[::-1]] = flow
        _add(flow, segment)
    return flows


def _begins_anew(flow: Flow, segment: Segment) -> bool:
    is_syn = segment.flags & (SYN | ACK) == SYN
    return is_syn and (segment.source != flow.client or segment.sequence != flow.initial_sequence)


def _roles(segment: Segment) -> tuple[Endpoint, Endpoint]:
    if segment.flags & SYN:
        from_client = not segment.flags & ACK
    else:
        from_client = segment.source[1] >= segment.destination[1]
    ends = (segment.source, segment.destination)
    return ends if from_client else ends[::-1]


def _add(flow: Flow, segment: Segment) -> None:
    upward = segment.source == flow.client
    sender, peer = (flow.up, flow.down) if upward else (flow.down, flow.up)
    flow.last_s = segment.time_s
    sender.packets += 1
    sender.wire_bytes += segment.wire_bytes
    sender.payload_bytes += segment.payload_bytes
    if segment.flags & RST:
        flow.reset = True
        return
    if segment.flags & SYN:
        _add_syn(flow, sender, segment)
        return
    if upward and flow.ack_s is None and flow.synack_s is not None:
        flow.ack_s = segment.time_s
    _add_sequence(sender, peer, segment)
    sender.acknowledged = segment.acknowledgement
    sender.window = segment.window


def _add_syn(flow: Flow, sender: Direction, segment: Segment) -> None:
    if segment.flags & ACK:
        if flow.synack_s is None:
            flow.synack_s = segment.time_s
        else:
            flow.synack_retries += 1
    elif flow.syn_s is None:
        flow.syn_s = segment.time_s
        flow.initial_sequence = segment.sequence
    else:
        flow.syn_retries += 1
    if sender.end is None:
        sender.end = segment.sequence + 1 + segment.payload_bytes


def _add_sequence(sender: Direction, peer: Direction, segment: Segment) -> None:
    finishes = bool(segment.flags & FIN)
    length = segment.payload_bytes + finishes
    if length == 0:
        return
    sender.fin = sender.fin or finishes
    end = segment.sequence if sender.end is None else sender.end
    behind = (end - segment.sequence + _HALF) % _MODULUS - _HALF
    start = end - behind
    if behind < 0:
        sender.gaps.append((end, start, segment.time_s))
    elif behind > 0 and not _is_probe(peer, segment, behind):
        if _was_overtaken(sender, start, start + length, segment.time_s):
            sender.out_of_order += 1
        else:
            sender.retransmissions += 1
    sender.end = max(end, start + length)


def _was_overtaken(sender: Direction, start: int, stop: int, time_s: float) -> bool:
    """Whether [start, stop) lies in a fresh gap; takes it out of the gaps."""
    overtaken = any(
        first <= start and stop <= last and time_s - since_s <= REORDERING_S
        for first, last, since_s in sender.gaps
    )
    sender.gaps = [
        (low, high, since_s)
        for first, last, since_s in sender.gaps
        for low, high in ((first, min(last, start)), (max(first, stop), last))
        if low < high
    ]
    return overtaken


def _is_probe(peer: Direction, segment: Segment, behind: int) -> bool:
    """A one-byte keep-alive, or a one-byte probe of a closed window."""
    if segment.payload_bytes != 1 or behind != 1 or segment.flags & FIN:
        return False
    all_acknowledged = peer.acknowledged == (segment.sequence + 1) % _MODULUS
    return peer.window == 0 or all_acknowledged
