// Control registers, MSRs, and what CR4 turns on: paging rights, PCIDs, UMIP.
#include <doctest/doctest.h>

#include "tests/unit/long_mode_fixture.h"

using namespace lodge;

namespace {

constexpr int kUd = 6, kGp = 13, kPf = 14;
// Page-fault error code.
constexpr u64 kErrPresent = 1, kErrWrite = 2, kErrUser = 4, kErrReserved = 8, kErrFetch = 16;

// MOV RAX, [RAX] and MOV [RAX], RAX at `address`; the #PF error code, or -1 when it went well.
i64 touch(Guest64& guest, u64 address, bool write) {
    guest.reg(kRax) = address;
    const int vector = guest.run({0x48, static_cast<u8>(write ? 0x89 : 0x8B), 0x00});
    if (vector == Guest64::kNone) return -1;
    REQUIRE(vector == kPf);
    CHECK(guest.state().cr2 == address);
    const u64 error = guest.frame(kPf, Guest64::error_code);
    guest.reg(kRsp) = Guest64::kStack;
    return static_cast<i64>(error);
}

}  // namespace

TEST_CASE("control: CR0, CR4 and EFER in long mode") {
    Guest64 guest;
    Cpu& cpu = *guest.cpu;
    const u64 cr0 = guest.state().cr0, cr4 = guest.state().cr4;
    CHECK(!cpu.set_cr0(cr0 & ~kCr0Pg));  // 64-bit code
    CHECK(!cpu.set_cr0(cr0 & ~kCr0Pe));
    CHECK(!cpu.set_cr0(cr0 | kCr0Nw));
    CHECK(!cpu.set_cr0(cr0 | u64{1} << 32));
    CHECK(!cpu.set_cr4(cr4 & ~kCr4Pae));
    CHECK(!cpu.set_cr4(cr4 | 1u << 12));  // LA57
    CHECK(!cpu.set_cr4(cr4 | 1u << 13));  // VMXE
    CHECK(!cpu.set_efer(kEferNxe));       // LME while paging
    CHECK(!cpu.set_efer(kEferLme | 1u << 12));
    CHECK(guest.state().cr0 == cr0);
    CHECK(guest.state().cr4 == cr4);
    CHECK((guest.state().efer & kEferLma) != 0);
    guest.compatibility();
    CHECK(cpu.set_cr0(cr0 & ~kCr0Pg));
    CHECK((guest.state().efer & kEferLma) == 0);
    CHECK(!cpu.long_mode());
    CHECK(cpu.set_cr4(cr4 & ~kCr4Pae));
    CHECK(!cpu.set_cr0(cr0));  // long mode needs PAE
    CHECK(cpu.set_cr4(cr4));
    const u32 attributes = guest.state().segment(Segment::cs).attributes;
    guest.state().segment(Segment::cs).attributes |= kSegmentLong;
    CHECK(!cpu.set_cr0(cr0));  // CS.L is set
    guest.state().segment(Segment::cs).attributes = attributes;
    guest.state().tr.attributes = kSegmentPresent | 3;
    CHECK(!cpu.set_cr0(cr0));  // a TSS of 16 bits
    guest.state().tr.attributes = kSegmentPresent | 0xB;
    CHECK(cpu.set_cr0(cr0));
    CHECK(cpu.long_mode());
}

TEST_CASE("control: CR3 and PCIDs") {
    Guest64 guest;
    Cpu& cpu = *guest.cpu;
    constexpr u64 kNoFlush = u64{1} << 63;
    CHECK(!cpu.set_cr3(u64{1} << 40));
    CHECK(!cpu.set_cr3(Guest64::kPml4 | kNoFlush));
    const u64 cr4 = guest.state().cr4;
    REQUIRE(cpu.set_cr3(Guest64::kPml4 | 0x18));  // PWT, PCD: not PCID 0
    CHECK(!cpu.set_cr4(cr4 | kCr4Pcide));
    REQUIRE(cpu.set_cr3(Guest64::kPml4));
    CHECK(cpu.set_cr4(cr4 | kCr4Pcide));
    CHECK(cpu.set_cr3(Guest64::kPml4 | 5 | kNoFlush));
    CHECK(guest.state().cr3 == (Guest64::kPml4 | 5));
    guest.compatibility();
    CHECK(!cpu.set_cr0(guest.state().cr0 & ~kCr0Pg));
    CHECK(cpu.set_cr4(cr4));
    CHECK(cpu.set_cr3(Guest64::kPml4));
    CHECK(cpu.set_cr0(guest.state().cr0 & ~kCr0Pg));
    CHECK(!cpu.set_cr4(cr4 | kCr4Pcide));  // not in long mode
}

TEST_CASE("control: INVPCID") {
    Guest64 guest;
    const auto invpcid = [&](u64 type, u64 pcid, u64 linear) {
        guest.put(Guest64::kData, pcid);
        guest.put(Guest64::kData + 8, linear);
        guest.reg(kRax) = type;
        guest.reg(kRbx) = Guest64::kData;
        return guest.run({0x66, 0x0F, 0x38, 0x82, 0x03});
    };
    CHECK(invpcid(4, 0, 0) == kGp);
    CHECK(invpcid(2, 0x1000, 0) == kGp);
    CHECK(invpcid(0, 1, 0) == kGp);  // PCIDs are off
    CHECK(invpcid(0, 0, 0x0000800000000000) == kGp);
    for (u64 type = 0; type < 4; ++type) {
        // The page is cached, then taken away; its old translation may live until it is invalidated.
        guest.map_page(Guest64::kUserData, Guest64::kUserData | 3);
        CHECK(touch(guest, Guest64::kUserData, false) == -1);
        guest.put(Guest64::entry_of(Guest64::kUserData), 0);
        CHECK(invpcid(type, 0, Guest64::kUserData) == Guest64::kNone);
        CHECK(touch(guest, Guest64::kUserData, false) == 0);
    }
    guest.reset();
    guest.user();
    guest.reg(kRbx) = Guest64::kUserData;
    CHECK(guest.run({0x66, 0x0F, 0x38, 0x82, 0x03}) == kGp);
}

TEST_CASE("control: global pages stay over a load of CR3") {
    Guest64 guest;
    guest.map_page(Guest64::kData, Guest64::kData | 3 | Guest64::kGlobal);
    CHECK(touch(guest, Guest64::kData, false) == -1);
    guest.put(Guest64::entry_of(Guest64::kData), 0);
    guest.cpu->set_cr3(Guest64::kPml4);
    CHECK(touch(guest, Guest64::kData, false) == -1);
    const u64 cr4 = guest.state().cr4;
    guest.cpu->set_cr4(cr4 & ~kCr4Pge);
    guest.cpu->set_cr4(cr4);
    CHECK(touch(guest, Guest64::kData, false) == 0);
}

TEST_CASE("control: reserved bits of the four levels") {
    Guest64 guest;
    constexpr u64 kLinear = Guest64::kData;
    struct {
        u64 entry, bits;
    } const kCases[] = {
        {Guest64::kPml4, Guest64::kLarge},
        {Guest64::kPml4, u64{1} << 40},
        {Guest64::kPdpt, u64{1} << 51},
        {Guest64::kDirectory, u64{1} << 40},
        {Guest64::kDirectory, Guest64::kLarge},  // the address is no multiple of 2 MiB
        {Guest64::entry_of(kLinear), u64{1} << 45},
    };
    for (const auto& c : kCases) {
        guest.reset();
        guest.interrupt_gate(kPf, 0x8E);
        // The IDT, the handler and the stack need the same tables: a first fault brings them into the TLB.
        guest.map_page(Guest64::kUserData, 0);
        CHECK(touch(guest, Guest64::kUserData, false) == 0);
        CHECK(touch(guest, kLinear, true) == -1);
        const u64 before = guest.get(c.entry);
        guest.put(c.entry, before | c.bits);
        guest.cpu->invalidate_page(kLinear);
        guest.reg(kRax) = kLinear;
        CHECK(guest.run({0x48, 0x8B, 0x00}) == kPf);
        CHECK(guest.frame(kPf, Guest64::error_code) == (kErrPresent | kErrReserved));
        guest.put(c.entry, before);
    }
    // Bits 62:52 are the system's own; bit 63 is reserved while EFER.NXE is clear.
    guest.reset();
    guest.map_page(kLinear, kLinear | 3 | u64{0x7FF} << 52);
    CHECK(touch(guest, kLinear, false) == -1);
    guest.map_page(kLinear, kLinear | 3 | Guest64::kNoExecute);
    CHECK(touch(guest, kLinear, false) == -1);
    guest.cpu->set_efer(kEferLme | kEferSce);
    CHECK(touch(guest, kLinear, false) == (kErrPresent | kErrReserved));
}

TEST_CASE("control: large pages, and their accessed and dirty bits") {
    Guest64 guest;
    constexpr u64 kAccessed = 0x20, kDirty = 0x40;
    guest.put(Guest64::kDirectory + 2 * 8, 0x400000 | 3 | Guest64::kLarge);
    guest.put(Guest64::kPdpt + 8, 0 | 3 | Guest64::kLarge);  // 1 GiB at 1 GiB
    CHECK(touch(guest, 0x412340, false) == -1);
    CHECK(guest.get(Guest64::kDirectory + 2 * 8) == (0x400000 | 3 | Guest64::kLarge | kAccessed));
    CHECK(touch(guest, 0x412340, true) == -1);
    CHECK(guest.get(Guest64::kDirectory + 2 * 8) == (0x400000 | 3 | Guest64::kLarge | kAccessed | kDirty));
    guest.put(0x412348, 77);
    CHECK(touch(guest, 0x40412348, false) == -1);
    CHECK(guest.reg(kRax) == 77);
    CHECK(guest.get(Guest64::kPdpt + 8) == (3 | Guest64::kLarge | kAccessed));
    CHECK((guest.get(Guest64::kPml4) & (kAccessed | kDirty)) == kAccessed);
    // Without the feature, bit 7 of a PDPTE is reserved.
    Guest64 baseline("x86-64");
    baseline.put(Guest64::kPdpt + 8, 0 | 3 | Guest64::kLarge);
    CHECK(touch(baseline, 0x40412348, false) == (kErrPresent | kErrReserved));
}

TEST_CASE("control: NX, SMEP and the fetch bit of the error code") {
    Guest64 guest;
    const auto call = [&](u64 target) {
        guest.memory->write_value<u8>(target, 0x90);
        guest.reg(kRax) = target;
        const int vector = guest.run({0xFF, 0xE0}, 2);
        return vector == Guest64::kNone ? -1 : static_cast<i64>(guest.frame(vector, Guest64::error_code));
    };
    CHECK(call(Guest64::kUserData) == -1);
    guest.map_page(Guest64::kUserData, Guest64::kUserData | 7 | Guest64::kNoExecute);
    CHECK(call(Guest64::kUserData) == (kErrPresent | kErrFetch));
    guest.map_page(Guest64::kUserData, Guest64::kUserData | 7);
    CHECK(call(Guest64::kUserData) == -1);
    REQUIRE(guest.cpu->set_cr4(guest.state().cr4 | kCr4Smep));
    CHECK(call(Guest64::kUserData) == (kErrPresent | kErrFetch));
    CHECK(call(Guest64::kData) == -1);
    CHECK(touch(guest, Guest64::kUserData, false) == -1);
}

TEST_CASE("control: SMAP follows AC at once, whatever the TLB holds") {
    Guest64 guest;
    CHECK(touch(guest, Guest64::kUserData, true) == -1);
    REQUIRE(guest.cpu->set_cr4(guest.state().cr4 | kCr4Smap));
    CHECK(touch(guest, Guest64::kUserData, true) == (kErrPresent | kErrWrite));
    CHECK(touch(guest, Guest64::kUserData, false) == kErrPresent);
    CHECK(guest.run({0x0F, 0x01, 0xCB}) == Guest64::kNone);  // STAC
    CHECK((guest.cpu->eflags() & kFlagAlignmentCheck) != 0);
    CHECK(touch(guest, Guest64::kUserData, true) == -1);
    CHECK(touch(guest, Guest64::kData, true) == -1);
    CHECK(guest.run({0x0F, 0x01, 0xCA}) == Guest64::kNone);  // CLAC
    CHECK(touch(guest, Guest64::kUserData, false) == kErrPresent);
    CHECK(touch(guest, Guest64::kData, false) == -1);
    CHECK(guest.run({0x0F, 0x01, 0xCB}) == Guest64::kNone);
    CHECK(touch(guest, Guest64::kUserData, false) == -1);
    // INVLPG reaches every table.
    guest.put(Guest64::entry_of(Guest64::kUserData), 0);
    guest.reg(kRax) = Guest64::kUserData;
    CHECK(guest.run({0x0F, 0x01, 0x38}) == Guest64::kNone);
    CHECK(touch(guest, Guest64::kUserData, false) == 0);
    // The user's own accesses are not concerned, STAC is not the user's.
    guest.map_page(Guest64::kUserData, Guest64::kUserData | 7);
    guest.user();
    CHECK(touch(guest, Guest64::kUserData, false) == -1);
    CHECK(guest.run({0x0F, 0x01, 0xCB}) == kUd);
}

TEST_CASE("control: SMAP guards the CPU's own tables whatever AC says") {
    Guest64 guest;
    REQUIRE(guest.cpu->set_cr4(guest.state().cr4 | kCr4Smap));
    guest.map_page(Guest64::kUserData, Guest64::kUserData | 7);
    guest.put(Guest64::kUserData + 0x10, Guest64::kData0Bits);
    guest.cpu->set_eflags(kFlagAlignmentCheck);
    CHECK(touch(guest, Guest64::kUserData, false) == -1);
    guest.state().gdtr.base = Guest64::kUserData;
    guest.reg(kRax) = 0x10;
    guest.memory->write_value<u64>(Guest64::kUserData + Guest64::kCode64, Guest64::kCode64Bits);
    // The load of DS finds the descriptor on a user's page; so does the delivery of that fault: a double fault, and
    // then shutdown.
    guest.run({0x8E, 0xD8});
    CHECK((guest.cpu->attention.load() & kAttentionShutdown) != 0);
    CHECK(guest.state().cr2 - Guest64::kUserData < 0x400);
}

TEST_CASE("control: UMIP keeps the tables' addresses from the user") {
    for (const bool on : {false, true}) {
        Guest64 guest;
        if (on) REQUIRE(guest.cpu->set_cr4(guest.state().cr4 | kCr4Umip));
        const int wanted = on ? kGp : Guest64::kNone;
        const auto run = [&](u8 opcode, u8 modrm) {
            guest.user();
            guest.reg(kRax) = Guest64::kUserData;
            const int vector = guest.run({0x0F, opcode, modrm});
            return vector;
        };
        CHECK(run(0x01, 0x00) == wanted);  // SGDT
        guest.reset();
        if (on) guest.cpu->set_cr4(guest.state().cr4 | kCr4Umip);
        CHECK(run(0x01, 0x08) == wanted);  // SIDT
        guest.reset();
        if (on) guest.cpu->set_cr4(guest.state().cr4 | kCr4Umip);
        CHECK(run(0x00, 0xC0) == wanted);  // SLDT EAX
        guest.reset();
        if (on) guest.cpu->set_cr4(guest.state().cr4 | kCr4Umip);
        CHECK(run(0x00, 0xC8) == wanted);  // STR EAX
        guest.reset();
        if (on) guest.cpu->set_cr4(guest.state().cr4 | kCr4Umip);
        CHECK(run(0x01, 0xE0) == wanted);  // SMSW EAX
    }
}

TEST_CASE("control: MSRs") {
    Guest64 guest;
    Cpu& cpu = *guest.cpu;
    constexpr u64 kHole = 0x0000800000000000;
    for (u32 index : {0xC0000082u, 0xC0000083u, 0xC0000100u, 0xC0000101u, 0xC0000102u, 0x175u, 0x176u}) {
        CHECK(!cpu.write_msr(index, kHole));
        CHECK(cpu.write_msr(index, ~u64{0}));
    }
    CHECK(!cpu.write_msr(0xC0000103, u64{1} << 32));
    CHECK(cpu.write_msr(0xC0000103, 7));
    guest.reg(kRax) = 0;
    CHECK(guest.run({0xF3, 0x0F, 0xC7, 0xF8}) == Guest64::kNone);  // RDPID RAX
    CHECK(guest.reg(kRax) == 7);
    CHECK(!cpu.write_msr(0x10A, 0));
    u64 value = 0;
    CHECK(cpu.read_msr(0x10A, value));
    CHECK(!cpu.read_msr(0x12345, value));
    // LGDT takes canonical bases only.
    guest.reset();
    guest.put(Guest64::kData, 0xFFFF);
    guest.put(Guest64::kData + 2, kHole);
    guest.reg(kRax) = Guest64::kData;
    CHECK(guest.run({0x0F, 0x01, 0x10}) == kGp);
}

TEST_CASE("control: random numbers come from the seed, and are saved") {
    Guest64 guest, other;
    CHECK(guest.run({0x48, 0x0F, 0xC7, 0xF0}) == Guest64::kNone);  // RDRAND RAX
    CHECK(guest.cpu->eflags() == ((guest.cpu->eflags() & ~kArithmeticFlags) | kFlagCarry));
    const u64 first = guest.reg(kRax);
    CHECK(guest.run({0x48, 0x0F, 0xC7, 0xF8}) == Guest64::kNone);  // RDSEED RAX
    CHECK(guest.reg(kRax) != first);
    CHECK(other.run({0x48, 0x0F, 0xC7, 0xF0}) == Guest64::kNone);
    CHECK(other.reg(kRax) == first);
    guest.reg(kRbx) = ~u64{0};
    CHECK(guest.run({0x66, 0x0F, 0xC7, 0xF3}) == Guest64::kNone);  // RDRAND BX
    CHECK((guest.reg(kRbx) >> 16) == 0xFFFFFFFFFFFF);
}
