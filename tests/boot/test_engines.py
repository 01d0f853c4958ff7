#!/usr/bin/env python3
"""The engines are one machine: on the virtual clock a boot gives the same bytes on each, and takes as many instructions.

The whole state at the end is compared by tests/lockstep, which runs both in one process.
"""
import re
import subprocess
import unittest

from harness import BOOT_SECONDS, GUESTS, HEADLESS, PROGRAM, BootTest

GUEST = ["--kernel", GUESTS / "i386/vmlinuz", "--append", "console=ttyS0 panic=-1"]
VIRTUAL = ["--clock", "virtual", "--no-reboot", "--stats", "--serial", "stdio"]


class Engines(BootTest):
    def run_on(self, engine):
        """To the kernel's panic, since there is no root file system; serial output and count of instructions."""
        command = [PROGRAM, "run", *map(str, GUEST), *VIRTUAL, *HEADLESS, "--engine", engine]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=BOOT_SECONDS, check=False)
        self.assertEqual(run.returncode, 4, run.stderr)
        return run.stdout, int(re.search(rb"^instructions: (\d+)$", run.stderr, re.M).group(1))

    def test_same_output_and_count(self):
        output, count = self.run_on("interpreter")
        self.assertIn(b"Kernel panic - not syncing: VFS", output)
        self.assertEqual(self.run_on("jit"), (output, count))


if __name__ == "__main__":
    unittest.main()
