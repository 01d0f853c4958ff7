#!/usr/bin/env python3
"""iscsi-test-cu (Debian's libiscsi-bin) and libiscsi's tools against the target: see README.md beside this file."""
import os
import re
import subprocess
import unittest

TRIAL = os.environ["LODGE_ISCSI_TRIAL"]
TARGET = "iqn.2026-11.io.lodge:trial"
SECOND_INITIATOR = "iqn.2026-11.io.lodge.test:second"

# Tests that do not apply say so themselves. Each reason, and why it is one; another reason is a failure.
SKIPS = {
    "--allow-sanitize flag is not set": "SANITIZE is not there",
    "EXTENDEDCOPY is not implemented": "third-party copying is not there: a vDisk server has nobody to copy to",
    "RECEIVECOPYRESULT is not implemented": "as EXTENDEDCOPY",
    "RECEIVE_COPY_RESULTS is not implemented": "as EXTENDEDCOPY",
    "READDEFECTDATA12 is not implemented": "READ DEFECT DATA (10) answers all that there is: nothing",
    "WRITEATOMIC16 is not implemented": "writes of several blocks are not atomic across a crash of the host",
    "LBPPB < 2": "blocks are 512 bytes, physically too",
    "LUN is not removable": "it is a fixed disk",
    "Logical unit is not removable": "it is a fixed disk",
    "Media is not removable": "it is a fixed disk",
    "Logical unit is not write-protected": "the test wants a read-only disk, all others want one that can be written",
    "LUN too small": "the assertion wants blocks beyond 2 TiB",
    "Multipath unavailable": "the test wants a second path to the unit in its URL",
}


class Trial:
    """The target as a program; its lines are in `log` once it has ended."""

    def __init__(self, *options):
        self.process = subprocess.Popen([TRIAL, "--memory", str(256 << 20), *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.portal = self.process.stdout.readline().split()[1]
        self.log = ""

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.log = self.process.communicate(timeout=30)[0]

    def url(self, login="", options=""):
        return f"iscsi://{login}{self.portal}/{TARGET}/0{options}"


def run(*command, timeout=120, environment=None):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          timeout=timeout, env={**os.environ, **(environment or {})}).stdout


class Suite(unittest.TestCase):
    def check(self, *options, tests="ALL", login=""):
        with Trial("--quiet", *options) as trial:
            output = run("iscsi-test-cu", "--dataloss", "--normal", "--Verbose-scsi", "--test", tests,
                         "--initiator-name-2", SECOND_INITIATOR, trial.url(login))
        self.assertEqual(trial.process.returncode, 0)
        failures = re.findall(r"^Suite .* had failures:.*\n(?: +[0-9]+\. .*\n)*", output, re.M)
        self.assertFalse(failures, "\n".join(failures))
        summary = re.search(r"tests +([0-9]+) +([0-9]+) +([0-9]+) +([0-9]+) +([0-9]+)", output)
        self.assertTrue(summary, output[-2000:])
        total, ran, passed, failed, inactive = map(int, summary.groups())
        self.assertEqual((ran, passed, failed, inactive), (total, total, 0, 0))
        if tests == "ALL":
            self.assertGreaterEqual(total, 230)
        for reason in set(re.findall(r"\[SKIPPED\] (.*)", output)):
            self.assertTrue(any(reason.startswith(known) for known in SKIPS), f"skipped: {reason}")

    def test_all(self):
        self.check()

    # The disk answers nothing at once; and the initiator proves itself.
    def test_all_by_worker(self):
        self.check("--by-worker", "--user", "joe", "--secret", "twelve bytes", login="joe%twelve bytes@")


class Logins(unittest.TestCase):
    CHAP = ("--user", "joe", "--secret", "a secret of joe's")
    MUTUAL = ("--mutual-user", "target", "--mutual-secret", "a secret of its own")

    def inquiry(self, options, login="", url_options=""):
        with Trial(*options) as trial:
            output = run("iscsi-inq", trial.url(login, url_options))
        return "LODGE" in output, trial.log

    def test_secrets(self):
        answered, log = self.inquiry(self.CHAP, "joe%a secret of joe's@")
        self.assertTrue(answered)
        self.assertIn("as 'joe'", log)
        for wrong in ["", "joe%another secret here@", "jim%a secret of joe's@"]:
            answered, log = self.inquiry(self.CHAP, wrong)
            self.assertFalse(answered)
            self.assertIn("refused", log)
            self.assertNotIn("began", log)

    def test_mutual(self):
        right = "?target_user=target&target_password=a secret of its own"
        wrong = "?target_user=target&target_password=another secret"
        options = [*self.CHAP, *self.MUTUAL]
        self.assertTrue(self.inquiry(options, "joe%a secret of joe's@", right)[0])
        self.assertFalse(self.inquiry(options, "joe%a secret of joe's@", wrong)[0])
        # A target without a secret for it cannot prove itself.
        self.assertFalse(self.inquiry(self.CHAP, "joe%a secret of joe's@", right)[0])

    def test_discovery(self):
        names = [f"iqn.2026-11.io.lodge:disk{number}" for number in range(200)]
        with Trial(*(word for name in names for word in ("--target", name))) as trial:
            output = run("iscsi-ls", f"iscsi://{trial.portal}/")
        self.assertEqual(sorted(re.findall(r"Target:(\S+) Portal:" + re.escape(trial.portal), output)), sorted(names))


if __name__ == "__main__":
    unittest.main(verbosity=2)
