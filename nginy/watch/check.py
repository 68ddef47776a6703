"""What all checks share: how they fail, how long they may take, how they wait for a socket.

A check is awaited and returns if it passed. It raises BackendError if it failed, with the reason,
and CheckImpossible if nothing was learnt about the backend.
"""

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nginy.address import Address
from nginy.engine.dial import OWN_FAULTS, begin
from nginy.errors import BackendError, NginyError, NoResources

LONGEST_ANSWER_BYTES = 65_536
SHOWN_BYTES = 40
"""Of an answer that was not the expected one, in the log."""


class CheckImpossible(NginyError):
    """The balancer lacks what a check needs (descriptors, memory): the backend is not to blame."""


@asynccontextmanager
async def within(timeout_s: float) -> AsyncIterator[None]:
    """Limit what is done inside. Raises BackendError when the time is up."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise BackendError(f"no answer within {timeout_s * 1e3:g} ms") from None


def blame(error: OSError) -> NginyError:
    """Whose fault `error` is: the exception to raise instead."""
    reason = error.strerror or str(error)
    return CheckImpossible(reason) if error.errno in OWN_FAULTS else BackendError(reason)


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[socket.socket]:
    """A connection to `address`, a non-blocking socket; closed afterwards. Raises as checks do."""
    try:
        sock = socket.socket(fileno=begin(address).detach())
    except NoResources:
        raise CheckImpossible("the balancer has no descriptor or memory left") from None
    with sock:
        await _writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise blame(OSError(code, os.strerror(code)))
        try:
            yield sock
        except OSError as error:
            raise blame(error) from None


async def read_until(sock: socket.socket, pattern: re.Pattern[bytes], limit: int) -> bytes:
    """What came until `pattern` was found in it, or all if it ended or grew to `limit` bytes."""
    loop = asyncio.get_running_loop()
    answer = b""
    while len(answer) < limit and not pattern.search(answer):
        piece = await loop.sock_recv(sock, limit - len(answer))
        if not piece:
            break
        answer += piece
    return answer


def require(expect: re.Pattern[bytes], answer: bytes) -> None:
    """Raises BackendError unless `answer` contains what is expected."""
    if expect.search(answer):
        return
    shown = answer[:SHOWN_BYTES]
    more = f"... ({len(answer)} bytes)" if len(answer) > len(shown) else ""
    raise BackendError(f"the answer is not the expected one: {shown!r}{more}")


async def _writable(sock: socket.socket) -> None:
    """Wait until the attempt to connect has ended, well or badly."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(sock, wake)
    try:
        await ready
    finally:
        loop.remove_writer(sock)
