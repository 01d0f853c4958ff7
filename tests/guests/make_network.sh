#!/bin/sh
# Makes a guest's initramfs with what a network takes beside the ordinary one: Debian's e1000 driver, packet sockets,
# VLANs and a script for udhcpc.
#
# Usage: make_network.sh ROOT INITRAMFS RESULT
#
# ROOT holds the unpacked packages (see fetch_packages.sh). In the guest `sh /network.sh` loads the modules.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"

here=$(cd "$(dirname "$0")" && pwd)
root=$1
initramfs=$2
result=$3

version=$(basename "$root"/lib/modules/*)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/lib/network"

depmod --basedir "$root" "$version"
modprobe --dirname "$root" --set-version "$version" --show-depends --all e1000 af_packet 8021q |
    sed -n 's/^insmod //p' | awk '!seen[$1]++ { print $1 }' | while read -r module; do
    cp "$module" "$work/lib/network/"
    basename "$module" >> "$work/lib/network/order"
done
cp "$here/network.sh" "$here/udhcpc.sh" "$work/"
chmod 755 "$work/network.sh" "$work/udhcpc.sh"
find "$work" -exec touch --no-dereference --date=@0 {} +
"$here/add_to_initramfs.sh" "$initramfs" "$work" "$result"
