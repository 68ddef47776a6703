"""Accepting when descriptors run out: it goes on as soon as one comes free."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.scenario.proxy.conftest import free_port, udp_socket

BURST = 300
HOLD_S = 0.02
TIMEOUT_S = 20


def descriptors(process: subprocess.Popen) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a backend does: some work, an answer, the end."""
    if question := await reader.read(100):
        await asyncio.sleep(HOLD_S)
        writer.write(question)
    writer.close()


async def ask(port: int) -> bool:
    """Whether one client is served."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"question")
        answered = await reader.read(100) == b"question"
        writer.close()
    except OSError:
        return False
    return answered


async def burst(listener: socket.socket, port: int) -> int:
    """How many of BURST clients that come at once are served."""
    async with await asyncio.start_server(answer, sock=listener, backlog=1024):
        async with asyncio.timeout(TIMEOUT_S):
            return sum(await asyncio.gather(*(ask(port) for _ in range(BURST))))


@pytest.mark.parametrize("free", [15, 16])
def test_a_burst_is_served_with_few_descriptors(
    free, peer, write_config, start, tmp_path, wait_until
):
    """An odd number leaves one for a client and none towards its backend."""
    backend, access = peer(), tmp_path / "access.log"
    path, port = write_config(backend.address, access_log=str(access))
    process, _ = start(path)
    at_rest = descriptors(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0
    limit = at_rest + free
    process, log = start(path, prefix=("prlimit", f"--nofile={limit}:{limit}"))
    assert descriptors(process) == at_rest
    assert asyncio.run(burst(backend.listener.dup(), port)) == BURST
    assert "no accepting until a descriptor comes free" in log.read_text()
    wait_until(lambda: access.read_text().count("\n") == BURST, "the records")
    reasons = {json.loads(line)["close_reason"] for line in access.read_text().splitlines()}
    assert reasons == {"completed"}
    wait_until(lambda: descriptors(process) == at_rest, "descriptors given back")


def test_one_datagram_clients_leave_descriptors_for_connections(
    peer, udp_peer, start, tmp_path, wait_until
):
    tcp, udp = peer(), udp_peer()
    port, limit = free_port(), 200
    rule = {"clients": [f"0.0.0.0/0:{port}"]}
    config = {
        "bind_addresses": ["127.0.0.1"],
        "backends": [{"id": "t", "address": tcp.address}, {"id": "u", "address": udp.address}],
        "rules": [
            {**rule, "name": "tcp", "targets": ["t"]},
            {**rule, "name": "udp", "targets": ["u"], "protocol": "udp"},
        ],
    }
    path = tmp_path / "scarce.yaml"
    path.write_text(json.dumps(config))
    process, log = start(path, prefix=("prlimit", f"--nofile={limit}:{limit}"))
    at_rest = descriptors(process)
    for _ in range(2 * limit):
        with udp_socket() as client:
            client.sendto(b"x", ("127.0.0.1", port))
            udp.receive()
    most = at_rest + limit // 2
    wait_until(lambda: descriptors(process) <= most, "no more than the share of UDP")
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S):
        tcp.accept().close()
    assert f"8192, but at most {limit // 2} may" in log.read_text()


def test_connections_leave_descriptors_for_checks_and_status(
    peer, write_config, start, tmp_path, wait_until
):
    backend, checked, limit = peer(), peer(), 128
    checks = {"type": "tcp", "interval_s": 0.1, "timeout_s": 0.05, "fall": 1}
    checks["port"] = int(checked.address.rpartition(":")[2])
    path, port = write_config(backend.address, health_check=checks, status_socket=None)
    _, log = start(path, prefix=("prlimit", f"--nofile={limit}:{limit}"))
    with ExitStack() as own:
        for _ in range(limit):
            own.enter_context(socket.create_connection(("127.0.0.1", port), TIMEOUT_S))
        wait_until(lambda: "no accepting until" in log.read_text(), "all taken")
        checked.listener.close()
        wait_until(lambda: "down after" in log.read_text(), "a failed check")
        command = (sys.executable, "-m", "nginy", "status", "--json", "-c", str(path))
        asked = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=True)
    assert json.loads(asked.stdout)
