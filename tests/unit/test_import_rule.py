"""Imports point one way, and heavy or privileged libraries have one home each.

Read from the source, so that an import inside a function or under TYPE_CHECKING counts too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path.relative_to(ROOT)
    for package in ("nginy", "topologies", "experiments")
    for path in (ROOT / package).rglob("*.py")
)

# Of each package: a module imports its own row and the rows above it.
LAYERS = {
    "nginy": (
        {"", "__version__", "errors", "address", "complaints"},
        {"config"},
        {"backend"},
        {"balancer"},
        {"traffic"},
        {"engine"},
        {"tcp", "udp", "watch"},
        {"server", "admin"},
        {"view"},
        {"cli", "__main__"},
    ),
    "topologies": (
        {"", "errors"},
        {"shapes"},
        {"machine"},
        {"emulate"},
        {"build"},
        {"verify", "mn"},
    ),
    "experiments": (
        {""},
        {"wire"},
        {"plan"},
        {"hosts"},
        {"tables"},
        {"lab"},
        {"judge"},
        {"analysis"},
        {"figures"},
        {"present"},
        {"run", "simulation", "live", "report"},
        {"bench", "stress", "commands"},
        {"__main__"},
    ),
}

# What a package may import of the other two.
BELOW = {
    "nginy": set[str](),
    "topologies": {"nginy"},
    "experiments": {"nginy", "topologies"},
}

# Prefixes of paths that may import a library; anyone else may not.
HOMES = {
    "mininet": ("topologies/", "experiments/run/emulated.py"),
    "scapy": ("experiments/lab/capture.py", "experiments/tables/pcap/flows.py"),
    "matplotlib": ("experiments/figures/",),
    "jinja2": ("experiments/present/pages/",),
    "playwright": ("experiments/live/picture.py",),
    "starlette": ("experiments/live/", "nginy/view/"),
    "uvicorn": ("experiments/live/", "nginy/view/"),
}


def imported(path: Path, source: str) -> Iterator[str]:
    """Full names of the modules that `source`, at `path`, imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.parent.parts[: len(path.parent.parts) - node.level + 1]
            base = ".".join(package) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            # `from nginy import server` imports a module too.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def layer(module: str) -> int:
    """The row of a module in its package; what is in none is an error of the table."""
    package, part = [*module.split("."), ""][:2]
    rows = [row for row, parts in enumerate(LAYERS[package]) if part in parts]
    assert rows, f"{module} is in no layer"
    return rows[0]


def violations(path: Path, source: str) -> list[str]:
    return [module for module in imported(path, source) if not allowed(path, module)]


def allowed(path: Path, module: str) -> bool:
    top = module.split(".")[0]
    if top in HOMES and not str(path).startswith(HOMES[top]):
        return False
    package = path.parts[0]
    if top != package:
        return top not in LAYERS or top in BELOW[package]
    own = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    return layer(module) <= layer(own)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_of(path: Path) -> None:
    assert violations(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("nginy/balancer/random_two.py", "import nginy.tcp.proxy"),
        ("nginy/balancer/random_two.py", "from nginy.traffic import rule"),
        ("nginy/balancer/random_two.py", "from ..tcp.proxy import serve"),
        ("nginy/balancer/random_two.py", "from .. import tcp"),
        ("nginy/config/schema.py", "def f():\n    from nginy.backend.pool import BackendPool"),
        ("nginy/errors.py", "from nginy.config import load"),
        ("nginy/server/listener.py", "from nginy import cli"),
        ("nginy/tcp/proxy.py", "if TYPE_CHECKING:\n    from nginy.server import listener"),
        ("nginy/cli.py", "from experiments import scenario"),
        ("nginy/cli.py", "import topologies.shapes.star"),
        ("nginy/cli.py", "import mininet.net"),
        ("experiments/plan/sweep.py", "from mininet.net import Mininet"),
        ("experiments/tables/pcap/tcp.py", "import scapy"),
        ("topologies/shapes/star.py", "import scapy.all"),
        ("experiments/analysis/jain.py", "import matplotlib.pyplot as plt"),
    ],
)
def test_a_wrong_import_is_noticed(path: str, source: str) -> None:
    assert len(violations(Path(path), source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("nginy/tcp/proxy.py", "from nginy.balancer.base import Balancer"),
        ("nginy/config/load.py", "from nginy.config import schema"),
        ("nginy/config/load.py", "from .schema import FileSettings"),
        ("nginy/server/listener.py", "from nginy import errors"),
        ("topologies/build/network.py", "from mininet.net import Mininet"),
        ("experiments/run/emulated.py", "import mininet.log"),
        ("experiments/plan/sweep.py", "from topologies.shapes.shapes import star"),
        ("experiments/plan/scenario.py", "from nginy.balancer.registry import ALGORITHMS"),
        ("nginy/cli.py", "from nginy.server.server import serve"),
    ],
)
def test_a_right_import_passes(path: str, source: str) -> None:
    assert violations(Path(path), source) == []


def test_a_new_part_of_nginy_must_be_given_a_layer() -> None:
    with pytest.raises(AssertionError, match="in no layer"):
        violations(Path("nginy/cache.py"), "import nginy.errors")
