#!/usr/bin/env python3
"""`lodge vdisk`: the commands on a store."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

from harness import lodge

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


if __name__ == "__main__":
    unittest.main()
