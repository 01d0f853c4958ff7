// Boots a Linux kernel without firmware: puts a bzImage, its initrd and command line into a Pc's memory by the 32-bit
// boot protocol, together with the ACPI tables, and leaves the board as firmware would: PCI resources and interrupt
// routes assigned, A20 open, local APIC passing the 8259s through.
// Source: Linux Documentation/arch/x86/boot.rst (protocol 2.15) and zero-page.rst.
#pragma once

#include <span>
#include <string>

#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge {

class Pc;

struct LinuxBoot {
    std::span<const u8> kernel;  // a bzImage
    std::span<const u8> initrd;  // may be empty
    std::string command_line;
    // Sets a 1024x768 picture and tells the kernel of it: for boots that somebody watches. Else the kernel finds no
    // screen and only a serial console speaks.
    bool screen = false;
};

// The state in which the CPU enters the kernel: protected mode without paging, interrupts off, flat 4 GiB segments
// (code_selector in CS, data_selector in DS, ES, SS, from the GDT), EBP, EDI and EBX zero.
struct DirectBootState {
    u32 eip = 0;
    u32 esi = 0;  // the zero page
    u32 gdt_base = 0;
    u16 gdt_limit = 0;
    u16 code_selector = 0x10;
    u16 data_selector = 0x18;
};

// Call it after each reset of the Pc. ErrorKind::bad_format: not a bzImage (or one older than protocol 2.04).
// ErrorKind::usage: the command line is longer than the kernel takes, or kernel and initrd do not fit into memory.
Result<DirectBootState> load_linux(Pc& pc, const LinuxBoot& boot);

}  // namespace lodge
