"""What of a run stays while it is shown: its network, its conditions, its checks. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from experiments.analysis.caption import link_values
from experiments.analysis.conditions import Conditions
from experiments.live.frame import Measured, Scene, SceneCheck, SceneHost, SceneLink
from experiments.plan.scenario import parse_scenario
from experiments.tables.dataset import Run, is_complete
from topologies.shapes.draw import words_of
from topologies.shapes.shape import Link


def scene_of(run: Run, step_s: float, end_s: float) -> Scene:
    """From its manifest, calibration and verdict, if it has one."""
    where = Conditions.of_manifest(run.manifest)
    shape = parse_scenario(run.manifest["scenario"], str(run.path)).topology
    verdict = run.verdict if is_complete(run.path) else {}
    found = list(_measured(run.calibration))
    stated = filter(None, [verdict.get("statement"), *verdict.get("labels", ())])
    switches = (SceneHost(name=name, role="switch", address="") for name in shape.switches)
    hosts = (
        SceneHost(name=host.name, role=host.role, address=host.address) for host in shape.hosts
    )
    return Scene(
        run_id=run.run_id,
        title=run.manifest["scenario"]["name"],
        offered=where.offered,
        algorithm=where.name,
        protocol=where.protocol,
        seed=where.seed,
        warmup_s=where.warmup_s,
        duration_s=where.duration_s,
        step_s=step_s,
        end_s=end_s,
        timeout_ms=where.timeout_ms,
        weights=dict(zip(where.backends, where.weights, strict=True)),
        hosts=(*hosts, *switches),
        links=tuple(_link(link, found) for link in shape.links),
        valid=verdict.get("valid"),
        statement="; ".join([*stated, *verdict.get("reasons", ())]),
        checks=tuple(
            SceneCheck(name=each["name"], ok=each["ok"], detail=each["detail"])
            for each in verdict.get("checks", ())
        ),
    )


def _measured(calibration: Mapping[str, Any]) -> Iterator[Measured]:
    """The last measurement of each value of each direction."""
    for row in link_values(calibration["checks"]):
        yield Measured(
            direction=row["link"],
            quantity=row["quantity"].partition(" of ")[0].removeprefix("median "),
            asked="any" if row["asked"] is None else f"{row['asked']:g}{row['unit']}",
            measured=f"{row['measured']:.3g}{row['unit']}",
            ok=row["ok"],
        )


def _link(link: Link, found: list[Measured]) -> SceneLink:
    leaving, reaching = (" · ".join(words_of(spec)) for spec in link.specs.values())
    return SceneLink(
        name=link.name,
        ends=(link.end, link.switch),
        asked=leaving if leaving == reaching else f"up {leaving or 'plain'}, down {reaching}",
        measured=tuple(each for each in found if each.direction in link.directions),
    )
