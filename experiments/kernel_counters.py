"""What a host's own kernel counted, read inside its namespace."""

import subprocess
from collections.abc import Iterable, Sequence
from typing import Protocol


class RunInHost(Protocol):
    """The part of `topologies.network.Network` that is needed here."""

    def run(
        self, host: str, argv: Sequence[str], timeout_s: float
    ) -> "subprocess.CompletedProcess[str]":
        """`argv`, run in `host` to its end."""


def retransmitted_segments(network: RunInHost, hosts: Iterable[str]) -> dict[str, int]:
    """TCP segments each host has sent again since its namespace exists (RetransSegs, RFC 1213)."""
    return {
        host: parse_retransmitted(network.run(host, ["cat", "/proc/net/snmp"], 5).stdout)
        for host in hosts
    }


def parse_retransmitted(snmp: str) -> int:
    """RetransSegs out of the text of /proc/net/snmp."""
    names, values = [line.split()[1:] for line in snmp.splitlines() if line.startswith("Tcp:")]
    return int(dict(zip(names, values, strict=True))["RetransSegs"])
