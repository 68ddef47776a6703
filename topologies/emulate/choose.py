"""Give every link of a network its delay, jitter, loss and rate, by a method that works here."""

from topologies.emulate import probe
from topologies.emulate.method import LinkMethod, PlainLinks
from topologies.emulate.netem import NetemLinks
from topologies.emulate.nfqueue import NfqueueLinks, Popen
from topologies.emulate.port import Port
from topologies.emulate.rate import limit_switch


def make_links(ports: tuple[Port, ...], seed: int, popen: Popen, wanted: str | None) -> LinkMethod:
    """Realise the links of `ports`; `wanted` names a method, None takes the first that works.

    Raises MachineLacks where no method works and a link needs one.
    """
    if any(port.emulated for port in ports):
        if probe.choose(wanted) == "netem":
            return NetemLinks(ports, seed)
        return NfqueueLinks(ports, seed, popen)
    for port in ports:
        limit_switch(port)
    return PlainLinks()
