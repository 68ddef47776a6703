#!/usr/bin/env bash
# make test-netem: tests of links by the kernel's netem, on machines whose own kernel has none.
# They run in User-Mode Linux (a kernel as a program, Debian's package user-mode-linux) on this file
# system, with a memory of its own for /tmp and /run. Nothing on this machine is changed.
# Arguments go to pytest; without any: all tests of links that take netem.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
answer="$(mktemp -d)" # where the tests inside leave what they found
trap 'rm -rf "$answer"' EXIT

mkdir -p "$answer/lib/modules"
for version in /usr/lib/uml/modules/*; do
    ln -s "$version" "$answer/lib/modules/"
done
printf '%q ' "${@:-}" > "$answer/arguments"

# The kernel's own messages are of interest only where it does not come up.
timeout "${LIMIT_S:-1500}" linux.uml mem=2G rootfstype=hostfs rootflags=/ rw quiet \
    init="$here/inside.sh" ANSWER="$answer" CHECKOUT="$(cd "$here/../.." && pwd)" \
    con=null con0=null,fd:1 ssl=null < /dev/null > "$answer/console" 2>&1 &
kernel=$!
trap 'kill "$kernel" 2> /dev/null || true; rm -rf "$answer"' EXIT
touch "$answer/report"
tail --pid="$kernel" -n +1 -f "$answer/report"
wait "$kernel" || true

if [ ! -s "$answer/code" ]; then
    echo "test-netem: the kernel ended without an answer; its console:" >&2
    tail -30 "$answer/console" >&2
    exit 1
fi
exit "$(cat "$answer/code")"
