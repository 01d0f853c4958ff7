#!/usr/bin/env python3
"""`lodge disk` against qemu-img, qemu-io and libvhdi, on images made on the spot.

Usage: check_disks.py LODGE TEST...   (the tests are the functions named test_*)
Exit status: 0 passed, 1 failed, 77 a program that the test needs is missing.
"""
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
MIB = 1 << 20
GIB = 1 << 30
LODGE = ""


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            print(f"{program} is not installed")
            sys.exit(SKIPPED)


def run(*command, status=0):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != status:
        print(done.stdout, done.stderr)
        raise AssertionError(f"{command}: status {done.returncode}, not {status}")
    return done


def lodge(*arguments, status=0):
    return run(LODGE, "disk", *arguments, status=status)


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def make_source(path, size, pieces=60):
    """A sparse file with data here and there: short runs, runs across blocks, the very ends."""
    generator = random.Random(size)
    with open(path, "wb") as file:
        file.truncate(size)
        for place in [0, size - 512] + [generator.randrange(size) for _ in range(pieces)]:
            file.seek(place)
            file.write(generator.randbytes(min(generator.randrange(1, 3 * MIB) // generator.randrange(1, 100) + 1,
                                               size - place)))


SOURCES = [512, 1 * MIB, 5 * MIB + 512, 67 * MIB + 7 * 512, 300 * MIB]


def test_qemu_reads_ours(folder):
    need("qemu-img")
    for size in SOURCES + [140 * GIB]:
        make_source(folder / "source", size)
        for kind, block in [("dynamic", "2M"), ("dynamic", "512K"), ("dynamic", "64K"), ("fixed", "2M"), ("raw", "2M")]:
            if size > GIB and (kind == "fixed" or block == "64K"):
                continue
            lodge("convert", folder / "source", folder / "target", "--type", kind, "--block-size", block)
            run("qemu-img", "compare", "-f", "raw", "-F", "raw" if kind == "raw" else "vpc", folder / "source",
                folder / "target")
            lodge("check", folder / "target")


def test_ours_reads_qemu(folder):
    need("qemu-img")
    for size in SOURCES[1:]:
        make_source(folder / "source", size)
        for kind in ("dynamic", "fixed"):
            for force_size in ("on", "off"):
                run("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", f"subformat={kind},force_size={force_size}",
                    folder / "source", folder / "qemu.vhd")
                lodge("check", folder / "qemu.vhd")
                lodge("convert", folder / "qemu.vhd", folder / "ours", "--type", "raw")
                run("qemu-img", "compare", "-f", "vpc", "-F", "raw", folder / "qemu.vhd", folder / "ours")


def test_qemu_writes_ours(folder):
    """Each program in turn grows what the other left."""
    need("qemu-img", "qemu-io")
    make_source(folder / "source", 67 * MIB)
    lodge("convert", folder / "source", folder / "ours.vhd")
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", folder / "source", folder / "model")
    generator = random.Random(1)
    for turn in range(20):
        offset, length = generator.randrange(130000) * 512, generator.randrange(1, 2000) * 512
        for name, kind in (("ours.vhd", "vpc"), ("model", "raw")):
            run("qemu-io", "-f", kind, "-c", f"write -P {turn + 1} {offset} {length}", folder / name)
        lodge("check", folder / "ours.vhd")
        lodge("convert", folder / "ours.vhd", folder / "again.vhd", "--type", "dynamic")
        run("qemu-img", "compare", "-f", "vpc", "-F", "raw", folder / "again.vhd", folder / "model")


def test_sizes(folder):
    """Everybody sees exactly the size that was asked for, also those that no whole cylinders make."""
    need("qemu-img")
    for kind in ("dynamic", "fixed"):
        for size in (512, 17 * 512, MIB, 3 * MIB + 512, 100 * MIB, GIB, 127 * GIB, 128 * GIB, 2040 * GIB):
            if kind == "fixed" and size > 100 * MIB:
                continue
            lodge("create", folder / "new.vhd", "--size", size, "--type", kind, "--force")
            seen = json.loads(run("qemu-img", "info", "--output=json", "-f", "vpc", folder / "new.vhd").stdout)
            expect(seen["virtual-size"] == size, f"qemu-img sees {seen['virtual-size']}, not {size}")
            ours = json.loads(lodge("info", "--json", folder / "new.vhd").stdout)
            expect(ours["size"] == size and ours["format"] == f"{kind} VHD", f"lodge sees {ours}")


def test_libvhdi(folder):
    need("vhdiinfo")
    for size in SOURCES:
        make_source(folder / "source", size)
        for kind in ("dynamic", "fixed"):
            lodge("convert", folder / "source", folder / "ours.vhd", "--type", kind)
            seen = run("vhdiinfo", folder / "ours.vhd").stdout
            expect(f"{size} bytes" in seen, f"vhdiinfo does not see {size} bytes:\n{seen}")
            expect(kind.capitalize() in seen, f"vhdiinfo does not see a {kind} disk:\n{seen}")


class Mounted:
    """A chain as libvhdi shows it: the files of a mounted folder, the image itself last."""

    def __init__(self, image, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        done = subprocess.run(["vhdimount", str(image), str(folder)], capture_output=True, text=True)
        if not os.path.exists("/dev/fuse") or "fuse" in done.stderr:
            print("the host has no FUSE")
            sys.exit(SKIPPED)
        expect(done.returncode == 0 and (folder / "vhdi1").exists(), f"vhdimount: {done.stdout}{done.stderr}")

    def __enter__(self):
        return max(self.folder.iterdir(), key=lambda path: int(path.name.removeprefix("vhdi")))

    def __exit__(self, *_):
        run("umount", self.folder)


def test_libvhdi_chains(folder):
    """libvhdi and lodge read the same from chains that lodge made and changed; qemu-img from what is flattened."""
    need("vhdimount", "qemu-img", "qemu-io")
    generator = random.Random(7)
    size = 40 * MIB + 512 * 9
    make_source(folder / "model", size)
    chain = [folder / "base.vhd"]
    lodge("convert", folder / "model", chain[0], "--block-size", "512K")

    def same(image):
        lodge("check", image)
        lodge("compare", image, folder / "model")
        with Mounted(image, folder / "mounted") as seen:
            run("cmp", seen, folder / "model")

    def write(image):
        """By way of a raw child of the model's bytes: rebase stores the differences."""
        for _ in range(8):
            offset, length = generator.randrange(size // 512) * 512, generator.randrange(1, 3000) * 512
            length = min(length, size - offset)
            put(folder / "model", offset, bytes(length) if generator.randrange(4) == 0 else generator.randbytes(length))
        new = folder / "content.vhd"
        lodge("convert", folder / "model", new)
        lodge("create", folder / "difference.vhd", "--parent", new, "--force")
        lodge("rebase", folder / "difference.vhd", "--parent", image)
        os.replace(folder / "difference.vhd", folder / f"{len(chain)}.vhd")
        chain.append(folder / f"{len(chain)}.vhd")

    for turn in range(4):
        write(chain[-1])
        same(chain[-1])
    lodge("rebase", chain[-1], "--parent", chain[1])
    same(chain[-1])
    lodge("compact", chain[-1])
    same(chain[-1])
    lodge("commit", chain[-1], "--force")  # the others of the chain are children of chain[1] too
    same(chain[-1])
    same(chain[1])
    lodge("commit", chain[1])
    same(chain[0])
    lodge("clone", chain[-1], folder / "linked.vhd", "--linked")
    same(folder / "linked.vhd")
    lodge("convert", folder / "linked.vhd", folder / "flat.vhd")
    run("qemu-img", "compare", "-f", "vpc", "-F", "raw", folder / "flat.vhd", folder / "model")
    lodge("resize", folder / "linked.vhd", "--size", "64M")
    os.truncate(folder / "model", 64 * MIB)
    lodge("compare", folder / "linked.vhd", folder / "model")  # libvhdi shows no more of it than the parents have
    lodge("convert", folder / "linked.vhd", folder / "flat.vhd")
    run("qemu-img", "compare", "-f", "vpc", "-F", "raw", folder / "flat.vhd", folder / "model")


def test_qemu_changed(folder):
    """qemu-img reads what compact and resize leave of dynamic and fixed images, its own and ours."""
    need("qemu-img", "qemu-io")
    size = 40 * MIB
    for maker in ("lodge", "qemu"):
        for kind in ("dynamic", "fixed"):
            image, model = folder / "image.vhd", folder / "model"
            make_source(model, size)
            if maker == "lodge":
                lodge("convert", model, image, "--type", kind)
            else:
                run("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", f"subformat={kind},force_size=on", model,
                    image)
            for offset, length in ((4 * MIB, 12 * MIB), (30 * MIB, 6 * MIB)):
                for name, format_name in ((image, "vpc"), (model, "raw")):
                    run("qemu-io", "-f", format_name, "-c", f"write -P 0 {offset} {length}", name)
            before = image.stat().st_size
            if kind == "dynamic":
                lodge("compact", image)
                expect(image.stat().st_size < before - 10 * MIB, "compact gave nothing back")
            for new_size in (size + MIB, size * 3, size * 3 + 512, 35 * MIB, 60 * MIB):
                lodge("resize", image, "--size", new_size, "--force")
                os.truncate(model, new_size)
                lodge("check", image)
                lodge("compare", image, model)
                run("qemu-img", "compare", "-f", "vpc", "-F", "raw", image, model)
            run("qemu-io", "-f", "vpc", "-c", f"write -P 7 {55 * MIB} {MIB}", image)
            run("qemu-io", "-f", "raw", "-c", f"write -P 7 {55 * MIB} {MIB}", model)
            lodge("check", image)
            lodge("compare", image, model)


def test_linked_clone_time(folder):
    """A linked clone is there at once, however large the disk."""
    for number, (size, block) in enumerate((("1G", "2M"), ("2040G", "2M"), ("2040G", "256K"))):
        lodge("create", folder / f"{number}.vhd", "--size", size, "--block-size", block)
        times = []
        for turn in range(5):
            before = time.monotonic()
            lodge("clone", "--linked", "--force", folder / f"{number}.vhd", folder / "clone.vhd")
            times.append(time.monotonic() - before)
        print(f"{size} in blocks of {block}: {min(times) * 1000:.0f} ms")
        expect(min(times) < 0.05, f"a linked clone of {size} took {min(times)} s")


def test_space_comes_back(folder):
    """Zeroed blocks of a dynamic image take no space on the host after a conversion, nor after compact."""
    lodge("create", folder / "a.vhd", "--size", "64M")
    make_source(folder / "source", 64 * MIB, pieces=200)
    lodge("convert", folder / "source", folder / "a.vhd")
    space = os.stat(folder / "a.vhd").st_blocks * 512
    lodge("convert", folder / "a.vhd", folder / "b.vhd", "--type", "raw")
    expect(os.stat(folder / "b.vhd").st_blocks * 512 <= space + MIB, "the copy takes more space than the image")


def test_locks(folder):
    """What QEMU writes to is left alone, what it only reads can be read."""
    need("qemu-io")
    lodge("create", folder / "a.vhd", "--size", "16M")

    def beside_qemu(option, command, status):
        qemu = subprocess.Popen(["qemu-io", *option, "-f", "vpc", folder / "a.vhd"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
        qemu.stdin.write("read 0 512\n")
        qemu.stdin.flush()
        while "read 512" not in qemu.stdout.readline():
            pass
        try:
            return lodge(*command, folder / "a.vhd", status=status)
        finally:
            qemu.communicate("quit\n")

    refused = beside_qemu([], ["info"], 2)
    expect("open for writing" in refused.stderr, refused.stderr)
    beside_qemu([], ["check", "--repair"], 2)
    beside_qemu(["-r"], ["info"], 0)
    beside_qemu(["-r"], ["check", "--repair"], 2)


def test_interruption(folder):
    """However a conversion ends, there is its whole target or none, and the source is as it was."""
    make_source(folder / "source", 600 * MIB, pieces=1500)
    with open(folder / "source", "r+b") as file:
        for place in range(0, 600 * MIB, 2 * MIB):
            file.seek(place)
            file.write(b"x" * 100)
    before = (folder / "source").stat().st_mtime_ns
    stopped = 0
    for ending in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        for delay in (0.002, 0.01, 0.03, 0.08):
            process = subprocess.Popen([LODGE, "disk", "convert", folder / "source", folder / "target"],
                                       stderr=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(ending)
            process.wait()
            left = sorted(os.listdir(folder))
            expect(left in (["source"], ["source", "target"]), f"left behind: {left}")
            stopped += "target" not in left
            if "target" in left:  # it may have been put in place just before the signal came
                lodge("check", folder / "target")
                if shutil.which("qemu-img"):
                    run("qemu-img", "compare", "-f", "raw", "-F", "vpc", folder / "source", folder / "target")
                os.unlink(folder / "target")
    expect(stopped > 0, "every conversion was faster than its signal")
    expect((folder / "source").stat().st_mtime_ns == before, "the source was written to")


def put(path, place, data):
    with open(path, "r+b") as file:
        file.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        file.write(data)


def test_bad_input(folder):
    """Each is one line on standard error and status 2; nothing is written."""
    make_source(folder / "source", 5 * MIB)
    damages = {
        "footers.vhd": lambda path: (put(path, 40, b"\x55"), put(path, -472, b"\x55")),
        "header.vhd": lambda path: put(path, 600, b"\x55"),
        "past_end.vhd": lambda path: put(path, 1536, struct.pack(">I", 0x00FFFFFF)),
        "overlap.vhd": lambda path: put(path, 1536, open(path, "rb").read()[1540:1544]),
        "cut.vhd": lambda path: os.truncate(path, 3 * MIB),
        "short.vhd": lambda path: os.truncate(path, 1000),
        "empty.vhd": lambda path: os.truncate(path, 0),
    }
    for name, damage in damages.items():
        lodge("convert", folder / "source", folder / name)
        damage(folder / name)
    fixed = folder / "fixed.vhd"
    lodge("convert", folder / "source", fixed, "--type", "fixed")
    put(fixed, -472, b"\x55")
    (folder / "directory").mkdir()
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for name in [*damages, "fixed.vhd", "directory", "missing"]:
        for command in (["info", folder / name], ["check", folder / name],
                        ["convert", folder / name, folder / "new.vhd"]):
            said = lodge(*command, status=2)
            expect(said.stderr.count("\n") == 1 and said.stderr.startswith("lodge: "), said.stderr)
            expect(str(folder / name) in said.stderr, said.stderr)
    after = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    expect(before == after, "a file changed or appeared")


def main():
    global LODGE
    LODGE = os.path.abspath(sys.argv[1])
    for name in sys.argv[2:]:
        with tempfile.TemporaryDirectory(prefix="lodge-disks.") as folder:
            globals()[f"test_{name}"](pathlib.Path(folder))
        print(f"{name}: passed")


if __name__ == "__main__":
    main()
