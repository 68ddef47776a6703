import io
import subprocess
import sys

from rich.console import Console

from experiments.analysis.summary import summarise
from experiments.live.frame import Frame
from experiments.live.player import Player
from experiments.live.watch import lines, obey, picture, watch
from nginy.view.text import sparks
from tests.unit.experiments.live.reels import golden, recorded, reel_of
from tests.unit.experiments.live.test_player import Clock


def shown(player: Player, reel_number: int = 0) -> str:
    reel = player.reels[reel_number]
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(picture(reel.scene, reel, player))
    return console.export_text()


def test_without_a_terminal_there_is_a_line_for_every_five_seconds() -> None:
    reel = reel_of(recorded("least_conn"))
    said = list(lines(reel.scene, iter(reel.frames)))
    assert len(said) == 10
    assert said[0].startswith("  5.0 s  p50 ")
    assert "b2 0/s killed" in said[1]
    assert said[1].endswith("; kill b2 at 5.0 s")
    assert sum("kill b2 at" in line for line in said) == 1


def test_its_last_line_has_the_numbers_of_the_runs_table() -> None:
    out = io.StringIO()
    watch(golden(), Console(file=out, width=300), speed=1)
    table = summarise(golden())
    last = out.getvalue().strip().splitlines()[-1]
    assert f"{table['requests']} requests" in last
    assert f"p50 {table['p50_ms']:.1f} ms" in last
    assert f"Jain {table['jain']:.4f}" in last


def test_the_picture_says_what_is_dead_in_words_and_where_the_clock_is() -> None:
    clock = Clock()
    player = Player([reel_of(recorded("least_conn"))], clock, name="test")
    clock.now_s += 8
    text = shown(player)
    assert "✕ killed" in text
    assert "8.0 of 40.1 s, 1x" in text
    assert "5.0 s kill b2" in text


def test_keys_change_the_clock() -> None:
    clock = Clock()
    player = Player([reel_of(golden())], clock, name="test")
    clock.now_s += 1
    for key in (" ", "x", "", "\x1b[D"):
        obey(player, key)
    assert (player.paused, player.t_s) == (True, 0.0)
    assert "PAUSED" in shown(player)
    for key in ("+", "+", "-", "\x1b[C"):
        obey(player, key)
    assert (player.speed, player.t_s) == (2, player.end_s)
    for _ in range(9):
        obey(player, "-")
    assert player.speed == 1


def test_bars_are_as_high_as_their_values() -> None:
    assert sparks([0, 10, 20]) == "▁▅█"
    assert sparks([0, 0]) == "▁▁"
    assert sparks([]) == ""


def test_frames_come_as_json_lines_from_a_process_of_their_own() -> None:
    command = [sys.executable, "-m", "experiments", "frames", str(golden().path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    _, *frames = done.stdout.splitlines()
    reel = reel_of(golden())
    assert [Frame.model_validate_json(line) for line in frames] == reel.frames
