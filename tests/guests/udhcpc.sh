#!/bin/busybox sh
# shellcheck shell=dash disable=SC2154
# What udhcpc calls with a lease in its environment.
case $1 in
    bound | renew)
        ip addr flush dev "$interface"
        ip addr add "$ip/$subnet" broadcast + dev "$interface"
        [ -z "${router:-}" ] || ip route replace default via "${router%% *}"
        mkdir -p /etc
        : > /etc/resolv.conf
        for server in ${dns:-}; do
            echo "nameserver $server" >> /etc/resolv.conf
        done
        echo "LODGE-DHCP address=$ip mask=$subnet router=${router:-} dns=${dns:-} bootfile=${boot_file:-}"
        ;;
esac
