// A CPU in 64-bit mode over 16 MiB of memory: identity-mapped 4 KiB pages below 4 MiB, a GDT, an IDT whose handlers
// halt, a TSS. Tests change tables and run an instruction or a few.
#pragma once

#include <cstring>
#include <memory>
#include <optional>

#include "core/interp/interpreter.h"

namespace lodge {

class NothingThere final : public AddressSpace {
  public:
    u64 read(u64, unsigned) override { return ~u64{0}; }
    void write(u64, unsigned, u64) override {}
};

struct Guest64 {
    // --- Where things are
    static constexpr u64 kPml4 = 0x1000, kPdpt = 0x2000, kDirectory = 0x3000, kTables = 0x4000;
    static constexpr u64 kGdt = 0x8000, kIdt = 0x9000, kTss = 0xA000, kHandlers = 0xB000;
    static constexpr u64 kCode = 0x10000, kUserCode = 0x11000;
    static constexpr u64 kStack = 0x21000, kIst1 = 0x23000, kInnerStack = 0x25000, kUserStack = 0x27000;
    static constexpr u64 kData = 0x30000, kUserData = 0x31000;

    static constexpr u16 kCode64 = 0x08, kData0 = 0x10, kCompatUser = 0x1B, kDataUser = 0x23, kUser64 = 0x2B,
                         kCompat = 0x30, kTssSelector = 0x40, kLdt = 0x50, kGate = 0x60, kFree = 0x70;
    static constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kLarge = 0x80, kGlobal = 0x100,
                         kNoExecute = 1ull << 63;

    static constexpr u64 kCode64Bits = 0x00209A0000000000, kData0Bits = 0x00CF92000000FFFF,
                         kCompatUserBits = 0x00CFFA000000FFFF, kDataUserBits = 0x00CFF2000000FFFF,
                         kUser64Bits = 0x0020FA0000000000, kCompatBits = 0x00CF9A000000FFFF;

    explicit Guest64(const char* model = "x86-64-v2") {
        memory = std::move(*PhysicalMemory::create(16 * kMiB, nothing));
        memory->map(0, 16 * kMiB, 0, true);
        cpu = std::make_unique<Cpu>(log, *memory, nothing, clock, *find_cpu_model(model));
        interpreter = std::make_unique<Interpreter>(*cpu);
        reset();
    }

    void put(u64 address, u64 value) { memory->write_value<u64>(address, value); }
    u64 get(u64 address) { return memory->read_value<u64>(address); }
    CpuState& state() { return cpu->state; }
    u64& reg(unsigned number) { return cpu->state.gpr[number]; }

    // The page table entry of an address below 4 MiB.
    static u64 entry_of(u64 linear) { return kTables + linear / kPageSize * 8; }
    void map_page(u64 linear, u64 entry) {
        put(entry_of(linear), entry);
        cpu->flush_tlb(true);
    }
    void descriptor(u16 selector, u64 bits) { put(kGdt + (selector & ~7u), bits); }
    // A descriptor of 16 bytes at an address: type with P and DPL as in bits 47:40.
    void wide_descriptor(u64 at, u64 base, u64 limit, u64 access) {
        put(at, (limit & 0xFFFF) | (base & 0xFFFFFF) << 16 | access << 40 | (base >> 24 & 0xFF) << 56);
        put(at + 8, base >> 32);
    }
    void gate(u64 at, u16 selector, u64 target, u64 access, u64 ist = 0) {
        put(at, (target & 0xFFFF) | u64{selector} << 16 | ist << 32 | access << 40 | (target >> 16 & 0xFFFF) << 48);
        put(at + 8, target >> 32);
    }
    void interrupt_gate(unsigned vector, u64 access, u64 ist = 0) {
        gate(kIdt + vector * 16, kCode64, kHandlers + vector * 16, access, ist);
    }

    void reset() {
        put(kPml4, kPdpt | 7);
        put(kPdpt, kDirectory | 7);
        put(kDirectory, kTables | 7);
        put(kDirectory + 8, (kTables + 0x1000) | 7);
        for (u64 page = 0; page < 4 * kMiB; page += kPageSize) put(entry_of(page), page | 3);
        for (u64 page : {kUserCode, kUserStack - kPageSize, kUserData}) put(entry_of(page), page | 7);
        for (u64 i = 0; i < 0x400; i += 8) put(kGdt + i, 0);
        descriptor(kCode64, kCode64Bits);
        descriptor(kData0, kData0Bits);
        descriptor(kCompatUser, kCompatUserBits);
        descriptor(kDataUser, kDataUserBits);
        descriptor(kUser64, kUser64Bits);
        descriptor(kCompat, kCompatBits);
        wide_descriptor(kGdt + kTssSelector, kTss, 0x67, 0x89);
        for (unsigned vector = 0; vector < 256; ++vector) {
            interrupt_gate(vector, 0xEE);
            memory->write_value<u8>(kHandlers + vector * 16, 0xF4);
        }
        for (u64 i = 0; i < 0x68; i += 8) put(kTss + i, 0);
        put(kTss + 4, kInnerStack);
        put(kTss + 0x24, kIst1);

        cpu->reset();
        CpuState& s = cpu->state;
        s.gdtr.base = kGdt;
        s.gdtr.limit = 0x3FF;
        s.idtr.base = kIdt;
        s.idtr.limit = 0xFFF;
        cpu->enter_flat_protected(kCompat, kData0);
        cpu->set_cr4(kCr4Pae | kCr4Pge | kCr4Osfxsr | kCr4Osxmmexcpt);
        cpu->set_cr3(kPml4);
        cpu->set_efer(kEferLme | kEferSce | kEferNxe);
        cpu->set_cr0(kCr0Pe | kCr0Pg | kCr0Wp | kCr0Ne | kCr0Et | kCr0Mp);
        cpu->far_jump(kCode64, kCode, 4, 0);
        cpu->load_tr(kTssSelector);
        cpu->write_msr(0xC0000081, u64{0x18} << 48 | u64{0x08} << 32);
        s.gpr[kRsp] = kStack;
    }
    // Ring 3, 64-bit or compatibility mode, by SYSRET.
    void user(bool wide = true, u32 flags = 0x202) {
        reg(kRcx) = kUserCode;
        reg(11) = flags;
        cpu->sysret(wide ? 8 : 4);
        reg(kRsp) = kUserStack;
    }
    // Ring 0 in compatibility mode.
    void compatibility() {
        cpu->far_jump(kCompat, kCode, 4, 0);
        cpu->load_segment(Segment::ss, kData0);
    }

    static constexpr int kNone = -1;
    // Runs `count` instructions from the start of the code page of the current level. Returns the vector whose handler
    // was reached, or kNone.
    int run(std::initializer_list<u8> bytes, u64 count = 1) {
        const u64 at = cpu->state.cpl == 3 ? kUserCode : kCode;
        memory->write(at, {bytes.begin(), bytes.size()});
        cpu->state.ip = at;
        interpreter->run(count);
        if (!cpu->state.halted || cpu->state.ip - kHandlers >= 0x1000) return kNone;
        cpu->state.halted = false;
        cpu->clear_attention(kAttentionHalted);
        return static_cast<int>((cpu->state.ip - kHandlers) / 16);
    }
    // The frame that the handler of `vector` found: 0 error code (zero if it has none), then RIP, CS, RFLAGS, RSP, SS.
    enum Frame { error_code, ip, cs, flags, sp, ss };
    u64 frame(int vector, Frame word) {
        const bool has_error = has_error_code(static_cast<Exception>(vector));
        if (word == error_code && !has_error) return 0;
        return get(reg(kRsp) + (word - (has_error ? 0u : 1u)) * 8);
    }

    NothingThere nothing;
    Log log;
    GuestClock clock{ClockMode::virtual_time};
    std::unique_ptr<PhysicalMemory> memory;
    std::unique_ptr<Cpu> cpu;
    std::unique_ptr<Interpreter> interpreter;
};

}  // namespace lodge
