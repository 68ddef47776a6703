"""The page over ASGI: who may ask, what a reader gets, that a slow one gets the newest."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from nginy.view.ask import Document, NobodyThere
from nginy.view.guard import Guard
from nginy.view.observer import Observer
from nginy.view.page import STATIC, application
from tests import events
from tests.events import Reader
from tests.rules import one_rule
from tests.unit.view.documents import document, serve

HOST = "127.0.0.1:9901"


class Process:
    """A balancer that has ten more connections whenever it is asked; or is gone."""

    def __init__(self) -> None:
        self.world = one_rule({}, {}, strategy={"type": "round_robin"})
        self.gone = False

    async def ask(self) -> Document:
        if self.gone:
            raise NobodyThere("no process answers at /s")
        serve(self.world, 10)
        self.world.now += 1
        return document(self.world)


def observed(looks: int = 2, process: Process | None = None) -> Observer:
    observer = Observer((process or Process()).ask)

    async def look() -> None:
        for _ in range(looks):
            await observer.look()

    asyncio.run(look())
    return observer


def client_of(observer: Observer, guard: Guard | None = None) -> TestClient:
    app = application(observer, guard or Guard.at("127.0.0.1"))
    return TestClient(app, base_url=f"http://{HOST}", follow_redirects=False)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of(observed()) as client:
        yield client


def test_the_newest_frame_for_programs(client: TestClient) -> None:
    answer = client.get("/frame")
    assert answer.headers["content-type"] == "application/json"
    (rule,) = answer.json()["rules"]
    assert [each["picked"] for each in rule["backends"]] == [10, 10]
    assert rule["rates"]["picked"] == 10


def test_of_who_is_gone_the_problem_is_the_answer() -> None:
    process = Process()
    process.gone = True
    with client_of(observed(1, process)) as client:
        answer = client.get("/frame")
    assert (answer.status_code, answer.text) == (503, "no process answers at /s")


@pytest.mark.parametrize("path", ["/", "/frame", "/events", "/static/watch.js", "/nothing"])
def test_a_foreign_host_is_refused(client: TestClient, path: str) -> None:
    assert client.get(path, headers={"host": "evil.example:9901"}).status_code == 403


@pytest.mark.parametrize("path", ["/", "/frame", "/static/watch.js", "/nothing"])
def test_every_answer_forbids_scripts_of_others(client: TestClient, path: str) -> None:
    policy = client.get(path).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy


def test_nothing_can_be_changed(client: TestClient) -> None:
    for path in ("/", "/frame", "/events"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.request(method, path).status_code == 405


def test_an_address_that_others_reach_needs_the_token() -> None:
    guard = Guard.at("0.0.0.0")
    with client_of(observed(), guard) as client:
        for path in ("/", "/frame", "/events", "/static/watch.js"):
            assert client.get(path).status_code == 403
        assert client.get(f"/?token={guard.token}").status_code == 303
        assert client.get("/frame").status_code == 200


def test_no_file_beside_the_static_ones_is_served(client: TestClient) -> None:
    for path in ("/static/../page.py", "/static/%2e%2e/page.py", "/static//etc/passwd"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere_and_no_name_can_become_markup(path: Any) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    for foreign in ("http:", "https:", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval("):
        assert foreign not in text
    for inline in ("<script>", "<style", " style=", " onclick=", "document.write"):
        assert inline not in text


def read(
    steps: Callable[[Reader, Observer, Process], Awaitable[None]],
) -> list[dict[str, Any]]:
    """What a reader gets that goes through those steps."""

    async def run() -> list[bytes]:
        process = Process()
        observer = Observer(process.ask)
        app = application(observer, Guard.at("127.0.0.1"))
        return await events.read(app, HOST, lambda reader: steps(reader, observer, process))

    return [orjson.loads(event.removeprefix(b"data: ")) for event in asyncio.run(run())]


def picked(message: dict[str, Any]) -> str:
    (rule,) = message["picture"]["rules"]
    return str(rule["facts"][1])


def test_a_slow_reader_gets_the_newest_frame_and_none_in_between() -> None:
    async def steps(reader: Reader, observer: Observer, process: Process) -> None:
        await observer.look()
        await reader.takes(1)
        await observer.look()
        for _ in range(20):  # the second message is made, and not taken
            await asyncio.sleep(0)
        for _ in range(8):
            await observer.look()
            await asyncio.sleep(0)
        await reader.takes(2)

    first, second, third = read(steps)
    assert "10 picked" in picked(first)
    assert "20 picked" in picked(second)
    assert "100 picked" in picked(third)


def test_who_has_a_picture_is_not_sent_it_again() -> None:
    async def steps(reader: Reader, observer: Observer, process: Process) -> None:
        await observer.look()
        await reader.takes(1)
        process.gone = True
        await observer.look()
        await reader.takes(1)
        process.gone = False
        await observer.look()
        await reader.takes(1)

    first, gone, back = read(steps)
    assert first["picture"] is not None
    assert (gone["picture"], gone["problem"]) == (None, "no process answers at /s")
    assert back["picture"] is not None
    assert back["problem"] == ""


def test_a_message_stays_small() -> None:
    """Of two backends."""

    async def steps(reader: Reader, observer: Observer, process: Process) -> None:
        await observer.look()
        await reader.takes(1)

    (message,) = read(steps)
    assert len(orjson.dumps(message)) < 2048
