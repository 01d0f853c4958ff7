#!/bin/sh
# Makes what the tests of CD-ROM and diskette drives boot from: see make_guests.sh for the list.
#
# Usage: make_media.sh DIRECTORY
#
# DIRECTORY has vmlinuz, plain.img (an initramfs with the drivers) and the program block_io.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
directory=$1
sectors=$here/../../roms/boot_sectors
modules=/usr/lib/syslinux/modules/bios

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SOURCE_DATE_EPOCH=946684800
export TZ=UTC
export MTOOLS_SKIP_CHECK=1

# add_program INITRAMFS RESULT
add_program() {
    mkdir -p "$work/added/bin"
    cp "$directory/block_io" "$work/added/bin/"
    touch --date=@$SOURCE_DATE_EPOCH "$work/added/bin/block_io" "$work/added/bin"
    "$here/add_to_initramfs.sh" "$1" "$work/added" "$2"
}

# make_diskette KIBIBYTES IMAGE
make_diskette() {
    nasm -f bin -I "$sectors/" -o "$work/hello.img" "$sectors/hello.asm"
    head -c 512 "$work/hello.img" > "$work/hello.bs"
    printf 'SERIAL 0 115200\nDEFAULT hello\nPROMPT 0\nSAY lodge: syslinux on a diskette\nLABEL hello\n  KERNEL hello.bs\n' \
        > "$work/syslinux.cfg"
    touch --date=@$SOURCE_DATE_EPOCH "$work/hello.bs" "$work/syslinux.cfg"
    rm -f "$2"
    mformat -C -i "$2" -f "$1" -N 4c4f4447 -v LODGE ::
    syslinux --install "$2"
    mcopy -m -i "$2" "$work/hello.bs" "$work/syslinux.cfg" ::/
}

# make_cd IMAGE FOLDER BOOT_OPTION...
make_cd() {
    image=$1
    folder=$2
    shift 2
    find "$folder" -exec touch --date=@$SOURCE_DATE_EPOCH {} +
    rm -f "$image"
    xorriso -as mkisofs -quiet -o "$image" -V LODGE -J -R "$@" "$folder" 2> "$work/xorriso.log" ||
        { cat "$work/xorriso.log" >&2; exit 1; }
}

make_bootable_cd() {
    mkdir -p "$work/cd/isolinux"
    cp "$directory/vmlinuz" "$work/cd/isolinux/vmlinuz"
    cp "$directory/storage.img" "$work/cd/isolinux/initrd.img"
    cp /usr/lib/ISOLINUX/isolinux.bin "$modules/ldlinux.c32" "$work/cd/isolinux/"
    seq 1 2000000 > "$work/cd/numbers.txt"
    cat > "$work/cd/isolinux/isolinux.cfg" << 'END'
SERIAL 0 115200
DEFAULT shell
PROMPT 0
SAY lodge: isolinux starts the guest
LABEL shell
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND console=ttyS0,115200 panic=-1 lodge.mode=shell
END
    make_cd "$directory/boot.iso" "$work/cd" -b isolinux/isolinux.bin -c isolinux/boot.cat \
        -no-emul-boot -boot-load-size 4 -boot-info-table
}

add_program "$directory/plain.img" "$directory/storage.img"
rm -f "$directory/plain.img"
make_bootable_cd
make_diskette 1440 "$directory/diskette-1440.img"
make_diskette 2880 "$directory/diskette-2880.img"
mkdir -p "$work/emulated"
cp "$directory/diskette-1440.img" "$work/emulated/diskette.img"
make_cd "$directory/diskette.iso" "$work/emulated" -b diskette.img -c boot.cat
