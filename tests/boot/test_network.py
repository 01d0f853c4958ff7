#!/usr/bin/env python3
"""Guests on networks: Debian's kernel with its e1000 driver, iPXE from its ROM, on the user network and on a segment.

No test needs a network but the host's loopback.
"""
import hashlib
import os
import re
import shutil
import socket
import subprocess
import unittest
from unittest import mock

from harness import BOOT_SECONDS, GUESTS, HEADLESS, PROGRAM, STEP_SECONDS, ShellTest, Guest
from network_peers import VLAN, FileServer, SegmentPeer, free_port, read_capture, wrong_checksums

KERNEL = GUESTS / "i386/vmlinuz"
INITRD = GUESTS / "i386/network.img"
APPEND = "console=ttyS0 panic=-1 quiet"
SERIAL = ["--serial", "stdio"]


def random_bytes(size, seed):
    out, block = bytearray(), seed
    while len(out) < size:
        block = hashlib.sha256(block).digest()
        out += block * 32
    return bytes(out[:size])


class NetworkTest(ShellTest):
    def start(self, *arguments):
        """A guest with its drivers loaded, at the shell; eth0 is up."""
        guest = Guest("--kernel", KERNEL, "--initrd", INITRD, "--append", APPEND, *HEADLESS, *SERIAL, "--memory", 128,
                      *arguments)
        self.addCleanup(guest.__exit__)
        guest.expect(self.PROMPT, BOOT_SECONDS)
        self.run_in(guest, "sh /network.sh; ip link set lo up; ip link set eth0 up")
        return guest

    def power_off(self, guest):
        guest.send("poweroff -f\n")
        self.assert_exit(0, guest)
        self.assert_no_trouble(guest)


class UserNetwork(NetworkTest):
    def test_linux(self):
        """An address by DHCP, the gateway, files both ways with offloading, and what was on the wire."""
        content = random_bytes(4 << 20, b"to the guest")
        server = FileServer({"/file": content})
        self.addCleanup(server.close)
        port, capture = free_port(), self.folder / "capture.pcap"
        guest = self.start("--net", f"user,hostfwd=tcp::{port}-:80", "--nic", "e1000,mac=52:54:00:0A:0B:0C",
                           "--capture", capture)
        self.succeed_in(guest, "udhcpc -i eth0 -n -q -s /udhcpc.sh")
        self.assertIn(b"LODGE-DHCP address=10.0.2.15 mask=255.255.255.0 router=10.0.2.2 dns=10.0.2.3", guest.output)
        self.assertIn("52:54:00:0a:0b:0c", self.succeed_in(guest, "cat /sys/class/net/eth0/address"))
        self.assertIn("3 packets received", self.succeed_in(guest, "ping -c 3 -i 0.1 10.0.2.2"))
        output = self.succeed_in(guest, f"wget -q -O - http://10.0.2.2:{server.port}/file | sha256sum")
        self.assertIn(hashlib.sha256(content).hexdigest(), output)
        # From the guest's own server, through the forwarded port: sendfile gives the card large segments.
        self.succeed_in(guest, f"mkdir /www; wget -q -O /www/file http://10.0.2.2:{server.port}/file; httpd -h /www")
        with socket.create_connection(("127.0.0.1", port), timeout=STEP_SECONDS) as connection:
            connection.sendall(b"GET /file HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        self.assertEqual(answer.split(b"\r\n\r\n", 1)[1], content)
        # The names of the counters, and no errors.
        for counter in ("rx_errors", "tx_errors", "rx_dropped", "tx_dropped"):
            self.assertRegex(self.succeed_in(guest, f"cat /sys/class/net/eth0/statistics/{counter}"), r"\n0\r?\n")
        self.power_off(guest)
        self.check_capture(capture)

    def check_capture(self, path):
        frames = read_capture(path)
        # The driver leaves checksums and segments to the card: on the wire they are right.
        self.assertEqual([each for each in map(wrong_checksums, frames) if each], [])
        sent = [frame for frame in frames if frame[6:12].hex() == "5254000a0b0c"]
        self.assertGreater(sum(map(len, sent)), 4 << 20)
        self.assertLessEqual(max(map(len, frames)), 1514)
        if shutil.which("tcpdump"):
            text = subprocess.run(["tcpdump", "-nr", path], capture_output=True, text=True, check=True).stdout
            self.assertEqual(len(text.splitlines()), len(frames))
            self.assertRegex(text, r"10\.0\.2\.15 > 10\.0\.2\.2: ICMP echo request")

    def test_virtual_clock_repeats(self):
        """Two runs that talk to none but the user network itself: the same frames at the same guest times."""
        shutil.copyfile(self.sector("hello"), self.folder / "whole")
        (self.folder / "boot").write_bytes((self.folder / "whole").read_bytes()[:512])
        seen = []
        for run in range(2):
            capture, serial = self.folder / f"capture{run}", self.folder / f"serial{run}"
            with Guest("--boot", "network", "--net", f"user,tftp={self.folder},bootfile=boot", "--clock", "virtual",
                       "--capture", capture, "--serial", f"file:{serial}", "--memory", 64, "--stats",
                       *HEADLESS) as guest:
                status = guest.wait(BOOT_SECONDS)
                instructions = re.search(r"instructions: \d+", guest.error_text()).group()
            seen.append((status, instructions, capture.read_bytes(), serial.read_bytes()))
        self.assertEqual(seen[0], seen[1])
        self.assertGreater(len(read_capture(capture)), 8)
        self.assertIn(b"hello", seen[0][3].lower())


class Pxe(NetworkTest):
    def test_kernel(self):
        """SeaBIOS, iPXE from its ROM, DHCP, a script by TFTP, kernel and initramfs by HTTP."""
        server = FileServer({"/vmlinuz": KERNEL.read_bytes(), "/initrd.img": INITRD.read_bytes()})
        self.addCleanup(server.close)
        base = f"http://10.0.2.2:{server.port}"
        (self.folder / "script").write_text(f"#!ipxe\nkernel {base}/vmlinuz {APPEND} initrd=initrd.img\n"
                                            f"initrd {base}/initrd.img\nboot\n")
        with Guest("--boot", "network", "--net", f"user,tftp={self.folder},bootfile=nothing,ipxe-bootfile=script",
                   "--memory", 128, *HEADLESS, *SERIAL) as guest:
            guest.expect(r"LODGE-GUEST-READY", BOOT_SECONDS)
            guest.expect(self.PROMPT)
            self.assertEqual(server.requests, ["/vmlinuz", "/initrd.img"])
            self.power_off(guest)

    def test_missing_rom(self):
        empty = self.folder / "firmware"
        empty.mkdir()
        for name in ("bios-256k.bin", "vgabios-stdvga.bin"):
            shutil.copy(f"/usr/share/seabios/{name}", empty)
        (empty / "pxe-e1000.rom").write_bytes(b"\x55\xAA\x01" + bytes(509))
        with Guest("--boot", "network", "--firmware-dir", empty, *HEADLESS) as guest:
            self.assertEqual(guest.wait(), 2)
            self.assertRegex(guest.error_text(), r"pxe-e1000\.rom: not an expansion ROM for the e1000")


class Segment(NetworkTest):
    GUEST_MAC = bytes.fromhex("520000000002")
    GUEST = bytes([10, 9, 0, 2])

    def join(self, path, number, *arguments):
        """A guest with address 10.9.0.NUMBER on the segment."""
        guest = self.start("--nic", f"e1000,mac=52:00:00:00:00:0{number}", "--net", f"socket=unix:{path}", *arguments)
        self.succeed_in(guest, f"ip addr add 10.9.0.{number}/24 dev eth0")
        return guest

    def test_filters_tags_and_link(self):
        """Against a peer of our own: unicast, multicast, VLANs, long frames; its end pulls the cable."""
        path = self.folder / "segment"
        peer = SegmentPeer(path, listen=True)
        self.addCleanup(peer.close)
        guest = self.join(path, 2)
        peer.accept()
        self.assertTrue(peer.ping(self.GUEST_MAC, self.GUEST))
        self.assertFalse(peer.ping(bytes.fromhex("520000000009"), self.GUEST, seconds=1))
        # A group that the guest has joined, and one that it has not: the card's table of hashes.
        self.succeed_in(guest, "echo 0 > /proc/sys/net/ipv4/icmp_echo_ignore_broadcasts")
        self.assertTrue(peer.ping(bytes.fromhex("01005e000001"), bytes([224, 0, 0, 1])))
        received = "cat /sys/class/net/eth0/statistics/rx_packets"
        before = self.succeed_in(guest, received)
        self.assertFalse(peer.ping(bytes.fromhex("01005e0a0b0c"), bytes([239, 10, 11, 12]), seconds=1))
        self.assertEqual(before, self.succeed_in(guest, received))
        self.succeed_in(guest, "ip link set eth0 promisc on")
        self.assertTrue(peer.ping(bytes.fromhex("ffffffffffff"), self.GUEST))
        self.succeed_in(guest, "ip link set eth0 promisc off")
        # Tags are put in and taken out by the card.
        self.succeed_in(guest, "vconfig add eth0 5; ip addr flush dev eth0; ip addr add 10.9.0.2/24 dev eth0.5; "
                               "ip link set eth0.5 up")
        answer = peer.ping(self.GUEST_MAC, self.GUEST, tag=VLAN.to_bytes(2, "big") + b"\0\5")
        self.assertTrue(answer)
        self.assertEqual(int.from_bytes(answer[12:16], "big"), VLAN << 16 | 5)
        self.assertFalse(peer.ping(self.GUEST_MAC, self.GUEST, tag=VLAN.to_bytes(2, "big") + b"\0\6", seconds=1))
        # Jumbo frames. Another MTU resets the card, and its link is found again a moment later.
        has_link = "until grep -q 1 /sys/class/net/eth0/carrier; do usleep 100000; done"
        self.succeed_in(guest, "ip link set eth0 mtu 9000; ip link set eth0.5 down; ip addr add 10.9.0.2/24 dev eth0; "
                               + has_link)
        self.assertGreater(len(peer.ping(self.GUEST_MAC, self.GUEST, payload=bytes(8000)) or b""), 8000)
        # The hub goes away: the guest's cable with it, until lodge can be the hub itself. (A file in the way keeps it from
        # that for a while: Linux looks at the link every two seconds.)
        self.succeed_in(guest, "ip link set eth0 mtu 1500; dmesg -c > /dev/null; " + has_link)
        path.unlink()
        path.write_text("")
        peer.close()
        self.succeed_in(guest, "until dmesg | grep 'NIC Link is Down'; do usleep 100000; done")
        path.unlink()
        self.succeed_in(guest, "until dmesg | grep 'NIC Link is Up'; do usleep 100000; done")
        member = SegmentPeer(path, listen=False)
        self.addCleanup(member.close)
        self.assertTrue(member.ping(self.GUEST_MAC, self.GUEST))
        self.power_off(guest)

    def test_two_guests(self):
        """Two lodges on one segment, and a third party that hears what it should."""
        path = self.folder / "segment"
        first, second = self.join(path, 2), self.join(path, 3)
        self.assertIn("3 packets received", self.succeed_in(first, "ping -c 3 -i 0.1 10.9.0.3"))
        self.assertIn("2 packets received", self.succeed_in(second, "ping -c 2 -i 0.1 -s 4000 10.9.0.2"))
        third = SegmentPeer(path, listen=False)
        self.addCleanup(third.close)
        self.assertTrue(third.ping(bytes.fromhex("520000000002"), bytes([10, 9, 0, 2])))
        self.assertTrue(third.ping(bytes.fromhex("520000000003"), bytes([10, 9, 0, 3])))
        # A file from one to the other.
        self.succeed_in(first, "mkdir /www; dd if=/dev/urandom of=/www/f bs=64k count=32; sync; httpd -h /www")
        here = self.succeed_in(first, "sha256sum < /www/f")
        there = self.succeed_in(second, "wget -q -O - http://10.9.0.2/f | sha256sum")
        digest = re.search(r"[0-9a-f]{64}", here).group()
        self.assertIn(digest, there)
        self.power_off(second)
        self.power_off(first)

    @unittest.skipUnless(shutil.which("qemu-system-x86_64"), "QEMU is the peer")
    def test_qemu(self):
        """QEMU's stream netdev is a member of the segment."""
        path = self.folder / "segment"
        guest = self.join(path, 2)
        script = self.folder / "files"
        script.mkdir()
        (script / "autorun.sh").write_text("sh /network.sh; ip link set eth0 up; ip addr add 10.9.0.3/24 dev eth0\n"
                                           "echo QEMU-UP; sleep 1000\n")
        subprocess.run([os.path.join(os.path.dirname(__file__), "../guests/add_to_initramfs.sh"), INITRD, script,
                        self.folder / "initrd"], check=True)
        other = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-m", "128", "-nodefaults", "-display", "none", "-serial", "stdio",
             "-kernel", KERNEL, "-initrd", self.folder / "initrd", "-append", APPEND,
             "-netdev", f"stream,id=n,server=off,addr.type=unix,addr.path={path}",
             "-device", "e1000,netdev=n,mac=52:00:00:00:00:03"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(other.communicate)
        self.addCleanup(other.kill)
        for line in other.stdout:
            if b"QEMU-UP" in line:
                break
        self.assertIn("3 packets received", self.succeed_in(guest, "ping -c 3 -i 0.1 10.9.0.3"))
        self.power_off(guest)


class Tap(NetworkTest):
    def test_namespace(self):
        """A tap interface in a network namespace of its own, where the host's side is 10.9.0.1."""
        alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
        make = ("ip tuntap add dev lodge0 mode tap && ip addr add 10.9.0.1/24 dev lodge0 && ip link set lodge0 up")
        probe = subprocess.run([*alone, "sh", "-c", make], capture_output=True, text=True, check=False)
        if probe.returncode:
            self.skipTest(f"no tap interface is to be had here: {probe.stderr.strip()}")
        wrapper = self.folder / "lodge"
        wrapper.write_text(f"#!/bin/sh\nexec {' '.join(alone)} sh -c '{make} && exec {PROGRAM} \"$@\"' sh \"$@\"\n")
        wrapper.chmod(0o755)
        with mock.patch("harness.PROGRAM", wrapper):
            guest = self.start("--net", "tap=lodge0")
        self.succeed_in(guest, "ip addr add 10.9.0.2/24 dev eth0")
        self.assertIn("3 packets received", self.succeed_in(guest, "ping -c 3 -i 0.1 10.9.0.1"))
        self.power_off(guest)


if __name__ == "__main__":
    unittest.main()
