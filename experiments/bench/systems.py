"""What is compared, each with one worker, all at once on ports of their own, idle but for one."""

import json
import random
import sys
from pathlib import Path

from experiments.bench.lab import BACKEND_ADDRESS, BALANCER_ADDRESS, Lab

BACKEND_PORT = 8080
TARGETS = {
    "direct": (BACKEND_ADDRESS, BACKEND_PORT),
    "nginx": (BALANCER_ADDRESS, 8081),
    "nginy": (BALANCER_ADDRESS, 8082),
}
"""System under test: where the client connects to."""

SMALL_BODY = b"hello world\n"

NGINX_COMMON = """
daemon off; master_process on; worker_processes 1; worker_rlimit_nofile 16384;
pid {directory}/{name}.pid; error_log {directory}/{name}.error.log;
events {{ worker_connections 8000; }}
"""
BACKEND_CONF = """
http {{
    access_log off; sendfile on; keepalive_requests 1000000000; tcp_nodelay on;
    server {{
        listen {port} backlog=4096;
        location = /small {{ return 200 "hello world\\n"; }}
        location = /bulk {{ alias {directory}/bulk; }}
    }}
}}
"""
STREAM_CONF = """
stream {{
    upstream backend {{ server {backend}; }}
    server {{ listen {port} backlog=4096; proxy_pass backend; }}
}}
"""


def write_bulk(directory: Path, size_mib: int) -> None:
    """A file that is the same every time, no two blocks of it alike."""
    rng = random.Random(1)
    with (directory / "bulk").open("wb") as file:
        for _ in range(size_mib):
            file.write(rng.randbytes(1 << 20))


def start_all(lab: Lab, directory: Path) -> None:
    """The backend, and the balancers in front of it; ready once the client's check passes."""
    backend = f"{BACKEND_ADDRESS}:{BACKEND_PORT}"
    _start_nginx(lab, "backend", "backend", directory, BACKEND_CONF.format(
        port=BACKEND_PORT, directory=directory))  # fmt: skip
    _start_nginx(lab, "balancer", "nginx", directory, STREAM_CONF.format(
        port=TARGETS["nginx"][1], backend=backend))  # fmt: skip
    config = directory / "nginy.yaml"
    config.write_text(_nginy_config(TARGETS["nginy"][1], backend))
    lab.start("balancer", "nginy", [sys.executable, "-m", "nginy", "run", "-c", str(config)])


def _start_nginx(lab: Lab, role: str, name: str, directory: Path, servers: str) -> None:
    config = directory / f"{name}.conf"
    module = (
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;" if "stream" in servers else ""
    )
    common = NGINX_COMMON.format(directory=directory, name=name)
    config.write_text(module + common + servers)
    lab.start(role, name, ["nginx", "-c", str(config), "-p", str(directory)])


def _nginy_config(port: int, backend: str) -> str:
    """YAML is a superset of JSON."""
    return json.dumps(
        {
            "backends": [{"id": "b1", "address": backend}],
            "rules": [{"clients": [f"0.0.0.0/0:{port}"], "targets": ["b1"]}],
        }
    )
