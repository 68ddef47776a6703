"""The backend of the stress scenes: echoes over TCP and UDP, and downloads without an end."""

import selectors
import socket
from contextlib import suppress
from multiprocessing import Process

from nginy.udp.socket import enlarge_receive_buffer

READY = "ready"
"""Printed by this and by the clients, when the load is on."""
ECHO, DOWNLOAD = b"e", b"d"
"""What a client sends first: to have every byte back, or as many bytes as it takes."""
CHUNK = bytes(1 << 18)


def say(word: str) -> None:
    """To whoever has started this."""
    print(word, flush=True)


def serve(port: int) -> None:
    """The backend, TCP and UDP: echoes in this process, downloads in another one."""
    ours, its = socket.socketpair()
    Process(target=_pump, args=(its, ours), daemon=True).start()
    its.close()
    listener = socket.create_server(("0.0.0.0", port), backlog=4096)
    datagrams = socket.socket(type=socket.SOCK_DGRAM)
    enlarge_receive_buffer(datagrams, 8 << 20)
    datagrams.bind(("0.0.0.0", port))
    chosen = selectors.EpollSelector()
    for sock in (listener, datagrams):
        sock.setblocking(False)
        chosen.register(sock, selectors.EVENT_READ)
    say(READY)
    while True:
        for key, _ in chosen.select():
            with suppress(OSError):
                if key.fileobj is listener:
                    client, _ = listener.accept()
                    client.setblocking(False)
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    chosen.register(client, selectors.EVENT_READ)
                elif key.fileobj is datagrams:
                    _echo_datagrams(datagrams)
                else:
                    _answer(key.fileobj, chosen, ours)  # type: ignore[arg-type]


def _answer(sock: socket.socket, chosen: selectors.BaseSelector, pump: socket.socket) -> None:
    piece = b""
    with suppress(ConnectionError):
        piece = sock.recv(4096)
    if piece == DOWNLOAD:
        socket.send_fds(pump, [DOWNLOAD], [sock.fileno()])
    if piece in (b"", DOWNLOAD):
        chosen.unregister(sock)
        sock.close()
    else:
        sock.send(piece)


def _echo_datagrams(sock: socket.socket) -> None:
    for _ in range(64):
        datagram, sender = sock.recvfrom(2048)
        sock.sendto(datagram, sender)


def _pump(orders: socket.socket, other_end: socket.socket) -> None:
    """Write without end into every socket that is passed, until nobody is left to pass one."""
    other_end.close()
    chosen = selectors.EpollSelector()
    chosen.register(orders, selectors.EVENT_READ)
    while True:
        for key, _ in chosen.select():
            if key.fileobj is orders:
                data, descriptors, _, _ = socket.recv_fds(orders, 1, 1)
                if not data:
                    return
                for descriptor in descriptors:
                    taker = socket.socket(fileno=descriptor)
                    taker.setblocking(False)
                    chosen.register(taker, selectors.EVENT_WRITE)
                continue
            sock: socket.socket = key.fileobj  # type: ignore[assignment]
            try:
                sock.send(CHUNK)
            except BlockingIOError:
                continue
            except OSError:
                chosen.unregister(sock)
                sock.close()
