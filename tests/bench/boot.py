#!/usr/bin/env python3
"""Measures lodge and QEMU's TCG on the same files: see README.md beside this file."""
import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

# Issue 2: boot to power-off on the interpreter, as a multiple of QEMU TCG's time.
BOOT_LIMIT = 8
MEMORY = "512"
EXIT_16 = 33  # what compute.asm ends a run with, on lodge and on isa-debug-exit alike
RUN_SECONDS = 900


class Workload:
    """One guest, with the options that make each program run it."""

    def __init__(self, name, lodge, qemu, status):
        self.name, self.lodge, self.qemu, self.status = name, lodge, qemu, status


def workloads(guests, folder):
    disk = guests / "auto.vhd"
    append = "console=ttyS0 panic=-1 lodge.mode=auto"
    direct = ["--kernel", guests / "i386/vmlinuz", "--initrd", guests / "i386/initrd.img", "--append", append]
    compute = folder / "compute.img"
    sources = pathlib.Path(__file__).resolve().parents[2] / "roms/boot_sectors"
    subprocess.run(["nasm", "-f", "bin", "-I", f"{sources}/", "-o", compute, sources / "compute.asm"], check=True)
    return [
        Workload("boot to power-off, firmware and VHD", ["--disk", f"{disk},mode=shared"],
                 ["-drive", f"file={disk},format=vpc,if=ide,snapshot=on"], 0),
        Workload("boot to power-off, --kernel", direct, [str(part).replace("--", "-", 1) for part in direct], 0),
        Workload("compute loop", ["--disk", f"{compute},mode=shared"],
                 ["-drive", f"file={compute},format=raw,if=ide,snapshot=on"], EXIT_16),
    ]


def timed(command, status):
    """Seconds of wall time and the text on stderr; stops everything on another exit status than expected."""
    began = time.monotonic()
    result = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            errors="replace", timeout=RUN_SECONDS, check=False)
    seconds = time.monotonic() - began
    if result.returncode != status:
        tail = result.stdout[-1000:]
        sys.exit(f"{' '.join(map(str, command))}\nended with {result.returncode}: {result.stderr}\n{tail}")
    return seconds, result.stderr


def lodge_command(program, engine, workload):
    return [program, "run", *workload.lodge, "--engine", engine, "--memory", MEMORY, "--display", "none",
            "--serial", "stdio", "--stats"]


def qemu_command(workload):
    return ["qemu-system-i386", "-accel", "tcg", "-M", "pc", "-cpu", "qemu32", "-m", MEMORY, "-nodefaults",
            "-vga", "std", "-display", "none", "-serial", "stdio", "-no-reboot",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=1", *workload.qemu]


def statistic(errors, name):
    match = re.search(rf"^{name}: ([0-9.]+)", errors, re.M)
    if not match:
        sys.exit(f"lodge --stats printed no line '{name}: N', but:\n{errors}")
    return float(match.group(1))


def measure(program, engine, workload, rounds):
    """Interleaved, so that a slow spell of the host meets both programs."""
    lodge_times, qemu_times, rates, instructions = [], [], [], 0
    for _ in range(rounds):
        seconds, errors = timed(lodge_command(program, engine, workload), workload.status)
        lodge_times.append(seconds)
        instructions = statistic(errors, "instructions")
        rates.append(instructions / statistic(errors, "seconds") / 1e6)
        qemu_times.append(timed(qemu_command(workload), workload.status)[0])
    return [statistics.median(values) for values in (lodge_times, qemu_times, rates)] + [instructions / 1e6]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lodge", default="build/release/lodge")
    parser.add_argument("--guests", type=pathlib.Path, default=pathlib.Path("build/guests"))
    parser.add_argument("--engine", default="interpreter")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    print(f"lodge --engine {options.engine} against QEMU TCG; medians of {options.rounds} interleaved runs")
    print(f"{'':38}{'lodge s':>9}{'QEMU s':>9}{'ratio':>8}{'M insn':>9}{'M insn/s':>10}")
    boot_ratio = None
    with tempfile.TemporaryDirectory() as folder:
        for workload in workloads(options.guests, pathlib.Path(folder)):
            lodge, qemu, rate, instructions = measure(options.lodge, options.engine, workload, options.rounds)
            boot_ratio = boot_ratio or lodge / qemu
            print(f"{workload.name:38}{lodge:9.2f}{qemu:9.2f}{lodge / qemu:8.2f}{instructions:9.0f}{rate:10.1f}",
                  flush=True)
    verdict = "within" if boot_ratio <= BOOT_LIMIT else "OVER"
    print(f"boot to power-off: {boot_ratio:.2f} times QEMU's time, {verdict} the limit of {BOOT_LIMIT}")
    return 0 if boot_ratio <= BOOT_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
