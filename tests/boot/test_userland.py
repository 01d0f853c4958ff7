#!/usr/bin/env python3
"""A Debian 12 userland: systemd to the login on the serial port, a user at work, an orderly end.

Run by `./dev userland`, which makes the disk (tests/guests/make_debian.sh).
"""
import os
import time
import unittest

from harness import GUESTS, HEADLESS, BootTest, Guest

# systemd's start is some thirty thousand million instructions; the wait allows for a slow and shared machine.
LOGIN_SECONDS = int(os.environ.get("LODGE_LOGIN_SECONDS", "1800"))
WORK_SECONDS = 600
DEBIAN = GUESTS / "debian"
MACHINE = ["--memory", 1024, *HEADLESS, "--serial", "stdio"]
# Nanoseconds of guest time per instruction, not per host time: systemd's and login's time-outs do not hit a slow host.
CLOCK = ["--clock", os.environ.get("LODGE_CLOCK", "virtual")]

C_PROGRAM = r"""#include <math.h>
#include <stdio.h>
int main(void) {
    double sum = 0;
    for (int i = 1; i <= 1000; ++i) sum += 1.0 / i;
    printf("compiled: %.9f %zu\n", sum, sizeof(void*));
    return 7;
}
"""


class Userland(BootTest):
    def log_in(self, guest, user):
        guest.send(f"{user}\n")
        guest.expect(r"Password: ", WORK_SECONDS)
        guest.send(f"{user}\n")
        guest.expect(rf"{user}@lodge-guest:", WORK_SECONDS)

    def work(self, guest):
        guest.send(f"cat > a.c << 'END'\n{C_PROGRAM}END\n")
        guest.send("gcc -O2 -Wall -o a a.c && ./a; echo status=$?\n")
        guest.expect(r"\ncompiled: 7\.485470861 8", WORK_SECONDS)
        guest.expect(r"\nstatus=7", WORK_SECONDS)
        guest.send("python3 -c 'import hashlib, math; print(\"python:\", 2**100, math.sqrt(2), "
                   "hashlib.sha256(b\"lodge\").hexdigest()[:8])'\n")
        guest.expect(r"\npython: 1267650600228229401496703205376 1\.4142135623730951 cb610bc1", WORK_SECONDS)

    def shut_down(self, guest):
        guest.send("exit\n")
        guest.expect(r"login: ", WORK_SECONDS)
        self.log_in(guest, "root")
        guest.send("systemctl --failed --no-legend --plain; systemctl is-system-running\n")
        guest.expect(r"\nrunning", WORK_SECONDS)
        guest.send("poweroff\n")
        self.assert_exit(0, guest, WORK_SECONDS)

    def live(self, *arguments):
        began = time.monotonic()
        with Guest(*arguments, *MACHINE, *CLOCK) as guest:
            guest.expect(r"login: ", LOGIN_SECONDS)
            print(f"login after {time.monotonic() - began:.0f} s", flush=True)
            self.log_in(guest, "lodge")
            self.work(guest)
            self.shut_down(guest)
            self.assertIn(b"reboot: Power down", guest.output)
            self.assert_no_trouble(guest)
        print(f"powered off after {time.monotonic() - began:.0f} s", flush=True)

    def test_by_firmware(self):
        self.live("--disk", f"{DEBIAN}/debian.vhd,mode=shared")

    def test_directly(self):
        self.live("--disk", f"{DEBIAN}/debian.vhd,mode=shared", "--kernel", DEBIAN / "vmlinuz", "--initrd",
                  DEBIAN / "initrd.img", "--append", "console=ttyS0 panic=-1")


if __name__ == "__main__":
    unittest.main()
