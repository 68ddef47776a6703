"""The process is stopped (SIGSTOP) for longer than an idle timeout: nobody was silent meanwhile."""

import json
import signal
import socket
import subprocess
import time

import pytest

TIMEOUT_S = 20
IDLE_MS = 2000
STANDSTILL_S = 3
PAUSE_S = 0.5
"""For as long the client is silent afterwards, within its limit."""


def stand_still(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGSTOP)
    time.sleep(STANDSTILL_S)
    process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("meanwhile", [b"", b"meanwhile "])
def test_a_connection_stays(meanwhile, peer, write_config, start, own, wait_until):
    backend = peer()
    path, port = write_config(backend.address, timeouts={"idle_timeout_ms": IDLE_MS})
    process, log = start(path)
    client = own.enter_context(socket.create_connection(("127.0.0.1", port)))
    client.settimeout(TIMEOUT_S)
    upstream = backend.accept()
    client.sendall(b"before")
    assert upstream.recv(100) == b"before"
    own.callback(process.send_signal, signal.SIGCONT)
    if meanwhile:
        process.send_signal(signal.SIGSTOP)
        client.sendall(meanwhile)
    stand_still(process)
    if meanwhile:
        assert upstream.recv(100) == meanwhile
    else:
        time.sleep(PAUSE_S)
    client.sendall(b"after")
    assert upstream.recv(100) == b"after"
    wait_until(lambda: "stood still for" in log.read_text(), "a word of it")


def test_a_session_stays(udp_peer, write_config, start, own):
    backend = udp_peer()
    path, port = write_config(backend.address)
    document = json.loads(path.read_text())
    document["rules"][0] |= {"protocol": "udp", "udp": {"idle_timeout_ms": IDLE_MS}}
    path.write_text(json.dumps(document))
    process, _ = start(path)
    client = own.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    client.settimeout(TIMEOUT_S)
    client.connect(("127.0.0.1", port))
    client.send(b"before")
    _, upstream_before = backend.receive()
    stand_still(process)
    time.sleep(PAUSE_S)
    client.send(b"after")
    datagram, upstream_after = backend.receive()
    assert (datagram, upstream_after) == (b"after", upstream_before)
