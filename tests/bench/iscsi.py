#!/usr/bin/env python3
"""The iSCSI target against tgt, on the same file in the host's memory, loaded through libiscsi: see README.md beside
this file."""
import argparse
import collections
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

TARGET = "iqn.2026-11.io.lodge:trial"
DISK_BYTES = 512 << 20
# name: (sessions, reads under way in each, bytes, way)
WORK = {
    f"{way} {size // 1024} KiB, {sessions} sessions of {depth}": (sessions, depth, size, way)
    for way, size, places in [
        ("random", 4096, [(1, 1), (1, 16), (16, 4), (256, 4)]),
        ("sequential", 65536, [(1, 4), (16, 4), (256, 2)]),
        ("sequential", 262144, [(1, 4), (16, 4), (256, 2)]),
    ]
    for sessions, depth in places
}
BOOT_MEBIBYTES = 8
TICKS = os.sysconf("SC_CLK_TCK")


class Trouble(Exception):
    pass


class Server:
    """A target as a process."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen([str(word) for word in command], **options)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.stdin:
            self.process.stdin.close()
        else:
            self.process.kill()  # tgtd stays for as long as it has targets
        self.process.wait(timeout=30)

    def processor_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def memory(self, which):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{which}:\s+(\d+)", status).group(1)) * 1024


class Lodge(Server):
    name, lun = "lodge", 0

    def __init__(self, options, disk):
        super().__init__([options.trial, "--file", disk, "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         text=True)
        self.portal = self.process.stdout.readline().split()[1]


class Tgt(Server):
    name, lun = "tgt", 1
    CONTROL_PORT, PORT = 29, 3296

    def __init__(self, options, disk):
        self.portal = f"127.0.0.1:{self.PORT}"
        super().__init__(["tgtd", "-f", "-C", self.CONTROL_PORT, "--iscsi", f"portal={self.portal}"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        self.administer("--op", "new", "--mode", "target", "--tid", 1, "-T", TARGET)
        self.administer("--op", "new", "--mode", "logicalunit", "--tid", 1, "--lun", self.lun, "-b", disk)
        self.administer("--op", "bind", "--mode", "target", "--tid", 1, "-I", "ALL")

    def administer(self, *words):
        subprocess.run(["tgtadm", "-C", str(self.CONTROL_PORT), "--lld", "iscsi", *map(str, words)], check=True)


Figures = collections.namedtuple("Figures", "rate p50 p99 p999 processor_microseconds seconds")


def load(options, server, sessions, depth, size, way, seconds):
    before = server.processor_seconds()
    done = subprocess.run([str(word) for word in [options.load, server.portal, f"{TARGET}/{server.lun}", sessions,
                                                  depth, size, way, seconds]],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600)
    if done.returncode != 0:
        raise Trouble(f"{server.name}: {done.stderr.strip()}")
    words = done.stdout.split()
    value = {key: float(number) for key, number in zip(words[::2], words[1::2])}
    used = server.processor_seconds() - before
    # The load's first reads are not among those counted; their share of the processor time is taken off.
    used *= value["seconds"] / (value["seconds"] + 0.3) if way != "boot" else 1
    return Figures(value["bytes_per_second"], value["p50"], value["p99"], value["p999"],
                   used / max(value["reads"], 1) * 1e6, value["seconds"])


def median(figures):
    return Figures(*(statistics.median(column) for column in zip(*figures)))


def reads(options, servers):
    print(f"{'reads':45}{'MB/s':>16}{'ratio':>7}{'p50 us':>16}{'p99 us':>17}{'p99.9 us':>19}{'CPU us/read':>16}")
    for name, work in WORK.items():
        if options.only and options.only not in name:
            continue
        rounds = {server.name: [] for server in servers}
        for _ in range(options.rounds):
            for server in servers:
                rounds[server.name].append(load(options, server, *work, options.seconds))
        figures = [median(rounds[server.name]) for server in servers]

        def pair(show, width):
            return " / ".join(show(one) for one in figures).rjust(width)

        ratio = f"{figures[0].rate / figures[1].rate:.2f}" if len(figures) > 1 else "-"
        print(f"{name:45}" + pair(lambda f: f"{f.rate / 1e6:.0f}", 16) + ratio.rjust(7) +
              pair(lambda f: f"{f.p50:.0f}", 16) + pair(lambda f: f"{f.p99:.0f}", 17) +
              pair(lambda f: f"{f.p999:.0f}", 19) + pair(lambda f: f"{f.processor_microseconds:.1f}", 16), flush=True)


def boots(options, servers):
    print(f"\n{'clients that boot':20}{'program':>8}{'seconds':>9}{'MB/s':>7}{'CPU s':>7}{'p99 us':>9}{'peak MB':>9}"
          f"{'idle MB':>9}")
    for clients in options.clients:
        for server in servers:
            server.forget_peak()
            before = server.processor_seconds()
            figures = load(options, server, clients, 2, BOOT_MEBIBYTES, "boot", 0)
            used = server.processor_seconds() - before
            print(f"{clients:20}{server.name:>8}{figures.seconds:9.2f}{figures.rate / 1e6:7.0f}{used:7.2f}"
                  f"{figures.p99:9.0f}{server.memory('VmHWM') / 1e6:9.1f}{server.memory('VmRSS') / 1e6:9.1f}", flush=True)


def make_disk(folder):
    disk = pathlib.Path(folder) / "disk.raw"
    with open(disk, "wb") as file:
        block = os.urandom(1 << 20)
        for _ in range(DISK_BYTES >> 20):
            file.write(block)
    return disk


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trial", default="build/release/tests/iscsi/iscsi_target_trial")
    parser.add_argument("--load", default="build/release/tests/bench/iscsi_load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", help="the reads whose name has this in it")
    parser.add_argument("--clients", type=lambda text: [int(word) for word in text.split(",") if word],
                        default=[64, 128, 256, 500, 1024], help="that boot at the same time: 64,128")
    parser.add_argument("--alone", action="store_true", help="without tgt")
    parser.add_argument("--folder", default="/var/tmp", help="where the image lies (default /var/tmp)")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        disk = make_disk(folder)
        try:
            with Lodge(options, disk) as lodge:
                if options.alone:
                    reads(options, [lodge])
                    boots(options, [lodge])
                    return 0
                with Tgt(options, disk) as tgt:
                    reads(options, [lodge, tgt])
                    boots(options, [lodge, tgt])
        except (Trouble, OSError, subprocess.SubprocessError) as trouble:
            print(f"iscsi.py: {trouble}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
