"""Every mistake has its own error, with the line, the key and what would be right."""

from pathlib import Path

import pytest

from nginy.config.load import load, parse
from nginy.errors import ConfigError

# Lines 1 to 9 of the file every mistake is made in; "@" is replaced by a mistake.
TEMPLATE = """\
backends:
  - {id: srv-1, address: "10.0.1.11:81"}
  - {id: srv-2, address: "10.0.1.12:82"}
clusters:
  main: [srv-1, srv-2]
rules:
  - clients: ["0.0.0.0/0:8080"]
    targets: [main]
    strategy: {type: random}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    return [str(problem) for problem in caught.value.problems]


def test_the_template_is_right() -> None:
    assert len(parse(TEMPLATE, "f").backends) == 2


HEX = "0x" + 5000 * "f"
NINES = 5000 * "9"

MISTAKES = {
    "duplicate backend": (
        "clusters:",
        '  - {id: srv-1, address: "10.0.1.13:83"}\nclusters:',
        "f:4: backends[2].id: backend 'srv-1' is defined twice, first on line 2"
        " (expected a unique id)",
    ),
    "backend and cluster": (
        "clusters:",
        '  - {id: main, address: "10.0.1.13:83"}\nclusters:',
        "f:4: backends[2].id: 'main' is also the name of a cluster, on line 6"
        " (expected different names, as targets may be either)",
    ),
    "duplicate cluster": (
        "  main: [srv-1, srv-2]\n",
        "  main: [srv-1, srv-2]\n  main: [srv-1]\n",
        "f:6: clusters.main: written twice, first on line 5 (expected one of them)",
    ),
    "duplicate key": (
        "    targets: [main]\n",
        "    targets: [main]\n    targets: [srv-1]\n",
        "f:9: rules[0].targets: written twice, first on line 8 (expected one of them)",
    ),
    "unknown target": (
        "targets: [main]",
        "targets: [srv-1, mian]",
        "f:8: rules[0].targets[1]: unknown target 'mian'; did you mean 'main'?"
        " (expected a cluster or a backend)",
    ),
    "unknown member": (
        "main: [srv-1, srv-2]",
        "main: [srv-1, srv2]",
        "f:5: clusters.main[1]: unknown backend 'srv2'; did you mean 'srv-2'?"
        " (expected the id of a backend)",
    ),
    "cluster in cluster": (
        "  main: [srv-1, srv-2]\n",
        "  main: [srv-1, srv-2]\n  both: [main]\n",
        "f:6: clusters.both[0]: 'main' is a cluster (expected the id of a backend)",
    ),
    "empty cluster": (
        "[srv-1, srv-2]",
        "[]",
        "f:5: clusters.main: the cluster is empty (expected ids of backends)",
    ),
    "empty targets": (
        "targets: [main]",
        "targets: []",
        "f:8: rules[0].targets: is empty (expected ids of clusters or backends)",
    ),
    "no targets": (
        "    targets: [main]\n",
        "",
        "f:7: rules[0].targets: is empty (expected ids of clusters or backends)",
    ),
    "empty clients": (
        '["0.0.0.0/0:8080"]',
        "[]",
        "f:7: rules[0].clients: is empty (expected a list of CIDR:port)",
    ),
    "bad CIDR": (
        "0.0.0.0/0:8080",
        "0.0.0.0/33:8080",
        "f:7: rules[0].clients[0]: '0.0.0.0/33' is not a network"
        " (expected a CIDR such as 10.0.0.0/8)",
    ),
    "host bits": (
        "0.0.0.0/0:8080",
        "10.0.0.1/24:8080",
        "f:7: rules[0].clients[0]: '10.0.0.1/24' has host bits set"
        " (expected 10.0.0.0/24, or 10.0.0.1/32 for one host)",
    ),
    "no client port": (
        '"0.0.0.0/0:8080"',
        "10.0.0.0/8",
        "f:7: rules[0].clients[0]: '10.0.0.0/8' cannot be read"
        " (expected CIDR:port, such as 10.0.0.0/8:8080)",
    ),
    "bad client port": (
        "0.0.0.0/0:8080",
        "0.0.0.0/0:0",
        "f:7: rules[0].clients[0]: '0' is not a port (expected a number from 1 to 65535)",
    ),
    "bad address": (
        "10.0.1.12:82",
        "10.0.1.256:82",
        "f:3: backends[1].address: '10.0.1.256' is not an IP address"
        " (expected one such as 10.0.1.11; names are not resolved)",
    ),
    "name as address": (
        "10.0.1.12:82",
        "web.example:82",
        "f:3: backends[1].address: 'web.example' is not an IP address"
        " (expected one such as 10.0.1.11; names are not resolved)",
    ),
    "no address port": (
        "10.0.1.12:82",
        "10.0.1.12",
        "f:3: backends[1].address: '10.0.1.12' cannot be read"
        " (expected IP:port, such as 10.0.1.11:8081 or [2001:db8::1]:80)",
    ),
    "bare IPv6 address": (
        "10.0.1.12:82",
        "2001:db8::1:82",
        "f:3: backends[1].address: '2001:db8::1:82' cannot be read"
        " (expected IP:port, such as 10.0.1.11:8081 or [2001:db8::1]:80)",
    ),
    "bad port apart": (
        'address: "10.0.1.12:82"',
        "ip: 10.0.1.12, port: 70000",
        "f:3: backends[1].port: 70000 is not a port (expected a number from 1 to 65535)",
    ),
    "no address": (
        ', address: "10.0.1.12:82"',
        "",
        "f:3: backends[1].address: is missing (expected IP:port, such as 10.0.1.11:8081)",
    ),
    "no id": (
        "clusters:",
        '  - {address: "10.0.1.13:83"}\nclusters:',
        "f:4: backends[2].id: is missing (expected a unique name)",
    ),
    "empty name": (
        "rules:\n",
        "access_log: ''\nrules:\n",
        "f:6: access_log: is empty (expected text)",
    ),
    "weight 0": (
        "id: srv-2",
        "weight: 0, id: srv-2",
        "f:3: backends[1].weight: 0 is not valid (expected greater than or equal to 1)",
    ),
    "text as number": (
        "id: srv-2",
        "weight: heavy, id: srv-2",
        "f:3: backends[1].weight: 'heavy' is not valid (expected a valid integer)",
    ),
    "unknown key": (
        "id: srv-2",
        "wieght: 2, id: srv-2",
        "f:3: backends[1].wieght: unknown setting; did you mean 'weight'? (expected one of id,"
        " address, ip, weight, max_connections, max_fails, fail_timeout_s, down)",
    ),
    "unknown top key": (
        "clusters:",
        "timeout: {}\nclusters:",
        "f:4: timeout: unknown setting; did you mean 'timeouts'? (expected one of backends,"
        " clusters, rules, timeouts, retries, bind_addresses, access_log, healthcheck_addr,"
        " iperf_addr)",
    ),
    "unknown nested key": (
        "    targets: [main]\n",
        "    targets: [main]\n    timeouts:\n      connect_timeout: 5\n",
        "f:10: rules[0].timeouts.connect_timeout: unknown setting; did you mean"
        " 'connect_timeout_ms'? (expected one of connect_timeout_ms, idle_timeout_ms,"
        " half_closed_timeout_ms)",
    ),
    "unknown strategy": (
        "type: random",
        "type: least_con",
        "f:9: rules[0].strategy.type: unknown strategy 'least_con'; did you mean 'least_conn'?"
        " (expected one of round_robin, least_conn, random, random_two, source_hash)",
    ),
    "strategy parameter": (
        "type: random",
        "type: random, seed: 1",
        "f:9: rules[0].strategy.seed: unknown setting (expected one of type)",
    ),
    "strategy as text": (
        "{type: random}",
        "random",
        "f:9: rules[0].strategy: 'random' is not valid (expected a mapping)",
    ),
    "udp": (
        "    targets: [main]\n",
        "    targets: [main]\n    protocol: udp\n",
        "f:9: rules[0].protocol: UDP is not in this version of nginy (expected tcp)",
    ),
    "clients of two rules": (
        "    strategy: {type: random}\n",
        "    strategy: {type: random}\n"
        '  - {clients: ["10.0.0.0/8:8080", "0.0.0.0/0:8080"], targets: [main]}\n',
        "f:10: rules[1].clients[1]: 0.0.0.0/0:8080 belongs to rules[0] already"
        " (expected each CIDR:port in one rule)",
    ),
    "duplicate rule name": (
        "    strategy: {type: random}\n",
        '    name: web\n  - {clients: ["10.0.0.0/8:8080"], targets: [main], name: web}\n',
        "f:10: rules[1].name: 'web' is the name of rules[0] too (expected a unique name)",
    ),
    "a name that is another rule's place": (
        "    strategy: {type: random}\n",
        '    name: rules[1]\n  - {clients: ["10.0.0.0/8:8080"], targets: [main]}\n',
        "f:10: rules[1].name: 'rules[1]' is the name of rules[0] too (expected a unique name)",
    ),
    "a space too many": (
        '"0.0.0.0/0:8080"',
        "0.0.0.0/0: 8080",
        "f:7: rules[0].clients[0]: {'0.0.0.0/0': 8080} cannot be read"
        " (expected CIDR:port, such as 10.0.0.0/8:8080)",
    ),
    "an entry without content": (
        "clusters:",
        "  -\nclusters:",
        "f:4: backends[2]: no value is not valid (expected a mapping)",
    ),
    "nothing to bind": (
        "clusters:",
        "bind_addresses: []\nclusters:",
        "f:4: bind_addresses: is empty (expected at least one entry)",
    ),
    "alias to itself": (
        "main: [srv-1, srv-2]",
        "main: &main [*main]",
        "f:5: clusters.main[0]: the alias refers to a value that contains it",
    ),
    "clients of an interface": (
        "0.0.0.0/0:8080",
        "[fe80::%eth0/10]:8080",
        "f:7: rules[0].clients[0]: 'fe80::%eth0/10' names an interface"
        " (expected the network alone)",
    ),
    "merged mapping": (
        'address: "10.0.1.12:82"}',
        'address: "10.0.1.12:82", <<: {weight: 2}}',
        "f:3: backends[1].<<: merging mappings is not supported (expected plain keys)",
    ),
    "tag that does not fit": (
        'address: "10.0.1.12:82"}',
        'address: "10.0.1.12:82", down: !!bool maybe}',
        "f:3: backends[1].down: 'maybe' is not valid (expected a valid boolean)",
    ),
    "tag of nothing": (
        'address: "10.0.1.12:82"}',
        'address: "10.0.1.12:82", weight: !!int ""}',
        "f:3: backends[1].weight: '' is not valid (expected a valid integer)",
    ),
    "timeout for ever": (
        "    targets: [main]\n",
        f"    targets: [main]\n    timeouts: {{idle_timeout_ms: {10**400}}}\n",
        f"f:9: rules[0].timeouts.idle_timeout_ms: {10**400} is not valid"
        " (expected less than or equal to 2147483647)",
    ),
    "number too long to print": (
        'address: "10.0.1.12:82"}',
        f'address: "10.0.1.12:82", weight: -{HEX}}}',
        f"f:3: backends[1].weight: '-{HEX}' is not valid (expected a valid integer)",
    ),
    "port too long to read": (
        "10.0.1.12:82",
        f"10.0.1.12:{NINES}",
        f"f:3: backends[1].address: '{NINES}' is not a port (expected a number from 1 to 65535)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_mistake_is_one_error(mistake: str) -> None:
    old, new, message = MISTAKES[mistake]
    assert TEMPLATE.count(old) == 1
    assert problems(TEMPLATE.replace(old, new)) == [message]


def test_a_port_with_two_protocols() -> None:
    second = '  - {protocol: udp, clients: ["10.0.0.0/8:8080"], targets: [main]}\n'
    assert problems(TEMPLATE + second) == [
        "f:10: rules[1].clients[0]: port 8080 is udp here and tcp in rules[0]"
        " (expected one protocol per port)",
        "f:10: rules[1].protocol: UDP is not in this version of nginy (expected tcp)",
    ]


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = (
        TEMPLATE.replace("id: srv-2", "id: srv-1, weight: -1")
        .replace("targets: [main]", "targets: [mian, srv-1]")
        .replace("type: random", "type: rnd")
        + "retries: {max_tries: 0}\n"
    )
    assert [problem.split(": ")[1] for problem in problems(text)] == [
        "backends[1].weight",
        "backends[1].id",
        "clusters.main[1]",
        "rules[0].targets[0]",
        "rules[0].strategy.type",
        "retries.max_tries",
    ]


ALIAS_BOMB = f"- &v0 [{9 * 'x,'}]\n" + "".join(
    f"- &v{level} [{9 * f'*v{level - 1},'}]\n" for level in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["f: the file is empty (expected backends and rules)"]),
        ("# nothing\n", ["f: the file is empty (expected backends and rules)"]),
        ("- a\n", ["f:1: the file is not a mapping (expected backends: ... and rules: ...)"]),
        (
            "backends:\nrules: []\n",
            [
                "f:1: backends: there is none (expected a list of at least one backend)",
                "f:2: rules: there is none (expected a list of at least one rule)",
            ],
        ),
        (
            "backends: many\nrules: 3\n",
            [
                "f:1: backends: 'many' is not valid (expected a list)",
                "f:2: rules: 3 is not valid (expected a list)",
            ],
        ),
        (
            "a: [1,\nb: 2\n",
            [
                "f:3: not YAML: while parsing a flow sequence: expected ',' or ']', but got"
                " '<stream end>'"
            ],
        ),
        ("a: 1\nb: \x01\n", ["f:2: not YAML: special characters are not allowed"]),
        (1000 * "[", ["f: is nested too deeply"]),
        (ALIAS_BOMB, ["f:1: has too many values (expected at most 1000000, aliases expanded)"]),
        ("a: !new 1\n", ["f:1: not YAML: could not determine a constructor for the tag '!new'"]),
    ],
)
def test_files_that_are_no_configuration(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:2: is not text (expected UTF-8)"
