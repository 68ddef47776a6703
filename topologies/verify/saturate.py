"""The rate of links, measured by filling them for a moment."""

import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from topologies.build.network import Network
from topologies.emulate import wire
from topologies.emulate.port import Port
from topologies.verify.blast import FRAME_BYTES
from topologies.verify.checks import UNLIMITED_MBPS

_OVERLOAD = 1.25
_SECONDS = 0.3
# For rates at which 0.3 s would hold only a few frames.
_MIN_FRAMES = 60
_AT_ONCE_MBPS = 200.0
_SAMPLE_S = 0.01
_MAX_READ_S = 0.001
"""A counter that took longer to read is not known to belong to its time: the sampler was put off
between the two, and a sound link would look too fast."""
_ROOT = Path(__file__).resolve().parents[2]


def measure_rates(
    network: Network, ports: Sequence[Port], *, stretch: float = 1
) -> dict[str, float | None]:
    """What each direction of `ports` carries when offered more than its rate (10^6 bit/s of
    frames), or 100 Mbit/s where it has none; None where hardly anything came out.

    Every link is filled for `stretch` times the usual 0.3 s (more at rates below 2.4 Mbit/s). The
    directions towards a host that lose everything are left out.
    """
    blasts = [
        _Blast(network, port, direction, stretch)
        for port in ports
        for direction in port.link.directions
        if port.link.specs[direction].loss_pct < 100 or direction == port.link.directions[0]
    ]
    for group in _groups(blasts):
        _run(group)
    return {blast.direction: steady_rate_mbps(blast.samples) for blast in blasts}


class _Blast:
    """One direction of one link, filled by a sender at its far end."""

    def __init__(self, network: Network, port: Port, direction: str, stretch: float) -> None:
        self._spec = spec = port.link.specs[direction]
        self._network, self._port, self.direction = network, port, direction
        self._leaving = direction == port.link.directions[0]
        self.rate_mbps = UNLIMITED_MBPS if spec.rate_mbps is None else spec.rate_mbps
        usual_s = max(_SECONDS, _MIN_FRAMES * FRAME_BYTES * 8 / (self.rate_mbps * 1e6))
        self._seconds = stretch * usual_s
        self.samples: list[tuple[float, int]] = []

    def start(self) -> "subprocess.Popen[bytes]":
        spec, ends = self._spec, self._network.ends(self._port.link)
        sender, receiver = ends if self._leaving else ends[::-1]
        offered = self.rate_mbps if spec.rate_mbps is None else self.rate_mbps * _OVERLOAD
        if not self._leaving:
            # Towards the host, packets are lost before they meet the rate.
            offered /= 1 - spec.loss_pct / 100
        words = [self._network.address(receiver), str(offered), str(self._seconds)]
        argv = [sys.executable, "-m", "topologies.verify.blast", *words]
        return self._network.popen(sender, argv, cwd=_ROOT)

    def sample(self) -> None:
        """Look at the far end of the cable, behind the rate."""
        before = time.monotonic()
        end = wire.at_switch(self._port) if self._leaving else wire.at_end(self._port)
        after = time.monotonic()
        if after - before <= _MAX_READ_S:
            self.samples.append(((before + after) / 2, end.rx_bytes))


def steady_rate_mbps(samples: Sequence[tuple[float, int]]) -> float | None:
    """The rate between the first third and the end of the growth in (time_s, bytes) samples;
    None where too little moved. The first third holds the bucket's burst."""
    moving = [after for before, after in pairwise(samples) if after[1] > before[1]]
    if len(moving) < 4:
        return None
    first, last = moving[len(moving) // 3], moving[-1]
    return (last[1] - first[1]) * 8 / 1e6 / (last[0] - first[0])


def _groups(blasts: Sequence[_Blast]) -> list[list[_Blast]]:
    """What may be measured at once: links are independent, the processor is not."""
    groups: list[list[_Blast]] = []
    for blast in sorted(blasts, key=lambda blast: blast.rate_mbps):
        load = sum(other.rate_mbps for other in groups[-1]) if groups else _AT_ONCE_MBPS
        if load + blast.rate_mbps > _AT_ONCE_MBPS:
            groups.append([])
        groups[-1].append(blast)
    return groups


def _run(group: list[_Blast]) -> None:
    senders = [blast.start() for blast in group]
    while any(sender.poll() is None for sender in senders):
        for blast in group:
            blast.sample()
        time.sleep(_SAMPLE_S)
