#!/usr/bin/env python3
"""lodge under Debian's gdb: the firmware and a boot sector in real mode, Linux for amd64 and i386, on both engines."""
import pathlib
import re
import subprocess
import time
import unittest

from gdb_client import GdbClient
from harness import BOOT_SECONDS, GUESTS, HEADLESS, STEP_SECONDS, BootTest, Guest, lodge
from symbols import parse_kallsyms, write_elf

ROOT = pathlib.Path(__file__).resolve().parents[2]
HELPER_FILE = ROOT / "debug/gdb/lodge.py"
ADD_TO_INITRAMFS = ROOT / "tests/guests/add_to_initramfs.sh"
APPEND = "console=ttyS0 panic=-1 quiet nokaslr"
WANTED = ("start_kernel e1000_probe e1000_intr e1000_open jiffies __common_interrupt common_interrupt schedule "
          "asm_common_interrupt panic").split()
# What the guest does: loads the driver, tells where it lies, brings the link up, and ends.
WORK = f"""sh /network.sh
grep -E ' ({'|'.join(WANTED)})($|[^.a-z0-9_])' /proc/kallsyms
ip link set eth0 up
sleep 1
echo LODGE-LINK $(cat /sys/class/net/eth0/carrier)
poweroff -f
"""


class GdbTest(BootTest):
    def setUp(self):
        super().setUp()
        self.socket = self.folder / "gdb.sock"

    def start(self, *arguments, arch=None):
        place = f"unix:{self.socket}" + (f",arch={arch}" if arch else "")
        guest = Guest("--gdb", place, "--paused", *HEADLESS, *arguments)
        self.addCleanup(guest.__exit__)
        while not self.socket.exists():
            self.assertIsNone(guest.process.poll(), guest.error_text())
            time.sleep(0.02)
        return guest

    def gdb(self, script, *options, seconds=BOOT_SECONDS):
        """Runs gdb on the lines of `script`, connected; what it printed, and the values of lines `@name value`."""
        lines = ["set pagination off", "set confirm off", "set remotetimeout 120", "set width 0",
                 f"target remote {self.socket}"]
        file = self.folder / "script.gdb"
        file.write_text("\n".join(lines) + "\n" + script)
        run = subprocess.run(["gdb", "-q", "-nx", "-batch", *options, "-x", str(file)], capture_output=True, text=True,
                             errors="replace", timeout=seconds, check=False)
        output = run.stdout + run.stderr
        self.assertEqual(run.returncode, 0, output)
        return output, dict(re.findall(r"^@(\w+) (.*)$", output, re.M))


REAL_MODE = """
printf "@reset %lx %lx %d\\n", $pc, $ip_offset, $mode
stepi
printf "@firmware %lx %lx %x\\n", $pc, $ip_offset, $cs
hbreak *0x7c00
continue
printf "@sector %lx %lx\\n", $pc, $ip_offset
printf "@signature %x\\n", *(unsigned short*)0x7dfe
printf "@position %lu\\n", $retired
monitor disassemble 0000:7c00 2
stepi
printf "@stepped %lx %lu\\n", $pc, $retired
monitor access port 0x3f8 0x3ff writes
monitor int 0x10
continue
printf "@stop %lx %lu\\n", $pc, $retired
monitor info points
monitor delete all
monitor print byte[0000:7dfe]
monitor x f000:fff0 16
x/i $pc
"""


class RealMode(GdbTest):
    def run_sector(self, engine, ending):
        image = self.sector("hello")
        guest = self.start("--disk", f"{image},format=raw", "--serial", "null", "--clock", "virtual", "--engine", engine)
        return guest, *self.gdb(REAL_MODE + ending)

    def test_boot_sector(self):
        """From the reset vector to a boot sector, by linear addresses; the engines stop at the same positions."""
        positions = []
        for engine in ("jit", "interpreter"):
            with self.subTest(engine):
                self.socket.unlink(missing_ok=True)
                guest, output, values = self.run_sector(engine, "detach\n")
                self.assertEqual(values["reset"], "fffffff0 fff0 0", output)
                self.assertEqual(values["firmware"], "fe05b e05b f000", output)
                self.assertEqual(values["sector"], "7c00 7c00", output)
                self.assertEqual(values["signature"], "aa55")
                self.assertIn("0x55 = 85", output)
                first, second = int(values["position"]), int(values["stepped"].split()[1])
                self.assertEqual(second, first + 1)
                self.assertIn("EA 5B E0 00 F0", output)  # the reset vector: JMP F000:E05B
                positions.append((values["position"], values["stepped"], values["stop"]))
                guest.process.kill()
        self.assertEqual(positions[0], positions[1])

    def test_helper(self):
        """The commands of debug/gdb/lodge.py; instructions are shown as the CPU's mode takes them."""
        guest = self.start("--disk", f"{self.sector('hello')},format=raw", "--serial", "null", "--clock", "virtual")
        output, values = self.gdb(HELPER)
        self.assertIn("cmp dword ptr cs:[", output)
        self.assertIn("Breakpoint 1, 0x0000000000007c00", output)
        self.assertRegex(output, r"access of port 0x3F[8-F] \(com1 \w+\), written")
        self.assertEqual(values["linear"], "ffff0", output)
        self.assertIn("55 AA", output)
        self.assertIn("=> %016X" % int(values["until"], 16), output)
        guest.wait()


HELPER = f"""
source {HELPER_FILE}
stepi
lodge-break 0000:7c00
continue
lodge-until device
printf "@until %lx\\n", $pc
printf "@linear %lx\\n", $linear("f000:fff0")
lodge-x 0000:7dfe 2
lodge speed
monitor quit
"""


class KernelTest(GdbTest):
    """Debian's kernel with symbols of its own /proc/kallsyms, at the addresses where it lies without KASLR."""

    def initramfs(self, arch, script):
        """Made once in a test: the kernel looks through it early, times of files included, and counts instructions."""
        if (self.folder / "initramfs.img").exists():
            return self.folder / "initramfs.img"
        files = self.folder / "files"
        files.mkdir(exist_ok=True)
        (files / "autorun.sh").write_text(script)
        result = self.folder / "initramfs.img"
        subprocess.run(["sh", ADD_TO_INITRAMFS, GUESTS / arch / "network.img", files, result], check=True)
        return result

    def options(self, arch, script, clock="virtual"):
        return ["--kernel", GUESTS / arch / "vmlinuz", "--initrd", self.initramfs(arch, script), "--append", APPEND,
                "--memory", 128, "--serial", "stdio", "--net", "user", "--clock", clock]

    def symbols(self, arch):
        """Where the symbols are. On the virtual clock a boot repeats, and so does the place of each module."""
        boot = lodge("run", *self.options(arch, WORK), *HEADLESS, timeout=BOOT_SECONDS)
        self.assertEqual(boot.returncode, 0, boot.stdout + boot.stderr)
        found = parse_kallsyms(boot.stdout.replace("\r", ""))
        for name in ("start_kernel", "e1000_probe", "e1000_intr"):
            self.assertIn(name, found, boot.stdout)
        path = self.folder / f"{arch}.elf"
        write_elf(path, found, wide=arch == "amd64")
        return path

    def debug(self, arch, engine, elf, script, layout=None):
        self.socket.unlink(missing_ok=True)
        guest = self.start(*self.options(arch, WORK), "--engine", engine, arch=layout)
        output, values = self.gdb(script, "-ex", f"file {elf}")
        self.assert_exit(0, guest, BOOT_SECONDS)
        self.assert_no_trouble(guest)
        self.assertIn(b"LODGE-LINK 1", guest.output, output)
        return output, values


class Kernel(KernelTest):
    def test_amd64(self):
        """Break in a driver's probe, watch a variable, step through an interrupt, print a device's registers, let go."""
        elf = self.symbols("amd64")
        seen = []
        for engine in ("jit", "interpreter"):
            output, values = self.debug("amd64", engine, elf, AMD64)
            self.assertEqual(values["probe_mode"], "6", output)
            self.assertIn("nic0", values["name"] + output)
            self.assertIn("mode long-64", output)
            self.assertRegex(output, r"PTE +at [0-9A-F]+: [0-9A-F]+ +P")
            old, new = int(values["jiffies0"]), int(values["jiffies1"])
            self.assertEqual(new, old + 1, output)
            # The interrupt handler reads ICR: stopped there by the register's name.
            self.assertRegex(output, r"access of memory 0x[0-9A-F]+ \(nic0.bar0 ICR\), read 0x")
            self.assertRegex(output, r"IMS +0x0000009D")
            self.assertRegex(output, r"ICR +\(reading it has effects\)")
            self.assertRegex(output, r"pin 11 -> vector [0-9A-F]{2} fixed, level")
            steps = [int(value) for value in values["steps"].split()]
            self.assertEqual(steps[1], steps[0] + 20, output)
            seen.append(values)
        self.assertEqual(seen[0], seen[1])

    def test_i386(self):
        """The same in the 32-bit layout, in which gdb reads the stack of a 32-bit kernel."""
        elf = self.symbols("i386")
        seen = []
        for engine in ("jit", "interpreter"):
            output, values = self.debug("i386", engine, elf, I386, layout="i386")
            self.assertEqual(values["probe_mode"], "3", output)
            self.assertIn("e1000_probe", output)
            # The watched word is the return address: its reader is the RET that leaves e1000_probe.
            self.assertEqual(values["returned_to"], values["return_address"], output)
            seen.append(values)
        self.assertEqual(seen[0], seen[1])


AMD64 = """
break *start_kernel
continue
printf "@start %lu\\n", $retired
delete
break *e1000_probe
continue
printf "@probe %lu\\n", $retired
printf "@probe_mode %d\\n", $mode
monitor info registers
monitor walk pc
monitor info pci
printf "@name %lx\\n", $rdi
delete
set $watched = (long*)&jiffies
printf "@jiffies0 %lu\\n", *$watched
watch *$watched
continue
printf "@jiffies1 %lu\\n", *$watched
printf "@tick %lu\\n", $retired
delete
break *e1000_intr if $rdi == 11
continue
printf "@intr %lu\\n", $retired
monitor access nic0.bar0 ICR reads
continue
printf "@icr %lu\\n", $retired
monitor info device nic0
monitor info interrupts
monitor delete all
delete
set $before = $retired
stepi 20
printf "@steps %lu %lu\\n", $before, $retired
monitor interrupt
monitor step-interrupts taken
continue
printf "@irq %lu\\n", $retired
stepi 5
printf "@in_handler %lu %lx\\n", $retired, $pc
monitor delete all
monitor info status
detach
"""

I386 = """
break *start_kernel
continue
printf "@start %lu\\n", $retired
delete
break *e1000_probe
continue
printf "@probe %lu\\n", $retired
printf "@probe_mode %d\\n", $mode
monitor info registers
bt 1
printf "@return_address %x\\n", *(unsigned int*)$esp
eval "rwatch *(unsigned int*)%u", $esp
continue
printf "@returned_to %x\\n", $pc
printf "@return %lu\\n", $retired
delete
break *e1000_intr
continue
stepi 30
printf "@intr %lu\\n", $retired
delete
detach
"""


class Connection(GdbTest):
    """What gdb does badly or not at all: vanishing, killing, nonsense."""

    def start_loop(self):
        image = self.sector("loop")
        guest = self.start("--disk", f"{image},format=raw", "--serial", "null")
        return guest, self.connect()

    def connect(self):
        client = GdbClient(self.socket, STEP_SECONDS)
        self.addCleanup(client.close)
        return client

    def position(self, client):
        return int(re.search(r"(\d+) instructions retired", client.monitor("info status")).group(1))

    def test_lifecycle(self):
        """Interrupt, detach, kill, a lost connection and a new one: the guest lives through all but `monitor quit`."""
        guest, client = self.start_loop()
        self.assertTrue(client.ask(b"?").startswith(b"T02"))
        self.assertEqual(client.monitor("speed 50"), "50.000 %\n")
        client.go_on()
        time.sleep(0.5)
        self.assertTrue(client.interrupt().startswith(b"T02"))
        stopped_at = self.position(client)
        self.assertGreater(stopped_at, 0)
        # Lost while it stands: it stays where it is.
        client.close()
        client = self.connect()
        self.assertEqual(self.position(client), stopped_at)
        self.assertEqual(client.ask(b"D"), b"OK")
        client.close()
        time.sleep(0.3)
        client = self.connect()
        self.assertTrue(client.ask(b"?").startswith(b"T02"))
        detached_at = self.position(client)
        self.assertGreater(detached_at, stopped_at)
        # A breakpoint of a client that has gone stops nobody.
        self.assertEqual(client.ask(b"Z0,7c00,1"), b"OK")
        client.send(b"k")
        client.close()
        time.sleep(0.3)
        client = self.connect()
        self.assertGreater(self.position(client), detached_at)
        self.assertIn("none", client.monitor("info points"))
        self.assertIsNone(guest.process.poll())
        # No waiting for an answer: lodge may be gone before it is acknowledged.
        client.send(b"qRcmd," + b"quit".hex().encode())
        guest.wait()

    def test_nonsense(self):
        """Packets that are wrong get an error, or nothing; never silence for good."""
        guest, client = self.start_loop()
        for packet in (b"m", b"mzz,1", b"m0,", b"M0,4:00", b"P999=00", b"p", b"Z9,0,0", b"Z0,", b"Z2,0,0", b"vCont;x",
                       b"vCont;r1", b"qXfer:features:read:target.xml:zz,1", b"qXfer:features:read:none.xml:0,10",
                       b"qRcmd,6", b"G00", b"H", b"Tfff", b"QNonsense", b"vNonsense", b"X0,5:12", b"}"):
            with self.subTest(packet):
                client.send(packet)
                self.assertRegex(client.receive(), rb"^(E[0-9a-f]{2})?$")
        client.send_raw(b"$" + b"m" * 100000 + b"#00$bad#00")
        self.assertIn("no such command", client.monitor("nonsense"))
        self.assertTrue(client.ask(b"?").startswith(b"T02"))
        self.assertIsNone(guest.process.poll())


class Pause(KernelTest):
    def pause(self, seconds):
        options = self.options("amd64", "", clock="realtime")
        options[options.index(APPEND)] += " watchdog_thresh=1 rcupdate.rcu_cpu_stall_timeout=3"
        guest = self.start(*options)
        client = GdbClient(self.socket, BOOT_SECONDS)
        self.addCleanup(client.close)
        client.ask(b"?")
        client.go_on()
        guest.expect("/ # ", BOOT_SECONDS)
        guest.send("cat /proc/uptime; date +NOW=%s\n")
        before = float(guest.expect(r"([\d.]+) [\d.]+\r\n").group(1))
        client.interrupt()
        time.sleep(seconds)
        client.go_on()
        guest.send("sleep 3; cat /proc/uptime; dmesg | tail -n 20; echo UP''TIME\n")
        after = float(guest.expect(r"\n([\d.]+) [\d.]+\r\n", STEP_SECONDS).group(1))
        guest.expect("UPTIME")
        # Five seconds of the guest's own, and what a loaded host adds.
        self.assertLess(after - before, 3 + seconds * 0.7, guest.report())
        guest.send("poweroff -f\n")
        client.close()
        self.assert_exit(0, guest)
        self.assert_no_trouble(guest)

    def test_short(self):
        """A pause of several of the guest's watchdogs' patience, and nobody complains."""
        self.pause(12)


if __name__ == "__main__":
    unittest.main(verbosity=2)
