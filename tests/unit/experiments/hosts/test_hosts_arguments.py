"""Command lines that make no sense end with a message and status 2, before anything is opened."""

import argparse

import pytest

from experiments.hosts.backend import server as backend_server
from experiments.hosts.backend.listener import listen
from experiments.hosts.client import load_generator
from experiments.hosts.process import address

LOAD = {
    "--client": "c1",
    "--index": "0",
    "--target": "127.0.0.1:1",
    "--seed": "1",
    "--plan": "/nowhere/plan.parquet",
    "--duration-s": "1",
    "--requests": "/nowhere/requests",
    "--samples": "/nowhere/samples",
    "--summary": "/nowhere/summary",
}
SERVE = {"--id": "b1", "--listen": "127.0.0.1:0", "--samples": "/nowhere/samples"}


def argv(options: dict[str, str]) -> list[str]:
    return [part for pair in options.items() for part in pair]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--target", "somewhere:80", "not ADDRESS:PORT"),
        ("--plan", "/nowhere/plan.parquet", "it cannot be read"),
        ("--plan", "/dev/null", "it cannot be read"),
    ],
)
def test_load_generator(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        load_generator.main(argv({**LOAD, option: value}))
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--listen", "127.0.0.1", "not ADDRESS:PORT"),
        ("--servers", "0", "no such server"),
        ("--speed", "0", "no such server"),
        ("--id", "b" * 33, "backend id"),
    ],
)
def test_backend_server(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        backend_server.main(argv({**SERVE, option: value}))
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_a_backlog_that_the_kernel_would_cut_is_refused() -> None:
    with pytest.raises(OSError, match="somaxconn"):
        listen(address("127.0.0.1:0"), backlog=2**31 - 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10.0.0.1:80", ("10.0.0.1", 80)), ("[2001:db8::1]:0", ("2001:db8::1", 0))],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert address(text) == expected


@pytest.mark.parametrize("text", ["", ":80", "10.0.0.1", "10.0.0.1:65536", "10.0.0.1:x", "::1"])
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        address(text)
