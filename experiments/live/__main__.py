"""`python -m experiments.live RUN...`: the page's own process, and one more per run that makes its
frames, so that neither the analysis' libraries nor its work are in this one."""

import argparse
import asyncio
import os
import secrets
import sys
import time
from contextlib import suppress

from experiments.live.frame import Scene
from experiments.live.player import SPEEDS, Player
from experiments.live.reel import Reel
from experiments.live.server import application
from nginy.view.door import listen, url
from nginy.view.door import serve as serve_page
from nginy.view.guard import Guard

MOST_LINE_BYTES = 1 << 20
NICE = 10


async def serve(runs: list[str], address: str, port: int, speed: int) -> None:
    """Until Ctrl-C."""
    try:
        door = listen(address, port)
    except OSError as error:
        sys.exit(f"error: {error}")
    makers = [await _maker(run) for run in runs]
    try:
        reels = [Reel(Scene.model_validate_json(await _line(maker))) for maker in makers]
        guard = Guard.at(address)
        player = Player(reels, time.monotonic, name=secrets.token_hex(4), speed=speed)
        print(f"open {url(door, guard)}  (Ctrl-C ends it)", flush=True)
        pairs = zip(makers, reels, strict=True)
        filling = [asyncio.create_task(_fill(maker, reel)) for maker, reel in pairs]
        await serve_page(application(player, guard), door)
        for task in filling:
            task.cancel()
    finally:
        for maker in makers:
            if maker.returncode is None:
                maker.terminate()


async def _maker(run: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "experiments", "frames", run),
        stdout=asyncio.subprocess.PIPE,
        limit=MOST_LINE_BYTES,
    )


async def _line(maker: asyncio.subprocess.Process) -> bytes:
    assert maker.stdout is not None
    line = await maker.stdout.readline()
    if not line:
        sys.exit(1)  # it has said why
    return line


async def _fill(maker: asyncio.subprocess.Process, reel: Reel) -> None:
    assert maker.stdout is not None
    async for line in maker.stdout:
        reel.add(line.decode())
    reel.done = True
    if await maker.wait():
        reel.problem = "the frames of this run end here: its tables could not be read further"


def main() -> None:
    """The command line of `experiments demo`, which has checked the runs."""
    parser = argparse.ArgumentParser(prog="python -m experiments.live")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--speed", type=int, choices=SPEEDS, default=1)
    asked = parser.parse_args()
    os.nice(NICE)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(asked.runs, asked.listen, asked.port, asked.speed))


if __name__ == "__main__":
    main()
