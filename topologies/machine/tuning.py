"""Kernel settings inside the virtual hosts: set, and read back.

Namespaces inherit much from the machine, so whatever an experiment depends on is pinned here.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from topologies.errors import MachineLacks, NetworkError
from topologies.machine.namespaces import execute
from topologies.machine.record import machine_lock

IPV4_SYSCTLS = Path("/proc/sys/net/ipv4")

RESERVED_PORTS = range(5301, 5400)
"""No connection gets one of them as its own port: who uses them can be told from all others, in
captures, by the port alone."""

HOST_SETTINGS = {
    # No memory of earlier connections: every connection starts as if it were the first.
    "net.ipv4.tcp_no_metrics_save": "1",
    # A listen queue that overflows is a workload choice, never an accident of the testbed.
    "net.core.somaxconn": "65535",
    "net.ipv4.tcp_max_syn_backlog": "65535",
    "net.ipv4.ip_local_port_range": "1024 65535",
    "net.ipv4.ip_local_reserved_ports": f"{RESERVED_PORTS[0]}-{RESERVED_PORTS[-1]}",
    # A connection per request, 1 000 a second for a minute, would use up one client's ports.
    "net.ipv4.tcp_tw_reuse": "1",
    # Room for the bandwidth-delay product of 1 Gbit/s over 100 ms, the same on every machine.
    "net.ipv4.tcp_rmem": "4096 131072 16777216",
    "net.ipv4.tcp_wmem": "4096 65536 16777216",
}

# ethtool's long names, as `ethtool -k` prints them. Segmentation offloads would hand frames of
# 64 KiB to a link, so that one loss took 44 packets; without checksum offload captures are right.
OFFLOADS = (
    "rx-checksumming",
    "tx-checksumming",
    "tcp-segmentation-offload",
    "generic-segmentation-offload",
    "generic-receive-offload",
    "large-receive-offload",
    "tx-udp-segmentation",
)


def quiet() -> dict[str, str]:
    """Settings for every namespace before any interface is up: without them, IPv6 (where the
    kernel has it) sends router solicitations, and a bridge reports its multicast groups."""
    settings = {"net.ipv4.igmp_link_local_mcast_reports": "0"}
    if Path("/proc/sys/net/ipv6").exists():
        settings |= {f"net.ipv6.conf.{which}.disable_ipv6": "1" for which in ("all", "default")}
    return settings


def set_sysctls(pid: int, settings: dict[str, str]) -> None:
    """Set them in the namespace of `pid` and read them back; NetworkError if one did not take."""
    execute(pid, ["sysctl", "-q", "-w", *(f"{key}={value}" for key, value in settings.items())])
    for key, got in sysctls(pid, settings).items():
        if got.split() != settings[key].split():
            raise NetworkError(f"{key} reads {got!r} after it was set to {settings[key]!r}")


def sysctls(pid: int, keys: Iterable[str]) -> dict[str, str]:
    """The kernel's values of `keys` in the namespace of `pid`."""
    wanted = list(keys)
    return dict(zip(wanted, execute(pid, ["sysctl", "-n", *wanted]).splitlines(), strict=True))


def set_congestion_control(pids: list[int], algorithm: str) -> None:
    """Make `algorithm` the default of TCP in the namespaces of `pids`.

    Raises MachineLacks where the kernel does not have it, or lets nobody here allow it.
    """
    with allowed(algorithm):
        for pid in pids:
            set_sysctls(pid, {"net.ipv4.tcp_congestion_control": algorithm})


@contextmanager
def allowed(algorithm: str) -> Iterator[None]:
    """Let namespaces choose `algorithm` during the block.

    A namespace takes only what the machine's own `tcp_allowed_congestion_control` lists at that
    moment (net/ipv4/tcp_cong.c), so it is added for the moment and then taken back.
    """
    listed = IPV4_SYSCTLS / "tcp_allowed_congestion_control"
    with machine_lock():
        before = listed.read_text()
        if algorithm in before.split():
            yield
            return
        try:
            listed.write_text(f"{before.strip()} {algorithm}")
        except PermissionError as error:  # a container's view of the machine
            raise MachineLacks(
                f"congestion control {algorithm!r} is not allowed, and cannot be from inside "
                "this container; on the machine itself run: sysctl -w "
                f"net.ipv4.tcp_allowed_congestion_control='{before.strip()} {algorithm}'"
            ) from error
        except OSError as error:
            available = (IPV4_SYSCTLS / "tcp_available_congestion_control").read_text().strip()
            raise MachineLacks(
                f"this kernel has no congestion control {algorithm!r} (it has: {available})"
            ) from error
        try:
            yield
        finally:
            listed.write_text(before)


def congestion_control(pid: int) -> str:
    """What new TCP sockets in the namespace of `pid` will use."""
    return execute(pid, ["sysctl", "-n", "net.ipv4.tcp_congestion_control"]).strip()


def switch_offloads_off(pid: int, interfaces: list[str]) -> None:
    """Ask every interface to stop offloading; `offloads` tells whether it did."""
    off = [word for name in OFFLOADS for word in (name, "off")]
    # ethtool exits with 0 as long as one feature could be changed; the read-back decides.
    script = 'for i in $INTERFACES; do ethtool -K "$i" "$@" >/dev/null; done'
    execute(pid, ["env", f"INTERFACES={' '.join(interfaces)}", "sh", "-c", script, "sh", *off])


def offloads(pid: int, interface: str) -> dict[str, bool]:
    """Which of `OFFLOADS` are on, read from the kernel."""
    found = {}
    for line in execute(pid, ["ethtool", "-k", interface]).splitlines():
        name, _, state = line.strip().partition(": ")
        if name in OFFLOADS:
            found[name] = state.startswith("on")
    return found
