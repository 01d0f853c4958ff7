"""What the boot tests share: starting lodge, talking to its guest over pipes or a terminal, and where things are.

The environment says where: LODGE (the program), LODGE_GUESTS (made by tests/guests/make_guests.sh), LODGE_SECTORS (the
assembled boot sectors). tests/boot/CMakeLists.txt sets them.
"""
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import tempfile
import termios
import time
import unittest

PROGRAM = os.environ.get("LODGE", "build/release/lodge")
GUESTS = pathlib.Path(os.environ.get("LODGE_GUESTS", "build/guests"))
SECTORS = pathlib.Path(os.environ.get("LODGE_SECTORS", "build/release/tests/boot"))

# A boot on the interpreter takes about half a minute of its own; machines that run tests are slow and shared.
BOOT_SECONDS = 420
STEP_SECONDS = 120
HEADLESS = ["--display", "none"]

TROUBLE = (r"unchecked MSR|Call Trace|WARNING: CPU|BUG:|Oops|general protection|traps:|segfault|soft lockup|rcu.*stall"
           r"|nobody cared|spurious|ata\d.*(exception|failed command|SError)|EXT4-fs error|I/O error|hung_task"
           r"|mce: Unable|clocksource.*unstable")

# Where the FAT partition starts (tests/guests/make_disk.sh), in mtools' spelling.
PARTITION_OFFSET = 2048 * 512


def lodge(*arguments, timeout=STEP_SECONDS):
    """Runs lodge to its end without a guest's input; a CompletedProcess with text."""
    return subprocess.run([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", timeout=timeout, check=False)


class Guest:
    """One `lodge run`, its serial port on our pipes, or on a terminal of ours if `terminal` is set."""

    def __init__(self, *arguments, terminal=False):
        self.output = b""
        self.searched = 0
        self.errors = tempfile.TemporaryFile()
        command = [PROGRAM, "run", *map(str, arguments)]
        if terminal:
            self.terminal, self.guest_side = pty.openpty()
            self.terminal_before = termios.tcgetattr(self.guest_side)
            self.process = subprocess.Popen(command, stdin=self.guest_side, stdout=self.guest_side,
                                            stderr=self.errors, start_new_session=True)
            self.source = self.sink = self.terminal
        else:
            self.terminal = self.guest_side = None
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=self.errors)
            self.source, self.sink = self.process.stdout.fileno(), self.process.stdin.fileno()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream:
                stream.close()
        for descriptor in (self.terminal, self.guest_side):
            if descriptor is not None:
                os.close(descriptor)

    def terminal_settings_kept(self):
        return termios.tcgetattr(self.guest_side) == self.terminal_before

    def error_text(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def read_more(self, seconds):
        """Appends what the guest has said within that time; False at the end of its output."""
        ready, _, _ = select.select([self.source], [], [], max(0, seconds))
        if not ready:
            return True
        data = os.read(self.source, 65536)
        self.output += data
        return bool(data)

    def expect(self, pattern, seconds=STEP_SECONDS):
        """Waits for the pattern in what was not yet matched, and returns its match."""
        deadline = time.monotonic() + seconds
        open_ended = True
        while True:
            match = re.compile(pattern.encode()).search(self.output, self.searched)
            if match:
                self.searched = match.end()
                return match
            ended = not open_ended or (self.terminal is not None and self.process.poll() is not None)
            if ended or time.monotonic() > deadline:
                why = "lodge ended" if ended else f"{seconds} s passed"
                raise AssertionError(f"{why} before {pattern!r} came; {self.report()}")
            open_ended = self.read_more(min(1, deadline - time.monotonic()))

    def send(self, text):
        data = text.encode()
        while data:
            data = data[os.write(self.sink, data):]

    def wait(self, seconds=STEP_SECONDS):
        """Reads on until lodge ends; its exit status."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"lodge still runs after {seconds} s; {self.report()}")
            if not self.read_more(0.2):
                time.sleep(0.05)
        while select.select([self.source], [], [], 0)[0]:
            if not self.read_more(0):
                break
        return self.process.returncode

    def report(self):
        tail = self.output[-3000:].decode(errors="replace")
        return f"errors: {self.error_text()!r}; the last the guest said:\n{tail}"


class BootTest(unittest.TestCase):
    """A test case with a folder of its own, removed afterwards."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lodge-boot-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def copy(self, name):
        """A copy of a made guest image, for a test that writes to it."""
        return pathlib.Path(shutil.copy(GUESTS / name, self.folder / pathlib.Path(name).name))

    def sector(self, name):
        return pathlib.Path(shutil.copy(SECTORS / f"{name}.img", self.folder / f"{name}.img"))

    def assert_no_trouble(self, guest):
        """What a Linux kernel says when the machine under it, or its own state, is wrong."""
        for line in guest.output.decode(errors="replace").splitlines():
            self.assertNotRegex(line, TROUBLE, guest.report())

    def assert_exit(self, expected, guest, seconds=STEP_SECONDS):
        status = guest.wait(seconds)
        self.assertEqual(status, expected, guest.report())


class ShellTest(BootTest):
    """Guests that stand at a shell on their serial port."""
    PROMPT = r"/ # "

    def run_in(self, guest, command, seconds=STEP_SECONDS):
        """Runs a command line to its end; its output and status."""
        # The prompt's line is echoed; the marker's two halves meet only in the output.
        guest.send(command + "; echo DO''NE=$?\n")
        before = guest.searched
        status = guest.expect(r"DONE=(\d+)\r?\n", seconds)
        output = guest.output[before:status.start()].decode(errors="replace")
        guest.expect(self.PROMPT)
        return output, int(status.group(1))

    def succeed_in(self, guest, command, seconds=STEP_SECONDS):
        output, status = self.run_in(guest, command, seconds)
        self.assertEqual(status, 0, f"{command}: {output}")
        return output
