// What the Inspector finds, in lines for people.
#include "debug/inspector.h"
#include "debug/text.h"

namespace lodge::debug {

namespace {

using Wide = unsigned long long;

std::string flags_text(u32 flags) {
    static constexpr struct {
        u32 mask;
        const char* name;
    } kFlags[] = {{kFlagCarry, "CF"},          {kFlagParity, "PF"},    {kFlagAdjust, "AF"},
                  {kFlagZero, "ZF"},           {kFlagSign, "SF"},      {kFlagTrap, "TF"},
                  {kFlagInterrupt, "IF"},      {kFlagDirection, "DF"}, {kFlagOverflow, "OF"},
                  {kFlagNestedTask, "NT"},     {kFlagResume, "RF"},    {kFlagVirtual8086, "VM"},
                  {kFlagAlignmentCheck, "AC"}, {kFlagId, "ID"}};
    std::string text;
    for (const auto& flag : kFlags)
        if (flags & flag.mask) text += std::string(text.empty() ? "" : " ") + flag.name;
    return text + format(" IOPL=%u", (flags >> 12) & 3);
}

std::string attributes_text(const SegmentState& segment) {
    const u32 attributes = segment.attributes;
    if (attributes & kSegmentUnusable) return "unusable";
    if (!(attributes & kSegmentPresent)) return "not present";
    std::string text = format("dpl %u", (attributes >> kSegmentDplShift) & 3);
    if (!(attributes & kSegmentNotSystem)) return text + format(", system type %u", attributes & kSegmentType);
    if (attributes & kSegmentCode) {
        text += attributes & kSegmentLong ? ", code 64" : attributes & kSegmentBig ? ", code 32" : ", code 16";
        if (attributes & kSegmentConforming) text += ", conforming";
        return text + (attributes & kSegmentReadable ? ", readable" : "");
    }
    text += attributes & kSegmentBig ? ", data 32" : ", data 16";
    if (attributes & kSegmentExpandDown) text += ", expand-down";
    return text + (attributes & kSegmentWritable ? ", writable" : "");
}

std::string segment_line(const char* name, const SegmentState& segment) {
    return format("%-4s %04X base %016llX limit %08X %04X  ", name, segment.selector, static_cast<Wide>(segment.base),
                  segment.limit, segment.attributes & 0xF0FF) +
           attributes_text(segment) + "\n";
}

std::string value_text(const RegisterName& name, const RegisterBytes& value) {
    std::string text;
    for (unsigned i = (name.bits + 7) / 8; i-- > 0;) text += format("%02X", value[i]);
    return text;
}

std::string size_text(u64 size) {
    if (size % kMiB == 0) return std::to_string(size / kMiB) + " MiB";
    if (size % kKiB == 0) return std::to_string(size / kKiB) + " KiB";
    return std::to_string(size) + " bytes";
}

}  // namespace

std::string Inspector::registers_text(std::optional<RegisterGroup> group) {
    std::string text;
    unsigned in_line = 0;
    for (const RegisterName& name : register_names()) {
        const bool shown = group ? name.group == *group : name.group == RegisterGroup::general;
        if (!shown) continue;
        text += format("%-6s ", std::string(name.name).c_str()) + value_text(name, read_register(cpu_, name));
        const unsigned per_line = name.bits > 64 ? 2 : 4;
        text += ++in_line % per_line == 0 ? "\n" : "  ";
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.pop_back();
    text += '\n';
    if (group && *group != RegisterGroup::general) return text;
    const CpuState& state = cpu_.state;
    text += "flags  " + flags_text(cpu_.eflags()) + "\n";
    text += format("%04X:%08llX = %016llX, mode %s, CPL %u%s, %llu instructions retired\n",
                   state.segment(Segment::cs).selector, static_cast<Wide>(state.ip),
                   static_cast<Wide>(cpu_.linear_ip()), std::string(name_of(mode())).c_str(), state.cpl,
                   state.halted ? ", halted" : "", static_cast<Wide>(state.retired));
    return text;
}

std::string Inspector::segments_text() {
    static constexpr const char* kNames[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
    const CpuState& state = cpu_.state;
    std::string text;
    for (unsigned i = 0; i < 6; ++i) text += segment_line(kNames[i], state.segments[i]);
    text += segment_line("ldtr", state.ldtr) + segment_line("tr", state.tr);
    text += format("gdtr      base %016llX limit %04X\n", static_cast<Wide>(state.gdtr.base), state.gdtr.limit);
    text += format("idtr      base %016llX limit %04X\n", static_cast<Wide>(state.idtr.base), state.idtr.limit);
    return text + "mode " + std::string(name_of(mode())) + format(", CPL %u\n", state.cpl);
}

std::string Inspector::walk_text(u64 linear) {
    const PageWalk found = walk(cpu_, machine_.memory(), linear);
    if (!found.canonical) return hex(linear) + " is not canonical\n";
    std::string text;
    for (const PageLevel& level : found.levels) {
        text += format("%-5s at %010llX: ", std::string(level.name).c_str(), static_cast<Wide>(level.address));
        if (!level.readable) return text + "not in memory\n";
        static constexpr const char* kBits[] = {"P", "W", "U", "PWT", "PCD", "A", "D", "PS/PAT", "G"};
        text += format("%016llX ", static_cast<Wide>(level.entry));
        for (unsigned i = 0; i < std::size(kBits); ++i)
            if (bit(level.entry, i)) text += std::string(" ") + kBits[i];
        if (bit(level.entry, 63)) text += " NX";
        text += '\n';
    }
    if (!found.mapped) return text + hex(linear) + " is not mapped\n";
    text += hex(linear) + " is physical " + hex(found.physical);
    if (found.levels.empty()) return text + ", paging is off\n";
    text += ", page of " + size_text(found.page_size) + ":";
    text += found.user ? " user" : " supervisor";
    text += found.writable ? ", writable" : ", read-only";
    text += found.executable ? ", executable" : ", not executable";
    return text + (found.global ? ", global\n" : "\n");
}

std::string Inspector::tlb_text(size_t most) {
    std::string text;
    const Tlb& tlb = cpu_.tlb();
    const u8* memory = machine_.memory().backing().data();
    size_t shown = 0;
    for (unsigned i = 0; i < Tlb::kEntries; ++i) {
        const TlbEntry& entry = tlb.entries()[i];
        const u64 invalid = Tlb::invalid_tag(i);
        const u64 page = entry.read_tag != invalid    ? entry.read_tag
                         : entry.write_tag != invalid ? entry.write_tag
                                                      : entry.fetch_tag;
        if (page == invalid) continue;
        if (++shown > most) continue;
        text += format("%016llX -> memory +%010llX %c%c%c%s\n", static_cast<Wide>(page),
                       static_cast<Wide>(entry.host_page - reinterpret_cast<u64>(memory)),
                       entry.read_tag == page ? 'r' : '-', entry.write_tag == page ? 'w' : '-',
                       entry.fetch_tag == page ? 'x' : '-', tlb.is_global(page) ? " global" : "");
    }
    if (shown > most) text += "and " + std::to_string(shown - most) + " more\n";
    return text + std::to_string(shown) + " entries of the rights in use (CPL " + std::to_string(cpu_.state.cpl) +
           ")\n";
}

std::string Inspector::disassembly_text(u64 linear, unsigned count, unsigned bits) {
    std::string text;
    for (const Instruction& line : disassemble(linear, count, bits))
        text += format("%s %016llX  %-20s %s\n", line.linear == cpu_.linear_ip() ? "=>" : "  ",
                       static_cast<Wide>(line.linear), line.bytes.c_str(), line.text.c_str());
    return text;
}

// Runs of pages that lie side by side in the backing.
std::string Inspector::memory_map_text() {
    PhysicalMemory& memory = machine_.memory();
    constexpr u64 kPages = (u64{1} << 36) / kPageSize;
    std::string text = "physical addresses of RAM, ROM and video memory, and where they lie in the backing:\n";
    u64 first = 0;
    const u8* begin = nullptr;
    const auto end_run = [&](u64 page) {
        if (begin)
            text += format("%010llX-%010llX  +%010llX  %s\n", static_cast<Wide>(first * kPageSize),
                           static_cast<Wide>(page * kPageSize - 1), static_cast<Wide>(begin - memory.backing().data()),
                           size_text((page - first) * kPageSize).c_str());
        begin = nullptr;
    };
    for (u64 page = 0; page < kPages && page * kPageSize < memory.mapped_end(); ++page) {
        const u8* at = memory.read_pointer(page * kPageSize);
        if (begin && at != begin + (page - first) * kPageSize) end_run(page);
        if (at && !begin) {
            begin = at;
            first = page;
        }
    }
    end_run(memory.mapped_end() / kPageSize);
    text += "devices in memory:\n";
    machine_.mmio().visit([&](const BusClaim& claim) {
        text += format("%010llX-%010llX  %s\n", static_cast<Wide>(claim.base),
                       static_cast<Wide>(claim.base + claim.size - 1), std::string(claim.name).c_str());
    });
    return text;
}

std::string Inspector::devices_text() {
    std::string text;
    for (Bus* bus : {&machine_.ports(), &machine_.mmio()}) {
        text += bus->name() + (bus == &machine_.ports() ? "s:\n" : ":\n");
        bus->visit([&](const BusClaim& claim) {
            text +=
                format("  %08llX-%08llX  %-24s %s\n", static_cast<Wide>(claim.base),
                       static_cast<Wide>(claim.base + claim.size - 1), std::string(claim.name).c_str(),
                       claim.registers.empty() ? "" : (std::to_string(claim.registers.size()) + " registers").c_str());
        });
    }
    text += "devices with a state:";
    for (const std::string_view name : device_names()) text += " " + std::string(name);
    return text + "\n";
}

}  // namespace lodge::debug
