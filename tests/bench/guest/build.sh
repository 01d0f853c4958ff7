#!/bin/sh
# Builds the guest benchmark program, static, for the host's Linux and the guests' alike.
#
# Usage: build.sh BITS PROGRAM
#
# BITS is 32 (plain i686 code as Debian's i386 has it, with SSE2 only in the files that are about it) or 64.
set -eu

bits=$1
program=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The compiler must not turn our loops into calls of the C library, nor fuse or reorder floating-point operations.
common="-O2 -std=gnu11 -Wall -Wextra -Werror -fno-builtin -fno-tree-loop-distribute-patterns -ffp-contract=off
    -fno-math-errno -fcf-protection=none"
case $bits in
    32) machine="-m32 -march=i686" sse="-msse2 -mfpmath=sse" ;;
    64) machine="-m64" sse="-mfpmath=sse" ;;
    *) echo "build.sh: BITS is 32 or 64" >&2; exit 2 ;;
esac

# compile NAME SOURCE OPTION...
compile() {
    object=$work/$1.o
    source=$here/$2
    shift 2
    # shellcheck disable=SC2086 # lists of options
    gcc $common $machine "$@" -c -o "$object" "$source"
}

for source in main integer calls chase hash strings code_writing system io; do
    compile $source $source.c
done
# shellcheck disable=SC2086
compile crypto crypto.c $sse
compile long_double long_double.c -mfpmath=387
compile nbody_x87 nbody.c -mfpmath=387 -DNBODY=run_nbody_x87
# shellcheck disable=SC2086
compile nbody_sse nbody.c $sse -DNBODY=run_nbody_sse
# shellcheck disable=SC2086
compile simd simd.c $sse -O3
# shellcheck disable=SC2086
gcc $machine -static -o "$program.new" "$work"/*.o
mv "$program.new" "$program"
