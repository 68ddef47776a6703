import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from experiments.live.player import Command, Player
from experiments.live.reel import Reel
from experiments.live.server import MOST_COMMAND_BYTES, application
from experiments.plan.click import Click
from nginy.view.guard import Guard
from tests import events
from tests.events import Reader
from tests.unit.experiments.live.reels import recorded, reel_of
from tests.unit.experiments.live.test_player import GOLDEN, Clock

HOST = "127.0.0.1:8080"
OWN = {"origin": f"http://{HOST}", "x-nginy": "page"}
JSON = {**OWN, "content-type": "application/json"}


def player_at(t_s: float, clock: Clock | None = None) -> Player:
    clock = clock or Clock()
    player = Player([GOLDEN], clock, name="test")
    clock.now_s += t_s
    return player


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of(Guard.at("127.0.0.1")) as client:
        yield client


def client_of(guard: Guard, player: Player | None = None) -> TestClient:
    app = application(player or player_at(0), guard)
    return TestClient(app, base_url=f"http://{HOST}", follow_redirects=False)


def test_every_answer_forbids_scripts_of_others(client: TestClient) -> None:
    for path in ("/", "/scenes", "/static/main.js", "/nothing"):
        policy = client.get(path).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy


@pytest.mark.parametrize(
    "host", ["evil.example:8080", "127.0.0.1.evil.example", "192.168.1.5:8080", "", "[::1", "a@b"]
)
def test_a_foreign_host_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/scenes", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:9", "[::1]:8080", "127.0.0.1"])
def test_a_name_of_this_machines_loopback_is_not(client: TestClient, host: str) -> None:
    assert client.get("/scenes", headers={"host": host}).status_code == 200


def test_an_address_that_others_reach_needs_the_token_and_keeps_it_in_a_cookie() -> None:
    guard = Guard.at("0.0.0.0")
    with client_of(guard) as client:
        for path in ("/", "/?token=wrong", "/scenes", "/events", "/static/main.js"):
            assert client.get(path).status_code == 403
        for path in ("/clock", "/faults"):
            assert client.post(path, json={}, headers=OWN).status_code == 403
        first = client.get(f"/?token={guard.token}")
        assert (first.status_code, first.headers["location"]) == (303, "/")
        kept = first.headers["set-cookie"].lower()
        assert "httponly" in kept
        assert "samesite=strict" in kept
        assert client.get("/").status_code == 200
        assert client.get("/scenes", headers={"host": "evil.example"}).status_code == 403


def test_two_servers_have_different_tokens_and_loopback_has_none() -> None:
    tokens = {Guard.at("192.168.1.5").token for _ in range(2)}
    assert len(tokens) == 2
    assert None not in tokens
    assert {Guard.at(address).token for address in ("127.0.0.1", "::1", "localhost")} == {None}


@pytest.mark.parametrize(
    "different",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": f"https://{HOST}"},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
    ],
    ids=str,
)
def test_a_command_of_another_page_changes_nothing(different: dict[str, str]) -> None:
    player = player_at(1)
    headers = {**OWN, "content-type": "application/json", **different}
    with client_of(Guard.at("127.0.0.1"), player) as client:
        assert client.post("/clock", content="{}", headers=headers).status_code == 403
        del headers["x-nginy"]
        assert client.post("/clock", content="{}", headers=headers | OWN_ORIGIN).status_code == 403
    assert not player.paused


OWN_ORIGIN = {"origin": OWN["origin"], "content-type": "application/json"}


def test_a_get_changes_nothing(client: TestClient) -> None:
    assert client.get("/clock", params={"paused": "true"}).status_code == 405


@pytest.mark.parametrize(
    "body", ["", "[]", "{", '{"speed": 3}', '{"seek_s": 1e999}', " " * (MOST_COMMAND_BYTES + 1)]
)
def test_a_bad_command_is_refused_and_the_clock_goes_on(body: str) -> None:
    player = player_at(1)
    headers = {**OWN, "content-type": "application/json"}
    with client_of(Guard.at("127.0.0.1"), player) as client:
        assert client.post("/clock", content=body, headers=headers).status_code == 400
    assert (player.paused, player.speed) == (False, 1)


def test_a_command_of_its_own_page_is_obeyed() -> None:
    player = player_at(1)
    with client_of(Guard.at("127.0.0.1"), player) as client:
        answer = client.post("/clock", json={"paused": True, "seek_s": 2}, headers=OWN)
    assert answer.json()["t_s"] == 2
    assert player.paused


def live_player() -> Player:
    reel = Reel(GOLDEN.scene.model_copy(update={"live": True}))
    for frame in GOLDEN.encoded[:5]:
        reel.add(frame)
    return Player([reel], Clock(), name="test")


KILL = {"action": "kill", "subject": "b1"}


def test_a_fault_of_its_own_page_is_handed_on_once() -> None:
    asked: list[Click] = []
    app = application(live_player(), Guard.at("127.0.0.1"), faults=asked.append)
    with TestClient(app, base_url=f"http://{HOST}") as client:
        assert client.post("/faults", json=KILL, headers=OWN).status_code == 200
        for body in ({"action": "kill", "subject": "b9"}, {"action": "explode"}, [], "kill b1"):
            assert client.post("/faults", json=body, headers=OWN).status_code == 400
        answer = client.post("/faults", json={**KILL, "subject": "b9"}, headers=OWN)
        assert answer.text.startswith("unknown host b9; there are: c1")
        assert client.post("/faults", content=" " * 2000, headers=JSON).status_code == 400
        assert client.get("/faults", params=KILL).status_code == 405
    assert [each.model_dump(exclude_none=True) for each in asked] == [KILL]


@pytest.mark.parametrize(
    "different",
    [{"origin": "http://evil.example"}, {"content-type": "text/plain"}, {"host": "evil.example"}],
    ids=str,
)
def test_a_fault_of_another_page_is_not(different: dict[str, str]) -> None:
    asked: list[Click] = []
    app = application(live_player(), Guard.at("127.0.0.1"), faults=asked.append)
    with TestClient(app, base_url=f"http://{HOST}") as client:
        answer = client.post("/faults", content=json.dumps(KILL), headers=JSON | different)
    assert answer.status_code == 403
    assert asked == []


def test_a_replay_takes_no_faults() -> None:
    """Neither one from the start, nor a run that has become one."""
    asked: list[Click] = []
    for faults in (None, asked.append):
        app = application(player_at(0), Guard.at("127.0.0.1"), faults=faults)
        with TestClient(app, base_url=f"http://{HOST}") as client:
            assert client.post("/faults", json=KILL, headers=OWN).status_code == 409
    assert asked == []


def test_no_file_beside_the_static_ones_is_served(client: TestClient) -> None:
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd"):
        assert client.get(path).status_code == 404


def reading(
    player: Player, steps: Callable[[Reader], Awaitable[None]], since: str = "", header: str = ""
) -> list[tuple[str, dict[str, Any]]]:
    """What a reader gets that opens a stream and goes through those steps: ids and data."""

    async def at_once(_seconds: float) -> None:
        await asyncio.sleep(0)

    async def read() -> list[bytes]:
        app = application(player, Guard.at("127.0.0.1"), pause=at_once)
        headers = ((b"last-event-id", header.encode()),) if header else ()
        return await events.read(app, HOST, steps, f"since={since}", headers)

    pairs = [event.decode().split("\n", 1) for event in asyncio.run(read())]
    return [
        (head.removeprefix("id: "), json.loads(data.removeprefix("data: "))) for head, data in pairs
    ]


def times(message: dict[str, Any]) -> list[float]:
    return [point["t"] for point in message["runs"][0]["points"]]


def test_a_late_reader_gets_all_points_so_far_and_then_only_new_ones() -> None:
    clock = Clock()
    player = player_at(2, clock)

    async def steps(reader: Reader) -> None:
        await reader.takes(2)
        clock.now_s += 0.5
        await reader.takes(2)

    (_, first), *_, (_, last) = reading(player, steps)
    assert first["runs"][0]["fresh"] is True
    assert times(first) == [0.25 * number for number in range(9)]
    assert last["runs"][0]["frame"]["t_s"] == 2.5
    assert last["runs"][0]["fresh"] is False


@pytest.mark.parametrize("by_header", [False, True])
def test_who_comes_back_gets_what_it_lacks(by_header: bool) -> None:
    clock = Clock()
    player = player_at(1, clock)

    async def one(reader: Reader) -> None:
        await reader.takes(1)

    ((event_id, _),) = reading(player, one)
    clock.now_s += 1
    known = {"header": event_id} if by_header else {"since": event_id}
    ((_, again),) = reading(player, one, **known)
    assert times(again) == [1.25, 1.5, 1.75, 2.0]
    assert again["runs"][0]["fresh"] is False


def test_a_slow_reader_gets_the_newest_frame_and_the_points_in_between() -> None:
    """While a message is on its way none is made; the next one is of the moment it is made in."""
    clock = Clock()
    player = player_at(0.25, clock)

    async def steps(reader: Reader) -> None:
        await reader.takes(1)
        for _ in range(50):  # the second message is made, and not taken
            await asyncio.sleep(0)
        for _ in range(8):
            clock.now_s += 0.25
            await asyncio.sleep(0)
        await reader.takes(2)

    _, (_, second), (_, third) = reading(player, steps)
    assert second["runs"][0]["frame"]["t_s"] == 0.25
    assert third["runs"][0]["frame"]["t_s"] == 2.25
    assert times(third) == [0.5 + 0.25 * number for number in range(8)]


def test_after_a_seek_backwards_everything_comes_anew() -> None:
    clock = Clock()
    player = player_at(3, clock)

    async def steps(reader: Reader) -> None:
        await reader.takes(2)
        player.obey(Command(seek_s=0.5, paused=True))
        await reader.takes(2)

    *_, (_, last) = reading(player, steps)
    found = [message for _, message in reading(player, steps) if message["runs"][0]["fresh"]]
    assert last["runs"][0]["frame"]["t_s"] == 0.5
    assert times(found[-1]) == [0.0, 0.25, 0.5]


def test_a_message_at_four_hertz_stays_small() -> None:
    reel = reel_of(recorded("least_conn"))
    largest = max(map(len, reel.encoded))
    assert len(reel.scene.hosts) == 8
    assert largest <= 4096
