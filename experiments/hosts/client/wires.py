"""How a client's connection asks and is answered: this project's own protocol, or HTTP."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from experiments.hosts.client.request_record import RequestRecord
from experiments.hosts.process import HostPort
from experiments.wire import http
from experiments.wire.stream import Answer, Request, ResponseReader


class Part(NamedTuple):
    """Progress of one answer. None: the server does not say."""

    sequence: int
    served: bool
    """False: the backend's queue was full."""
    backend: str | None
    wait_ms: float | None
    service_ms: float | None
    payload_bytes: int
    """That came now."""
    complete: bool


class Wire(Protocol):
    """Of one connection."""

    def request(self, record: RequestRecord) -> bytes:
        """What to write for it."""

    def feed(self, data: bytes) -> Iterator[Part]:
        """What was read, in order. Raises ProtocolError."""


class OwnWire:
    """See `experiments.wire.stream`."""

    def __init__(self, target: HostPort) -> None:
        """The same wherever it goes."""
        self._responses = ResponseReader()

    def request(self, record: RequestRecord) -> bytes:
        """With the service demand."""
        demand_us = round((record.demand_ms or 0.0) * 1000)
        return Request(record.seq, demand_us, record.response_bytes, record.request_bytes).encode()

    def feed(self, data: bytes) -> Iterator[Part]:
        """With the backend's own account of its queue."""
        for part in self._responses.feed(data):
            header = part.header
            yield Part(
                header.sequence,
                header.answer == Answer.SERVED,
                header.backend_id,
                header.wait_us / 1000,
                header.service_us / 1000,
                part.payload_bytes,
                part.complete,
            )


class HttpWire:
    """See `experiments.wire.http`."""

    def __init__(self, target: HostPort) -> None:
        """`target` goes into the Host header."""
        self._host = str(target)
        self._answers = http.AnswerReader()

    def request(self, record: RequestRecord) -> bytes:
        """A GET."""
        self._answers.expect(record.seq, record.response_bytes)
        return http.encode_request(self._host, record.client, record.seq, record.response_bytes)

    def feed(self, data: bytes) -> Iterator[Part]:
        """Without waiting and service, of which HTTP says nothing."""
        for part in self._answers.feed(data):
            yield Part(
                part.sequence, True, part.backend, None, None, part.payload_bytes, part.complete
            )


WIRES: Mapping[str, Callable[[HostPort], Wire]] = {"own": OwnWire, "http": HttpWire}
"""By name on the load generator's command line."""
