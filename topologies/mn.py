"""The shapes for Mininet's own command line: `sudo mn --custom topologies/mn.py --topo nginy_star`.

Links are Mininet's `TCLink`, by netem. Where the kernel has none, Mininet only prints an error and
the links do nothing of what was asked, so it is refused before anything is built.
"""

import sys
from pathlib import Path
from typing import Any

from mininet.link import TCLink
from mininet.topo import Topo

# `mn` executes this file without a `__file__`; the code itself knows where it came from.
_HERE = Path(sys._getframe().f_code.co_filename).resolve()
sys.path.insert(0, str(_HERE.parents[1]))

from topologies.emulate.probe import problem_of
from topologies.shapes.shape import LinkSpec, Shape
from topologies.shapes.shapes import dumbbell, star, two_sites

NEAR = LinkSpec(delay_ms=10)


class ShapeTopo(Topo):  # type: ignore[misc]  # Mininet has no types
    """A shape as Mininet builds it."""

    def shape(self, clients: int, backends: int) -> Shape:
        """Which one."""
        raise NotImplementedError

    def build(self, clients: int = 3, backends: int = 4, **_: Any) -> None:
        """Called by Mininet with the words after the topology's name."""
        shape = self.shape(int(clients), int(backends))
        impaired = any(spec.impaired for spec in shape.specs.values())
        if impaired and (problem := problem_of("netem")):
            sys.exit(
                f"this kernel has no netem ({problem}), and Mininet's links would do nothing of "
                "what is asked: make experiment has an emulator of its own"
            )
        for name in shape.switches:
            self.addSwitch(name)
        for host in shape.hosts:
            self.addHost(host.name, ip=f"{host.address}/8")
        for link in shape.links:
            ends = {"params1": _words(link.leaving), "params2": _words(link.reaching)}
            self.addLink(link.end, link.switch, cls=TCLink, **ends)


def _words(spec: LinkSpec) -> dict[str, Any]:
    """As `TCLink` takes them."""
    words: dict[str, Any] = {}
    if spec.delay_ms:
        words["delay"] = f"{spec.delay_ms:g}ms"
    if spec.jitter_ms:
        words["jitter"] = f"{spec.jitter_ms:g}ms"
    if spec.loss_pct:
        words["loss"] = spec.loss_pct
    if spec.rate_mbps:
        words["bw"] = spec.rate_mbps
    if spec.queue_packets:
        words["max_queue_size"] = spec.queue_packets
    return words


class Star(ShapeTopo):
    """Client links of 10 ms."""

    def shape(self, clients: int, backends: int) -> Shape:
        """See `topologies.shapes.shapes.star`."""
        return star(clients, backends, client_link=NEAR)


class Dumbbell(ShapeTopo):
    """A bottleneck of 10 ms and 50 Mbit/s."""

    def shape(self, clients: int, backends: int) -> Shape:
        """See `topologies.shapes.shapes.dumbbell`."""
        return dumbbell(clients, backends, bottleneck=LinkSpec(delay_ms=10, rate_mbps=50))


class TwoSites(ShapeTopo):
    """15 ms apart; half of the backends are far."""

    def shape(self, clients: int, backends: int) -> Shape:
        """See `topologies.shapes.shapes.two_sites`."""
        return two_sites(clients, backends, max(1, backends // 2), between_sites=LinkSpec(15))


topos = {"nginy_star": Star, "nginy_dumbbell": Dumbbell, "nginy_two_sites": TwoSites}
"""Mininet looks for this name."""
