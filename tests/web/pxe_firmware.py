#!/usr/bin/env python3
"""pxe_firmware.py INTERFACE MAC ARCHITECTURE: what the firmware of a PC does to boot from its network, as JSON: DHCP, the
talk with the boot server, TFTP. For tests/web/test_pxe.py, which has it run in a network namespace.
"""
import hashlib
import json
import socket
import struct
import sys
import time

COOKIE = bytes.fromhex("63825363")
DISCOVER, REQUEST = 1, 3
SERVER_PORT, CLIENT_PORT, BOOT_SERVER_PORT, TFTP_PORT = 67, 68, 4011, 69
UUID = bytes(range(16))

def option(number, value):
    return bytes([number, len(value)]) + value

def boot_item(offer):
    """The first item of the boot menu in an offer's option 43 (PXE specification table 2-1), as a request names it."""
    vendor, at = bytes.fromhex(offer["vendor"]), 0
    while at + 1 < len(vendor) and vendor[at] != 255:
        if vendor[at] == 9:
            return option(43, option(71, vendor[at + 2:at + 4] + b"\0\0") + b"\xff")
        at += 2 + vendor[at + 1]
    return b""


def message(kind, mac, architecture, ciaddr="0.0.0.0", more=b""):
    """RFC 2131 and the PXE specification 2.1, as firmware without iPXE says it."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    head = struct.pack(">BBBBIHH4s4s4s4s16s64s128s", 1, 1, 6, 0, 0x10D6E, 0, 0x8000, socket.inet_aton(ciaddr),
                       bytes(4), bytes(4), bytes(4), hardware, b"", b"")
    options = [option(53, bytes([kind])), option(60, b"PXEClient:Arch:%05d:UNDI:002001" % architecture),
               option(93, struct.pack(">H", architecture)), option(94, b"\1\2\1"), option(97, b"\0" + UUID),
               option(55, bytes([1, 3, 43, 60, 66, 67]))]
    return head + COOKIE + b"".join(options) + more + b"\xff"

def parse(data):
    options, at = {}, 240
    while at < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        options[data[at]] = data[at + 2:at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    text = lambda raw: raw.split(b"\0")[0].decode()
    return {"yiaddr": socket.inet_ntoa(data[16:20]), "siaddr": socket.inet_ntoa(data[20:24]),
            "file": text(options.get(67, b"") or data[108:236]), "class": text(options.get(60, b"")),
            "vendor": options.get(43, b"").hex()}

def receive(sock, wanted, seconds=20):
    """So many answers, or those that come in time."""
    answers, deadline = [], time.monotonic() + seconds
    while len(answers) < wanted and (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            data, address = sock.recvfrom(4096)
        except TimeoutError:
            break
        if len(data) > 240 and data[0] == 2 and data[236:240] == COOKIE:
            answers.append({"from": address[0], **parse(data)})
    return answers

def fetch(server, name):
    """The file by TFTP (RFC 1350)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.sendto(b"\0\1" + name.encode() + b"\0octet\0", (server, TFTP_PORT))
        content = b""
        while True:
            data, peer = sock.recvfrom(2048)
            if data[:2] != b"\0\3":
                return {"error": data[4:].decode(errors="replace")}
            sock.sendto(b"\0\4" + data[2:4], peer)
            content += data[4:]
            if len(data) < 4 + 512:
                return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

def firmware(interface, mac, architecture):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.bind(("0.0.0.0", CLIENT_PORT))
        sock.sendto(message(DISCOVER, mac, architecture), ("255.255.255.255", SERVER_PORT))
        result = {"offers": receive(sock, 2)}
        proxies = [offer for offer in result["offers"] if offer["class"] == "PXEClient"]
        if proxies:

            request = message(REQUEST, mac, architecture, "10.77.0.99", boot_item(proxies[0]))
            sock.sendto(request, (proxies[0]["from"], BOOT_SERVER_PORT))
            result["boot"] = receive(sock, 1)
            if result["boot"]:
                result["fetched"] = fetch(proxies[0]["from"], result["boot"][0]["file"])
    return result

if __name__ == "__main__":
    print(json.dumps(firmware(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
