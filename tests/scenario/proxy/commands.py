"""`nginy` as its users call it: a process of its own."""

import subprocess
import sys

TIMEOUT_S = 20


def nginy(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nginy", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
