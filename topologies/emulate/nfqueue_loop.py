"""The link emulator's process: serves the queues of one switch, punctually.

Runs inside a switch's namespace, started by `topologies.emulate.nfqueue` with the directions as
JSON in argv. One line in (`report`, `restart-counts`, `restart-draws`, or `change` and specs by
direction as JSON), one line of JSON out. It ends when its input closes, so it cannot outlive the
run that started it.
"""

import ctypes
import gc
import json
import os
import select
import sys
import threading
import time

from topologies.emulate.nfqueue_emulator import Emulator, Plan, open_exit, open_queues
from topologies.emulate.nfqueue_schedule import Schedule
from topologies.shapes.shape import LinkSpec

GRACE_S = 200e-6
"""A step this late is taken by the thread that stands by."""
LOOK_S = 300e-6
"""Looking more often than that would cost more processor time than the emulation."""
IDLE_LOOK_S = 0.02
_PRIORITY = 20
_MAX_LAG_S = 300e-6
_PR_SET_TIMERSLACK = 29


class WakeLag:
    """How late this machine wakes a sleeping process, followed as a moving average (s).

    50 to 100 us here: the processor leaves its idle state, on a virtual machine with the
    hypervisor's help. The same for a timer as for an arriving packet, so the emulator gets up
    that much earlier, and takes a packet that woke it to have arrived that much earlier.
    """

    def __init__(self) -> None:
        """Start from a typical value; some dozen wake-ups correct it."""
        self.seconds = 80e-6

    def observe(self, seconds: float) -> None:
        """One sleep ended `seconds` after the time set for it."""
        self.seconds += 0.05 * (min(seconds, _MAX_LAG_S) - self.seconds)


class Turns:
    """Which of two threads serves, each on a processor of its own. Pure: time is handed in.

    A processor can be away for milliseconds whatever a process's priority: the hypervisor has lent
    it to somebody else, or the kernel is inside a driver and does not let go. So a second thread
    looks whether the step that was planned is late, and if so takes it and serves from then on;
    the first, when it is back, stands by.
    """

    def __init__(self) -> None:
        """Thread 0 serves, and is to step at once."""
        self.stepped(0, Plan(0.0, listen=True), 0.0)

    def wake_s(self, thread: int, now: float) -> float | None:
        """When `thread` is to look again (s), None: only packets wake it."""
        if thread == self.serving:
            return self.plan.due_s
        return now + IDLE_LOOK_S if self._late_s is None else max(self._late_s, now + LOOK_S)

    def takes(self, thread: int, now: float) -> bool:
        """Whether `thread` is to take the step."""
        late = self._late_s is not None and now >= self._late_s
        return late or thread == self.serving

    def stepped(self, thread: int, plan: Plan, now: float) -> None:
        """`thread` took a step that ended `now` (s); `plan` is the next.

        A step that was due before has its time all the same: who steps and steps is overloaded,
        not away, and one processor for another would not help.
        """
        self.serving, self.plan = thread, plan
        self._late_s = None if plan.due_s is None else max(plan.due_s, now) + GRACE_S


class Service:
    """An emulator, served by a thread on each of two processors where there are two."""

    def __init__(self, emulator: Emulator, control: int) -> None:
        """`control`: the file descriptor that commands come from."""
        self._emulator = emulator
        self._control = control
        self._turns = Turns()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Serve packets and commands until the input closes."""
        processors = sorted(os.sched_getaffinity(0))
        if len(processors) > 1:
            standby: tuple[int, int, list[int]] = 1, processors[-1], []
            threading.Thread(target=self._serve, args=standby, daemon=True).start()
        self._serve(0, processors[0], [self._control])

    def _serve(self, thread: int, processor: int, commands: list[int]) -> None:
        """One thread; returns when `commands` close."""
        _be_punctual(processor)
        turns, lag = self._turns, WakeLag()
        while True:
            asleep = time.monotonic()
            wake = turns.wake_s(thread, asleep)
            hears = turns.plan.listen and thread == turns.serving
            inputs = [*commands, self._emulator.fileno()] if hears else commands
            sleep = None if wake is None else max(0.0, wake - asleep - lag.seconds)
            ready, _, _ = select.select(inputs, [], [], sleep)
            awake = time.monotonic()
            if not ready and sleep:
                lag.observe(awake - asleep - sleep)
            if self._control in ready and not self._obey():
                return
            if turns.takes(thread, awake) and self._lock.acquire(blocking=False):
                try:
                    woken_s = max(asleep, awake - lag.seconds)
                    plan = self._emulator.step(woken_s)
                    turns.stepped(thread, plan, time.monotonic())
                finally:
                    self._lock.release()

    def _obey(self) -> bool:
        """Answer the commands that arrived; False: the input was closed."""
        commands = os.read(self._control, 65_536).decode().splitlines()
        for command in commands:
            word, _, argument = command.partition(" ")
            with self._lock:
                if word == "restart-counts":
                    self._emulator.restart_counts()
                elif word == "restart-draws":
                    self._emulator.restart_draws()
                elif word == "change":
                    changed = json.loads(argument)
                    self._emulator.change({name: LinkSpec(**of) for name, of in changed.items()})
                report = self._emulator.report()
            print(json.dumps(report), flush=True)
        return bool(commands)


def _be_punctual(processor: int) -> None:
    """This thread runs on `processor`, before other programs, and wakes on time."""
    os.sched_setaffinity(0, {processor})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    except PermissionError:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def main(argument: str) -> None:
    """Run with `argument` = {"seed": int, "directions": {name: {"queue": int, "exit": str | None,
    **LinkSpec}}}; `exit`: the interface through which copies of its packets are sent."""
    wanted = json.loads(argument)
    schedules, names, exits = {}, {}, {}
    for name, direction in wanted["directions"].items():
        queue, interface = direction.pop("queue"), direction.pop("exit")
        if interface is not None:
            exits[queue] = open_exit(interface)
        names[queue] = name
        schedules[queue] = Schedule(LinkSpec(**direction), wanted["seed"], name)
    sock = open_queues(schedules, whole=exits)
    service = Service(Emulator(sock, schedules, names, exits), sys.stdin.fileno())
    # A collection of all objects would make packets late; nothing here is made in circles.
    gc.disable()
    print("ready", flush=True)
    service.run()


if __name__ == "__main__":
    main(sys.argv[1])
