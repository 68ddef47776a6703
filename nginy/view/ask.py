"""What a running process does, asked over its Unix socket."""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from nginy.config.parse import suggestion
from nginy.errors import NginyError
from nginy.server.status_socket import SCHEMA_VERSION
from nginy.view.text import printable

TIMEOUT_S = 30.0
"""Of an answer: a busy process with many backends takes a while."""

Document = dict[str, Any]
"""An answer: `nginy.traffic.status.Status`, and what `nginy.server.status_socket` adds."""


class NoStatus(NginyError):
    """There is no answer, or none that can be read."""


class NobodyThere(NoStatus):
    """Nobody serves that socket."""


async def ask(at: Path) -> Document:
    """The answer of the process that serves the socket `at`.

    Raises NobodyThere, or another NoStatus; both name the place.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            answer = await _answer(at)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NobodyThere(f"no process answers at {at}") from None
    except PermissionError:
        raise NoStatus(f"{at}: no permission; ask as the user of the process (sudo)") from None
    except TimeoutError:
        raise NoStatus(f"{at}: no answer within {TIMEOUT_S:g} s") from None
    except (OSError, ValueError) as error:
        raise NoStatus(f"{at}: {error}") from None
    return _document(at, answer)


async def _answer(at: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(at))
    try:
        return await reader.read()
    finally:
        writer.close()


def _document(at: Path, answer: bytes) -> Document:
    try:
        document = orjson.loads(answer)
        version = document["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise NoStatus(f"{at}: {len(answer)} bytes that are no whole status") from None
    if version != SCHEMA_VERSION:
        raise NoStatus(f"{at}: a status of version {version}; this program reads {SCHEMA_VERSION}")
    found: Document = document
    return found


def of_rule(document: Document, name: str) -> Document:
    """That rule alone. Raises NoStatus if there is none."""
    names = [rule["name"] for rule in document["rules"]]
    if name not in names:
        known = ", ".join(map(printable, names))
        raise NoStatus(f"no rule is called {name!r}{suggestion(name, names)} (one of {known})")
    return {**document, "rules": [document["rules"][names.index(name)]]}
