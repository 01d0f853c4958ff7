#!/bin/sh
# Makes a raw disk image that boots a guest: an MBR, one active FAT16 partition, syslinux; on demand an ext4 root.
#
# Usage: make_disk.sh KERNEL INITRAMFS MODE IMAGE [ROOT MEBIBYTES]
#
# MODE is what starts without a question: shell or auto (see init), screen (a shell on the VGA console), debian (the
# system on the second partition), or netboot (the same, by an initramfs that Debian made for iSCSI). The others can be chosen at syslinux's prompt. With ROOT there is a second partition,
# of that many mebibytes, with the folder's contents. Everything works on files, by offset: no loop devices, and no root
# for all but the contents' owners.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"

kernel=$1
initramfs=$2
mode=$3
image=$4
root=${5:-}
root_sectors=$((${6:-0} * 2048))

sectors=131072 # 64 MiB
first_sector=2048
offset=$((first_sector * 512))
mbr_code=/usr/lib/syslinux/mbr/mbr.bin
partition=$image.new@@$offset

work=$(mktemp -d)
trap 'rm -rf "$work" "$image.new"' EXIT
export SOURCE_DATE_EPOCH=946684800
export TZ=UTC
export MTOOLS_SKIP_CHECK=1

# Bytes of a little-endian integer of four bytes, as printf's octal escapes.
little_endian() {
    printf '\\%03o\\%03o\\%03o\\%03o' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255))
}

put() {
    dd of="$image.new" bs=1 seek="$1" conv=notrunc status=none
}

# put_entry INDEX STATUS TYPE FIRST_SECTOR SECTORS, status and type in octal. The CHS fields say "beyond CHS" (FEFFFFh), so
# that only the LBA ones count.
put_entry() {
    # shellcheck disable=SC2059 # the format is the data
    printf "\\$2\\376\\377\\377\\$3\\376\\377\\377$(little_endian "$4")$(little_endian "$5")" | put $((446 + 16 * $1))
}

# Types: 0Eh is FAT16 by LBA, 83h a Linux file system.
write_mbr() {
    put 0 < "$mbr_code"
    printf 'lodg' | put 440
    put_entry 0 200 016 $first_sector $((sectors - first_sector))
    if [ -n "$root" ]; then
        put_entry 1 000 203 $sectors "$root_sectors"
    fi
    printf '\125\252' | put 510
}

write_configuration() {
    case $mode in
        shell | auto | screen | debian | netboot) ;;
        *) echo "make_disk.sh: unknown mode $mode" >&2; exit 2 ;;
    esac
    cat > "$work/syslinux.cfg" << END
SERIAL 0 115200
DEFAULT $mode
PROMPT 0
SAY lodge: syslinux starts the guest ($mode)
LABEL shell
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND console=tty0 console=ttyS0,115200 panic=-1 lodge.mode=shell
LABEL auto
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND console=tty0 console=ttyS0,115200 panic=-1 lodge.mode=auto
LABEL screen
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND console=ttyS0,115200 console=tty0 panic=-1 lodge.mode=shell
LABEL debian
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND console=tty0 console=ttyS0,115200 panic=-1
LABEL netboot
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND root=LABEL=lodge-root rw iscsi_auto console=tty0 console=ttyS0,115200 panic=-1
END
}

rm -f "$image.new"
truncate --size=$(((sectors + root_sectors) * 512)) "$image.new"
write_mbr
mformat -i "$partition" -T $((sectors - first_sector)) -h 16 -s 63 -H $first_sector -N 4c4f4447 -v LODGE ::
syslinux --offset "$offset" --install "$image.new"
write_configuration
cp "$kernel" "$work/vmlinuz"
cp "$initramfs" "$work/initrd.img"
touch --date=@$SOURCE_DATE_EPOCH "$work"/*
mcopy -m -i "$partition" "$work/vmlinuz" "$work/initrd.img" "$work/syslinux.cfg" ::/
if [ -n "$root" ]; then
    mke2fs -q -t ext4 -L lodge-root -d "$root" -E "offset=$((sectors * 512))" "$image.new" "$((root_sectors / 2))k"
fi
mv "$image.new" "$image"
