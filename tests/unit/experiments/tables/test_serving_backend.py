from typing import Any

import pandas as pd

from experiments.analysis.fairness import load_per_backend
from experiments.tables.schema import connections_frame, requests_frame
from experiments.tables.serving_backend import name_backends


def request(seq: int, backend: str | None, local: str | None = None, **more: Any) -> dict[str, Any]:
    connected_s = None if local is None else float(seq)
    row = {"client": "c1", "seq": seq, "intended_s": float(seq), "connected_s": connected_s}
    status = "ok" if backend else "timeout"
    return {**row, "backend": backend, "local": local, "status": status, **more}


def connection(client: str, backend: str | None, opened_s: float) -> dict[str, Any]:
    return {
        "id": 1,
        "client": client,
        "backend": backend,
        "opened_s": opened_s,
        "closed_s": opened_s,
    }


def named(requests: list[dict[str, Any]], connections: list[dict[str, Any]]) -> pd.DataFrame:
    return name_backends(requests_frame(requests, 0.0), connections_frame(connections, 0.0))


def test_a_request_without_an_answer_has_the_backend_that_it_was_given_to() -> None:
    frame = named(
        [request(0, "b1", "c:1"), request(1, None, "c:2"), request(9, None, "c:1")],
        [connection("c:1", "b1", 0.1), connection("c:2", "b2", 1.1), connection("c:1", "b3", 9.1)],
    )
    assert frame["backend"].to_list() == ["b1", "b2", "b3"]


def test_a_request_that_reached_no_backend_has_none() -> None:
    frame = named([request(0, None), request(1, None, "c:2")], [connection("c:2", None, 1.1)])
    assert frame["backend"].isna().all()
    assert named([request(0, None, "c:1")], [])["backend"].isna().all()
    assert named([], []).empty


def test_the_clients_own_account_wins() -> None:
    frame = named([request(0, "b1", "c:1")], [connection("c:1", "b2", 0.1)])
    assert frame["backend"].to_list() == ["b1"]


def test_a_backend_that_is_given_too_much_shows_although_it_answers_no_more_than_others() -> None:
    given = ["b1"] * 30 + ["b2"] * 10
    requests = [
        request(i, name if i >= 20 else None, f"c:{i}", ended_s=i + 1.0, bytes_received=0)
        for i, name in enumerate(given)
    ]
    connections = [connection(f"c:{i}", name, i + 0.1) for i, name in enumerate(given)]
    frame = named(requests, connections)
    load = load_per_backend(frame, connections_frame(connections, 0.0), ["b1", "b2"], (0.0, 40.0))
    assert load["requests"].to_list() == [30, 10]
