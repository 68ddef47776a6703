"""Find out, by doing it, which ways of impairing links work on this machine.

Not by kernel version or system name: WSL2, Docker Desktop and micro-VMs all have kernels that
carry a new enough number and lack netem. Everything is tried in scratch namespaces that end with
the probe.
"""

import functools
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from topologies.errors import MachineLacks, NetworkError
from topologies.machine.namespaces import execute

METHODS = ("netem", "nfqueue")
"""In order of preference."""

_MODULES = ("br_netfilter", "ifb", "nfnetlink_queue", "sch_netem", "sch_tbf", "xt_NFQUEUE")


def netem_problem() -> str | None:
    """Why netem cannot be used here, or None if it works."""
    return _tried(
        "ip link add p0 type veth peer name p1",
        "ip link add i0 type ifb",
        "tc qdisc add dev p0 ingress",
        "tc qdisc add dev i0 root netem delay 1ms loss 1% rate 100gbit",
    )


def nfqueue_problem() -> str | None:
    """Why the NFQUEUE emulator cannot be used here, or None if it works."""
    return _tried(
        "ip link add p0 type veth peer name p1",
        "ip link add br0 type bridge",
        "ip link set p0 master br0",
        "sysctl -q -w net.bridge.bridge-nf-call-iptables=1",
        "iptables -w 5 -t mangle -A PREROUTING -m physdev --physdev-in p0 -j NFQUEUE",
        "iptables -w 5 -t mangle -A POSTROUTING -m physdev --physdev-is-bridged --physdev-out p0"
        " -j NFQUEUE",
    )


def choose(wanted: str | None) -> str:
    """`wanted`, or the first of METHODS that works; MachineLacks says what stands in the way."""
    if wanted is not None and wanted not in METHODS:
        raise MachineLacks(f"no link method {wanted!r} (there are: {', '.join(METHODS)})")
    problems = {}
    for method in METHODS if wanted is None else (wanted,):
        problem = problem_of(method)
        if problem is None:
            return method
        problems[method] = problem
    said = "; ".join(f"{method}: {problem}" for method, problem in problems.items())
    raise MachineLacks(f"links cannot have delay or loss on this machine: {said}")


@functools.cache
def problem_of(method: str) -> str | None:
    """Why a method of METHODS cannot be used here (tried once per process), or None."""
    load_modules()
    return netem_problem() if method == "netem" else nfqueue_problem()


def load_modules() -> None:
    """Ask for the kernel modules the methods need, where the kernel has modules."""
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", "-a", *_MODULES], capture_output=True, check=False)


def _tried(*commands: str) -> str | None:
    with scratch_namespace() as pid:
        for command in commands:
            try:
                execute(pid, command.split())
            except (NetworkError, FileNotFoundError) as error:
                return str(error)
    return None


@contextmanager
def scratch_namespace() -> Iterator[int]:
    """The pid of a process that holds a namespace of its own until the block ends.

    Raises MachineLacks, with mnexec's own words, where no namespace can be made.
    """
    pipe = subprocess.PIPE
    argv = ["mnexec", "-cdn", "sh", "-c", "echo up; exec cat"]
    try:
        holder = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    except FileNotFoundError:
        raise MachineLacks("there is no mnexec (apt-get install mininet)") from None
    with holder:
        try:
            if holder.stdout.readline() != "up\n":  # type: ignore[union-attr]
                said = holder.stderr.read().strip()  # type: ignore[union-attr]
                raise MachineLacks(
                    f"no network namespace can be made here: mnexec says {said!r} (a container "
                    "must be privileged, a chroot's / must be a mount point)"
                )
            yield holder.pid
        finally:
            holder.kill()
