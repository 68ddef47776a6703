"""A check by an external program: exit status 0 is success."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from nginy.address import Address
from nginy.errors import BackendError
from nginy.watch.check import blame, within


async def check_command(
    command: Sequence[str], backend_id: str, address: Address, timeout_s: float
) -> None:
    """Run `command`, whose environment says what to check: NGINY_BACKEND (the id), NGINY_HOST (the
    IP address or the path of the Unix socket), NGINY_PORT (empty for a Unix socket).

    What takes longer is killed, with all its children that stayed in its process group.
    Raises BackendError or CheckImpossible.
    """
    environment = os.environ | {
        "NGINY_BACKEND": backend_id,
        "NGINY_HOST": address.host,
        "NGINY_PORT": str(address.port or ""),
    }
    quiet = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise blame(error) from None
    try:
        async with within(timeout_s):
            status = await process.wait()
    finally:
        await _end(process)
    if status:
        raise BackendError(_meaning(status))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what still runs: until it is waited for, its number is nobody else's."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _meaning(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"killed by signal {-status}"
