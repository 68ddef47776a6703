#!/usr/bin/env bash
# Make a bare Debian or Ubuntu machine ready: Debian packages, .venv, nginy itself. Idempotent: a
# second run only compares a stamp and looks up a dozen commands.
#
# Usage: experiments/setup.sh [--bench] [--notebook] [--live] [--browser] [--report] [--cluster] [--netem]
#   --bench     also nginx and its stream module, HAProxy and wrk, for `make bench`, these systems
#               under test, real servers and clients, and their tests
#   --notebook  also JupyterLab, which only `make notebook` needs
#   --live      also the web server of `make demo` and `nginy web`
#   --browser   also what drives a browser, for the tests of that page (they need Chromium, which is
#               not installed by this)
#   --report    also what sets the report, for `make report`
#   --cluster   also Dask, for CLUSTER=, `make scheduler` and `make worker`
#   --netem     also a kernel that runs as a program, for `make test-netem`
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else fail "installing them needs root, and there is no sudo here. Run this as root, then make again:
       apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    fi
}

# What a program says goes to a log; one line is shown, and the log's end if it fails.
log=${TMPDIR:-/tmp}/nginy-setup-$(id -u).log
logged() {
    local what=$1 began=$SECONDS
    shift
    printf 'setup: %s ...' "$what" >&2
    if "$@" >>"$log" 2>&1; then printf ' %s s\n' $((SECONDS - began)) >&2
    else
        printf ' failed; %s ends with:\n' "$log" >&2
        tail -n 15 "$log" >&2
        exit 1
    fi
}

# --- Python -------------------------------------------------------------------------------------
recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && recent "$candidate"; then command -v "$candidate"; return; fi
    done
}
python=$(find_python)
if [ -z "$python" ]; then
    found=$(python3 --version 2>/dev/null || echo "no python3 at all")
    fail "nginy needs Python 3.11 or later, and this machine has $found.
       Install one beside it (Ubuntu 22.04: apt-get install python3.11 python3.11-venv) and run make
       again, or name it: make PYTHON=/path/to/python3.11 ..."
fi

# --- Debian packages ----------------------------------------------------------------------------
# command:package; a command that is there already needs no package.
needed=(mnexec:mininet ip:iproute2 tc:iproute2 iptables:iptables brctl:bridge-utils
        ethtool:ethtool tcpdump:tcpdump iperf3:iperf3 ping:iputils-ping ifconfig:net-tools
        sysctl:procps git:git)
extras=testbed,notebook,dev
for option in "$@"; do
    case $option in
        --bench) needed+=(nginx:nginx-light haproxy:haproxy wrk:wrk) ;;
        --notebook) extras=$extras,lab ;;
        --live) extras=$extras,live ;;
        --browser) extras=$extras,browser ;;
        --cluster) extras=$extras,cluster ;;
        --report) extras=$extras,report ;;
        --netem) needed+=(linux.uml:user-mode-linux modprobe:kmod) ;;
        *) fail "unknown option $option (known: --bench, --notebook, --live, --browser, --report, --cluster, --netem)" ;;
    esac
done
export PATH=$PATH:/usr/sbin:/sbin # where Debian keeps tc, iptables, tcpdump; not in a user's PATH
missing=()
for pair in "${needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
case " $* " in *" --bench "*)
    [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream) ;;
esac
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=("$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
fi
if [ ${#missing[@]} -gt 0 ]; then
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    echo "setup: Debian packages to be installed: ${missing[*]}"
    command -v apt-get >/dev/null ||
        fail "there is no apt-get here; install what these packages hold by your system's own means"
    services=()
    for service in nginx haproxy; do command -v $service >/dev/null || services+=($service); done
    logged "Debian packages" as_root apt-get update -qq
    logged "Debian packages" as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
    # The benchmark starts its own; the services that these packages start are not wanted.
    for service in "${services[@]}"; do
        if command -v "$service" >/dev/null && [ -d /run/systemd/system ]; then
            as_root systemctl disable --now "$service" >/dev/null 2>&1 || true
        fi
    done
fi

# --- .venv --------------------------------------------------------------------------------------
stamp=$( { cat pyproject.toml constraints.txt; echo "$python"; pwd; } | sha256sum)
installed=$(cat .venv/.installed 2>/dev/null || true)
had=
if [ "${installed%% extras *}" = "$stamp" ]; then had=${installed##* extras }; fi
# What is there stays, or the targets would take each other's packages away.
extras=$(printf '%s\n' ${had//,/ } ${extras//,/ } | sort -u | paste -sd,)
if [ "$extras" = "$had" ]; then exit 0; fi
# After `sudo make` in a user's checkout, .venv is the user's.
trap '[ "$(id -u)" -ne 0 ] || chown -R --reference=. .venv' EXIT
recent .venv/bin/python || "$python" -m venv --clear .venv
logged "Python packages into .venv, about a minute" .venv/bin/python -m pip install \
    --disable-pip-version-check --constraint constraints.txt --editable ".[$extras]"
echo "$stamp extras $extras" > .venv/.installed
