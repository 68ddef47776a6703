"""`nginy explain`: where a client would be sent, and why, without serving."""

import dataclasses
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool, make_backend
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.base import Balancer
from nginy.balancer.explain import Explanation
from nginy.balancer.explain import explain as explain_pick
from nginy.balancer.tiers import balancer_for
from nginy.cli.common import CANNOT_RUN, aligned, config_option, fail, load_or_exit
from nginy.config.model import Config, Rule
from nginy.config.parse import InvalidValue, parse_address, parse_host, suggestion
from nginy.config.route import RouteTable
from nginy.traffic.rule import stream

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

    The algorithm itself is asked, as it is right after the start, by the code that serves; nothing
    is sent. A name counts as one backend, as it is not resolved.

    \b
    nginy explain -c nginy.yaml --client 192.0.2.7
    nginy explain -c nginy.yaml --client 192.0.2.7:40000 --port 443 --active b1=3 --down b2
    """
    config = load_or_exit(path)
    rule, port = _rule_of(config, client, port, protocol)
    pool = BackendPool(make_backend(settings) for settings in config.backends)
    now = time.monotonic()
    _check_ids([*(backend_id for backend_id, _ in active), *down, *drain], rule)
    seed = random.getrandbits(64) if seed is None else seed
    balancer = balancer_for(rule, pool.members(rule.backend_ids), stream(seed, rule.name), now)
    for backend_id, count in active:
        for _ in range(count):
            pool.lease(pool[backend_id], balancer, now)
    for ids, admin in ((down, Admin.DOWN), (drain, Admin.DRAIN)):
        for backend_id in ids:
            pool[backend_id].set_admin(admin, now, Origin.API)
    explanation = explain_pick(balancer, client, now)
    chosen = _go_on(pool, balancer, client, now, explanation.chosen, picks)
    show = _show_json if as_json else _show_text
    show(rule, port, client, explanation, chosen)


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
    rule = RouteTable(rules).lookup(client.host, port)
    if rule is None:
        fail(f"no rule for the client {client.host} on port {written}", CANNOT_RUN)
    return rule, port


def _check_ids(ids: Iterable[str], rule: Rule) -> None:
    for backend_id in ids:
        if backend_id not in rule.backend_ids:
            hint = suggestion(backend_id, rule.backend_ids)
            fail(f"{backend_id!r} is no backend of {rule.name}{hint}", CANNOT_RUN)


def _go_on(
    pool: BackendPool,
    balancer: Balancer[Any],
    client: Address,
    now: float,
    first: Backend | None,
    picks: int,
) -> list[Backend]:
    """The backends of `picks` connections, the first of which went to `first`."""
    chosen: list[Backend] = []
    backend = first
    while backend is not None:
        pool.lease(backend, balancer, now)
        chosen.append(backend)
        if len(chosen) == picks:
            break
        backend = balancer.pick(client, now)
    return chosen


def _strategy_text(rule: Rule) -> str:
    settings = rule.strategy.model_dump(mode="json")
    name = settings.pop("type")
    values = ", ".join(f"{key} {json.dumps(value)}" for key, value in settings.items())
    return f"{name} ({values})" if values else str(name)


def _show_json(
    rule: Rule, port: int, client: Address, explanation: Explanation, chosen: list[Backend]
) -> None:
    document = {
        "rule": rule.name,
        "protocol": rule.protocol,
        "port": port,
        "client": str(client),
        "strategy": rule.strategy.model_dump(mode="json"),
        "candidates": [dataclasses.asdict(candidate) for candidate in explanation.candidates],
        "chosen": explanation.chosen.id if explanation.chosen is not None else None,
        "reason": explanation.reason,
        "picks": [backend.id for backend in chosen],
    }
    click.echo(json.dumps(document, indent=2))


def _show_text(
    rule: Rule, port: int, client: Address, explanation: Explanation, chosen: list[Backend]
) -> None:
    networks = ", ".join(str(match.network) for match in rule.clients if match.port == port)
    click.echo(f"rule      {rule.name} (port {port}/{rule.protocol}, clients {networks})")
    click.echo(f"client    {client}")
    click.echo(f"strategy  {_strategy_text(rule)}")
    click.echo("")
    for line in _table(explanation):
        click.echo(line)
    click.echo("")
    choice = explanation.chosen
    click.echo(f"choice    {f'{choice.id} at {choice.address}' if choice else 'nobody'}")
    click.echo(f"why       {explanation.reason}")
    if len(chosen) > 1:
        counts = Counter(backend.id for backend in chosen)
        shares = (f"{key} {n} ({100 * n / len(chosen):.3g} %)" for key, n in counts.most_common())
        click.echo(f"picks     {' '.join(backend.id for backend in chosen)}")
        click.echo(f"shares    {', '.join(shares)}")


def _table(explanation: Explanation) -> Iterable[str]:
    """Aligned columns; the choice is marked."""
    chosen = explanation.chosen.id if explanation.chosen is not None else None
    rows = [("", "backend", "address", "weight", "open", "state", "score")]
    for one in explanation.candidates:
        state = f"{one.state}, backup" if one.backup else one.state
        limit = f"/{one.max_connections}" if one.max_connections else ""
        mark = "*" if one.id == chosen else ""
        rows.append(
            (mark, one.id, one.address, str(one.weight), f"{one.active}{limit}", state, one.score)
        )
    return aligned(rows)
