#!/usr/bin/env python3
"""`lodge vdisk`: the commands on a store, and the server with initiators that come, write, are lost and come again."""
import json
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

from harness import lodge
from iscsi_initiator import CommandFailed, Initiator, LoginFailed

MAC = "52:54:00:12:34:56"


class StoreTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="lodge-vdisk-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.store = self.folder / "store"

    def vdisk(self, *arguments, status=0):
        result = lodge("vdisk", *arguments)
        self.assertEqual(result.returncode, status, result.stderr)
        if status:
            self.assertRegex(result.stderr, r"\Alodge: [^\n]+\n\Z")
        return result.stdout

    def listed(self, *arguments):
        return json.loads(self.vdisk(*arguments, "--json"))

    def raw(self, name="disk.raw", kibibytes=3000):
        path = self.folder / name
        path.write_bytes(os.urandom(1024) * kibibytes)
        return path


class Commands(StoreTest):
    def test_life_of_a_store(self):
        store = self.store
        raw = self.raw()
        self.vdisk("init", store)
        self.vdisk("import", store, "debian", raw, "--note", "Debian 12")
        self.vdisk("create", store, "empty", "--size", "1G")
        self.vdisk("client", "add", store, "52-54-00-12-34-56", "--name", "desk", "--secret", "a long secret")
        self.vdisk("assign", store, MAC, "debian", "--mode", "shared", "--order", "2")
        self.vdisk("assign", store, MAC, "empty")
        self.vdisk("default", store, "debian")
        self.vdisk("settings", store, "--cache", "memory", "--cache-memory", "8M", "--cache-quota", "1G")

        listing = self.listed("list", store)
        self.assertEqual(listing["default"], "debian")
        debian, empty = listing["vdisks"]
        self.assertEqual((debian["name"], debian["bytes"], debian["note"]), ("debian", raw.stat().st_size, "Debian 12"))
        self.assertEqual(debian["assignments"][0], {"mac": MAC, "vdisk": "debian", "mode": "shared", "order": 2})
        self.assertEqual(empty["bytes"], 1 << 30)
        self.assertEqual(lodge("disk", "compare", debian["file"], raw).returncode, 0)
        client = self.listed("client", "list", store)["clients"][0]
        self.assertEqual((client["mac"], client["name"]), (MAC, "desk"))
        self.assertEqual([each["vdisk"] for each in client["assignments"]], ["empty", "debian"])
        self.assertTrue(client["has_secret"])
        self.assertNotIn("secret", client)
        shown = self.listed("client", "list", store, MAC, "--secrets")["clients"][0]
        self.assertEqual(shown["secret"], "a long secret")
        settings = self.listed("settings", store)
        self.assertEqual((settings["unknown"], settings["cache"], settings["cache_memory"]), ("default", "memory", 8 << 20))
        self.assertRegex(self.vdisk("list", store), r"(?m)^debian \*  ")
        self.assertRegex(self.vdisk("client", "list", store), "debian \\(shared\\)")

        self.vdisk("client", "change", store, MAC, "--name", "table", "--secret", "", "--initiator", "iqn.x:y", "--no-secret")
        client = self.listed("client", "list", store)["clients"][0]
        self.assertEqual((client["name"], client["has_secret"], client["no_secret"]), ("table", False, True))
        self.assertEqual(client["initiators"], ["iqn.x:y"])

        password = subprocess.run([os.environ["LODGE"], "vdisk", "password", store], input="a good password\n", text=True,
                                  check=False)
        self.assertEqual(password.returncode, 0)
        self.assertTrue(self.listed("settings", store)["has_password"])
        self.vdisk("password", store, status=2)
        self.vdisk("password", store, "--none")
        self.vdisk("discard", store, MAC)

        self.vdisk("remove", store, "debian", status=2)
        self.vdisk("unassign", store, MAC, "debian")
        self.vdisk("default", store, "--none")
        self.vdisk("remove", store, "debian")
        self.vdisk("remove", store, "empty", "--force")
        self.vdisk("client", "remove", store, MAC)
        self.assertEqual(self.listed("list", store)["vdisks"], [])
        self.assertEqual(list((store / "vdisks").iterdir()), [])
        log = self.vdisk("log", store, "--lines", "4")
        self.assertEqual(len(log.splitlines()), 4)
        self.assertIn("removed client " + MAC, log.splitlines()[-1])
        self.assertIn("command line: ", log)

    def test_what_cannot_be(self):
        store = self.store
        self.vdisk("list", store, status=2)
        self.vdisk("init", store)
        self.vdisk("init", store, status=2)
        self.vdisk("import", store, "Bad Name", self.raw(), status=2)
        self.vdisk("import", store, "a", self.folder / "none", status=2)
        self.vdisk("create", store, "a", "--size", "100", status=2)
        self.vdisk("client", "add", store, "52:54", status=2)
        self.vdisk("client", "add", store, MAC, "--secret", "short", status=2)
        self.vdisk("client", "change", store, MAC, "--name", "x", status=2)
        self.vdisk("assign", store, MAC, "a", status=2)
        self.vdisk("unassign", store, MAC, "a", status=2)
        self.vdisk("default", store, status=2)
        self.vdisk("default", store, "none", status=2)
        self.vdisk("settings", store, "--cache", "tape", status=2)
        self.vdisk("settings", store, "--unknown", "maybe", status=2)
        self.vdisk("remove", store, "a", status=2)
        (store / "lodge.sqlite").write_bytes(os.urandom(8192))
        self.vdisk("list", store, status=2)

    def test_import_that_is_stopped_leaves_nothing(self):
        self.vdisk("init", self.store)
        source = self.folder / "large.raw"
        with open(source, "wb") as file:
            for _ in range(256):
                file.write(os.urandom(1 << 20))
        for number in (signal.SIGTERM, signal.SIGKILL):
            with subprocess.Popen([os.environ["LODGE"], "vdisk", "import", self.store, "large", source],
                                  stderr=subprocess.PIPE) as process:
                time.sleep(0.05)
                process.send_signal(number)
                process.communicate(timeout=60)
            if process.returncode == 0:
                self.skipTest("it was done before the signal came")
            self.assertEqual(self.listed("list", self.store)["vdisks"], [])
            self.assertEqual(list((self.store / "vdisks").iterdir()), [])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server(StoreTest):
    """A store with vDisk `debian` and two clients, and a server on it that tests stop, kill and start again."""

    ONE, TWO = "52:54:00:00:00:01", "52:54:00:00:00:02"

    def setUp(self):
        super().setUp()
        self.content = os.urandom(1 << 20) * 4
        raw = self.folder / "disk.raw"
        raw.write_bytes(self.content)
        self.vdisk("init", self.store)
        self.vdisk("import", self.store, "debian", raw)
        for mac in (self.ONE, self.TWO):
            self.vdisk("client", "add", self.store, mac)
        self.image = self.listed("list", self.store)["vdisks"][0]["file"]
        self.port = free_port()
        self.process = None
        self.output = ""
        self.addCleanup(self.end, signal.SIGKILL)

    def assign(self, mode, macs=(ONE, TWO)):
        for mac in macs:
            self.vdisk("assign", self.store, mac, "debian", "--mode", mode)

    def start(self, *arguments):
        self.process = subprocess.Popen(
            [os.environ["LODGE"], "vdisk", "serve", self.store, "--listen", "127.0.0.1", "--http-port", "0",
             "--iscsi-port", str(self.port), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        line = self.expect(r"serving .* http://127.0.0.1:(\d+)/")
        self.http_port = int(line.group(1))

    def expect(self, pattern, seconds=30):
        """What the server says next, up to that pattern."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output)):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self.fail(f"no {pattern!r} in {self.output!r}")
            piece = os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
            if not piece:
                self.fail(f"the server ended: {self.output!r}")
            self.output += piece
        self.output = self.output[found.end():]
        return found

    def end(self, number):
        if not self.process:
            return None
        self.process.send_signal(number)
        status = self.process.wait(60)
        self.process.stdout.close()
        self.process, self.output = None, ""
        return status

    def secret(self, mac):
        """Of a new boot script."""
        url = f"http://127.0.0.1:{self.http_port}/boot.ipxe?mac={mac}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            script = answer.read().decode()
        name, secret = (re.search(rf"(?m)^set {word} (\S+)$", script) for word in ("username", "password"))
        self.assertTrue(name and secret, script)
        return name.group(1), secret.group(1)

    def initiator(self, mac, secret):
        name = "iqn.2026-11.io.lodge.client:" + mac.replace(":", "-")
        session = Initiator(self.port, "debian", name, secret)
        self.addCleanup(session.lose)
        return session

    def boot(self, mac):
        return self.initiator(mac, self.secret(mac))


class Serve(Server):
    def test_private(self):
        self.assign("private")
        self.start()
        two = self.secret(self.TWO)
        one = self.boot(self.ONE)
        self.expect(f"client {self.ONE} .* has logged in to vDisk debian, private")
        data = os.urandom(8192)
        self.assertEqual(one.read(0, 16), self.content[:8192])
        one.write(16, data)
        one.flush()
        with self.assertRaises(LoginFailed):
            self.initiator(self.TWO, two)
        self.expect(f"client {self.TWO} .* is refused .*client {self.ONE} has it for itself")
        time.sleep(1.2)
        sessions = self.listed("list", self.store)["vdisks"][0]["sessions"]
        self.assertEqual([(each["mac"], each["mode"]) for each in sessions], [(self.ONE, "private")])
        self.vdisk("remove", self.store, "debian", "--force", status=2)
        self.vdisk("serve", self.store, status=2)
        one.log_out()
        self.expect("has left vDisk debian: logged out")
        again = self.initiator(self.TWO, two)
        self.assertEqual(again.read(16, 16), data)
        self.assertEqual(self.end(signal.SIGTERM), 0)
        self.assertEqual(lodge("disk", "check", self.image).returncode, 0)
        expected = self.folder / "expected.raw"
        expected.write_bytes(self.content[:8192] + data + self.content[16384:])
        self.assertEqual(lodge("disk", "compare", self.image, expected).returncode, 0)
        self.assertIn("logs in to vDisk debian, private", self.vdisk("log", self.store))

    def test_proof(self):
        self.assign("shared")
        self.start()
        name, secret = self.secret(self.ONE)
        with self.assertRaises(LoginFailed):
            self.initiator(self.ONE, (name, "0" * 32))
        with self.assertRaises(LoginFailed):
            self.initiator(self.ONE, None)
        with self.assertRaises(LoginFailed):
            self.initiator(self.ONE, self.secret(self.TWO))
        self.expect(f"client {self.ONE} .* is refused .*wrong name or secret")
        self.initiator(self.ONE, (name, secret)).read(0, 1)

    def shared(self, ending, kept, *settings):
        """Writes of one boot, before and after the server ended so and was there again; then those of the next."""
        self.assign("shared")
        if settings:
            self.vdisk("settings", self.store, *settings)
        image = pathlib.Path(self.image).read_bytes()
        self.start()
        ones_secret = self.secret(self.ONE)
        one, two = self.initiator(self.ONE, ones_secret), self.boot(self.TWO)
        ones, twos = os.urandom(100 * 512), os.urandom(100 * 512)
        for _ in range(2):
            one.write(3, ones)
            two.write(3, twos)
        self.assertEqual(one.read(3, 100), ones)
        secret = self.secret(self.TWO)
        self.end(ending)
        self.start()
        if kept:
            self.assertEqual(one.read(3, 100), ones)  # the same session, which has logged in again
            one.write(0, twos[:512])
            self.assertEqual(one.read(0, 1), twos[:512])
        else:
            with self.assertRaises(LoginFailed):
                self.initiator(self.ONE, ones_secret)
            self.expect(f"client {self.ONE} .* is refused .*its writes were lost with the server.*boot again")
        two.lose()
        again = self.initiator(self.TWO, secret)
        self.assertEqual(again.read(0, 200), self.content[:200 * 512])
        self.assertEqual(pathlib.Path(self.image).read_bytes(), image)
        return one

    def test_killed_with_caches_on_disk(self):
        self.shared(signal.SIGKILL, True).log_out()

    def test_killed_with_caches_in_memory(self):
        self.shared(signal.SIGKILL, False, "--cache", "memory").lose()

    def test_stopped_with_caches_in_memory(self):
        self.shared(signal.SIGTERM, True, "--cache", "memory").log_out()

    def test_killed_under_a_private_client(self):
        self.assign("private")
        self.start()
        one = self.boot(self.ONE)
        blocks = {}
        for round_number in range(5):
            for sector in range(round_number, 8000, 397):
                blocks[sector] = os.urandom(512)
                one.write(sector, blocks[sector])
            self.end(signal.SIGKILL)
            self.start()
            for sector, data in blocks.items():
                self.assertEqual(one.read(sector, 1), data)
        one.log_out()
        self.end(signal.SIGTERM)
        self.assertEqual(lodge("disk", "check", self.image).returncode, 0)

    def test_full_cache(self):
        self.assign("shared")
        self.vdisk("settings", self.store, "--cache-quota", "64K")
        self.start()
        one = self.boot(self.ONE)
        one.write(0, self.content[4096:4096 + 65536])
        with self.assertRaisesRegex(CommandFailed, "sense 7/2707"):  # DATA PROTECT, space allocation failed
            one.write(1024, bytes(range(256)) * 16)
        self.expect(f"client {self.ONE}, vDisk debian: its cache of 64 KiB is full")
        self.assertEqual(one.read(0, 128), self.content[4096:4096 + 65536])
        self.assertEqual(one.read(1024, 8), self.content[1024 * 512:1024 * 512 + 4096])
        one.write(8, b"x" * 512)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/api/v1/caches", timeout=30) as answer:
            self.assertIn('"full":true', answer.read().decode().replace(" ", ""))
        self.assertIn("is full", self.vdisk("log", self.store))

    def test_network_away(self):
        self.assign("shared")
        self.start()
        secret = self.secret(self.ONE)
        one = self.initiator(self.ONE, secret)
        one.write(0, b"y" * 512)
        one.lose()
        self.expect("has left vDisk debian: connection lost")
        self.assertEqual(self.initiator(self.ONE, secret).read(0, 1), b"y" * 512)


if __name__ == "__main__":
    unittest.main()
