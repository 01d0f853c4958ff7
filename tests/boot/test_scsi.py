#!/usr/bin/env python3
"""Disks behind the LSI 53C895A: SeaBIOS boots from them, Linux's sym53c8xx works them with tagged commands.

With LODGE=tests/boot/qemu_peer.py QEMU's lsi53c895a does the same (but for images that it does not know).
"""
import hashlib
import os
import random
import shutil
import subprocess
import unittest

from harness import BOOT_SECONDS, GUESTS, HEADLESS, PROGRAM, BootTest, Guest

SERIAL = ["--serial", "stdio"]
PROMPT = r"/ # "
WORK_SECONDS = 300

# Four writers at once, each with blocks of its own size, to a disk of their own; then everything is read back past the
# caches with other sizes, and compared.
EXERCISE = """
set +m
exercise() {
  for i in 0 1 2 3; do dd if=/dev/urandom of=/tmp/data$i bs=64k count=24 2>/dev/null; done
  i=0
  for size in 512 4096 24576 131072; do
    dd if=/tmp/data$i of=$1 bs=$size seek=$((i * 1572864 / size)) conv=notrunc oflag=direct 2>/dev/null &
    i=$((i + 1))
  done
  wait
  sync
  echo 3 > /proc/sys/vm/drop_caches
  i=0
  for size in 65536 512 131072 4096; do
    dd if=$1 of=/tmp/back$i bs=$size skip=$((i * 1572864 / size)) count=$((1572864 / size)) iflag=direct 2>/dev/null &
    i=$((i + 1))
  done
  wait
  good=0
  for i in 0 1 2 3; do cmp /tmp/data$i /tmp/back$i && good=$((good + 1)); done
  echo exercise=$good
}
"""


class Scsi(BootTest):
    def ready(self, guest):
        guest.expect(r"LODGE-GUEST-READY", BOOT_SECONDS)
        guest.expect(PROMPT)

    def ask(self, guest, command, pattern, seconds=WORK_SECONDS):
        guest.send(command + "\n")
        match = guest.expect(pattern, seconds)
        guest.expect(PROMPT)
        return match

    def power_off(self, guest):
        guest.send("sync; poweroff -f\n")
        self.assert_exit(0, guest)
        self.assert_no_trouble(guest)
        for line in guest.output.decode(errors="replace").splitlines():
            self.assertNotRegex(line, r"sym\d: (.*(error|unexpected|suspicious)|SCSI phase)|ABORT|RESET operation|"
                                      r"bad reselection|timed out|msgin reject", guest.report())

    def name_disk(self, guest, address):
        """Sets $disk to the disk at HOST:CHANNEL:TARGET:LUN; Linux names them in the order in which it gets ready."""
        self.ask(guest, f"disk=/dev/$(ls /sys/bus/scsi/devices/{address}/block); echo disk=$disk", r"disk=/dev/sd[a-z]\r\n")

    def check_driver(self, guest):
        self.ask(guest, "echo found=$(dmesg | grep -c -e '895a.*irq' -e 'tagged command queuing enabled')",
                 r"found=[2-9]")

    def make_disk(self, name, mebibytes):
        path = self.folder / name
        subprocess.run([PROGRAM, "disk", "create", path, "--size", f"{mebibytes}M"], check=True, capture_output=True)
        return path


class FromScsi(Scsi):
    """SeaBIOS and Linux on one VHD, the work on another."""

    def test_boots_and_keeps_data(self):
        data = self.make_disk("data.vhd", 32)
        with Guest("--disk", f"{self.copy('scsi-shell.vhd')},bus=scsi", "--disk", f"{data},bus=scsi,unit=3", *HEADLESS,
                   *SERIAL) as guest:
            self.ready(guest)
            self.check_driver(guest)
            for line in EXERCISE.strip().splitlines():
                guest.send(line + "\n")
            self.name_disk(guest, "*:0:3:0")
            self.ask(guest, "exercise $disk", r"exercise=4\r\n")
            digest = self.ask(guest, "echo sum=$(md5sum < $disk)", r"sum=([0-9a-f]{32})").group(1).decode()
            self.ask(guest, "echo cache=$(cat /sys/block/${disk#/dev/}/queue/write_cache | tr ' ' -)", r"cache=write-back")
            self.ask(guest, "echo kept > /mnt/kept; sync; echo done=$?", r"done=0")
            self.power_off(guest)
        raw = self.folder / "data.raw"
        subprocess.run([PROGRAM, "disk", "convert", data, raw, "--type", "raw"], check=True, capture_output=True)
        self.assertEqual(hashlib.md5(raw.read_bytes()).hexdigest(), digest)

    def test_on_chain_three_deep(self):
        base = self.copy("scsi-shell.vhd")
        before = hashlib.sha256(base.read_bytes()).hexdigest()
        parent = base
        for depth in range(2):
            child = self.folder / f"child{depth}.vhd"
            subprocess.run([PROGRAM, "disk", "create", child, "--parent", parent], check=True, capture_output=True)
            parent = child
        with Guest("--disk", f"{parent},bus=scsi", *HEADLESS, *SERIAL) as guest:
            self.ready(guest)
            self.ask(guest, "echo deep > /mnt/deep; sync; echo done=$?", r"done=0")
            self.power_off(guest)
        with Guest("--disk", f"{parent},bus=scsi,unit=2", *HEADLESS, *SERIAL) as guest:
            self.ready(guest)
            self.ask(guest, "cat /mnt/deep", r"\ndeep\r\n")
            self.power_off(guest)
        self.assertEqual(hashlib.sha256(base.read_bytes()).hexdigest(), before)
        for image in (base, self.folder / "child0.vhd", parent):
            subprocess.run([PROGRAM, "disk", "check", image], check=True, capture_output=True)


class Move(Scsi):
    """A system that knows IDE only, moved to SCSI as Virtual Server's users did it: first the driver, then the disk."""

    def test_from_ide_to_scsi(self):
        disk = self.copy("shell.vhd")
        driver = self.folder / "driver.raw"
        shutil.copy(GUESTS / "i386/initrd-scsi.img", driver)
        size = os.path.getsize(driver)
        os.truncate(driver, (size + 511) // 512 * 512)
        with Guest("--disk", disk, "--disk", f"{driver},format=raw", *HEADLESS, *SERIAL) as guest:
            self.ready(guest)
            self.name_disk(guest, "0:0:1:0")
            self.ask(guest, f"head -c {size} $disk > /mnt/initrd.img; echo made > /mnt/on-ide; sync; echo done=$?",
                     r"done=0")
            self.power_off(guest)
        with Guest("--disk", f"{disk},bus=scsi", *HEADLESS, *SERIAL) as guest:
            self.ready(guest)
            self.check_driver(guest)
            self.ask(guest, "cat /mnt/on-ide", r"\nmade\r\n")
            self.power_off(guest)


class BesideIde(Scsi):
    def test_ide_boots_and_scsi_works(self):
        random.seed(5)
        block = bytes(random.randrange(256) for _ in range(4096))
        data = self.folder / "data.raw"
        data.write_bytes(block * 256)
        with Guest("--disk", f"{GUESTS}/scsi-shell.vhd,mode=shared", "--disk", f"{data},bus=scsi,unit=15,mode=readonly",
                   *HEADLESS, *SERIAL) as guest:
            self.ready(guest)
            digest = hashlib.md5(data.read_bytes()).hexdigest()
            self.name_disk(guest, "*:0:15:0")
            self.ask(guest, "echo sum=$(md5sum < $disk)", rf"sum={digest}")
            self.ask(guest, "echo protected=$(cat /sys/block/${disk#/dev/}/ro)", r"protected=1")
            self.power_off(guest)


if __name__ == "__main__":
    unittest.main()
