"""What `nginy explain` says."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import click

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.explain import Explanation
from nginy.config.model import Rule
from nginy.view.text import aligned


class Explained(NamedTuple):
    """What becomes of connections of one client."""

    explanation: Explanation
    """Of the first one."""
    chosen: list[Backend]
    """In turn."""
    obstacle: str
    """Why the next one has no backend; empty: it was not asked for."""


def _strategy_text(rule: Rule) -> str:
    settings = rule.strategy.model_dump(mode="json")
    name = settings.pop("type")
    values = ", ".join(f"{key} {json.dumps(value)}" for key, value in settings.items())
    return f"{name} ({values})" if values else str(name)


def show_json(rule: Rule, port: int, client: Address, explained: Explained) -> None:
    """For programs."""
    explanation = explained.explanation
    document = {
        "rule": rule.name,
        "protocol": rule.protocol,
        "port": port,
        "client": str(client),
        "strategy": rule.strategy.model_dump(mode="json"),
        "candidates": [dataclasses.asdict(candidate) for candidate in explanation.candidates],
        "chosen": explanation.chosen.id if explanation.chosen is not None else None,
        "reason": explanation.reason,
        "picks": [backend.id for backend in explained.chosen],
        "obstacle": explained.obstacle or None,
    }
    click.echo(json.dumps(document, indent=2))


def show_text(rule: Rule, port: int, client: Address, explained: Explained) -> None:
    """For people."""
    explanation, chosen = explained.explanation, explained.chosen
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
    if chosen and explained.obstacle:
        click.echo(f"then      nobody: {explained.obstacle}")


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
