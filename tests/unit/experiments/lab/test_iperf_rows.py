import json

import pytest

from experiments.lab.background import rows


def interval(start: float, end: float, mbps: float) -> dict[str, object]:
    bits = {"bits_per_second": mbps * 1e6, "seconds": end - start, "start": start, "end": end}
    return {"streams": [], "sum": bits}


def test_each_second_is_a_sample_at_its_middle_but_for_what_is_left_at_the_end() -> None:
    report = {"intervals": [interval(0, 1.0, 18), interval(1.0, 2.0, 20), interval(2.0, 2.1, 3)]}
    made = list(rows("c1>b1", 100.0, json.dumps(report), "received"))
    assert [row["t_s"] for row in made] == pytest.approx([100.5, 101.5])
    assert [row["value"] for row in made] == [18, 20]
    assert {(row["source"], row["quantity"]) for row in made} == {
        ("c1>b1", "background_received_mbps")
    }
