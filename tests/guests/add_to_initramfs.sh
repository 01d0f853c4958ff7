#!/bin/sh
# Makes an initramfs of another and of further files: the kernel unpacks archives one behind the other.
#
# Usage: add_to_initramfs.sh INITRAMFS FOLDER RESULT
#
# The files in FOLDER come beside those of INITRAMFS, and instead of those of the same name. A file autorun.sh at its top
# is what `init` runs.
set -eu

initramfs=$1
folder=$2
result=$3

cp "$initramfs" "$result.new"
# An archive starts at a multiple of four bytes; cpio's own are padded to 512.
(cd "$folder" && find . -mindepth 1 | LC_ALL=C sort | cpio --create --format=newc --owner=+0:+0 --quiet) >> "$result.new"
mv "$result.new" "$result"
