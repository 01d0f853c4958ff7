#!/bin/sh
# Makes the guests that the demo, the boot tests and the benchmarks use. A second run finds them made.
#
# Usage: make_guests.sh [--lodge PROGRAM] [--output DIRECTORY] [GUEST...]
#
# GUEST is i386 (the default), i386-pae or amd64. In DIRECTORY (default build/guests):
#   GUEST/packages/             the Debian packages
#   GUEST/vmlinuz, initrd.img   for a boot without firmware
#   GUEST/network.img           the same initrd with network drivers (see make_network.sh)
#   i386/initrd-scsi.img        the same with the driver of the LSI 53C895A
#   i386/scsi-shell.raw, scsi-auto.raw      disks with that one
#   GUEST/shell.raw, auto.raw, screen.raw   disks, by what they start (see make_disk.sh)
#   GUEST/shell.vhd                         the first as a dynamic VHD; i386 has none there, but these:
#   shell.vhd, auto.vhd, screen.vhd, scsi-shell.vhd, scsi-auto.vhd
#                               i386's disks as dynamic VHDs, for runs that leave them alone
#   amd64/storage.img                       an initramfs with the drivers of CD-ROM and diskette drives, and block_io
#   amd64/block_io                          the program itself
#   amd64/boot.iso                          a CD that boots the same by isolinux, with a file of numbers on it
#   amd64/diskette-1440.img, -2880.img      diskettes that boot "hello from the boot sector" by syslinux
#   amd64/diskette.iso                      a CD that boots as the first of them does, by emulation of a diskette
#   amd64/netboot.raw                       a disk to boot over iSCSI (see make_netboot.sh)
#   demo.vhd                                a copy of shell.vhd to write to: the demo's disk
# The VHDs are made only with --lodge.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
lodge=
output=$here/../../build/guests
while [ $# -gt 0 ]; do
    case $1 in
        --lodge) lodge=$2; shift 2 ;;
        --output) output=$2; shift 2 ;;
        -*) echo "make_guests.sh: unknown option $1" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- i386

mkdir -p "$output"
# Two runs at once (two ctest trees, say) take turns.
exec 9> "$output/lock"
flock 9

# What the images depend on besides the packages: these scripts.
recipe=$(cd "$here" && cat fetch_packages.sh init make_disk.sh make_guests.sh make_initramfs.sh make_network.sh \
    add_to_initramfs.sh network.sh udhcpc.sh make_media.sh make_netboot.sh netboot_init netboot_rc block_io.c ../../roms/boot_sectors/hello.asm |
    sha256sum | cut -d ' ' -f 1)

# make_raw_images GUEST
make_raw_images() {
    echo "Making the $1 guest from Debian's packages ..."
    rm -f "$directory/made"
    "$here/fetch_packages.sh" "$1" "$directory"
    # What a FAT partition on an IDE disk needs.
    modules="sd_mod ata_piix nls_cp437 nls_ascii nls_iso8859-1 nls_utf8 vfat"
    # shellcheck disable=SC2086 # a list
    "$here/make_initramfs.sh" "$directory/root" "$directory/vmlinuz" "$directory/initrd.img" "$here/init" $modules
    "$here/make_network.sh" "$directory/root" "$directory/initrd.img" "$directory/network.img"
    if [ "$1" = i386 ]; then
        # shellcheck disable=SC2086 # a list
        "$here/make_initramfs.sh" "$directory/root" "$directory/vmlinuz" "$directory/initrd-scsi.img" "$here/init" \
            $modules sym53c8xx sr_mod isofs
        for mode in shell auto; do
            "$here/make_disk.sh" "$directory/vmlinuz" "$directory/initrd-scsi.img" "$mode" "$directory/scsi-$mode.raw"
        done
    fi
    if [ "$1" = amd64 ]; then
        cc -O2 -static -o "$directory/block_io" "$here/block_io.c"
        "$here/make_initramfs.sh" "$directory/root" "$directory/vmlinuz" "$directory/plain.img" "$here/init" \
            sd_mod ata_piix sr_mod isofs floppy sym53c8xx
        "$here/make_media.sh" "$directory"
        "$here/make_netboot.sh" "$directory/root" "$directory/netboot" "$directory/netboot.raw"
    fi
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

# make_vhd RAW VHD
make_vhd() {
    if is_older "$2" "$1"; then
        rm -f "$2.new"
        "$lodge" disk convert "$1" "$2.new" --type dynamic
        mv "$2.new" "$2"
    fi
}

make_i386_vhds() {
    for mode in shell auto screen scsi-shell scsi-auto; do
        make_vhd "$directory/$mode.raw" "$output/$mode.vhd"
    done
    if is_older "$output/demo.vhd" "$output/shell.vhd"; then
        cp "$output/shell.vhd" "$output/demo.vhd.new"
        mv "$output/demo.vhd.new" "$output/demo.vhd"
    fi
}

for guest in "$@"; do
    directory=$output/$guest
    mkdir -p "$directory"
    if [ "$(cat "$directory/made" 2> /dev/null)" != "$recipe" ]; then
        make_raw_images "$guest"
    fi
    if [ -z "$lodge" ]; then
        continue
    fi
    if [ "$guest" = i386 ]; then
        make_i386_vhds
    else
        make_vhd "$directory/shell.raw" "$directory/shell.vhd"
    fi
done
