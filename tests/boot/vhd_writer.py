"""Writes small VHDs, sound or spoiled, without lodge's help: facts of docs/formats.md, all integers big-endian."""
import struct

BLOCK = 2 * 1024 * 1024
SECTOR = 512
NO_OFFSET = 0xFFFFFFFFFFFFFFFF
UNUSED = 0xFFFFFFFF
FIXED, DYNAMIC = 2, 3
FOOTER_CHECKSUM_AT, HEADER_CHECKSUM_AT = 64, 36
BITMAP_SECTORS = 1


def with_checksum(data, position):
    total = ~sum(data[:position] + data[position + 4:]) & 0xFFFFFFFF
    return data[:position] + struct.pack(">I", total) + data[position + 4:]


def footer(size, kind):
    cylinders = min(65535, size // SECTOR // (16 * 63)) if size < 1 << 37 else 65535
    fields = struct.pack(">8sIIQI4sI4sQQHBBI", b"conectix", 2, 0x00010000, NO_OFFSET if kind == FIXED else SECTOR, 0,
                         b"win ", 0x000A0000, b"Wi2k", size, size, cylinders, 16, 63, kind)
    fields += bytes(4) + bytes(range(16)) + b"\0"
    return with_checksum(fields.ljust(SECTOR, b"\0"), FOOTER_CHECKSUM_AT)


def header(entries, block_size=BLOCK):
    fields = struct.pack(">8sQQIII", b"cxsparse", NO_OFFSET, 3 * SECTOR, 0x00010000, entries, block_size)
    return with_checksum(fields.ljust(2 * SECTOR, b"\0"), HEADER_CHECKSUM_AT)


def spoil(data, position):
    """Inverts one byte."""
    return data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1:]


def fixed(blocks=1, end_footer=None):
    size = blocks * BLOCK
    return b"\x5a" * size + (end_footer or footer(size, FIXED))


def first_block_sector(entries):
    """Where the first block may lie: behind the footer's copy, the header and the BAT."""
    return 3 + -(-entries * 4 // SECTOR)


def dynamic(blocks=4, used=2, table=None, size=None, entries=None, footer_copy=None, header_data=None, end_footer=None):
    """A dynamic VHD whose first `used` blocks are stored; every other argument replaces a part of it."""
    size = blocks * BLOCK if size is None else size
    entries = blocks if entries is None else entries
    start = first_block_sector(blocks)
    stride = BITMAP_SECTORS + BLOCK // SECTOR
    if table is None:
        table = [start + index * stride for index in range(used)]
    table = table + [UNUSED] * (blocks - len(table))
    table_bytes = struct.pack(f">{blocks}I", *table).ljust((start - 3) * SECTOR, b"\xff")
    stored = b"".join(b"\xff" * SECTOR + bytes([0x41 + index]) * BLOCK for index in range(used))
    sound = footer(size, DYNAMIC)
    return b"".join([footer_copy or sound, header_data or header(entries), table_bytes, stored, end_footer or sound])
