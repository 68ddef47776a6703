"""Runs and sweeps to HTML. Pure but for `figures/`, whose files are looked up by name.

Everything that comes from a run is text to the template, whatever is in it, and the pages carry a
policy by which nothing on them is executed or fetched from elsewhere.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.analysis.caption import link_values, run_caption
from experiments.analysis.conditions import Conditions
from experiments.present.numbers import Numbers, run_numbers
from experiments.present.pages.pictures import Picture, pictures
from experiments.present.pages.rows import NONE, Row
from experiments.tables.dataset import Run

_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Listed(NamedTuple):
    """A run in a list, and where the list leads for it."""

    link: str
    experiment: str
    name: str
    row: Row


def run_page(run: Run, home: str) -> str:
    """The page of a finished run, which lies in its folder; `home`: a list of more, from there."""
    verdict = run.verdict
    where = Conditions.of_manifest(run.manifest)
    tail = verdict.get("tail") or {}
    return _PAGES.get_template("run.html").render(
        title=f"{run.path.parent.name} / {run.run_id}",
        width="75rem",
        home=home,
        valid=verdict["valid"],
        asked=_asked(run.manifest, where),
        scenario=yaml.safe_dump(run.manifest["scenario"], sort_keys=False, allow_unicode=True),
        said=[
            *verdict["reasons"],
            *filter(None, [verdict.get("statement"), *verdict.get("labels", ())]),
            *([tail["statement"]] if tail.get("touched") else []),
        ],
        checks=verdict.get("checks", []),
        links=_links(run),
        numbers=run_numbers(run),
        pictures=pictures(run.path, str(run_caption(run)) if run.measured else ""),
        found=_files(run.path),
        made=_made(run.manifest),
    )


def list_page(
    title: str,
    runs: Sequence[Listed],
    *,
    home: str = "",
    numbers: Sequence[Numbers] = (),
    shown: Sequence[Picture] = (),
    groups: Sequence[tuple[str, str]] = (),
    files: Sequence[tuple[str, str]] = (),
) -> str:
    """Runs, the newest first, below what is said of all of them; `groups`: links to pages of some
    of them."""
    ordered = sorted(runs, key=lambda each: (each.row.started_utc, each.name), reverse=True)
    return _PAGES.get_template("list.html").render(
        title=title,
        width="100rem",
        home=home,
        runs=ordered,
        invalid=sum(bool(each.row.reason) for each in runs),
        numbers=numbers,
        pictures=shown,
        groups=groups,
        found=files,
    )


def _asked(manifest: Mapping[str, Any], where: Conditions) -> list[tuple[str, str]]:
    """What the run is about; the scenario in full has the rest."""
    scenario = manifest["scenario"]
    rate = "no limit" if where.rate_mbps is None else f"{where.rate_mbps:g} Mbit/s"
    options = scenario.get("algorithm_options") or {}
    rows = [
        ("command", shlex.join(["python", "-m", "experiments", *manifest.get("argv", [""])[1:]])),
        ("algorithm", " ".join([where.algorithm, *(f"{k}={v}" for k, v in options.items())])),
        ("called", where.label or ""),
        ("system", where.system),
        ("protocol", where.protocol.upper()),
        ("network", f"{where.shape}, clients: {where.clients}, backends: {len(where.backends)}"),
        (
            "client links, each way",
            f"{where.delay_ms:g} ms, {where.loss_pct:g} % loss, {rate}",
        ),
        ("congestion control", scenario["network"].get("congestion_control") or ""),
        ("offered", where.offered),
        ("time", f"{where.duration_s:g} s, the first {where.warmup_s:g} s do not count"),
        ("seed", str(where.seed)),
        ("faults", "\n".join(map(str, where.faults))),
        ("started (UTC)", manifest.get("started_utc", "")),
    ]
    return [(name, value) for name, value in rows if value]


def _links(run: Run) -> list[tuple[str, ...]]:
    """What was asked of each direction of each link, and measured; none where nobody measured."""
    if not (run.path / "calibration.json").is_file():
        return []
    return [
        (
            row["link"],
            row["quantity"],
            NONE if row["asked"] is None else f"{row['asked']:g} {row.get('unit', '')}",
            f"{row['measured']:.4g} {row.get('unit', '')}",
        )
        for row in link_values(run.calibration["checks"])
        if row["asked"]
    ]


def _files(folder: Path) -> list[tuple[str, str]]:
    """Names and sizes of what the run left; captures and logs are behind `raw/`."""
    found = [path for path in folder.iterdir() if path.suffix in (".json", ".parquet")]
    sizes = [(path.name, _size(path.stat().st_size)) for path in sorted(found) if _is_shown(path)]
    return sizes + ([("raw/", "logs, captures")] if (folder / "raw").is_dir() else [])


def _is_shown(path: Path) -> bool:
    return not path.name.startswith(".")


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _made(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """By which version, on which machine; runs of before do not say it."""
    git, machine = manifest.get("git") or {}, manifest.get("machine") or {}
    versions = manifest.get("versions") or {}
    changed = " and changes that are in the manifest" if git.get("dirty") else ""
    rows = [
        ("commit", f"{git['commit']}{changed}" if git.get("commit") else ""),
        ("kernel", versions.get("kernel", "")),
        ("Python", versions.get("python", "")),
        ("processors", " x ".join(str(machine[k]) for k in ("cpu_count", "cpu_model") if machine)),
    ]
    return [(name, str(value)) for name, value in rows if value]
