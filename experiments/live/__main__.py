"""`python -m experiments.live RUN...`: the page's own process, and one more per run that makes its
frames, so that neither the analysis' libraries nor its work are in this one."""

import argparse
import asyncio
import os
import secrets
import sys
import time
from contextlib import suppress

from experiments.live.frame import Scene, is_scene
from experiments.live.player import SPEEDS, Player
from experiments.live.reel import Reel
from experiments.live.server import application
from experiments.plan.click import Click
from nginy.view.door import listen, url
from nginy.view.door import serve as serve_page
from nginy.view.guard import Guard

MOST_LINE_BYTES = 1 << 20
NICE = 10


async def serve(asked: argparse.Namespace) -> None:
    """Until Ctrl-C."""
    address: str = asked.listen
    try:
        door = listen(address, asked.port)
    except OSError as error:
        sys.exit(f"error: {error}")
    guard = Guard.at(address)
    # Whoever comes before there is a scene waits for it. What faults are asked for goes to stdout.
    where = sys.stderr if asked.live else sys.stdout
    print(f"open {url(door, guard)}  (Ctrl-C ends it)", file=where, flush=True)
    makers = [await _maker(run, live=asked.live) for run in asked.runs]
    try:
        reels = [Reel(Scene.model_validate_json(await _line(maker))) for maker in makers]
        player = Player(reels, time.monotonic, name=secrets.token_hex(4), speed=asked.speed)
        pairs = zip(makers, reels, strict=True)
        filling = [asyncio.create_task(_fill(maker, reel, player)) for maker, reel in pairs]
        await serve_page(application(player, guard, faults=_hand_on if asked.live else None), door)
        for task in filling:
            task.cancel()
    finally:
        for maker in makers:
            if maker.returncode is None:
                maker.terminate()


def _hand_on(fault: Click) -> None:
    # The run may have ended; then nobody reads any more.
    with suppress(BrokenPipeError):
        print(fault.model_dump_json(), flush=True)


async def _maker(run: str, *, live: bool) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "experiments", "frames", run, *(["--follow"] if live else [])),
        stdout=asyncio.subprocess.PIPE,
        limit=MOST_LINE_BYTES,
    )


async def _line(maker: asyncio.subprocess.Process) -> bytes:
    assert maker.stdout is not None
    line = await maker.stdout.readline()
    if not line:
        sys.exit(1)  # it has said why
    return line


async def _fill(maker: asyncio.subprocess.Process, reel: Reel, player: Player) -> None:
    """Of a run that was being made a second scene comes when it has been: its frames from the
    beginning, shown when all are there."""
    assert maker.stdout is not None
    shown = reel
    async for line in maker.stdout:
        if is_scene(line):
            reel = Reel(Scene.model_validate_json(line))
        else:
            reel.add(line.decode())
    reel.done = True
    if reel is not shown:
        player.replace(shown, reel)
    if await maker.wait():
        reel.problem = "the frames of this run end here: its tables could not be read further"


def main() -> None:
    """The command line of `experiments demo`, which has checked the runs."""
    parser = argparse.ArgumentParser(prog="python -m experiments.live")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--speed", type=int, choices=SPEEDS, default=1)
    parser.add_argument("--live", action="store_true", help="the run is being made")
    asked = parser.parse_args()
    os.nice(NICE)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(asked))


if __name__ == "__main__":
    main()
