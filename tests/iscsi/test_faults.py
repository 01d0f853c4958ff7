#!/usr/bin/env python3
"""Networks that are cut under sessions, in a network namespace whose loopback goes down: see README.md beside this file."""
import os
import select
import socket
import struct
import subprocess
import sys
import time
import unittest

TRIAL = os.environ["LODGE_ISCSI_TRIAL"]
TARGET = "iqn.2026-11.io.lodge:trial"
INSIDE = "LODGE_TEST_NAMESPACE"


def link(state):
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


class Initiator:
    """As little of one as logs in and reads."""

    def __init__(self, portal):
        host, port = portal.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.command_sn = 0
        text = f"InitiatorName=iqn.2026-11.io.lodge.test:raw\0TargetName={TARGET}\0".encode()
        login = struct.pack(">BBBB I 6sH I HH II", 0x43, 0x87, 0, 0, len(text), b"\x80\0\0\0\0\1", 0, 1, 0, 0, 0, 0)
        self.socket.sendall(login.ljust(48, b"\0") + text + bytes(-len(text) % 4))
        header, _ = self.receive()
        assert header[36:38] == b"\0\0", header

    def receive(self):
        header = self.take(48)
        length = int.from_bytes(header[5:8], "big")
        return header, self.take(length + -length % 4)[:length]

    def take(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def send_read(self, blocks):
        self.command_sn += 1
        command = struct.pack(">BBBB I Q I I II", 0x01, 0xC1, 0, 0, 0, 0, self.command_sn, blocks * 512,
                              self.command_sn - 1, 0)
        cdb = struct.pack(">BBIBHB", 0x28, 0, 0, 0, blocks, 0)
        self.socket.sendall(command + cdb.ljust(16, b"\0"))

    def read(self, blocks):
        """Bytes of data, and the status."""
        self.send_read(blocks)
        data = b""
        while True:
            header, more = self.receive()
            if header[0] == 0x25:
                data += more
            if header[0] == 0x21 or header[1] & 1:
                return data, header[3]


class Cut(unittest.TestCase):
    SILENCE = 4

    def setUp(self):
        link("up")
        self.trial = subprocess.Popen([TRIAL, "--silence", str(self.SILENCE)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE)
        self.portal = self.trial.stdout.readline().split()[1].decode()
        self.initiator = Initiator(self.portal)
        self.assertIn(b"began", self.trial.stdout.readline())
        self.initiator.read(1)  # the attention that tells of power-on

    def tearDown(self):
        link("up")
        self.initiator.socket.close()
        self.trial.communicate(timeout=30)

    def line(self, seconds):
        """What the target tells within so many seconds, or nothing."""
        return self.trial.stdout.readline() if select.select([self.trial.stdout], [], [], seconds)[0] else None

    def test_idle(self):
        link("down")
        self.assertIn(b"connection lost", self.line(60) or b"")

    def test_under_way(self):
        for _ in range(60):
            self.initiator.send_read(2048)
        time.sleep(0.2)
        link("down")
        self.assertIn(b"connection lost", self.line(60) or b"")
        # The disk is free for the next one.
        link("up")
        another = Initiator(self.portal)
        another.read(1)
        self.assertEqual(another.read(8), (bytes(4096), 0))
        another.socket.close()

    def test_short(self):
        self.assertEqual(self.initiator.read(8), (bytes(4096), 0))
        link("down")
        time.sleep(self.SILENCE / 4)
        link("up")
        self.assertEqual(self.initiator.read(8), (bytes(4096), 0))
        self.assertIsNone(self.line(0.1))


if __name__ == "__main__":
    if INSIDE not in os.environ:
        alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
        probe = subprocess.run([*alone, "ip", "link", "set", "lo", "up"], stderr=subprocess.PIPE, text=True)
        if probe.returncode != 0:
            print(f"skipped: no network namespace is to be had here: {probe.stderr.strip()}")
            sys.exit(0)
        os.environ[INSIDE] = "1"
        os.execvp(alone[0], [*alone, sys.executable, *sys.argv])
    unittest.main(verbosity=2)
