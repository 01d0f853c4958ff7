// What a system does: services of the handlers, flags, segments, far transfers, system instructions.
#include "tests/lockstep/program_maker.h"

namespace lodge::lockstep {

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

}  // namespace lodge::lockstep
