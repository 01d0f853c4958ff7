// The interpreter as an engine: how many instructions retire, what its caches of blocks do when code, page tables and
// segments change under them, and that nothing of it is shared between machines or lost in a saved state.
#include "core/interp/interpreter.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <vector>

#include "core/bus.h"

using namespace lodge;

namespace {

using Code = std::initializer_list<u8>;
constexpr u64 kMemory = 1 * kMiB;
constexpr u32 kStart = 0x1000;

// One CPU with memory at 0 and nothing else, in flat 32-bit protected mode, about to run the code at kStart.
struct Rig {
    Rig() : memory(std::move(*PhysicalMemory::create(kMemory, mmio))) {
        memory->map(0, kMemory, 0, true);
        cpu.enter_flat_protected(0x08, 0x10);
        cpu.state.gpr[kRsp] = 0x8000;
        cpu.state.ip = kStart;
    }
    void put(u32 address, Code code) { memory->write(address, {code.begin(), code.size()}); }
    void put32(u32 address, u32 value) { memory->write_value<u32>(address, value); }
    u64 reg(u8 number) const { return cpu.state.gpr[number]; }
    u64 retired() const { return cpu.state.retired; }
    // An IDT at 0x400 whose gates all lead to HLT at 0x700; the GDT at 0x600.
    void with_handlers() {
        put32(0x608, 0x0000FFFF);
        put32(0x60C, 0x00CF9A00);
        put32(0x610, 0x0000FFFF);
        put32(0x614, 0x00CF9200);
        cpu.state.gdtr = {0x600, 0x17, 0};
        cpu.state.idtr = {0x400, 0xFF, 0};
        for (u32 at = 0x400; at < 0x500; at += 8) {
            put32(at, 0x00080700);
            put32(at + 4, 0x00008E00);
        }
        put(0x700, {0xF4});
    }
    // Identity paging of the first 4 MiB by a table at 0x11000, except for the page at `linear`.
    void with_paging(u32 linear, u32 physical) {
        put32(0x10000, 0x11003);
        for (u32 page = 0; page < 256; ++page) put32(0x11000 + page * 4, page << 12 | 3);
        put32(0x11000 + (linear >> 12) * 4, physical | 3);
        REQUIRE(cpu.set_cr3(0x10000));
        REQUIRE(cpu.set_cr0(cpu.state.cr0 | kCr0Pg));
    }
    // Calls the code at `address` and returns EAX.
    u64 call(u32 address) {
        put32(0x7FFC, 0x900);
        put(0x900, {0xF4});
        cpu.state.gpr[kRsp] = 0x7FFC;
        cpu.state.ip = address;
        cpu.state.halted = false;
        cpu.clear_attention(kAttentionHalted);
        REQUIRE(engine.run(100'000) == ExitReason::halted);
        return reg(kRax);
    }

    Log log;
    Bus ports{log, "port"};
    Bus mmio{log, "memory"};
    GuestClock clock{ClockMode::virtual_time};
    std::unique_ptr<PhysicalMemory> memory;
    Cpu cpu{log, *memory, ports, clock, *find_cpu_model("pentium4")};
    Interpreter engine{cpu};
};

constexpr u8 kReturn = 0xC3;

}  // namespace

TEST_CASE("a budget is kept to the instruction, wherever in a block it ends") {
    for (u64 budget = 0; budget < 12; ++budget) {
        Rig rig;
        rig.put(kStart, {0x40, 0x40, 0x40, 0x40, 0x40, 0xEB, 0xF9});  // five INC EAX; JMP to the first
        REQUIRE(rig.engine.run(budget) == ExitReason::budget);
        CHECK(rig.retired() == budget);
        CHECK(rig.reg(kRax) == budget - budget / 6);
        REQUIRE(rig.engine.run(6) == ExitReason::budget);
        CHECK(rig.retired() == budget + 6);
        CHECK(rig.cpu.state.ip == kStart + budget % 6);
    }
}

TEST_CASE("budgets of one reach the same state as one large budget") {
    const Code code = {0xB9, 3,    0,    0,    0,     // MOV ECX, 3
                       0xA3, 0,    0x20, 0,    0,     // again: MOV [2000h], EAX
                       0x03, 0x05, 0,    0x20, 0, 0,  // ADD EAX, [2000h]
                       0x40,                          // INC EAX
                       0x50, 0x5B,                    // PUSH EAX; POP EBX
                       0xE2, 0xF0,                    // LOOP again
                       0xF4};                         // HLT
    Rig whole, steps;
    for (Rig* rig : {&whole, &steps}) rig->put(kStart, code);
    REQUIRE(whole.engine.run(1000) == ExitReason::halted);
    for (u64 i = 0; i < whole.retired(); ++i) REQUIRE(steps.engine.run(1) == ExitReason::budget);
    CHECK(steps.retired() == whole.retired());
    CHECK(whole.retired() == 1 + 3 * 6 + 1);
    CHECK(steps.engine.run(1) == ExitReason::halted);
    for (u8 i = 0; i < 8; ++i) CHECK(steps.reg(i) == whole.reg(i));
    CHECK(steps.cpu.state.ip == whole.cpu.state.ip);
}

TEST_CASE("a repetition is one instruction") {
    Rig rig;
    rig.put(kStart, {0xF3, 0xAA, 0x40});  // REP STOSB; INC EAX
    rig.cpu.state.gpr[kRcx] = 10'000;     // fewer than a turn
    rig.cpu.state.gpr[kRdi] = 0x20000;
    REQUIRE(rig.engine.run(1) == ExitReason::budget);
    CHECK(rig.retired() == 1);
    CHECK(rig.reg(kRcx) == 0);
    CHECK(rig.cpu.state.ip == kStart + 2);
}

TEST_CASE("what faults does not retire; its handler's first instruction is the next to") {
    Rig rig;
    rig.with_handlers();
    rig.put(kStart, {0x40, 0x40, 0x0F, 0x0B});  // INC EAX twice; UD2
    CHECK(rig.engine.run(100) == ExitReason::halted);
    CHECK(rig.retired() == 3);  // and HLT
    CHECK(rig.memory->read_value<u32>(0x8000 - 12) == kStart + 2);
}

TEST_CASE("a fault with a budget of one delivers and goes on") {
    Rig rig;
    rig.with_handlers();
    rig.put(kStart, {0x0F, 0x0B});
    CHECK(rig.engine.run(1) == ExitReason::budget);
    CHECK(rig.retired() == 1);
    CHECK(rig.cpu.state.halted);
}

TEST_CASE("without handlers the CPU shuts down") {
    Rig rig;
    rig.cpu.state.idtr = {0, 0, 0};
    rig.put(kStart, {0x40, 0x0F, 0x0B});
    CHECK(rig.engine.run(100) == ExitReason::shutdown);
    CHECK(rig.retired() == 1);
    CHECK(rig.engine.run(100) == ExitReason::shutdown);
}

TEST_CASE("a kick ends a run before the budget, once") {
    Rig rig;
    rig.put(kStart, {0xEB, 0xFE});
    rig.cpu.request_attention(kAttentionKick);
    CHECK(rig.engine.run(100) == ExitReason::kicked);
    CHECK(rig.retired() == 0);
    CHECK(rig.engine.run(100) == ExitReason::budget);
    CHECK(rig.retired() == 100);
}

TEST_CASE("a data breakpoint interrupts a repetition, which is then not retired") {
    Rig rig;
    rig.with_handlers();
    rig.put(kStart, {0xF3, 0xAA, 0xF4});  // REP STOSB; HLT
    rig.cpu.state.gpr[kRcx] = 0xC0000;
    rig.cpu.state.gpr[kRdi] = 0x20000;
    rig.cpu.state.dr[0] = 0x30000;
    REQUIRE(rig.cpu.write_dr(7, 0x00010402));
    ExitReason exit = ExitReason::kicked;  // a long repetition comes back now and then
    while (exit == ExitReason::kicked) exit = rig.engine.run(100);
    CHECK(exit == ExitReason::halted);
    CHECK(rig.retired() == 1);  // the handler's HLT
    CHECK(rig.reg(kRdi) == 0x30001);
    CHECK(rig.memory->read_value<u32>(0x8000 - 12) == kStart);
}

TEST_CASE("code written by the CPU: the same block, another block, by a repetition") {
    Rig rig;
    rig.put(kStart, {0xC6, 0x05, 0x08, 0x10, 0, 0, 0x43,  // MOV BYTE [1008h], 43h
                     0x90, 0x90, 0xF4});                  // NOP; NOP (becomes INC EBX); HLT
    CHECK(rig.engine.run(100) == ExitReason::halted);
    CHECK(rig.reg(kRbx) == 1);
    CHECK(rig.retired() == 4);

    Rig other;
    other.put(0x3000, {0xB0, 1, kReturn});  // MOV AL, 1
    CHECK(other.call(0x3000) == 1);
    other.put(0x4000, {0xC6, 0x05, 0x01, 0x30, 0, 0, 2, kReturn});
    other.call(0x4000);
    CHECK(other.call(0x3000) == 2);
    other.put(0x5000, {0xB0, 7, kReturn});
    other.put(0x4000, {0xF3, 0xA4, kReturn});  // REP MOVSB
    other.cpu.state.gpr[kRsi] = 0x5000;
    other.cpu.state.gpr[kRdi] = 0x3000;
    other.cpu.state.gpr[kRcx] = 3;
    other.call(0x4000);
    CHECK(other.call(0x3000) == 7);
}

TEST_CASE("code written from outside, as DMA does") {
    Rig rig;
    rig.put(0x3000, {0xB8, 1, 0, 0, 0, kReturn});
    CHECK(rig.call(0x3000) == 1);
    rig.put(0x3001, {2});
    CHECK(rig.call(0x3000) == 2);
    // Far from any code in that page: nothing to drop, and the code still runs.
    rig.put(0x3800, {9, 9, 9});
    CHECK(rig.call(0x3000) == 2);
    // Over the end of the page before.
    rig.put(0x2FFE, {0x90, 0x90, 0xB8, 3, 0, 0, 0, kReturn});
    CHECK(rig.call(0x3000) == 3);
    CHECK(rig.call(0x2FFE) == 3);
    // Straight into the backing, as a loaded snapshot.
    rig.memory->backing()[0x3001] = 4;
    rig.memory->touched(0x3001, 1);
    CHECK(rig.call(0x3000) == 4);
}

TEST_CASE(
    "a page of code and data: writes beside the code leave it alone, writes into it do not, nor touch other code") {
    Rig rig;
    const u64 page = 0x2000 / kPageSize;
    rig.put(0x2000, {0xB8, 1, 0, 0, 0, kReturn});  // MOV EAX, 1
    rig.put(0x2020, {0xB8, 2, 0, 0, 0, kReturn});
    rig.put(0x2800, {0xB8, 3, 0, 0, 0, kReturn});
    CHECK(rig.call(0x2000) == 1);
    CHECK(rig.call(0x2020) == 2);
    CHECK(rig.call(0x2800) == 3);
    rig.put32(0x2010, 0x12345678);
    CHECK(rig.memory->holds_code(page));
    CHECK(rig.call(0x2000) == 1);
    rig.put(0x2001, {4});
    CHECK(rig.memory->holds_code(page));
    CHECK(rig.call(0x2000) == 4);
    rig.put(0x2021, {5});
    CHECK(rig.call(0x2020) == 5);
    rig.put(0x2801, {6});
    CHECK(rig.call(0x2800) == 6);
    rig.put32(0x2000, 0);
    rig.put32(0x2020, 0);
    rig.put32(0x2800, 0);
    CHECK_FALSE(rig.memory->holds_code(page));
}

TEST_CASE("an instruction over a page boundary, when either page changes") {
    Rig rig;
    rig.put(0x2FFE, {0xB8, 1, 0, 0, 0, kReturn});
    CHECK(rig.call(0x2FFE) == 1);
    rig.put(0x2FFF, {2});
    CHECK(rig.call(0x2FFE) == 2);
    rig.put(0x3000, {1});
    CHECK(rig.call(0x2FFE) == 0x102);
    // Straight-line code running over the boundary.
    rig.put(0x3FFB, {0x31, 0xC0, 0x40, 0x40, 0x83, 0xC0, 0x10, kReturn});  // ...; ADD EAX, 10h
    CHECK(rig.call(0x3FFB) == 0x12);
}

TEST_CASE("an instruction over a page boundary faults with the second page") {
    Rig rig;
    rig.with_handlers();
    rig.with_paging(0x3000, 0x3000);
    rig.put32(0x11000 + 3 * 4, 0);  // no page at 3000h
    rig.put(0x2FFC, {0x40, 0x40, 0xB8, 1, 0, 0, 0});
    rig.cpu.state.ip = 0x2FFC;
    CHECK(rig.engine.run(100) == ExitReason::halted);
    CHECK(rig.retired() == 3);
    CHECK(rig.cpu.state.cr2 == 0x3000);
    CHECK(rig.memory->read_value<u32>(0x8000 - 12) == 0x2FFE);
    CHECK(rig.memory->read_value<u32>(0x8000 - 16) == 0);  // the error code
}

TEST_CASE("the same linear address leads elsewhere after a CR3 load, INVLPG or a change of the map") {
    Rig rig;
    rig.put(0x3000, {0xB8, 1, 0, 0, 0, kReturn});
    rig.put(0x4000, {0xB8, 2, 0, 0, 0, kReturn});
    rig.with_paging(0x5000, 0x3000);
    for (int round = 0; round < 3; ++round) {
        CHECK(rig.call(0x5000) == 1);
        rig.put32(0x11000 + 5 * 4, 0x4003);
        REQUIRE(rig.cpu.set_cr3(0x10000));
        CHECK(rig.call(0x5000) == 2);
        rig.put32(0x11000 + 5 * 4, 0x3003);
        rig.cpu.invalidate_page(0x5000);
    }
    CHECK(rig.call(0x5000) == 1);
    rig.memory->map(0x3000, kPageSize, 0x4000, true);
    CHECK(rig.call(0x5000) == 2);
}

TEST_CASE("a jump between two pages is linked anew after CR3 has changed") {
    // A loop over two pages: 5000h calls 6000h. Behind 6000h are two pages by turns.
    Rig rig;
    rig.put(0x3000, {0x83, 0xC0, 0x01, kReturn});  // ADD EAX, 1
    rig.put(0x4000, {0x83, 0xC0, 0x10, kReturn});  // ADD EAX, 10h
    rig.put(0x5000, {0x31, 0xC0,                   // XOR EAX, EAX
                     0xB9, 3, 0, 0, 0,             // MOV ECX, 3
                     0xE8, 0xF4, 0x0F, 0, 0,       // again: CALL 6000h
                     0xE2, 0xF9,                   // LOOP again
                     kReturn});
    rig.with_paging(0x6000, 0x3000);
    for (int round = 0; round < 4; ++round) {
        CHECK(rig.call(0x5000) == 3);
        rig.put32(0x11000 + 6 * 4, 0x4003);
        REQUIRE(rig.cpu.set_cr3(0x10000));
        CHECK(rig.call(0x5000) == 0x30);
        rig.put32(0x11000 + 6 * 4, 0x3003);
        REQUIRE(rig.cpu.set_cr3(0x10000));
    }
}

TEST_CASE("two linear addresses of one page share its code and its changes") {
    Rig rig;
    rig.put(0x3000, {0xB8, 1, 0, 0, 0, kReturn});
    rig.with_paging(0x5000, 0x3000);
    CHECK(rig.call(0x3000) == 1);
    CHECK(rig.call(0x5000) == 1);
    rig.put(0x6000, {0xC6, 0x05, 0x01, 0x50, 0, 0, 9, kReturn});  // MOV BYTE [5001h], 9
    rig.call(0x6000);
    CHECK(rig.call(0x3000) == 9);
    CHECK(rig.call(0x5000) == 9);
}

TEST_CASE("the same bytes as 16-bit and as 32-bit code") {
    Rig rig;
    rig.put(0x3000, {0xB8, 0x34, 0x12, 0x90, 0x90, 0xF4});
    rig.cpu.state.ip = 0x3000;
    CHECK(rig.engine.run(10) == ExitReason::halted);
    CHECK(rig.reg(kRax) == 0x90901234);
    CHECK(rig.retired() == 2);
    rig.cpu.clear_attention(kAttentionHalted);
    rig.cpu.state.segment(Segment::cs).attributes &= ~kSegmentBig;
    rig.cpu.mode_changed();
    rig.cpu.state.gpr[kRax] = 0;
    rig.cpu.state.ip = 0x3000;
    CHECK(rig.engine.run(10) == ExitReason::halted);
    CHECK(rig.reg(kRax) == 0x1234);
    CHECK(rig.retired() == 6);
}

TEST_CASE("15 bytes are an instruction, 16 are #GP") {
    Rig rig;
    rig.with_handlers();
    for (u32 prefixes : {14u, 15u}) {
        for (u32 i = 0; i < prefixes; ++i) rig.put(kStart + i, {0x3E});
        rig.put(kStart + prefixes, {0x40, 0xF4});
        rig.cpu.state.gpr[kRax] = 0;
        rig.cpu.state.gpr[kRsp] = 0x8000;
        rig.cpu.state.ip = kStart;
        rig.cpu.clear_attention(kAttentionHalted);
        CHECK(rig.engine.run(10) == ExitReason::halted);
        CHECK(rig.reg(kRax) == (prefixes == 14 ? 1 : 0));
        CHECK(rig.reg(kRsp) == (prefixes == 14 ? 0x8000 : 0x8000 - 16));
    }
}

TEST_CASE("code up to the segment's limit runs; beyond it is #GP") {
    Rig rig;
    rig.with_handlers();
    rig.put(kStart, {0x40, 0x40, 0xB8, 1, 0, 0, 0, 0xF4});
    // The handler's segment is the GDT's, so only the interrupted code is limited.
    const auto run_with_limit = [&](u32 limit) {
        rig.cpu.state.segment(Segment::cs).limit = limit;
        rig.cpu.mode_changed();
        rig.cpu.state.gpr[kRax] = 0x100;
        rig.cpu.state.gpr[kRsp] = 0x8000;
        rig.cpu.state.ip = kStart;
        rig.cpu.clear_attention(kAttentionHalted);
        CHECK(rig.engine.run(10) == ExitReason::halted);
    };
    run_with_limit(kStart + 7);
    CHECK(rig.reg(kRax) == 1);
    run_with_limit(kStart + 5);  // in the middle of MOV
    CHECK(rig.reg(kRax) == 0x102);
    CHECK(rig.memory->read_value<u32>(0x8000 - 12) == kStart + 2);
    run_with_limit(kStart + 6);  // between MOV and HLT
    CHECK(rig.reg(kRax) == 1);
    CHECK(rig.memory->read_value<u32>(0x8000 - 12) == kStart + 7);
    run_with_limit(kStart - 1);
    CHECK(rig.reg(kRax) == 0x100);
    CHECK(rig.memory->read_value<u32>(0x8000 - 12) == kStart);
}

TEST_CASE("two machines in a process have nothing in common") {
    Rig first, second;
    first.put(0x3000, {0xB8, 1, 0, 0, 0, kReturn});
    second.put(0x3000, {0xB8, 2, 0, 0, 0, kReturn});
    for (int round = 0; round < 3; ++round) {
        CHECK(first.call(0x3000) == 1);
        CHECK(second.call(0x3000) == 2);
    }
    first.put(0x3001, {7});
    CHECK(second.call(0x3000) == 2);
    CHECK(first.call(0x3000) == 7);
    CHECK(second.retired() == 4 * 3);
}

TEST_CASE("a CPU saved in the middle and loaded into another machine goes on the same way") {
    const Code code = {0xB9, 0x40, 0,    0,    0,        // MOV ECX, 40h
                       0x01, 0xC8,                       // again: ADD EAX, ECX
                       0x69, 0xC0, 0x0D, 0x66, 0x19, 0,  // IMUL EAX, EAX, 19660Dh
                       0x50, 0x5A,                       // PUSH EAX; POP EDX
                       0xE2, 0xF4,                       // LOOP again
                       0xF4};
    Rig whole;
    whole.put(kStart, code);
    REQUIRE(whole.engine.run(10'000) == ExitReason::halted);
    for (u64 cut : {1u, 7u, 50u, 123u}) {
        Rig before, after;
        before.put(kStart, code);
        REQUIRE(before.engine.run(cut) == ExitReason::budget);
        StateIo save;
        before.cpu.save_or_load(save);
        const std::vector<u8> saved = save.take();
        // Other code has been run there before.
        after.put(kStart, {0x40, 0xF4});
        REQUIRE(after.engine.run(100) == ExitReason::halted);
        std::vector<u8> contents(kMemory);
        before.memory->read(0, contents);
        after.memory->write(0, contents);
        StateIo load(saved);
        after.cpu.save_or_load(load);
        REQUIRE_FALSE(load.failed());
        CHECK(after.retired() == cut);
        REQUIRE(after.engine.run(10'000) == ExitReason::halted);
        CHECK(after.retired() == whole.retired());
        for (u8 i = 0; i < 8; ++i) CHECK(after.reg(i) == whole.reg(i));
    }
}

TEST_CASE("a task gate whose task faults at once leaves nothing behind for the next fault") {
    Rig rig;
    rig.with_handlers();
    rig.cpu.state.gdtr.limit = 0x1F;
    rig.put32(0x618, 0x08000067);  // a task at 800h
    rig.put32(0x61C, 0x00008900);
    rig.put32(0x400 + 13 * 8, 0x00180000);  // #GP is its business
    rig.put32(0x404 + 13 * 8, 0x00008500);
    rig.cpu.state.tr.base = 0xA00;
    rig.cpu.state.tr.limit = 0x67;
    rig.cpu.state.tr.attributes = kSegmentPresent | 0x0B;
    rig.put32(0x800 + 0x20, 0x1234);      // EIP
    rig.put32(0x800 + 0x38, 0x7000);      // ESP
    rig.put32(0x800 + 0x4C, 0x08);        // CS
    rig.put32(0x800 + 0x50, 0x10);        // SS
    rig.put32(0x800 + 0x54, 0xFF8);       // DS: beyond the table, so #TS
    rig.put(kStart, {0x40, 0xCD, 0xFF});  // INC EAX; INT FFh, beyond the IDT: #GP
    REQUIRE(rig.engine.run(100) == ExitReason::halted);
    CHECK(rig.memory->read_value<u32>(0x7000 - 16) == 0);  // of #DF: #GP and #TS together
    CHECK(rig.memory->read_value<u32>(0x7000 - 12) == 0x1234);

    rig.put(0x3000, {0x40, 0x40, 0x0F, 0x0B});  // INC EAX twice; UD2
    rig.cpu.state.ip = 0x3000;
    rig.cpu.state.gpr[kRsp] = 0x7000;
    rig.cpu.state.halted = false;
    rig.cpu.clear_attention(kAttentionHalted);
    REQUIRE(rig.engine.run(100) == ExitReason::halted);
    CHECK(rig.memory->read_value<u32>(0x7000 - 12) == 0x3002);
}

TEST_CASE("INIT forgets what protected mode has left in the segments") {
    Rig rig;
    rig.cpu.take_init();
    const CpuState& state = rig.cpu.state;
    for (const SegmentState& segment : state.segments) {
        CHECK(segment.limit == 0xFFFF);
        CHECK((segment.attributes & kSegmentBig) == 0);
    }
    CHECK(state.segment(Segment::cs).selector == 0xF000);
    CHECK(state.segment(Segment::cs).base == 0xFFFF0000);
    CHECK(state.ip == 0xFFF0);
    CHECK(rig.cpu.eflags() == 2);
    CHECK(rig.cpu.stack_size() == 2);
}

TEST_CASE("more code than the engine keeps") {
    // A run of NOPs with a RET now and then, entered at every second byte: each entry is a block of its own.
    Rig rig;
    std::vector<u8> code(0xF000, 0x90);
    for (size_t at = 127; at < code.size(); at += 128) code[at] = kReturn;
    rig.memory->write(0x20000, code);
    rig.put(0x3000, {0xB8, 1, 0, 0, 0, kReturn});
    for (u32 at = 0; at < code.size(); at += 2) rig.call(0x20000 + at);
    CHECK(rig.call(0x3000) == 1);
    rig.put(0x20000, {0xB8, 2, 0, 0, 0, kReturn});
    CHECK(rig.call(0x20000) == 2);
}
