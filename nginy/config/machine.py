"""What a configuration asks of the machine that serves it. All I/O of checking is here."""

import errno
import os
import socket
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from nginy.address import Address

DISCARD_PORT = 9


class Machine(NamedTuple):
    """Questions to the machine."""

    has_address: Callable[[str], bool]
    """Whether an IP address is one of its own."""
    write_obstacle: Callable[[str], str]
    """Why an access log cannot be written; empty: it can."""


@lru_cache
def _has_address(host: str) -> bool:
    """The kernel sends from an address of its own to that same one. Nothing is sent."""
    address = Address(host, DISCARD_PORT)
    with closing(socket.socket(address.family, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(address)
            source: str = probe.getsockname()[0]
        except OSError:  # no route to it
            return False
    return source == host


def _write_obstacle(target: str) -> str:
    """Looks without creating or opening anything: a FIFO would wait for its reader."""
    if target == "-":
        return ""
    path = Path(target)
    try:
        if path.is_dir():
            return os.strerror(errno.EISDIR)
        if not path.exists():  # it will be made
            path = path.parent
            path.stat()
            if not path.is_dir():
                return os.strerror(errno.ENOTDIR)
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # a zero byte in the path
        return str(error)
    return "" if os.access(path, os.W_OK) else os.strerror(errno.EACCES)


THIS_MACHINE = Machine(_has_address, _write_obstacle)
ANY_MACHINE = Machine(lambda _host: False, lambda _target: "")
"""For checking a text alone."""
