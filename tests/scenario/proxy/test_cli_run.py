"""`nginy` as its users start it: a process of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.scenario.proxy.commands import TIMEOUT_S, nginy


def test_version():
    done = nginy("--version")
    assert done.returncode == 0
    assert version("nginy") in done.stdout


@pytest.mark.parametrize("command", ["run", "check", "explain"])
def test_help_has_an_example(command):
    done = nginy(command, "--help")
    assert done.returncode == 0
    assert f"nginy {command} -c nginy.yaml" in done.stdout


def test_check_of_a_good_file(write_config):
    path, port = write_config("127.0.0.1:1")
    done = nginy("check", "-c", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: 1 rule, 1 backend, 1 port {port}/tcp\n"


@pytest.mark.parametrize("command", ["run", "check"])
def test_wrong_file_exits_2_and_names_the_line(command, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "backends:\n"
        "  - {id: b1, address: 127.0.0.1:80, wieght: 2}\n"
        "rules:\n"
        "  - {clients: ['0.0.0.0/0:8080'], targets: [b2]}\n"
    )
    done = nginy(command, "-c", str(path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.search(rf"{path}:2: .*wieght", done.stderr)
    assert re.search(rf"{path}:4: .*b2", done.stderr)
    assert "Traceback" not in done.stderr


def test_a_warning_is_logged_at_the_start(write_config, start):
    path, _ = write_config("127.0.0.1:1", health_check={"type": "tcp"})
    document = json.loads(path.read_text())
    document["rules"][0]["protocol"] = "udp"
    path.write_text(json.dumps(document))
    _, log = start(path)
    assert f"WARNING {path}:1: warning: health_check: connects by TCP to b1" in log.read_text()


def test_missing_file_exits_2(tmp_path):
    done = nginy("check", "-c", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert "none.yaml" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize(
    ("bound", "held"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("::1", "::")],
)
def test_port_in_use_exits_1_and_names_port_rule_and_holder(kind, bound, held, write_config, own):
    path, port = write_config("127.0.0.1:1", bind_addresses=[bound])
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    holder = own.enter_context(socket.socket(family, kind))
    holder.bind((held, port))
    protocol = "udp"
    if kind == socket.SOCK_STREAM:
        protocol = "tcp"
        holder.listen()
    document = json.loads(path.read_text())
    document["rules"][0]["protocol"] = protocol
    path.write_text(json.dumps(document))
    done = nginy("run", "-c", str(path))
    assert done.returncode == 1
    shown = f"[{bound}]" if ":" in bound else bound
    assert f"cannot listen on {shown}:{port}" in done.stderr
    assert "rules[0]" in done.stderr
    assert "in use: stop " in done.stderr
    assert f"(pid {os.getpid()}), which listens there, or take another port" in done.stderr
    assert "closed connections" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(
    int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 1,
    reason="every port is everybody's here",
)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_of_root_exits_1_and_says_what_helps(protocol, write_config):
    path, port = write_config("127.0.0.1:2")
    document = json.loads(path.read_text().replace(f":{port}", ":1"))
    document["rules"][0]["protocol"] = protocol
    path.write_text(json.dumps(document))
    unprivileged = ["setpriv", "--bounding-set=-net_bind_service"] if os.getuid() == 0 else []
    done = subprocess.run(
        [*unprivileged, sys.executable, "-m", "nginy", "run", "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1:1" in done.stderr
    assert "setcap cap_net_bind_service=+ep /" in done.stderr
    assert "or take a port from 1024 on" in done.stderr
    assert "closed connections" not in done.stderr


def test_address_of_another_machine_exits_1_and_says_so(write_config):
    path, port = write_config("127.0.0.1:1", bind_addresses=["192.0.2.1"])
    done = nginy("run", "-c", str(path))
    assert done.returncode == 1
    assert f"192.0.2.1:{port}" in done.stderr
    assert "no address of this machine (`ip address` lists them)" in done.stderr


def test_access_log_that_cannot_be_opened_exits_1(write_config, tmp_path):
    path, _ = write_config("127.0.0.1:1", access_log=str(tmp_path / "none" / "access.log"))
    done = nginy("run", "-c", str(path))
    assert done.returncode == 1
    assert "access_log" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_serves_drains_and_leaves_its_records_on_standard_output(
    peer, write_config, start, own, wait_until
):
    backend = peer()
    path, port = write_config(backend.address, access_log="-")
    process, log = start(path)
    assert f"127.0.0.1:{port}" in log.read_text()
    descriptors = _descriptors(process)
    client = own.enter_context(socket.create_connection(("127.0.0.1", port)))
    upstream = backend.accept()
    client.sendall(b"begun")
    assert upstream.recv(100) == b"begun"
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: "draining 1 connections" in log.read_text(), "drain")
    upstream.sendall(b"finished")
    assert client.recv(100) == b"finished"
    assert _descriptors(process) == descriptors - 1 + 2  # the listener has gone
    client.close()
    upstream.close()
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    (line,) = output.splitlines()
    assert json.loads(line)["close_reason"] == "completed"
    assert "closed connections: completed 1" in log.read_text()


def _descriptors(process: subprocess.Popen) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_the_drain(number, peer, write_config, start, own, wait_until):
    backend = peer()
    path, port = write_config(backend.address)
    process, log = start(path)
    client = own.enter_context(socket.create_connection(("127.0.0.1", port)))
    client.settimeout(TIMEOUT_S)
    backend.accept()
    process.send_signal(number)
    wait_until(lambda: "draining" in log.read_text(), "drain")
    process.send_signal(number)
    assert client.recv(1) == b""
    assert process.wait(TIMEOUT_S) == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2, signal.SIGQUIT, signal.SIGALRM])
def test_signal_without_a_meaning_is_answered_in_the_log_and_ends_no_connection(
    number, peer, write_config, start, own, wait_until
):
    backend = peer()
    path, port = write_config(backend.address)
    process, log = start(path)
    client = own.enter_context(socket.create_connection(("127.0.0.1", port)))
    upstream = backend.accept()
    process.send_signal(number)
    wait_until(lambda: number.name in log.read_text() or process.poll() is not None, "answer")
    client.sendall(b"still there")
    assert upstream.recv(100) == b"still there"
    assert process.poll() is None


def test_signal_while_the_file_is_read_is_answered_once_it_serves(
    write_config, own, wait_until, tmp_path
):
    path, _ = write_config("127.0.0.1:1")
    slow_file, log = tmp_path / "pipe.yaml", tmp_path / "log"
    os.mkfifo(slow_file)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "nginy", "run", "-c", str(slow_file)], stderr=errors
        )
    own.enter_context(process)
    own.callback(process.kill)
    with slow_file.open("w") as file:  # waits until it reads
        process.send_signal(signal.SIGUSR1)
        file.write(path.read_text())
    wait_until(
        lambda: "nothing to open again" in log.read_text() or process.poll() is not None, "answer"
    )
    assert process.poll() is None


def test_standard_descriptors_may_be_closed(write_config, start):
    path, _ = write_config("127.0.0.1:1")
    process, log = start(path, prefix=("sh", "-c", 'exec "$@" <&- >&-', "sh"))
    assert "nginy ready" in log.read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0


def test_access_log_on_closed_standard_output_exits_1(write_config, start):
    path, _ = write_config("127.0.0.1:1", access_log="-")
    process, log = start(path, prefix=("sh", "-c", 'exec "$@" >&-', "sh"))
    assert process.wait(TIMEOUT_S) == 1
    assert "standard output is closed" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_running_out_of_descriptors_pauses_accepting_and_recovers(
    peer, write_config, start, own, wait_until
):
    backend = peer()
    path, port = write_config(backend.address, timeouts={"half_closed_timeout_ms": 100})
    process, log = start(path, prefix=("prlimit", "--nofile=40:40"))
    at_rest = _descriptors(process)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    wait_until(lambda: "no accepting until" in log.read_text(), "pause")
    for client in clients:
        client.close()
    wait_until(lambda: _descriptors(process) == at_rest, "descriptors given back")

    client = own.enter_context(socket.create_connection(("127.0.0.1", port)))
    client.sendall(b"again")
    assert _first_bytes_received(backend) == b"again"


def _first_bytes_received(backend) -> bytes:
    """Skips the connections of clients that have gone."""
    while True:
        upstream = backend.accept()
        try:
            if received := upstream.recv(100):
                return received
        except ConnectionResetError:
            continue
