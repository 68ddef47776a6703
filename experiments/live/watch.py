"""A run in the terminal: the page's frames, drawn by rich."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from experiments.live.aggregate import film_of
from experiments.live.frame import BackendFrame, Frame, Scene, told
from experiments.live.player import SPEEDS, Command, Player
from experiments.live.reel import Reel
from experiments.tables.dataset import Run
from nginy.view.text import sparks

DRAWN_PER_S = 2
SAID_EVERY_S = 5.0
_SPARKS = 24
_STEP_S = 5.0
_HINT = Text("space: pause · ← →: 5 s · + -: speed · q: leave", style="dim")


def watch(run: Run, console: Console, speed: int) -> None:
    """Until its end, or `q`; without a terminal a line for every 5 s of the run, at once."""
    scene, frames = film_of(run)
    if not console.is_terminal:
        for line in lines(scene, frames):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        return
    reel = Reel(scene)
    with console.status(f"reading {scene.run_id}"):
        for frame in frames:
            reel.add(frame.model_dump_json())
    reel.done = True
    _play(Player([reel], time.monotonic, name="watch", speed=speed), console)


def lines(scene: Scene, frames: Iterator[Frame]) -> Iterator[str]:
    """One per 5 s of the run, and the last frame."""
    due_s = SAID_EVERY_S
    said = 0
    for frame in frames:
        if frame.t_s >= due_s or frame.t_s >= scene.end_s:
            due_s += SAID_EVERY_S
            events = "".join(f"; {each.label} at {each.t_s:.1f} s" for each in frame.events[said:])
            said = len(frame.events)
            yield line_of(frame) + events
    yield f"whole run: {totals(frame)}; {verdict(scene)}"


def line_of(frame: Frame) -> str:
    """One moment in one line."""
    rates = ", ".join(
        f"{each.name} {each.rps:.0f}/s" + ("" if each.state == "up" else f" {each.state}")
        for each in frame.backends
    )
    latency = frame.latency
    return (
        f"{frame.t_s:5.1f} s  p50 {told(latency.p50)}, p99 {told(latency.p99)}, "
        f"{latency.unanswered} of {latency.requests} unanswered; {rates}"
    )


def totals(frame: Frame) -> str:
    """The numbers over the measured interval so far."""
    found = frame.totals
    rate = "" if found.completed_rps is None else f", {found.completed_rps:.1f} answered per s"
    fair = found.fairness
    jain = "" if fair.jain is None else f", Jain {fair.jain:.4f} ({fair.evenness})"
    return (
        f"{found.requests} requests, {found.unanswered} unanswered{rate}, p50 {told(found.p50)}, "
        f"p95 {told(found.p95)}, p99 {told(found.p99)}{jain}"
    )


def verdict(scene: Scene) -> str:
    """Valid or not, in words."""
    word = {True: "valid", False: "NOT VALID", None: "not judged"}[scene.valid]
    return f"{word}; {scene.statement}" if scene.statement else word


def picture(scene: Scene, reel: Reel, player: Player) -> Group:
    """What the terminal shows of this moment."""
    place = reel.place(player.t_s)
    frame = reel.frames[place]
    table = Table("backend", "state", "since", "weight", "share", "open", "queue", "answered/s", "")
    table.add_column("p99")
    table.add_column("failed")
    recent = reel.points[max(0, place - _SPARKS + 1) : place + 1]
    for number, each in enumerate(frame.backends):
        rates = [point["rps"][number] for point in recent]
        table.add_row(*_row(each, scene, rates))
    clock = f"{frame.t_s:.1f} of {scene.end_s:.1f} s, {player.speed}x"
    head = Text(f"{scene.algorithm}, seed {scene.seed}: {clock}", style="bold")
    if player.paused:
        head.append("  PAUSED")
    fair = frame.fairness
    said = (
        "fairness: too few requests since the last fault"
        if fair.jain is None or fair.low is None
        else f"Jain {fair.jain:.4f}, by chance above {fair.low:.4f}: {fair.evenness}"
    )
    latest = "; ".join(f"{each.t_s:.1f} s {each.label}" for each in frame.events[-3:])
    return Group(
        head,
        table,
        Text(line_of(frame).partition(";")[0] + f", {frame.in_flight} under way"),
        Text(said),
        Text(f"faults: {latest or 'none yet'}"),
        Text(f"so far: {totals(frame)}"),
        Text(verdict(scene), style="dim"),
    )


def _row(each: BackendFrame, scene: Scene, rates: list[float]) -> list[str]:
    style = "" if each.up else "[red]✕ "
    share = "–" if each.share is None else f"{each.share:.0%}"
    return [
        each.name,
        f"{style}{each.state}",
        f"{each.since_s:.1f} s",
        f"{scene.weights[each.name]:g}",
        share,
        *("–" if value is None else str(value) for value in (each.open, each.queue)),
        f"{each.rps:.0f}",
        sparks(rates),
        told(each.p99),
        str(each.failed),
    ]


def _play(player: Player, console: Console) -> None:
    (reel,) = player.reels
    with (
        _keys() as key,
        Live(console=console, auto_refresh=False, transient=True) as shown,
    ):
        while player.t_s < player.end_s or player.paused:
            now = Group(picture(reel.scene, reel, player), _HINT)
            shown.update(now, refresh=True)
            pressed = key(1 / DRAWN_PER_S)
            if pressed == "q":
                return
            obey(player, pressed)
    console.print(picture(reel.scene, reel, player))


def obey(player: Player, pressed: str) -> None:
    """What a key does to the clock."""
    place = SPEEDS.index(player.speed)
    if pressed == " ":
        player.obey(Command(paused=not player.paused))
    elif pressed in "+-" and pressed:
        place += 1 if pressed == "+" else -1
        speed = SPEEDS[max(0, min(place, len(SPEEDS) - 1))]
        player.obey(Command.model_validate({"speed": speed}))
    elif pressed in ("\x1b[D", "\x1b[C"):
        step_s = _STEP_S if pressed == "\x1b[C" else -_STEP_S
        player.obey(Command(seek_s=max(0.0, player.t_s + step_s)))


@contextmanager
def _keys() -> Iterator["Wait"]:
    """The keyboard without echo; what it gives waits so long for a key."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield _key
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


Wait = Callable[[float], str]


def _key(seconds: float) -> str:
    """A key or an arrow's whole sequence; empty if none was pressed."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return os.read(sys.stdin.fileno(), 8).decode(errors="replace") if ready else ""


def _no_key(seconds: float) -> str:
    time.sleep(seconds)
    return ""
