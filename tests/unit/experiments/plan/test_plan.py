"""What clients are to send, kind by kind."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.plan.scenario import Scenario, ScenarioError, parse_scenario
from experiments.plan.workload.kinds import KINDS
from experiments.plan.workload.laws import EMPIRICAL, SIZE_LAWS, SizeLaw, Sizes
from experiments.plan.workload.plan import NONE, PLANNERS, ClientPlan, plan_frame
from experiments.plan.workload.streams import Phase, client_stream
from experiments.tables.schema import to_arrow

KIND_EXAMPLES: list[dict[str, Any]] = [
    {"kind": "requests"},
    {"kind": "requests", "profile": [{"until_s": 5, "factor": 0}, {"until_s": 9, "factor": 3}]},
    {"kind": "long_lived", "lifetime_s": 2},
    {"kind": "closed", "users": 7},
    {"kind": "closed", "sessions_per_s": 4},
    {"kind": "bulk", "direction": "both", "sizes": "web_search", "scale": 0.01},
    {"kind": "calls"},
]


def scenario(workload: dict[str, Any], **settings: Any) -> Scenario:
    protocol = "udp" if workload.get("kind") == "calls" else "tcp"
    return parse_scenario({"workload": workload, "protocol": protocol, **settings}, "test")


def test_every_kind_has_its_function() -> None:
    assert set(PLANNERS) == set(KINDS)


@pytest.mark.parametrize("workload", KIND_EXAMPLES, ids=str)
def test_a_plan_fits_its_table_and_is_the_seeds(workload: dict[str, Any]) -> None:
    asked = scenario(workload, seed=3)
    plans = asked.plans()
    frame = plan_frame(asked.clients(), plans)
    assert to_arrow("plan", frame).num_rows == sum(map(len, plans)) > 0
    assert frame.equals(plan_frame(asked.clients(), scenario(workload, seed=3).plans()))
    assert not frame.equals(plan_frame(asked.clients(), scenario(workload, seed=4).plans()))
    timed = frame["arrival_s"].notna()
    assert (frame["think_s"].notna() ^ timed).where(frame["user"] != NONE, True).all()
    assert frame.loc[timed, "arrival_s"].between(0, asked.duration_s).all()
    assert (frame["demand_us"] >= 0).all()


@pytest.mark.parametrize("workload", KIND_EXAMPLES, ids=str)
def test_nothing_but_the_seed_and_the_workload_changes_a_plan(workload: dict[str, Any]) -> None:
    first = scenario(workload, algorithm="round_robin")
    second = scenario(workload, algorithm="least_conn", network={"client_link": {"delay_ms": 40}})
    for one, other in zip(first.plans(), second.plans(), strict=True):
        assert np.array_equal(one.arrivals_s, other.arrivals_s, equal_nan=True)
        assert np.array_equal(one.demands_us, other.demands_us)


def test_long_lived_connections_carry_the_requests_of_the_open_loop() -> None:
    (one, *_), (other, *_) = (
        scenario({"kind": kind, "load": 0.6}).plans() for kind in ("requests", "long_lived")
    )
    assert np.array_equal(one.arrivals_s, other.arrivals_s)
    assert np.array_equal(one.demands_us, other.demands_us)
    counts = np.bincount(other.connections)
    assert len(counts) <= 16
    assert counts.max() > 3 * max(counts.min(), 1), "uneven"


def test_a_life_that_has_ended_goes_on_with_another_connection() -> None:
    (plan, *_) = scenario({"kind": "long_lived", "connections": 4, "lifetime_s": 3}).plans()
    slots = plan.connections % 4
    for slot in range(4):
        generations = plan.connections[slots == slot] // 4
        assert (np.diff(generations) >= 0).all()
        assert generations.max() > 2


def test_users_are_spread_and_each_waits_for_its_own_request() -> None:
    plans = scenario({"kind": "closed", "users": 7}, network={"clients": 3}).plans()
    assert [len(set(plan.users)) for plan in plans] == [3, 2, 2]
    for plan in plans:
        for user in set(plan.users):
            own = plan.users == user
            assert np.isnan(plan.arrivals_s[own]).tolist() == [False] + [True] * (own.sum() - 1)


def test_sessions_have_the_mean_length_asked() -> None:
    workload = {"kind": "closed", "sessions_per_s": 50, "requests_per_session": 4}
    plans = scenario(workload, duration_s=100).plans()
    lengths = np.concatenate([np.bincount(plan.users) for plan in plans])
    assert lengths.mean() == pytest.approx(4, rel=0.1)


def test_calls_are_even_and_both_ways() -> None:
    (plan, *_) = scenario({"kind": "calls", "calls_per_client": 3}, duration_s=5).plans()
    for flow in range(3):
        times_s = plan.arrivals_s[plan.connections == flow]
        assert np.diff(times_s) == pytest.approx(0.02)
    assert set(plan.request_bytes) == set(plan.response_bytes) == {160}


@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_bulk_offers_what_was_asked(direction: str) -> None:
    workload = {"kind": "bulk", "offered_mbps": 40, "sizes": "lognormal", "direction": direction}
    plans = scenario(workload, duration_s=600).plans()
    up, down = (
        sum(int(getattr(plan, name).sum()) for plan in plans) * 8 / 600 / 1e6
        for name in ("request_bytes", "response_bytes")
    )
    assert up + down == pytest.approx(40, rel=0.1)
    assert (up > 0, down > 0) == (direction != "down", direction != "up")


@given(
    seed=st.integers(0, 2**32),
    phases=st.lists(st.tuples(st.floats(0.1, 3), st.floats(0, 5)), max_size=4),
)
def test_a_profile_stretches_one_and_the_same_crowd(
    seed: int, phases: list[tuple[float, float]]
) -> None:
    ends = np.cumsum([length for length, _ in phases]).tolist()
    profile = [Phase(end, factor) for end, (_, factor) in zip(ends, phases, strict=True)]
    demand = scenario({}).workload.demand
    options = {"rate_per_s": 50.0, "duration_s": 10.0, "demand": demand}
    even = client_stream(seed, 0, **options).arrivals_s
    stream = client_stream(seed, 0, **options, profile=profile)
    assert (np.diff(stream.arrivals_s) >= 0).all()
    assert ((stream.arrivals_s >= 0) & (stream.arrivals_s <= 10)).all()
    begin_s = 0.0
    expected = 0.0
    for phase in [*profile, Phase(10.0, 1.0)]:
        end_s = min(phase.until_s, 10.0)
        expected += max(0.0, end_s - begin_s) * phase.factor
        begin_s = max(begin_s, end_s)
    count = int((even < expected).sum()) if expected <= 10 else None
    assert count is None or abs(len(stream.arrivals_s) - count) <= 1
    one = client_stream(seed, 0, **options, profile=[Phase(4.0, 1.0)]).arrivals_s
    assert one == pytest.approx(even)


@pytest.mark.parametrize("law", SIZE_LAWS)
def test_sizes_have_the_mean_of_their_law(law: SizeLaw) -> None:
    sizes = Sizes(law, mean_bytes=50_000, shape=1.5, spread=100, cv2=2)
    drawn = sizes.draw(np.random.default_rng(1), 400_000)
    assert drawn.mean() == pytest.approx(sizes.mean(), rel=0.05)
    assert drawn.min() >= 1


@pytest.mark.parametrize("law", sorted(EMPIRICAL))
def test_measured_sizes_have_the_measured_shares(law: SizeLaw) -> None:
    drawn = Sizes(law).draw(np.random.default_rng(2), 100_000)
    for size, share in EMPIRICAL[law][1:-1]:
        assert (drawn <= size).mean() == pytest.approx(share, abs=0.01)


def trace(folder: Path, **columns: list[Any]) -> Path:
    rows = {
        "time_s": [10.0, 11.0, 12.5],
        "client": ["a", "b", "a"],
        "request_bytes": [0, 10, 20],
        "response_bytes": [100, 200, 300],
        "demand_ms": [1.0, 2.0, 3.0],
        **columns,
    }
    path = folder / "trace.csv"
    pd.DataFrame({name: values for name, values in rows.items() if values}).to_csv(path)
    return path


def plans_of(path: Path, **workload: Any) -> tuple[ClientPlan, ...]:
    asked = scenario({"kind": "trace", "path": str(path), **workload}, network={"clients": 2})
    return asked.plans()


def test_a_trace_is_sent_as_it_says(tmp_path: Path) -> None:
    one, other = plans_of(trace(tmp_path), speedup=2)
    assert one.arrivals_s.tolist() == [0.0, 1.25]
    assert other.arrivals_s.tolist() == [0.5]
    assert one.response_bytes.tolist() == [100, 300]
    assert other.demands_us.tolist() == [2000]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"demand_ms": []}, "it has no column demand_ms"),
        ({"time_s": [1.0, -2.0, 3.0]}, "row 2: time_s is -2, expected 0 or more"),
        ({"request_bytes": ["x", "y", "z"]}, "not a number"),
    ],
)
def test_a_trace_that_cannot_be_used_is_named(
    tmp_path: Path, columns: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScenarioError, match=said):
        plans_of(trace(tmp_path, **columns))


def test_a_trace_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"workload.path .*nowhere.csv: cannot be read"):
        plans_of(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"workload": {"kind": "calls"}}, "workload.kind calls: needs protocol: udp"),
        ({"workload": {"kind": "bulk"}, "protocol": "udp"}, "workload.kind bulk: over TCP only"),
        ({"workload": {"kind": "closed"}, "protocol": "udp"}, "over TCP only"),
        ({"workload": {"kind": "dns"}}, "workload: .*expected tags: 'requests', 'long_lived'"),
        ({"workload": {"kind": "bulk", "load": 1}}, "workload.load: Extra inputs"),
        (
            {"workload": {"profile": [{"until_s": 5, "factor": 1}, {"until_s": 5, "factor": 2}]}},
            "each until_s must be later",
        ),
    ],
)
def test_what_makes_no_sense_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        parse_scenario(settings, "here.yaml")
