"""A client of the gdb remote protocol, for what gdb itself does not do in batch mode: interrupting, killing, vanishing."""
import socket
import time


def checksum(payload):
    return sum(payload) & 0xFF


class GdbClient:
    def __init__(self, path, seconds=60):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(seconds)
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.received = b""

    def close(self):
        self.socket.close()

    def send_raw(self, data):
        self.socket.sendall(data)

    def send(self, payload):
        self.send_raw(b"$" + payload + b"#%02x" % checksum(payload))

    def receive(self):
        """The next packet's payload; it is acknowledged."""
        while True:
            start = self.received.find(b"$")
            end = self.received.find(b"#", start)
            if start >= 0 and end >= 0 and len(self.received) >= end + 3:
                payload = self.received[start + 1:end]
                assert int(self.received[end + 1:end + 3], 16) == checksum(payload), self.received
                self.received = self.received[end + 3:]
                self.send_raw(b"+")
                return payload
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("lodge closed the connection")
            self.received += data

    def ask(self, payload):
        self.send(payload)
        return self.receive()

    def monitor(self, command):
        """What a monitor command prints."""
        self.send(b"qRcmd," + command.encode().hex().encode())
        text = b""
        while True:
            reply = self.receive()
            if reply == b"OK":
                return text.decode()
            assert reply.startswith(b"O"), reply
            text += bytes.fromhex(reply[1:].decode())

    def interrupt(self):
        """The stop reply to a ctrl-C while the machine runs."""
        self.send_raw(b"\x03")
        return self.receive()

    def go_on(self):
        self.send(b"vCont;c")
