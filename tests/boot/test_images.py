#!/usr/bin/env python3
"""Guests on images that are more than a file of bytes: a chain of differencing images, a host whose disk is full,
blocks that the guest gives back."""
import hashlib
import os
import subprocess
import time
import unittest

from harness import BOOT_SECONDS, GUESTS, HEADLESS, BootTest, Guest, lodge

PROMPT = r"/ # "
MIB = 1 << 20
DIRECT = ["--kernel", GUESTS / "i386/vmlinuz", "--initrd", GUESTS / "i386/initrd.img", "--append",
          "console=ttyS0 lodge.mode=shell", *HEADLESS, "--serial", "stdio"]


def boot_to_shell(guest):
    guest.expect(r"LODGE-GUEST-READY", BOOT_SECONDS)
    guest.expect(PROMPT)


class ImageTest(BootTest):
    def disk(self, *arguments):
        done = lodge("disk", *arguments)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def power_off(self, guest):
        guest.send("poweroff -f\n")
        self.assert_exit(0, guest)


class Chain(ImageTest):
    def test_boots_three_deep(self):
        """Each boot writes into the youngest image, sees what the older ones have, and leaves those alone."""
        images = [self.copy("shell.vhd")]
        for depth in range(1, 4):
            images.append(self.folder / f"child{depth}.vhd")
            self.disk("create", images[-1], "--parent", images[-2])
            sums = [hashlib.sha256(image.read_bytes()).hexdigest() for image in images[:-1]]
            with Guest("--disk", images[-1], *HEADLESS, "--serial", "stdio") as guest:
                boot_to_shell(guest)
                for older in range(1, depth):
                    guest.send(f"md5sum < /mnt/data{older}\n")
                    self.assertEqual(guest.expect(r"([0-9a-f]{32})  -").group(1).decode(), written[older - 1])
                guest.send(f"dd if=/dev/urandom of=/mnt/data{depth} bs=64k count=20; sync; md5sum < /mnt/data{depth}\n")
                written = (written if depth > 1 else []) + [guest.expect(r"([0-9a-f]{32})  -").group(1).decode()]
                guest.send("umount /mnt\n")
                self.power_off(guest)
                self.assert_no_trouble(guest)
            self.assertEqual(sums, [hashlib.sha256(image.read_bytes()).hexdigest() for image in images[:-1]])
            self.disk("check", images[-1])
        self.disk("convert", images[-1], self.folder / "flat.vhd")
        self.disk("commit", images[-1])
        self.disk("compare", self.folder / "flat.vhd", images[-2])


class FullDisk(ImageTest):
    """On a small file system of its own, which needs root."""

    def setUp(self):
        super().setUp()
        self.small = self.folder / "small"
        self.small.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24M", "tmpfs", self.small], capture_output=True,
                                 check=False)
        if mounted.returncode != 0:
            self.skipTest("a file system for the test cannot be mounted")
        self.addCleanup(lambda: subprocess.run(["umount", self.small], check=True))

    def run_out_of_room(self, *options):
        image, ballast = self.small / "disk.vhd", self.small / "ballast"
        self.disk("create", image, "--size", "64M")
        ballast.write_bytes(bytes(18 * MIB))
        with Guest("--disk", image, *options, *DIRECT) as guest:
            boot_to_shell(guest)
            guest.send("dd if=/dev/urandom of=/tmp/data bs=64k count=160 2>/dev/null; md5sum < /tmp/data\n")
            expected = guest.expect(r"([0-9a-f]{32})  -").group(1)
            guest.send("dd if=/tmp/data of=/dev/sda bs=64k conv=fsync && echo all-$((2 * 2))-written\n")
            deadline = time.monotonic() + BOOT_SECONDS
            while "paused until there is room" not in guest.error_text():
                self.assertLess(time.monotonic(), deadline, guest.report())
                guest.read_more(0.2)
            # Longer than a time-out of the guest's would have to be for this test to see it late; it is paused.
            for _ in range(20):
                guest.read_more(0.2)
            self.assertNotIn(b"all-4-written", guest.output)
            ballast.unlink()
            guest.expect(r"all-4-written", BOOT_SECONDS)
            self.assertIn("there is room again", guest.error_text())
            guest.send("echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/sda bs=64k count=160 2>/dev/null | md5sum\n")
            self.assertEqual(guest.expect(r"([0-9a-f]{32})  -").group(1), expected)
            self.power_off(guest)
            self.assert_no_trouble(guest)
        self.disk("check", image)

    def test_realtime(self):
        self.run_out_of_room()

    def test_virtual(self):
        self.run_out_of_room("--clock", "virtual")

    def test_end_while_paused(self):
        image = self.small / "disk.vhd"
        self.disk("create", image, "--size", "64M")
        (self.small / "ballast").write_bytes(bytes(22 * MIB))
        for clock in ("realtime", "virtual"):
            with Guest("--disk", image, "--clock", clock, *DIRECT) as guest:
                boot_to_shell(guest)
                guest.send("dd if=/dev/urandom of=/dev/sda bs=64k count=160 conv=fsync\n")
                deadline = time.monotonic() + BOOT_SECONDS
                while "paused until there is room" not in guest.error_text():
                    self.assertLess(time.monotonic(), deadline, guest.report())
                    guest.read_more(0.2)
                guest.process.terminate()
                self.assert_exit(6, guest)
        self.disk("check", image)


class Trim(ImageTest):
    def test_space_comes_back(self):
        """What the guest discards takes no space of the host any more, and reads as zeros or as it was."""
        for kind in ("dynamic", "fixed", "raw"):
            image = self.folder / f"{kind}.img"
            self.disk("create", image, "--size", "32M", "--type", kind)
            with Guest("--disk", image, *DIRECT) as guest:
                boot_to_shell(guest)
                guest.send("dd if=/dev/urandom of=/dev/sda bs=1M count=24 conv=fsync 2>/dev/null; echo written-$((1+1))\n")
                guest.expect(r"written-2")
                used = os.stat(image).st_blocks * 512
                self.assertGreaterEqual(used, 24 * MIB)
                guest.send("blkdiscard -o 4194304 -l 16777216 /dev/sda; sync; echo status-$?-end\n")
                guest.expect(r"status-0-end")
                self.power_off(guest)
                self.assert_no_trouble(guest)
            self.assertLess(os.stat(image).st_blocks * 512, used - 15 * MIB, kind)
            self.disk("check", image)


if __name__ == "__main__":
    unittest.main()
