#!/bin/sh
# Makes a guest's kernel and initramfs from unpacked packages (see fetch_packages.sh).
#
# Usage: make_initramfs.sh ROOT KERNEL INITRAMFS INIT MODULE...
#
# The archive holds busybox, the script INIT as /init, and the named kernel modules with all that they depend on. It is
# not compressed: unpacking would cost the guest more than reading does. No device nodes, so no root: the kernel brings
# /dev/console along, and init mounts devtmpfs.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"

root=$1
kernel=$2
initramfs=$3
init=$4
shift 4

version=$(basename "$root"/lib/modules/*)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# File names of the named modules and of all they depend on, dependencies first. What is built in names no file.
modules_in_order() {
    modprobe --dirname "$root" --set-version "$version" --show-depends --all "$@" |
        sed -n 's/^insmod //p' | awk '!seen[$1]++ { print $1 }'
}

depmod --basedir "$root" "$version"
chmod 755 "$work"
mkdir -p "$work/bin" "$work/dev" "$work/mnt" "$work/proc" "$work/sys" "$work/tmp" "$work/lib/modules"
cp "$root/bin/busybox" "$work/bin/busybox"
cp "$init" "$work/init"
chmod 755 "$work/init" "$work/bin/busybox"
modules_in_order "$@" | while read -r module; do
    cp "$module" "$work/lib/modules/"
    basename "$module" >> "$work/lib/modules/order"
done
find "$work" -exec touch --no-dereference --date=@0 {} +

(cd "$work" && find . | LC_ALL=C sort | cpio --create --format=newc --owner=+0:+0 --reproducible --quiet) > "$initramfs"
cp "$root/boot/vmlinuz-$version" "$kernel"
