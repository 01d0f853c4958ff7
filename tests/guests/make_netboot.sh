#!/bin/sh
# Makes the raw disk of a guest that boots over iSCSI to its root on that disk: syslinux, Debian's kernel, an initramfs
# with Debian's open-iscsi, which finds the disk through the firmware's table (iBFT), and an ext4 root with busybox's
# init and a login ("root", no password) on the serial port.
#
# Usage: make_netboot.sh ROOT DIRECTORY IMAGE
#
# ROOT holds the unpacked packages of the amd64 guest (see fetch_packages.sh); DIRECTORY keeps open-iscsi's packages.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"

here=$(cd "$(dirname "$0")" && pwd)
root=$1
directory=$2
image=$3
root_mebibytes=64

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# open-iscsi with the libraries that its programs load.
"$here/fetch_packages.sh" amd64 "$directory" open-iscsi libisns0 libopeniscsiusr libssl3 libkmod2 libmount1 libblkid1 \
    libselinux1 libpcre2-8-0 libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libzstd1 libc6 libgcc-s1
iscsi=$directory/root

# add_program FOLDER PROGRAM: with its libraries, under the names by which it asks for them.
add_program() {
    mkdir -p "$1/sbin" "$1/lib64" "$1/lib/x86_64-linux-gnu"
    cp "$iscsi/sbin/$2" "$1/sbin/"
    cp "$iscsi/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" "$1/lib64/"
    add_libraries "$1" "$iscsi/sbin/$2"
}

# add_libraries FOLDER FILE: those that FILE names, and theirs.
add_libraries() {
    objdump -p "$2" | awk '$1 == "NEEDED" { print $2 }' | while read -r library; do
        [ ! -e "$1/lib/x86_64-linux-gnu/$library" ] || continue
        for folder in lib usr/lib; do
            [ -e "$iscsi/$folder/x86_64-linux-gnu/$library" ] || continue
            cp -L "$iscsi/$folder/x86_64-linux-gnu/$library" "$1/lib/x86_64-linux-gnu/"
            add_libraries "$1" "$1/lib/x86_64-linux-gnu/$library"
        done
    done
}

make_initramfs() {
    "$here/make_initramfs.sh" "$root" "$work/vmlinuz" "$work/plain.img" "$here/netboot_init" \
        e1000 af_packet iscsi_tcp iscsi_ibft crc32c_generic sd_mod ext4
    mkdir -p "$work/iscsi"
    add_program "$work/iscsi" iscsistart
    find "$work/iscsi" -exec touch --no-dereference --date=@0 {} +
    "$here/add_to_initramfs.sh" "$work/plain.img" "$work/iscsi" "$work/initrd.img"
}

make_root() {
    new=$work/root
    mkdir -p "$new/bin" "$new/sbin" "$new/dev" "$new/proc" "$new/sys" "$new/run" "$new/tmp" "$new/root" "$new/var" \
        "$new/etc/iscsi" "$new/var/lib/iscsi"
    cp "$root/bin/busybox" "$new/bin/busybox"
    for applet in $("$new/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -s /bin/busybox "$new/bin/$applet"
    done
    ln -s /bin/busybox "$new/sbin/init"
    ln -s /run "$new/var/run"
    add_program "$new" iscsid
    cp "$iscsi/etc/iscsi/iscsid.conf" "$new/etc/iscsi/iscsid.conf"
    cp "$here/netboot_rc" "$new/etc/rc"
    chmod 755 "$new/etc/rc"
    echo 'root::0:0:root:/root:/bin/sh' > "$new/etc/passwd"
    echo 'root:x:0:' > "$new/etc/group"
    cat > "$new/etc/inittab" << 'END'
::sysinit:/etc/rc
ttyS0::respawn:/bin/getty -L 115200 ttyS0 vt100
::ctrlaltdel:/bin/reboot
::shutdown:/bin/mount -o remount,ro /
END
}

make_initramfs
make_root
"$here/make_disk.sh" "$work/vmlinuz" "$work/initrd.img" debian "$image" "$work/root" $root_mebibytes
rm -rf "$iscsi"
