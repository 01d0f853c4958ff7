// A small writer of ACPI machine language: each function returns the bytes of one term, terms nest by passing their
// bytes on:
//
//     aml::device("COM1", {aml::name("_HID", aml::eisa_id("PNP0501")),
//                          aml::name("_CRS", aml::resources({aml::io(0x3F8, 8), aml::irq(4)}))})
//
// Source: ACPI 2.0, chapter 17 (AML grammar, the section of each function's term) and 6.4 (resource descriptors).
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "core/base/types.h"

namespace lodge::aml {

using Bytes = std::vector<u8>;
using Terms = std::vector<Bytes>;

// "_SB.PCI0.ISA", "\\_S5" or "^X": segments of up to four characters, padded with '_'.
Bytes path(std::string_view path);
Bytes integer(u64 value);
Bytes string(std::string_view text);
Bytes buffer(const Bytes& content);
Bytes package(const Terms& elements);
// "PNP0A03": three letters and four hexadecimal digits, packed.
Bytes eisa_id(std::string_view id);

Bytes name(std::string_view path, const Bytes& value);
Bytes scope(std::string_view path, const Terms& terms);
Bytes device(std::string_view path, const Terms& terms);
Bytes processor(std::string_view path, u8 id);
// `arguments` 0..7; not serialised.
Bytes method(std::string_view path, unsigned arguments, const Terms& terms);

enum class Space : u8 { memory = 0, io = 1, pci_config = 2 };
Bytes operation_region(std::string_view path, Space space, u32 offset, u32 length);
struct FieldUnit {
    std::string_view name;
    unsigned bits;
};
// Byte access, no lock, preserving.
Bytes field(std::string_view region, const std::vector<FieldUnit>& units);

Bytes argument(unsigned index);  // Arg0..Arg6
Bytes local(unsigned index);     // Local0..Local7
Bytes return_(const Bytes& value);
Bytes store(const Bytes& value, const Bytes& target);
Bytes and_(const Bytes& left, const Bytes& right, const Bytes& target);
Bytes or_(const Bytes& left, const Bytes& right, const Bytes& target);
Bytes if_(const Bytes& condition, const Terms& terms);
Bytes create_dword_field(const Bytes& source, u64 byte_index, std::string_view name);
Bytes call(std::string_view path, const Terms& arguments);

// A _CRS or _PRS buffer: descriptors and the end tag.
Bytes resources(const Terms& descriptors);
// Fixed ports; `length` at most 255.
Bytes io(u16 base, u8 length);
// ISA DMA: 8 bits, compatible timing, no bus master.
Bytes dma(unsigned channel);
// ISA interrupt: edge, active high, exclusive.
Bytes irq(unsigned number);
// Extended interrupt descriptor: consumer, level, active high, shared.
Bytes level_interrupts(const std::vector<u32>& numbers);
// Windows that a bridge passes on (producer, fixed at both ends).
Bytes bus_window(u16 first, u16 last);
Bytes io_window(u16 first, u16 last);
Bytes memory_window(u32 first, u32 last, bool cacheable);

}  // namespace lodge::aml
