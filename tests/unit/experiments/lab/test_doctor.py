import io

import pytest
from rich.console import Console

from experiments.lab import doctor
from experiments.lab.doctor import Finding


def test_missing_programs_are_named_with_the_package_that_has_them():
    finding = doctor.tools(lambda name: None if name in ("tc", "ip", "ping") else f"/bin/{name}")
    assert finding.state == "missing"
    assert "no ip, tc, ping" in finding.text
    assert finding.text.endswith("apt-get install iproute2 iputils-ping")
    assert doctor.tools(lambda name: f"/bin/{name}").state == "ok"


@pytest.mark.parametrize(
    ("netem", "nfqueue", "states", "said"),
    [
        (None, None, ["ok"], "kernel netem works"),
        (None, "no", ["ok"], "kernel netem works"),
        ("kind is unknown", None, ["note", "ok"], "NFQUEUE"),
        ("kind is unknown", "no match", ["note", "missing"], "no match"),
    ],
)
def test_links_fall_back_to_the_emulator_and_then_to_a_clear_word(netem, nfqueue, states, said):
    findings = doctor.links({"netem": netem, "nfqueue": nfqueue})
    assert [finding.state for finding in findings] == states
    assert said in findings[-1].text


@pytest.mark.parametrize(
    ("count", "load", "state"), [(1, 0, "note"), (2, 0.2, "ok"), (2, 1.5, "note"), (8, 3, "ok")]
)
def test_processors(count, load, state):
    assert doctor.processors(count, load).state == state


def test_little_memory_is_a_note():
    assert doctor.memory(500).state == "note"
    assert doctor.memory(5000).state == "ok"


def test_congestion_control_needs_cubic_whatever_the_default():
    all_three = ["reno", "bbr", "cubic"]
    assert doctor.congestion_control(all_three, "bbr", permitted=True).state == "ok"
    assert doctor.congestion_control(["reno", "bbr"], "bbr", permitted=True).state == "missing"
    forbidden = doctor.congestion_control(all_three, "bbr", permitted=False)
    assert forbidden.state == "missing"
    assert "tcp_allowed_congestion_control" in forbidden.text


def test_the_verdict_follows_from_what_is_missing():
    out = io.StringIO()
    console = Console(file=out, width=200)
    assert doctor.show([Finding("a", "ok", "[1 of 2]"), Finding("b", "note", "n")], console)
    assert not doctor.show([Finding("c", "missing", "no c")], console)
    text = out.getvalue()
    assert "a: [1 of 2]" in text
    assert "Experiments can run here." in text
    assert "Experiments cannot run here yet." in text


def test_the_report_looks_at_this_machine_without_failing():
    subjects = {finding.subject for finding in doctor.report()}
    assert {"root", "Mininet", "programs", "processors", "memory", "congestion control"} <= subjects
