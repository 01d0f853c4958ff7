#!/usr/bin/env python3
"""Machines without a disk boot Debian's kernel from vDisks that `lodge vdisk serve` serves, to the login of a root that
is there too (tests/guests/make_netboot.sh).

Everything is on the host's loopback: the machines reach it through their user network.
"""
import hashlib
import os
import pathlib
import re
import select
import signal
import subprocess
import time
import unittest

from harness import BOOT_SECONDS, GUESTS, HEADLESS, STEP_SECONDS, ShellTest, Guest, lodge
from vdisk_server import Server

DISK = GUESTS / "amd64/netboot.raw"
FIRST, SECOND = "52:54:00:00:00:01", "52:54:00:00:00:02"


class VDiskTest(ShellTest):
    PROMPT = r"/root # "

    def setUp(self):
        super().setUp()
        self.store = self.folder / "store"
        self.vdisk("init", self.store)
        self.vdisk("import", self.store, "debian", DISK)

    def vdisk(self, *arguments):
        done = lodge("vdisk", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def assign(self, mac, mode, vdisk="debian", order=0):
        if mac not in self.vdisk("client", "list", self.store):
            self.vdisk("client", "add", self.store, mac)
        self.vdisk("assign", self.store, mac, vdisk, "--mode", mode, "--order", order)

    def serve(self, *options):
        server = Server(self.store, *options)
        self.addCleanup(server.stop, signal.SIGKILL)
        server.start()
        return server

    def start(self, server, mac, *options):
        guest = Guest("--vdisk-server", f"127.0.0.1:{server.http}", "--nic", f"e1000,mac={mac}", "--memory", 256,
                      *HEADLESS, "--serial", "stdio", *options)
        self.addCleanup(guest.__exit__)
        return guest

    def log_in(self, guest):
        guest.expect(r"LODGE-NETBOOT-TARGET iqn\.2026-11\.io\.lodge:", BOOT_SECONDS)
        guest.expect(r"LODGE-NETBOOT-ROOT /dev/sda2 \S", BOOT_SECONDS)
        guest.expect(r"lodge-netboot login: ", BOOT_SECONDS)
        guest.send("root\n")
        guest.expect(self.PROMPT)

    def boot(self, server, mac, *options):
        guest = self.start(server, mac, *options)
        self.log_in(guest)
        return guest

    def power_off(self, guest):
        guest.send("poweroff\n")
        self.assert_exit(0, guest, BOOT_SECONDS)

    def image_hash(self, vdisk="debian"):
        return hashlib.sha256((self.store / "vdisks" / f"{vdisk}.vhd").read_bytes()).hexdigest()


class Modes(VDiskTest):
    def test_private_keeps(self):
        self.assign(FIRST, "private")
        self.assign(SECOND, "private")
        server = self.serve()
        guest = self.boot(server, FIRST)
        self.succeed_in(guest, "echo kept > /root/file; sync")
        # Meanwhile nobody else can have it, and is told who has it.
        self.assertIn(FIRST, server.script(SECOND))
        self.power_off(guest)
        guest = self.boot(server, SECOND)
        self.assertIn("kept", self.succeed_in(guest, "cat /root/file"))
        self.power_off(guest)
        self.assertEqual(server.stop(), 0, server.log_text())
        self.assertEqual(lodge("disk", "check", self.store / "vdisks/debian.vhd").returncode, 0)

    def test_shared_forgets(self):
        """Two clients at once on one vDisk: each sees its own writes, until it boots again."""
        self.assign(FIRST, "shared")
        self.assign(SECOND, "shared")
        base = self.image_hash()
        server = self.serve()
        guests = [self.start(server, mac) for mac in (FIRST, SECOND)]
        for number, guest in enumerate(guests):
            self.log_in(guest)
            self.succeed_in(guest, f"echo client-$(({number})) > /root/file; sync; echo 3 > /proc/sys/vm/drop_caches")
        sessions = server.api("sessions")
        self.assertEqual({session["mac"] for session in sessions.get("sessions", sessions)}, {FIRST, SECOND})
        for number, guest in enumerate(guests):
            self.assertIn(f"client-{number}", self.succeed_in(guest, "cat /root/file"))
        # Booting again, in the same machine.
        guests[0].send("reboot\n")
        self.log_in(guests[0])
        self.assertNotEqual(self.run_in(guests[0], "cat /root/file")[1], 0)
        self.assertIn("client-1", self.succeed_in(guests[1], "cat /root/file"))
        for guest in guests:
            self.power_off(guest)
        self.assertEqual(server.stop(), 0, server.log_text())
        self.assertEqual(self.image_hash(), base)


class Faults(VDiskTest):
    def write_numbers(self, guest, first, last):
        """Starts a writer in the guest's background: a numbered line, on the disk when the next one is written."""
        guest.send(f"(for i in $(seq {first} {last}); do echo line-$i >> /root/lines; sync; done; echo WRITER-EN''DED) &\n")

    def check_numbers(self, guest, last):
        output = self.succeed_in(guest, "grep -c line- /root/lines; tail -n 1 /root/lines; dmesg | grep -c 'I/O error'; true",
                                 BOOT_SECONDS)
        self.assertRegex(output, rf"\n{last}\r?\nline-{last}\r?\n0\r?\n")

    def survive(self, mode):
        """The server is killed under writes and comes back: the guest waits, goes on, and nothing is lost."""
        self.assign(FIRST, mode)
        server = self.serve()
        guest = self.boot(server, FIRST)
        self.write_numbers(guest, 1, 400)
        time.sleep(1)
        server.stop(signal.SIGKILL)
        time.sleep(2)
        server.start()
        guest.expect("WRITER-ENDED", BOOT_SECONDS)
        self.check_numbers(guest, 400)
        # What is read now comes from the server.
        self.succeed_in(guest, "echo 3 > /proc/sys/vm/drop_caches")
        self.check_numbers(guest, 400)
        self.power_off(guest)
        self.assertEqual(server.stop(), 0, server.log_text())

    def test_server_killed_private(self):
        self.survive("private")

    def test_server_killed_shared(self):
        self.survive("shared")

    def test_silence(self):
        """For half a minute nobody answers, as if the cable were out."""
        self.assign(FIRST, "private")
        server = self.serve()
        guest = self.boot(server, FIRST)
        self.write_numbers(guest, 1, 400)
        time.sleep(1)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(30)
        server.process.send_signal(signal.SIGCONT)
        guest.expect("WRITER-ENDED", BOOT_SECONDS)
        self.check_numbers(guest, 400)
        self.power_off(guest)

    def test_cache_full(self):
        """The client sees errors, the log says so, and the vDisk is as before."""
        self.assign(FIRST, "shared")
        self.vdisk("settings", self.store, "--cache-quota", "8M")
        base = self.image_hash()
        server = self.serve()
        guest = self.boot(server, FIRST)
        output, status = self.run_in(guest, "dd if=/dev/urandom of=/root/big bs=1M count=24 conv=fsync", BOOT_SECONDS)
        self.assertNotEqual(status, 0, output)
        self.assertRegex(server.log_text(), r"(?i)full")
        guest.process.kill()
        guest.wait()
        # The next boot has a cache of its own.
        guest = self.boot(server, FIRST)
        self.assertNotEqual(self.run_in(guest, "cat /root/big")[1], 0)
        self.power_off(guest)
        server.stop()
        self.assertEqual(self.image_hash(), base)


class Qemu:
    """QEMU as a client without a disk: its screen and its keyboard through its monitor."""

    def __init__(self, server, mac, folder):
        self.memory = pathlib.Path(folder) / "screen"
        url = f"http://10.0.2.2:{server.http}/boot.ipxe?mac=${{netX/mac:hexhyp}}&uuid=${{uuid}}"
        self.serial_path = pathlib.Path(folder) / f"serial-{mac.replace(':', '')}"
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,thread=single", "-M", "pc", "-m", "256", "-nodefaults", "-vga", "std",
             "-display", "none", "-no-reboot", "-boot", "n", "-netdev", f"user,id=n,bootfile={url}",
             "-device", f"e1000,netdev=n,mac={mac},bootindex=0", "-serial", f"file:{self.serial_path}",
             "-monitor", "stdio"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def monitor(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        while select.select([self.process.stdout], [], [], 0.2)[0]:
            if not os.read(self.process.stdout.fileno(), 65536):
                return

    def screen(self):
        """The text screen's 25 lines."""
        self.monitor(f'pmemsave 0xb8000 4000 "{self.memory}"')
        cells = self.memory.read_bytes() if self.memory.exists() else b""
        text = cells[::2].decode("latin-1")
        return "\n".join(text[line:line + 80].rstrip() for line in range(0, len(text), 80))

    def wait_for_screen(self, pattern, seconds=BOOT_SECONDS):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.screen()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"{pattern!r} is not on the screen:\n{self.screen()}")
            time.sleep(0.3)
        return self.screen()

    def wait_for_serial(self, pattern, seconds=BOOT_SECONDS):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.serial()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"{pattern!r} did not come; screen:\n{self.screen()}\nserial:\n{self.serial()[-2000:]}")
            time.sleep(0.3)

    def serial(self):
        return self.serial_path.read_text(errors="replace") if self.serial_path.exists() else ""


class Choice(VDiskTest):
    """What the boot script says to clients of different kinds. QEMU is the client, whose screen can be read."""

    def client(self, server, mac):
        client = Qemu(server, mac, self.folder)
        self.addCleanup(client.close)
        return client

    def test_menu(self):
        self.vdisk("import", self.store, "other", DISK)
        self.vdisk("settings", self.store, "--menu-seconds", 0)
        self.assign(FIRST, "shared", order=1)
        self.assign(FIRST, "shared", "other", order=2)
        server = self.serve()
        client = self.client(server, FIRST)
        screen = client.wait_for_screen(r"other")
        self.assertIn("debian", screen)
        client.monitor("sendkey down")
        client.monitor("sendkey ret")
        client.wait_for_serial(r"LODGE-NETBOOT-TARGET iqn\.2026-11\.io\.lodge:other\b")
        client.wait_for_serial(r"lodge-netboot login: ")

    def test_unknown_clients(self):
        server = self.serve()
        self.client(server, FIRST).wait_for_screen(r"does not know\s+this computer")
        # Registered: the administrator sees it, it is told to wait.
        self.vdisk("settings", self.store, "--unknown", "register")
        self.client(server, FIRST).wait_for_screen(r"is recorded now")
        self.assertIn(FIRST, self.vdisk("client", "list", self.store))
        # The default vDisk, shared.
        self.vdisk("default", self.store, "debian")
        self.vdisk("settings", self.store, "--unknown", "default")
        self.client(server, SECOND).wait_for_serial(r"lodge-netboot login: ")
        self.assertNotIn(SECOND, self.vdisk("client", "list", self.store))

    def test_second_client_of_private(self):
        self.assign(FIRST, "private")
        self.assign(SECOND, "private")
        server = self.serve()
        guest = self.boot(server, FIRST)
        self.client(server, SECOND).wait_for_screen(FIRST.replace(":", "[:-]"))
        self.power_off(guest)


if __name__ == "__main__":
    unittest.main()
