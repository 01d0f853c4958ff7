"""How lodge and QEMU's TCG are started on the same guest, and a run of either: lines on its serial port with the host's
time at which each came, and its memory."""
import os
import pathlib
import re
import select
import subprocess
import tempfile
import time

MEMORY_MEBIBYTES = 512
GUESTS = {32: "i386", 64: "amd64"}
GUEST_RAM = "lodge-guest-memory"  # the memfd's name, core/memory/physical_memory.cpp


def lodge_command(program, engine, options, memory=MEMORY_MEBIBYTES):
    """`engine` None is lodge's own choice. As in QEMU's command, a network card only if the options have one."""
    chosen = ["--engine", engine] if engine else []
    if "--net" not in options:
        chosen += ["--nic", "none"]
    return [str(part) for part in [program, "run", *options, *chosen, "--memory", memory, "--display", "none",
                                   "--serial", "stdio", "--stats"]]


def qemu_command(bits, options, memory=MEMORY_MEBIBYTES):
    program = "qemu-system-i386" if bits == 32 else "qemu-system-x86_64"
    return [str(part) for part in [program, "-accel", "tcg,thread=single", "-M", "pc", "-cpu", "max", "-m", memory,
                                   "-nodefaults", "-vga", "std", "-display", "none", "-serial", "stdio", "-no-reboot",
                                   "-device", "isa-debug-exit,iobase=0xf4,iosize=1", *options]]


def kernel_options(guests, bits, append, initrd=None):
    """For lodge; QEMU's are the same with one dash."""
    folder = pathlib.Path(guests) / GUESTS[bits]
    return ["--kernel", folder / "vmlinuz", "--initrd", initrd or folder / "initrd.img",
            "--append", f"console=ttyS0 panic=-1 {append}"]


def one_dash(options):
    return [re.sub("^--", "-", str(part)) for part in options]


class Trouble(Exception):
    """A run that ended otherwise than it should; the text says how."""


class Run:
    """A program with pipes on its standard input and output. As a context it is stopped at the end."""

    def __init__(self, command):
        self.command = command
        self.errors = tempfile.TemporaryFile()
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        self.output = b""
        self.searched = 0
        self.read_at = self.began

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            stream.close()

    def trouble(self, what):
        tail = self.output[-1500:].decode(errors="replace")
        return Trouble(f"{' '.join(self.command)}\n{what}; on stderr: {self.error_text()}\nits last words: {tail}")

    def error_text(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def read_more(self, deadline):
        """False at the end of the output. `read_at` is when the newest of it came."""
        source = self.process.stdout.fileno()
        if not select.select([source], [], [], max(0, deadline - time.monotonic()))[0]:
            raise self.trouble("took too long")
        data = os.read(source, 65536)
        self.read_at = time.monotonic()
        self.output += data
        return bool(data)

    def expect(self, pattern, seconds):
        """Waits until `pattern` has come, and returns its match; None if the program ends without."""
        deadline = time.monotonic() + seconds
        compiled = re.compile(pattern.encode())
        while True:
            match = compiled.search(self.output, self.searched)
            if match:
                self.searched = match.end()
                return match
            if not self.read_more(deadline):
                return None

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def finish(self, seconds, status=0):
        """Reads to the end; the seconds of the whole run. Another exit status than expected is trouble."""
        deadline = time.monotonic() + seconds
        while self.read_more(deadline):
            pass
        try:
            ended = self.process.wait(max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self.trouble("took too long to end") from None
        if ended != status:
            raise self.trouble(f"ended with status {ended}")
        return time.monotonic() - self.began

    def processor_seconds(self):
        """What all threads of the program have had of the host's processors so far."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def peak_beside_guest_ram(self):
        """MiB of resident memory beside the guest's RAM, at the most so far.

        Pages mapped twice (RAM and its alias, generated code) count once now, by their proportional share; what the
        process has given back since its peak is added."""
        folder = pathlib.Path(f"/proc/{self.process.pid}")
        total = ram = 0
        mapping = ""
        for line in (folder / "smaps").read_text().splitlines():
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                mapping = line
            elif line.startswith("Pss:"):
                kibibytes = int(line.split()[1])
                total += kibibytes
                ram += kibibytes if GUEST_RAM in mapping else 0
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        given_back = int(status["VmHWM"].split()[0]) - int(status["VmRSS"].split()[0])
        return (total - ram + max(0, given_back)) / 1024


def statistic(errors, name):
    """A figure that lodge --stats printed."""
    match = re.search(rf"^{name}: ([0-9.]+)", errors, re.M)
    if not match:
        raise Trouble(f"lodge --stats printed no line '{name}: N', but:\n{errors}")
    return float(match.group(1))
