#include "tests/lockstep/program.h"

#include <algorithm>
#include <span>

#include "tests/lockstep/instruction_maker.h"
#include "tests/lockstep/layout.h"

namespace lodge::lockstep {

namespace {

// Where the pieces of one program come to lie, and the code itself.
class ProgramMaker {
  public:
    ProgramMaker(u64 seed, u64 number, const CpuModel& model);
    Program make();

  private:
    struct Fixup {
        u32 at;   // of the field
        u8 size;  // bytes
        bool relative;
        u32 piece;
    };

    // --- Setup
    void draw_mode();
    void draw_registers();
    void draw_fpu();
    void draw_schedule();
    void fill_gaps();
    void fill_data();
    void make_descriptors();
    void make_gates();
    void make_tables();
    void make_variables();
    u64 alias_entry(unsigned page);
    bool is16() const { return program_.code_size == CodeSize::bits16; }
    bool is64() const { return program_.code_size == CodeSize::bits64; }
    u64 offset_of(u64 linear) const { return is64() ? window_ + linear : (linear - data_base_) & 0xFFFFFFFF; }

    // --- Code
    void make_code();
    void begin_piece(unsigned index);
    void make_piece(unsigned index, unsigned items);
    void make_item(unsigned depth);
    void make_plain();
    void make_skip();
    void make_loop(unsigned depth);
    void make_call();
    void make_indirect();
    void make_string();
    void make_pair();
    void make_store_into_code();
    void make_service();
    void make_system();
    void make_flags();
    void make_far();
    void make_segment_load();
    void aim();
    void end_piece(bool is_main);
    u64 data_pointer();
    u16 data_selector();
    Surroundings surroundings();

    void begin() { starts_.push_back(at_); }
    void put(std::initializer_list<unsigned> bytes) {
        for (const unsigned byte : bytes) put_byte(byte);
    }
    void put_byte(unsigned byte) {
        if (at_ < kCodeSize) code()[at_++] = static_cast<u8>(byte);
    }
    void put_value(u64 value, unsigned size) {
        for (unsigned i = 0; i < size; ++i) put_byte(static_cast<u8>(value >> 8 * i));
    }
    std::span<u8> code() { return std::span<u8>(program_.memory).subspan(kCode, kCodeSize); }
    void move(unsigned reg, u64 value);
    void absolute(unsigned reg, u64 linear);
    void near_branch(std::initializer_list<unsigned> opcode, unsigned piece);
    void move_entry(unsigned reg, unsigned piece);
    bool full() const { return at_ + 200 > kCodeSize; }

    Random random_;
    const CpuModel& model_;
    Program program_;
    u64 data_base_ = 0;  // of DS
    u64 window_ = 0;     // added to linear addresses in 64-bit code
    std::vector<InstructionMaker> maker_;
    std::vector<u8> pointers_;
    u32 kept_ = 0;
    u32 at_ = 0;
    std::vector<u32> starts_;
    std::vector<u32> immediates_;  // where a byte may change without changing lengths
    std::vector<Fixup> fixups_;
    std::vector<u32> pieces_;
    unsigned current_ = 0;
};

ProgramMaker::ProgramMaker(u64 seed, u64 number, const CpuModel& model) : model_(model) {
    random_.seed(seed, number);
    program_.memory.resize(kLowSize);
}

// ---------------------------------------------------------------------------------------------------- Setup

void ProgramMaker::draw_mode() {
    const bool has_long = model_.extended_edx & kCpuidLm, has_pae = model_.features_edx & kCpuidPae;
    Program& p = program_;
    const u64 pick = random_.below(100);
    p.mode = pick < 10   ? Mode::real
             : pick < 15 ? Mode::virtual8086
             : pick < 24 ? Mode::protected16
             : pick < 50 ? Mode::protected32
             : pick < 60 ? Mode::based32
             : pick < 68 ? Mode::compatibility
                         : Mode::long64;
    if (!has_long && p.mode >= Mode::compatibility) p.mode = Mode::protected32;
    p.code_size = p.mode <= Mode::protected16 ? CodeSize::bits16
                  : p.mode == Mode::long64    ? CodeSize::bits64
                                              : CodeSize::bits32;
    const u64 tables = random_.below(10);
    p.paging = p.mode == Mode::real            ? Paging::none
               : p.mode >= Mode::compatibility ? Paging::long_mode
               : tables < 3                    ? Paging::none
               : tables < 7 || !has_pae        ? Paging::legacy
                                               : Paging::pae;
    p.user = p.mode == Mode::virtual8086 || (p.mode != Mode::real && random_.chance(45));
    const bool pages = p.paging != Paging::none;
    p.cr0 = kCr0Et | (random_.chance(80) ? kCr0Ne : 0) | (random_.chance(50) ? kCr0Mp : 0);
    if (p.mode != Mode::real) p.cr0 |= kCr0Pe;
    if (pages) p.cr0 |= kCr0Pg | (random_.chance(70) ? kCr0Wp : 0);
    if (random_.chance(40)) p.cr0 |= kCr0Am;
    if (random_.chance(4)) p.cr0 |= kCr0Ts;
    const auto offer = [&](u32 feature, u64 bits, unsigned percent) {
        if ((model_.features_edx & feature) && random_.chance(percent)) p.cr4 |= bits;
    };
    offer(kCpuidPse, kCr4Pse, 80);
    offer(kCpuidPge, kCr4Pge, 80);
    offer(kCpuidDe, kCr4De, 40);
    offer(kCpuidFxsr, kCr4Osfxsr, 95);
    offer(kCpuidSse, kCr4Osxmmexcpt, 85);
    if (p.paging >= Paging::pae) p.cr4 |= kCr4Pae;
    if (p.paging == Paging::long_mode) p.efer = kEferLme | kEferSce | (random_.chance(60) ? kEferNxe : 0);

    switch (p.mode) {
        case Mode::real:
        case Mode::virtual8086:
            p.code = p.data = p.extra = kBase16 >> 4, p.stack = kStackBase16 >> 4;
            data_base_ = kBase16;
            break;
        case Mode::protected16:
            p.code = p.user ? kUserCode16 : kKernelCode16;
            p.data = p.extra = p.user ? kUserData16 : kKernelData16;
            p.stack = p.user ? (random_.chance(60) ? kUserStack16 : kUserData) : kKernelData;
            data_base_ = kBase16;
            break;
        case Mode::based32:
            p.code = p.user ? kUserCodeBased : kKernelCodeBased;
            p.data = p.extra = p.user ? kUserDataBased : kKernelDataBased;
            p.stack = p.user ? kUserData : kKernelData;
            if (random_.chance(30)) p.extra = p.stack;
            p.home = (kCode - kBased) & 0xFFFFFFFF;
            data_base_ = kBased;
            break;
        case Mode::protected32:
        case Mode::compatibility:
            p.code = p.user ? kUserCode32 : kKernelCode32;
            p.data = p.extra = p.stack = p.user ? kUserData : kKernelData;
            p.home = kCode;
            break;
        case Mode::long64:
            p.code = p.user ? kUserCode64 : kKernelCode64;
            p.stack = p.user ? kUserData : kKernelData64;
            p.data = p.extra = p.user ? kUserData : kKernelData64;
            if (random_.chance(40)) window_ = kUpperWindow;
            p.home = window_ + kCode;
            break;
    }
}

void ProgramMaker::draw_registers() {
    Program& p = program_;
    for (u64& reg : p.gpr) reg = is64() ? random_integer(random_) : static_cast<u32>(random_integer(random_));
    p.gpr[kRsp] = p.user ? kUserStack : kKernelStack;
    if (p.stack == kUserStack16 || p.mode <= Mode::virtual8086) p.gpr[kRsp] -= kStackBase16;
    p.flags = 0x2 | (static_cast<u32>(random_()) & kArithmeticFlags);
    if (random_.chance(70)) p.flags |= kFlagInterrupt;
    if (random_.chance(10)) p.flags |= kFlagDirection;
    if (random_.chance(4)) p.flags |= kFlagAlignmentCheck;
    if (p.mode != Mode::real && random_.chance(40)) p.flags |= kFlagIopl;
    if (random_.chance(2)) p.flags |= kFlagTrap;

    std::vector<u8> candidates = {kRbx, kRsi, kRdi};
    if (!is16() && p.mode != Mode::based32) candidates.push_back(kRbp);
    if (is64())
        for (u8 reg = 8; reg < 16; ++reg) candidates.push_back(reg);
    std::shuffle(candidates.begin(), candidates.end(), random_);
    candidates.resize(std::min<size_t>(candidates.size(), 2 + random_.below(3)));
    pointers_ = candidates;
    for (const u8 reg : pointers_) kept_ |= 1u << reg, p.gpr[reg] = data_pointer();
    kept_ |= 1u << kRsp;
}

void ProgramMaker::draw_fpu() {
    FpuState& fpu = program_.fpu;
    fpu.control = static_cast<u16>(0x40 | (random_() & 0xF00) | 0x3F);
    if (random_.chance(20)) fpu.control &= static_cast<u16>(~(random_() & 0x3F));
    fpu.mxcsr = 0x1F80 | (random_.chance(40) ? static_cast<u32>(random_() & 0xE040) : 0);
    if (random_.chance(20)) fpu.mxcsr &= ~static_cast<u32>(random_() & 0x1F80);
    fpu.valid = random_.chance(50) ? static_cast<u8>(random_()) : 0;
    fpu.status = static_cast<u16>(random_() & 0x7F00 & 0x3F00);
    for (auto& st : fpu.st) {
        u8 bytes[16];
        random_operand(random_, bytes);
        std::copy_n(bytes, 10, st);
    }
    for (auto& xmm : fpu.xmm) random_operand(random_, xmm);
}

void ProgramMaker::draw_schedule() {
    Program& p = program_;
    static constexpr u64 kLongest[] = {1, 4, 20, 20, 100, 100, 400, 400, 2000, 2000, 2000, 10000, 10000, 30000};
    p.longest_step = kLongest[random_.below(std::size(kLongest))];
    p.shortest_step = random_.chance(50) ? 1 : std::max<u64>(1, p.longest_step / 2);
    p.instructions = 5000 + random_.below(random_.chance(20) ? 300000 : 60000);
    if (p.longest_step < 20) p.instructions = std::min<u64>(p.instructions, 4000);
    p.events = random_.chance(30) ? 0 : static_cast<unsigned>(random_.below(400));
    p.schedule = random_();
}

// Where nothing lies, there is no instruction: who goes astray does not wander through zeros.
void ProgramMaker::fill_gaps() {
    const auto fill = [&](u64 from, u64 to) {
        std::fill(program_.memory.begin() + static_cast<i64>(from), program_.memory.begin() + static_cast<i64>(to),
                  kNoInstruction);
    };
    fill(kCode, kCode + kCodeSize);
    fill(kVariables + 0x1000, kHandlers);
    fill(kHandlers + kHandlersSize, kRootA);
    if (program_.paging == Paging::none) fill(kRootA, kArena);
    if (program_.mode == Mode::real) fill(0x400, kVariables);
}

void ProgramMaker::fill_data() {
    auto& memory = program_.memory;
    for (u64 at = kData; at + 16 <= kArena + kArenaSize; at += 16) random_operand(random_, memory.data() + at);
}

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

// ---------------------------------------------------------------------------------------------------- Code

u64 ProgramMaker::data_pointer() {
    const u64 pick = random_.below(100);
    u64 linear = kData + 0x800 + random_.below(kDataSize - 0x1000);
    if (pick < 80) linear &= ~u64{15};
    if (pick >= 88) linear = (linear & ~u64{0xFFF}) + 0x1000 - random_.below(24);  // across pages
    const bool pages = program_.paging != Paging::none;
    if (pages && pick % 8 == 0 && !is16() && program_.mode != Mode::based32) linear += kAliasWindow;
    if (pages && pick % 32 == 1 && !is16() && program_.mode != Mode::based32) linear += kLargeWindow;
    if (pick == 50) linear = kCode + random_.below(kCodeSize);
    if (pick == 51 && program_.mode != Mode::real) linear = kDevices + random_.below(0x800);
    return offset_of(linear);
}

Surroundings ProgramMaker::surroundings() {
    Surroundings around;
    around.code_size = program_.code_size;
    around.pointers = pointers_;
    around.kept = kept_;
    around.data_offset = offset_of(kData + 0x100);
    around.data_size = kDataSize - 0x200;
    around.supervisor = !program_.user;
    return around;
}

// The whole register; in 16-bit code its lower 32 bits.
void ProgramMaker::move(unsigned reg, u64 value) {
    begin();
    const unsigned low = reg & 7;
    if (!is64()) {
        if (is16()) put_byte(0x66);
        put_byte(0xB8 + low);
        immediates_.push_back(at_);
        return put_value(value, 4);
    }
    if (value >> 32 == 0) {
        if (reg & 8) put_byte(0x41);
        put_byte(0xB8 + low);
        return put_value(value, 4);
    }
    if (static_cast<u64>(static_cast<i64>(static_cast<i32>(value))) == value) {
        put({0x48 | reg >> 3, 0xC7, 0xC0 | low});
        return put_value(value, 4);
    }
    put({0x48 | reg >> 3, 0xB8 | low});
    put_value(value, 8);
}

// ModRM (and SIB) of an operand at `linear`, by DS; `reg` is ModRM's.
void ProgramMaker::absolute(unsigned reg, u64 linear) {
    if (is16()) {
        put_byte(reg << 3 | 6);
        put_value(linear - data_base_, 2);
    } else if (is64()) {
        put({reg << 3 | 4, 0x25});
        put_value(window_ + linear, 4);
    } else {
        put_byte(reg << 3 | 5);
        put_value(linear - data_base_, 4);
    }
}

void ProgramMaker::near_branch(std::initializer_list<unsigned> opcode, unsigned piece) {
    begin();
    put(opcode);
    const u8 size = is16() ? 2 : 4;
    fixups_.push_back({at_, size, true, piece});
    put_value(0, size);
}

// Loads a piece's IP.
void ProgramMaker::move_entry(unsigned reg, unsigned piece) {
    u64 home = program_.home;
    if (program_.paging != Paging::none && home == kCode && random_.chance(25)) home += kAliasWindow;
    move(reg, home);
    fixups_.push_back({at_ - 4, 4, false, piece});
}

void ProgramMaker::aim() {
    move(pointers_[random_.below(pointers_.size())], data_pointer());
}

void ProgramMaker::make_plain() {
    begin();
    Insn insn;
    const std::vector<u8> bytes = maker_.front().make(surroundings(), program_.home + at_, insn);
    for (const u8 byte : bytes) put_byte(byte);
    const bool has_immediate =
        std::any_of(std::begin(insn.operands), std::end(insn.operands),
                    [](const Operand& operand) { return operand.kind == OperandKind::immediate; });
    if (has_immediate && bytes.size() > 1) immediates_.push_back(at_ - 1);
}

// Some items that a branch leaves out.
void ProgramMaker::make_skip() {
    begin();
    const bool counts = random_.chance(8);
    put({counts ? 0xE0u + static_cast<unsigned>(random_.below(4)) : 0x70u + static_cast<unsigned>(random_.below(16)),
         0});
    const u32 from = at_;
    for (u64 i = 1 + random_.below(5); i > 0; --i) make_plain();
    if (at_ < kCodeSize) code()[from - 1] = static_cast<u8>(at_ - from);
}

void ProgramMaker::make_loop(unsigned depth) {
    const u64 count = random_.chance(10) ? 100 + random_.below(200) : 2 + random_.below(30);
    const bool by_memory = random_.chance(40);
    const u64 counter = kData + 0x7E00 + random_.below(32) * 4;
    const u32 kept = kept_;
    if (by_memory) {
        begin();
        if (is16()) put_byte(0x66);
        put_byte(0xC7);
        absolute(0, counter);
        put_value(count, 4);
    } else {
        move(kRcx, count);
        kept_ |= 1u << kRcx;
    }
    const u32 top = at_;
    for (u64 i = 1 + random_.below(6); i > 0 && !full(); --i) make_item(depth + 1);
    kept_ = kept;
    begin();
    const u32 distance = at_ - top;
    if (by_memory) {
        if (is16()) put_byte(0x66);
        put_byte(0xFF);
        absolute(1, counter);
    } else if (distance < 110 && random_.chance(50)) {
        put({random_.chance(70) ? 0xE2u : 0xE0u + static_cast<unsigned>(random_.below(2)), 0u});
        code()[at_ - 1] = static_cast<u8>(top - at_);
        return;
    } else {
        if (is16()) put_byte(0x66);
        put({0xFF, 0xC9});  // DEC ECX
    }
    begin();
    put({0x0F, 0x85});
    const unsigned size = is16() ? 2 : 4;
    put_value(static_cast<u64>(top) - at_ - size, size);
}

void ProgramMaker::make_call() {
    // Mostly to a later piece, so that calls end.
    const unsigned count = static_cast<unsigned>(pieces_.size());
    const bool later = current_ + 1 < count && random_.chance(97);
    const unsigned target = later ? current_ + 1 + static_cast<unsigned>(random_.below(count - current_ - 1))
                                  : static_cast<unsigned>(random_.below(count));
    const u64 pick = random_.below(10);
    if (pick < 7) {
        near_branch({0xE8}, target);
    } else {
        move_entry(kRax, target);
        begin();
        put({0xFF, 0xD0});  // CALL rAX
    }
}

void ProgramMaker::make_indirect() {
    const unsigned target = static_cast<unsigned>(random_.below(pieces_.size()));
    switch (random_.below(4)) {
        case 0:
            move_entry(kRdx, target);
            begin();
            put({0xFF, 0xE2});  // JMP rDX
            break;
        case 1: {  // through the table in data (make_code)
            begin();
            put_byte(0xFF);
            absolute(random_.chance(70) ? 2 : 4, kData + 0x7F00 + random_.below(16) * 8);
            break;
        }
        case 2:  // a return that no call made
            move_entry(kRax, target);
            begin();
            put({0x50, 0xC3});
            break;
        default:
            begin();
            put({0xE9});
            fixups_.push_back({at_, static_cast<u8>(is16() ? 2 : 4), true, target});
            put_value(0, is16() ? 2 : 4);
            break;
    }
}

void ProgramMaker::make_string() {
    static constexpr u8 kOpcodes[] = {0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF};
    move(kRsi, data_pointer());
    move(kRdi, random_.chance(70) ? data_pointer() : program_.gpr[kRsi]);
    move(kRcx, random_.chance(80) ? random_.below(40) : random_.below(6000));
    begin();
    if (random_.chance(20)) put_byte(random_.chance(50) ? 0xFD : 0xFC);
    begin();
    if (random_.chance(85)) put_byte(random_.chance(80) ? 0xF3 : 0xF2);
    if (random_.chance(20)) put_byte(0x66);
    if (is64() && random_.chance(25)) put_byte(0x48);
    put_byte(kOpcodes[random_.below(std::size(kOpcodes))]);
}

// PUSH and POP around something.
void ProgramMaker::make_pair() {
    begin();
    const unsigned first = static_cast<unsigned>(random_.below(8)), second = static_cast<unsigned>(random_.below(8));
    put_byte(0x50 + first);
    for (u64 i = random_.below(4); i > 0; --i) make_plain();
    begin();
    put_byte(0x58 + (kept_ >> second & 1 ? static_cast<unsigned>(kRax) : second));
}

void ProgramMaker::make_store_into_code() {
    if (immediates_.empty()) return;
    u64 target = kCode + immediates_[random_.below(immediates_.size())];
    if (random_.chance(10)) target = kCode + at_ + random_.below(40);  // what comes next
    const bool pages = program_.paging != Paging::none && !is16() && program_.mode != Mode::based32;
    if (pages && random_.chance(25)) target += random_.chance(70) ? kAliasWindow : kLargeWindow;
    const u64 pick = random_.below(10);
    if (pick < 6) {  // MOV, ADD, XOR byte
        static constexpr u8 kOperations[] = {0xC6, 0x80, 0x80};
        const unsigned which = static_cast<unsigned>(random_.below(3));
        begin();
        put_byte(kOperations[which]);
        absolute(which == 2 ? 6 : 0, target);
        put_byte(static_cast<u8>(random_.chance(50) ? random_() : 0));
    } else if (pick < 8) {  // MOV byte from a register
        begin();
        put_byte(0x88);
        absolute(static_cast<unsigned>(random_.below(8)), target);
    } else {  // code onto itself
        const u64 from = target & ~u64{0x3F};
        move(kRsi, offset_of(from));
        move(kRdi, offset_of(from));
        move(kRcx, 1 + random_.below(40));
        begin();
        put({0xFC});
        begin();
        put({0xF3, 0xA4u + static_cast<unsigned>(random_.below(2))});
    }
}

void ProgramMaker::make_service() {
    begin();
    u64 vector = kServices + random_.below(16);
    if (random_.chance(10)) vector = random_.below(kVectors + 4);
    if (random_.chance(10)) return put_byte(random_.chance(70) ? 0xCC : 0xCE);
    put({0xCD, static_cast<unsigned>(vector)});
}

void ProgramMaker::make_flags() {
    switch (random_.below(4)) {
        case 0:
            begin();
            put_byte(random_.chance(60) ? 0xFB : 0xFA);
            break;
        case 1: {  // PUSHF, some bits changed, POPF
            static constexpr u32 kBits[] = {kFlagCarry,    kFlagZero, kFlagDirection,      kFlagTrap, kFlagInterrupt,
                                            kFlagOverflow, kFlagSign, kFlagAlignmentCheck, kFlagId,   kFlagInterrupt};
            begin();
            if (is16()) put_byte(0x66);
            put_byte(0x9C);
            begin();
            if (is16()) put({0x66, 0x67});
            put_byte(is64() ? 0x48 : 0x81);
            if (is64()) put_byte(0x81);
            put({0x34, 0x24});  // XOR [rSP], imm32
            put_value(kBits[random_.below(std::size(kBits))], 4);
            begin();
            if (is16()) put_byte(0x66);
            put_byte(0x9D);
            break;
        }
        default: {
            static constexpr u8 kOpcodes[] = {0xF8, 0xF9, 0xF5, 0xFC, 0xFC, 0xFD, 0x9E, 0x9F};
            begin();
            put_byte(kOpcodes[random_.below(std::size(kOpcodes))]);
            break;
        }
    }
}

u16 ProgramMaker::data_selector() {
    static constexpr u16 kSelectors[] = {
        kUserData,  kUserData, kUserData16, kUserDataBased, kExpandDown,  kReadOnlyData, kKernelData, kNotPresent,
        kByteLimit, kLdtData,  0,           kUserCode32,    kExecuteOnly, kKernelData16};
    if (program_.mode <= Mode::virtual8086)
        return random_.chance(70) ? program_.data : static_cast<u16>(random_.below(0x3000));
    return random_.chance(60) ? program_.data : kSelectors[random_.below(std::size(kSelectors))];
}

void ProgramMaker::make_segment_load() {
    move(kRax, data_selector());
    begin();
    static constexpr u8 kSegments[] = {0, 0, 3, 4, 5};
    const unsigned segment = kSegments[random_.below(std::size(kSegments))];
    put({0x8E, 0xC0 | segment << 3});
    if (segment != 3 || random_.chance(30)) return;
    make_plain();
    move(kRax, program_.data);
    begin();
    put({0x8E, 0xD8});
}

void ProgramMaker::make_far() {
    const unsigned target = static_cast<unsigned>(random_.below(pieces_.size()));
    const unsigned size = is16() ? 2 : 4;
    switch (random_.below(3)) {
        case 0:  // JMPF or CALLF ptr; in 64-bit code #UD
            if (is64()) return make_service();
            begin();
            put_byte(random_.chance(60) ? 0xEA : 0x9A);
            fixups_.push_back({at_, static_cast<u8>(size), false, target});
            put_value(program_.home, size);
            put_value(program_.code, 2);
            break;
        case 1:  // RETF to here
            begin();
            put_byte(is64() ? 0x90 : 0x0E);
            if (is64()) {
                begin();
                put({0x68});
                put_value(program_.code, 4);
            }
            move_entry(kRax, target);
            begin();
            put_byte(0x50);
            begin();
            if (is64()) put_byte(0x48);
            put_byte(0xCB);
            break;
        default:  // IRET
            if (is64()) return make_service();
            begin();
            put_byte(0x9C);
            begin();
            put_byte(0x0E);
            move_entry(kRax, target);
            begin();
            put_byte(0x50);
            begin();
            put_byte(0xCF);
            break;
    }
}

// What a kernel does.
void ProgramMaker::make_system() {
    const bool real = program_.mode == Mode::real;
    const auto change = [&](unsigned control, u64 mask) {
        begin();
        put({0x0F, 0x20, 0xC0 | control << 3});
        begin();
        if (is16()) put_byte(0x66);
        put_byte(0x35);
        put_value(mask, 4);
        begin();
        put({0x0F, 0x22, 0xC0 | control << 3});
    };
    switch (random_.below(10)) {
        case 0: {
            static constexpr u64 kBits[] = {kCr0Ts, kCr0Ts, kCr0Mp, kCr0Ne, kCr0Am, kCr0Em};
            change(0, kBits[random_.below(std::size(kBits))]);
            break;
        }
        case 1: {
            static constexpr u64 kBits[] = {kCr4Pge, kCr4De, kCr4Tsd, kCr4Osxmmexcpt, kCr4Osfxsr};
            change(4, real && random_.chance(50) ? 0 : kBits[random_.below(std::size(kBits))]);
            break;
        }
        case 2:
            if (program_.paging == Paging::none) return;
            if (random_.chance(50)) {
                change(3, 0);
            } else {
                move(kRax, random_.chance(50) ? kRootA : kRootB);
                begin();
                put({0x0F, 0x22, 0xD8});
            }
            break;
        case 3:
            begin();
            put({0x0F, 0x01});
            absolute(7, kData + random_.below(kDataSize));
            break;
        case 4:  // a data or code breakpoint
            move(kRax,
                 window_ + (random_.chance(50) ? kData + random_.below(kDataSize) : kCode + random_.below(at_ + 1)));
            begin();
            put({0x0F, 0x23, 0xC0 | static_cast<unsigned>(random_.below(4)) << 3});
            move(kRax, random_.chance(40) ? 0x400 : 0x400 | random_.below(256) | (random_() & 0xFFFF0000));
            begin();
            put({0x0F, 0x23, 0xF8});
            break;
        case 5:
            begin();
            put({0x0F, 0x06});  // CLTS
            break;
        case 6: {  // OUT to one of the devices
            static constexpr u16 kPorts[] = {0xE0, 0xE0, 0xE1, 0xE2, 0x92, 0x80};
            move(kRax, random_.chance(90) ? random_() & 0xFF : 2);
            begin();
            put({0xE6, kPorts[random_.below(std::size(kPorts))]});
            break;
        }
        case 7:
            begin();
            put_byte(0xF4);
            break;
        case 8:  // FS's or GS's base, or another harmless register
            move(kRcx, random_.chance(80) ? 0xC0000100 + random_.below(3) : 0x10);
            move(kRax, kData + random_.below(0x1000));
            move(kRdx, 0);
            begin();
            put({0x0F, random_.chance(70) ? 0x30u : 0x32u});
            break;
        default:
            begin();
            put({0x0F, random_.chance(50) ? 0x09u : 0xA2u});  // WBINVD, CPUID
            break;
    }
}

void ProgramMaker::make_item(unsigned depth) {
    if (full()) return;
    const u64 pick = random_.below(1000);
    if (pick < 700) return make_plain();
    if (pick < 790) return make_skip();
    if (pick < 815 && depth < 2) return make_loop(depth);
    if (pick < 835 && depth < 2) return make_call();
    if (pick < 850) return make_string();
    if (pick < 875) return make_pair();
    if (pick < 885) return make_store_into_code();
    if (pick < 893) return make_service();
    if (pick < 900) return make_segment_load();
    if (pick < 908) return make_flags();
    if (pick < 911) return make_indirect();
    if (pick < 914) return make_far();
    if (pick < 918) {
        if (!program_.user || random_.chance(10)) make_system();
        return;
    }
    if (pick < 960) return aim();
    make_plain();
}

// Somewhere behind the last one; now and then right before the end of a page.
void ProgramMaker::begin_piece(unsigned index) {
    const u64 pick = random_.below(100);
    if (pick < 60) at_ += static_cast<u32>(random_.below(20));
    if (pick >= 75 && at_ + 0x2000 < kCodeSize)
        at_ = static_cast<u32>((at_ | 0xFFF) + 1 - random_.below(pick < 90 ? 30 : 400));
    pieces_[index] = at_;
    current_ = index;
}

void ProgramMaker::end_piece(bool is_main) {
    if (is_main) return near_branch({0xE9}, 0);
    if (random_.chance(80)) {
        begin();
        return put_byte(0xC3);
    }
    if (random_.chance(50)) return make_indirect();
    near_branch({0xE9}, static_cast<unsigned>(random_.below(pieces_.size())));
}

void ProgramMaker::make_piece(unsigned index, unsigned items) {
    begin_piece(index);
    if (index == 0) {  // the stack begins anew
        move(kRsp, program_.gpr[kRsp]);
        for (const u8 reg : pointers_) move(reg, data_pointer());
        for (unsigned target = 1; target < pieces_.size() && target < 4; ++target) near_branch({0xE8}, target);
    }
    for (unsigned i = 0; i < items && !full(); ++i) {
        make_item(0);
        if (index == 0 && random_.chance(15)) make_call();
    }
    end_piece(index == 0);
}

void ProgramMaker::make_code() {
    pieces_.resize(4 + random_.below(14));
    for (unsigned i = 0; i < pieces_.size(); ++i) make_piece(i, 5 + static_cast<unsigned>(random_.below(40)));
    for (const Fixup& fixup : fixups_) {
        if (fixup.at + fixup.size > kCodeSize) continue;
        u8* field = code().data() + fixup.at;
        const u64 target = pieces_[fixup.piece];
        const u64 value = fixup.relative ? target - (fixup.at + fixup.size) : load<u32>(field) + target;
        if (fixup.size == 2)
            store(field, static_cast<u16>(fixup.relative ? value : load<u16>(field) + target));
        else
            store(field, static_cast<u32>(value));
    }
    std::sort(starts_.begin(), starts_.end());
    u8* resume = program_.memory.data() + kResume;
    for (u32 at = 0; at < kCodeSize; ++at) {
        const auto next = std::upper_bound(starts_.begin(), starts_.end(), at);
        resume[at] = next == starts_.end() || *next - at > 255 ? 0 : static_cast<u8>(*next - at);
    }
    for (unsigned i = 0; i < 16; ++i)
        store<u64>(program_.memory.data() + kData + 0x7F00 + i * 8,
                   program_.home + pieces_[random_.below(pieces_.size())]);
    program_.ip = program_.home + pieces_[0];
}

Program ProgramMaker::make() {
    draw_mode();
    draw_registers();
    draw_fpu();
    draw_schedule();
    fill_gaps();
    fill_data();
    Flavour flavour;
    switch (random_.below(6)) {
        case 0:
            flavour.x87 = 80;
            break;
        case 1:
            flavour.simd = 120;
            break;
        case 2:
            flavour.simd = flavour.x87 = 2;
            break;
        case 3:
            flavour = {1, 1, 1, 1, 1, 1, 1, 0};
            break;
        default:
            break;
    }
    maker_.emplace_back(random_, model_, flavour, is64());
    make_code();
    make_descriptors();
    make_gates();
    make_variables();
    make_tables();
    return std::move(program_);
}

}  // namespace

std::string Program::describe() const {
    static constexpr const char* kModes[] = {"real mode",
                                             "virtual 8086 mode",
                                             "16-bit protected mode",
                                             "32-bit protected mode",
                                             "32-bit protected mode with bases",
                                             "compatibility mode",
                                             "64-bit mode"};
    static constexpr const char* kPagings[] = {"no paging", "32-bit paging", "PAE paging", "long mode's paging"};
    return std::string(kModes[static_cast<unsigned>(mode)]) + ", " + kPagings[static_cast<unsigned>(paging)] +
           (user ? ", user" : ", supervisor") + ", steps of up to " + std::to_string(longest_step);
}

Program make_program(u64 seed, u64 number, const CpuModel& model) {
    return ProgramMaker(seed, number, model).make();
}

}  // namespace lodge::lockstep
