"""Makes the stored runs in tests/golden/runs: `python tests/golden/make_golden.py`.

A seeded simulation of the default experiment (open loop, four single servers, lossy client links)
written by the same writer as real runs, so analysis, figures and notebook have something to work
on without root. Simulated is also the manifest's word for it: no network was involved.
"""

import heapq
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from experiments.lab.metadata import manifest  # noqa: E402
from experiments.plan.scenario import Scenario  # noqa: E402
from experiments.tables.dataset import RunWriter  # noqa: E402
from experiments.tables.pcap.flows import join_backends  # noqa: E402
from experiments.tables.schema import (  # noqa: E402
    connections_frame,
    flows_frame,
    requests_frame,
    samples_frame,
)

RUNS = Path(__file__).resolve().parent / "runs"
SYN_TIMEOUT_S, DATA_TIMEOUT_S = 1.0, 0.2
PACKETS_PER_RESPONSE = 14

Record = dict[str, Any]


def grid(seconds: float) -> float:
    """To the nearest 1/8192 s (0.12 ms): few distinct bits, so the stored files stay small."""
    return round(seconds * 8192) / 8192


def scenario(algorithm: str, loss_pct: float, delay_ms: float, seed: int) -> Scenario:
    link = {"loss_pct": loss_pct, "delay_ms": delay_ms, "rate_mbps": 100}
    return Scenario.model_validate(
        {
            "name": "golden",
            "algorithm": algorithm,
            "network": {"clients": 2, "backends": 4, "client_link": link},
            "workload": {"load": 0.5, "mean_demand_ms": 112, "timeout_ms": 800},
            "duration_s": 4,
            "warmup_s": 1,
            "seed": seed,
        }
    )


def simulate(asked: Scenario) -> tuple[list[Record], list[Record], list[Record]]:
    """Raw requests, balancer records and flow rows, times from the start of load."""
    arrivals = np.random.default_rng([asked.seed, 1])
    losses = np.random.default_rng([asked.seed, 2])
    picks = np.random.default_rng([asked.seed, 3])
    names = asked.backend_ids()
    link = asked.network.client_link
    lost = link.loss_pct / 100
    rtt_s = 2 * link.delay_ms / 1000 + 0.0003
    offered = []
    now_s = 0.0
    while (now_s := now_s + arrivals.exponential(1 / asked.offered_rps())) < asked.duration_s:
        demand_s = arrivals.exponential(asked.workload.mean_demand_ms / 1000)
        syn_retries = int(losses.geometric((1 - lost) ** 2)) - 1
        repeats = int(losses.binomial(PACKETS_PER_RESPONSE, lost))
        opened_s = now_s + SYN_TIMEOUT_S * (2**syn_retries - 1) + rtt_s
        offered.append((opened_s, now_s, demand_s, syn_retries, repeats))
    free_s, active = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
    departures: list[tuple[float, str]] = []
    requests: list[Record] = []
    connections: list[Record] = []
    flows: list[Record] = []
    for number, (opened_s, now_s, demand_s, syn_retries, repeats) in enumerate(sorted(offered)):
        while departures and departures[0][0] <= opened_s:
            active[heapq.heappop(departures)[1]] -= 1
        backend = choose(asked.algorithm, names, active, number, picks)
        start_s = max(opened_s, free_s[backend])
        free_s[backend] = start_s + demand_s
        active[backend] += 1
        heapq.heappush(departures, (free_s[backend], backend))
        done_s = free_s[backend] + rtt_s + 0.0018 + DATA_TIMEOUT_S * (repeats > 2)
        local = f"10.0.0.{1 + number % 2}:{33000 + number}"
        timeout_s = now_s + asked.workload.timeout_ms / 1000
        times = (now_s, opened_s, start_s, done_s, min(done_s, timeout_s), demand_s)
        requests.append(request_record(number, local, backend, times, done_s < timeout_s))
        connections.append(connection_record(number, local, backend, opened_s, done_s))
        flows.append(flow_row(number, times, rtt_s, syn_retries, repeats))
    return requests, connections, flows


def choose(
    algorithm: str,
    names: tuple[str, ...],
    active: dict[str, int],
    number: int,
    picks: np.random.Generator,
) -> str:
    if algorithm == "round_robin":
        return names[number % len(names)]
    if algorithm == "least_conn":
        return min(names, key=lambda name: (active[name], picks.random()))
    return names[picks.integers(len(names))]


def request_record(
    number: int, local: str, backend: str, times: tuple[float, ...], answered: bool
) -> Record:
    now_s, opened_s, start_s, done_s, ended_s, demand_s = times
    return {
        "client": f"c{1 + number % 2}",
        "seq": number // 2,
        "intended_s": grid(now_s),
        "sent_s": grid(now_s),
        "connected_s": grid(opened_s) if answered else None,
        "first_byte_s": grid(done_s - 0.0018) if answered else None,
        "ended_s": grid(ended_s),
        "status": "ok" if answered else "timeout",
        "backend": backend if answered else None,
        "demand_ms": 1000 * grid(demand_s),
        "wait_ms": 1000 * grid(start_s - opened_s) if answered else None,
        "service_ms": 1000 * grid(demand_s) if answered else None,
        "response_bytes": 20_000,
        "bytes_received": 20_000 if answered else 0,
        "local": local,
    }


def connection_record(
    number: int, local: str, backend: str, opened_s: float, done_s: float
) -> Record:
    return {
        "id": number,
        "rule": "experiment",
        "listener": "10.0.0.3:80",
        "client": local,
        "backend": backend,
        "backend_address": f"10.0.0.{3 + int(backend[1:])}:8080",
        "upstream_local": f"10.0.0.3:{41000 + number}",
        "opened_s": grid(opened_s),
        "closed_s": grid(done_s),
        "connect_ms": 0.4,
        "first_byte_ms": 1000 * grid(done_s - opened_s),
        "duration_ms": 1000 * grid(done_s - opened_s),
        "bytes_up": 32,
        "bytes_down": 20_000,
        "backends_tried": [backend],
        "close_reason": "client_closed",
    }


def flow_row(
    number: int, times: tuple[float, ...], rtt_s: float, syn_retries: int, repeats: int
) -> Record:
    now_s, *_, ended_s, _demand_s = times
    down = PACKETS_PER_RESPONSE + repeats + 3
    return {
        "capture_point": "lb",
        "client_address": f"10.0.0.{1 + number % 2}",
        "client_port": 33000 + number,
        "server_address": "10.0.0.3",
        "server_port": 80,
        "first_s": grid(now_s),
        "last_s": grid(ended_s),
        "duration_s": grid(ended_s - now_s),
        "packets_up": 12 + syn_retries,
        "packets_down": down,
        "wire_bytes_up": 66 * 12 + 32,
        "wire_bytes_down": 20_000 + 66 * down + 1448 * repeats,
        "payload_bytes_up": 32,
        "payload_bytes_down": 20_000 + 1448 * repeats,
        "retransmissions_up": 0,
        "retransmissions_down": repeats,
        "out_of_order_up": 0,
        "out_of_order_down": 0,
        "syn_retries": syn_retries,
        "synack_retries": 0,
        "handshake_rtt_ms": None if syn_retries else 1000 * grid(rtt_s),
        "ended": "fin",
    }


def in_flight_samples(requests: list[Record], duration_s: float) -> list[Record]:
    sent = np.array([record["intended_s"] for record in requests])
    done = np.array([record["ended_s"] for record in requests])
    who = np.array([record["client"] for record in requests])
    return [
        {
            "t_s": float(t),
            "client": name,
            "in_flight": int(((sent <= t) & (t < done))[who == name].sum()),
        }
        for t in np.arange(0, duration_s, 0.5)
        for name in ("c1", "c2")
    ]


def calibration(asked: Scenario, flows: list[Record]) -> Record:
    link = asked.network.client_link
    seen = sum(row["packets_down"] for row in flows)
    lost = sum(row["retransmissions_down"] for row in flows)
    names = ("link", "quantity", "asked", "measured", "low", "high", "unit", "ok")
    rtt_ms = 2 * link.delay_ms
    rows: list[tuple[Any, ...]] = []
    for client in ("c1", "c2"):
        rows += [
            (f"{client}-s1", "median RTT", rtt_ms, rtt_ms + 0.3, rtt_ms, rtt_ms + 1, " ms", True),
            (f"{client}->s1", "rate", 100.0, 96.1, 90.0, 101.0, " Mbit/s", True),
            (f"s1->{client}", "rate", 100.0, 96.1, 90.0, 101.0, " Mbit/s", True),
        ]
    loss = (link.loss_pct, 100 * lost / seen, 0.0, 100.0, " %", True)
    rows.append(("s1->c1", f"loss of {seen} packets", *loss))
    checks = [dict(zip(names, row, strict=True)) for row in rows]
    return {"valid": True, "reasons": [], "link_method": "simulated", "checks": checks}


def write(asked: Scenario, folder: Path) -> None:
    requests, connections, flows = simulate(asked)
    writer = RunWriter(folder)
    facts = manifest(
        asked.model_dump(mode="json"), {"method": "simulated"}, argv=["make_golden.py"]
    )
    kept = ("argv", "scenario", "scenario_sha256", "seeds", "network")
    made = {"started_utc": f"2024-06-07T12:00:{asked.seed:02d}+00:00"}
    writer.write_manifest({key: facts[key] for key in kept} | made)
    writer.write_calibration(calibration(asked, flows))
    writer.write_table("requests", requests_frame(requests, 0.0))
    samples = in_flight_samples(requests, asked.duration_s)
    writer.write_table("samples", samples_frame(samples, 0.0))
    if asked.seed == 3 and link_is_worst(asked):
        balancer = connections_frame(connections, 0.0)
        writer.write_table("connections", balancer)
        writer.write_table("flows", join_backends(flows_frame(flows), balancer))
    writer.write_verdict({"valid": True, "reasons": [], "checks": []})


def link_is_worst(asked: Scenario) -> bool:
    link = asked.network.client_link
    return link.loss_pct == 3 and link.delay_ms == 25


def main() -> None:
    shutil.rmtree(RUNS, ignore_errors=True)
    for algorithm in ("least_conn", "random"):
        for loss_pct in (0.0, 3.0):
            for delay_ms in (5.0, 25.0):
                for seed in (1, 2, 3):
                    name = f"{algorithm}-loss{loss_pct:g}-delay{delay_ms:g}-seed{seed}"
                    write(scenario(algorithm, loss_pct, delay_ms, seed), RUNS / "golden" / name)


if __name__ == "__main__":
    main()
