#!/usr/bin/env bash
# Makes the runs of this folder anew (as root: two of them in a virtual network), and keeps of each what the
# notebook and the report read: no captures, no flows, no plans.
set -euo pipefail
cd "$(dirname "$0")/../.."
made=results/example
rm -rf "$made"
python=.venv/bin/python
$python -m experiments sweep notebooks/example/algorithms.yaml --arm simulate --results $made
$python -m experiments run --scenario failover --results $made
$python -m experiments run --proto udp --alg least_conn --loss 1 --delay 20 --duration 13 --results $made
for experiment in algorithms-simulated failover udp; do
    rm -rf "notebooks/example/$experiment"
    for verdict in "$made/$experiment"/*/verdict.json; do
        run=$(dirname "$verdict")
        to=notebooks/example/$experiment/$(basename "$run")
        mkdir -p "$to"
        cp "$run"/*.json "$run/requests.parquet" "$to"
        if [ "$experiment" != algorithms-simulated ]; then
            cp "$run/samples.parquet" "$run/connections.parquet" "$to"
        fi
        [ ! -f "$run/faults.parquet" ] || cp "$run/faults.parquet" "$to"
    done
done
cp "$made/algorithms-simulated/sweep.yaml" notebooks/example/algorithms-simulated/
