#!/usr/bin/env python3
"""Kernels of our own that try what only privileged code can see (tests/boot/kernels). Their expectations come from the
manual; LODGE_KERNELS_QEMU=1 also prints, for a person to judge, where QEMU's TCG answers otherwise."""
import os
import re
import subprocess
import unittest

from harness import SECTORS, BootTest, lodge

OK_STATUS = 1  # port F4h: 2 * failures + 1


def lines_of(path):
    """What the kernel said, after the BIOS's own lines."""
    text = path.read_text(errors="replace")
    return [line for line in text.splitlines() if re.match(r"ok |FAIL |done ", line)]


def qemu_failures(image, output, wide):
    program, model = ("qemu-system-x86_64", "max") if wide else ("qemu-system-i386", "pentium3,+nx")
    command = [program, "-accel", "tcg", "-cpu", model, "-M", "pc", "-m", "64", "-nodefaults",
               "-display", "none", "-no-reboot", "-drive", f"format=raw,snapshot=on,file={image}",
               "-debugcon", f"file:{output}", "-global", "isa-debugcon.iobase=0xe9",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        pass
    return [line for line in lines_of(output) if not line.startswith("ok ")]


class Kernels(BootTest):
    def run_kernel(self, name, least, wide=False):
        image = SECTORS / f"kernel_{name}.img"
        output = self.folder / "debugcon"
        # The paging kernel expects 36 physical address bits and no long mode.
        result = lodge("run", "--cpu", "x86-64-v2" if wide else "pentium4", "--disk", f"{image},format=raw,mode=shared",
                       "--debugcon", f"file:{output}", "--serial", "null", "--display", "none", "--memory", 64, "--no-reboot")
        lines = lines_of(output)
        self.assertEqual([line for line in lines if line.startswith("FAIL ")], [], result.stderr)
        self.assertEqual(result.returncode, OK_STATUS, result.stderr)
        self.assertGreaterEqual(len(lines), least, "the kernel ended early")
        if os.environ.get("LODGE_KERNELS_QEMU"):
            print(f"QEMU, {name}:", *qemu_failures(image, self.folder / "qemu", wide), sep="\n  ")

    def test_exceptions(self):
        self.run_kernel("exceptions", 160)

    def test_gates(self):
        self.run_kernel("gates", 125)

    def test_tasks(self):
        self.run_kernel("tasks", 125)

    def test_segments(self):
        self.run_kernel("segments", 150)

    def test_paging(self):
        self.run_kernel("paging", 115)

    def test_debug(self):
        self.run_kernel("debug", 70)

    def test_code(self):
        self.run_kernel("code", 24)

    def test_apic(self):
        self.run_kernel("apic", 85)

    def test_real(self):
        self.run_kernel("real", 35)

    def test_long_mode(self):
        self.run_kernel("long_mode", 36, wide=True)


if __name__ == "__main__":
    unittest.main()
