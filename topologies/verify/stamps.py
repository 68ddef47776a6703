"""Numbered, stamped UDP packets across a link, to see which arrive and how late each is.

    python -m topologies.verify.stamps receive COUNT          prints "ready", then one line of JSON
    python -m topologies.verify.stamps send ADDRESS COUNT PER_SECOND PAYLOAD_BYTES

Sender and receiver share one kernel and so one clock: the one-way delay is exact. The arrival is
stamped by the kernel as the packet leaves the wire, so the receiver's own wake-up is not in it.
"""

import json
import select
import socket
import struct
import sys
import time

PORT = 9
_STAMP = struct.Struct("!Qq")
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_TIMESPEC = struct.Struct("@ll")
_QUIET_S = 1.0


def send(address: str, count: int, per_second: float, payload_bytes: int) -> None:
    """Send `count` packets evenly spaced."""
    padding = bytes(payload_bytes - _STAMP.size)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, PORT))
        start = time.monotonic()
        for number in range(count):
            wait_s = start + number / per_second - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            sock.send(_STAMP.pack(number, time.monotonic_ns()) + padding)


def receive(count: int) -> list[tuple[int, float]]:
    """(number, one-way delay in ms) of each arrival, until `count` came or it was quiet for 1 s
    after the first."""
    arrivals: list[tuple[int, float]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 32 * 2**20)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind(("", PORT))
        print("ready", flush=True)
        while len(arrivals) < count:
            timeout = _QUIET_S if arrivals else None
            if not select.select([sock], [], [], timeout)[0]:
                break
            data, control, _, _ = sock.recvmsg(65536, 64)
            seconds, nanoseconds = _TIMESPEC.unpack_from(control[0][2])
            arrived_ns = seconds * 10**9 + nanoseconds - _realtime_lead_ns()
            number, sent_ns = _STAMP.unpack_from(data)
            arrivals.append((number, (arrived_ns - sent_ns) / 1e6))
    return arrivals


def _realtime_lead_ns() -> int:
    """The kernel stamps in wall time: how far that is ahead of the monotonic clock now."""
    return time.time_ns() - time.monotonic_ns()


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        print(json.dumps(receive(int(sys.argv[2]))))
    else:
        send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
