"""Fill a link for a moment: `python -m topologies.verify.blast ADDRESS RATE_MBPS SECONDS`.

Sends ICMP echo *replies*: nobody asked for them, so the receiving kernel counts and drops them,
and neither a process has to take them nor anything comes back.
"""

import errno
import socket
import struct
import sys
import time

FRAME_BYTES = 1514
_HEADERS_BYTES = 14 + 20
_ECHO_REPLY = 0


def message(frame_bytes: int) -> bytes:
    """An echo reply of zeros that makes an Ethernet frame of `frame_bytes`, checksum right."""
    header = struct.pack("!BBHHH", _ECHO_REPLY, 0, 0xFFFF, 0, 0)
    return header + bytes(frame_bytes - _HEADERS_BYTES - len(header))


def blast(address: str, rate_mbps: float, seconds: float) -> None:
    """Offer `rate_mbps` of full frames to `address` (a full socket slows it down)."""
    frame = message(FRAME_BYTES)
    per_second = rate_mbps * 1e6 / 8 / FRAME_BYTES
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        start = time.monotonic()
        sent = 0
        while (now := time.monotonic()) < start + seconds:
            try:
                while sent < (now - start) * per_second:
                    sock.sendto(frame, (address, 0))
                    sent += 1
            except OSError as error:
                # A raw socket that is full does not wait but says so; the link is full then, too.
                if error.errno != errno.ENOBUFS:
                    raise
                sent = int((now - start) * per_second)
            time.sleep(0.001)


if __name__ == "__main__":
    blast(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
