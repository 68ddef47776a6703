"""`sudo mn --custom topologies/mn.py`: links as asked, by netem, or a refusal to pretend."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from topologies.emulate import probe

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("mn") is None, reason="no mn here"),
]
ROOT = Path(__file__).resolve().parents[2]
# In namespaces of its own, processes too: what mn cleans up after itself (it does so by name) is
# then its own alone.
ALONE = ["unshare", "--net", "--pid", "--fork", "--mount", "--mount-proc"]
MN = ["mn", "--custom", "topologies/mn.py", "--switch", "lxbr", "--controller", "none"]


def mininet(commands: str) -> str:
    words = [*ALONE, *MN, "--topo", "nginy_star,clients=1,backends=1"]
    done = subprocess.run(
        words, input=commands, capture_output=True, text=True, cwd=ROOT, timeout=90
    )
    return done.stdout + done.stderr


def test_mininet_has_the_links_that_were_asked_by_netem_or_says_that_it_cannot():
    said = mininet("c1 ping -n -c 5 -i 0.2 b1\nexit\n")
    if probe.problem_of("netem"):
        assert "this kernel has no netem" in said
        assert "time=" not in said
        return
    times_ms = sorted(float(each) for each in re.findall(r"time=([\d.]+)", said))
    assert len(times_ms) == 5
    assert 19.8 < times_ms[2] < 40
