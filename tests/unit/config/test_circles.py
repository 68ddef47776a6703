"""A backend that is the balancer itself, and rules that lead back to themselves."""

import socket

import pytest

from nginy.config.load import THIS_MACHINE, parse
from nginy.config.machine import ANY_MACHINE
from nginy.errors import ConfigError

OWN = ANY_MACHINE._replace(has_address=lambda host: host in ("10.0.0.1", "2001:db8::1"))


def problems(
    backends: dict[str, str],
    rules: dict[str, tuple[str, str]],
    bound: str = "",
    protocol: str = "tcp",
) -> list[str]:
    """`backends`: addresses by id; `rules`: clients and target by name."""
    lines = ["backends:"]
    lines += [f'  - {{id: {key}, address: "{address}"}}' for key, address in backends.items()]
    lines.append("rules:")
    lines += [
        f'  - {{name: {name}, clients: ["{clients}"], targets: [{target}], protocol: {protocol}}}'
        for name, (clients, target) in rules.items()
    ]
    lines += [f"bind_addresses: [{bound}]"] if bound else []
    try:
        parse("\n".join(lines), "f", OWN)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("address", "bound"),
    [
        ("127.0.0.1:80", ""),
        ("127.9.9.9:80", ""),
        ("localhost:80", ""),
        ("0.0.0.0:80", ""),
        ("10.0.0.1:80", ""),
        ("[::ffff:10.0.0.1]:80", ""),
        ("10.9.9.9:80", '"10.9.9.9"'),
        ("[::1]:80", '"::"'),
        ("[2001:db8::1]:80", '"::"'),
        ("[2001:db8:0::2]:80", '"2001:db8::2"'),
    ],
)
def test_a_backend_that_is_the_balancer(address: str, bound: str, protocol: str) -> None:
    clients = "[::/0]:80" if "[" in address and "ffff" not in address else "0.0.0.0/0:80"
    (problem,) = problems({"a": address}, {"web": (clients, "a")}, bound, protocol)
    assert problem.startswith("f:2: backends[0].address: ")
    assert problem.endswith(
        " is this balancer, and web would send to itself"
        " (expected an address where another server listens)"
    )


@pytest.mark.parametrize(
    ("address", "clients", "bound"),
    [
        ("127.0.0.1:81", "0.0.0.0/0:80", ""),
        ("10.0.0.2:80", "0.0.0.0/0:80", ""),
        ("10.0.0.1:80", "0.0.0.0/0:80", '"10.0.0.3"'),
        ("127.0.0.1:80", "0.0.0.0/0:80", '"10.0.0.1"'),
        ("[::1]:80", "0.0.0.0/0:80", '"0.0.0.0"'),
        ("web.example:80", "0.0.0.0/0:80", ""),
        ("unix:/run/web.sock", "0.0.0.0/0:80", ""),
        ("127.0.0.1:80", "10.0.0.0/8:80", ""),  # who comes from 127.0.0.1 has no rule
    ],
)
def test_others(address: str, clients: str, bound: str) -> None:
    assert problems({"a": address}, {"web": (clients, "a")}, bound) == []


CHAIN = {"one": ("0.0.0.0/0:80", "a"), "two": ("0.0.0.0/0:81", "b")}


def test_a_circle_of_rules() -> None:
    (problem,) = problems({"a": "127.0.0.1:81", "b": "10.0.0.1:80"}, CHAIN)
    assert problem in (
        "f:2: backends[0].address: 127.0.0.1:81 is this balancer, and one -> two -> one is a circle"
        " (expected an address where another server listens)",
        "f:3: backends[1].address: 10.0.0.1:80 is this balancer, and two -> one -> two is a circle"
        " (expected an address where another server listens)",
    )


def test_a_chain_of_rules_is_none() -> None:
    assert problems({"a": "127.0.0.1:81", "b": "10.0.0.9:80"}, CHAIN) == []


def test_the_rule_is_the_one_that_our_own_address_falls_under() -> None:
    inside = {"all": ("0.0.0.0/0:80", "a"), "own": ("127.0.0.0/8:80", "b")}
    assert problems({"a": "127.0.0.1:80", "b": "10.0.0.9:81"}, inside) == []


def test_a_udp_port_is_no_tcp_port() -> None:
    text = (
        'backends: [{id: a, address: "127.0.0.1:53"}, {id: b, address: "127.0.0.1:80"}]\n'
        'rules: [{clients: ["0.0.0.0/0:80"], targets: [a]},'
        ' {clients: ["0.0.0.0/0:53"], targets: [b], protocol: udp}]'
    )
    parse(text, "f")


def test_which_addresses_are_of_this_machine() -> None:
    assert THIS_MACHINE.has_address("127.0.0.1")
    assert not THIS_MACHINE.has_address("192.0.2.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("no route anywhere, so no address but the loopback's")
        assert THIS_MACHINE.has_address(probe.getsockname()[0])
