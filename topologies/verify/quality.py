"""How good the link emulation is on this machine: `python -m topologies.verify.quality [FILE]`.

Measures one-way delay at 50 Mbit/s beside a plain link, one TCP flow through 10 ms, loss over
100 000 packets, and whether a seed repeats its losses; prints the figures beside their targets and
writes them to FILE (default results/emulator_quality.json). Exit code 1 if a target is missed.

Delay and TCP are measured in rounds and judged by the median round: on a virtual machine a wake-up
is some milliseconds late whenever the host has lent the processor to somebody else, and one such
moment is more than 1 % of a second.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from topologies.build.network import Network
from topologies.shapes.shape import LinkSpec
from topologies.shapes.shapes import star
from topologies.verify.checks import loss_check

DELAY_MS = 10.0
DELAY_RATE_MBPS = 50.0
DELAY_ERROR_P99_MS = 0.5
DELAY_ERROR_MEDIAN_MS = 0.2
TCP_GBPS = 1.0
LOSS_PCT = 5.0
LOSS_PACKETS = 100_000
LOSS_CONFIDENCE = 0.99
_SEED = 20240229
_FRAME_OVERHEAD_BYTES = 42
_SECONDS = 5
_ROUNDS = 7
_ROUND_S = 1.0
_FLOWS = 3
_ROOT = Path(__file__).resolve().parents[2]

Arrivals = list[tuple[int, float]]


def _network(spec: LinkSpec, seed: int = _SEED) -> Network:
    return Network(star(1, 1, client_link=spec), seed=seed)


def send_stamped(
    network: Network,
    sender: str,
    receiver: str,
    count: int,
    per_second: float,
    size: int = 100,
    most: int | None = None,
) -> Arrivals:
    """Send `count` numbered packets; (number, one-way delay in ms) of those that arrived, copies
    as well if `most`, at which it stops, leaves room for them."""
    module = [sys.executable, "-m", "topologies.verify.stamps"]
    listening = network.popen(
        receiver,
        [*module, "receive", str(most or count)],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert listening.stdout is not None
    if listening.stdout.readline() != "ready\n":
        raise RuntimeError("the receiver did not start")
    words = [network.address(receiver), str(count), str(per_second), str(size)]
    network.popen(sender, [*module, "send", *words], cwd=_ROOT).wait()
    out, _ = listening.communicate(timeout=30)
    return [(int(number), float(delay)) for number, delay in json.loads(out)]


def delay() -> dict[str, Any]:
    """Error of the one-way delay at 50 Mbit/s of full frames, both directions in turn.

    `control` is the same over a link without delay: what sending and stamping add by themselves.
    """
    payload = 1472
    per_second = DELAY_RATE_MBPS * 1e6 / 8 / (payload + _FRAME_OVERHEAD_BYTES)
    ways = {"to_switch": ("c1", "lb"), "to_host": ("lb", "c1"), "control": ("b1", "lb")}
    asked_ms = {"to_switch": DELAY_MS, "to_host": DELAY_MS, "control": 0.0}
    errors_ms: dict[str, list[list[float]]] = {name: [] for name in ways}
    with _network(LinkSpec(delay_ms=DELAY_MS)) as network:
        for _ in range(_ROUNDS):
            for name, ends in ways.items():
                arrivals = send_stamped(
                    network, *ends, round(_ROUND_S * per_second), per_second, payload
                )
                errors_ms[name].append([late - asked_ms[name] for _, late in arrivals])
    found: dict[str, Any] = {name: _errors(rounds) for name, rounds in errors_ms.items()}
    ok = all(
        found[name]["abs_p99_ms"] <= DELAY_ERROR_P99_MS
        and abs(found[name]["median_ms"]) <= DELAY_ERROR_MEDIAN_MS
        for name in ("to_switch", "to_host")
    )
    return {"asked_ms": DELAY_MS, "rate_mbps": DELAY_RATE_MBPS, **found, "ok": ok}


def _errors(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """`median_ms` and `abs_p99_ms` are those of the median round; `p99_rounds_ms` has them all."""
    p99s = [float(np.percentile(np.abs(errors), 99)) for errors in rounds]
    return {
        "packets": sum(map(len, rounds)),
        "median_ms": round(float(np.median([np.median(errors) for errors in rounds])), 4),
        "abs_p99_ms": round(float(np.median(p99s)), 4),
        "p99_rounds_ms": [round(p99, 4) for p99 in p99s],
        "max_ms": round(max(map(max, rounds)), 3),
    }


def tcp() -> dict[str, Any]:
    """One TCP flow (cubic) through a link of 10 ms each way."""
    with _network(LinkSpec(delay_ms=DELAY_MS)) as network:
        rounds = [_flow_gbps(network) for _ in range(_FLOWS)]
        counters = network.link_counters()["c1->s1"].to_json()
    gbps = float(np.median(rounds))
    return {
        "gbps": round(gbps, 3),
        "rounds_gbps": [round(each, 3) for each in rounds],
        "target_gbps": TCP_GBPS,
        "counters": counters,
        "ok": gbps >= TCP_GBPS,
    }


def _flow_gbps(network: Network) -> float:
    pipe = subprocess.PIPE
    server = network.popen(
        "lb", ["iperf3", "-s", "-1", "--forceflush"], stdout=pipe, stderr=pipe, text=True
    )
    while "listening" not in server.stdout.readline():  # type: ignore[union-attr]
        pass
    argv = ["iperf3", "-J", "-c", network.address("lb"), "-t", str(_SECONDS)]
    report = json.loads(network.run("c1", argv, timeout_s=30).stdout)
    server.wait()
    return float(report["end"]["sum_received"]["bits_per_second"]) / 1e9


def loss() -> dict[str, Any]:
    """Loss over 100 000 packets: the counters' and the receiver's account, and the interval."""
    with _network(LinkSpec(loss_pct=LOSS_PCT)) as network:
        arrived = len(send_stamped(network, "c1", "lb", LOSS_PACKETS, 20_000))
        counted = network.link_counters()["c1->s1"]
    check = loss_check(
        "c1->s1", LOSS_PCT, counted.seen, counted.dropped, false_alarms=1 - LOSS_CONFIDENCE
    )
    agreed = counted.seen == LOSS_PACKETS and arrived == counted.seen - counted.dropped
    return {
        "asked_pct": LOSS_PCT,
        "measured_pct": check.measured,
        "low_pct": check.low,
        "high_pct": check.high,
        "sent": LOSS_PACKETS,
        "arrived": arrived,
        "counters": counted.to_json(),
        "ok": check.ok and agreed,
    }


def repeatability() -> dict[str, Any]:
    """Which of 2000 packets arrive: the same with the same seed, others with another."""
    kept = []
    for seed in (1, 1, 2):
        with _network(LinkSpec(loss_pct=20), seed) as network:
            kept.append([number for number, _ in send_stamped(network, "c1", "lb", 2000, 5000)])
    same, other = kept[0] == kept[1], kept[0] != kept[2]
    return {"same_seed_same_losses": same, "other_seed_other_losses": other, "ok": same and other}


def measure() -> dict[str, Any]:
    """Everything, in turn."""
    found: dict[str, Any] = {"schema_version": 1, "kernel": os.uname().release}
    found["cpus"], found["measured_at_s"] = os.cpu_count(), time.time()
    for part in (delay, tcp, loss, repeatability):
        found[part.__name__] = part()
        print(f"{part.__name__}: {json.dumps(found[part.__name__])}", flush=True)
    return found


def main(target: Path) -> int:
    """Measure, write `target`; the exit code."""
    found = measure()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(found, indent=2) + "\n")
    missed = [name for name, part in found.items() if isinstance(part, dict) and not part["ok"]]
    print(f"missed: {', '.join(missed)}" if missed else "every target met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/emulator_quality.json")))
