"""A stopping process gives its listening sockets to its successor, with all that waits in them.

The one that stops still accepts, and waits at an abstract Unix socket (unix(7): of this network
namespace, and gone with its process). A successor that finds an address in use looks for such
sockets of its own user, is sent all listening sockets (SCM_RIGHTS), and says when it serves. Only
then the old one lets go, so at no time nobody accepts, and no queue is thrown away. HAProxy hands
over in the same way (`expose-fd listeners`, `-x`); nginx forks instead.
"""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nginy.address import Address
from nginy.config.model import Protocol

log = logging.getLogger(__name__)

Place = tuple[Protocol, Address]

NAME = "\0nginy-handover-"
SOCKETS_PER_MESSAGE = 200
"""The kernel lets 253 descriptors travel at once (SCM_MAX_FD)."""
SOME, ALL, SERVING = b"some", b"all", b"serving"
"""The messages: sockets come with this one; that were all; and the answer to it."""
STEP_TIMEOUT_S = 2.0
"""For each message of the other one; a successor has this long to open all that it listens to."""
CREDENTIALS = struct.Struct("3i")
UNIX_SOCKETS = Path("/proc/net/unix")


async def hand_over(sockets: Mapping[Place, socket.socket], seconds: float) -> bool:
    """Let a successor have `sockets`, for so long. Whether one has them and serves."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            door.setblocking(False)
            door.bind(f"{NAME}{os.getpid()}")
            door.listen()
            async with asyncio.timeout(seconds):
                return await _successor(door, sockets)
    except TimeoutError:
        return False
    except OSError as error:
        log.warning("a successor cannot take over: %s", error.strerror or error)
        return False


async def _successor(door: socket.socket, sockets: Mapping[Place, socket.socket]) -> bool:
    while True:
        successor, _ = await asyncio.get_running_loop().sock_accept(door)
        # A thread, because each step may wait for the other process.
        if await asyncio.to_thread(_give, successor, sockets):
            return True


def _give(successor: socket.socket, sockets: Mapping[Place, socket.socket]) -> bool:
    """Whether it has them, and serves. The connection is closed."""
    with successor, contextlib.suppress(OSError):
        successor.settimeout(STEP_TIMEOUT_S)
        if _user_of(successor) != os.getuid():
            log.warning("another user's process asked for the listening sockets, and has none")
            return False
        descriptors = [sock.fileno() for sock in sockets.values()]
        for start in range(0, len(descriptors), SOCKETS_PER_MESSAGE):
            some = descriptors[start : start + SOCKETS_PER_MESSAGE]
            socket.send_fds(successor, [SOME], some)
        successor.send(ALL)
        return successor.recv(len(SERVING)) == SERVING
    return False


class Takeover:
    """The successor's side: what stopping processes of this user have to give."""

    def __init__(self) -> None:
        """Ask them all."""
        self._predecessors: list[socket.socket] = []
        self._sockets: dict[Place, socket.socket] = {}
        self.taken = False
        """Whether anything was."""
        for name in _offers():
            predecessor = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            predecessor.settimeout(STEP_TIMEOUT_S)
            try:
                predecessor.connect(name)
                if _user_of(predecessor) != os.getuid():
                    raise PermissionError
                self._sockets.update(_received(predecessor))
                self._predecessors.append(predecessor)
            except (OSError, ValueError):  # gone meanwhile, another user's, or no nginy
                predecessor.close()

    def take(self, place: Place, *, v6only: bool) -> socket.socket | None:
        """The socket of that place, if one was given that also takes the wanted families."""
        sock = self._sockets.get(place)
        if sock is None:
            return None
        if sock.family == socket.AF_INET6:
            given = bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
            if given != v6only:
                return None
        protocol, address = place
        log.info("%s (%s): taken over from a process that stops", address, protocol)
        self.taken = True
        return self._sockets.pop(place)

    def confirm(self) -> None:
        """They need not accept any more, if anything was taken."""
        for predecessor in self._predecessors if self.taken else ():
            with contextlib.suppress(OSError):  # it could not wait
                predecessor.send(SERVING)

    def close(self) -> None:
        """Leave what was not taken."""
        for sock in (*self._sockets.values(), *self._predecessors):
            sock.close()
        self._sockets.clear()
        self._predecessors.clear()


def opened_as(sock: socket.socket) -> Place | None:
    """What it listens to; None if it does not."""
    if sock.type == socket.SOCK_STREAM:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        return "tcp", Address(*sock.getsockname()[:2])
    return ("udp", Address(*sock.getsockname()[:2])) if sock.type == socket.SOCK_DGRAM else None


def _offers() -> Iterator[str]:
    """Names of the abstract sockets of those that are stopping."""
    with contextlib.suppress(OSError):
        for line in UNIX_SOCKETS.read_text(errors="replace").splitlines():
            name = line.rpartition(" ")[2]
            if name.startswith("@" + NAME[1:]):
                yield "\0" + name[1:]


def _received(predecessor: socket.socket) -> dict[Place, socket.socket]:
    """All that it gives, by what each listens to."""
    found: list[socket.socket] = []
    try:
        while True:
            message, descriptors, _, _ = socket.recv_fds(
                predecessor, len(SERVING), SOCKETS_PER_MESSAGE
            )
            found += [socket.socket(fileno=descriptor) for descriptor in descriptors]
            if message == ALL:
                return _by_place(found)
            if message != SOME:
                raise OSError("it ended")
    except BaseException:
        for sock in found:
            sock.close()
        raise


def _by_place(sockets: Sequence[socket.socket]) -> dict[Place, socket.socket]:
    places: dict[Place, socket.socket] = {}
    for sock in sockets:
        sock.setblocking(False)
        os.set_inheritable(sock.fileno(), False)
        place = opened_as(sock)
        if place is None:
            sock.close()
        else:
            places[place] = sock
    return places


def _user_of(peer: socket.socket) -> int:
    _, uid, _ = CREDENTIALS.unpack(
        peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    )
    return int(uid)
