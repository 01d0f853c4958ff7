#include "debug/inspector.h"

#include <capstone/capstone.h>

#include <algorithm>

#include "core/decode/decoder.h"
#include "core/decode/disasm.h"
#include "debug/text.h"

namespace lodge::debug {

namespace {

// Calls visit(address, offset, size) for the pieces of a range within pages, until it returns false.
template <class Visit>
void visit_pages(u64 address, size_t size, Visit visit) {
    size_t done = 0;
    while (done < size) {
        const u64 at = address + done;
        const auto piece = static_cast<size_t>(std::min<u64>(size - done, kPageSize - (at & kPageMask)));
        if (!visit(at, done, piece)) return;
        done += piece;
    }
}

class Disassembler {
  public:
    explicit Disassembler(unsigned bits) {
        const cs_mode mode = bits == 64 ? CS_MODE_64 : bits == 32 ? CS_MODE_32 : CS_MODE_16;
        open_ = cs_open(CS_ARCH_X86, mode, &handle_) == CS_ERR_OK;
    }
    ~Disassembler() {
        if (open_) cs_close(&handle_);
    }
    Disassembler(const Disassembler&) = delete;
    Disassembler& operator=(const Disassembler&) = delete;

    // Empty: no instruction.
    std::string text(std::span<const u8> bytes, u64 address) const {
        cs_insn* insn = nullptr;
        if (!open_ || cs_disasm(handle_, bytes.data(), bytes.size(), address, 1, &insn) != 1) return {};
        std::string text = insn->mnemonic;
        if (insn->op_str[0]) text += " " + std::string(insn->op_str);
        cs_free(insn, 1);
        return text;
    }

  private:
    csh handle_ = 0;
    bool open_ = false;
};

CodeSize code_size(unsigned bits) {
    return bits == 64 ? CodeSize::bits64 : bits == 32 ? CodeSize::bits32 : CodeSize::bits16;
}

}  // namespace

std::string_view name_of(CpuMode mode) {
    static constexpr std::string_view kNames[] = {
        "real", "virtual-8086", "protected-16", "protected-32", "compatibility-16", "compatibility-32", "long-64"};
    return kNames[static_cast<size_t>(mode)];
}

CpuMode mode_of(const Cpu& cpu) {
    if (!cpu.protected_mode()) return CpuMode::real;
    if (cpu.v86()) return CpuMode::v86;
    const CodeSize size = cpu.code_size();
    if (size == CodeSize::bits64) return CpuMode::long64;
    if (cpu.long_mode()) return size == CodeSize::bits32 ? CpuMode::compatibility32 : CpuMode::compatibility16;
    return size == CodeSize::bits32 ? CpuMode::protected32 : CpuMode::protected16;
}

unsigned code_bits(CpuMode mode) {
    switch (mode) {
        case CpuMode::long64:
            return 64;
        case CpuMode::protected32:
        case CpuMode::compatibility32:
            return 32;
        default:
            return 16;
    }
}

// --- Memory

std::optional<u64> Inspector::translate(u64 linear) {
    const PageWalk found = walk(cpu_, machine_.memory(), linear);
    if (!found.mapped) return {};
    return found.physical;
}

size_t Inspector::read_physical(u64 physical, std::span<u8> into) {
    size_t done = 0;
    visit_pages(physical, into.size(), [&](u64 at, size_t offset, size_t size) {
        const u8* page = machine_.memory().read_pointer(at);
        if (!page) return false;
        std::copy_n(page + (at & kPageMask), size, into.begin() + static_cast<std::ptrdiff_t>(offset));
        done = offset + size;
        return true;
    });
    return done;
}

size_t Inspector::read_linear(u64 linear, std::span<u8> into) {
    size_t done = 0;
    visit_pages(linear, into.size(), [&](u64 at, size_t offset, size_t size) {
        const std::optional<u64> physical = translate(at);
        if (!physical || read_physical(*physical, into.subspan(offset, size)) != size) return false;
        done = offset + size;
        return true;
    });
    return done;
}

// ROM takes no writes: it then still reads as before.
bool Inspector::write_physical(u64 physical, std::span<const u8> from) {
    std::vector<u8> now(from.size());
    if (read_physical(physical, now) != from.size()) return false;
    machine_.memory().write(physical, from);
    std::vector<u8> then(from.size());
    read_physical(physical, then);
    return std::equal(then.begin(), then.end(), from.begin());
}

bool Inspector::write_linear(u64 linear, std::span<const u8> from) {
    std::vector<u8> now(from.size());
    if (read_linear(linear, now) != from.size()) return false;
    bool written = true;
    visit_pages(linear, from.size(), [&](u64 at, size_t offset, size_t size) {
        written &= write_physical(*translate(at), from.subspan(offset, size));
        return true;
    });
    return written;
}

std::optional<u64> Inspector::linear_of(u16 selector, u64 offset) {
    if (cpu_.real_or_v86()) return (u64{selector} << 4) + offset;
    for (const SegmentState& segment : cpu_.state.segments)
        if (segment.selector == selector && !(segment.attributes & kSegmentUnusable)) return segment.base + offset;
    const bool local = selector & 4;
    const u64 base = local ? cpu_.state.ldtr.base : cpu_.state.gdtr.base;
    const u32 limit = local ? cpu_.state.ldtr.limit : cpu_.state.gdtr.limit;
    u8 raw[8];
    if ((selector & ~7u) == 0 || (selector | 7u) > limit || read_linear(base + (selector & ~7u), raw) != sizeof raw)
        return {};
    const u64 descriptor = load<u64>(raw);
    if (!bit(descriptor, 47) || !bit(descriptor, 44)) return {};
    return (bits(descriptor, 16, 24) | bits(descriptor, 56, 8) << 24) + offset;
}

std::vector<Inspector::Instruction> Inspector::disassemble(u64 linear, unsigned count, unsigned bits) {
    if (bits == 0) bits = code_bits(mode());
    const Disassembler disassembler(bits);
    std::vector<Instruction> found;
    for (unsigned i = 0; i < count; ++i) {
        u8 bytes[kLongestInsn];
        const size_t have = read_linear(linear, bytes);
        Instruction instruction;
        instruction.linear = linear;
        Insn insn;
        if (have == 0) {
            instruction.text = "(no memory)";
            found.push_back(std::move(instruction));
            break;
        }
        if (decode({bytes, have}, code_size(bits), insn) == DecodeStatus::ok) {
            instruction.size = insn.length;
            instruction.text = disassembler.text({bytes, insn.length}, linear);
            // What Capstone does not know, or sees otherwise, in our own words.
            if (instruction.text.empty()) instruction.text = lodge::disassemble(insn, linear);
        } else {
            instruction.text = "(bad)";
        }
        for (unsigned k = 0; k < instruction.size; ++k) instruction.bytes += format("%02x", bytes[k]);
        linear += instruction.size;
        found.push_back(std::move(instruction));
    }
    return found;
}

}  // namespace lodge::debug
