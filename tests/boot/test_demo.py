#!/usr/bin/env python3
"""The demo's disk: SeaBIOS, syslinux, Debian's kernel, a shell; what is written to its FAT partition stays."""
import hashlib
import subprocess
import unittest

from harness import BOOT_SECONDS, GUESTS, HEADLESS, PARTITION_OFFSET, BootTest, Guest, lodge

PROMPT = r"/ # "
SERIAL = ["--serial", "stdio"]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class DemoShell(BootTest):
    def boot_to_shell(self, guest):
        guest.expect(r"SYSLINUX", BOOT_SECONDS)
        guest.expect(r"Linux version 6\.1\.", BOOT_SECONDS)
        guest.expect(r"LODGE-GUEST-READY", BOOT_SECONDS)
        guest.expect(PROMPT)

    def power_off(self, guest):
        guest.send("poweroff -f\n")
        self.assert_exit(0, guest)

    def test_written_file_survives(self):
        disk = self.copy("shell.vhd")
        with Guest("--disk", disk, *HEADLESS, *SERIAL) as guest:
            self.boot_to_shell(guest)
            guest.send("echo sum=$((6 * 7))\n")
            guest.expect(r"sum=42")
            guest.send("seq 1 20000 > /mnt/numbers; echo written by the guest > /mnt/note.txt; md5sum < /mnt/numbers\n")
            numbers = guest.expect(r"([0-9a-f]{32})  -").group(1).decode()
            self.power_off(guest)
        self.assertEqual(numbers, hashlib.md5(b"".join(b"%d\n" % n for n in range(1, 20001))).hexdigest())

        with Guest("--disk", disk, *HEADLESS, *SERIAL) as guest:
            self.boot_to_shell(guest)
            guest.send("cat /mnt/note.txt; md5sum < /mnt/numbers\n")
            guest.expect(r"\nwritten by the guest")
            guest.expect(numbers)
            self.power_off(guest)

        check = lodge("disk", "check", disk)
        self.assertEqual(check.returncode, 0, check)
        raw = self.folder / "converted.raw"
        convert = lodge("disk", "convert", disk, raw, "--type", "raw")
        self.assertEqual(convert.returncode, 0, convert)
        note = subprocess.run(["mtype", "-i", f"{raw}@@{PARTITION_OFFSET}", "::note.txt"], capture_output=True,
                              check=True).stdout
        self.assertEqual(note, b"written by the guest\n")

    def test_terminal(self):
        """A person types: Control-C ends the guest's program, not lodge; the terminal is as before afterwards."""
        before = sha256(GUESTS / "shell.vhd")
        with Guest("--disk", f"{GUESTS}/shell.vhd,mode=shared", *HEADLESS, *SERIAL, terminal=True) as guest:
            self.boot_to_shell(guest)
            # The program itself says that it began: by then it is in the foreground.
            guest.send("sh -c 'echo began; exec sleep 1000'\r")
            guest.expect(r"\nbegan")
            guest.send("\x03")
            guest.expect(PROMPT)
            guest.send("echo sum=$((6 * 7))\r")
            guest.expect(r"sum=42")
            guest.send("touch /mnt/unwanted; poweroff -f\r")
            self.assert_exit(0, guest)
            self.assertTrue(guest.terminal_settings_kept(), "the terminal's settings changed")
        self.assertEqual(sha256(GUESTS / "shell.vhd"), before, "mode=shared wrote to the image")


class DemoAuto(BootTest):
    def boot(self, *arguments):
        result = lodge("run", "--disk", f"{GUESTS}/auto.vhd,mode=shared", *HEADLESS, *SERIAL, *arguments,
                       timeout=BOOT_SECONDS)
        self.assertEqual(result.returncode, 0, f"{result.stderr}\n{result.stdout[-3000:]}")
        return result.stdout

    def test_prints_and_powers_off(self):
        before = sha256(GUESTS / "auto.vhd")
        output = self.boot()
        self.assertIn("LODGE-GUEST-DONE", output)
        self.assertRegex(output, r"/dev/sda1 /mnt vfat")
        self.assertRegex(output, r"disk: 131072 sectors")
        self.assertEqual(sha256(GUESTS / "auto.vhd"), before, "mode=shared wrote to the image")

    def test_virtual_clock_repeats(self):
        first = self.boot("--clock", "virtual")
        second = self.boot("--clock", "virtual")
        self.assertIn("LODGE-GUEST-DONE", first)
        self.assertEqual(first, second)


if __name__ == "__main__":
    unittest.main()
