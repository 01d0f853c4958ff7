#include "tests/lockstep/program.h"

#include <algorithm>

#include "tests/lockstep/program_maker.h"

namespace lodge::lockstep {

ProgramMaker::ProgramMaker(u64 seed, u64 number, const CpuModel& model) : model_(model) {
    random_.seed(seed, number);
    program_.memory.resize(kLowSize);
}

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
