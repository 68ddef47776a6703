"""Stored runs, for a notebook: `lab = Lab()`, and what it gives shows itself.

The numbers are those of `experiments/analysis/`, the pictures those of `draw.py`; here is only what
to put beside them.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from experiments import figures
from experiments.analysis.caption import NO_CAPTION, run_caption, sweep_caption
from experiments.analysis.compare import differences
from experiments.analysis.conditions import Conditions
from experiments.analysis.fairness import load_per_backend
from experiments.analysis.summary import (
    cell_intervals,
    fault_summary,
    summarise,
    sweep_table,
)
from experiments.analysis.theory import reference
from experiments.analysis.throughput import in_window
from experiments.analysis.where_time_goes import parts_ms
from experiments.plan.scenario import Scenario
from experiments.plan.sweep import Sweep, column
from experiments.present.compare import latencies_compared
from experiments.present.draw import RUN_FIGURES, varying
from experiments.present.shown import Shown, rounded
from experiments.tables.dataset import Run, load_runs
from experiments.tables.pcap.sequence import read_sequence
from experiments.tables.sweep import sweep_in
from nginy.errors import NginyError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "notebooks" / "example"
"""Runs that the repository ships."""
QUANTITIES = {
    each.column: each
    for each in (
        figures.P99, figures.SERVED, figures.JAIN, figures.GOODPUT, figures.THROUGHPUT,
    )
}  # fmt: skip


class NothingThere(NginyError):
    """What was asked for is not among the runs; the message lists what is."""


class LabRun:
    """One run. Every method gives something that shows itself."""

    def __init__(self, run: Run) -> None:
        """Its tables are read when first asked for."""
        self.run = run
        self.conditions = Conditions.of_manifest(run.manifest)

    def __repr__(self) -> str:
        """What was run, in a line."""
        return f"{self.run.path.parent.name}/{self.run.run_id}: {run_caption(self.run)}"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def summary(self) -> Shown:
        """Its figures of merit."""
        row = summarise(self.run)
        hidden = ("run_id", "cell", "again", "biased")
        named = [(name, value) for name, value in row.items() if name not in hidden]
        table = rounded(pd.DataFrame(named, columns=["quantity", "value"]), 4)
        return Shown(f"Run {self.run.run_id}", str(run_caption(self.run)), table=table)

    def valid(self) -> Shown:
        """Every check of the verdict."""
        verdict = self.run.verdict
        said = verdict.get("statement") or "; ".join(verdict["reasons"])
        rows = [
            {"check": each["name"], "holds": each["ok"], "because": each["detail"]}
            for each in verdict.get("checks", [])
        ]
        title = "Valid" if verdict["valid"] else "NOT VALID: the numbers are no evidence"
        return Shown(title, said, table=pd.DataFrame(rows))

    def links(self) -> Shown:
        """What was asked of every link, and what was measured."""
        checks = pd.DataFrame(self.run.calibration["checks"])
        if checks.empty:
            return Shown("Links", "Nothing was measured: this run is simulated.")
        wanted = ["link", "quantity", "asked", "measured", "ok"]
        told = checks[[name for name in wanted if name in checks]]
        numbers = told[told["measured"].map(lambda value: isinstance(value, int | float))]
        figure = RUN_FIGURES["one_way_delay"](self.run, NO_CAPTION)
        return Shown(
            "Links: asked and measured",
            f"{len(checks)} checks, {len(numbers)} of them of numbers, which are shown.",
            figure,
            _caption(self.run) if figure else "",
            rounded(numbers),
        )

    def latency(self) -> Shown:
        """The share of requests that took longer than so many milliseconds."""
        return self._picture("latency_ccdf", "Latency", "Answered by nobody: there is no curve.")

    def where_time_went(self) -> Shown:
        """What the mean latency is made of."""
        measured = in_window(self.run.requests, self.conditions.window_s)
        if not (measured["status"] == "ok").any():
            return Shown("Where time went", "No request was answered.")
        parts = parts_ms(measured)
        table = rounded(pd.DataFrame({"part": parts.index, "mean_ms": parts.to_numpy()}))
        shown = self._picture("latency_stack", "Where time went", "")
        return Shown(shown.title, "", shown.figure, shown.caption, table)

    def fairness(self) -> Shown:
        """Requests per backend, and Jain's index beside chance."""
        where, run = self.conditions, self.run
        load = load_per_backend(run.requests, run.connections, where.backends, where.window_s)
        row = summarise(run)
        said = f"Jain's index {row['jain']:.4f}: {row['evenness']}."
        shown = self._picture("backend_load", "Was the load spread evenly?", "")
        table = load.reset_index(names="backend")
        return Shown(shown.title, said, shown.figure, shown.caption, table)

    def throughput(self) -> Shown:
        """Bytes that reached clients, second by second."""
        return self._picture("throughput", "How much was carried?", "")

    def queues(self) -> Shown:
        """How many requests waited at each backend, in the mean and at most."""
        samples = self.run.samples
        rows = samples[samples["quantity"].isin(["queue_length", "active_connections", "busy"])]
        if rows.empty:
            return Shown("Queues", "This run has no samples of backends.")
        inside = in_window(rows, self.conditions.window_s, "t_s")
        grouped = inside.groupby(["source", "quantity"])["value"].agg(["mean", "max"])
        return Shown("Queues at the backends", table=rounded(grouped.reset_index()))

    def faults(self) -> Shown:
        """When each fault was noticed, and when the load had been spread anew."""
        if not len(self.run.faults):
            return Shown("Faults", "This run had none: make experiment SCENARIO=failover has four.")
        shown = self._picture("latency", "Faults", "")
        table = rounded(fault_summary(self.run))
        return Shown("Faults", "", shown.figure, shown.caption, table)

    def datagrams(self) -> Shown:
        """What became of every datagram, of a run over UDP."""
        return self._picture("datagrams", "Datagrams", "This run was not over UDP: PROTO=udp is.")

    def packets(self, seq: int | None = None, client: str | None = None) -> Shown:
        """The connection of one request, packet by packet; the slowest one, if none is named."""
        requests = self.run.requests.dropna(subset=["local"])
        if client is not None:
            requests = requests[requests["client"] == client]
        if seq is not None:
            requests = requests[requests["seq"] == seq]
        if requests.empty:
            return Shown("Packets", "There is no such request with a connection.")
        request = requests.sort_values("latency_ms").iloc[-1]
        capture = self.run.path / "raw" / f"{request['client']}.pcap"
        if not capture.is_file():
            why = "Its captures were not kept (keep_captures, capture), or it is simulated."
            return Shown("Packets", why)
        host, _, port = str(request["local"]).rpartition(":")
        packets = read_sequence(capture, host, int(port))
        if packets.empty:
            return Shown("Packets", f"{capture.name} has none of {request['local']}.")
        title = f"Request {request['seq']} of {request['client']}: {request['latency_ms']:.1f} ms"
        figure = figures.packet_sequence(packets, NO_CAPTION)
        counts = packets.groupby(["way", "kind"]).agg(
            packets=("again", "size"), again=("again", "sum")
        )
        return Shown(title, "", figure, _caption(self.run), counts.reset_index())

    def theory(self) -> Shown:
        """The exact mean time at the backends, where there is one, beside the measured."""
        exact = reference(Scenario.model_validate(self.run.manifest["scenario"]))
        measured = summarise(self.run)["served_ms"]
        if exact.value_ms is None:
            return Shown("Theory", f"No exact value: {exact.why}. Measured: {measured:.1f} ms.")
        said = f"{exact.why}: {exact.value_ms:.1f} ms at the backends; measured {measured:.1f} ms."
        return Shown("Theory", said)

    def against(self, other: "LabRun") -> Shown:
        """Its latencies and another's in one picture."""
        runs = [self.run, other.run]
        figure = latencies_compared(runs, NO_CAPTION)
        return Shown("Latency, compared", figure=figure, caption=str(sweep_caption(runs)))

    def _picture(self, name: str, title: str, missing: str) -> Shown:
        figure = RUN_FIGURES[name](self.run, NO_CAPTION) if self.run.measured else None
        if figure is None:
            return Shown(title, missing)
        return Shown(title, "", figure, _caption(self.run))


class LabSweep:
    """Runs that belong together: replicates of several cells."""

    def __init__(self, name: str, runs: Sequence[Run], sweep: Sweep | None = None) -> None:
        """`sweep`: what was asked, where it is known."""
        self.name = name
        self.runs = runs
        self._factors = list(sweep.factors) if sweep else []
        self._columns = [column(name) for name in self._factors]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per run."""
        return sweep_table(self.runs, self._factors)

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __repr__(self) -> str:
        """Its means."""
        return repr(self.summary())

    def summary(self, metric: str = "p99_ms") -> Shown:
        """Means over replicates with 95 % intervals."""
        cells = cell_intervals(self.table, metric, factors=self._columns)
        said = f"{metric}: means over n replicates, 95 % intervals."
        return Shown(f"{self.name}: {len(self.runs)} runs", said, table=rounded(cells, 4))

    def against(self, factor: str, metric: str = "p99_ms") -> Shown:
        """`metric` against a factor that varies."""
        varied = varying(self.table, self._columns)
        if factor not in varied:
            said = f"{factor} does not vary here; what does: {', '.join(varied) or 'nothing'}."
            return Shown(f"{metric} against {factor}", said)
        if metric not in QUANTITIES:
            raise NothingThere(f"{metric}: there are {', '.join(QUANTITIES)}")
        cells = cell_intervals(self.table, metric, factors=self._columns)
        figure = figures.sweep_against(cells, factor, QUANTITIES[metric], NO_CAPTION, others=varied)
        return Shown(
            f"{metric} against {factor}",
            "",
            figure,
            str(sweep_caption(self.runs)),
            rounded(cells, 4),
        )

    def compare(self, first: str, second: str, metric: str = "p99_ms") -> Shown:
        """Paired seed by seed, corrected for how many comparisons there are (Holm)."""
        named = self.table[self.table["algorithm"].isin([first, second])]
        if named["algorithm"].nunique() < 2:
            known = ", ".join(sorted(self.table["algorithm"].unique()))
            raise NothingThere(f"{first}, {second}: both have to be among {known}")
        found = differences(named, metric, factors=self._columns, baseline=second)
        told = [f"{each}{'' if each.decided else ': cannot be told apart'}" for each in found]
        figure = figures.forest(found, metric, NO_CAPTION)
        caption = str(sweep_caption(self.runs))
        return Shown(f"{first} less {second}, {metric}", "\n".join(told), figure, caption)

    def latencies(self, **where: Any) -> Shown:
        """All algorithms in one picture, with bands over replicates; `delay_ms=50` and so on say
        under which conditions."""
        chosen = self.table
        for name, level in where.items():
            chosen = chosen[chosen[name] == level]
        runs = [run for run in self.runs if run.run_id in set(chosen["run_id"])]
        if not runs:
            return Shown("Latency", f"No run of {where}.")
        figure = latencies_compared(runs, NO_CAPTION)
        return Shown("Latency of all, replicates pooled", "", figure, str(sweep_caption(runs)))


class Lab:
    """The runs below a folder: `results/`, or if it holds none, those that the repository ships."""

    def __init__(self, results: Path | str | None = None) -> None:
        """Valid runs only: others are kept in their folders with the reasons in `verdict.json`."""
        self.folder = Path(results) if results is not None else ROOT / "results"
        self._runs = load_runs(self.folder)
        self.shipped = not self._runs
        if self.shipped:
            self.folder, self._runs = EXAMPLE, load_runs(EXAMPLE)
        self._runs.sort(key=lambda run: (run.manifest.get("started_utc", ""), run.run_id))

    def __repr__(self) -> str:
        """How many of what."""
        return repr(self.runs)

    def _repr_html_(self) -> str:
        return self.runs._repr_html_()

    @property
    def runs(self) -> Shown:
        """All of them in a table, the newest first."""
        rows = []
        for run in reversed(self._runs):
            where = Conditions.of_manifest(run.manifest)
            rows.append(
                {
                    "experiment": run.path.parent.name,
                    "run": run.run_id,
                    "algorithm": where.name,
                    "protocol": where.protocol,
                    "faults": len(run.manifest["scenario"].get("faults") or ()),
                    "seed": where.seed,
                    "kind": run.manifest.get("kind", "emulation"),
                }
            )
        said = "your results are empty: the runs that the repository ships" if self.shipped else ""
        return Shown(f"{len(rows)} valid runs", said, table=pd.DataFrame(rows))

    @property
    def experiments(self) -> Sequence[str]:
        """Names of the folders that runs are in."""
        return tuple(self._experiments())

    def latest(self, experiment: str | None = None) -> LabRun:
        """The newest run, of an experiment (the folder's name) if one is named."""
        own = [run for run in self._runs if experiment in (None, run.path.parent.name)]
        if not own:
            raise NothingThere(f"{experiment}: there are {', '.join(self._experiments())}")
        return LabRun(own[-1])

    def run(self, name: str) -> LabRun:
        """The run whose id begins like that."""
        for run in reversed(self._runs):
            if run.run_id.startswith(name):
                return LabRun(run)
        raise NothingThere(f"no run begins with {name!r}; lab.runs lists them")

    def sweep(self, name: str | None = None) -> LabSweep:
        """The experiment of that name; without one, that with the most runs."""
        members = self._experiments()
        if not members:
            raise NothingThere("there are no runs at all")
        name = name or max(members, key=lambda each: len(members[each]))
        if name not in members:
            raise NothingThere(f"{name}: there are {', '.join(members)}")
        return LabSweep(name, members[name], sweep_in(members[name][0].path.parent))

    def _experiments(self) -> dict[str, list[Run]]:
        found: dict[str, list[Run]] = defaultdict(list)
        for run in self._runs:
            found[run.path.parent.name].append(run)
        return found


def _caption(run: Run) -> str:
    return str(run_caption(run))
