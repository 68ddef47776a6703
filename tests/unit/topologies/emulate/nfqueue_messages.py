"""Packets as the kernel announces them on the netlink socket of an NFQUEUE."""

import struct


def announced(packet_id, queue, *attributes):
    """A packet's message: its header, then `attributes` as (type, payload)."""
    packed = b"".join(
        struct.pack("=HH", 4 + len(payload), kind) + payload.ljust(-(-len(payload) // 4) * 4, b"\0")
        for kind, payload in [(1, struct.pack("!IHB", packet_id, 0x0800, 0)), *attributes]
    )
    head = struct.pack("=IHHII", 20 + len(packed), 0x300, 0, 0, 0)
    return bytearray(head + struct.pack("!BBH", 2, 0, queue) + packed)


def timestamp(seconds):
    """The attribute NFQA_TIMESTAMP."""
    whole = int(seconds)
    return 4, struct.pack("!QQ", whole, round((seconds - whole) * 1e6))
