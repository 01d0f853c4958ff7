#!/usr/bin/env python3
"""Debian's kernels: the demo's booted directly, without firmware and boot loader; the others both ways."""
import unittest

from harness import BOOT_SECONDS, GUESTS, HEADLESS, BootTest, Guest

KERNEL = ["--kernel", GUESTS / "i386/vmlinuz"]
INITRD = ["--initrd", GUESTS / "i386/initrd.img"]
SERIAL = ["--serial", "stdio"]
PROMPT = r"/ # "


class DirectBoot(BootTest):
    def test_with_initramfs(self):
        append = ["--append", "console=ttyS0 panic=-1 lodge.mode=auto"]
        with Guest(*KERNEL, *INITRD, *append, *HEADLESS, *SERIAL) as guest:
            guest.expect(r"LODGE-GUEST-DONE", BOOT_SECONDS)
            self.assert_exit(0, guest)
            self.assertNotIn(b"SYSLINUX", guest.output)
            # 512 MiB is the default; the kernel keeps some of it for itself.
            guest.searched = 0
            memory = int(guest.expect(r"Mem: +(\d+)").group(1))
            self.assertTrue(450 * 1024 < memory < 512 * 1024, memory)

    def test_memory_option(self):
        append = ["--append", "console=ttyS0 panic=-1 lodge.mode=auto"]
        with Guest(*KERNEL, *INITRD, *append, *HEADLESS, *SERIAL, "--memory", 128) as guest:
            memory = int(guest.expect(r"Mem: +(\d+)", BOOT_SECONDS).group(1))
            self.assertTrue(96 * 1024 < memory < 128 * 1024, memory)
            self.assert_exit(0, guest)

    def test_panic_without_initramfs(self):
        with Guest(*KERNEL, "--append", "console=ttyS0 panic=-1", *HEADLESS, *SERIAL, "--no-reboot") as guest:
            guest.expect(r"Kernel panic - not syncing: VFS", BOOT_SECONDS)
            self.assert_exit(4, guest)


class OtherKernel(BootTest):
    """To the busybox shell."""

    def boot(self, machine, *arguments):
        with Guest(*arguments, *HEADLESS, *SERIAL) as guest:
            guest.expect(r"LODGE-GUEST-READY", BOOT_SECONDS)
            guest.expect(PROMPT)
            guest.send("echo machine=$(uname -m) sum=$((6 * 7))\n")
            guest.expect(rf"\nmachine={machine} sum=42")
            guest.send("poweroff -f\n")
            self.assert_exit(0, guest)
            self.assert_no_trouble(guest)

    def boot_directly(self, name, machine):
        self.boot(machine, "--kernel", GUESTS / name / "vmlinuz", "--initrd", GUESTS / name / "initrd.img",
                  "--append", "console=ttyS0 panic=-1 lodge.mode=shell")

    def boot_by_firmware(self, name, machine):
        self.boot(machine, "--disk", f"{GUESTS}/{name}/shell.vhd,mode=shared")

    def test_amd64_directly(self):
        self.boot_directly("amd64", "x86_64")

    def test_amd64_by_firmware(self):
        self.boot_by_firmware("amd64", "x86_64")

    def test_pae_directly(self):
        self.boot_directly("i386-pae", "i686")

    def test_pae_by_firmware(self):
        self.boot_by_firmware("i386-pae", "i686")


if __name__ == "__main__":
    unittest.main()
