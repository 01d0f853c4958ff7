// The gdb remote protocol, packet by packet, against a small machine.
#include "debug/gdb_server.h"

#include "debug/agent_expression.h"
#include "debug/text.h"
#include "tests/unit/debug_fixture.h"

using namespace lodge;
using namespace lodge::debug;

namespace {

// 00 MOV CX,200; 03 INC AX; 04 MOV [2000h],AX; 07 LOOP 03; 09 OUT 10h,AL; 0B JMP 0B
const std::vector<u8> kProgramBytes = {0xB9, 0xC8, 0x00, 0x40, 0xA3, 0x00, 0x20, 0xE2, 0xFA, 0xE6, 0x10, 0xEB, 0xFE};

std::span<const u8> bytes_of(std::string_view text) {
    return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

struct Session {
    explicit Session(GdbArchitecture architecture = GdbArchitecture::x86_64)
        : f(kProgramBytes, Engine::interpreter), server(*f.debugger, architecture, [this](std::string_view bytes) {
              sent += bytes;
              reader.feed(bytes_of(bytes));
          }) {}

    // The payloads of what is sent in answer.
    std::vector<std::string> say(std::string_view payload) {
        server.receive(bytes_of(frame(payload)));
        return replies();
    }
    std::vector<std::string> replies() {
        std::vector<std::string> found;
        while (const auto event = reader.next())
            if (event->kind == GdbEvent::Kind::packet) found.push_back(event->payload);
        return found;
    }
    std::string ask(std::string_view payload) {
        const auto found = say(payload);
        REQUIRE(found.size() == 1);
        return found[0];
    }
    std::string monitor(std::string_view command) {
        std::string text;
        for (const std::string& reply : say("qRcmd," + to_hex(command))) {
            if (reply == "OK") return text;
            REQUIRE(reply[0] == 'O');
            text += *from_hex(std::string_view(reply).substr(1));
        }
        return text + "(no end)";
    }
    // Says it, runs until the machine stops, and returns what came last.
    std::string run(std::string_view payload, u64 most = 10'000) {
        CHECK(say(payload).empty());
        f.run(most);
        const auto found = replies();
        return found.empty() ? "" : found.back();
    }

    DebugFixture f;
    std::string sent;
    GdbPacketReader reader;
    GdbServer server;
};

}  // namespace

TEST_CASE("gdb packets: framing, escapes, checksums, limits") {
    GdbPacketReader reader;
    reader.feed(bytes_of("noise+" + frame("m0,4") + "-" + "\x03" + "$bad#00" + frame(escape("}#$*x"))));
    const GdbEvent::Kind expected[] = {GdbEvent::Kind::ack,       GdbEvent::Kind::packet,  GdbEvent::Kind::nack,
                                       GdbEvent::Kind::interrupt, GdbEvent::Kind::corrupt, GdbEvent::Kind::packet};
    std::string last;
    for (const GdbEvent::Kind kind : expected) {
        const auto event = reader.next();
        REQUIRE(event.has_value());
        CHECK(event->kind == kind);
        last = event->payload;
    }
    CHECK(last == "}#$*x");
    CHECK_FALSE(reader.next().has_value());
    // Byte by byte, cut short by another.
    for (const char c : "$m1,$" + frame("g").substr(1)) reader.feed(bytes_of({&c, 1}));
    CHECK(reader.next()->payload == "g");
    reader.feed(bytes_of(frame(std::string(kMostPayload + 1, 'm'))));
    CHECK(reader.next()->kind == GdbEvent::Kind::too_long);
    std::string_view text = "12zz";
    CHECK(take_hex(text) == 0x12);
    CHECK(text == "zz");
    CHECK_FALSE(take_hex(text).has_value());
    text = "11112222333344445";
    CHECK_FALSE(take_hex(text).has_value());
    CHECK_FALSE(from_hex("1").has_value());
    CHECK_FALSE(from_hex("1x").has_value());
}

TEST_CASE("gdb server: greeting, descriptions, threads") {
    for (const auto architecture : {GdbArchitecture::x86_64, GdbArchitecture::i386}) {
        Session s(architecture);
        CHECK(s.ask("qSupported:multiprocess+;swbreak+").find("QStartNoAckMode+") != std::string::npos);
        CHECK(s.ask("?").starts_with("T02"));
        CHECK(s.ask("vMustReplyEmpty").empty());
        std::string xml;
        for (;;) {
            const std::string part = s.ask(format("qXfer:features:read:target.xml:%zx,100", xml.size()));
            xml += part.substr(1);
            if (part[0] == 'l') break;
            REQUIRE(part[0] == 'm');
        }
        CHECK(xml.ends_with("</target>\n"));
        size_t registers = 0;
        for (size_t at = 0; (at = xml.find("<reg ", at)) != std::string::npos; ++at) ++registers;
        std::string digits = s.ask("g");
        size_t expected = 0;
        const GdbLayout layout(architecture);
        CHECK(layout.registers().size() == registers);
        for (const GdbRegister& which : layout.registers()) expected += which.bits / 4;
        CHECK(digits.size() == expected);
        CHECK(s.ask("G" + digits) == "OK");
        CHECK(s.ask("g") == digits);
        for (size_t i = 0; i < registers; ++i) {
            const std::string one = s.ask(format("p%zx", i));
            CHECK(digits.starts_with(one));
            digits.erase(0, one.size());
        }
        CHECK(s.ask("qXfer:memory-map:read::0,1000").starts_with("l<?xml"));
        CHECK(s.ask("qXfer:threads:read::0,1000").find("CPU 0") != std::string::npos);
        CHECK(s.ask("qfThreadInfo") == "m1");
        CHECK(s.ask("Hg0") == "OK");
        CHECK(s.ask("H") == "E01");
        CHECK(s.ask("T7") == "E01");
    }
}

TEST_CASE("gdb server: acknowledgements end when they are asked to; what was lost is sent again") {
    Session s;
    s.say("qC");
    CHECK(s.sent.starts_with("+$QC1#"));
    s.sent.clear();
    s.server.receive(bytes_of("-"));
    CHECK(s.sent.starts_with("$QC1#"));
    s.sent.clear();
    s.server.receive(bytes_of("$qC#00"));
    CHECK(s.sent == "-");
    s.replies();
    s.ask("QStartNoAckMode");
    s.sent.clear();
    s.say("qC");
    CHECK(s.sent.starts_with("$QC1#"));
}

TEST_CASE("gdb server: registers and memory, by linear addresses in real mode too") {
    Session s;
    s.ask("?");
    CHECK(s.ask("p10") == "f0ffffff00000000");  // pc: FFFF0000h + FFF0h
    s.run("vCont;s");
    CHECK(s.ask("p10") == "00000f0000000000");
    CHECK(s.ask("P0=8877665544332211") == "OK");
    CHECK(s.ask("p0") == "8877665544332211");
    CHECK(s.ask("P10=03000f0000000000") == "OK");
    CHECK(s.f.machine->cpu().state.ip == 3);
    CHECK(s.ask("P10=0000000001000000") == "E01");
    CHECK(s.ask("P10=00") == "E01");
    CHECK(s.ask("pfff") == "E16");
    CHECK(s.ask("mf0000,3") == "b9c800");
    CHECK(s.ask("xf0000,3") == "b\xB9\xC8" + std::string(1, '\0'));
    CHECK(s.ask("mffffe,4") == "0000");
    CHECK(s.ask("m80000000,4") == "E0e");
    CHECK(s.ask("M1000,2:abcd") == "OK");
    CHECK(s.ask("m1000,2") == "abcd");
    CHECK(s.ask("X1000,3:" + escape("}#$")) == "OK");
    CHECK(s.ask("m1000,3") == "7d2324");
    CHECK(s.ask("M80000000,1:00") == "E0e");
    CHECK(s.ask("M1000,2:ab") == "E16");
    CHECK(s.monitor("physical on") == "on\n");
    CHECK(s.ask("mffff0000,1") == "b9");
    CHECK(s.ask("m0,ffffffffffffffff").size() > 1000);
}

TEST_CASE("gdb server: breakpoints with conditions, watchpoints, steps and what they report") {
    Session s;
    s.ask("?");
    CHECK(s.ask("Z0,f0007,1") == "OK");
    CHECK(s.run("vCont;c").starts_with("T05swbreak:;10:07000f0000000000;"));
    CHECK(s.ask("z0,f0007,1") == "OK");
    CHECK(s.ask("z0,f0007,1") == "OK");
    // reg 0 (rax), const8 10, equal, end
    CHECK(s.ask("Z1,f0007,1;X7,26000022"
                "0a1327") == "OK");
    CHECK(s.run("c").starts_with("T05hwbreak:;"));
    CHECK(s.f.ax() == 10);
    CHECK(s.ask("z1,f0007,1") == "OK");
    CHECK(s.ask("Z2,2000,2") == "OK");
    CHECK(s.run("vCont;c:1;c").starts_with("T05watch:2000;"));
    CHECK(s.ask("z2,2000,2") == "OK");
    CHECK(s.ask("Z4,2001,1") == "OK");
    CHECK(s.run("C05").starts_with("T05awatch:2001;"));
    CHECK(s.ask("z4,2001,1") == "OK");
    CHECK(s.ask("Z2,2000,0") == "E01");
    CHECK(s.ask("Z7,0,0").empty());
    CHECK(s.ask("Z0,") == "E16");
    const u64 before = s.f.retired();
    CHECK(s.run("s").starts_with("T0510:"));
    CHECK(s.f.retired() == before + 1);
    CHECK(s.run("vCont;rf0003,f0009").starts_with("T0510:09000f00"));
    CHECK(s.ask("vCont;r1") == "E16");
    CHECK(s.ask("vCont;q") == "E16");
    CHECK(s.f.debugger->points().empty());
}

TEST_CASE("gdb server: an interrupt stops, a detach and a kill let go, a monitor command ends when the machine stops") {
    Session s;
    s.ask("?");
    CHECK(s.say("vCont;c").empty());
    s.f.machine->run_until(s.f.retired() + 1000);
    s.server.receive(bytes_of("\x03"));
    CHECK(s.replies()[0].starts_with("T02"));
    s.server.receive(bytes_of("\x03"));
    CHECK(s.replies().empty());
    CHECK(s.ask("Z0,f0003,1") == "OK");
    CHECK(s.ask("D") == "OK");
    CHECK(s.f.debugger->running());
    CHECK(s.f.debugger->points().empty());
    s.ask("?");
    CHECK_FALSE(s.f.debugger->running());
    CHECK(s.say("k").empty());
    CHECK(s.f.debugger->running());
    CHECK(s.ask("vKill;1") == "OK");
    s.ask("?");
    CHECK(s.monitor("nonsense").find("no such command") != std::string::npos);
    CHECK(s.monitor("until device") == "(no end)");
    s.f.run(100'000);
    const auto found = s.replies();
    CHECK(found.back() == "OK");  // the program has no access left: somebody has paused it
    // A connection that goes takes its points along and leaves the machine as it is.
    CHECK(s.ask("Z0,f0003,1") == "OK");
    s.server.reset();
    CHECK(s.f.debugger->points().empty());
    CHECK_FALSE(s.f.debugger->running());
}

TEST_CASE("monitor: every command answers, and takes what it should not") {
    Session s;
    s.ask("?");
    s.run("vCont;s");
    const std::string help = s.monitor("help");
    for (const char* command : {"info registers all",
                                "info segments",
                                "info tlb",
                                "info points",
                                "info status",
                                "info memory",
                                "info devices",
                                "info device chip",
                                "info state none",
                                "walk 0x1000",
                                "disas",
                                "u f000:0 3 32",
                                "x 0x1000 32",
                                "xp 0x80000000",
                                "print rax+1",
                                "set rax 5",
                                "break 0x1000 if rax == 1",
                                "watch 0x2000 8",
                                "access chip DATA writes",
                                "access port 0x10 0x11",
                                "interrupt 0x20",
                                "exception pf",
                                "int",
                                "mode",
                                "cr3",
                                "shutdown",
                                "disable 1",
                                "enable 1",
                                "ignore 1 5",
                                "delete 1",
                                "delete all",
                                "read chip DATA",
                                "in 0x10",
                                "out 0x10 1",
                                "step-interrupts taken",
                                "step-faults stop",
                                "speed",
                                "layout i386",
                                "physical off"}) {
        const std::string text = s.monitor(command);
        CHECK_MESSAGE(text.find("usage") == std::string::npos, command);
        CHECK_MESSAGE(text.find("no such command") == std::string::npos, command);
        CHECK_FALSE(text.ends_with("(no end)"));
    }
    CHECK(s.monitor("set rax 5").empty());
    CHECK(s.f.ax() == 5);
    CHECK(s.monitor("in 0x10") == "0x5A\n");
    CHECK(s.f.debugger->points().empty());
    for (const char* bad :
         {"x", "x zz", "break", "watch 1 zz", "access", "access nothing", "info", "info nothing", "speed x", "step x",
          "until x", "ignore 1", "delete x", "in", "out 1", "exception 300", "set nothing 1", "u 0 100000"})
        CHECK_FALSE(s.monitor(bad).empty());
    CHECK(s.f.debugger->points().empty());
}

TEST_CASE("agent expressions: arithmetic, memory, jumps, and whatever else one is given") {
    AgentTarget target;
    target.read_register = [](u64 number) -> std::optional<u64> {
        if (number > 1) return {};
        return number + 7;
    };
    target.read_memory = [](u64 linear, std::span<u8> into) {
        for (u8& byte : into) byte = static_cast<u8>(linear++);
        return linear < 0x100;
    };
    const auto value = [&](std::vector<u8> code) { return evaluate(code, target); };
    CHECK(value({0x22, 0x05, 0x22, 0x03, 0x03, 0x27}) == 2);
    CHECK(value({0x26, 0x00, 0x01, 0x27}) == 8);
    CHECK(value({0x22, 0x10, 0x18, 0x27}) == 0x1110);
    CHECK(value({0x22, 0xFF, 0x16, 0x08, 0x27}) == ~u64{0});
    CHECK(value({0x22, 0xFF, 0x2A, 0x04, 0x27}) == 0xF);
    CHECK(value({0x22, 0x01, 0x20, 0x00, 0x08, 0x22, 0x00, 0x27, 0x22, 0x09, 0x27}) == 9);
    CHECK(value({0x22, 0x01, 0x22, 0x02, 0x22, 0x03, 0x33, 0x29, 0x27}) == 1);
    for (const std::vector<u8>& bad : std::vector<std::vector<u8>>{{},
                                                                   {0x27},
                                                                   {0x22},
                                                                   {0x02, 0x27},
                                                                   {0x22, 0x01, 0x22, 0x00, 0x05, 0x27},
                                                                   {0x21, 0x00, 0x00},
                                                                   {0x21, 0xFF, 0xFF},
                                                                   {0x26, 0x00, 0x05, 0x27},
                                                                   {0x23, 0x01, 0x00, 0x17, 0x27},
                                                                   {0x28, 0x27},
                                                                   {0xFF, 0x27}})
        CHECK_FALSE(value(bad).has_value());
    // -2^63 / -1
    CHECK(value({0x22, 0x01, 0x22, 0x3F, 0x09, 0x22, 0x00, 0x12, 0x05, 0x27}) == u64{1} << 63);
}
