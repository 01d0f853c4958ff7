#!/bin/sh
# Makes a disk with a Debian 12 userland: systemd, a login on the serial port, gcc, python3. A second run finds it made.
#
# Usage: make_debian.sh --lodge PROGRAM [--output DIRECTORY]
#
# In DIRECTORY (default build/guests):
#   debian/vmlinuz, initrd.img   for a boot without firmware
#   debian/debian.vhd            a dynamic VHD: syslinux on the first partition, the ext4 root on the second
#   debian/netboot.vhd           the same system for a boot over iSCSI, with the initramfs that Debian makes for that
# Users: root with the password "root", lodge with the password "lodge".
#
# debootstrap runs the new system's own programs in a chroot, so this needs root, and everything it makes is in debian/
# and root's. Nothing is mounted from an image: mke2fs fills the root file system from a folder. The packages come from
# where this machine's apt gets its own, and are kept in debian/archives and debian/kernel.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"

here=$(cd "$(dirname "$0")" && pwd)
suite=bookworm
packages=systemd,systemd-sysv,udev,dbus,libpam-systemd,kmod,login,passwd,util-linux,e2fsprogs,procps,gcc,libc6-dev,python3,initramfs-tools,open-iscsi,zstd
root_mebibytes=2048

lodge=
output=$here/../../build/guests
while [ $# -gt 0 ]; do
    case $1 in
        --lodge) lodge=$2; shift 2 ;;
        --output) output=$2; shift 2 ;;
        *) echo "make_debian.sh: unknown option $1" >&2; exit 2 ;;
    esac
done
if [ -z "$lodge" ]; then
    echo "make_debian.sh: --lodge PROGRAM is missing" >&2
    exit 2
fi
mkdir -p "$output/debian"
output=$(cd "$output" && pwd)
directory=$output/debian
root=$directory/root

exec 9> "$directory/lock"
flock 9
recipe=$(cd "$here" && cat debian_init fetch_packages.sh make_debian.sh make_disk.sh make_initramfs.sh |
    sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$directory/made" 2> /dev/null)" = "$recipe" ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "make_debian.sh: debootstrap needs root for its chroot; run this once as root" >&2
    exit 1
fi

# Where apt gets the suite's packages, of the kinds of place that debootstrap knows too.
mirror() {
    # shellcheck disable=SC2016 # a name of apt's, not of the shell's
    apt-get indextargets --format '$(REPO_URI)' "Codename: $suite" "Origin: Debian" "Created-By: Packages" |
        grep -E '^(https?|file):' | head -n 1
}

# debootstrap's downloader does not read apt's configuration.
use_proxy_of_apt() {
    proxy=
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    if [ -n "$proxy" ] && [ "$proxy" != DIRECT ]; then
        export http_proxy="$proxy"
    fi
}

# debootstrap mounts /proc and /sys for its chroot. In a mount namespace of its own they go with it, however it ends.
run_debootstrap() {
    if unshare --mount true 2> /dev/null; then
        unshare --mount debootstrap "$@"
    else
        debootstrap "$@"
    fi
}

# The longest step by far, so its result is kept until the list of packages changes.
make_userland() {
    if [ "$(cat "$directory/packages" 2> /dev/null)" = "$packages" ] && [ -d "$root" ]; then
        return
    fi
    source=$(mirror)
    if [ -z "$source" ]; then
        apt-get update -qq || echo "make_debian.sh: some package lists could not be fetched" >&2
        source=$(mirror)
    fi
    if [ -z "$source" ]; then
        echo "make_debian.sh: this machine's apt knows no repository of $suite" >&2
        exit 1
    fi
    rm -rf --one-file-system "$root" "$root.new" "$directory/packages"
    mkdir -p "$directory/archives"
    use_proxy_of_apt
    run_debootstrap --arch=amd64 --variant=minbase --include="$packages" --cache-dir="$directory/archives" \
        "$suite" "$root.new" "$source" > "$directory/debootstrap.log" 2>&1 ||
        { tail -n 20 "$directory/debootstrap.log" >&2; exit 1; }
    mv "$root.new" "$root"
    echo "$packages" > "$directory/packages"
}

# What an installer would ask for. systemd starts the login on the console that the kernel's command line names.
configure() {
    echo lodge-guest > "$root/etc/hostname"
    printf '127.0.0.1 localhost lodge-guest\n' > "$root/etc/hosts"
    printf '/dev/sda2 / ext4 errors=remount-ro 0 1\n' > "$root/etc/fstab"
    printf '6c6f6467652d6775657374000000000a\n' > "$root/etc/machine-id"
    chroot "$root" id lodge > /dev/null 2>&1 || chroot "$root" useradd --create-home --shell /bin/bash lodge
    printf 'root:root\nlodge:lodge\n' | chroot "$root" chpasswd
    wait_for_a_slow_machine
    rm -rf "$root/var/cache/apt/archives"/*.deb "$root/var/lib/apt/lists"/*
}

# On the real clock a guest's time goes on while its host is busy with others: after 90 s systemd would give up the
# serial port and its login.
wait_for_a_slow_machine() {
    mkdir -p "$root/etc/systemd/system.conf.d"
    cat > "$root/etc/systemd/system.conf.d/slow.conf" << 'END'
[Manager]
DefaultTimeoutStartSec=1h
DefaultTimeoutStopSec=1h
DefaultDeviceTimeoutSec=1h
END
    sed -i 's/^LOGIN_TIMEOUT.*/LOGIN_TIMEOUT 3600/' "$root/etc/login.defs"
}

# The kernel with all of its modules, as a Debian installation has it: udev loads what it finds devices for.
add_kernel() {
    if [ -d "$output/amd64/packages" ] && [ ! -d "$directory/kernel/packages" ]; then
        mkdir -p "$directory/kernel"
        cp -r "$output/amd64/packages" "$directory/kernel/packages.new"
        mv "$directory/kernel/packages.new" "$directory/kernel/packages"
    fi
    "$here/fetch_packages.sh" amd64 "$directory/kernel"
    "$here/make_initramfs.sh" "$directory/kernel/root" "$directory/vmlinuz" "$directory/initrd.img" \
        "$here/debian_init" sd_mod ata_piix crc32c_generic ext4
    rm -rf "$root/lib/modules" "$root/boot"
    mv "$directory/kernel/root/lib/modules" "$root/lib/modules"
    mv "$directory/kernel/root/boot" "$root/boot"
    rm -rf "$directory/kernel/root"
}

# As an administrator sets up Debian for an iSCSI root (open-iscsi's README.Debian): the initramfs takes target and
# address from the firmware's table.
make_iscsi_initramfs() {
    version=$(basename "$root"/lib/modules/*)
    echo ISCSI_AUTO=true > "$root/etc/iscsi/iscsi.initramfs"
    echo 'InitiatorName=iqn.2026-11.io.lodge:guest' > "$root/etc/iscsi/initiatorname.iscsi"
    sed -i 's/^MODULES=.*/MODULES=most/' "$root/etc/initramfs-tools/initramfs.conf"
    chroot "$root" update-initramfs -c -k "$version" > "$directory/initramfs.log" 2>&1 ||
        { tail -n 20 "$directory/initramfs.log" >&2; exit 1; }
    mv "$root/boot/initrd.img-$version" "$directory/netboot.img"
}

# make_vhd MODE INITRAMFS NAME
make_vhd() {
    "$here/make_disk.sh" "$directory/vmlinuz" "$2" "$1" "$directory/$3.raw" "$root" $root_mebibytes
    rm -f "$directory/$3.vhd.new"
    "$lodge" disk convert "$directory/$3.raw" "$directory/$3.vhd.new" --type dynamic
    mv "$directory/$3.vhd.new" "$directory/$3.vhd"
    rm -f "$directory/$3.raw"
}

echo "Making the Debian userland's disk (debootstrap: some minutes) ..."
rm -f "$directory/made"
make_userland
configure
add_kernel
make_iscsi_initramfs
make_vhd debian "$directory/initrd.img" debian
make_vhd netboot "$directory/netboot.img" netboot
echo "$recipe" > "$directory/made"
