#include "jit/listing.h"

#include <capstone/capstone.h>

#include <algorithm>

#include "core/decode/decoder.h"
#include "core/decode/disasm.h"
#include "jit/mode.h"

namespace lodge::jit {

namespace {

void list_host(std::FILE* out, csh capstone, const Block& block, u32 from, u32 to) {
    const u8* code = block.code + from;
    size_t left = to - from;
    u64 address = reinterpret_cast<u64>(code);
    cs_insn* insn = cs_malloc(capstone);
    while (left && cs_disasm_iter(capstone, &code, &left, &address, insn))
        std::fprintf(out, "        +%04lx  %s %s\n", insn->address - reinterpret_cast<u64>(block.code), insn->mnemonic,
                     insn->op_str);
    cs_free(insn, 1);
}

}  // namespace

void write_listing(std::FILE* out, const Block& block, std::span<const u8> guest) {
    csh capstone;
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &capstone) != CS_ERR_OK) return;
    const u32 mode = static_cast<u32>(block.key & ((1u << kModeBits) - 1));
    std::fprintf(out, "block %lx mode %04x: %u instructions, %u bytes of guest code, %u of host code at %p\n",
                 block.backing, mode, block.count, block.bytes, block.size, static_cast<const void*>(block.code));
    if (block.general) std::fprintf(out, "  a version that begins with a recipe for the flags\n");
    list_host(out, capstone, block, 0, block.starts.empty() ? block.size : block.starts[0]);
    size_t offset = 0;
    for (size_t i = 0; i < block.starts.size() && offset < guest.size(); ++i) {
        Insn insn;
        if (decode(guest.subspan(offset), static_cast<CodeSize>(mode & kModeCodeSize), insn) != DecodeStatus::ok) break;
        std::fprintf(out, "  %lx: %s\n", block.backing + offset, disassemble(insn, block.backing + offset).c_str());
        list_host(out, capstone, block, block.starts[i],
                  i + 1 < block.starts.size() ? block.starts[i + 1] : block.hot_size);
        offset += insn.length;
    }
    std::fprintf(out, "  cold:\n");
    list_host(out, capstone, block, block.hot_size, block.size);
    cs_close(&capstone);
}

std::string perf_symbol(u64 ip) {
    char name[32];
    std::snprintf(name, sizeof name, "guest_%lx", ip);
    return name;
}

void write_perf_symbol(std::FILE* out, const Block& block, u64 ip) {
    std::fprintf(out, "%lx %x %s\n", reinterpret_cast<u64>(block.code), block.size, perf_symbol(ip).c_str());
}

}  // namespace lodge::jit
