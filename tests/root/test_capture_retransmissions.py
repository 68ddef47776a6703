"""What a capture shows is what the kernel counted, with packets lost on purpose.

Two namespaces, one veth pair, and the receiver's firewall drops packets (`statistic`, by count,
so the test is the same every time): no netem needed. Finding, Linux 6.18: `RetransSegs` counts
repeated data, FIN, SYN and SYN/ACK alike; `TCPSynRetrans` repeats the latter two.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from experiments.lab.capture import capture
from experiments.tables.pcap.flows import check_retransmissions, read_flows

pytestmark = pytest.mark.root

CLIENT, SERVER = "10.77.0.1", "10.77.0.2"
PORT = 7000
TRANSFER_BYTES = 2_000_000

RUN_SERVER = f"""
import socket
listening = socket.create_server(("{SERVER}", {PORT}))
print("ready", flush=True)
for _ in range(3):
    connection, _ = listening.accept()
    left = {TRANSFER_BYTES}
    while left:
        left -= len(connection.recv(65536))
    connection.sendall(b"x" * {TRANSFER_BYTES})
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)
"""
RUN_CLIENT = f"""
import socket
for _ in range(3):
    connection = socket.create_connection(("{SERVER}", {PORT}))
    connection.sendall(b"x" * {TRANSFER_BYTES})
    while connection.recv(65536): pass
    connection.close()
"""


class Pair:
    """Two namespaces of our own, `client` and `server`."""

    def __init__(self) -> None:
        self.names = {end: f"cap-{end}-{os.getpid()}" for end in ("client", "server")}

    def popen(
        self, host: str, argv: Sequence[str], *, stdout: int, stderr: int | None = None
    ) -> subprocess.Popen[bytes]:
        inside = ["ip", "netns", "exec", self.names[host], *argv]
        return subprocess.Popen(inside, stdout=stdout, stderr=stderr)

    def run(self, host: str, command: str) -> str:
        inside = ["ip", "netns", "exec", self.names[host], *command.split()]
        return subprocess.run(inside, check=True, capture_output=True, text=True, timeout=60).stdout

    def retransmitted(self, host: str) -> int:
        names, values = (
            line.split()
            for line in self.run(host, "cat /proc/net/snmp").splitlines()
            if line.startswith("Tcp:")
        )
        return int(dict(zip(names, values, strict=True))["RetransSegs"])

    def drop(self, host: str, match: str) -> None:
        self.run(host, f"iptables -w -A INPUT -p tcp {match} -j DROP")


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    client, server = made.names["client"], made.names["server"]
    try:
        for name in (client, server):
            subprocess.run(["ip", "netns", "add", name], check=True)
        link = f"ip -n {client} link add e0 type veth peer name e0 netns {server}"
        subprocess.run(link.split(), check=True)
        for end, address in (("client", CLIENT), ("server", SERVER)):
            made.run(end, f"ip address add {address}/24 dev e0")
            made.run(end, "ip link set e0 up")
            made.run(end, "ethtool -K e0 tso off gso off gro off")
            # Unshaped, a veth pair overruns its receiver's backlog now and then: real losses.
            made.run(end, "tc qdisc add dev e0 root tbf rate 200mbit burst 32kb limit 1mb")
        yield made
    finally:
        for name in (client, server):
            subprocess.run(["ip", "netns", "delete", name], check=False)


def transfer_captured(pair: Pair, folder: Path) -> dict[str, int]:
    """Both ends captured during three transfers each way; growth of RetransSegs per end."""
    before = {end: pair.retransmitted(end) for end in pair.names}
    server = pair.popen("server", [sys.executable, "-c", RUN_SERVER], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        with (
            capture(pair.popen, "client", "e0", folder / "client.pcap") as at_client,
            capture(pair.popen, "server", "e0", folder / "server.pcap") as at_server,
        ):
            client = pair.popen(
                "client", [sys.executable, "-c", RUN_CLIENT], stdout=subprocess.DEVNULL
            )
            assert client.wait(timeout=60) == 0
            assert server.wait(timeout=60) == 0
    finally:
        server.kill()
        server.communicate()
    for ended in (at_client, at_server):
        assert ended.statistics is not None
        assert ended.statistics.missing == 0
    return {end: pair.retransmitted(end) - before[end] for end in pair.names}


@pytest.mark.slow
def test_captured_retransmissions_are_the_kernels(pair: Pair, tmp_path: Path) -> None:
    every = "-m statistic --mode nth --every"
    pair.drop("server", f"--syn {every} 2 --packet 0")  # 1st, 3rd, ... SYN: one SYN retry
    pair.drop("client", f"--tcp-flags SYN,ACK SYN,ACK {every} 3 --packet 0")
    pair.drop("server", f"! --syn {every} 50 --packet 7")
    pair.drop("client", f"--tcp-flags SYN NONE {every} 50 --packet 7")
    grown = transfer_captured(pair, tmp_path)

    for end, address in (("client", CLIENT), ("server", SERVER)):
        flows = read_flows(tmp_path / f"{end}.pcap", end)
        (check,) = check_retransmissions(flows, {end: grown[end]}, {end: [address]})
        print(json.dumps({"end": end, "captured": check.captured, "kernel": check.kernel}))
        assert check.ok
        assert check.captured > 50
    at_client = read_flows(tmp_path / "client.pcap", "client")
    at_server = read_flows(tmp_path / "server.pcap", "server")
    assert at_client["syn_retries"].sum() >= 1
    assert at_server["synack_retries"].sum() >= 1
    assert at_client["retransmissions_up"].sum() > 20
    assert at_server["retransmissions_down"].sum() > 20


def test_without_loss_there_are_only_those_that_the_kernels_made(
    pair: Pair, tmp_path: Path
) -> None:
    """None on a quiet machine; a busy one keeps acknowledgements waiting until TCP repeats."""
    grown = transfer_captured(pair, tmp_path)
    for end in pair.names:
        flows = read_flows(tmp_path / f"{end}.pcap", end)
        assert len(flows) == 3
        repeated = {
            "client": flows[["retransmissions_up", "syn_retries"]].to_numpy().sum(),
            "server": flows[["retransmissions_down", "synack_retries"]].to_numpy().sum(),
        }
        assert repeated == grown
        assert (flows["payload_bytes_up"] == TRANSFER_BYTES).all()
        assert (flows["payload_bytes_down"] == TRANSFER_BYTES).all()
        assert (flows["ended"] == "fin").all()
        assert flows["handshake_rtt_ms"].between(0, 1000).all(), "a busy machine waits, too"
