#!/bin/sh
# Makes the guests that the demo, the boot tests and the benchmarks use. A second run finds them made.
#
# Usage: make_guests.sh [--arch i386|amd64] [--lodge PROGRAM] [--output DIRECTORY]
#
# In DIRECTORY (default build/guests):
#   ARCH/packages/             the Debian packages
#   ARCH/vmlinuz, initrd.img   for a boot without firmware
#   ARCH/shell.raw, auto.raw, screen.raw   disks, by what they start (see make_disk.sh)
#   shell.vhd, auto.vhd, screen.vhd        the same as dynamic VHDs, for runs that leave them alone
#   demo.vhd                               a copy of shell.vhd to write to: the demo's disk
# The VHDs are made only with --lodge, and only for i386.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
arch=i386
lodge=
output=$here/../../build/guests
while [ $# -gt 0 ]; do
    case $1 in
        --arch) arch=$2; shift 2 ;;
        --lodge) lodge=$2; shift 2 ;;
        --output) output=$2; shift 2 ;;
        *) echo "make_guests.sh: unknown option $1" >&2; exit 2 ;;
    esac
done

directory=$output/$arch
mkdir -p "$directory"
# Two runs at once (two ctest trees, say) take turns.
exec 9> "$output/lock"
flock 9

# What the images depend on besides the packages: these scripts.
recipe=$(cat "$here"/*.sh "$here/init" | sha256sum | cut -d ' ' -f 1)

make_raw_images() {
    echo "Making the $arch guest from Debian's packages ..."
    rm -f "$directory/made"
    "$here/fetch_packages.sh" "$arch" "$directory"
    "$here/make_initramfs.sh" "$directory/root" "$directory/vmlinuz" "$directory/initrd.img"
    rm -rf "$directory/root"
    for mode in shell auto screen; do
        "$here/make_disk.sh" "$directory/vmlinuz" "$directory/initrd.img" "$mode" "$directory/$mode.raw"
    done
    echo "$recipe" > "$directory/made"
}

# is_older FILE SOURCE: FILE is missing or was made before SOURCE.
is_older() {
    [ ! -e "$1" ] || [ -n "$(find "$2" -newer "$1")" ]
}

make_vhd() {
    if is_older "$output/$1.vhd" "$directory/$1.raw"; then
        rm -f "$output/$1.vhd.new"
        "$lodge" disk convert "$directory/$1.raw" "$output/$1.vhd.new" --type dynamic
        mv "$output/$1.vhd.new" "$output/$1.vhd"
    fi
}

if [ "$(cat "$directory/made" 2> /dev/null)" != "$recipe" ]; then
    make_raw_images
fi
if [ -n "$lodge" ] && [ "$arch" = i386 ]; then
    for mode in shell auto screen; do
        make_vhd "$mode"
    done
    if is_older "$output/demo.vhd" "$output/shell.vhd"; then
        cp "$output/shell.vhd" "$output/demo.vhd.new"
        mv "$output/demo.vhd.new" "$output/demo.vhd"
    fi
fi
