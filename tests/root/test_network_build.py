"""A network is what was asked, and nothing of it stays."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from topologies.build.network import Network
from topologies.errors import MachineLacks
from topologies.machine import record
from topologies.machine.namespaces import members, namespace_inode, start_ticks
from topologies.shapes.shape import LinkSpec
from topologies.shapes.shapes import star

pytestmark = pytest.mark.root

MACHINE_SETTINGS = (
    "/proc/sys/net/ipv4/tcp_allowed_congestion_control",
    "/proc/sys/net/ipv4/tcp_congestion_control",
    "/proc/sys/net/ipv4/tcp_rmem",
    "/proc/sys/net/core/rmem_max",
    "/proc/sys/net/core/netdev_max_backlog",
    "/proc/sys/net/ipv4/neigh/default/gc_thresh1",
)

SHAPE = star(1, 1, client_link=LinkSpec(delay_ms=5, rate_mbps=100))

# Builds a network, starts a program with a child of its own in it, says who is who, and waits.
RUNNER = """
import json, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and stays so
from pathlib import Path
from topologies.machine import record
from topologies.errors import MachineLacks
record.STATE_DIR = Path(sys.argv[1])
from topologies.machine.namespaces import namespace_inode
from topologies.build.network import Network
from topologies.shapes.shape import LinkSpec
from topologies.shapes.shapes import star
with Network(star(1, 1, client_link=LinkSpec(delay_ms=5)), seed=1) as network:
    child = network.popen("b1", ["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=-1, text=True)
    pids = [child.pid, int(child.stdout.readline())]
    pids += [pid for port in network.ports for pid in (port.end_pid, port.switch_pid)]
    inodes = [namespace_inode(pid) for pid in pids]
    print(json.dumps({"pids": pids, "inodes": inodes}), flush=True)
    time.sleep(100)
"""


def _machine():
    shown = subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout
    settings = [Path(path).read_text() for path in MACHINE_SETTINGS]
    return sorted(link["ifname"] for link in json.loads(shown)), settings


@pytest.fixture
def private_state(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "STATE_DIR", tmp_path)
    return tmp_path


def _members_of(network):
    pids = [pid for port in network.ports for pid in (port.end_pid, port.switch_pid)]
    return pids, {namespace_inode(pid) for pid in pids}


def test_a_network_is_pinned_and_leaves_nothing_behind(private_state):
    before = _machine()
    with Network(SHAPE, seed=1) as network:
        pids, inodes = _members_of(network)
        assert len(inodes) == 5
        assert namespace_inode() not in inodes
        facts = network.facts()
        for host in facts["hosts"].values():
            assert host["offloads_on"] == []
            assert host["mtu"] == 1500
            assert host["sysctls"]["net.ipv4.tcp_no_metrics_save"] == "1"
        # A meter sends no TCP, so it keeps the machine's own default.
        assert {facts["hosts"][name]["congestion_control"] for name in network.hosts} == {"cubic"}
        assert facts["hosts"]["c1"]["qdiscs"][0]["kind"] == "tbf"
        assert facts["link_method"] in ("netem", "nfqueue")
        assert network.interface("b1") == "b1-eth0"
        answer = network.run("c1", ["ping", "-c1", "-W5", network.address("b1")], timeout_s=10)
        assert answer.returncode == 0
        assert "inet6" not in network.run("c1", ["ip", "addr"], timeout_s=5).stdout
        child = network.popen("lb", ["sh", "-c", "sleep 1000 & wait"])
        network.check_alive()
    assert child.returncode is not None
    assert all(start_ticks(pid) is None for pid in pids)
    assert not inodes & members().keys()
    assert list(private_state.glob("*.json")) == []
    assert _machine() == before


def test_an_error_inside_tears_down_and_is_passed_on(private_state):
    seen = []

    def fail_inside():
        with Network(star(1, 1), seed=1) as network:
            assert network.link_method == "none"
            seen.extend(_members_of(network))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    pids, inodes = seen
    assert all(start_ticks(pid) is None for pid in pids)
    assert not inodes & members().keys()
    assert list(private_state.glob("*.json")) == []


def test_a_congestion_control_the_kernel_lacks_is_named_and_nothing_stays(private_state):
    before = _machine()
    network = Network(star(1, 1), seed=1, congestion_control="warp")
    with pytest.raises(MachineLacks, match="warp"):
        network.__enter__()
    assert _machine() == before
    assert list(private_state.glob("*.json")) == []


def test_two_networks_at_once_do_not_meet(private_state):
    with Network(star(1, 1), seed=1) as one, Network(star(1, 1), seed=2) as other:
        assert not _members_of(one)[1] & _members_of(other)[1]
        for network in (one, other):
            answer = network.run("c1", ["ping", "-c1", "-W5", network.address("lb")], 10)
            assert answer.returncode == 0


def _start_runner(state):
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(state)], stdout=subprocess.PIPE, text=True
    )
    made = json.loads(process.stdout.readline())
    assert all(start_ticks(pid) is not None for pid in made["pids"])
    return process, made


def _await_gone(pids, within_s=10):
    deadline = time.monotonic() + within_s
    while any(start_ticks(pid) is not None for pid in pids):
        assert time.monotonic() < deadline, f"still there: {pids}"
        time.sleep(0.02)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_run_in_order(private_state, ending):
    process, made = _start_runner(private_state)
    try:
        process.send_signal(ending)
        code = process.wait(20)
    finally:
        process.kill()
    assert code == (-signal.SIGINT if ending == signal.SIGINT else 128 + ending)
    _await_gone(made["pids"])
    assert not set(made["inodes"]) & members().keys()
    assert list(private_state.glob("*.json")) == []


def test_what_a_killed_run_left_is_recognised_and_removed(private_state):
    process, made = _start_runner(private_state)
    process.kill()
    process.wait()
    child, grandchild = made["pids"][:2]
    assert start_ticks(grandchild) is not None
    found = record.leftovers()
    assert [each.owner.pid for each in found] == [process.pid]
    assert {child, grandchild} <= set(found[0].survivors())
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        # A record must not lead to the death of a process that has merely inherited a pid.
        found[0].processes.append(record.Process(bystander.pid, 1, "an earlier process"))
        found[0].namespaces["root"] = namespace_inode(os.getpid())
        found[0]._write()
        assert record.remove_leftovers()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    _await_gone(made["pids"])
    assert not set(made["inodes"]) & members().keys()
    assert record.leftovers() == []
