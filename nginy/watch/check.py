"""One health check: over TCP, over UDP, or by a program.

A check is awaited and returns if it passed. It raises BackendError if it failed, with the reason,
and CheckImpossible if nothing was learnt about the backend.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from nginy.address import Address
from nginy.config.pattern import Pattern
from nginy.engine.dial import OWN_FAULTS, dial
from nginy.errors import BackendError, NginyError, NoResources

LONGEST_ANSWER_BYTES = 16_384
"""HAProxy's buffer, in which it looks as well. To look through as much takes 25 ms at the worst."""
READS_IN_A_ROW = 8
READ_PAUSE_S = 0.01
"""Between two reads after as many."""
PARTING_S = 0.05
"""How long a server is listened to that does not hang up when its client does."""
SHOWN_BYTES = 40
"""Of an answer that was not the expected one, in the log."""


class CheckImpossible(NginyError):
    """The balancer lacks what a check needs (descriptors, memory): the backend is not to blame."""


async def check_connect(address: Address, timeout_s: float) -> None:
    """Over TCP or a Unix socket: whether a connection is taken. Raises as `check_tcp`.

    A server over TCP does not hear of it (as with HAProxy): the kernel keeps the last step of the
    handshake back and the connection is reset before. One that speaks first would count a client
    that left in the middle of its greeting; MySQL blocks a host for that (max_connect_errors).
    """
    sock = _dialled(address, unseen=True)
    try:
        await _wait_connected(sock, timeout_s)
    finally:
        sock.close()


async def check_tcp(
    address: Address, send: bytes | None, expect: Pattern | None, timeout_s: float
) -> None:
    """Over TCP or a Unix socket: connect; send; read until the expected answer is there.

    Raises BackendError (refused, too late, another answer) or CheckImpossible.
    """
    found_in = None if expect is None else expect.found_in
    answer = await converse(address, send, found_in, LONGEST_ANSWER_BYTES, timeout_s)
    if expect is not None:
        require(expect, answer)


async def converse(
    address: Address,
    send: bytes | None,
    found_in: Callable[[bytes], bool] | None,
    limit: int,
    timeout_s: float,
) -> bytes:
    """Connect, send, and read until `found_in` says yes (None: not at all), at most `limit`
    bytes; then part from the server without a reset. Raises BackendError or CheckImpossible."""
    with socket.socket(fileno=_dialled(address).detach()) as sock:
        try:
            async with within(timeout_s):
                await _wait_connected(sock, timeout_s)
                if send is not None:
                    await asyncio.get_running_loop().sock_sendall(sock, send)
                answer = await _read_until(sock, found_in, limit) if found_in else b""
        except OSError as error:
            raise blame(error) from None
        await _part(sock)
    return answer


async def check_udp(
    address: Address, send: bytes, expect: Pattern | None, timeout_s: float
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
        raise _too_late(timeout_s) from None


def _too_late(timeout_s: float) -> BackendError:
    return BackendError(f"no answer within {timeout_s * 1e3:g} ms")


def blame(error: OSError) -> NginyError:
    """Whose fault `error` is: the exception to raise instead."""
    reason = error.strerror or str(error)
    return CheckImpossible(reason) if error.errno in OWN_FAULTS else BackendError(reason)


async def _read_until(sock: socket.socket, found_in: Callable[[bytes], bool], limit: int) -> bytes:
    """What came until `found_in` says yes, or all if it ended or grew to `limit` bytes.

    Who sends many small pieces is read less often: each time all of it is looked through.
    """
    loop = asyncio.get_running_loop()
    answer = b""
    reads = 0
    while len(answer) < limit and not found_in(answer):
        reads += 1
        if reads > READS_IN_A_ROW:
            await asyncio.sleep(READ_PAUSE_S)
        piece = await loop.sock_recv(sock, limit - len(answer))
        if not piece:
            break
        answer += piece
    return answer


def require(expect: Pattern, answer: bytes) -> None:
    """Raises BackendError unless `answer` contains what is expected."""
    if expect.found_in(answer):
        return
    shown = answer[:SHOWN_BYTES]
    more = f"... ({len(answer)} bytes)" if len(answer) > len(shown) else ""
    raise BackendError(f"the answer is not the expected one: {shown!r}{more}")


def _dialled(address: Address, *, unseen: bool = False) -> socket.SocketType:
    try:
        return dial(address, unseen=unseen)
    except NoResources:
        raise CheckImpossible("the balancer has no descriptor or memory left") from None


async def _wait_connected(sock: socket.SocketType, timeout_s: float) -> None:
    """Until the attempt to connect has ended. Raises BackendError if not well, or not in time.

    With bare callbacks: `asyncio.timeout` and what it needs cost as much as the system calls.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[bool] = loop.create_future()
    descriptor = sock.fileno()
    loop.add_writer(descriptor, _settle, ended, True)
    timer = loop.call_later(timeout_s, _settle, ended, False)
    try:
        in_time = await ended
    finally:
        timer.cancel()
        loop.remove_writer(descriptor)
    if not in_time:
        raise _too_late(timeout_s)
    if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise blame(OSError(code, os.strerror(code)))


def _settle(future: "asyncio.Future[bool]", result: bool) -> None:
    if not future.done():
        future.set_result(result)


async def _part(sock: socket.socket) -> None:
    """Say that nothing more is wanted, and take what is still said: what lies unread makes a reset
    of the end."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, TimeoutError):
        sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(PARTING_S):
            while await loop.sock_recv(sock, LONGEST_ANSWER_BYTES):
                pass


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
