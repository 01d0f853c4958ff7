#!/usr/bin/env python3
"""How a run ends: lodge's exit status for boot sectors that end it in each way."""
import time
import unittest

from harness import HEADLESS, BootTest, Guest

SERIAL_NULL = ["--serial", "null"]


class ExitStatus(BootTest):
    def run_sector(self, name, *arguments, serial=SERIAL_NULL, mode="private"):
        self.disk = self.sector(name)
        return Guest("--disk", f"{self.disk},mode={mode}", *HEADLESS, *serial, *arguments)

    def test_exit_port(self):
        with self.run_sector("exit_16") as guest:
            self.assert_exit(33, guest)

    def test_timeout(self):
        began = time.monotonic()
        with self.run_sector("loop", "--timeout", 5) as guest:
            self.assert_exit(124, guest)
        took = time.monotonic() - began
        self.assertTrue(5 <= took < 20, took)

    def test_timeout_of_a_paused_guest(self):
        with self.run_sector("loop", "--timeout", 2, "--paused") as guest:
            self.assert_exit(124, guest)

    def test_triple_fault(self):
        with self.run_sector("triple_fault", "--no-reboot") as guest:
            self.assert_exit(4, guest)

    def test_keyboard_controller_reset(self):
        with self.run_sector("keyboard_reset", "--no-reboot") as guest:
            self.assert_exit(4, guest)

    def test_reset_without_no_reboot_boots_again(self):
        with self.run_sector("keyboard_reset", "--timeout", 5) as guest:
            self.assert_exit(124, guest)

    def test_serial_text_to_stdio_and_file(self):
        with self.run_sector("hello", serial=["--serial", "stdio"]) as guest:
            self.assert_exit(33, guest)
            self.assertIn(b"hello from the boot sector\r\n", guest.output)
        log = self.folder / "serial.log"
        with self.run_sector("hello", serial=["--serial", f"file:{log}"]) as guest:
            self.assert_exit(33, guest)
        self.assertIn(b"hello from the boot sector\r\n", log.read_bytes())

    def test_small_disks(self):
        whole = self.sector("hello").read_bytes()
        for sectors in (1, 2, 62, 256, 1007, 1008):
            disk = self.folder / f"{sectors}.img"
            disk.write_bytes(whole[:sectors * 512])
            with Guest("--disk", f"{disk},format=raw", *HEADLESS, "--serial", "stdio") as guest:
                self.assert_exit(33, guest)
                self.assertIn(b"hello from the boot sector\r\n", guest.output)

    def test_private_write_reaches_the_image_shared_does_not(self):
        with self.run_sector("write_sector") as guest:
            self.assert_exit(1, guest)
        self.assertEqual(self.disk.read_bytes()[512:522], b"LODGE-MARK")
        with self.run_sector("write_sector", mode="shared") as guest:
            self.assert_exit(1, guest)
        self.assertEqual(self.disk.read_bytes()[512:522], bytes(10))


if __name__ == "__main__":
    unittest.main()
