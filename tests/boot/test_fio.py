#!/usr/bin/env python3
"""dd and fio in a guest, on disks of three kinds at once: IDE, LSI SCSI, and a chain of differencing images three deep.
What they write is read back past the guest's caches, by fio with a checksum in every block.

The program is the host's own, of Debian's package, with the libraries it asks for: the guest's kernel is of the same
architecture."""
import pathlib
import re
import shutil
import subprocess
import unittest

from harness import BOOT_SECONDS, GUESTS, HEADLESS, BootTest, Guest, lodge

GUEST = GUESTS / "amd64"
ADD_TO_INITRAMFS = pathlib.Path(__file__).parent.parent / "guests/add_to_initramfs.sh"
PROMPT = r"/ # "
WORK_SECONDS = 300
# Each disk: the options of lodge, and where Linux finds it.
DISKS = {
    "ide": ("", "0:0:0:0"),
    "chain": (",unit=1", "0:0:1:0"),
    "scsi": (",bus=scsi,unit=3", "*:0:3:0"),
}
FIO = ("/usr/bin/fio --name=lodge --direct=1 --ioengine=libaio --iodepth=8 --rw=randrw --bsrange=512-128k --size=8m "
       "--verify=crc32c --verify_fatal=1 --filename=$disk")


def add_program(folder, program):
    """Copies a program and its libraries to the same places below `folder`."""
    libraries = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in [program, *re.findall(r"(?:=> )?(/\S+) \(0x", libraries)]:
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


class Fio(BootTest):
    def disk(self, *arguments):
        done = lodge("disk", *arguments)
        self.assertEqual(done.returncode, 0, done)

    def make_disks(self):
        images = {name: self.folder / f"{name}.vhd" for name in DISKS}
        self.disk("create", images["ide"], "--size", "16M")
        self.disk("create", images["scsi"], "--size", "16M")
        parent = self.folder / "base.vhd"
        self.disk("create", parent, "--size", "16M")
        for depth in range(2):
            child = self.folder / f"child{depth}.vhd"
            self.disk("create", child, "--parent", parent)
            parent = child
        images["chain"] = parent
        return images

    def make_initramfs(self):
        folder = self.folder / "programs"
        add_program(folder, shutil.which("fio"))
        initramfs = self.folder / "fio.img"
        subprocess.run([ADD_TO_INITRAMFS, GUEST / "storage.img", folder, initramfs], check=True)
        shutil.rmtree(folder)
        return initramfs

    def ask(self, guest, command, pattern):
        guest.send(command + "\n")
        guest.expect(pattern, WORK_SECONDS)
        guest.expect(PROMPT)

    def work(self, guest, name):
        self.ask(guest, f"disk=/dev/$(ls /sys/bus/scsi/devices/{DISKS[name][1]}/block); echo disk=$disk",
                 r"disk=/dev/sd[a-z]\r\n")
        self.ask(guest, "dd if=/tmp/data of=$disk bs=48k oflag=direct conv=fsync 2>/dev/null; echo written=$?", r"written=0")
        self.ask(guest, "dd if=$disk bs=96k count=64 iflag=direct 2>/dev/null | cmp - /tmp/data; echo same=$?", r"same=0")
        guest.send(f"{FIO} > /tmp/log 2>&1 || cat /tmp/log; echo fio=$?; cat /tmp/log\n")
        self.assertEqual(guest.expect(r"fio=(\d+)\r\n", WORK_SECONDS).group(1), b"0", guest.report())
        guest.expect(r"err= *0")
        guest.expect(PROMPT)

    def test_verifies_on_each_disk(self):
        images = self.make_disks()
        arguments = [part for name, image in images.items() for part in ("--disk", f"{image}{DISKS[name][0]}")]
        with Guest("--kernel", GUEST / "vmlinuz", "--initrd", self.make_initramfs(), "--append",
                   "console=ttyS0 panic=-1 lodge.mode=shell", *arguments, *HEADLESS, "--serial", "stdio") as guest:
            guest.expect(r"LODGE-GUEST-READY", BOOT_SECONDS)
            guest.expect(PROMPT)
            self.ask(guest, "dd if=/dev/urandom of=/tmp/data bs=96k count=64 2>/dev/null; echo made=$?", r"made=0")
            for name in DISKS:
                self.work(guest, name)
            guest.send("poweroff -f\n")
            self.assert_exit(0, guest)
            self.assert_no_trouble(guest)
        for image in images.values():
            self.disk("check", image)


if __name__ == "__main__":
    unittest.main()
