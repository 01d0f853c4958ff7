#!/usr/bin/env python3
"""Bad input: one line on stderr that names the culprit, exit 2, nothing written."""
import hashlib
import unittest

import vhd_writer as vhd
from harness import HEADLESS, BootTest, lodge

QUIET = [*HEADLESS, "--serial", "null", "--timeout", "20"]


def listing(folder):
    """Every file below, with a checksum of its bytes."""
    return {str(path): path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))}


class BadInput(BootTest):
    def assert_refused(self, *arguments, names):
        """`names` is what the one line must contain, in any case."""
        before = listing(self.folder)
        result = lodge(*arguments, timeout=60)
        context = f"lodge {' '.join(map(str, arguments))}: {result}"
        self.assertEqual(result.returncode, 2, context)
        self.assertEqual(result.stdout, "", context)
        self.assertTrue(result.stderr.endswith("\n"), context)
        self.assertEqual(result.stderr.count("\n"), 1, context)
        self.assertIn(str(names).lower(), result.stderr.lower(), context)
        self.assertEqual(listing(self.folder), before, f"something was written; {context}")

    def assert_image_refused(self, name, data):
        """By each command that opens an image."""
        path = self.folder / name
        if data is not None:
            path.write_bytes(data)
        self.assert_refused("run", "--disk", path, *QUIET, names=name)
        self.assert_refused("run", "--disk", f"{path},mode=shared", *QUIET, names=name)
        self.assert_refused("disk", "info", path, names=name)
        self.assert_refused("disk", "convert", path, self.folder / "converted.raw", "--type", "raw", names=name)


class BadFiles(BadInput):
    def test_no_such_file(self):
        self.assert_image_refused("absent.vhd", None)

    def test_directory(self):
        (self.folder / "folder.vhd").mkdir()
        self.assert_image_refused("folder.vhd", None)

    def test_empty_file(self):
        self.assert_image_refused("empty.vhd", b"")

    def test_kernel_that_is_none(self):
        for name, data in (("absent.kernel", None), ("empty.kernel", b""), ("text.kernel", b"no kernel\n" * 1000)):
            if data is not None:
                (self.folder / name).write_bytes(data)
            self.assert_refused("run", "--kernel", self.folder / name, *QUIET, names=name)


class BadVhd(BadInput):
    """Every image here is a sound one with one thing wrong; the first tests show that the sound ones are accepted."""

    def assert_accepted(self, data):
        path = self.folder / "sound.vhd"
        path.write_bytes(data)
        result = lodge("disk", "info", path)
        self.assertEqual(result.returncode, 0, result)

    def test_sound_images_are_accepted(self):
        self.assert_accepted(vhd.fixed())
        self.assert_accepted(vhd.dynamic())
        self.assert_accepted(vhd.dynamic(used=0))

    def test_truncated_in_header(self):
        self.assert_image_refused("truncated.vhd", vhd.dynamic()[:1024])

    def test_truncated_in_table(self):
        self.assert_image_refused("truncated.vhd", vhd.dynamic()[:3 * vhd.SECTOR + 4])

    def test_truncated_in_block(self):
        data = vhd.dynamic()
        self.assert_image_refused("truncated.vhd", data[:len(data) - vhd.BLOCK // 2])

    def test_fixed_footer_checksum(self):
        data = vhd.fixed()
        self.assert_image_refused("checksum.vhd", vhd.spoil(data, len(data) - vhd.SECTOR + vhd.FOOTER_CHECKSUM_AT))

    def test_dynamic_footer_checksums(self):
        """Both copies: one good one is enough to open the image (VHD specification, hard disk footer format)."""
        bad = vhd.spoil(vhd.footer(4 * vhd.BLOCK, vhd.DYNAMIC), vhd.FOOTER_CHECKSUM_AT)
        self.assert_image_refused("checksum.vhd", vhd.dynamic(footer_copy=bad, end_footer=bad))

    def test_header_checksum(self):
        bad = vhd.spoil(vhd.header(4), vhd.HEADER_CHECKSUM_AT)
        self.assert_image_refused("header.vhd", vhd.dynamic(header_data=bad))

    def test_table_entry_past_the_end(self):
        first = vhd.first_block_sector(4)
        for entry in (0x00100000, 0xFFFFFFFE):
            self.assert_image_refused("past.vhd", vhd.dynamic(table=[first, entry]))

    def test_table_entry_over_the_headers(self):
        for entry in (0, 1, 3):
            self.assert_image_refused("headers.vhd", vhd.dynamic(table=[entry]))

    def test_overlapping_blocks(self):
        first = vhd.first_block_sector(4)
        for second in (first, first + 1, first + vhd.BLOCK // vhd.SECTOR):
            self.assert_image_refused("overlap.vhd", vhd.dynamic(table=[first, second]))

    def test_impossible_size(self):
        for size in (0xFFFFFFFFFFFFFE00, 1 << 63, 1 << 60):
            self.assert_image_refused("size.vhd", vhd.dynamic(size=size, entries=0xFFFFFFFF))
            self.assert_image_refused("size.vhd", vhd.fixed(end_footer=vhd.footer(size, vhd.FIXED)))


class BadUsage(BadInput):
    def test_unknown_option(self):
        self.assert_refused("run", "--frobnicate", *QUIET, names="frobnicate")
        self.assert_refused("disk", "info", "--frobnicate", names="frobnicate")

    def test_unknown_command(self):
        self.assert_refused("frobnicate", names="frobnicate")

    def test_memory(self):
        disk = self.sector("exit_16")
        for amount in ("0", "-1", "much", "99999999", "18446744073709551616"):
            self.assert_refused("run", "--disk", disk, "--memory", amount, *QUIET, names="memory")

    def test_unknown_values(self):
        disk = self.sector("exit_16")
        for option, value in (("--cpu", "z80"), ("--engine", "steam"), ("--clock", "sundial"), ("--serial", "pigeon"),
                              ("--disk", f"{disk},mode=borrowed")):
            self.assert_refused("run", "--disk", disk, *QUIET, option, value, names=value.rsplit("=", 1)[-1])

    def test_missing_firmware(self):
        disk = self.sector("exit_16")
        empty = self.folder / "no-firmware"
        empty.mkdir()
        self.assert_refused("run", "--disk", disk, "--firmware-dir", empty, *QUIET, names="seabios")


if __name__ == "__main__":
    unittest.main()
