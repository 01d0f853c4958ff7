// The 82540EM's registers as a file: what is where, what may be written, what a reset leaves. The table is
// e1000_registers.inc; what a register does is in e1000.cpp.
#pragma once

#include <array>
#include <span>

#include "core/base/state_io.h"
#include "core/base/types.h"

namespace lodge::e1000 {

// Offsets of the registers, by their names in the manual.
enum Offset : u32 {
#define REGISTER(name, offset, count, kind, writable, reset) name = offset,
#include "devices/e1000_registers.inc"
#undef REGISTER
};

enum class RegisterKind : u8 { plain, read_only, action, counter, low, high };

struct RegisterRow {
    const char* name;
    u32 offset;
    u32 count;  // 32-bit words
    RegisterKind kind;
    u32 writable;
    u32 reset;
};

class RegisterFile {
  public:
    static constexpr u32 kSize = 0x20000;  // bytes of BAR 0; beyond kNamed there is only packet buffer memory
    static constexpr u32 kNamed = 0xA000;

    RegisterFile() { reset(); }

    // Null where there is no register. `offset` is a multiple of 4.
    static const RegisterRow* find(u32 offset);
    static std::span<const RegisterRow> rows();

    // For the device itself: any register by its offset.
    u32& operator[](u32 offset) { return values_[offset / 4]; }
    u32 operator[](u32 offset) const { return values_[offset / 4]; }

    // What software's accesses do to the file.
    u32 read(const RegisterRow& row, u32 offset);
    void write(const RegisterRow& row, u32 offset, u32 value);

    // Statistics. 32-bit counters stop at their end; of 64-bit ones `low` is the lower half.
    void count(u32 counter, u32 by = 1);
    void count_long(u32 low, u64 by);

    void reset();
    // Fields named after the registers, in the owner's section.
    void state(StateIo& io);

  private:
    std::array<u32, kNamed / 4> values_;
};

// --- Bits, by the manual's names.
constexpr u32 kCtrlAsde = 1u << 5;
constexpr u32 kCtrlSlu = 1u << 6;
constexpr u32 kCtrlRst = 1u << 26;
constexpr u32 kCtrlTfce = 1u << 28;
constexpr u32 kCtrlVme = 1u << 30;
constexpr u32 kCtrlPhyRst = 1u << 31;

constexpr u32 kStatusFd = 1u << 0;
constexpr u32 kStatusLu = 1u << 1;
constexpr u32 kStatusSpeed1000 = 2u << 6;
constexpr u32 kStatusAsdv1000 = 2u << 8;

constexpr u32 kCtrlExtEeRst = 1u << 13;

constexpr u32 kIntTxdw = 1u << 0;    // descriptor written back
constexpr u32 kIntTxqe = 1u << 1;    // transmit queue empty
constexpr u32 kIntLsc = 1u << 2;     // link status change
constexpr u32 kIntRxdmt0 = 1u << 4;  // few receive descriptors left
constexpr u32 kIntRxo = 1u << 6;     // receiver overrun
constexpr u32 kIntRxt0 = 1u << 7;    // receive timer
constexpr u32 kIntMdac = 1u << 9;    // MDI/O access complete
constexpr u32 kIntTxdLow = 1u << 15;
constexpr u32 kIntSrpd = 1u << 16;  // small packet received

constexpr u32 kRctlEn = 1u << 1;
constexpr u32 kRctlSbp = 1u << 2;  // store bad packets
constexpr u32 kRctlUpe = 1u << 3;  // unicast promiscuous
constexpr u32 kRctlMpe = 1u << 4;  // multicast promiscuous
constexpr u32 kRctlLpe = 1u << 5;  // long packets
constexpr u32 kRctlBam = 1u << 15;
constexpr u32 kRctlVfe = 1u << 18;  // VLAN filter
constexpr u32 kRctlCfien = 1u << 19;
constexpr u32 kRctlCfi = 1u << 20;
constexpr u32 kRctlDpf = 1u << 22;  // discard pause frames
constexpr u32 kRctlBsex = 1u << 25;
constexpr u32 kRctlSecrc = 1u << 26;

constexpr u32 kTctlEn = 1u << 1;
constexpr u32 kTctlPsp = 1u << 3;  // pad short packets

constexpr u32 kRxcsumIpofl = 1u << 8;
constexpr u32 kRxcsumTuofl = 1u << 9;
constexpr u32 kRxcsumIpv6ofl = 1u << 10;

constexpr u32 kRdtrFpd = 1u << 31;  // flush partial descriptor block
constexpr u32 kRahAv = 1u << 31;    // address valid

}  // namespace lodge::e1000
