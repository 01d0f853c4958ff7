#!/usr/bin/env python3
"""CD-ROM and diskette drives, and disks in all places of the IDE cables: firmware boots from them, Linux' drivers find
nothing to complain of, and what is written comes back."""
import hashlib
import pathlib
import subprocess
import unittest

from harness import BOOT_SECONDS, GUESTS, HEADLESS, BootTest, Guest, lodge

GUEST = GUESTS / "amd64"
KERNEL = ["--kernel", GUEST / "vmlinuz", "--initrd", GUEST / "storage.img",
          "--append", "console=ttyS0 panic=-1 lodge.mode=shell"]
SERIAL = ["--serial", "stdio"]
PROMPT = r"/ # "
EXIT_16 = 33
NUMBERS = hashlib.md5(b"".join(b"%d\n" % n for n in range(1, 2000001))).hexdigest()


def block_io(*arguments):
    """The guest's program, on an image file."""
    return subprocess.run([GUEST / "block_io", *map(str, arguments)], capture_output=True, text=True, check=False)


class Storage(BootTest):
    def image(self, name, kibibytes):
        path = self.folder / name
        with open(path, "wb") as file:
            file.truncate(kibibytes * 1024)
        return path

    def filled(self, name, kibibytes, seed):
        path = self.image(name, kibibytes)
        self.assertEqual(block_io("fill", path, seed).returncode, 0)
        return path

    def boot(self, *arguments):
        guest = Guest(*KERNEL, *arguments, *HEADLESS, *SERIAL)
        self.addCleanup(guest.__exit__)
        guest.expect(r"LODGE-GUEST-READY", BOOT_SECONDS)
        guest.expect(PROMPT)
        return guest

    def command(self, guest, text, *wanted):
        guest.send(text + "\n")
        for pattern in wanted:
            guest.expect(pattern)
        guest.expect(PROMPT)

    def power_off(self, guest):
        guest.send("poweroff -f\n")
        self.assert_exit(0, guest)
        self.assert_no_trouble(guest)

    def assert_holds(self, path, seed):
        result = block_io("verify", path, seed)
        self.assertEqual(result.returncode, 0, result.stdout)


class FirmwareBoots(Storage):
    def test_diskette(self):
        """INT 13h reads every sector and writes the last."""
        diskette = self.sector("diskette")
        result = lodge("run", "--floppy", diskette, "--serial", "null", *HEADLESS)
        self.assertEqual(result.returncode, EXIT_16, result.stderr)
        self.assertEqual(diskette.read_bytes()[-512:][:2], b"OL")

    def hello(self, *arguments):
        result = lodge("run", *arguments, *HEADLESS, *SERIAL)
        self.assertEqual(result.returncode, EXIT_16, result.stderr)
        self.assertIn("SYSLINUX", result.stdout)
        self.assertIn("hello from the boot sector", result.stdout)

    def test_syslinux(self):
        for size in (1440, 2880):
            self.hello("--floppy", f"{GUEST}/diskette-{size}.img,mode=readonly")

    def test_emulated_diskette(self):
        self.hello("--cdrom", GUEST / "diskette.iso")

    def test_order(self):
        """--boot says what comes first; what cannot be booted is passed over."""
        empty = self.image("empty.img", 1440)
        disk = ["--disk", self.sector("exit_16")]
        drives = [*disk, "--cdrom", GUEST / "diskette.iso", "--floppy", f"{GUEST}/diskette-1440.img,mode=shared"]
        self.assertNotIn("SYSLINUX", lodge("run", *drives, *HEADLESS, *SERIAL).stdout)
        self.hello(*drives, "--boot", "cdrom")
        self.hello(*drives, "--boot", "floppy")
        self.hello("--disk", empty, "--cdrom", "empty", "--cdrom", GUEST / "diskette.iso", "--floppy", "empty")


class CdBoot(Storage):
    def boot_from(self, cdrom):
        """Linux from an ISO image, which then reads the disc it came from."""
        with Guest("--cdrom", cdrom, *HEADLESS, *SERIAL) as guest:
            guest.expect(r"ISOLINUX", BOOT_SECONDS)
            guest.expect(r"LODGE-GUEST-READY", BOOT_SECONDS)
            guest.expect(PROMPT)
            self.command(guest, "mount -t iso9660 /dev/sr0 /mnt && md5sum < /mnt/numbers.txt", NUMBERS)
            self.power_off(guest)

    def test_isolinux(self):
        self.boot_from(GUEST / "boot.iso")

    def test_isolinux_scsi(self):
        self.boot_from(f"{GUEST}/boot.iso,bus=scsi")


class LinuxDrivers(Storage):
    def test_disks(self):
        """A disk beside a CD-ROM drive, and a slave without a master."""
        first, second = self.image("first.raw", 16384), self.image("second.raw", 16384)
        guest = self.boot("--disk", first, "--cdrom", f"{GUEST}/boot.iso,unit=1", "--disk", f"{second},unit=3")
        for device, seed in (("sda", 7), ("sdb", 8)):
            self.command(guest, f"block_io random /dev/{device} {seed} 300", r"random of 32768 sectors: good")
        self.command(guest, "block_io fill /dev/sdb 9; block_io fill /dev/sda 10", r"sdb: fill of 32768", r"sda: fill of 32768")
        self.command(guest, "dd if=/dev/sr0 bs=64k count=100 2>/dev/null | md5sum",
                     hashlib.md5((GUEST / "boot.iso").read_bytes()[:6553600]).hexdigest())
        self.power_off(guest)
        self.assert_holds(first, 10)
        self.assert_holds(second, 9)

    def test_tray(self):
        guest = self.boot("--cdrom", GUEST / "boot.iso", "--cdrom", "empty")
        self.command(guest, "dd if=/dev/sr1 bs=2k count=1", r"No medium found")
        self.command(guest, "block_io tray /dev/sr0 open", r"tray open: good")
        self.command(guest, "dd if=/dev/sr0 of=/dev/null bs=2k count=1 || block_io tray /dev/sr0 close", r"good|1\+0")
        self.command(guest, "mount -t iso9660 /dev/sr0 /mnt && md5sum < /mnt/numbers.txt", NUMBERS)
        # What is mounted is locked.
        self.command(guest, "block_io tray /dev/sr0 open", r"does not move")
        self.command(guest, "umount /mnt && block_io tray /dev/sr0 open", r"tray open: good")
        self.power_off(guest)

    def test_diskettes(self):
        first, second = self.filled("first.img", 1440, 5), self.filled("second.img", 720, 6)
        guest = self.boot("--floppy", first, "--floppy", second)
        self.command(guest, "block_io verify /dev/fd0 5", r"verify of 2880 sectors: good")
        self.command(guest, "dd if=/dev/fd1 bs=9k 2>/dev/null | md5sum", hashlib.md5(second.read_bytes()).hexdigest())
        self.command(guest, "block_io fill /dev/fd1 11", r"fill of 1440 sectors: good")
        self.command(guest, "dd if=/dev/fd1 of=/dev/fd0 bs=18k seek=40 count=20 conv=notrunc && sync", r"20\+0 records out")
        self.power_off(guest)
        self.assert_holds(second, 11)
        part = pathlib.Path(second).read_bytes()[:20 * 18432]
        self.assertEqual(first.read_bytes()[40 * 18432:60 * 18432], part)

    def test_write_protected(self):
        diskette, disk = self.filled("protected.img", 1440, 5), self.filled("protected.raw", 1024, 5)
        guest = self.boot("--floppy", f"{diskette},mode=readonly", "--disk", f"{disk},mode=readonly")
        self.command(guest, "dd if=/dev/zero of=/dev/fd0 bs=512 count=1", r"Read-only file system|can't open")
        self.command(guest, "block_io verify /dev/sda 5", r"good")
        guest.send("poweroff -f\n")
        self.assert_exit(0, guest)
        self.assert_holds(diskette, 5)


if __name__ == "__main__":
    unittest.main()
