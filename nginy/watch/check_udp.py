"""A check over UDP: send a datagram; expect one back, or at least no refusal.

Without an expected answer silence is success, and so is a refusal that the host does not tell:
hosts limit the rate of ICMP errors (Linux: net.ipv4.icmp_ratelimit). `expect` is the better check.
"""

import asyncio
import contextlib
import re
import socket

from nginy.address import Address
from nginy.errors import BackendError
from nginy.watch.check import LONGEST_ANSWER_BYTES, blame, require, within


async def check_udp(
    address: Address, send: bytes, expect: re.Pattern[bytes] | None, timeout_s: float
) -> None:
    """Raises BackendError (refused, too late, another answer) or CheckImpossible."""
    try:
        with socket.socket(address.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.connect(address)
            sock.send(send)
            if expect is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await _answer(sock)
            else:
                async with within(timeout_s):
                    require(expect, await _answer(sock))
    except BlockingIOError:
        raise BackendError("the datagram could not be sent") from None
    except OSError as error:
        raise blame(error) from None


async def _answer(sock: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(sock, LONGEST_ANSWER_BYTES)
