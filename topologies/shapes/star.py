"""The star: clients, the balancer and backends around one switch."""

from topologies.shapes.shape import Host, Link, LinkSpec, Shape

SWITCH = "s1"
BALANCER = "lb"
UNIMPAIRED = LinkSpec()


def star(
    clients: int,
    backends: int,
    *,
    client_link: LinkSpec = UNIMPAIRED,
    balancer_link: LinkSpec = UNIMPAIRED,
    backend_link: LinkSpec = UNIMPAIRED,
) -> Shape:
    """`clients` hosts c1.. (10.0.1.x), lb (10.0.0.1), `backends` hosts b1.. (10.0.2.x) on s1.

    Raises ValueError unless both counts are 1 to 250.
    """
    for what, count in (("clients", clients), ("backends", backends)):
        if not 1 <= count <= 250:
            raise ValueError(f"{what} is {count}, expected 1 to 250")
    placed = [(Host(f"c{i}", "client", f"10.0.1.{i}"), client_link) for i in _numbers(clients)]
    placed.append((Host(BALANCER, "balancer", "10.0.0.1"), balancer_link))
    placed += [(Host(f"b{i}", "backend", f"10.0.2.{i}"), backend_link) for i in _numbers(backends)]
    return Shape(
        name="star",
        hosts=tuple(host for host, _ in placed),
        switches=(SWITCH,),
        links=tuple(Link.alike(host.name, SWITCH, spec) for host, spec in placed),
    )


def _numbers(count: int) -> range:
    return range(1, count + 1)
