"""What the fronts of one emulated backend share: its queue, its speed, its latencies."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from experiments.hosts.backend.fifo_server import FifoServer, FifoState
from experiments.hosts.backend.latency_estimate import LatencyEstimate
from experiments.hosts.backend.speed_clock import SpeedClock
from experiments.wire.stream import Answer, Request, ResponseHeader

AnswerCallback = Callable[[ResponseHeader], None]


class Cancellable(Protocol):
    """A call to come."""

    def cancel(self) -> None:
        """Not any more."""


class Clock(Protocol):
    """An event loop, or virtual time."""

    def time(self) -> float:
        """Seconds."""

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Cancellable:
        """Call back then."""


@dataclass(eq=False, slots=True)
class _Job:
    """An admitted request. Starts and finishes in work time."""

    request: Request
    answer: AnswerCallback
    arrived_s: float
    found: int
    """Requests that were in flight when it came."""
    start_work_s: float
    finish_work_s: float
    timer: Cancellable | None = None


class EmulatedServer:
    """Spends time, not CPU: a request is answered when the queue says that it has been served."""

    def __init__(self, loop: Clock, backend_id: str, queue: FifoServer) -> None:
        """Idle, at full speed."""
        self._loop = loop
        self._id = backend_id
        self._queue = queue
        self._clock = SpeedClock()
        self._latency = LatencyEstimate()
        self._jobs: set[_Job] = set()
        self._late_s = array("d")

    @property
    def in_flight(self) -> int:
        """Requests waiting or in service."""
        return len(self._jobs)

    def latency_s(self) -> float:
        """What a request takes at the present load, by those that were served lately."""
        return self._latency.at(self._loop.time(), self.in_flight)

    def lateness_ms(self) -> dict[str, float] | None:
        """How long after the end of its service each request was answered: this process's own
        doing. None if none was."""
        late_s = sorted(self._late_s)
        if not late_s:
            return None
        places = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
        return {
            name: 1e3 * late_s[min(len(late_s) - 1, int(share * len(late_s)))]
            for name, share in places.items()
        }

    def work_s(self) -> float:
        """Work time now: seconds that one server could have worked, at full speed."""
        return self._clock.work(self._loop.time())

    def state(self) -> FifoState:
        """The queue's counters; times in them are work time."""
        return self._queue.state(self.work_s())

    def serve(self, request: Request, answer: AnswerCallback) -> None:
        """Have `answer` called with the response's header, at once if the queue is full."""
        now_s = self._loop.time()
        service = self._queue.admit(self._clock.work(now_s), request.demand_us / 1e6)
        if service is None:
            answer(ResponseHeader(request.sequence, Answer.REJECTED, 0, 0, 0, self._id))
            return
        job = _Job(request, answer, now_s, self.in_flight, service.start_s, service.finish_s)
        self._jobs.add(job)
        self._schedule(job)

    def change_speed(self, factor: float) -> None:
        """Work `factor` times as fast as configured from now on. ValueError if it is not above 0.

        What is in the middle of its service is slowed too, for what remains of it.
        """
        self._clock.change(self._loop.time(), factor)
        for job in self._jobs:
            self._schedule(job)

    def _schedule(self, job: _Job) -> None:
        if job.timer is not None:
            job.timer.cancel()
        job.timer = self._loop.call_at(self._clock.real(job.finish_work_s), self._finish, job)

    def _finish(self, job: _Job) -> None:
        self._jobs.discard(job)
        start_s = self._clock.real(job.start_work_s)
        finish_s = self._clock.real(job.finish_work_s)
        self._late_s.append(self._loop.time() - finish_s)
        self._latency.add(finish_s, job.found, finish_s - job.arrived_s)
        job.answer(
            ResponseHeader(
                sequence=job.request.sequence,
                answer=Answer.SERVED,
                wait_us=round((start_s - job.arrived_s) * 1e6),
                service_us=round((finish_s - start_s) * 1e6),
                payload_bytes=job.request.response_bytes,
                backend_id=self._id,
            )
        )
