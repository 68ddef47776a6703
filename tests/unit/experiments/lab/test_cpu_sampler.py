"""What a process had of the processors."""

import os
import time

from experiments.lab.cpu_sampler import CPU, WAITED, CpuSampler


def test_a_process_and_one_that_has_ended() -> None:
    sampler = CpuSampler(lambda: {"own": os.getpid(), "gone": 2**22 + 1})
    before_s = time.process_time()
    sampler.sample()
    sampler.sample()  # not due yet
    rows = {row["quantity"]: row for row in sampler.samples}
    assert len(sampler.samples) == 2
    assert {row["source"] for row in sampler.samples} == {"own"}
    assert rows.keys() == {CPU, WAITED}
    assert rows[CPU]["value"] > 0.5 * before_s
