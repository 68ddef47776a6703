"""`nginy run` and those who read its logs: they stop reading, rotate files, stop the process."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TIMEOUT_S = 20


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """The read end and the write end of a small one."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def fill(write_end: int) -> None:
    """Leave no room in a pipe. Opened anew: the other writers must go on being made to wait."""
    own = os.open(f"/proc/self/fd/{write_end}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(own, b"." * 16 + b"\n")
    except BlockingIOError:
        pass
    finally:
        os.close(own)


def serves(backend, port: int) -> bool:
    """Whether a new connection reaches the backend and comes back."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(TIMEOUT_S)
        with backend.accept() as upstream:
            client.sendall(b"there")
            upstream.sendall(upstream.recv(100) + b" and back")
            return client.recv(100) == b"there and back"


def test_nobody_reads_standard_error_and_traffic_goes_on(peer, write_config, own, wait_until):
    backend = peer()
    path, port = write_config(backend.address)
    read_end, write_end = own.enter_context(pipe())
    process = own.enter_context(
        subprocess.Popen([sys.executable, "-m", "nginy", "run", "-c", str(path)], stderr=write_end)
    )
    own.callback(process.kill)
    assert b"nginy ready" in os.read(read_end, 4096)
    fill(write_end)
    for _ in range(3):
        process.send_signal(signal.SIGHUP)  # a line each, and no room for it
        assert serves(backend, port)
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0


def test_nobody_reads_standard_output_and_traffic_goes_on(
    peer, write_config, start, own, wait_until
):
    backend = peer()
    path, port = write_config(backend.address, access_log="-")
    _, write_end = own.enter_context(pipe())
    fill(write_end)
    process, log = start(path, stdout=write_end)
    for _ in range(3):
        assert serves(backend, port)
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0
    assert "the last records are lost" in log.read_text()


def test_who_reads_standard_error_again_gets_what_had_waited(peer, write_config, own, wait_until):
    path, _ = write_config(peer().address)
    read_end, write_end = own.enter_context(pipe())
    process = own.enter_context(
        subprocess.Popen([sys.executable, "-m", "nginy", "run", "-c", str(path)], stderr=write_end)
    )
    own.callback(process.kill)
    assert b"nginy ready" in os.read(read_end, 4096)
    fill(write_end)
    process.send_signal(signal.SIGHUP)
    os.set_blocking(read_end, False)
    text = bytearray()

    def answered() -> bool:
        with suppress(BlockingIOError):
            text.extend(os.read(read_end, 4096))
        return b"SIGHUP" in text

    wait_until(answered, "the answer to the signal")


def test_sigusr1_opens_the_access_log_again(peer, write_config, start, wait_until, tmp_path):
    backend = peer()
    access, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    path, port = write_config(backend.address, access_log=str(access))
    process, log = start(path)
    assert serves(backend, port)
    wait_until(access.read_text, "the first record")
    access.rename(rotated)
    process.send_signal(signal.SIGUSR1)
    wait_until(lambda: f"{access} is open again" in log.read_text(), "the answer")
    assert serves(backend, port)
    wait_until(access.read_text, "the second record")
    ids = [json.loads(file.read_text())["id"] for file in (rotated, access)]
    assert ids == ["1", "2"]


def test_sigusr1_without_an_access_log_ends_nothing(peer, write_config, start, wait_until):
    backend = peer()
    path, port = write_config(backend.address)
    process, log = start(path)
    process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "no access log" in log.read_text(), "the answer")
    assert serves(backend, port)


def test_a_named_pipe_as_access_log_does_not_hang_the_start(peer, write_config, start, tmp_path):
    pipe_path = tmp_path / "pipe"
    os.mkfifo(pipe_path)
    path, _ = write_config(peer().address, access_log=str(pipe_path))
    process, log = start(path)
    assert process.wait(TIMEOUT_S) == 1
    assert "nobody reads this named pipe" in log.read_text()
