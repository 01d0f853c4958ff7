"""A vDisk server for tests: `lodge vdisk serve` on the host's loopback."""
import json
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

from harness import PROGRAM, STEP_SECONDS
from network_peers import free_port


class Server:
    """A `lodge vdisk serve`, on the same ports however often it is started."""

    def __init__(self, store, *options):
        self.http, self.iscsi = free_port(), free_port()
        self.command = [PROGRAM, "vdisk", "serve", str(store), "--listen", "127.0.0.1", "--http-port", str(self.http),
                        "--iscsi-port", str(self.iscsi), *map(str, options)]
        self.log = tempfile.TemporaryFile()
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + STEP_SECONDS
        while not (self.listens(self.http) and self.listens(self.iscsi)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server does not listen: {self.log_text()}")
            time.sleep(0.05)

    @staticmethod
    def listens(port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def stop(self, how=signal.SIGTERM):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.send_signal(signal.SIGCONT)
        return self.process.wait(STEP_SECONDS)

    def log_text(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def script(self, mac, query=""):
        url = f"http://127.0.0.1:{self.http}/boot.ipxe?mac={mac.replace(':', '-')}{query}"
        with urllib.request.urlopen(url, timeout=STEP_SECONDS) as answer:
            return answer.read().decode()

    def api(self, what):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/api/v1/{what}", timeout=STEP_SECONDS) as answer:
            return json.load(answer)
