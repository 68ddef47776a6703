"""TCP backends that say who they are and hang up, and clients that ask."""

import socket
import threading
from contextlib import ExitStack
from socketserver import BaseRequestHandler, TCPServer

PATIENCE_S = 10.0


class _Server(TCPServer):
    request_queue_size = 128
    allow_reuse_address = True


def greeter(own: ExitStack, name: str, port: int = 0) -> str:
    """The address of a backend that greets with `name` until `own` is closed."""

    class Greeting(BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(name.encode())

    server = own.enter_context(_Server(("127.0.0.1", port), Greeting))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    own.callback(thread.join)
    own.callback(server.shutdown)
    return f"127.0.0.1:{server.server_address[1]}"


def ask(port: int, source: str = "", host: str = "127.0.0.1") -> str:
    """Who greets a client (at `source`) of the balancer at `port`; "": it was refused."""
    own_address = (source, 0) if source else None
    sock = socket.create_connection((host, port), PATIENCE_S, own_address)
    with sock, sock.makefile() as said:
        return said.read()


def free_port() -> int:
    """One that nobody listens to."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
