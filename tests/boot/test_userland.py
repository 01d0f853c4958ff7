#!/usr/bin/env python3
"""A Debian 12 userland: systemd to the login on the serial port, a user at work, an orderly end; from a disk of the
machine's own, and without one from a vDisk.

Run by `./dev userland`, which makes the disk (tests/guests/make_debian.sh). Prints when each step was reached, and at
the end what processor time the machine took. From the environment: LODGE_CLOCK (virtual, the default, or realtime),
LODGE_ENGINE (lodge's default), LODGE_LOGIN_SECONDS (how long to wait for the login). With
LODGE=tests/boot/qemu_peer.py QEMU runs the same.
"""
import os
import resource
import signal
import time
import unittest

from harness import GUESTS, HEADLESS, BootTest, Guest, lodge
from vdisk_server import Server

# To the login it is some ten thousand million instructions; the wait allows for a slow and shared machine.
LOGIN_SECONDS = int(os.environ.get("LODGE_LOGIN_SECONDS", "1800"))
WORK_SECONDS = 600
DEBIAN = GUESTS / "debian"
MACHINE = ["--memory", 1024, *HEADLESS, "--serial", "stdio"]
# Nanoseconds of guest time per instruction, not per host time: systemd's and login's time-outs do not hit a slow host.
CLOCK = ["--clock", os.environ.get("LODGE_CLOCK", "virtual")]
ENGINE = ["--engine", os.environ["LODGE_ENGINE"]] if os.environ.get("LODGE_ENGINE") else []

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

    # What is expected does not match the echo of the command. It need not begin a line: bash ends each command line
    # with the control sequence that ends bracketed paste.
    def work(self, guest):
        guest.send(f"cat > a.c << 'END'\n{C_PROGRAM}END\n")
        guest.send("gcc -O2 -Wall -o a a.c && ./a; echo status=$?\n")
        guest.expect(r"compiled: 7\.485470861 8\r\n", WORK_SECONDS)
        guest.expect(r"status=7\r\n", WORK_SECONDS)
        self.say("compiled and run")
        guest.send("python3 -c 'import hashlib, math; print(\"python:\", 2**100, math.sqrt(2), "
                   "hashlib.sha256(b\"lodge\").hexdigest()[:8])'\n")
        guest.expect(r"python: 1267650600228229401496703205376 1\.4142135623730951 cb610bc1\r\n", WORK_SECONDS)
        self.say("python3 -c")

    def shut_down(self, guest):
        guest.send("exit\n")
        guest.expect(r"login: ", WORK_SECONDS)
        self.log_in(guest, "root")
        guest.send("systemctl --failed --no-legend --plain --no-pager; echo state=$(systemctl is-system-running --wait)\n")
        guest.expect(r"state=running\r\n", WORK_SECONDS)
        guest.send("poweroff\n")
        self.assert_exit(0, guest, WORK_SECONDS)

    @staticmethod
    def processor_seconds():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def say(self, what):
        print(f"{self.id().rsplit('.', 1)[-1]}: {what} after {time.monotonic() - self.began:.1f} s", flush=True)

    def live(self, *arguments, clock=CLOCK, work=None):
        self.began = time.monotonic()
        used = self.processor_seconds()
        with Guest(*arguments, *MACHINE, *clock, *ENGINE) as guest:
            guest.expect(r"login: ", LOGIN_SECONDS)
            self.say("login prompt")
            self.log_in(guest, "lodge")
            self.say("logged in")
            (work or self.work)(guest)
            self.shut_down(guest)
            self.say(f"powered off, {self.processor_seconds() - used:.1f} s of processor time used,")
            self.assertIn(b"reboot: Power down", guest.output)
            self.assert_no_trouble(guest)

    def test_by_firmware(self):
        self.live("--disk", f"{DEBIAN}/debian.vhd,mode=shared")

    def test_directly(self):
        self.live("--disk", f"{DEBIAN}/debian.vhd,mode=shared", "--kernel", DEBIAN / "vmlinuz", "--initrd",
                  DEBIAN / "initrd.img", "--append", "console=ttyS0 panic=-1")

    def test_from_vdisk(self):
        """Its initramfs is Debian's own, which finds the root by the firmware's table; what a user wrote is there again
        at the next boot. On the real clock: the server is not the machine's."""
        store, mac = self.folder / "store", "52:54:00:00:00:01"
        for command in (["init", store], ["import", store, "debian", DEBIAN / "netboot.vhd"],
                        ["client", "add", store, mac], ["assign", store, mac, "debian", "--mode", "private"]):
            done = lodge("vdisk", *command, timeout=WORK_SECONDS)
            self.assertEqual(done.returncode, 0, done.stderr)
        server = Server(store)
        self.addCleanup(server.stop, signal.SIGKILL)
        server.start()
        machine = ["--vdisk-server", f"127.0.0.1:{server.http}", "--nic", f"e1000,mac={mac}"]
        self.live(*machine, clock=["--clock", "realtime"])

        def look(guest):
            guest.send("./a; findmnt --noheadings --output SOURCE,FSTYPE /\n")
            guest.expect(r"compiled: 7\.485470861 8\r\n", WORK_SECONDS)
            guest.expect(r"/dev/sda2 +ext4", WORK_SECONDS)

        self.live(*machine, clock=["--clock", "realtime"], work=look)
        self.assertEqual(server.stop(), 0, server.log_text())


if __name__ == "__main__":
    unittest.main()
