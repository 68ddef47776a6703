#!/bin/bash
# The first and only process of the kernel that boot.sh starts.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/tmp
for module in veth bridge ifb sch_netem sch_tbf sch_ingress act_mirred cls_matchall nfnetlink_queue \
    xt_NFQUEUE iptable_mangle tcp_cubic; do
    modprobe -q -d "$ANSWER" "$module"
done
ip link set lo up

cd "$CHECKOUT" || exit 1
eval "set -- $(cat "$ANSWER/arguments")"
if [ -z "${1:-}" ]; then
    set -- tests/root/test_network_links.py tests/root/test_mininet_command_line.py -k netem
fi
export PYTHONDONTWRITEBYTECODE=1
.venv/bin/python -m pytest -q -p no:cacheprovider "$@" > "$ANSWER/report" 2>&1
echo $? > "$ANSWER/code"
sync
echo o > /proc/sysrq-trigger
sleep 10
