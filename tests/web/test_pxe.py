#!/usr/bin/env python3
"""PXE on a real network: proxy-DHCP beside a DHCP server that knows nothing of it, on a bridge in network namespaces.

    server's namespace   bridge lan, 10.77.0.1, `lodge vdisk serve` and its dnsmasq; a tap for the guest
    the network's        10.77.0.2, the DHCP server that gives out addresses
    the firmware's       10.77.0.99, a client that we play

Needs root, and a kernel that lets it make namespaces, bridges, taps; says so where it is skipped.
"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

LODGE = os.environ.get("LODGE", "build/release/lodge")
SECTORS = pathlib.Path(os.environ.get("LODGE_SECTORS", "build/release/tests/boot"))
SCREENSHOTS = os.environ.get("LODGE_SCREENSHOTS")
DNSMASQ = "/usr/sbin/dnsmasq"
IPXE = pathlib.Path("/usr/lib/ipxe")
FIRMWARE = str(pathlib.Path(__file__).with_name("pxe_firmware.py"))
MAC = "52:54:00:77:00:05"
SECONDS = 120


class Namespace:
    """A network namespace, kept by a process that sleeps in it."""

    def __init__(self):
        self.keeper = subprocess.Popen(["unshare", "--net", "sleep", "1000000"], stderr=subprocess.PIPE)
        own = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 10
        while os.readlink(f"/proc/{self.keeper.pid}/ns/net") == own:
            if self.keeper.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"unshare: {self.keeper.stderr.read().decode().strip()}")
            time.sleep(0.02)

    def command(self, *arguments):
        return ["nsenter", f"--net=/proc/{self.keeper.pid}/ns/net", *map(str, arguments)]

    def run(self, *arguments):
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, check=True).stdout

    def close(self):
        self.keeper.kill()
        self.keeper.wait()
        self.keeper.stderr.close()


class Network:
    def __init__(self):
        self.namespaces = []
        try:
            self.server, self.dhcp, self.firmware = (self.add() for _ in range(3))
            self.server.run("ip", "link", "add", "lan", "type", "bridge", "forward_delay", "0")
            self.server.run("ip", "tuntap", "add", "dev", "guest", "mode", "tap")
            for name, other, address in (("dhcp", self.dhcp, "10.77.0.2/24"), ("pc", self.firmware, "10.77.0.99/24")):
                self.server.run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns",
                                other.keeper.pid)
                other.run("ip", "link", "set", "lo", "up")
                other.run("ip", "addr", "add", address, "dev", "eth0")
                other.run("ip", "link", "set", "eth0", "up")
            for name in ("dhcp", "pc", "guest"):
                self.server.run("ip", "link", "set", name, "master", "lan", "up")
            self.server.run("ip", "addr", "add", "10.77.0.1/24", "dev", "lan")
            for name in ("lo", "lan"):
                self.server.run("ip", "link", "set", name, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            raise unittest.SkipTest(f"no namespaces, bridges and taps are to be had here: "
                                    f"{getattr(error, 'stderr', None) or error}") from error

    def add(self):
        self.namespaces.append(Namespace())
        return self.namespaces[-1]

    def close(self):
        for each in self.namespaces:
            each.close()


@unittest.skipUnless(os.geteuid() == 0, "root makes the namespaces")
@unittest.skipUnless(os.path.exists(DNSMASQ) and (IPXE / "undionly.kpxe").exists(),
                     "Debian's packages dnsmasq-base and ipxe are not installed")
class Pxe(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lodge-pxe-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.network = Network()
        self.addCleanup(self.network.close)
        self.store = self.folder / "store"
        # iPXE gives a disk of less than one cylinder, 8 MiB, no geometry, and reads nothing from it.
        image = self.folder / "hello.img"
        image.write_bytes((SECTORS / "hello.img").read_bytes() + bytes(16 << 20))
        for command in (["init", self.store], ["import", self.store, "hello", image, "--format", "raw"],
                        ["client", "add", self.store, MAC, "--name", "In the lab"],
                        ["assign", self.store, MAC, "hello", "--mode", "shared"]):
            subprocess.run([LODGE, "vdisk", *command], check=True, capture_output=True)
        self.start(self.network.dhcp, "dhcp", DNSMASQ, "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
                   "--interface=eth0", "--bind-interfaces", "--dhcp-range=10.77.0.100,10.77.0.150,255.255.255.0",
                   "--dhcp-option=3,10.77.0.254", f"--dhcp-leasefile={self.folder}/leases", "--user=root",
                   "--pid-file=", "--log-dhcp", "--log-facility=-")
        self.server = self.start(self.network.server, "server", LODGE, "vdisk", "serve", self.store, "--pxe", "lan")
        self.wait_for(lambda: "serving" in self.said("server"), "the server")

    def start(self, namespace, name, *command):
        """Its output is what `said` says."""
        with open(self.folder / f"{name}.txt", "wb") as output:
            process = subprocess.Popen(namespace.command(*command), stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=output)

        def end():
            process.terminate()
            process.wait(30)
        self.addCleanup(end)
        return process

    def said(self, name):
        return (self.folder / f"{name}.txt").read_text(errors="replace")

    def wait_for(self, condition, what):
        deadline = time.monotonic() + SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come\n{self.said('server')}")
            time.sleep(0.1)

    def test_firmware(self):
        """Firmware of PCs gets its address from the network's server, and iPXE, of the right kind, from us."""
        for architecture, file in ((0, "undionly.kpxe"), (7, "ipxe.efi"), (9, "ipxe.efi")):
            with self.subTest(architecture=architecture):
                result = json.loads(self.network.firmware.run(sys.executable, FIRMWARE, "eth0",
                                                              "52:54:00:77:00:99", architecture))
                offers = {offer["from"]: offer for offer in result["offers"]}
                self.assertEqual(set(offers), {"10.77.0.1", "10.77.0.2"}, self.said("server"))
                self.assertRegex(offers["10.77.0.2"]["yiaddr"], r"^10\.77\.0\.1\d\d$")
                self.assertEqual((offers["10.77.0.1"]["yiaddr"], offers["10.77.0.1"]["class"]), ("0.0.0.0", "PXEClient"))
                self.assertEqual(result["boot"][0]["file"], file)
                self.assertEqual(result["fetched"]["sha256"], hashlib.sha256((IPXE / file).read_bytes()).hexdigest())

    def test_client(self):
        """A PC with iPXE in its card: through DHCP, proxy-DHCP and the boot script to the program on its vDisk."""
        screenshot = ["--screenshot", f"{SCREENSHOTS}/pxe.png"] if SCREENSHOTS else []
        guest = self.start(self.network.server, "guest", LODGE, "run", "--boot", "network", "--memory", 64,
                           "--nic", f"e1000,mac={MAC}", "--net", "tap=guest", "--display", "none",
                           "--serial", "stdio", "--timeout", SECONDS, *screenshot)
        self.wait_for(lambda: "hello" in self.said("guest").lower() or guest.poll() is not None, "the program's line")
        self.assertIn("hello", self.said("guest").lower(), self.said("server"))
        log = subprocess.run([LODGE, "vdisk", "log", self.store], check=True, capture_output=True, text=True).stdout
        self.assertIn(f"client {MAC}: boots vDisk hello, shared", log)

    def test_dnsmasq_ends_with_us(self):
        """However we end: killed, too."""
        children = lambda: self.network.server.run("sh", "-c", "ss -Hulpn sport = :67 or sport = :4011")
        self.wait_for(lambda: "dnsmasq" in children(), "dnsmasq")
        # nsenter becomes the program, so this is lodge itself.
        self.server.kill()
        self.wait_for(lambda: "dnsmasq" not in children(), "the end of dnsmasq")


if __name__ == "__main__":
    unittest.main()
