"""What a rule's protocol and its strategy rule out: settings ignored, or too large."""

from collections.abc import Collection, Mapping

from nginy.config.document import Document, Location
from nginy.config.schema import BackendSettings, RuleSettings
from nginy.config.strategies import KetamaSettings

KETAMA_POINTS = 160
"""Of one unit of weight (nginx 1.22, ngx_stream_upstream_init_chash)."""
MOST_POINTS = 8_388_608
"""On one ring; the limit of Envoy's ring_hash."""


def check_protocol(index: int, rule: RuleSettings, document: Document) -> None:
    """Report settings that the rule's protocol has no use for."""
    location = ("rules", index)
    if document.faulty((*location, "protocol")):
        return
    if rule.protocol == "tcp":
        if rule.udp.model_fields_set:
            document.report((*location, "udp"), "has no effect on a TCP rule", "protocol: udp")
        return
    if rule.queue.max_waiting:
        message = "has no effect on a UDP rule: a datagram does not wait"
        document.report((*location, "queue"), message, "protocol: tcp")
    for key in rule.timeouts.model_fields_set:
        message = "has no effect on a UDP rule"
        expected = "udp: {idle_timeout_ms: ...}" if key == "idle_timeout_ms" else "protocol: tcp"
        document.report((*location, "timeouts", key), message, expected)


def check_points(
    index: int,
    rule: RuleSettings,
    backend_ids: Collection[str],
    backends: Mapping[str, BackendSettings],
    document: Document,
) -> None:
    """Report a ketama ring that would take minutes and gigabytes to make; `backends` is by id."""
    if not isinstance(rule.strategy, KetamaSettings):
        return
    weights = sum(backends[each].weight for each in backend_ids if each in backends)
    if weights * KETAMA_POINTS > MOST_POINTS:
        location: Location = ("rules", index, "strategy")
        message = f"the weights sum up to {weights}, and each unit is {KETAMA_POINTS} points"
        document.report(location, message, f"at most {MOST_POINTS // KETAMA_POINTS} in all")
