#!/usr/bin/env python3
"""Disk images against qemu-img, on the same files, in one run: `lodge disk convert` against `qemu-img convert`, the image
layer (lodge_disk_io) against `qemu-img bench`.

Usage: images.py [--lodge PROGRAM] [--disk-io PROGRAM] [--folder F] [--size MIB] [--rounds N] [--json FILE]

Programs take turns; each figure is the median of the rounds. A ratio is qemu-img's time over lodge's: above 1 lodge is
faster. `processor` is the same ratio of processor times, which other work on the host disturbs less. Exit status 1 if a
ratio is below 1 in both.
"""
import argparse
import json
import os
import pathlib
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
QUIET = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "check": True}


def timed(command, own_clock=False):
    """Seconds by the clock, or as the program says it, and of processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    done = subprocess.run([str(word) for word in command], **QUIET)
    taken = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if own_clock:
        taken = float(re.search(r"completed in ([0-9.]+) seconds", done.stdout).group(1))
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return taken, processor


def make_source(path, size):
    """Half data, half holes, in runs of 64 KiB to 4 MiB."""
    generator = random.Random(1)
    block = generator.randbytes(4 * MIB)
    with open(path, "wb") as file:
        file.truncate(size)
        place = 0
        while place < size:
            length = min(generator.randrange(1, 65) * 65536, size - place)
            if generator.randrange(2):
                file.seek(place)
                file.write(block[:length])
            place += length


class Bench:
    def __init__(self, options, folder):
        self.lodge, self.disk_io = options.lodge, options.disk_io
        self.rounds, self.folder, self.size = options.rounds, folder, options.size * MIB
        self.only = options.only
        self.rows = []

    def compare(self, name, lodge, qemu, prepare=lambda: None, own_clock=False):
        if self.only and self.only not in name:
            return
        times = {"lodge": [], "qemu": []}
        for turn in range(self.rounds):
            for program, command in (("lodge", lodge), ("qemu", qemu)) if turn % 2 else (("qemu", qemu),
                                                                                         ("lodge", lodge)):
                prepare()
                times[program].append(timed(command, own_clock))
        middle = {program: [statistics.median(column) for column in zip(*rows)] for program, rows in times.items()}
        row = {"name": name, "lodge": middle["lodge"][0], "qemu": middle["qemu"][0],
               "ratio": middle["qemu"][0] / middle["lodge"][0],
               "processor_ratio": middle["qemu"][1] / max(middle["lodge"][1], 1e-3)}
        self.rows.append(row)
        print(f"{name:38} lodge {row['lodge']:7.3f} s  qemu-img {row['qemu']:7.3f} s  ratio {row['ratio']:5.2f}  "
              f"processor {row['processor_ratio']:5.2f}", flush=True)

    def converts(self):
        source = self.folder / "source.raw"
        images = {"raw": source, "dynamic": self.folder / "dynamic.vhd", "fixed": self.folder / "fixed.vhd"}
        for kind in ("dynamic", "fixed"):
            subprocess.run([self.lodge, "disk", "convert", source, images[kind], "--type", kind], **QUIET)
        target = self.folder / "target"
        for before, after in (("raw", "dynamic"), ("dynamic", "raw"), ("dynamic", "dynamic"), ("raw", "fixed"),
                              ("fixed", "dynamic")):
            names = {"raw": ("raw", []), "dynamic": ("vpc", ["-o", "subformat=dynamic,force_size=on"]),
                     "fixed": ("vpc", ["-o", "subformat=fixed,force_size=on"])}
            # Both flush the target before they end: -t writeback is what lodge does always.
            # A fixed VHD of lodge's has all its space on the host, as Windows asks for; -S 0 makes qemu-img's so.
            names["fixed"][1].extend(["-S", "0"])
            qemu = ["qemu-img", "convert", "-t", "writeback", "-f", names[before][0], "-O", names[after][0],
                    *names[after][1], images[before], target]
            self.compare(f"convert {before} to {after}", [self.lodge, "disk", "convert", images[before], target, "--type", after],
                         qemu, prepare=lambda: target.unlink(missing_ok=True))

    def requests(self):
        full, target = self.folder / "full.vhd", self.folder / "target.vhd"
        empty = self.folder / "empty.vhd"
        filled = self.folder / "filled.raw"
        with open(filled, "wb") as file:
            for _ in range(self.size // MIB):
                file.write(os.urandom(MIB))
        subprocess.run([self.lodge, "disk", "convert", filled, full], **QUIET)
        subprocess.run([self.lodge, "disk", "create", empty, "--size", str(self.size)], **QUIET)
        filled.unlink()
        random_step = 2 * MIB * 7 + 4096 * 13  # another block each time, hardly ever the same place twice
        for name, base, size, step, count, write in (
                ("random 4 KiB reads", full, 4096, random_step, 100000, False),
                ("sequential reads of 64 KiB", full, 65536, 65536, 2 * self.size // 65536, False),
                ("random 4 KiB writes", full, 4096, random_step, 100000, True),
                ("sequential writes of 64 KiB", full, 65536, 65536, 2 * self.size // 65536, True),
                ("random 4 KiB writes, new blocks", empty, 4096, random_step, 20000, True),
                ("sequential writes of 64 KiB, new blocks", empty, 65536, 65536, self.size // 65536, True)):
            # qemu-img flushes where it is told how often: once, at the end, as lodge_disk_io does.
            writing = ["-w", "--flush-interval", count] if write else []
            self.compare(name, [self.disk_io, target, count, size, step, *(["write"] if write else [])],
                         ["qemu-img", "bench", "-f", "vpc", "-c", count, "-s", size, "-S", step, *writing, target],
                         prepare=lambda image=base: shutil.copyfile(image, target), own_clock=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lodge", default="build/release/lodge")
    parser.add_argument("--disk-io", default="build/release/tests/bench/lodge_disk_io")
    parser.add_argument("--folder", default=None, help="where the images are made; the default is memory, /dev/shm")
    parser.add_argument("--size", type=int, default=256, help="of the disk, in MiB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="those whose name has this in it")
    parser.add_argument("--json", type=pathlib.Path)
    options, _ = parser.parse_known_args()  # `./dev bench` hands its options to every benchmark
    if not shutil.which("qemu-img"):
        sys.exit("qemu-img is not installed")
    with tempfile.TemporaryDirectory(prefix="lodge-bench.", dir=options.folder or "/dev/shm") as folder:
        bench = Bench(options, pathlib.Path(folder))
        make_source(bench.folder / "source.raw", bench.size)
        bench.converts()
        bench.requests()
    if options.json:
        options.json.write_text(json.dumps(bench.rows, indent=2))
    slower = [row["name"] for row in bench.rows if row["ratio"] < 1 and row["processor_ratio"] < 1]
    print(f"slower than qemu-img: {', '.join(slower)}" if slower else "nothing is slower than qemu-img")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
