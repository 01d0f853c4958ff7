#!/usr/bin/env python3
"""Measures lodge and QEMU's TCG on the same files: see README.md beside this file."""
import pathlib
import statistics
import subprocess
import sys
import tempfile

from programs import Run, Trouble, bench_options, kernel_options, lodge_command, one_dash, qemu_command, statistic

# Issue 2: boot to power-off on the interpreter, as a multiple of QEMU TCG's time. Issue 4's goal for the translator.
BOOT_LIMIT, GOAL = 8, 0.7
EXIT_16 = 33  # what compute.asm ends a run with, on lodge and on isa-debug-exit alike
RUN_SECONDS = 900


class Workload:
    """One guest, with the options that make each program run it. `goal`: it counts for the translator's."""

    def __init__(self, name, bits, lodge, qemu, status=0, goal=False):
        self.name, self.bits, self.lodge, self.qemu, self.status, self.goal = name, bits, lodge, qemu, status, goal


def kernel_workload(name, bits, guests):
    options = kernel_options(guests, bits, "lodge.mode=auto")
    return Workload(name, bits, options, one_dash(options), goal=True)


def workloads(guests, folder):
    disk = guests / "auto.vhd"
    compute = folder / "compute.img"
    sources = pathlib.Path(__file__).resolve().parents[2] / "roms/boot_sectors"
    subprocess.run(["nasm", "-f", "bin", "-I", f"{sources}/", "-o", compute, sources / "compute.asm"], check=True)
    return [
        Workload("boot to power-off, firmware and VHD", 32, ["--disk", f"{disk},mode=shared"],
                 ["-drive", f"file={disk},format=vpc,if=ide,snapshot=on"]),
        kernel_workload("boot to power-off, i386 --kernel", 32, guests),
        kernel_workload("boot to power-off, amd64 --kernel", 64, guests),
        Workload("compute loop", 32, ["--disk", f"{compute},mode=shared"],
                 ["-drive", f"file={compute},format=raw,if=ide,snapshot=on"], EXIT_16),
    ]


def timed(command, status):
    """Seconds of wall time, and the text on stderr."""
    with Run(command) as run:
        return run.finish(RUN_SECONDS, status), run.error_text()


def measure(program, engine, workload, rounds):
    """Interleaved, so that a slow spell of the host meets both programs."""
    lodge_times, qemu_times, rates, instructions = [], [], [], 0
    for _ in range(rounds):
        seconds, errors = timed(lodge_command(program, engine, workload.lodge), workload.status)
        lodge_times.append(seconds)
        instructions = statistic(errors, "instructions")
        rates.append(instructions / statistic(errors, "seconds") / 1e6)
        qemu_times.append(timed(qemu_command(workload.bits, workload.qemu), workload.status)[0])
    return [statistics.median(values) for values in (lodge_times, qemu_times, rates)] + [instructions / 1e6]


def run_all(options):
    print(f"lodge --engine {options.engine or '(default)'} against QEMU TCG; medians of {options.rounds} interleaved runs")
    print(f"{'':38}{'lodge s':>9}{'QEMU s':>9}{'ratio':>8}{'M insn':>9}{'M insn/s':>10}")
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        for workload in workloads(options.guests, pathlib.Path(folder)):
            lodge, qemu, rate, instructions = measure(options.lodge, options.engine, workload, options.rounds)
            ratios[workload] = lodge / qemu
            print(f"{workload.name:38}{lodge:9.2f}{qemu:9.2f}{lodge / qemu:8.2f}{instructions:9.0f}{rate:10.1f}",
                  flush=True)
    return ratios


def main():
    options = bench_options().parse_args()
    try:
        ratios = run_all(options)
    except Trouble as trouble:
        sys.exit(str(trouble))
    for workload, ratio in ratios.items():
        if workload.goal:
            print(f"{workload.name}: {ratio:.2f} times QEMU's time, "
                  f"{'reaches' if ratio <= GOAL else 'MISSES'} the goal of {GOAL}")
    boot_ratio = next(iter(ratios.values()))
    verdict = "within" if boot_ratio <= BOOT_LIMIT else "OVER"
    print(f"boot by firmware: {boot_ratio:.2f} times QEMU's time, {verdict} the limit of {BOOT_LIMIT}")
    return 0 if boot_ratio <= BOOT_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
