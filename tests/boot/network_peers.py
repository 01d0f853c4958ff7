"""What the network tests put at the other end: a server of files, a peer on a socket segment, a reader of captures.

Nothing here needs a network of the host's but its loopback.
"""
import http.server
import pathlib
import socket
import struct
import threading
import time

IPV4, ARP, VLAN = 0x0800, 0x0806, 0x8100


class FileServer:
    """HTTP on a free port of 127.0.0.1; answers every GET with `content` of that path, and keeps what is PUT."""

    def __init__(self, content):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = content.get(self.path)
                self.send_response(200 if found is not None else 404)
                self.send_header("Content-Length", str(len(found or b"")))
                self.end_headers()
                self.wfile.write(found or b"")

            def log_message(self, *unused):
                outer.requests.append(self.path)

        self.requests = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ones_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def wrong_checksums(frame):
    """Which of an IPv4 packet's checksums are wrong: some of "ip", "tcp", "udp"; nothing for other frames."""
    if struct.unpack(">H", frame[12:14])[0] != IPV4:
        return []
    header = (frame[14] & 15) * 4
    length, = struct.unpack(">H", frame[16:18])
    wrong = ["ip"] if ones_sum(frame[14:14 + header]) != 0xFFFF else []
    name = {6: "tcp", 17: "udp"}.get(frame[23])
    fragment = struct.unpack(">H", frame[20:22])[0] & 0x3FFF
    packet = frame[14 + header:14 + length]
    if name and not fragment and not (name == "udp" and packet[6:8] == b"\0\0"):
        pseudo = frame[26:34] + struct.pack(">HH", frame[23], len(packet))
        wrong += [name] if ones_sum(pseudo + packet) != 0xFFFF else []
    return wrong


def read_capture(path):
    """The frames of a pcap file, checked as a reader would."""
    data = pathlib.Path(path).read_bytes()
    magic, major, _, _, _, longest, link = struct.unpack_from("<IHHIIII", data)
    assert (magic, major, link) == (0xA1B23C4D, 2, 1), "no Ethernet capture"
    frames, at, before = [], 24, 0
    while at < len(data):
        seconds, nanoseconds, stored, length = struct.unpack_from("<IIII", data, at)
        now = seconds * 10**9 + nanoseconds
        assert stored == length <= longest and now >= before and nanoseconds < 10**9
        frames.append(data[at + 16:at + 16 + stored])
        at, before = at + 16 + stored, now
    assert at == len(data), "the last packet is cut short"
    return frames


class SegmentPeer:
    """A host on a socket segment, by hand: MAC 02:00:00:00:00:01, 10.9.0.1. Listens at `path`, or connects to it."""

    MAC = bytes.fromhex("020000000001")
    ADDRESS = bytes([10, 9, 0, 1])

    def __init__(self, path, listen):
        self.socket = socket.socket(socket.AF_UNIX)
        self.listener = None
        if listen:
            self.listener = self.socket
            self.listener.bind(str(path))
            self.listener.listen()
            self.socket = None
        else:
            # The hub may be about to come: lodge takes a moment to become one.
            deadline = time.monotonic() + 20
            while True:
                try:
                    self.socket.connect(str(path))
                    break
                except (FileNotFoundError, ConnectionRefusedError):
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
        self.buffer = b""

    def accept(self, seconds=60):
        self.listener.settimeout(seconds)
        self.socket, _ = self.listener.accept()

    def close(self):
        for each in (self.socket, self.listener):
            if each:
                each.close()

    def send(self, frame):
        self.socket.sendall(struct.pack(">I", len(frame)) + frame)

    def receive(self, seconds):
        """The next frame, or None. Answers who asks for our address."""
        deadline = time.monotonic() + seconds
        while True:
            if len(self.buffer) >= 4:
                length, = struct.unpack(">I", self.buffer[:4])
                if len(self.buffer) >= 4 + length:
                    frame, self.buffer = self.buffer[4:4 + length], self.buffer[4 + length:]
                    self.answer_arp(frame)
                    return frame
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return None
            if not data:
                raise AssertionError("the segment has ended")
            self.buffer += data

    def answer_arp(self, frame):
        tag = frame[12:16] if frame[12:14] == struct.pack(">H", VLAN) else b""
        packet = frame[12 + len(tag):]
        if packet[:2] == struct.pack(">H", ARP) and packet[8:10] == b"\0\1" and packet[26:30] == self.ADDRESS:
            reply = packet[:9] + b"\2" + self.MAC + self.ADDRESS + packet[10:20]
            self.send(packet[10:16] + self.MAC + tag + reply)

    def echo_request(self, destination_mac, destination, payload=b"lodge" * 10, tag=b"", sequence=1):
        """An ICMP echo request; the wanted reply's payload is the same."""
        icmp = struct.pack(">BBHHH", 8, 0, 0, 0x4C4F, sequence) + payload
        icmp = icmp[:2] + struct.pack(">H", ~ones_sum(icmp) & 0xFFFF) + icmp[4:]
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), sequence, 0, 64, 1, 0, self.ADDRESS, destination)
        ip = ip[:10] + struct.pack(">H", ~ones_sum(ip) & 0xFFFF) + ip[12:]
        self.send(destination_mac + self.MAC + tag + struct.pack(">H", IPV4) + ip + icmp)

    def ping(self, *arguments, seconds=20, **options):
        """Whether an echo request, one a second, is answered in time; the answer's frame."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.echo_request(*arguments, **options)
            answer = self.echo_answer(min(deadline, time.monotonic() + 1))
            if answer:
                return answer
        return None

    def echo_answer(self, deadline):
        while time.monotonic() < deadline:
            frame = self.receive(deadline - time.monotonic())
            if frame is None:
                return None
            body = frame[18:] if frame[12:14] == struct.pack(">H", VLAN) else frame[14:]
            if frame[:6] == self.MAC and len(body) > 28 and body[9] == 1 and body[20] == 0:
                return frame
        return None
