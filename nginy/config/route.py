"""Which rule a client falls under: the longest matching prefix on the port it arrived at."""

from collections.abc import Iterable

from nginy.config.model import Rule


class RouteTable:
    """All rules, arranged for lookup. The cost is one dictionary probe per prefix length in use."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Index `rules`; a (network, port) pair belongs to one rule (the configuration checks it)."""
        self._rules = tuple(rules)

    def lookup(self, client_host: str, port: int) -> Rule | None:
        """The rule for a client at `client_host` (textual) that arrived at `port`; None: no match."""
        raise NotImplementedError
