"""`nginy explain`: where a client would be sent, and why, without serving."""

import dataclasses
import random
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from nginy.address import Address, numeric_address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool, make_backend
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.explain import Explanation
from nginy.balancer.explain import explain as explain_pick
from nginy.cli.common import CANNOT_RUN, config_option, fail, load_or_exit
from nginy.cli.explained import Explained, show_json, show_text
from nginy.config.model import Config, Rule
from nginy.config.parse import InvalidValue, parse_address, parse_host, suggestion
from nginy.config.route import RouteTable
from nginy.engine.timers import TimerWheel
from nginy.traffic.admission import Census
from nginy.traffic.background import Background
from nginy.traffic.close_reason import REFUSALS
from nginy.traffic.ledger import Ledger
from nginy.traffic.rule import RunningRule, Surroundings

MOST_ACTIVE = 1_000_000
"""Each is opened, one by one."""


def _parse_client(ctx: click.Context, param: click.Parameter, value: str) -> Address:
    """`ADDR` (port 0) or `ADDR:PORT`; an IPv6 address with a port in brackets."""
    try:
        if value.count(":") == 1 or value.startswith("["):
            return parse_address(value)
        return Address(parse_host(value), 0)
    except InvalidValue as error:
        raise click.BadParameter(f"{error.message} (expected {error.expected})") from None


def _parse_counts(
    ctx: click.Context, param: click.Parameter, values: Sequence[str]
) -> list[tuple[str, int]]:
    """`ID=N`, any number of times."""
    counts = []
    for value in values:
        backend_id, _, number = value.rpartition("=")
        if not backend_id or not number.isdecimal() or int(number) > MOST_ACTIVE:
            raise click.BadParameter(f"{value!r} (expected ID=N, such as b1=3)")
        counts.append((backend_id, int(number)))
    return counts


@click.command()
@config_option
@click.option(
    "--client", required=True, metavar="ADDR[:PORT]", callback=_parse_client, help="Who connects."
)
@click.option("--port", type=click.IntRange(1, 65_535), help="To which port of the balancer.")
@click.option("--protocol", type=click.Choice(["tcp", "udp"]), help="And how.")
@click.option(
    "--active",
    metavar="ID=N",
    multiple=True,
    callback=_parse_counts,
    help="Connections open on a backend.",
)
@click.option("--down", metavar="ID", multiple=True, help="A backend that is down.")
@click.option("--drain", metavar="ID", multiple=True, help="A backend that is drained.")
@click.option(
    "--picks",
    type=click.IntRange(1, 100_000),
    default=1,
    show_default=True,
    help="So many connections one after the other; all stay open.",
)
@click.option("--seed", type=int, help="Make random choices repeatable.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def explain(
    path: Path,
    client: Address,
    port: int | None,
    protocol: str | None,
    active: Sequence[tuple[str, int]],
    down: Sequence[str],
    drain: Sequence[str],
    picks: int,
    seed: int | None,
    as_json: bool,
) -> None:
    """Show the candidates for a client, their scores, the choice and why.

    The rule itself is asked, as it is right after the start, by the code that serves: access list,
    caps, algorithm, queue. Nothing is sent. --active counts for the caps, as connections of other
    clients. A name counts as one backend, as it is not resolved.

    \b
    nginy explain -c nginy.yaml --client 192.0.2.7
    nginy explain -c nginy.yaml --client 192.0.2.7:40000 --port 443 --active b1=3 --down b2
    """
    config = load_or_exit(path)
    rule, port = _rule_of(config, client, port, protocol)
    _check_ids([*(backend_id for backend_id, _ in active), *down, *drain], rule)
    seed = random.getrandbits(64) if seed is None else seed
    now = time.monotonic()
    running, census = _running(config, rule, seed, now)
    for backend_id, count in active:
        census.open += count
        running.admission.open += count
        for _ in range(count):
            running.pool.lease(running.pool[backend_id], running.balancer, now)
    for ids, admin in ((down, Admin.DOWN), (drain, Admin.DRAIN)):
        for backend_id in ids:
            running.pool[backend_id].set_admin(admin, now, Origin.API)
    show = show_json if as_json else show_text
    show(rule, port, client, _explained(running, client, now, picks))


def _running(config: Config, rule: Rule, seed: int, now: float) -> tuple[RunningRule, Census]:
    """The rule as it is right after the start."""
    pool = BackendPool(make_backend(settings) for settings in config.backends)
    census = Census(config.limits.max_connections)
    timers, run_soon = TimerWheel(1.0, now), lambda _: None  # there is nothing to do
    around = Surroundings(pool, census, Ledger(), timers, run_soon, Background(run_soon), seed)
    return RunningRule(rule, around, now), census


def _rule_of(
    config: Config, client: Address, port: int | None, protocol: str | None
) -> tuple[Rule, int]:
    """The rule that the client falls under, and the port; without one, the end."""
    ports = [
        (known_protocol, known_port)
        for known_protocol, known_port in config.ports
        if port in (None, known_port) and protocol in (None, known_protocol)
    ]
    written = ", ".join(f"{known_port}/{which}" for which, known_port in ports or config.ports)
    if not ports:
        fail(f"nothing listens there; the configuration has {written}", CANNOT_RUN)
    if len(ports) > 1:
        fail(f"say which with --port and --protocol: {written}", CANNOT_RUN)
    which, port = ports[0]
    rules = [rule for rule in config.rules if rule.protocol == which]
    version = 4 if numeric_address(client.host).bits == 32 else 6
    if version not in config.bound_versions:
        fail(f"{client.host} cannot come: no bind address is IPv{version}", CANNOT_RUN)
    rule = RouteTable(rules).lookup(client.host, port)
    if rule is None:
        fail(f"no rule for the client {client.host} on port {written}", CANNOT_RUN)
    return rule, port


def _check_ids(ids: Iterable[str], rule: Rule) -> None:
    for backend_id in ids:
        if backend_id not in rule.backend_ids:
            hint = suggestion(backend_id, rule.backend_ids)
            fail(f"{backend_id!r} is no backend of {rule.name}{hint}", CANNOT_RUN)


def _explained(running: RunningRule, client: Address, now: float, picks: int) -> Explained:
    """Of so many connections; the first one that is not served is the last one."""
    explanation: Explanation | None = None
    chosen: list[Backend] = []
    obstacle = ""
    while len(chosen) < picks and not obstacle:
        refusal = running.admission.enter(client, now)
        if explanation is None:
            explanation = explain_pick(running.balancer, client, now)
            backend = explanation.chosen
        else:
            backend = None if refusal else running.balancer.pick(client, now)
        if refusal is not None:
            obstacle = f"{refusal.value}: {REFUSALS[refusal]}"
        elif backend is None:
            obstacle = _nobody(running)
        else:
            running.pool.lease(backend, running.balancer, now)
            chosen.append(backend)
    assert explanation is not None
    if not chosen:
        explanation = dataclasses.replace(explanation, chosen=None, reason=obstacle)
    return Explained(explanation, chosen, obstacle)


def _nobody(running: RunningRule) -> str:
    """What happens if the algorithm has nobody."""
    queue = running.queue
    if queue is not None and queue.worth_waiting(()):
        timeout_ms = running.settings.queue.timeout_ms
        return f"every backend is full: it waits in the queue, for up to {timeout_ms} ms"
    return "no backend is usable"
