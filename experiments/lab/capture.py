"""Captures with tcpdump inside a virtual host, and what the kernel says it lost of them.

tcpdump rather than scapy's own sniffing, which loses packets above a few thousand per second.
Headers only: flows need no payload, and what is not copied cannot overflow the ring.
"""

import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nginy.errors import NginyError

SNAPLEN_BYTES = 128
"""Cooked v2 (20) + IPv6 (40) + the longest TCP header (60) fit."""

RING_KIB = 32 * 1024
"""Room for about 100 000 packets while tcpdump waits for a CPU."""

START_TIMEOUT_S = 10.0
DRAIN_TIMEOUT_S = 2.0
STOP_TIMEOUT_S = 10.0

_STATISTICS = re.compile(
    r"(\d+) packets? captured,? *\s*(\d+) packets? received by filter,? *\s*"
    r"(\d+) packets? dropped by kernel"
)


class CaptureError(NginyError):
    """tcpdump did not start, died, or ended without its statistics."""


class PopenInHost(Protocol):
    """Starts `argv` inside `host`: `topologies.build.network.Network.popen`."""

    def __call__(
        self, host: str, argv: Sequence[str], *, stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        """The started process; its pid must be tcpdump's own, not a wrapper's."""


@dataclass(frozen=True, slots=True)
class CaptureStatistics:
    """What tcpdump and the kernel counted. `received` includes `dropped` (packet(7))."""

    captured: int
    received: int
    dropped: int

    @property
    def missing(self) -> int:
        """Packets that passed the filter and are not in the file, for whatever reason.

        (On a loopback interface the kernel counts every packet twice, so this is never 0 there.)
        """
        return self.received - self.captured


@dataclass(slots=True)
class Capture:
    """One running or finished capture. pcap stamps packets by CLOCK_REALTIME."""

    point: str
    interface: str
    path: Path
    clock_offset_s: float
    """CLOCK_REALTIME - CLOCK_MONOTONIC at the start: packet time - this = monotonic time."""
    clock_step_s: float = field(default=0.0, init=False)
    """By how much that offset changed until the end: a stepped wall clock spoils the times."""
    statistics: CaptureStatistics | None = field(default=None, init=False)
    """Of the end of the capture; None until then."""


@contextmanager
def capture(
    popen: PopenInHost, host: str, interface: str, path: Path, *, filter_expression: str = "tcp"
) -> Iterator[Capture]:
    """Capture on `interface` of `host` into the pcap file `path` while the block runs.

    The capture point is named after the host. Packets of before the end of the block are in the
    file when it is left: the kernel's ring is drained first. CaptureError as in its docstring.
    """
    process = popen(
        host,
        _tcpdump(interface, path, filter_expression),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _read_until(process, re.compile("listening on "), START_TIMEOUT_S)
        running = Capture(host, interface, path, _clock_offset_s())
        yield running
        running.statistics = _drain(process)
        running.clock_step_s = _clock_offset_s() - running.clock_offset_s
        process.send_signal(signal.SIGINT)
        process.wait(STOP_TIMEOUT_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()


def parse_statistics(text: str) -> CaptureStatistics:
    """The last counts in tcpdump's messages; CaptureError if there are none."""
    counts = _STATISTICS.findall(text)
    if not counts:
        raise CaptureError(f"tcpdump gave no statistics: {text.strip()!r}")
    captured, received, dropped = map(int, counts[-1])
    return CaptureStatistics(captured, received, dropped)


def _tcpdump(interface: str, path: Path, filter_expression: str) -> list[str]:
    """`-Z root`: the run folder need not be writable by the user tcpdump would become."""
    options = ["-i", interface, "-n", "--nano", "-p", "-Z", "root", "-w", str(path)]
    sizes = ["-s", str(SNAPLEN_BYTES), "-B", str(RING_KIB)]
    return ["tcpdump", *options, *sizes, filter_expression]


def _drain(process: subprocess.Popen[bytes]) -> CaptureStatistics:
    """Wait until tcpdump has written all the kernel gave it so far; the counts of that moment.

    libpcap's ring hands a block over when it is full or a second old; SIGINT throws away what is
    in the open block (seen: short captures came out empty). What still arrives meanwhile is after
    the end and does not count.
    """
    deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
    end = latest = _counts(process)
    due = end.received - end.dropped
    while latest.captured < due and time.monotonic() < deadline_s:
        time.sleep(0.05)
        latest = _counts(process)
    return CaptureStatistics(min(latest.captured, due), end.received, end.dropped)


def _counts(process: subprocess.Popen[bytes]) -> CaptureStatistics:
    """tcpdump's counts so far, which it prints on SIGUSR1."""
    process.send_signal(signal.SIGUSR1)
    return parse_statistics(_read_until(process, _STATISTICS, STOP_TIMEOUT_S))


def _read_until(
    process: subprocess.Popen[bytes], pattern: re.Pattern[str], timeout_s: float
) -> str:
    """tcpdump's messages up to and with `pattern`."""
    assert process.stderr is not None
    deadline_s = time.monotonic() + timeout_s
    text = ""
    while not pattern.search(text):
        wait_s = max(0.0, deadline_s - time.monotonic())
        ready, _, _ = select.select([process.stderr], [], [], wait_s)
        if not ready:
            raise CaptureError(f"tcpdump did not answer within {timeout_s:g} s: {text.strip()!r}")
        received = process.stderr.read1(4096)  # type: ignore[attr-defined]  # a BufferedReader
        if not received:
            raise CaptureError(f"tcpdump ended: {text.strip()!r}")
        text += received.decode(errors="replace")
    return text


def _clock_offset_s() -> float:
    return time.time() - time.monotonic()
