"""What stands below a figure: how many samples, which seeds, what the links really were."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.analysis.conditions import Conditions
from experiments.analysis.throughput import in_window
from experiments.tables.dataset import Run
from experiments.tables.sweep import Made


@dataclass(frozen=True, slots=True)
class Caption:
    """The parts of a caption; `links` is measured, not asked."""

    subject: str
    n: str
    seeds: str
    links: str
    verdict: str

    def __str__(self) -> str:
        """One paragraph."""
        parts = (self.subject, self.n, self.seeds, self.links, self.verdict)
        said = "; ".join(part for part in parts if part)
        return f"{said}." if said else ""


NO_CAPTION = Caption("", "", "", "", "")
"""Where the caption is text beside the picture."""


def run_caption(run: Run) -> Caption:
    """For a figure of one run."""
    where = Conditions.of_manifest(run.manifest)
    measured = in_window(run.requests, where.window_s)
    begin_s, end_s = where.window_s
    return Caption(
        subject=f"{where.name}{', UDP' if where.protocol == 'udp' else ''}, "
        f"{counted(where.clients, 'client')}, "
        f"{counted(len(where.backends), 'backend')}, "
        f"{'' if where.shape == 'star' else f'{where.shape} network, '}{where.offered}",
        n=f"n = {len(measured)} requests offered from {begin_s:g} s to {end_s:g} s",
        seeds=f"seed {where.seed}",
        links=measured_links([run.calibration]),
        verdict=_run_verdict(run.verdict),
    )


def sweep_caption(runs: Sequence[Run], made: Made | None = None) -> Caption:
    """For a figure over replicates of several cells; what varies is on the axes, not here. `made`:
    of all that were planned."""
    conditions = [Conditions.of_manifest(run.manifest) for run in runs]
    seeds = sorted({where.seed for where in conditions})
    invalid = sum(not run.verdict["valid"] for run in runs)
    return Caption(
        subject=_offered(conditions),
        n=f"n = {len(runs)} runs{f' ({made})' if made else ''}; points are means over replicates "
        "(one seed each), bars their 95 % t intervals",
        seeds=f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}",
        links=measured_links([run.calibration for run in runs]),
        verdict=(
            f"{invalid} runs INVALID" if invalid else f"all {'shown' if made else 'runs'} valid"
        )
        + _labelled([run.verdict for run in runs])
        + _worst_uncertainty([run.verdict for run in runs]),
    )


def _offered(conditions: Sequence[Conditions]) -> str:
    loads = [where.load for where in conditions if where.load is not None]
    if len(loads) == len(conditions) and {where.kind for where in conditions} == {"requests"}:
        arm = "in virtual time, " if all(where.simulated for where in conditions) else ""
        return f"{arm}open loop at load {_span(loads, '')}"
    return "; ".join(dict.fromkeys(where.offered for where in conditions))


def _run_verdict(verdict: Mapping[str, Any]) -> str:
    valid = f"run {'valid' if verdict['valid'] else 'INVALID'}"
    return "; ".join(filter(None, [valid, *verdict.get("labels", ()), verdict.get("statement")]))


def _labelled(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """How many runs have a label, by its first words: the numbers are each run's own."""
    counts = Counter(
        label.partition(" (")[0] for verdict in verdicts for label in verdict.get("labels", ())
    )
    return "".join(f"; {label} in {count} of {len(verdicts)}" for label, count in counts.items())


def _worst_uncertainty(verdicts: Iterable[Mapping[str, Any]]) -> str:
    """Of all runs that state one: those made before there was a statement do not."""
    stated = [verdict.get("uncertainty") or {} for verdict in verdicts]
    shares = [each["added_pct"] for each in stated if each.get("added_pct") is not None]
    return f"; latencies at most {max(shares):.1f} % too high at p99" if shares else ""


def measured_links(calibrations: Iterable[Mapping[str, Any]]) -> str:
    """The client links as calibration measured them: one-way delay, loss, rate (least to most).

    Loss is that of the run itself, which is checked after the few packets of calibration. A rate
    that was not asked for has only been offered so much, and is not that of the link.
    """
    rows = [
        row
        for calibration in calibrations
        for row in latest_checks(calibration["checks"])
        if "c" in {end[:1] for end in _ends(row["link"])}
        and None not in (row["asked"], row["measured"])
    ]

    def values(wanted: Callable[[str], bool]) -> list[float]:
        return [row["measured"] for row in rows if wanted(row["quantity"])]

    parts = (
        _named("RTT", values(lambda quantity: quantity == "median RTT"), " ms"),  # of old runs
        _named("delay", values(lambda quantity: quantity == "median delay"), " ms"),
        _named("loss", values(lambda quantity: quantity.startswith("loss of")), " %"),
        _named("rate", values(lambda quantity: quantity == "rate"), " Mbit/s"),
    )
    found = ", ".join(part for part in parts if part)
    return f"client links as measured: {found}" if found else ""


def link_values(checks: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Of what calibration checks, that which a link is: delay, loss and rate of each direction, as
    they were measured last."""
    wanted = ("median delay", "loss", "rate")
    return [
        row
        for row in latest_checks(checks)
        if row["quantity"].partition(" of ")[0] in wanted and row["measured"] is not None
    ]


def latest_checks(checks: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """The last check of each quantity of each link (`loss of 900 packets` is a `loss`)."""
    return {(row["link"], row["quantity"].partition(" of ")[0]): row for row in checks}.values()


def _ends(link: str) -> list[str]:
    """The two ends named in `c1-s1` or `s1->c1`."""
    return link.replace("->", "-").split("-")


def counted(number: int, noun: str) -> str:
    """`1 client`, `2 clients`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def _named(name: str, values: list[float], unit: str) -> str:
    return f"{name} {_span(values, unit)}" if values else ""


def _span(values: Sequence[float], unit: str) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"
