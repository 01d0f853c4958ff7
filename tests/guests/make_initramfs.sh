#!/bin/sh
# Makes the demo guest's kernel and initramfs from unpacked packages (see fetch_packages.sh).
#
# Usage: make_initramfs.sh ROOT KERNEL INITRAMFS
#
# The archive holds busybox, our init, and the kernel modules that a FAT partition on an IDE disk needs. It is not
# compressed: unpacking would cost the guest more than reading does. No device nodes, so no root: the kernel brings
# /dev/console along, and init mounts devtmpfs.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"

root=$1
kernel=$2
initramfs=$3
here=$(cd "$(dirname "$0")" && pwd)
wanted_modules="sd_mod ata_piix nls_cp437 nls_ascii nls_iso8859-1 nls_utf8 vfat"

version=$(basename "$root"/lib/modules/*)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# File names of the wanted modules and of all they depend on, dependencies first. What is built in names no file.
modules_in_order() {
    # shellcheck disable=SC2086 # a list of names
    modprobe --dirname "$root" --set-version "$version" --show-depends --all $wanted_modules |
        sed -n 's/^insmod //p' | awk '!seen[$1]++ { print $1 }'
}

depmod --basedir "$root" "$version"
chmod 755 "$work"
mkdir -p "$work/bin" "$work/dev" "$work/mnt" "$work/proc" "$work/sys" "$work/tmp" "$work/lib/modules"
cp "$root/bin/busybox" "$work/bin/busybox"
cp "$here/init" "$work/init"
chmod 755 "$work/init" "$work/bin/busybox"
modules_in_order | while read -r module; do
    cp "$module" "$work/lib/modules/"
    basename "$module" >> "$work/lib/modules/order"
done
find "$work" -exec touch --no-dereference --date=@0 {} +

(cd "$work" && find . | LC_ALL=C sort | cpio --create --format=newc --owner=+0:+0 --reproducible --quiet) > "$initramfs"
cp "$root/boot/vmlinuz-$version" "$kernel"
