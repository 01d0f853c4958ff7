#!/usr/bin/env python3
"""How fast 64 MiB go to a guest and come from it over TCP: Debian's kernel with its e1000 driver, on lodge's user network
and on QEMU's. See README.md beside this file."""
import http.server
import socket
import statistics
import sys
import threading
import time

from programs import Run, Trouble, bench_options, kernel_options, lodge_command, one_dash, qemu_command

SIZE = 64 << 20
BOOT_SECONDS, STEP_SECONDS = 600, 300
DIRECTIONS = ["to the guest", "from the guest"]


class Zeros(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(SIZE))
        self.end_headers()
        for _ in range(SIZE >> 16):
            self.wfile.write(bytes(1 << 16))

    def log_message(self, *unused):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch_from_guest(port):
    received = 0
    with socket.create_connection(("127.0.0.1", port), timeout=STEP_SECONDS) as connection:
        connection.sendall(b"GET /big HTTP/1.0\r\n\r\n")
        while part := connection.recv(1 << 20):
            received += len(part)
    if received < SIZE:
        raise Trouble(f"only {received} bytes came from the guest")


def live(command, server_port, guest_port, rounds):
    """{direction: [(seconds, processor seconds) of each round]}, but of the first, which warms everything."""
    measured = {direction: [] for direction in DIRECTIONS}
    with Run(command) as run:
        def do(line):
            run.send(f"{line}; echo DO''NE\n")
            if not run.expect(r"DONE\r?\n", STEP_SECONDS):
                raise run.trouble("ended early")

        if not run.expect("/ # ", BOOT_SECONDS):
            raise run.trouble("ended before its shell came")
        do("sh /network.sh; ip link set eth0 up; udhcpc -i eth0 -n -q -s /udhcpc.sh")
        do("mkdir /www; truncate -s 64M /www/big; httpd -h /www")
        for number in range(rounds + 1):
            for direction in DIRECTIONS:
                began, processor = time.monotonic(), run.processor_seconds()
                if direction == DIRECTIONS[0]:
                    do(f"wget -q -O /dev/null http://10.0.2.2:{server_port}/big")
                else:
                    fetch_from_guest(guest_port)
                if number:
                    measured[direction].append((time.monotonic() - began, run.processor_seconds() - processor))
    return measured


def main():
    options = bench_options().parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Zeros)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kernel = kernel_options(options.guests, 32, "quiet", options.guests / "i386/network.img")
    results = {}
    try:
        for program in ("lodge", "QEMU"):
            port = free_port()
            network = f"hostfwd=tcp:127.0.0.1:{port}-:80"
            command = (lodge_command(options.lodge, options.engine, [*kernel, "--net", f"user,{network}"])
                       if program == "lodge" else
                       qemu_command(32, [*one_dash(kernel), "-device", "e1000,netdev=n,romfile=",
                                         "-netdev", f"user,id=n,{network}"]))
            results[program] = live(command, server.server_address[1], port, options.rounds)
    except Trouble as trouble:
        sys.exit(str(trouble))
    print(f"{'TCP by e1000, user network, i386':34}{'lodge MB/s':>12}{'QEMU MB/s':>12}{'processor time':>16}")
    for direction in DIRECTIONS:
        lodge, qemu = [[statistics.median(column) for column in zip(*results[program][direction])]
                       for program in ("lodge", "QEMU")]
        print(f"{direction:34}{SIZE / lodge[0] / 1e6:12.1f}{SIZE / qemu[0] / 1e6:12.1f}{lodge[1] / qemu[1]:9.2f} x QEMU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
