#!/usr/bin/env python3
"""The demo's kernel booted directly, without firmware and boot loader."""
import unittest

from harness import BOOT_SECONDS, GUESTS, HEADLESS, BootTest, Guest

KERNEL = ["--kernel", GUESTS / "i386/vmlinuz"]
INITRD = ["--initrd", GUESTS / "i386/initrd.img"]
SERIAL = ["--serial", "stdio"]


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


if __name__ == "__main__":
    unittest.main()
