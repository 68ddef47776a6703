"""Emulated backends: slowed, drained, killed, started again, asked, and telling their load."""

import json
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.hosts.backend.udp_front import HEALTH_ANSWER, HEALTH_QUESTION
from experiments.lab.backends import Backends
from experiments.lab.faults import Faults
from experiments.lab.ports import AGENT_PORT, BACKEND_PORT, HEALTH_PORT
from experiments.lab.processes import HostProcess, ProcessFailed, ProcessGroup
from experiments.plan.faults import Fault
from experiments.plan.scenario import Scenario, parse_scenario
from nginy.backend.load import parse_probe_answer, parse_report, probe_request
from tests.scenario.loopback_testbed import DEADLINE_S, LoopbackTestbed, _popen, free_port
from topologies.shapes.shape import LinkSpec


def say(at: tuple[str, int], datagram: bytes) -> bytes:
    """Ask by UDP; the answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(at)
        sock.send(datagram)
        return sock.recv(2000)


def ask(at: tuple[str, int]) -> bytes:
    """All that is said to who connects."""
    with socket.create_connection(at, DEADLINE_S) as sock:
        return b"".join(iter(lambda: sock.recv(2000), b""))


def test_probes_and_health_checks_are_answered(tmp_path: Path) -> None:
    probe_port, health_port = free_port(), free_port()
    with LoopbackTestbed(tmp_path) as testbed:
        testbed.backend("b1", probe_port=probe_port, health_port=health_port)
        answer = parse_probe_answer(say(("127.0.0.1", probe_port), probe_request(2**53 - 1)))
        assert (answer.probe, answer.in_flight, answer.latency_s) == (2**53 - 1, 0, 0.0)
        assert say(("127.0.0.1", health_port), HEALTH_QUESTION) == HEALTH_ANSWER
        assert ask(("127.0.0.1", health_port)) == b""


@pytest.mark.slow
def test_load_is_reported_from_the_first_second_on_and_again_after_a_broken_connection(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, LoopbackTestbed(tmp_path) as testbed:
        listener.settimeout(DEADLINE_S)
        port = listener.getsockname()[1]
        backend = testbed.backend("b1", report_to=f"127.0.0.1:{port}", report_interval_s=0.1)
        traffic = testbed.send(backend.address, rate=300, mean_demand_ms=10, duration_s=1)
        assert traffic.summary["completed"] > 0
        for _ in range(2):
            sock, _ = listener.accept()
            with sock, sock.makefile("rb") as lines:
                reports = [lines.readline() for _ in range(3)]
            for line in reports:
                backend_id, report = parse_report(line)
                assert backend_id == "b1"
                assert json.loads(line).keys() == {
                    *("id", "cpu", "mem", "net", "io", "in_flight", "latency_ms")
                }
        assert report.cpu_pct >= 0


@pytest.fixture
def host() -> str:
    """An address of loopback of one's own: ports of virtual hosts are fixed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    return f"127.{77}.{number // 250 % 250 + 1}.{number % 250 + 1}"


class FaultyTestbed:
    """Backends of a scenario on one loopback address, their faults applied when the test says."""

    def __init__(self, group: ProcessGroup, scenario: Scenario, host: str, folder: Path) -> None:
        self.backends = Backends(group, scenario, lambda _: host, folder)
        self.shape = scenario.changing_topology()
        self.changed: list[Mapping[str, LinkSpec]] = []
        self.restarted: list[str] = []
        self.faults = Faults(scenario.faults, self.backends, self, self.restarted.append)
        self.host = host

    def change_links(self, specs: Mapping[str, LinkSpec]) -> None:
        """There are none: note it."""
        self.changed.append(specs)

    def apply(self, until_s: float) -> None:
        """All faults that are due in the first `until_s` seconds."""
        while self.faults.apply_due(time.monotonic() - until_s) < 0:
            pass

    def process(self, name: str) -> HostProcess:
        return self.backends._running[name]


def one_backend(faults: list[dict[str, object]]) -> Scenario:
    return parse_scenario({"network": {"backends": 1}, "faults": faults}, "test")


def test_killed_and_started_again(tmp_path: Path, host: str) -> None:
    scenario = one_backend([{"at": "2 s", "kill": "b1"}, {"at": "7 s", "restore": "b1"}])
    with ProcessGroup(_popen, tmp_path) as group:
        testbed = FaultyTestbed(group, scenario, host, tmp_path)
        testbed.backends.start()
        first = testbed.process("b1")
        testbed.apply(2.5)
        assert testbed.backends.killed() == {"b1"}
        with pytest.raises(ProcessFailed, match=f"-{signal.SIGKILL.value}"):
            first.running()
        assert testbed.backends.all_running(), "who was killed on purpose is not missed"
        with pytest.raises(ConnectionRefusedError):
            ask((host, HEALTH_PORT))
        testbed.apply(3.5)  # loaded ahead of its time, and not yet listening
        (standby,) = testbed.backends._standby.values()
        standby.wait_ready("standby", time.monotonic() + DEADLINE_S)
        with pytest.raises(ConnectionRefusedError):
            ask((host, BACKEND_PORT))
        testbed.apply(7.5)
        assert testbed.backends.killed() == set()
        assert ask((host, HEALTH_PORT)) == b""
        assert testbed.process("b1").pid != first.pid
        testbed.backends.stop()
    names = [path.name for path in testbed.backends.samples()]
    assert names == ["samples-b1.jsonl", "samples-b1-1.jsonl"]
    assert all((tmp_path / name).stat().st_size > 0 for name in names)
    assert [str(each.fault) for each in testbed.faults.applied] == ["kill b1", "restore b1"]


def test_killed_by_hand_and_restored_at_once(tmp_path: Path, host: str) -> None:
    with ProcessGroup(_popen, tmp_path) as group:
        testbed = FaultyTestbed(group, one_backend([]), host, tmp_path)
        testbed.backends.start()
        for number in range(2):  # the second time another one stands by
            at_s = float(number)
            testbed.faults.apply_now(Fault(at_s=at_s, action="kill", subject="b1"))
            with pytest.raises(ConnectionRefusedError):
                ask((host, HEALTH_PORT))
            testbed.faults.apply_now(Fault(at_s=at_s + 0.5, action="restore", subject="b1"))
            assert ask((host, HEALTH_PORT)) == b""
        testbed.faults.apply_now(Fault(at_s=3, action="kill", subject="b1"))
        testbed.backends.stop()
        unused = testbed.backends._standby["b1"]
    assert [path.name for path in testbed.backends.samples()] == [
        *("samples-b1.jsonl", "samples-b1-1.jsonl", "samples-b1-2.jsonl")
    ]
    with pytest.raises(ProcessFailed, match="backend-3-b1"):
        unused.running()


def test_whom_the_schedule_killed_for_good_can_be_restored_by_hand(
    tmp_path: Path, host: str
) -> None:
    scenario = one_backend([{"at": "1 s", "kill": "b1"}])
    with ProcessGroup(_popen, tmp_path) as group:
        testbed = FaultyTestbed(group, scenario, host, tmp_path)
        testbed.backends.start()
        testbed.apply(1.5)
        assert testbed.backends.killed() == {"b1"}
        testbed.faults.apply_now(Fault(at_s=2, action="restore", subject="b1"))
        assert testbed.backends.killed() == set()
        assert ask((host, HEALTH_PORT)) == b""
        testbed.backends.stop()


def test_drained_and_ready_again(tmp_path: Path, host: str) -> None:
    scenario = one_backend([{"at": "1 s", "drain": "b1"}, {"at": "2 s", "restore": "b1"}])
    with ProcessGroup(_popen, tmp_path) as group:
        testbed = FaultyTestbed(group, scenario, host, tmp_path)
        testbed.backends.start()
        for until_s, answer in ((0.5, b"ready\n"), (1.5, b"drain\n"), (2.5, b"ready\n")):
            testbed.apply(until_s)
            assert ask((host, AGENT_PORT)) == answer
        began_s = time.monotonic()
        assert all(each.applied_s <= began_s for each in testbed.faults.applied)


@pytest.mark.slow
def test_slowed_and_fast_again(tmp_path: Path, host: str) -> None:
    scenario = one_backend([{"at": "1 s", "slow": "b1 x0.25"}, {"at": "2 s", "restore": "b1"}])
    with ProcessGroup(_popen, tmp_path) as group, LoopbackTestbed(tmp_path) as clients:
        testbed = FaultyTestbed(group, scenario, host, tmp_path)
        testbed.backends.start()
        for until_s, factor in ((0.5, 1.0), (1.5, 4.0), (2.5, 1.0)):
            testbed.apply(until_s)
            traffic = clients.send(f"{host}:{BACKEND_PORT}", rate=50, mean_demand_ms=2)
            for request in traffic.requests:
                service_ms = factor * request["demand_ms"]
                assert request["service_ms"] == pytest.approx(service_ms, abs=0.002)


def test_paused_and_at_work_again(tmp_path: Path, host: str) -> None:
    scenario = one_backend([{"at": "1 s", "pause": "b1"}, {"at": "2 s", "restore": "b1"}])
    with ProcessGroup(_popen, tmp_path) as group:
        testbed = FaultyTestbed(group, scenario, host, tmp_path)
        testbed.backends.start()
        status = Path(f"/proc/{testbed.process('b1').pid}/status")
        for until_s, state in ((1.5, "T (stopped)"), (2.5, "S (sleeping)")):
            testbed.apply(until_s)
            deadline_s = time.monotonic() + DEADLINE_S
            while f"State:\t{state}" not in status.read_text():
                assert time.monotonic() < deadline_s, status.read_text()
        assert testbed.backends.paused == {"b1"}


def test_who_is_paused_at_the_end_is_stopped_all_the_same(tmp_path: Path, host: str) -> None:
    with ProcessGroup(_popen, tmp_path) as group:
        testbed = FaultyTestbed(group, one_backend([{"at": "1 s", "pause": "b1"}]), host, tmp_path)
        testbed.backends.start()
        testbed.apply(1.5)
        testbed.backends.stop()


def test_hangs_and_answers_again(tmp_path: Path, host: str) -> None:
    scenario = one_backend([{"at": "1 s", "hang": "b1"}, {"at": "2 s", "restore": "b1"}])
    with ProcessGroup(_popen, tmp_path) as group, LoopbackTestbed(tmp_path) as clients:
        testbed = FaultyTestbed(group, scenario, host, tmp_path)
        testbed.backends.start()
        for until_s, status in ((0.5, "ok"), (1.5, "timeout"), (2.5, "ok")):
            testbed.apply(until_s)
            traffic = clients.send(f"{host}:{BACKEND_PORT}", rate=30, timeout_ms=500)
            assert {request["status"] for request in traffic.requests} == {status}
        assert ask((host, HEALTH_PORT)) == b""


def test_resets_in_the_middle_of_answers(tmp_path: Path, host: str) -> None:
    scenario = one_backend([{"at": "1 s", "reset_after": "b1 500 bytes"}])
    with ProcessGroup(_popen, tmp_path) as group, LoopbackTestbed(tmp_path) as clients:
        testbed = FaultyTestbed(group, scenario, host, tmp_path)
        testbed.backends.start()
        testbed.apply(1.5)
        traffic = clients.send(f"{host}:{BACKEND_PORT}", rate=30)
        assert {request["status"] for request in traffic.requests} == {"reset"}
        assert {request["bytes_received"] for request in traffic.requests} <= {0, 440}


def test_links_are_changed_and_are_what_they_were_again(tmp_path: Path, host: str) -> None:
    scenario = parse_scenario(
        {
            "network": {"client_link": {"delay_ms": 20, "jitter_ms": 2, "loss_pct": 1}},
            "faults": [
                {"at": "1 s", "loss": "c1 30 %"},
                {"at": "2 s", "restore": "c1"},
                {"at": "3 s", "partition": ["b1", "b2"]},
                {"at": "4 s", "restart": "lb"},
            ],
        },
        "test",
    )
    with ProcessGroup(_popen, tmp_path) as group:
        testbed = FaultyTestbed(group, scenario, host, tmp_path)
        testbed.apply(5)
    asked = scenario.topology.link("c1-s1").specs
    lossy = {name: replace(spec, loss_pct=30) for name, spec in asked.items()}
    cut = LinkSpec(loss_pct=100)
    ways = ("b1->s1", "s1->b1", "b2->s1", "s1->b2")
    assert testbed.changed == [lossy, asked, dict.fromkeys(ways, cut)]
    assert testbed.restarted == ["lb"]


def test_a_backend_that_dies_without_a_fault_is_named(tmp_path: Path, host: str) -> None:
    with ProcessGroup(_popen, tmp_path) as group:
        testbed = FaultyTestbed(group, one_backend([]), host, tmp_path)
        testbed.backends.start()
        testbed.process("b1").kill()
        with pytest.raises(ProcessFailed, match="backend-b1 exited with -9"):
            testbed.backends.all_running()


def test_a_command_that_is_not_understood_is_not_obeyed(tmp_path: Path, host: str) -> None:
    with ProcessGroup(_popen, tmp_path) as group:
        testbed = FaultyTestbed(group, one_backend([]), host, tmp_path)
        testbed.backends.start()
        process = testbed.process("b1")
        process.command("speed backwards")
        process.wait_ready("refused 'speed backwards'", time.monotonic() + DEADLINE_S)
        process.command("agent asleep")
        process.wait_ready("refused 'agent asleep'", time.monotonic() + DEADLINE_S)
        assert process.running()


def test_a_standby_that_is_never_needed_ends_when_its_input_does(tmp_path: Path) -> None:
    argv = [
        *(sys.executable, "-m", "experiments.hosts.backend.server", "--id", "b1"),
        *("--listen", f"127.0.0.1:{free_port()}", "--samples", str(tmp_path / "s"), "--standby"),
    ]
    with ProcessGroup(_popen, tmp_path) as group:
        process = group.start("b1", "backend", argv)  # its input is empty
        deadline_s = time.monotonic() + DEADLINE_S
        while process.running():
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
