// Descriptors, gates, page tables and what the handlers find in memory.
#include "tests/lockstep/program_maker.h"

namespace lodge::lockstep {

void ProgramMaker::make_descriptors() {
    const auto put = [&](u64 at, u64 value) { store<u64>(program_.memory.data() + at, value); };
    const auto descriptor = [&](u16 selector, u64 base, u64 limit, u64 rights) {
        put(kGdt + (selector & ~7u), (limit & 0xFFFF) | (base & 0xFFFFFF) << 16 | (rights & 0xFF) << 40 |
                                         (limit >> 16 & 0xF) << 48 | (rights >> 8 & 0xF) << 52 |
                                         (base >> 24 & 0xFF) << 56);
    };
    constexpr u64 kFlat = 0xFFFFF;
    descriptor(kKernelCode32, 0, kFlat, 0xC9B);
    descriptor(kKernelData, 0, kFlat, 0xC93);
    descriptor(kUserCode32, 0, kFlat, 0xCFB);
    descriptor(kUserData, 0, kFlat, 0xCF3);
    descriptor(kUserCode64, 0, kFlat, 0xAFB);
    descriptor(kKernelCode64, 0, kFlat, 0xA9B);
    descriptor(kKernelData64, 0, kFlat, 0xC93);
    const bool is_long = program_.paging == Paging::long_mode;
    descriptor(kTssSelector, kTss, 0x7FF, 0x089);
    if (!is_long) descriptor(kTssSelector + 8, 0, 0, 0);
    descriptor(kLdtSelector, kLdt, 0x1F, 0x082);
    descriptor(kKernelCode16, kBase16, 0xFFFF, 0x09B);
    descriptor(kUserCode16, kBase16, 0xFFFF, 0x0FB);
    descriptor(kKernelData16, kBase16, 0xFFFF, 0x093);
    descriptor(kUserData16, kBase16, 0xFFFF, 0x0F3);
    // Tight limits: the last page of data is beyond them.
    const u64 last = ((kData + kDataSize - kBased) & 0xFFFFFFFF) - 1 - (random_.chance(50) ? 0x1000 : 0);
    descriptor(kKernelCodeBased, kBased, last >> 12, 0xC9B);
    descriptor(kUserCodeBased, kBased, last >> 12, 0xCFB);
    descriptor(kKernelDataBased, kBased, last >> 12, 0xC93);
    descriptor(kUserDataBased, kBased, last >> 12, 0xCF3);
    descriptor(kExpandDown, 0, ((kData + 0x3000) >> 12) - 1, 0xCF7);
    descriptor(kReadOnlyData, 0, kFlat, 0xCF1);
    descriptor(kConformingCode, 0, kFlat, 0xC9F);
    descriptor(kExecuteOnly, 0, kFlat, 0xCF9);
    descriptor(kDoubleFaultTask, kDoubleFaultTss, 0x67, 0x089);
    descriptor(kNotPresent, 0, kFlat, 0xC73);
    descriptor(kUserStack16, kStackBase16, 0xFFFF, 0x0F3);
    descriptor(kByteLimit, 0, kData + 0x4000 + random_.below(0x100), 0x4F3);
    put(kLdt, 0x00CFF3000000FFFF);

    auto* memory = program_.memory.data();
    if (is_long) {
        store<u64>(memory + kTss + 4, kHandlerStack);
        for (unsigned i = 0; i < 7; ++i) store<u64>(memory + kTss + 0x24 + 8 * i, kDoubleFaultStack);
    } else {
        store<u32>(memory + kTss + 4, kHandlerStack);
        store<u32>(memory + kTss + 8, kKernelData);
        u8* task = memory + kDoubleFaultTss;
        store<u32>(task + 0x1C, kRootA);
        store<u32>(task + 0x20, kDoubleFault32);
        store<u32>(task + 0x24, 2);
        store<u32>(task + 0x38, kDoubleFaultStack);
        store<u32>(task + 0x4C, kKernelCode32);
        for (const unsigned at : {0x48u, 0x50u, 0x54u}) store<u32>(task + at, kKernelData);
    }
    // Some ports are free to users.
    store<u16>(memory + kTss + 0x66, 0x68);
    for (unsigned i = 0; i < 0x400; ++i) memory[kTss + 0x68 + i] = random_.chance(50) ? 0 : 0xFF;
}

void ProgramMaker::make_gates() {
    u8* memory = program_.memory.data();
    if (program_.mode == Mode::real) {
        for (unsigned i = 0; i < kVectors; ++i)
            store<u32>(memory + kIvt + 4 * i, static_cast<u32>(kHandlers16 + i * kStubSize));
        return;
    }
    const bool is_long = program_.paging == Paging::long_mode;
    for (unsigned i = 0; i < kVectors; ++i) {
        u64 rights = (i >= 0x20 && i < 0x28) || (i < 0x20 && random_.chance(30)) ? 0x8E : 0xEE;
        if (random_.chance(15)) rights |= 1;  // a trap gate: IF stays
        const u64 target = (is_long ? kHandlers64 : kHandlers32) + i * kStubSize;
        const u64 selector = is_long ? kKernelCode64 : kKernelCode32;
        if (is_long) {
            const u64 ist = i == 8 ? 1 : i == 2 && random_.chance(50) ? 2 : 0;
            store<u64>(memory + kIdt + 16 * i, (target & 0xFFFF) | selector << 16 | ist << 32 | rights << 40);
            store<u64>(memory + kIdt + 16 * i + 8, 0);
        } else if (i == 8) {
            store<u64>(memory + kIdt + 8 * i, u64{kDoubleFaultTask} << 16 | u64{0x85} << 40);
        } else {
            store<u64>(memory + kIdt + 8 * i, (target & 0xFFFF) | selector << 16 | rights << 40);
        }
    }
}

// What a page of the alias window leads to.
u64 ProgramMaker::alias_entry(unsigned page) {
    const u64 same = kArena + page * 0x1000;
    const u64 pick = random_.below(100);
    const bool is_code = page < kCodeSize / 0x1000;
    if (pick < (is_code ? 75 : 30)) return same | 7;
    if (pick < 50) return (kArena + random_.below(16) * 0x1000) | 7;  // code or data
    if (pick < 60) return same | 5;
    if (pick < 68) return same | 3;
    if (pick < 76) return same;
    if (pick < 92) return (kHighArena + page * 0x1000) | 7;
    if (pick < 95) return kDevices | 7;
    return kHandlers | 7;
}

void ProgramMaker::make_tables() {
    if (program_.paging == Paging::none) return;
    u8* memory = program_.memory.data();
    const bool wide = program_.paging != Paging::legacy;
    const unsigned shift = wide ? 3 : 2;
    const auto put = [&](u64 table, u64 index, u64 entry) {
        if (wide)
            store<u64>(memory + table + index * 8, entry);
        else
            store<u32>(memory + table + index * 4, static_cast<u32>(entry));
    };
    const bool global = random_.chance(50), nx = program_.efer & kEferNxe;
    for (u64 page = 0; page < kMemorySize / 0x1000; ++page) {
        const u64 address = page * 0x1000;
        const bool is_arena = address >= kArena && address < kResume;
        u64 entry = address | (is_arena || address >= 0x100000 ? 7 : 3) | (global ? 0x100 : 0);
        const bool is_data = address >= kData && address < kData + kDataSize;
        if (is_data && random_.chance(20)) entry &= ~(u64{1} << random_.below(3));
        if (is_data && nx && random_.chance(50)) entry |= u64{1} << 63;
        if (address < kData && is_arena && random_.chance(15)) entry &= ~u64{2};
        put(kTables, page, entry);
    }
    put(kTables, kDevices >> 12, kDevices | 7);
    const u64 alias_table = wide ? kTables + 0x2000 : kTables + 0x1000;
    for (unsigned page = 0; page < kArenaSize / 0x1000; ++page) {
        const u64 index = (kArena >> 12) + page;
        const u64 entry = alias_entry(page);
        put(alias_table, index, entry);
        put(kAliasTableB, index, random_.chance(70) ? entry : alias_entry(page));
    }
    store<u32>(memory + kPageTableBase, static_cast<u32>(kTables));
    store<u32>(memory + kEntryShift, shift);
    store<u32>(memory + kTableBDistance, static_cast<u32>(kAliasTableB - alias_table));
    if (!wide) {
        for (const u64 root : {kRootA, kRootB}) {
            put(root, 0, kTables | 7);
            put(root, 1, (root == kRootA ? kTables + 0x1000 : kAliasTableB) | 7);
            if (program_.cr4 & kCr4Pse) put(root, 2, 0x87);
        }
        return;
    }
    for (const bool b : {false, true}) {
        const u64 directory = b ? kDirectoryB : kDirectoryA;
        for (unsigned i = 0; i < 4; ++i) put(directory, i, (kTables + i * 0x1000) | 7);
        if (b) put(directory, 2, kAliasTableB | 7);
        put(directory, 4, 0x87);
        const u64 root = b ? kRootB : kRootA;
        if (program_.paging == Paging::pae) {
            put(root, 0, directory | 1);
            continue;
        }
        const u64 pointers = b ? kPdptB : kPdptA;
        put(root, 0, pointers | 7);
        put(root, 511, pointers | 7);
        put(pointers, 0, directory | 7);
        put(pointers, 510, directory | 7);
    }
}

void ProgramMaker::make_variables() {
    u8* memory = program_.memory.data();
    const auto put = [&](u64 at, u64 value) { store<u32>(memory + at, static_cast<u32>(value)); };
    put(kRandom, random_());
    put(kRoots, kRootA);
    put(kRoots + 4, kRootB);
    const bool narrow = program_.mode <= Mode::virtual8086 || program_.stack == kUserStack16;
    put(kUserStackTop, kUserStack - (narrow ? kStackBase16 : 0));
    put(kKernelStackTop, kKernelStack);
    put(kAliasHome, kAliasWindow + kCode);
    put(kCr0Toggles, random_.chance(60) ? kCr0Ts | kCr0Em | kCr0Ne | kCr0Am | kCr0Mp : kCr0Ts);
    put(kCr4Toggles, kCr4Pge | kCr4De | (random_.chance(30) ? kCr4Tsd | kCr4Osxmmexcpt : 0));
    put(kFlagToggles, kArithmeticFlags | kFlagDirection | (random_.chance(50) ? kFlagAlignmentCheck : 0) |
                          (random_.chance(50) ? kFlagTrap : 0) | (model_.has_cpuid ? kFlagId : 0) |
                          (random_.chance(50) ? kFlagInterrupt : 0));
    const auto home = [&](u16 selector, u64 value) { put(kHomes + (selector >> 3) * 4, value); };
    for (const u16 selector : {kKernelCode32, kUserCode32, kConformingCode, kExecuteOnly}) home(selector, kCode);
    for (const u16 selector : {kUserCode64, kKernelCode64}) home(selector, window_ + kCode);
    for (const u16 selector : {kKernelCodeBased, kUserCodeBased}) home(selector, kCode - kBased);
    for (unsigned i = 0; i < kEntryCount; ++i) {
        const u32 piece = pieces_[random_.below(pieces_.size())];
        put(kEntries + i * 4, random_.chance(80) ? piece : starts_[random_.below(starts_.size())]);
    }
    for (unsigned i = 0; i < 16; ++i) {
        const u64 linear =
            random_.chance(50) ? kCode + starts_[random_.below(starts_.size())] : kData + random_.below(kDataSize);
        put(kBreakpoints + i * 4, window_ + linear);
        const u64 enabled = random_.below(16);
        u64 conditions = 0;
        for (unsigned j = 0; j < 2; ++j) {
            const u64 kind = random_.below(4), length = random_.below(4);
            conditions |= (kind == 0 ? 0 : length << 2 | kind) << (16 + 4 * j);
        }
        put(kConditions + i * 4, i < 6 ? 0x400 : conditions | enabled | 0x400 | (i == 15 ? kDr7GeneralDetect : 0));
    }
    for (unsigned i = 0; i < 16; ++i) put(kPointers + i * 4, data_pointer());
    for (unsigned i = 0; i < 4; ++i)
        put(kMxcsrs + i * 4, i < 2 ? 0x1F80 : (random_() & 0xFFC0) | (random_.chance(70) ? 0x1F80 : 0));
}

}  // namespace lodge::lockstep
