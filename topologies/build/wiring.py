"""A shape in Mininet: one namespace per host and switch, one veth pair per link, quiet and static.

Mininet creates a veth pair inside the first host's namespace with the peer placed straight into
the second's (`ip link add ... peer ... netns`), so nothing ever appears in the machine's own
namespace and two networks may be built at the same time.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mininet.net import Mininet
from mininet.node import Host
from mininet.nodelib import LinuxBridge

from topologies.machine import tuning
from topologies.emulate.port import HOST_MAC, Port, mac
from topologies.machine.namespaces import await_carrier, execute
from topologies.machine.record import Record
from topologies.shapes.routes import forwarding
from topologies.shapes.shape import METERS, SUBNET, Link, Shape


def empty_mininet() -> Any:
    """A Mininet without controller that leaves the machine's own settings alone.

    `Mininet.init` would raise a dozen of the machine's sysctls for good (mininet.util.fixLimits);
    what the virtual hosts need is set inside their namespaces instead.
    """
    Mininet.inited = True
    # Its set-up only warns about firewalling of bridges in the machine's own namespace.
    LinuxBridge.isSetup = True
    return Mininet(switch=LinuxBridge, host=Host, controller=None, build=False)


def meter_name(shape: Shape, switch: str) -> str:
    """The measuring host on `switch`: one more host, on a link without any impairment."""
    return f"meter{shape.switches.index(switch) + 1}"


def wire(net: Any, shape: Shape, record: Record) -> list[Port]:
    """Build `shape` and one meter per switch in `net`; the ports, meters last."""
    addresses = {host.name: host.address for host in shape.hosts}
    links = list(shape.links)
    for index, switch in enumerate(shape.switches):
        meter = meter_name(shape, switch)
        addresses[meter] = str(METERS[index + 1])
        links.append(Link(meter, switch))
    for name, address in addresses.items():
        node = net.addHost(name, ip=f"{address}/{SUBNET.prefixlen}")
        _prepare(node, record, tuning.quiet() | tuning.HOST_SETTINGS)
    for name in shape.switches:
        _prepare(net.addSwitch(name, inNamespace=True), record, tuning.quiet())
        _unfiltered(net[name].pid)
    ports = [_cable(net, link, place, addresses) for place, link in enumerate(links)]
    net.build()
    net.start()
    _silence_bridges(net, shape)
    _set_ways(net, shape, ports, addresses)
    _stop_offloading(ports)
    _know_neighbours(net, addresses)
    for name in shape.switches:
        await_carrier(net[name].pid)
    return ports


def _prepare(node: Any, record: Record, settings: dict[str, str]) -> None:
    record.add_process(node.pid, f"shell of {node.name}")
    record.add_namespace(node.name, node.pid)
    tuning.set_sysctls(node.pid, settings)


def _unfiltered(pid: int) -> None:
    """Frames do not pass iptables on the bridge, unless a link method asks for it."""
    if Path("/proc/sys/net/bridge").exists():
        off = ("iptables", "ip6tables", "arptables")
        tuning.set_sysctls(pid, {f"net.bridge.bridge-nf-call-{table}": "0" for table in off})


def _cable(net: Any, link: Link, place: int, addresses: Mapping[str, str]) -> Port:
    """The ends of a trunk, which have no address, get MACs by its place in the shape."""
    end, switch = net[link.end], net[link.switch]
    address, first = addresses.get(link.end), HOST_MAC
    if address is None:
        address, first = str(ipaddress.IPv4Address(place)), 10
    cable = net.addLink(end, switch, addr1=_mac(first, address), addr2=_mac(first + 4, address))
    interfaces = end.pid, cable.intf1.name, switch.pid, cable.intf2.name
    return Port(link, *interfaces, trunk=link.end not in addresses)


def _mac(first: int, address: str) -> str:
    return mac(ipaddress.IPv4Address(address).packed, first).hex(":")


def _silence_bridges(net: Any, shape: Shape) -> None:
    for name in shape.switches:
        quiet = ["type", "bridge", "mcast_snooping", "0", "stp_state", "0"]
        execute(net[name].pid, ["ip", "link", "set", name, *quiet])


def _set_ways(
    net: Any, shape: Shape, ports: Sequence[Port], addresses: Mapping[str, str]
) -> None:
    """Every switch knows beforehand which port leads to each host and meter; it learns nothing and
    floods nothing, so trunks may form circles, and nobody sees what is for another."""
    cables = [(port.link.end, port.link.switch) for port in ports]
    for switch, ways in forwarding(list(addresses), shape.switches, cables).items():
        leads_to = {port.link.end: port.switch_interface for port in ports if port.link.switch == switch}
        leads_to |= {port.link.switch: port.end_interface for port in ports if port.link.end == switch}
        off = "learning off flood off mcast_flood off bcast_flood off"
        lines = [f"link set dev {interface} {off}" for interface in leads_to.values()]
        lines += [
            f"fdb replace {_mac(HOST_MAC, addresses[host])} dev {leads_to[following]} master static"
            for host, following in ways.items()
        ]
        execute(net[switch].pid, ["bridge", "-batch", "-"], text="\n".join(lines) + "\n")


def _stop_offloading(ports: list[Port]) -> None:
    for port in ports:
        tuning.switch_offloads_off(port.end_pid, [port.end_interface])
    for pid in {port.switch_pid for port in ports}:
        here = [port.switch_interface for port in ports if port.switch_pid == pid]
        tuning.switch_offloads_off(pid, here)


def _know_neighbours(net: Any, addresses: dict[str, str]) -> None:
    """Static ARP between all hosts: no lookup delays a first packet, and no ARP can be lost."""
    for name in addresses:
        lines = [
            f"neigh replace {address} lladdr {_mac(HOST_MAC, address)} dev {name}-eth0 nud permanent"
            for other, address in addresses.items()
            if other != name
        ]
        execute(net[name].pid, ["ip", "-batch", "-"], text="\n".join(lines) + "\n")
