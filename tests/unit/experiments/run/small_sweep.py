"""A sweep of four short simulated runs, and what they come to."""

from hashlib import sha256
from pathlib import Path

from experiments.plan.sweep import Sweep

SMALL = Sweep(
    algorithms=("random_two", "prequal"),
    replicates=2,
    scenario={
        "network": {"clients": 2, "backends": 3},
        "workload": {"load": 0.5},
        "duration_s": 2,
        "warmup_s": 0.5,
    },
)


def sums(folder: Path) -> dict[str, str]:
    found = folder.glob("*/requests.parquet")
    return {path.parent.name: sha256(path.read_bytes()).hexdigest() for path in found}
