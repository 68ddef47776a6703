"""The shapes that have a name, one pure function each."""

from topologies.shapes.placing import UNIMPAIRED, at, numbered, spread
from topologies.shapes.shape import Link, Shape, Specs

BALANCER = "lb"
"""The name of a balancer that is the only one."""


def star(
    clients: int,
    backends: int,
    *,
    balancers: int = 1,
    client_link: Specs = UNIMPAIRED,
    balancer_link: Specs = UNIMPAIRED,
    backend_link: Specs = UNIMPAIRED,
) -> Shape:
    """Clients, balancers and backends around one switch, s1.

    Raises ValueError unless all counts are 1 to 250.
    """
    placed = [
        (numbered("client", clients), client_link),
        (numbered("balancer", balancers), balancer_link),
        (numbered("backend", backends), backend_link),
    ]
    return Shape(
        name="star",
        hosts=tuple(host for hosts, _ in placed for host in hosts),
        switches=("s1",),
        links=tuple(link for hosts, both in placed for link in at("s1", hosts, both)),
    )


def dumbbell(
    clients: int,
    backends: int,
    *,
    bottleneck: Specs,
    client_link: Specs = UNIMPAIRED,
    balancer_link: Specs = UNIMPAIRED,
    backend_link: Specs = UNIMPAIRED,
) -> Shape:
    """Clients on s1, the balancer and the backends on s2, one bottleneck between them: what one
    client's flow takes, another's lacks. Raises ValueError as `star` does."""
    sources, (balancer,), servers = (
        numbered("client", clients),
        numbered("balancer", 1),
        numbered("backend", backends),
    )
    return Shape(
        name="dumbbell",
        hosts=(*sources, balancer, *servers),
        switches=("s1", "s2"),
        links=(
            *at("s1", sources, client_link),
            *at("s2", [balancer], balancer_link),
            *at("s2", servers, backend_link),
            Link.of("s1", "s2", bottleneck),
        ),
    )


def two_sites(
    clients: int,
    backends: int,
    far_backends: int,
    *,
    between_sites: Specs,
    client_link: Specs = UNIMPAIRED,
    balancer_link: Specs = UNIMPAIRED,
    backend_link: Specs = UNIMPAIRED,
) -> Shape:
    """Clients, the balancer and the near backends on s1; the last `far_backends` of all `backends`
    on s2, beyond the link between the sites. Raises ValueError as `star` does, and unless there is
    a backend at each site."""
    if not 1 <= far_backends < backends:
        raise ValueError(f"far_backends is {far_backends}, expected 1 to {backends - 1}")
    sources, (balancer,), servers = (
        numbered("client", clients),
        numbered("balancer", 1),
        numbered("backend", backends),
    )
    near, far = servers[:-far_backends], servers[-far_backends:]
    return Shape(
        name="two_sites",
        hosts=(*sources, balancer, *servers),
        switches=("s1", "s2"),
        links=(
            *at("s1", sources, client_link),
            *at("s1", [balancer], balancer_link),
            *at("s1", near, backend_link),
            *at("s2", far, backend_link),
            Link.of("s1", "s2", between_sites),
        ),
    )


def leaf_spine(
    clients: int,
    backends: int,
    leaves: int,
    spines: int,
    *,
    trunk: Specs = UNIMPAIRED,
    client_link: Specs = UNIMPAIRED,
    balancer_link: Specs = UNIMPAIRED,
    backend_link: Specs = UNIMPAIRED,
) -> Shape:
    """Racks: clients, the balancer and backends each spread in turn over leaf switches, and every
    leaf on every spine. What is for one host goes by one spine, hosts in turn by all of them
    (`routes.py`). Raises ValueError as `star` does, and unless there are 2 to 9 leaves and 1 to 9
    spines."""
    for what, count, least in (("leaves", leaves, 2), ("spines", spines, 1)):
        if not least <= count <= 9:
            raise ValueError(f"{what} is {count}, expected {least} to 9")
    racks = tuple(f"leaf{number}" for number in range(1, leaves + 1))
    tops = tuple(f"spine{number}" for number in range(1, spines + 1))
    sources, (balancer,), servers = (
        numbered("client", clients),
        numbered("balancer", 1),
        numbered("backend", backends),
    )
    return Shape(
        name="leaf_spine",
        hosts=(*sources, balancer, *servers),
        switches=(*racks, *tops),
        links=(
            *spread(racks, sources, client_link),
            *at(racks[0], [balancer], balancer_link),
            *spread(racks[::-1], servers, backend_link),
            *(Link.of(rack, top, trunk) for rack in racks for top in tops),
        ),
    )
