"""What was recorded from nginx: the configuration read back, and a rig that replays the input."""

import json
import random
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.penalty import Penalty
from nginy.backend.pool import BackendPool, Lease, Outcome
from nginy.backend.wishes import Admin
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.tiers import Tiers
from nginy.config.strategies import STRATEGIES

VECTORS = Path(__file__).parents[2] / "data" / "vectors"
CLIENT = Address("192.0.2.1", 40000)
CONNECT_S = 0.0002
SERVER = re.compile(r"^\s*server\s+(127\.0\.0\.1:(\d+))([^;{}]*);", re.MULTILINE)


def load_vector(name: str) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return vector


def cases(name: str) -> list[str]:
    return list(load_vector(name)["config"])


def option(text: str, name: str, default: int) -> int:
    """Of a `server` line, such as weight=5 or fail_timeout=2s."""
    found = re.search(rf"\b{name}=(\d+)", text)
    return int(found[1]) if found else default


def server_backends(config: str) -> list[Backend]:
    """The servers of the upstream block, ids as in the recording: ports count from 21x00."""
    return [
        Backend(
            str(int(port) % 100),
            Address("127.0.0.1", int(port)),
            weight=option(words, "weight", 1),
            max_connections=option(words, "max_conns", 0),
            backup=bool(re.search(r"\bbackup\b", words)),
            penalty=Penalty(option(words, "max_fails", 1), option(words, "fail_timeout", 10)),
            admin=Admin.DOWN if re.search(r"\bdown\b", words) else Admin.READY,
        )
        for _, port, words in SERVER.findall(config)
    ]


@dataclass
class Rig:
    """A rule over the servers of a recorded configuration, in virtual time."""

    method: str
    config: str
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.backends = server_backends(self.config)
        assert self.backends, "no servers in the recorded configuration"
        self.pool = BackendPool(self.backends)
        settings = STRATEGIES[self.method](**self.settings)
        self.balancer = Tiers(settings, random.Random(self.seed), RosterPolicy(), try_all=False)
        self.balancer.rebuild(self.backends, self.now)

    def open(self, client: Address = CLIENT) -> tuple[int | None, Lease | None]:
        """A connection that is held."""
        backend = self.balancer.pick(client, self.now)
        if backend is None:
            return None, None
        lease = self.pool.lease(backend, self.balancer, self.now)
        lease.connected(CONNECT_S, self.now)
        return int(backend.id), lease

    def serve(self, client: Address = CLIENT, refusing: Collection[int] = ()) -> int | None:
        """One connection, closed before the next; who answered in the end."""
        attempts = self.attempts(client, refusing)
        return attempts[-1] if attempts and attempts[-1] not in refusing else None

    def attempts(self, client: Address = CLIENT, refusing: Collection[int] = ()) -> list[int]:
        """The servers that one connection tries until one accepts; then it is closed."""
        tried: list[Backend] = []
        while (backend := self.balancer.pick(client, self.now, tried)) is not None:
            tried.append(backend)
            lease = self.pool.lease(backend, self.balancer, self.now)
            if int(backend.id) not in refusing:
                lease.connected(CONNECT_S, self.now)
                lease.release(Outcome(connect_s=CONNECT_S, duration_s=CONNECT_S), self.now)
                break
            lease.release(Outcome(failed=True), self.now)
        return [int(backend.id) for backend in tried]

    def script(self, operations: Sequence[tuple[str, int]]) -> Iterator[int | None]:
        """`open` and `close` of numbered connections; whom each `open` got."""
        held: dict[int, Lease | None] = {}
        for operation, connection in operations:
            if operation == "open":
                index, held[connection] = self.open()
                yield index
            elif (lease := held.pop(connection)) is not None:
                lease.release(Outcome(connect_s=CONNECT_S), self.now)
