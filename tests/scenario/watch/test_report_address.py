"""A port for load reports that a rule has, too: the start says so, and what to do."""

import random
import re

import pytest

from nginy.config.load import parse
from nginy.server.server import Server
from nginy.watch.monitors import ReportAddressError
from tests.scenario.watch.event_loop import run
from tests.scenario.watch.small_servers import closed_port

TEXT = """
backends: [{{id: a, address: "192.0.2.1:80"}}]
rules: [{{name: web, clients: ["0.0.0.0/0:{port}"], targets: [a]}}]
healthcheck_addr: "127.0.0.1:{port}"
"""


def test_it_names_both_and_what_to_do() -> None:
    port = closed_port().port

    async def scene() -> None:
        await Server(parse(TEXT.format(port=port), "f"), random.Random(1)).run()

    message = (
        f"healthcheck_addr 127.0.0.1:{port} (load reports) has the TCP port of web;"
        " give one of them another port, or leave healthcheck_addr out"
    )
    with pytest.raises(ReportAddressError, match=re.escape(message)):
        run(scene())
