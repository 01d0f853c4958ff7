#!/bin/sh
# Fetches the Debian packages a guest image is made of, and unpacks what is needed of them.
#
# Usage: fetch_packages.sh GUEST DIRECTORY [PACKAGE...]
#
# GUEST is i386, i386-pae or amd64: an architecture, and which of its kernels, which comes with busybox unless PACKAGEs are
# named. DIRECTORY/packages keeps the .deb files, so a second run needs no network. apt runs on a private state of its
# own: no root, and the host's list of architectures stays as it is.
set -eu

guest=$1
directory=$2
shift 2
packages=$directory/packages
state=$directory/apt

case $guest in
    i386) arch=i386 kernel_metapackage=linux-image-686 ;;
    i386-pae) arch=i386 kernel_metapackage=linux-image-686-pae ;;
    amd64) arch=amd64 kernel_metapackage=linux-image-amd64 ;;
    *) echo "fetch_packages.sh: unknown guest $guest" >&2; exit 2 ;;
esac

with_private_apt() {
    command=$1
    shift
    "$command" -o Dir::State="$state" -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" \
        -o Dir::Cache="$state/cache" -o APT::Architecture="$arch" -o APT::Architectures="$arch" \
        -o APT::Sandbox::User= -o Acquire::Retries=3 -o Acquire::Languages=none -qq "$@"
}

# The kernel's metapackage depends on the package of the current kernel version: "linux-image-VERSION (= ...)".
kernel_package() {
    with_private_apt apt-cache show "$kernel_metapackage" |
        sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -n 1
}

download() {
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$packages.new"
    : > "$state/status"
    # One broken list among several is no reason to stop: what matters is whether the packages can be had.
    with_private_apt apt-get update || echo "fetch_packages.sh: some package lists could not be fetched" >&2
    if [ $# -eq 0 ]; then
        kernel=$(kernel_package)
        if [ -z "$kernel" ]; then
            echo "fetch_packages.sh: no package $kernel_metapackage for $arch in the package lists" >&2
            exit 1
        fi
        set -- "$kernel" busybox-static
    fi
    (cd "$packages.new" && with_private_apt apt-get download "$@")
    mv "$packages.new" "$packages"
}

unpack() {
    rm -rf "$directory/root" "$directory/root.new"
    mkdir -p "$directory/root.new"
    for package in "$packages"/*.deb; do
        dpkg-deb --extract "$package" "$directory/root.new"
    done
    mv "$directory/root.new" "$directory/root"
}

[ -d "$packages" ] || { rm -rf "$packages.new"; download "$@"; }
unpack
