"""What a host's own kernel counted, read inside its namespace."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

_TIMEOUT_S = 5.0


class RunInHost(Protocol):
    """The part of `topologies.build.network.Network` that is needed here."""

    def run(
        self, host: str, argv: Sequence[str], timeout_s: float
    ) -> "subprocess.CompletedProcess[str]":
        """`argv`, run in `host` to its end."""


class HostCounters(NamedTuple):
    """Totals of one host since its namespace exists."""

    retransmitted: int
    """TCP segments sent again (RetransSegs, RFC 1213)."""
    queue_drops: int
    """Packets that its own queueing discipline dropped before they reached the wire."""


class CounterReadings(NamedTuple):
    """The counters of every capture point, read three times."""

    before: Mapping[str, HostCounters]
    """With captures on and no load yet."""
    at_end: Mapping[str, HostCounters]
    """After the load, captures still on."""
    after: Mapping[str, HostCounters]
    """With captures off."""


def host_counters(network: RunInHost, interfaces: Mapping[str, str]) -> dict[str, HostCounters]:
    """The counters of each host; `interfaces`: host -> its interface."""
    return {
        host: HostCounters(
            parse_retransmitted(network.run(host, ["cat", "/proc/net/snmp"], _TIMEOUT_S).stdout),
            parse_queue_drops(
                network.run(
                    host, ["tc", "-j", "-s", "qdisc", "show", "dev", name], _TIMEOUT_S
                ).stdout
            ),
        )
        for host, name in interfaces.items()
    }


def parse_retransmitted(snmp: str) -> int:
    """RetransSegs out of the text of /proc/net/snmp."""
    names, values = [line.split()[1:] for line in snmp.splitlines() if line.startswith("Tcp:")]
    return int(dict(zip(names, values, strict=True))["RetransSegs"])


def parse_queue_drops(qdiscs: str) -> int:
    """Drops of the root qdisc out of `tc -j -s qdisc show`; a classless one has no others."""
    return sum(qdisc["drops"] for qdisc in json.loads(qdiscs) if qdisc.get("root"))
