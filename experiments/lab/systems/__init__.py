"""Systems under test, by their names in scenarios. A new one is a file and a line here."""

from experiments.lab.systems.contract import SystemKind
from experiments.lab.systems.direct import DirectKind
from experiments.lab.systems.haproxy import HAProxyKind
from experiments.lab.systems.nginx import NginxKind
from experiments.lab.systems.nginy import NginyKind

SYSTEMS: dict[str, SystemKind] = {
    kind.name: kind for kind in (NginyKind(), NginxKind(), HAProxyKind(), DirectKind())
}
