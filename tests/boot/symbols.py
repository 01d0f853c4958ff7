"""ELF files that hold nothing but symbols, for gdb: made of what a guest's /proc/kallsyms says."""
import re
import struct

LINE = re.compile(r"^([0-9a-f]{8,16}) ([a-zA-Z]) ([\w.]+)", re.M)


def parse_kallsyms(text):
    """Address by name, of code and data."""
    return {name: int(address, 16) for address, kind, name in LINE.findall(text)}


def write_elf(path, symbols, wide):
    """An executable for x86-64 (`wide`) or i386 whose one section, without contents, covers all the symbols."""
    names, table = b"\0", [b"\0" * (24 if wide else 16)]
    first, last = min(symbols.values()), max(symbols.values()) + 0x1000
    for name, address in sorted(symbols.items(), key=lambda item: item[1]):
        at, function = len(names), 0x12  # global, function
        names += name.encode() + b"\0"
        if wide:
            table.append(struct.pack("<IBBHQQ", at, function, 0, 1, address, 16))
        else:
            table.append(struct.pack("<IIIBBH", at, address, 16, function, 0, 1))
    symbol_bytes = b"".join(table)
    section_names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"
    header_size, entry = (64, 64) if wide else (52, 40)
    contents = symbol_bytes + names + section_names
    sections_at = header_size + len(contents)
    pack = "<IIQQQQIIQQ" if wide else "<IIIIIIIIII"
    bodies = [header_size, header_size + len(symbol_bytes), header_size + len(symbol_bytes) + len(names)]
    sections = [(0,) * 10,
                (1, 8, 6, first, header_size, last - first, 0, 0, 16, 0),  # .text: NOBITS, alloc, exec
                (7, 2, 0, 0, bodies[0], len(symbol_bytes), 3, 1, 8, 24 if wide else 16),
                (15, 3, 0, 0, bodies[1], len(names), 0, 0, 1, 0),
                (23, 3, 0, 0, bodies[2], len(section_names), 0, 0, 1, 0)]
    machine = 62 if wide else 3
    identity = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + b"\0" * 9
    rest = (2, machine, 1, first, 0, sections_at, 0, header_size, 56 if wide else 32, 0, entry, len(sections), 4)
    header = identity + struct.pack("<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH", *rest)
    with open(path, "wb") as file:
        file.write(header + contents + b"".join(struct.pack(pack, *section) for section in sections))
