// Stop points and steps, the same on both engines.
#include "debug/debugger.h"

#include "debug/expression.h"
#include "tests/unit/debug_fixture.h"

using namespace lodge;
using namespace lodge::debug;

namespace {

constexpr u64 kStart = DebugFixture::kProgram;
constexpr Engine kEngines[] = {Engine::interpreter, Engine::translator};

// 00 MOV CX,200; 03 INC AX; 04 MOV [2000h],AX; 07 OUT 10h,AL; 09 LOOP 03; 0B INT 20h; 0D UD2; 0F INC DX; 10 JMP 0F
const std::vector<u8> kProgramBytes = {0xB9, 0xC8, 0x00, 0x40, 0xA3, 0x00, 0x20, 0xE6, 0x10,
                                       0xE2, 0xF8, 0xCD, 0x20, 0x0F, 0x0B, 0x42, 0xEB, 0xFD};

Result<u32> add_with(DebugFixture& f, const Place& place, std::function<bool()> condition, u64 ignore = 0,
                     bool once = false) {
    StopPoint point;
    point.place = place;
    point.condition = std::move(condition);
    point.ignore = ignore;
    point.once = once;
    return f.debugger->add(point);
}

}  // namespace

TEST_CASE("debugger: a breakpoint stops before its instruction, each time, at the same positions on both engines") {
    std::vector<u64> positions[2];
    for (const Engine engine : kEngines) {
        DebugFixture f(kProgramBytes, engine);
        const u32 number = f.add(CodePoint{kStart + 7, false});
        for (unsigned i = 1; i <= 120; ++i) {
            REQUIRE(f.go());
            CHECK(f.pc() == kStart + 7);
            CHECK(f.ax() == i);
            CHECK(f.stop().reason == StopReason::point);
            CHECK(f.stop().points == std::vector<u32>{number});
            CHECK(f.stop().position == f.retired());
            positions[static_cast<size_t>(engine)].push_back(f.retired());
        }
        CHECK(f.debugger->remove(number));
        CHECK_FALSE(f.debugger->remove(number));
        CHECK_FALSE(f.go());
        CHECK_FALSE(f.machine->cpu().code_is_marked(7));
    }
    CHECK(positions[0] == positions[1]);
    CHECK(positions[0][0] == 4);
    CHECK(positions[0][1] == 8);
}

TEST_CASE("debugger: conditions, ignored stops, stops that come once, points that are switched off") {
    for (const Engine engine : kEngines) {
        DebugFixture f(kProgramBytes, engine);
        Inspector inspector(*f.machine);
        auto condition = parse_condition(inspector, "rax >= 0x10 && word[0x2000] == rax");
        REQUIRE(condition.ok());
        const auto number = add_with(f, CodePoint{kStart + 7, true}, *condition, 2);
        REQUIRE(f.go());
        CHECK(f.ax() == 0x12);
        CHECK(f.debugger->find(*number)->hits == 3);
        CHECK(add_with(f, CodePoint{kStart + 3, true}, nullptr, 0, true).ok());
        REQUIRE(f.go());
        CHECK(f.pc() == kStart + 3);
        f.debugger->find(*number)->enabled = false;
        CHECK_FALSE(f.go(300));
    }
}

TEST_CASE("debugger: a breakpoint in code that has been translated already, in the middle of a block") {
    for (const Engine engine : kEngines) {
        DebugFixture f(kProgramBytes, engine);
        CHECK_FALSE(f.go(200));
        f.add(CodePoint{kStart + 4, false});
        REQUIRE(f.go());
        CHECK(f.pc() == kStart + 4);
        f.add(CodePoint{kStart + 9, false});
        REQUIRE(f.go());
        CHECK(f.pc() == kStart + 9);
    }
}

TEST_CASE("debugger: watchpoints of any size, for writes, reads and both") {
    for (const Engine engine : kEngines) {
        DebugFixture f(kProgramBytes, engine);
        CHECK_FALSE(f.go(100));
        const u32 number = f.add(DataPoint{0x2001, 1, false, true});
        const u64 before = f.ax();
        REQUIRE(f.go());
        CHECK(f.pc() == kStart + 7);  // behind the instruction
        CHECK(f.ax() > before);
        CHECK(f.stop().details.access->address == 0x2000);
        CHECK(f.stop().details.access->size == 2);
        f.debugger->remove(number);
        // The push of INT 20h.
        f.add(DataPoint{0x7000, 0x1000, true, true});
        REQUIRE(f.go());
        CHECK(f.stop().details.access->write);
        CHECK(f.stop().details.access->address >= 0x7FFA);
        StopPoint bad;
        bad.place = DataPoint{0x1000, 0, true, true};
        CHECK_FALSE(f.debugger->add(bad).ok());
        bad.place = DataPoint{~u64{0}, 2, true, true};
        CHECK_FALSE(f.debugger->add(bad).ok());
    }
}

TEST_CASE("debugger: accesses of ports, with the register's name") {
    for (const Engine engine : kEngines) {
        DebugFixture f(kProgramBytes, engine);
        f.add(DevicePoint{DeviceSpace::ports, 0x10, 0x10, true, true, "chip"});
        REQUIRE(f.go());
        CHECK(f.pc() == kStart + 9);
        CHECK(f.stop().details.access->value == 1);
        CHECK(f.stop().text == "access of port 0x10 (chip DATA), written 0x1");
    }
}

TEST_CASE("debugger: software interrupts, exceptions and interrupts stop at their handlers") {
    for (const Engine engine : kEngines) {
        DebugFixture f(kProgramBytes, engine);
        f.add(SoftwareInterruptPoint{0x20});
        f.add(ExceptionPoint{{}});
        REQUIRE(f.go());
        CHECK(f.pc() == kStart + 0x100);
        CHECK(f.stop().details.return_linear == kStart + 0x0D);
        REQUIRE(f.go());
        CHECK(f.pc() == kStart + 0x102);
        CHECK(f.stop().text == "exception 6 #UD, from 0xF000D");
        f.add(InterruptPoint{0x21});
        f.machine->cpu().set_eflags(0x202);
        CHECK_FALSE(f.go(200));
        f.interrupt(0x21);
        f.machine->cpu().set_eflags(0x202);
        REQUIRE(f.go());
        CHECK(f.pc() == kStart + 0x100);
    }
}

TEST_CASE("debugger: steps by count are exact") {
    for (const Engine engine : kEngines) {
        DebugFixture f(kProgramBytes, engine);
        u64 expected = 0;
        for (const u64 count : {u64{1}, u64{1}, u64{3}, u64{100}, u64{7}}) {
            REQUIRE(f.step({.count = count}));
            CHECK(f.retired() == expected + count);
            CHECK(f.stop().reason == StopReason::step);
            expected += count;
        }
        CHECK_FALSE(f.debugger->step({.count = 0}).ok());
    }
}

TEST_CASE("debugger: steps to a branch, out of a range, to a device") {
    for (const Engine engine : kEngines) {
        DebugFixture f(kProgramBytes, engine);
        REQUIRE(f.step({.until = StepUntil::branch}));  // the reset vector
        CHECK(f.pc() == kStart);
        REQUIRE(f.step({.until = StepUntil::branch}));
        CHECK(f.pc() == kStart + 3);
        CHECK(f.ax() == 1);
        REQUIRE(f.step({.until = StepUntil::device_access}));
        CHECK(f.pc() == kStart + 9);
        REQUIRE(f.step({.until = StepUntil::out_of_range, .first = kStart, .last = kStart + 0x0B}));
        CHECK(f.pc() == kStart + 0x0B);
        CHECK(f.ax() == 200);
    }
}

TEST_CASE("debugger: a fault in a step is passed, counted, or a stop of its own") {
    for (const Engine engine : kEngines) {
        for (const StepFaults faults : {StepFaults::passed, StepFaults::stop, StepFaults::taken}) {
            DebugFixture f(kProgramBytes, engine);
            f.add(CodePoint{kStart + 0x0D, false});
            REQUIRE(f.go());
            REQUIRE(f.step({.faults = faults}));
            // The handler goes on behind UD2; its first instruction is the one that counts.
            const u64 expected = faults == StepFaults::passed ? 0x0F : faults == StepFaults::stop ? 0x102 : 0x103;
            CHECK(f.pc() == kStart + expected);
            CHECK(f.stop().reason == (faults == StepFaults::stop ? StopReason::fault : StopReason::step));
            REQUIRE(f.step({.faults = StepFaults::passed}));
        }
    }
}

TEST_CASE(
    "debugger: a step without interrupts, and one with; a breakpoint is passed although an interrupt comes first") {
    for (const Engine engine : kEngines) {
        DebugFixture f(kProgramBytes, engine);
        f.add(CodePoint{kStart + 3, false});
        REQUIRE(f.go());
        f.machine->cpu().set_eflags(0x202);
        f.interrupt(0x21);
        REQUIRE(f.step({.hold_interrupts = true}));
        CHECK(f.pc() == kStart + 4);
        CHECK(f.interrupts.size() == 1);
        REQUIRE(f.step({}));  // the NOP of the handler
        CHECK(f.pc() == kStart + 0x101);
        REQUIRE(f.go());
        CHECK(f.pc() == kStart + 3);
        const u64 ax = f.ax();
        f.interrupt(0x21);
        REQUIRE(f.go());
        CHECK(f.pc() == kStart + 3);
        CHECK(f.interrupts.empty());
        CHECK(f.ax() == ax + 1);
    }
}

TEST_CASE("debugger: the switch to protected mode, a load of CR3, a triple fault") {
    // 00 MOV EAX,CR0; 03 OR AL,1; 05 MOV CR0,EAX; 08 MOV CR3,EAX; 0B LIDT [CS:20h]; 11 UD2
    std::vector<u8> program = {0x0F, 0x20, 0xC0, 0x0C, 0x01, 0x0F, 0x22, 0xC0, 0x0F, 0x22,
                               0xD8, 0x2E, 0x0F, 0x01, 0x1E, 0x20, 0x00, 0x0F, 0x0B};
    program.resize(0x30);
    for (const Engine engine : kEngines) {
        DebugFixture f(program, engine);
        f.add(ModePoint{});
        f.add(PageTablePoint{});
        f.add(ShutdownPoint{});
        REQUIRE(f.go());
        CHECK(f.pc() == kStart + 8);
        CHECK(f.stop().text == "mode is now protected-16");
        REQUIRE(f.go());
        CHECK(f.pc() == kStart + 0x0B);
        REQUIRE(f.go());
        CHECK(f.stop().text == "triple fault");
        CHECK(f.pc() == kStart + 0x11);
        REQUIRE(f.step({.count = 1}));
        CHECK(f.pc() == 0xFFFFFFF0);  // the reset is a switch of the mode
        CHECK(f.stop().text == "mode is now real");
    }
}

TEST_CASE("debugger: the clock stands still while the machine does; speed is refused where there is none") {
    DebugFixture f(kProgramBytes, Engine::interpreter);
    REQUIRE(f.step({.count = 10}));
    const u64 then = f.machine->clock().now();
    CHECK(f.machine->clock().now() == then);
    CHECK_FALSE(f.debugger->set_speed(50'000).ok());
    MachineConfig config;
    config.backing_bytes = kMiB;
    config.cpu = &cpu_models().back();
    auto machine = Machine::create(config, f.log);
    Debugger other(**machine);
    CHECK(other.set_speed(100).ok());
    CHECK((*machine)->speed() == 100);
    CHECK_FALSE(other.set_speed(99).ok());
    CHECK_FALSE(other.set_speed(100'001).ok());
}

TEST_CASE("inspector: memory without side effects, writes reach translated code, addresses by segment") {
    for (const Engine engine : kEngines) {
        DebugFixture f(kProgramBytes, engine);
        Inspector inspector(*f.machine);
        CHECK_FALSE(f.go(100));
        u8 bytes[4];
        CHECK(inspector.read_linear(kStart, bytes) == 4);
        CHECK(bytes[0] == 0xB9);
        CHECK(inspector.read_linear(kMiB - 2, bytes) == 2);
        CHECK(inspector.read_physical(0x80000000, bytes) == 0);
        // INC AX becomes DEC AX.
        const u64 before = f.ax();
        CHECK(inspector.write_linear(kStart + 3, std::vector<u8>{0x48}));
        CHECK_FALSE(inspector.write_linear(kMiB - 1, std::vector<u8>{1, 2}));
        REQUIRE(f.step({.count = 40}));
        CHECK(f.ax() < before);
        CHECK(inspector.linear_of(0xF000, 0x10) == 0xF0010);
        CHECK(inspector.disassemble(kStart, 2)[1].text == "dec ax");
        CHECK(inspector.mode() == CpuMode::real);
        CHECK(inspector.find_device_register("chip.data")->address == 0x10);
        CHECK_FALSE(inspector.find_device_register("chip none").has_value());
        CHECK(inspector.device_registers_text("chip").find("0x5A") != std::string::npos);
    }
}

TEST_CASE("inspector: registers by name, written where the mode allows it") {
    DebugFixture f(kProgramBytes, Engine::interpreter);
    Cpu& cpu = f.machine->cpu();
    for (const RegisterName& name : register_names()) {
        const RegisterBytes value = read_register(cpu, name);
        if (name.writable) CHECK_MESSAGE(write_register(cpu, name, value).ok(), std::string(name.name));
        CHECK(read_register(cpu, name) == value);
    }
    RegisterBytes value{};
    store<u64>(value.data(), 0xF0003);
    REQUIRE(f.step({}));
    CHECK(write_register(cpu, *find_register("pc"), value).ok());
    CHECK(cpu.state.ip == 3);
    store<u64>(value.data(), 0x12345678);
    CHECK_FALSE(write_register(cpu, *find_register("pc"), value).ok());
    CHECK_FALSE(cpu.fault().has_value());
    CHECK_FALSE(write_register(cpu, *find_register("cs_limit"), value).ok());
}

TEST_CASE("expressions: values, segments, memory, errors") {
    DebugFixture f(kProgramBytes, Engine::interpreter);
    Inspector inspector(*f.machine);
    REQUIRE(f.step({.count = 5}));
    const auto value = [&](const char* text) -> std::optional<u64> {
        auto parsed = parse_expression(inspector, text);
        if (!parsed) return {};
        return (*parsed)();
    };
    CHECK(value("0x10 + 2 - 1") == 17);
    CHECK(value("f000:0003") == 0xF0003);
    CHECK(value("cs:rip") == f.pc());
    CHECK(value("word[0x2000]") == 1);
    CHECK(value("[0x2000]") == 1);
    CHECK(value("$rax == 1 && (rcx > 5 || rcx & 1)") == 1);
    CHECK(value("7 & 3 == 3") == 1);
    for (const char* bad :
         {"", "rax +", "(1", "nonsense", "1 2", "byte[", "0x", "1:2:3", "qword[1", "18446744073709551616"})
        CHECK_FALSE_MESSAGE(value(bad).has_value(), bad);
    CHECK_FALSE(value("byte[0x80000000]").has_value());
    CHECK((*parse_condition(inspector, "byte[0x80000000] == 1"))());
    CHECK_FALSE(parse_expression(inspector, std::string(1000, '(')).ok());
}
