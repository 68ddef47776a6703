"""nfnetlink_queue messages, packed and unpacked. No socket here.

Source: linux/netfilter/nfnetlink_queue.h, linux/netfilter/nfnetlink.h, linux/netlink.h. Lengths
and types are in the machine's byte order, what is inside the attributes in network order.
"""

import struct
from typing import Final

NETLINK_NETFILTER: Final = 12
SOL_NETLINK: Final = 270
NETLINK_NO_ENOBUFS: Final = 5

NF_DROP: Final = 0
NF_ACCEPT: Final = 1

_SUBSYS_QUEUE: Final = 3 << 8
_MSG_PACKET: Final = _SUBSYS_QUEUE | 0
_MSG_VERDICT: Final = _SUBSYS_QUEUE | 1
_MSG_CONFIG: Final = _SUBSYS_QUEUE | 2
_MSG_VERDICT_BATCH: Final = _SUBSYS_QUEUE | 3
_NLMSG_ERROR: Final = 2
_NLM_F_REQUEST: Final = 1
_NLM_F_ACK: Final = 4

_CFG_CMD: Final = 1
_CFG_PARAMS: Final = 2
_CFG_QUEUE_MAXLEN: Final = 3
_CFG_CMD_BIND: Final = 1
_COPY_META: Final = 1
_COPY_PACKET: Final = 2
_WHOLE: Final = 0xFFFF
_ATTR_VERDICT_HEADER: Final = 2
_ATTR_TIMESTAMP: Final = 4
_ATTR_PAYLOAD: Final = 10

_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct("!BBH")
_ATTRIBUTE = struct.Struct("=HH")
_LENGTH = struct.Struct("=I")
_TYPE = struct.Struct("=H")
_ERROR = struct.Struct("=i")
# The kernel puts the packet header first of all attributes (nfqnl_build_packet_message), so queue
# and packet id stand at fixed places: res_id at 18, attribute length and type at 20, id at 24.
_QUEUE_AND_ID = struct.Struct("!HxxxxI")
_FIRST_ATTRIBUTE: Final = 20
# The attribute's native length and type in one number, whatever the byte order; then the time in
# seconds and microseconds.
_TIMESTAMP = struct.Struct("!IQQ")
_TIMESTAMP_HEAD: Final = int.from_bytes(_ATTRIBUTE.pack(_TIMESTAMP.size, _ATTR_TIMESTAMP), "big")
# nfgenmsg, then the one attribute; its native length and type go in as bytes.
_VERDICT_REST = struct.Struct("!BBH4sII")
_VERDICT_ATTRIBUTE: Final = _ATTRIBUTE.pack(_ATTRIBUTE.size + 8, _ATTR_VERDICT_HEADER)
_VERDICT_BYTES: Final = _HEADER.size + _VERDICT_REST.size

BUFFER_BYTES: Final = 4096


def bind(queue: int) -> bytes:
    """Ask for the packets of `queue`; the kernel acknowledges."""
    return _config(queue, _CFG_CMD, struct.pack("!BBH", _CFG_CMD_BIND, 0, 0))


def copy_metadata(queue: int) -> bytes:
    """Ask for metadata only: the packets themselves stay in the kernel."""
    return _config(queue, _CFG_PARAMS, struct.pack("!IB", 0, _COPY_META))


def copy_packets(queue: int) -> bytes:
    """Ask for the packets themselves as well, from the IP header on."""
    return _config(queue, _CFG_PARAMS, struct.pack("!IB", _WHOLE, _COPY_PACKET))


def queue_length(queue: int, packets: int) -> bytes:
    """Set how many packets `queue` may hold before it overflows."""
    return _config(queue, _CFG_QUEUE_MAXLEN, struct.pack("!I", packets))


def _config(queue: int, attribute: int, payload: bytes) -> bytes:
    padded = payload + bytes(-len(payload) % 4)
    length = _HEADER.size + _GENERIC.size + _ATTRIBUTE.size + len(padded)
    return (
        _HEADER.pack(length, _MSG_CONFIG, _NLM_F_REQUEST | _NLM_F_ACK, 0, 0)
        + _GENERIC.pack(0, 0, queue)
        + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), attribute)
        + padded
    )


def verdict(queue: int, packet_id: int, decision: int) -> bytes:
    """Decide one packet: NF_ACCEPT or NF_DROP."""
    return _pack_verdict(_MSG_VERDICT, queue, packet_id, decision)


def verdict_up_to(queue: int, packet_id: int, decision: int) -> bytes:
    """Decide every packet still held in `queue` whose id is at most `packet_id`."""
    return _pack_verdict(_MSG_VERDICT_BATCH, queue, packet_id, decision)


def _pack_verdict(kind: int, queue: int, packet_id: int, decision: int) -> bytes:
    return _HEADER.pack(_VERDICT_BYTES, kind, _NLM_F_REQUEST, 0, 0) + _VERDICT_REST.pack(
        0, 0, queue, _VERDICT_ATTRIBUTE, decision, packet_id
    )


def packet(message: bytearray) -> tuple[int, int] | None:
    """(queue, packet id) if `message` announces a packet, otherwise None."""
    if _TYPE.unpack_from(message, 4)[0] != _MSG_PACKET:
        return None
    queue, packet_id = _QUEUE_AND_ID.unpack_from(message, 18)
    return queue, packet_id


def timestamp_place(message: bytearray) -> int | None:
    """Where in a packet's message the attribute with its time begins, or None if it has none.

    Depends on what stands before it: the interfaces, a mark. Alike for most packets of a queue.
    """
    return _place_of(message, _ATTR_TIMESTAMP)


def _place_of(message: bytearray, wanted: int) -> int | None:
    end, place = _LENGTH.unpack_from(message)[0], _FIRST_ATTRIBUTE
    while place + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(message, place)
        if kind == wanted:
            return place
        # At least a header, so that a broken length cannot make this endless.
        place += max(_ATTRIBUTE.size, length + 3 & ~3)
    return None


def payload(message: bytearray) -> bytes:
    """The packet from its IP header on, where `copy_packets` was asked; else empty."""
    place = _place_of(message, _ATTR_PAYLOAD)
    if place is None:
        return b""
    length, _ = _ATTRIBUTE.unpack_from(message, place)
    return bytes(message[place + _ATTRIBUTE.size : place + length])


def timestamp_s(message: bytearray, place: int) -> float | None:
    """The packet's time (CLOCK_REALTIME, s) from the attribute at `place`; None if it is another.

    The kernel puts it there for packets that are not beyond the FORWARD hook, when anybody on
    the machine asks for timestamps: when the packet came to the interface or, where it carries
    its sender's pacing time instead (TCP does), when it came into the queue.
    """
    head, seconds, microseconds = _TIMESTAMP.unpack_from(message, place)
    if head != _TIMESTAMP_HEAD:
        return None
    stamp_s: float = seconds + microseconds * 1e-6
    return stamp_s


def error(message: bytes | bytearray) -> int | None:
    """The errno of an error message (0: an acknowledgement), or None if it is not one."""
    if _TYPE.unpack_from(message, 4)[0] != _NLMSG_ERROR:
        return None
    return -int(_ERROR.unpack_from(message, _HEADER.size)[0])


def overflows(table: str) -> dict[int, int]:
    """Packets lost per queue because queue or socket were full.

    `table` is /proc/net/netfilter/nfnetlink_queue; its columns (nfnetlink_queue.c, seq_show):
    queue, port id, held, copy mode, copy range, lost in queue, lost at socket, last id, 1.
    """
    rows = (line.split() for line in table.splitlines())
    return {int(row[0]): int(row[5]) + int(row[6]) for row in rows if len(row) >= 8}
