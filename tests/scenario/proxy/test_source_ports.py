"""Source ports that run out towards a backend: counted, said once, and no reason to give up."""

import errno
import socket
from types import SimpleNamespace

from nginy.address import Address
from nginy.engine import dial
from nginy.engine.dial import PortShortage


def test_no_source_port_left_is_counted_and_said_with_the_remedy(
    proxy, peer, monkeypatch, caplog
) -> None:
    far, good = peer(), peer()

    class NoPortLeft(socket.socket):
        def connect_ex(self, address):
            exhausted = str(address) == far.address
            return errno.EADDRNOTAVAIL if exhausted else super().connect_ex(address)

    shortage = PortShortage()
    monkeypatch.setattr(dial, "port_shortage", shortage)
    balancer = proxy([far, good])
    monkeypatch.setattr(
        dial, "socket", SimpleNamespace(**vars(socket) | {"SocketType": NoPortLeft})
    )
    for _ in range(4):
        with balancer.connect(), good.accept():
            pass
    assert {record["backend"] for record in balancer.records(4)} == {"b2"}
    assert shortage.count == 2  # round robin begins with the first backend every other time
    assert caplog.text.count(f"no source port is free towards {far.address}") == 1
    assert "net.ipv4.ip_local_port_range" in caplog.text


def test_it_is_said_once_a_second_and_backend(caplog) -> None:
    shortage = PortShortage()
    for now in (1.0, 1.1, 1.2, 2.5):
        shortage.noticed(Address("192.0.2.1", 80), now)
    shortage.noticed(Address("192.0.2.2", 80), 2.5)
    said = [record.getMessage() for record in caplog.records]
    assert [line.count("192.0.2.1:80") for line in said] == [1, 1, 0]
    assert said[1].endswith("(2 more like this before)")
    assert shortage.count == 5
