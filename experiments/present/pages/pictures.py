"""The figures of a folder, with words for those who do not see them."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from experiments.present.draw import FOLDER


class Picture(NamedTuple):
    """One figure: the file to show, the same in other kinds, and what can be seen in it."""

    shown: str
    """Relative to the page."""
    others: tuple[str, ...]
    title: str
    alternative: str


_SAID = {
    "topology": ("Network", "hosts, switches and links: what was asked of each, and measured"),
    "latency_ccdf": ("Latency", "share of requests above each latency, both axes logarithmic"),
    "backend_load": (
        "Load of the backends",
        "requests per second of each backend, and Jain's index beside the band of random choice",
    ),
    "throughput": ("Throughput", "throughput and goodput per second"),
    "latency_stack": ("Where time went", "what the mean latency is made of, as stacked bars"),
    "one_way_delay": ("One-way delays", "how much later than asked packets came, by direction"),
    "latency": ("Latency over time", "percentiles and unanswered requests per second"),
    "datagrams": ("Datagrams", "answered, lost, late and duplicate datagrams per second"),
    "times_to_detect": ("Detection", "times to detect faults and to spread the load anew"),
    "p99_ms_heat": ("p99", "p99 latency over two factors, a heat map for each algorithm"),
}
_QUANTITIES = {
    "jain": "Jain's index over requests",
    "goodput_mbps": "goodput in Mbit/s",
    "throughput_mbps": "throughput in Mbit/s",
    "p99_ms": "p99 latency in ms",
    "served_ms": "mean time at the backends in ms",
}
_KINDS = (".svg", ".png")
"""The first one that is there is shown."""


def pictures(folder: Path, caption: str) -> list[Picture]:
    """Those in `figures/` of a run or a sweep, in the order in which they are explained above;
    `caption`: how many requests, which seeds, what the links were."""
    files = sorted(path.name for path in (folder / FOLDER).glob("*"))
    stems = {Path(name).stem for name in files if Path(name).suffix in _KINDS}
    known = list(_SAID)
    ordered = sorted(stems, key=lambda stem: (stem not in known, *_place(stem, known)))
    return [_picture(stem, files, caption) for stem in ordered]


def _place(stem: str, known: list[str]) -> tuple[int, str]:
    return (known.index(stem) if stem in known else 0, stem)


def _picture(stem: str, files: Iterable[str], caption: str) -> Picture:
    own = [f"{FOLDER}/{stem}{kind}" for kind in _KINDS if f"{stem}{kind}" in files]
    title, seen = said(stem)
    return Picture(own[0], tuple(own[1:]), title, f"{title}: {seen}. {caption}".strip())


def said(stem: str) -> tuple[str, str]:
    """A title, and what a figure of that name shows."""
    if stem in _SAID:
        return _SAID[stem]
    quantity, against, factor = stem.partition("_against_")
    if against:
        name = _QUANTITIES.get(quantity, quantity)
        title = f"{name[:1].upper()}{name[1:]}, against {factor}"
        return title, "means of each algorithm with 95 % intervals"
    if stem.endswith("_differences"):
        name = _QUANTITIES.get(stem.removesuffix("_differences"), stem)
        return f"Differences of {name}", "paired seed by seed, with 95 % intervals"
    if stem.startswith("claims_"):
        return f"Claims about {stem.removeprefix('claims_')}", "a row each, with its interval"
    return stem.replace("_", " "), "a figure of this name"
