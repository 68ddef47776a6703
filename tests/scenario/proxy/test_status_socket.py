"""`nginy status`, asked of processes that run, over their sockets."""

import asyncio
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from nginy.engine.loop_lag import LoopLag
from nginy.server import status_socket
from nginy.server.status_socket import default_folder, default_path
from nginy.traffic.ledger import Ledger
from tests.scenario.proxy.commands import TIMEOUT_S, nginy

Process = subprocess.Popen[bytes]
Start = Callable[..., tuple[Process, Path]]
Write = Callable[..., tuple[Path, int]]


def asked(*arguments: str) -> dict[str, Any]:
    done = nginy("status", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def stopped(process: Process) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0


def test_the_numbers_are_those_of_the_access_log(
    peer: Callable[..., Any], write_config: Write, start: Start, own: ExitStack, short: Path,
    tmp_path: Path, wait_until: Callable[..., None],
) -> None:  # fmt: skip
    backends = peer(), peer()
    log = tmp_path / "access.log"
    at = short / "s"
    path, port = write_config("127.0.0.1:1", access_log=str(log), status_socket=str(at))
    document = json.loads(path.read_text())
    document["backends"] = [{"id": f"b{n}", "address": b.address} for n, b in enumerate(backends)]
    document["backends"].append({"id": "b2", "address": peer().refuse().address})
    document["rules"][0]["targets"] = ["b0", "b1", "b2"]
    path.write_text(json.dumps(document))
    process, said = start(path)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(6)]
    upstreams = [backend.accept() for backend in backends for _ in range(3)]
    for number, client in enumerate(clients, 1):
        own.enter_context(client).sendall(b"x" * number)
    for upstream in upstreams:
        upstream.recv(100)
        upstream.sendall(b"y" * 1000)
    for client in clients:
        assert client.recv(1000)
    (rule,) = asked("-c", str(path))["rules"]
    assert (rule["open"], rule["counts"]["bytes_up"]) == (6, 21), "while they live"
    assert rule["counts"]["bytes_down"] == 6000
    assert [backend["open"] for backend in rule["backends"]] == [3, 3, 0]

    for sock in (*clients, *upstreams):
        sock.close()
    wait_until(lambda: log.read_text().count("\n") == 6, "6 records")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    document = asked("--socket", str(at))
    (rule,) = document["rules"]
    reasons = Counter(record["close_reason"] for record in records)
    assert document["closed"] == {"tcp": reasons, "udp": {}}
    assert document["open"] == {"tcp": 0, "udp": 0}
    tried = Counter(backend for record in records for backend in record["backends_tried"])
    for backend in rule["backends"]:
        own_records = [record for record in records if record["backend"] == backend["id"]]
        counts = backend["counts"]
        assert counts["picked"] == tried[backend["id"]]
        assert counts["reached"] == len(own_records)
        assert counts["failed"] == ({"ECONNREFUSED": tried["b2"]} if backend["id"] == "b2" else {})
        for way in ("bytes_up", "bytes_down"):
            assert counts[way] == sum(record[way] for record in own_records)
    text = nginy("status", "-c", str(path)).stdout
    assert f"0 open, {tried.total()} picked, 21 B up, 6 kB down" in text
    assert f"b2: attempts failed: ECONNREFUSED {tried['b2']}" in text

    stopped(process)
    assert f"closed connections: completed {reasons['completed']}" in said.read_text()
    assert not os.path.lexists(at)


def test_it_is_found_by_the_path_of_its_file_and_leaves_nothing(
    write_config: Write, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = write_config("127.0.0.1:1")
    document = json.loads(path.read_text())
    del document["status_socket"]
    path.write_text(json.dumps(document))
    at = default_path(path)
    process, _ = start(path)
    try:
        assert stat.S_IMODE(at.lstat().st_mode) == 0o600
        assert not at.parent.stat().st_mode & 0o022
        monkeypatch.chdir(path.parent)
        assert asked("-c", f"./{path.name}")["rules"][0]["name"] == "rules[0]"
        path.write_text("broken: [")
        assert asked("-c", str(path))["rules"], "the file was changed since"
    finally:
        stopped(process)
    assert not os.path.lexists(at)


def test_nobody_is_there(write_config: Write, tmp_path: Path) -> None:
    path, _ = write_config("127.0.0.1:1", status_socket=str(tmp_path / "s"))
    done = nginy("status", "-c", str(path))
    assert done.returncode == 1
    assert str(tmp_path / "s") in done.stderr
    assert f"nginy run -c {path}" in done.stderr
    path, _ = write_config("127.0.0.1:1")
    done = nginy("status", "-c", str(path))
    assert (done.returncode, "status_socket is off" in done.stderr) == (1, True)
    assert nginy("status", "-c", str(tmp_path / "none.yaml")).returncode == 2
    assert nginy("status").returncode == 2
    assert nginy("status", "-c", str(path), "--socket", "/s").returncode == 2


def test_a_socket_that_is_served_is_not_taken_away(
    write_config: Write, start: Start, short: Path, tmp_path: Path
) -> None:
    at = short / "s"
    path, first_port = write_config("127.0.0.1:1", status_socket=str(at))
    first, _ = start(path)
    path, second_port = write_config("127.0.0.1:1", status_socket=str(at))
    second, log = start(path, log=tmp_path / "second.log")
    assert f"{at}: another process serves it" in log.read_text()
    stopped(second)
    (clients,) = asked("--socket", str(at))["rules"][0]["clients"]
    assert clients.endswith(f":{first_port}")
    assert first_port != second_port
    stopped(first)


def test_a_socket_that_was_left_behind_is_replaced(
    write_config: Write, start: Start, short: Path
) -> None:
    at = short / "s"
    path, _ = write_config("127.0.0.1:1", status_socket=str(at))
    killed, _ = start(path)
    killed.kill()
    killed.wait(TIMEOUT_S)
    assert at.is_socket()
    process, _ = start(path)
    assert asked("--socket", str(at))["rules"]
    stopped(process)
    assert not os.path.lexists(at)


def test_a_socket_that_took_its_place_is_left(
    write_config: Write, start: Start, short: Path
) -> None:
    at = short / "s"
    path, _ = write_config("127.0.0.1:1", status_socket=str(at))
    process, _ = start(path)
    at.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(at))
        stopped(process)
        assert at.is_socket()


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("x" * 150, "too long"),
        ("none/s", "No such file"),
        ("file", "is no socket"),
    ],
)
def test_what_is_wrong_with_the_path_is_a_warning(
    place: str, why: str, write_config: Write, start: Start, short: Path
) -> None:
    (short / "file").write_text("kept")
    at = short / place
    path, port = write_config("127.0.0.1:1", status_socket=str(at))
    process, log = start(path)
    (line,) = (line for line in log.read_text().splitlines() if "WARNING" in line)
    assert str(at) in line
    assert why in line
    assert "status_socket" in line
    socket.create_connection(("127.0.0.1", port)).close()
    stopped(process)
    assert (short / "file").read_text() == "kept"


def test_off(write_config: Write, start: Start) -> None:
    path, _ = write_config("127.0.0.1:1", status_socket="off")
    process, log = start(path)
    assert "status" not in log.read_text()
    assert not os.path.lexists(default_path(path))
    stopped(process)


def test_a_reader_that_stops_costs_nobody_anything_and_is_dropped(
    proxy: Callable[..., Any], peer: Callable[..., Any], own: ExitStack, short: Path,
    monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None],
) -> None:  # fmt: skip
    monkeypatch.setattr(status_socket, "SEND_TIMEOUT_S", 1.0)
    at = short / "s"
    started = proxy(
        [{"address": f"127.0.0.1:{1 + n}"} for n in range(1000)], status_path=at,
        rules=[{"clients": ["0.0.0.0/0:PORT"], "targets": [f"b{n}" for n in range(1, 1001)]}],
    )  # fmt: skip
    wait_until(at.is_socket, "socket")
    readers = [own.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
    for reader in readers:
        reader.connect(str(at))
        reader.sendall(b"GET / HTTP/1.0\r\n\r\n" * 100)
    assert len(asked("--socket", str(at))["rules"][0]["backends"]) == 1000
    server = started.server
    assert server is not None
    wait_until(lambda: not server.status_socket.readers, "readers dropped")
    for reader in readers:
        reader.settimeout(TIMEOUT_S)
        with pytest.raises(ConnectionResetError), reader.makefile("rb") as stream:
            json.loads(stream.read())


HOSTILE = "a\x1b[31m\x07\u202e\n"


def test_names_cannot_command_a_terminal(write_config: Write, start: Start, short: Path) -> None:
    at = short / "s"
    path, port = write_config("127.0.0.1:1", status_socket=str(at))
    document = json.loads(path.read_text())
    document["backends"][0]["id"] = HOSTILE
    document["rules"] = [{"name": HOSTILE, "clients": [f"0.0.0.0/0:{port}"], "targets": [HOSTILE]}]
    path.write_text(json.dumps(document))
    process, _ = start(path)
    text = nginy("status", "--socket", str(at), "--rule", HOSTILE).stdout
    assert text.count(r"a\x1b[31m\x07\u202e\n") == 2
    assert all(one.isprintable() or one == "\n" for one in text)
    raw = nginy("status", "--socket", str(at), "--json").stdout
    assert json.loads(raw)["rules"][0]["backends"][0]["id"] == HOSTILE
    assert raw.isascii()
    refused = nginy("status", "--socket", str(at), "--rule", "b")
    assert refused.returncode == 1
    assert all(one.isprintable() or one == "\n" for one in refused.stderr)
    stopped(process)


@pytest.mark.parametrize(
    ("uid", "environ", "folder"),
    [
        (0, {"XDG_RUNTIME_DIR": "/run/user/0"}, "/run/nginy"),
        (7, {"XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7/nginy"),
        (7, {"XDG_RUNTIME_DIR": ""}, "/tmp/nginy-7"),
        (7, {}, "/tmp/nginy-7"),
    ],
)
def test_where_sockets_are(uid: int, environ: dict[str, str], folder: str) -> None:
    assert default_folder(uid, environ) == Path(folder)


@pytest.mark.parametrize(("mode", "served"), [(0o777, False), (0o700, True)])
def test_a_folder_that_others_can_write_is_not_used(
    mode: int, served: bool, short: Path, monkeypatch: pytest.MonkeyPatch,
    proxy: Callable[..., Any], caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None],
) -> None:  # fmt: skip
    folder = short / "folder"
    folder.mkdir()
    folder.chmod(mode)
    monkeypatch.setattr(status_socket, "default_folder", lambda uid, environ: folder)
    caplog.set_level("INFO")
    proxy([{"address": "127.0.0.1:1"}], status_path=folder / "s")
    wait_until(lambda: "nginy ready" in caplog.text, "ready")
    assert (folder / "s").exists() == served
    assert (f"{folder} is not a directory that only this user can write" in caplog.text) != served


def test_what_killed_processes_have_left_goes_and_nothing_else(
    own: ExitStack, monkeypatch: pytest.MonkeyPatch, short: Path
) -> None:
    folder = short / "own"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(status_socket, "default_folder", lambda uid, environ: folder)
    dead, served, other = (folder / name for name in ("0" * 16 + ".sock", "1" * 16 + ".sock", "x"))
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(dead))
    listener = own.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(served))
    listener.listen()
    other.touch()

    async def scene() -> None:
        ours = status_socket.StatusSocket(folder / ("2" * 16 + ".sock"), (), Ledger(), LoopLag())
        await ours.open()
        assert (dead.exists(), served.exists(), other.exists()) == (False, True, True)
        await ours.close()

    asyncio.run(scene())


def test_nobody_else_may_be_at_work_in_the_folder(
    short: Path, monkeypatch: pytest.MonkeyPatch, proxy: Callable[..., Any], own: ExitStack,
    caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None],
) -> None:  # fmt: skip
    monkeypatch.setattr(status_socket, "LOCK_TIMEOUT_S", 0.05)
    folder = os.open(short, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        proxy([{"address": "127.0.0.1:1"}], status_path=short / "s")
        wait_until(lambda: f"somebody else keeps {short} locked" in caplog.text, "warning")
    finally:
        os.close(folder)
    assert not (short / "s").exists()
