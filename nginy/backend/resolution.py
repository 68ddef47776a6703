"""The addresses behind a name, as answers come and fail. Pure: time is handed in.

What one address family does not answer does not take its old addresses away, and an answer without
any address counts as none: a fault of the DNS must not take a service down that works.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of one address family: its addresses, and for how many seconds."""

    hosts: tuple[str, ...]
    ttl_s: float


class Resolution:
    """One name's addresses and when to ask again."""

    def __init__(self, min_ttl_s: float, max_ttl_s: float) -> None:
        """Nothing is known, and to be asked at once."""
        self._min_ttl_s, self._max_ttl_s = min_ttl_s, max_ttl_s
        self._by_family: dict[int, tuple[str, ...]] = {}
        self.due_at = float("-inf")
        """When to ask again, on the caller's clock."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """All addresses: IPv4 first, ascending, so that the order of answers moves no keys."""
        every = {host for hosts in self._by_family.values() for host in hosts}
        return tuple(sorted(every, key=_order))

    def answered(self, answers: dict[int, Answer | None], now: float) -> bool:
        """Take the answers by IP version; None: that question failed. Whether there was any.

        The shortest time to live counts; after a failure it is asked again as soon as allowed.
        """
        given = {version: answer for version, answer in answers.items() if answer is not None}
        useful = any(answer.hosts for answer in given.values())
        if useful:
            self._by_family |= {version: answer.hosts for version, answer in given.items()}
        complete = useful and len(given) == len(answers)
        ttls = [answer.ttl_s for answer in given.values() if answer.hosts]
        ttl_s = min(ttls) if complete else 0.0
        self.due_at = now + min(max(ttl_s, self._min_ttl_s), self._max_ttl_s)
        return useful


def by_version(hosts: Iterable[str], ttl_s: float) -> dict[int, Answer | None]:
    """Answers for both IP versions from one list of addresses."""
    unique = tuple(dict.fromkeys(hosts))
    return {
        version: Answer(tuple(h for h in unique if ip_address(h).version == version), ttl_s)
        for version in (4, 6)
    }


def _order(host: str) -> tuple[int, int]:
    address = ip_address(host)
    return address.version, int(address)
