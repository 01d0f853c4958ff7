#!/usr/bin/env python3
"""A guest's reads and writes on an IDE disk, past its cache, in lodge and in QEMU's TCG: see README.md beside this file."""
import argparse
import collections
import pathlib
import statistics
import subprocess
import sys
import tempfile

from programs import Run, Trouble, lodge_command, qemu_command

# name: (what block_io does, bytes in all, bytes in a request). Enough of it for about a second: in the first tens of
# milliseconds of new work both programs translate the guest's kernel more than they move data.
WORK = {
    "sequential read, 1 MiB": ("read", 4 << 30, 1 << 20),
    "sequential write, 1 MiB": ("write", 1 << 30, 1 << 20),
    "sequential read, 64 KiB": ("read", 1 << 30, 64 << 10),
    "random read, 4 KiB": ("randread", 64 << 20, 4096),
    "random write, 4 KiB": ("randwrite", 32 << 20, 4096),
}
DISK_BYTES = 256 << 20
RUN_SECONDS = 600
PROMPT = r"/ # "


def commands(options, disk):
    folder = options.guests / "amd64"
    kernel = [folder / "vmlinuz", folder / "storage.img", f"console=ttyS0 panic=-1 lodge.mode=shell {options.append}"]
    lodge = lodge_command(options.lodge, None, ["--kernel", kernel[0], "--initrd", kernel[1], "--append", kernel[2],
                                                "--disk", disk])
    qemu = qemu_command(64, ["-kernel", kernel[0], "-initrd", kernel[1], "-append", kernel[2],
                             "-drive", f"file={disk},format={'vpc' if options.vhd else 'raw'},if=ide,cache=writeback"])
    return {"lodge": lodge, "QEMU": qemu}


def measure(command, names):
    """{name: bytes per second by the guest's clock}"""
    rates = {}
    with Run(command) as run:
        run.expect(r"LODGE-GUEST-READY", RUN_SECONDS)
        run.expect(PROMPT, RUN_SECONDS)
        for name in names:
            way, total, size = WORK[name]
            run.send(f"block_io time /dev/sda {way} {total} {size}\n")
            match = run.expect(r"bytes: ([0-9.]+) seconds", RUN_SECONDS)
            if not match:
                raise run.trouble(f"ended before '{name}' did")
            rates[name] = total / float(match.group(1))
            run.expect(PROMPT, RUN_SECONDS)
        run.send("poweroff -f\n")
        run.finish(RUN_SECONDS)
    return rates


def make_disk(options, folder):
    disk = folder / "disk.raw"
    with open(disk, "wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run([options.guests / "amd64/block_io", "fill", disk, "1"], check=True, stdout=subprocess.DEVNULL)
    if options.vhd:
        subprocess.run([options.lodge, "disk", "convert", disk, folder / "disk.vhd", "--type", "dynamic"], check=True)
        disk = folder / "disk.vhd"
    return disk


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lodge", default="build/release/lodge")
    parser.add_argument("--guests", type=pathlib.Path, default=pathlib.Path("build/guests"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vhd", action="store_true", help="a dynamic VHD instead of a raw image")
    parser.add_argument("--only", help="the work whose name has this in it")
    parser.add_argument("--append", default="", help="further options of the guest's kernel: libata.dma=0 for PIO")
    parser.add_argument("--folder", default="/var/tmp", help="where the image lies (default /var/tmp)")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = [name for name in WORK if not options.only or options.only in name]
    rates = collections.defaultdict(lambda: collections.defaultdict(list))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        try:
            disk = make_disk(options, pathlib.Path(folder))
            for _ in range(options.rounds):
                for program, command in commands(options, disk).items():
                    for name, rate in measure(command, names).items():
                        rates[name][program].append(rate)
        except Trouble as trouble:
            sys.exit(str(trouble))
    print(f"guest I/O on IDE, amd64; medians of {options.rounds} interleaved runs")
    print(f"{'':28}{'lodge MB/s':>12}{'QEMU MB/s':>12}{'lodge/QEMU':>12}")
    for name in names:
        lodge, qemu = [statistics.median(rates[name][program]) / 1e6 for program in ("lodge", "QEMU")]
        print(f"{name:28}{lodge:12.1f}{qemu:12.1f}{lodge / qemu:12.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
