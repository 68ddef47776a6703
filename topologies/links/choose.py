"""Choose how links get their delay and loss, by trying."""

from topologies.errors import MachineLacks
from topologies.links.method import LinkMethod, PlainLinks
from topologies.links.port import Port
from topologies.links.rate import limit_switch


def make_links(ports: tuple[Port, ...], seed: int, popen: object, wanted: str | None) -> LinkMethod:
    """Realise every impaired link among `ports`."""
    if any(port.link.spec.impaired for port in ports):
        raise MachineLacks("no link emulation yet")
    for port in ports:
        limit_switch(port, ["root"])
    return PlainLinks()
