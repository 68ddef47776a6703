"""Small servers on loopback for what monitors ask."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from nginy.address import Address

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def says(data: bytes, *, after: bytes = b"", stay: bool = False) -> Handler:
    """A handler that says `data` once it has read `after`; then hangs up, unless it is to stay."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(len(after))
            writer.write(data)
            await writer.drain()
            if stay:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return handle


@asynccontextmanager
async def tcp_server(handle: Handler, host: str = "127.0.0.1") -> AsyncIterator[Address]:
    server = await asyncio.start_server(handle, host, 0)
    async with server:
        yield Address(*server.sockets[0].getsockname()[:2])


@asynccontextmanager
async def unix_server(handle: Handler, path: Path) -> AsyncIterator[Address]:
    server = await asyncio.start_unix_server(handle, path)
    async with server:
        yield Address(str(path), 0)


@asynccontextmanager
async def udp_server(answer: Callable[[bytes], bytes | None]) -> AsyncIterator[Address]:
    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: object) -> None:
            said = answer(data)
            if said is not None:
                self.transport.sendto(said, addr)  # type: ignore[attr-defined]

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Protocol, ("127.0.0.1", 0))
    try:
        yield Address(*transport.get_extra_info("sockname")[:2])
    finally:
        transport.close()


def closed_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> Address:
    """Where nobody listens."""
    with socket.socket(type=kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return Address(*sock.getsockname())
