"""Clients and backends of the stress test: what each sends follows from the connection's number."""

import asyncio
import hashlib
import random
import socket
from collections import Counter
from contextlib import suppress
from typing import NamedTuple

from tests.scenario.proxy.conftest import LINGER_RESET

NUMBER_BYTES = 8
SIZES = (*(0, 1, 1_000, 20_000, 300_000) * 5, 5_000_000)
"""The last one is more than the kernel takes from somebody who stalls."""
LONGEST_STALL_S = 0.03
ANSWER_TIMEOUT_S = 1.0


class Plan(NamedTuple):
    """What both ends of one connection do."""

    up: bytes
    down: bytes
    client: str
    backend: str
    stall_s: float


def plan_of(number: int) -> Plan:
    rng = random.Random(f"stress {number}")
    up, down = (rng.randbytes(rng.choice(SIZES)) for _ in range(2))
    client, backend = (rng.choices(("whole", "stall", "reset"), (6, 2, 2))[0] for _ in range(2))
    return Plan(number.to_bytes(NUMBER_BYTES) + up, down, client, backend, LONGEST_STALL_S)


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Ends:
    """Both ends of all connections and sessions, and what they have seen."""

    def __init__(self) -> None:
        self.seen = Counter[str]()
        self.whole: dict[str, bool] = {}
        """By the client's address: whether it got all, of connections that neither end spoilt."""

    async def backend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read to the end, answer with the digest of that, then with its own bytes."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readexactly(NUMBER_BYTES)
            plan = plan_of(int.from_bytes(head))
            if plan.backend == "stall":
                await asyncio.sleep(plan.stall_s)
            if plan.backend == "reset":
                self._reset(writer)
                return
            received = head + await reader.read(-1)
            self.seen["up ok" if plan.up.startswith(received) else "up WRONG"] += 1
            writer.write(digest(received) + plan.down)
            await writer.drain()
        writer.close()

    async def client(self, port: int, number: int) -> None:
        """Send all and FIN, read to the end; or reset half-way."""
        plan = plan_of(number)
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            name = "{}:{}".format(*writer.get_extra_info("sockname"))
            if plan.client == "reset":
                await self._spoil(writer, plan)
                return
            writer.write(plan.up)
            writer.write_eof()
            if plan.client == "stall":
                await asyncio.sleep(plan.stall_s)
            received = b""
            with suppress(OSError):
                while piece := await reader.read(1 << 16):
                    received += piece
            writer.close()
            self._check(name, plan, received)

    async def _spoil(self, writer: asyncio.StreamWriter, plan: Plan) -> None:
        writer.write(plan.up[: len(plan.up) // 2])
        await asyncio.sleep(0)
        self._reset(writer)

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        writer.transport.abort()

    def _check(self, name: str, plan: Plan, received: bytes) -> None:
        wanted = digest(plan.up) + plan.down
        right = wanted.startswith(received)
        self.seen["whole" if received == wanted else "cut" if right else "down WRONG"] += 1
        if plan.backend != "reset":
            self.whole[name] = received == wanted

    def datagrams(self, sock: socket.socket) -> None:
        """Answer all that wait with their digests."""
        with suppress(BlockingIOError):
            while True:
                datagram, sender = sock.recvfrom(1 << 16)
                sock.sendto(digest(datagram), sender)

    async def session(self, port: int, number: int) -> None:
        """Some datagrams, one after the other."""
        loop = asyncio.get_running_loop()
        rng = random.Random(f"session {number}")
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", port))
            for _ in range(rng.randint(1, 4)):
                datagram = rng.randbytes(rng.randint(1, 1400))
                sock.send(datagram)
                try:
                    async with asyncio.timeout(ANSWER_TIMEOUT_S):
                        answer = await loop.sock_recv(sock, 1 << 16)
                except (TimeoutError, OSError):
                    self.seen["unanswered"] += 1
                    return
                self.seen["answered" if answer == digest(datagram) else "answer WRONG"] += 1
