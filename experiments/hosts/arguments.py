"""What the programs in the virtual hosts share of their command lines and their start."""

import argparse
import ipaddress
import resource
from typing import NamedTuple


class HostPort(NamedTuple):
    """An IP address (v4 or v6, no brackets) and a TCP port."""

    host: str
    port: int


def address(text: str) -> HostPort:
    """`10.0.0.1:80` or `[2001:db8::1]:80` as an argparse type."""
    host, colon, port = text.rpartition(":")
    try:
        ip = ipaddress.ip_address(host.strip("[]"))
        if not colon or not 0 <= int(port) <= 65535:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS:PORT") from None
    return HostPort(str(ip), int(port))


def raise_open_files_limit() -> None:
    """Use all the open files that the hard limit allows: one per connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
