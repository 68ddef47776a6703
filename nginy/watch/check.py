"""One health check: over TCP, over UDP, or by a program.

A check is awaited and returns if it passed. It raises BackendError if it failed, with the reason,
and CheckImpossible if nothing was learnt about the backend.
"""

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from nginy.address import Address
from nginy.engine.dial import OWN_FAULTS, dial
from nginy.errors import BackendError, NginyError, NoResources

LONGEST_ANSWER_BYTES = 65_536
SHOWN_BYTES = 40
"""Of an answer that was not the expected one, in the log."""


class CheckImpossible(NginyError):
    """The balancer lacks what a check needs (descriptors, memory): the backend is not to blame."""


async def check_tcp(
    address: Address, send: bytes | None, expect: re.Pattern[bytes] | None, timeout_s: float
) -> None:
    """Over TCP or a Unix socket: connect; send; read until the expected answer is there.

    Raises BackendError (refused, too late, another answer) or CheckImpossible.
    """
    async with within(timeout_s), connected(address) as sock:
        if send is not None:
            await asyncio.get_running_loop().sock_sendall(sock, send)
        if expect is not None:
            require(expect, await read_until(sock, expect, LONGEST_ANSWER_BYTES))


async def check_udp(
    address: Address, send: bytes, expect: re.Pattern[bytes] | None, timeout_s: float
) -> None:
    """Over UDP: send a datagram; expect one back, or at least no refusal. Raises as `check_tcp`.

    Without an expected answer silence is success, and so is a refusal that the host does not tell:
    hosts limit the rate of ICMP errors (Linux: net.ipv4.icmp_ratelimit). `expect` is the better
    check.
    """
    try:
        with socket.socket(address.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.connect(address)
            sock.send(send)
            if expect is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await _datagram(sock)
            else:
                async with within(timeout_s):
                    require(expect, await _datagram(sock))
    except BlockingIOError:
        raise BackendError("the datagram could not be sent") from None
    except OSError as error:
        raise blame(error) from None


async def check_command(
    command: Sequence[str], backend_id: str, address: Address, timeout_s: float
) -> None:
    """Run `command`, whose environment says what to check: NGINY_BACKEND (the id), NGINY_HOST (the
    IP address or the path of the Unix socket), NGINY_PORT (empty for a Unix socket).

    What takes longer is killed, with all its children that stayed in its process group.
    Raises BackendError or CheckImpossible.
    """
    environment = os.environ | {
        "NGINY_BACKEND": backend_id,
        "NGINY_HOST": address.host,
        "NGINY_PORT": str(address.port or ""),
    }
    quiet = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise blame(error) from None
    try:
        async with within(timeout_s):
            status = await process.wait()
    finally:
        await _end(process)
    if status:
        raise BackendError(_meaning(status))


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
        sock = socket.socket(fileno=dial(address).detach())
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


async def _datagram(sock: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(sock, LONGEST_ANSWER_BYTES)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what still runs: until it is waited for, its number is nobody else's."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _meaning(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"killed by signal {-status}"
