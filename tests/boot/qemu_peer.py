#!/usr/bin/env python3
"""Takes lodge's command line and has QEMU do it: tells a fault of a guest image from one of lodge.

LODGE=tests/boot/qemu_peer.py LODGE_SECTORS=... python3 tests/boot/test_demo.py

Only what the boot tests use: `run` with disks, kernels, serial ports, --timeout, --no-reboot, and `disk convert`.
"""
import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading


def disk_arguments(specification):
    path, *properties = specification.split(",")
    with open(path, "rb") as file:
        image_format = "vpc" if file.read(8) == b"conectix" else "raw"
    snapshot = "on" if "mode=shared" in properties else "off"
    drive = f"file={path},format={image_format},snapshot={snapshot}"
    if "bus=scsi" not in properties:
        return ["-drive", f"{drive},if=ide"]
    unit = next((value[5:] for value in properties if value.startswith("unit=")), "0")
    return ["-drive", f"{drive},if=none,id=scsi{unit}", "-device", f"scsi-hd,drive=scsi{unit},scsi-id={unit}"]


def qemu_arguments(options):
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=single", "-M", "pc", "-m", str(options.memory), "-nodefaults",
               "-vga", "std", "-display", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    command += ["-device", "lsi53c895a"] if any("bus=scsi" in disk for disk in options.disk) else []
    for disk in options.disk:
        command += disk_arguments(disk)
    for name in ("kernel", "initrd", "append"):
        if getattr(options, name):
            command += [f"-{name}", getattr(options, name)]
    command += ["-chardev", "stdio,id=serial,signal=off"] if options.serial == "stdio" else []
    command += ["-serial", "chardev:serial" if options.serial == "stdio" else options.serial]
    command += ["-no-reboot"] if options.no_reboot else []
    command += ["-S"] if options.paused else []
    if options.clock == "virtual":
        command += ["-icount", "shift=1,sleep=off", "-rtc", "base=2026-01-01,clock=vm"]
    return command


def shutdown_reason(connection):
    """Reads QMP until the machine ends; "guest-shutdown", "guest-reset" or nothing."""
    stream = connection.makefile("rw")
    stream.readline()
    stream.write('{"execute":"qmp_capabilities"}\n')
    stream.flush()
    reason = ""
    for line in stream:
        event = json.loads(line)
        if event.get("event") == "SHUTDOWN":
            reason = event["data"]["reason"]
    return reason


def run(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--disk", action="append", default=[])
    parser.add_argument("--memory", type=int, default=512)
    parser.add_argument("--serial", default="stdio")
    parser.add_argument("--clock", default="realtime")
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--no-reboot", action="store_true")
    parser.add_argument("--paused", action="store_true")
    for name in ("kernel", "initrd", "append", "display", "engine"):
        parser.add_argument(f"--{name}")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(folder, "qmp"))
        listener.listen()
        process = subprocess.Popen(qemu_arguments(options) + ["-qmp", f"unix:{folder}/qmp"])
        reason = []
        reader = threading.Thread(target=lambda: reason.append(shutdown_reason(listener.accept()[0])), daemon=True)
        reader.start()
        try:
            status = process.wait(options.timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return 124
        reader.join(5)
    return 4 if reason == ["guest-reset"] else status


def main():
    if sys.argv[1] == "run":
        return run(sys.argv[2:])
    if sys.argv[1:3] == ["disk", "convert"]:
        source, destination, kind = sys.argv[3], sys.argv[4], sys.argv[6]
        source_format = disk_arguments(source)[1].split("format=")[1].split(",")[0]
        image = ["-O", "raw"] if kind == "raw" else ["-O", "vpc", "-o", f"subformat={kind},force_size=on"]
        return subprocess.call(["qemu-img", "convert", "-f", source_format, *image, source, destination])
    if sys.argv[1:3] == ["disk", "check"]:
        return subprocess.call(["qemu-img", "info", sys.argv[3]], stdout=subprocess.DEVNULL)
    return 2


if __name__ == "__main__":
    sys.exit(main())
