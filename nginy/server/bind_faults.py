"""Why an address cannot be listened to, and what helps; Linux tells who holds a port."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from nginy.address import Address
from nginy.config.model import Protocol

LISTENING = {"tcp": "0A", "udp": "07"}
"""The state of a socket that takes newcomers, in /proc/net (include/net/tcp_states.h)."""
PROC = Path("/proc")


def bind_fault_text(error: OSError, address: Address, protocol: Protocol) -> str:
    """What the system said, and a remedy where one is known."""
    said = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        names = ", ".join(holders(address, protocol))
        return f"{said}: {_stop(names, address, protocol)}, or take another port"
    if error.errno == errno.EACCES:
        python = os.path.realpath(sys.executable)
        return (
            f"{said}: run as root, or once `setcap cap_net_bind_service=+ep {python}`, or under"
            " systemd with AmbientCapabilities=CAP_NET_BIND_SERVICE, or take a port from 1024 on"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{said}: no address of this machine (`ip address` lists them); see bind_addresses"
    return said


def _stop(holders: str, address: Address, protocol: Protocol) -> str:
    if holders:
        return f"stop {holders}, which listens there"
    tells = f"`ss -lnp{protocol[0]} sport = :{address.port}`"
    return f"stop who listens there ({tells} as root tells)"


def holders(address: Address, protocol: Protocol) -> Iterator[str]:
    """`nginx (pid 123)`: as far as their descriptors may be looked at."""
    links = {f"socket:[{inode}]" for inode in _inodes(address, protocol)}
    if not links:
        return
    for process in sorted(PROC.glob("[0-9]*"), key=lambda path: int(path.name)):
        with suppress(OSError):  # it has ended, or is another user's
            if any(os.readlink(each) in links for each in (process / "fd").iterdir()):
                name = (process / "comm").read_text(errors="replace").strip()
                yield f"{name} (pid {process.name})"


def _inodes(address: Address, protocol: Protocol) -> Iterator[str]:
    """Of the sockets that keep `address` from being bound."""
    wanted = ip_address(address.host)
    for table in (protocol, f"{protocol}6"):
        with suppress(OSError):  # no IPv6 here
            for line in (PROC / "net" / table).read_text().splitlines()[1:]:
                _, local, _, state, *fields = line.split()
                host, port = local.split(":")
                bound = ip_address(_network_order(bytes.fromhex(host)))
                same = bound == wanted or not int(bound) or not int(wanted)
                if same and int(port, 16) == address.port and state == LISTENING[protocol]:
                    yield fields[5]


def _network_order(words: bytes) -> bytes:
    """Of 32-bit words that are in this machine's order."""
    if sys.byteorder == "big":
        return words
    return b"".join(words[start : start + 4][::-1] for start in range(0, len(words), 4))
