"""A check over TCP or a Unix socket: connect; send; read until the expected answer is there."""

import asyncio
import re

from nginy.address import Address
from nginy.watch.check import LONGEST_ANSWER_BYTES, connected, read_until, require, within


async def check_tcp(
    address: Address, send: bytes | None, expect: re.Pattern[bytes] | None, timeout_s: float
) -> None:
    """Raises BackendError (refused, too late, another answer) or CheckImpossible."""
    async with within(timeout_s), connected(address) as sock:
        if send is not None:
            await asyncio.get_running_loop().sock_sendall(sock, send)
        if expect is not None:
            require(expect, await read_until(sock, expect, LONGEST_ANSWER_BYTES))
