"""`nginy explain` and `nginy algorithms`, called as functions."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nginy.balancer.registry import ALGORITHMS
from nginy.cli import main
from nginy.config.strategies import STRATEGIES

CONFIG = """
backends:
  - {id: b1, address: "10.0.1.1:80", weight: 2}
  - {id: b2, address: "10.0.1.2:80", max_connections: 2}
  - {id: b3, address: "10.0.1.3:80", backup: true}
  - {id: elsewhere, address: "10.0.1.4:80"}
rules:
  - {name: web, clients: ["192.0.2.0/24:8080", "[2001:db8::/32]:8080"], targets: [b1, b2, b3],
     strategy: {type: least_conn}}
  - {name: dns, clients: ["0.0.0.0/0:53"], targets: [b1, b2], protocol: udp,
     strategy: {type: peak_ewma}}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "nginy.yaml"
    path.write_text(CONFIG)
    return str(path)


def nginy(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def explained(config: str, *arguments: str) -> dict:
    done = nginy("explain", "-c", config, "--json", *arguments)
    assert done.exit_code == 0, done.output
    document: dict = json.loads(done.stdout)
    return document


def test_the_text_names_rule_client_candidates_choice_and_why(config: str) -> None:
    done = nginy("explain", "-c", config, "--client", "192.0.2.7:40000", "--port", "8080")
    assert done.exit_code == 0
    for part in ("web (port 8080/tcp", "192.0.2.7:40000", "least_conn", "b2", "choice    b1"):
        assert part in done.stdout
    assert any(line.startswith("*  b1") for line in done.stdout.splitlines())
    assert all(len(line) == len(line.rstrip()) for line in done.stdout.splitlines())


def test_connections_states_and_picks(config: str) -> None:
    document = explained(
        config, "--client", "192.0.2.7", "--port", "8080", "--active", "b1=4", "--picks", "3"
    )
    assert document["picks"] == ["b2", "b2", "b1"]
    assert document["candidates"][0]["active"] == 4
    document = explained(
        config, "--client", "192.0.2.7", "--port", "8080", "--down", "b1", "--drain", "b2"
    )
    assert document["chosen"] == "b3"
    states = {one["id"]: one["state"] for one in document["candidates"]}
    assert states == {"b1": "down", "b2": "draining", "b3": "usable"}
    document = explained(
        config, "--client", "192.0.2.7", "--port", "8080", *(f"--down=b{i}" for i in (1, 2, 3))
    )
    assert document["chosen"] is None
    assert document["picks"] == []


def write(tmp_path: Path, rule: str = "", file: str = "", backend: str = "") -> str:
    path = tmp_path / "one.yaml"
    path.write_text(
        f'backends: [{{id: b1, address: "10.0.1.1:80"{backend}}}]\n'
        f'rules: [{{clients: ["0.0.0.0/0:80", "[::/0]:80"], targets: [b1]{rule}}}]\n{file}'
    )
    return str(path)


DENIED = "denied: the access list denies it"


def test_the_access_list_is_heeded(tmp_path: Path) -> None:
    path = write(tmp_path, ", access: [{allow: 10.0.0.0/8}, {deny: all}]")
    document = explained(path, "--client", "192.0.2.7")
    assert (document["chosen"], document["picks"]) == (None, [])
    assert document["reason"] == document["obstacle"] == DENIED
    assert [one["state"] for one in document["candidates"]] == ["usable"]
    text = nginy("explain", "-c", path, "--client", "192.0.2.7").stdout
    assert f"choice    nobody\nwhy       {DENIED}\n" in text
    document = explained(path, "--client", "10.0.0.1")
    assert (document["chosen"], document["obstacle"]) == ("b1", None)


CAPS = {
    ", limits: {max_connections: 3}": ("", "rule_full: ", ["b1"] * 2),
    ", limits: {max_connections_per_source: 2}": ("", "source_full: ", ["b1"] * 2),
    ", limits: {new_per_s_per_source: 1, burst_per_source: 4}": ("", "source_rate: ", ["b1"] * 4),
    "": ("limits: {max_connections: 4}", "too_many_connections: ", ["b1"] * 3),
}


@pytest.mark.parametrize("rule", CAPS)
def test_caps_are_heeded(tmp_path: Path, rule: str) -> None:
    file, obstacle, picks = CAPS[rule]
    arguments = (write(tmp_path, rule, file), "--client", "192.0.2.7", "--active", "b1=1")
    document = explained(*arguments, "--picks", "9")
    assert document["picks"] == picks
    assert document["obstacle"].startswith(obstacle)
    text = nginy("explain", "-c", *arguments, "--picks", "9").stdout
    assert f"then      nobody: {obstacle}" in text


def test_the_queue_is_heeded(tmp_path: Path) -> None:
    path = write(tmp_path, ", queue: {max_waiting: 1, timeout_ms: 700}", "", ", max_connections: 1")
    document = explained(path, "--client", "192.0.2.7", "--picks", "2")
    assert document["picks"] == ["b1"]
    assert document["obstacle"] == "every backend is full: it waits in the queue, for up to 700 ms"
    document = explained(path, "--client", "192.0.2.7", "--down", "b1")
    assert document["reason"] == "no backend is usable"


@pytest.mark.parametrize(
    ("bound", "client", "version"), [("0.0.0.0", "2001:db8::1", 6), ("::1", "192.0.2.7", 4)]
)
def test_unbound_address_families_are_heeded(
    tmp_path: Path, bound: str, client: str, version: int
) -> None:
    path = write(tmp_path, file=f"bind_addresses: ['{bound}']")
    done = nginy("explain", "-c", path, "--client", client)
    assert done.exit_code == 1
    assert done.stderr == f"{client} cannot come: no bind address is IPv{version}\n"
    assert explained(write(tmp_path), "--client", client)["chosen"] == "b1"


def test_a_seed_decides(config: str) -> None:
    arguments = ("--client", "192.0.2.7", "--protocol", "udp", "--picks", "40", "--seed", "3")
    assert explained(config, *arguments) == explained(config, *arguments)


def test_ipv6_clients(config: str) -> None:
    for client in ("2001:db8::1", "[2001:db8::1]:4000"):
        assert explained(config, "--client", client, "--port", "8080")["rule"] == "web"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--client", "192.0.2.7"), 1, "say which with --port and --protocol: 8080/tcp, 53/udp"),
        (("--client", "192.0.2.7", "--port", "99"), 1, "nothing listens there"),
        (("--client", "10.0.0.1", "--port", "8080"), 1, "no rule for the client 10.0.0.1"),
        (("--client", "10.0.0", "--port", "53"), 2, "'10.0.0' is not an IP address"),
        (("--client", "10.0.0.1:0", "--port", "53"), 2, "'0' is not a port"),
        (("--client", "10.0.0.1", "--port", "53", "--down", "b3"), 1, "'b3' is no backend of dns"),
        (("--client", "10.0.0.1", "--port", "53", "--active", "b1"), 2, "expected ID=N"),
        (("--client", "10.0.0.1", "--port", "53", "--active", "b1=-1"), 2, "expected ID=N"),
    ],
)
def test_errors(config: str, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = nginy("explain", "-c", config, *arguments)
    assert done.exit_code == code
    assert message in done.output
    assert "Traceback" not in done.output


def test_algorithms_lists_all() -> None:
    done = nginy("algorithms")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(ALGORITHMS)
    assert set(ALGORITHMS) == set(STRATEGIES)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_each_algorithm_says_what_it_is(name: str) -> None:
    done = nginy("algorithms", name)
    assert done.exit_code == 0
    for parameter in STRATEGIES[name].model_fields.keys() - {"type"}:
        assert f"\n  {parameter}: " in done.stdout
    for word in ("Cost", "\nSource"):
        assert word in done.stdout
    assert "eight" in done.stdout, "nothing about weights"


def test_an_unknown_algorithm() -> None:
    done = nginy("algorithms", "maglv")
    assert done.exit_code == 2
    assert "did you mean 'maglev'" in done.output
