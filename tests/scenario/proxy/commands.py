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


def without(library: str, *arguments: str) -> list[str]:
    """The command line of `nginy` where that library is not installed (empty: all are)."""
    program = f"import sys; sys.modules[{library!r}] = None; from nginy.cli import main; main()"
    return [sys.executable, "-u", "-c", program, *arguments]
