"""Choose how links get their delay and loss, by trying."""

from topologies.links.method import LinkMethod, PlainLinks
from topologies.links.nfqueue import NfqueueLinks, Popen
from topologies.links.port import Port
from topologies.links.rate import limit_switch


def make_links(ports: tuple[Port, ...], seed: int, popen: Popen, wanted: str | None) -> LinkMethod:
    """Realise every impaired link among `ports`."""
    if any(port.link.spec.impaired for port in ports):
        return NfqueueLinks(ports, seed, popen)
    for port in ports:
        limit_switch(port, ["root"])
    return PlainLinks()
