#!/usr/bin/env python3
"""Runs the guest benchmark program natively, in lodge and in QEMU's TCG: see README.md beside this file."""
import argparse
import collections
import json
import math
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

from programs import (MEMORY_MEBIBYTES, Run, Trouble, kernel_options, lodge_command, one_dash, qemu_command)

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = ["native", "lodge", "qemu"]
QUICK = ["fib", "dispatch", "sha256", "nbody-x87", "simd-search", "movs-small", "syscall", "faults"]
# Issue 4: a geometric mean of four times QEMU's speed, nothing slower than QEMU, 256 MiB beside the guest's RAM.
MEAN_GOAL, EACH_GOAL, MEMORY_GOAL = 4, 1, 256
RUN_SECONDS = 1200
# The guest's clock and the host's may differ by this share, and by what the serial port takes to bring a line.
CLOCK_SHARE, CLOCK_SECONDS = 0.05, 0.010

Line = collections.namedtuple("Line", "seconds checksum")


def is_older(target, sources):
    return not target.exists() or any(source.stat().st_mtime > target.stat().st_mtime for source in sources)


def build(bits, options):
    """The program, and the guest's initramfs with the program in it; kept between runs."""
    options.work.mkdir(parents=True, exist_ok=True)
    program, initrd = options.work / f"guest_bench_{bits}", options.work / f"initrd_{bits}.img"
    plain = pathlib.Path(kernel_options(options.guests, bits, "")[3])
    if not plain.exists():
        sys.exit(f"{plain} is missing: tests/guests/make_guests.sh makes it")
    if is_older(program, (HERE / "guest").iterdir()):
        subprocess.run([HERE / "guest/build.sh", str(bits), program], check=True)
    if is_older(initrd, [program, plain, HERE / "guest/autorun.sh"]):
        with tempfile.TemporaryDirectory() as folder:
            added = pathlib.Path(folder)
            added.chmod(0o755)
            (added / "bin").mkdir()
            shutil.copy(program, added / "bin/guest_bench")
            shutil.copy(HERE / "guest/autorun.sh", added)
            subprocess.run([HERE.parent / "guests/add_to_initramfs.sh", plain, added, initrd], check=True)
    return program, initrd


def parse(text):
    """{name: Line} of the program's output; Line's fields are None where it says n/a."""
    lines = {}
    for name, seconds, checksum in re.findall(r"^bench (\S+) (\S+) (\S+)\r?$", text, re.M):
        lines[name] = Line(None, None) if seconds == "n/a" else Line(float(seconds), checksum)
    return lines


def run_native(program, names, processor_time):
    clock = ["--processor-time"] if processor_time else []
    result = subprocess.run([program, "--native", "--repeat", "5", *clock, *names], capture_output=True, text=True, check=False,
                            timeout=RUN_SECONDS)
    if result.returncode != 0:
        raise Trouble(f"{program} ended with {result.returncode}: {result.stdout[-300:]}")
    return parse(result.stdout)


def check_clock(what, name, guest, host):
    if abs(host - guest) > CLOCK_SHARE * host + CLOCK_SECONDS:
        print(f"warning: {what}: {name} took {guest:.3f} s by the guest's clock, {host:.3f} s by the host's", flush=True)


def run_guest(command, what, processor_time):
    """({name: Line}, MiB beside the guest's RAM)"""
    lines = {}
    with Run(command) as run:
        while True:
            match = run.expect(r"(begin|bench|bench-end)(?: (\S+)(?: (\S+) (\S+))?)?\r?\n", RUN_SECONDS)
            if not match:
                raise run.trouble("ended before the benchmarks did")
            processor = run.processor_seconds()
            kind, name, seconds, checksum = [part and part.decode() for part in match.groups()]
            if kind == "bench-end":
                break
            if kind == "begin":
                began, processor_began = run.read_at, processor
                continue
            check_clock(what, name, float(seconds), run.read_at - began)
            lines[name] = Line(processor - processor_began if processor_time else float(seconds), checksum)
        memory = run.peak_beside_guest_ram()
        run.send("\n")
        run.finish(RUN_SECONDS)
    return lines, memory


class Results:
    """What one guest's benchmarks took: seconds[program][name] is a list of one entry per round."""

    def __init__(self, bits):
        self.bits = bits
        self.seconds = {program: collections.defaultdict(list) for program in PROGRAMS}
        self.checksums = collections.defaultdict(dict)
        self.memory = []

    def add(self, program, lines):
        for name, line in lines.items():
            if line.seconds is None:
                continue
            self.seconds[program][name].append(line.seconds)
            self.checksums[name].setdefault(line.checksum, set()).add(program)

    def median(self, program, name):
        times = self.seconds[program].get(name)
        return statistics.median(times) if times else None

    def ratio(self, name, above, below):
        numerator, denominator = self.median(above, name), self.median(below, name)
        return numerator / denominator if numerator and denominator else None

    def ratios(self, above, below):
        found = {name: self.ratio(name, above, below) for name in self.checksums}
        return {name: ratio for name, ratio in found.items() if ratio}

    def wrong(self):
        return {name: sums for name, sums in self.checksums.items() if len(sums) > 1}

    def plain(self):
        return {"seconds": self.seconds, "memory_beside_ram_mebibytes": self.memory,
                "checksums": {name: sorted(sums) for name, sums in self.checksums.items()},
                "qemu_over_lodge": self.ratios("qemu", "lodge"), "lodge_over_native": self.ratios("lodge", "native")}


def geometric_mean(ratios):
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else None


def cell(value, width, digits):
    return f"{'n/a':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def print_row(name, native, lodge, qemu, speed, cost):
    print(f"{name:16}{cell(native, 10, 4)}{cell(lodge, 10, 3)}{cell(qemu, 10, 3)}{cell(speed, 12, 2)}{cell(cost, 14, 1)}")


def print_table(results):
    print(f"\n{f'{results.bits}-bit guest':16}{'native s':>10}{'lodge s':>10}{'QEMU s':>10}{'QEMU/lodge':>12}{'lodge/native':>14}")
    for name in results.checksums:
        print_row(name, *(results.median(program, name) for program in PROGRAMS),
                  results.ratio(name, "qemu", "lodge"), results.ratio(name, "lodge", "native"))
    print_row("geometric mean", None, None, None, geometric_mean(results.ratios("qemu", "lodge").values()),
              geometric_mean(results.ratios("lodge", "native").values()))


def print_verdict(results):
    """Whether the checksums agree; the goals are only reported."""
    speeds = results.ratios("qemu", "lodge")
    if speeds:
        mean = geometric_mean(speeds.values())
        slower = sorted(name for name, speed in speeds.items() if speed < EACH_GOAL)
        print(f"{results.bits}-bit: {mean:.2f} times QEMU's speed, {'reaches' if mean >= MEAN_GOAL else 'MISSES'} the goal "
              f"of {MEAN_GOAL}; slower than QEMU: {', '.join(slower) or 'none'}")
    if results.memory:
        peak = max(results.memory)
        print(f"{results.bits}-bit: lodge held {peak:.0f} MiB beside the guest's RAM, "
              f"{'within' if peak <= MEMORY_GOAL else 'OVER'} the limit of {MEMORY_GOAL}")
    for name, sums in results.wrong().items():
        found = "; ".join(f"{'+'.join(sorted(programs))}: {checksum}" for checksum, programs in sums.items())
        print(f"{results.bits}-bit: {name} COMPUTED DIFFERENTLY: {found}")
    return not results.wrong()


def run_round(bits, options, results):
    program, initrd = build(bits, options)
    names = f"quiet bench={','.join(options.only)}" if options.only else "quiet"
    kernel = kernel_options(options.guests, bits, names, initrd)
    for which in options.programs:
        print(f"{bits}-bit, {which} ...", file=sys.stderr, flush=True)
        if which == "native":
            results.add(which, run_native(program, options.only, options.processor_time))
        elif which == "lodge":
            lines, memory = run_guest(lodge_command(options.lodge, options.engine, kernel), f"{bits}-bit lodge",
                                      options.processor_time)
            results.add(which, lines)
            results.memory.append(memory)
        else:
            results.add(which, run_guest(qemu_command(bits, one_dash(kernel)), f"{bits}-bit QEMU",
                                         options.processor_time)[0])


def names_of(text):
    return text.split(",")


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lodge", default="build/release/lodge")
    parser.add_argument("--guests", type=pathlib.Path, default=pathlib.Path("build/guests"))
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/bench"), help="where to build")
    parser.add_argument("--engine", help="lodge's engine (default: lodge's own choice)")
    parser.add_argument("--bits", type=int, choices=[32, 64], action="append", help="32 or 64 (default: both)")
    parser.add_argument("--only", type=names_of, default=[], metavar="NAME,NAME", help="these benchmarks")
    parser.add_argument("--programs", type=names_of, default=PROGRAMS, metavar="native,lodge,qemu")
    parser.add_argument("--rounds", type=int, help="how often each program runs (default 3; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="a few benchmarks once")
    parser.add_argument("--processor-time", action="store_true",
                        help="count what the host's processors gave each program, not what clocks say: for a busy host")
    parser.add_argument("--json", type=pathlib.Path, help="write all measurements to this file")
    options = parser.parse_args()
    if set(options.programs) - set(PROGRAMS):
        parser.error(f"--programs knows {', '.join(PROGRAMS)}")
    if options.quick and not options.only:
        options.only = QUICK
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.bits = options.bits or [32, 64]
    return options


def main():
    options = parse_options()
    all_results = [Results(bits) for bits in options.bits]
    try:
        for _ in range(options.rounds):
            for results in all_results:
                run_round(results.bits, options, results)
    except Trouble as trouble:
        sys.exit(str(trouble))
    print(f"lodge --engine {options.engine or '(default)'}, {MEMORY_MEBIBYTES} MiB guests; "
          f"medians of {options.rounds} interleaved run{'s' if options.rounds > 1 else ''}"
          f"{'; seconds of the host processors' if options.processor_time else ''}")
    for results in all_results:
        print_table(results)
    print()
    verdicts = [print_verdict(results) for results in all_results]
    if options.json:
        options.json.write_text(json.dumps({"engine": options.engine, "rounds": options.rounds,
                                            **{str(results.bits): results.plain() for results in all_results}}, indent=1))
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
