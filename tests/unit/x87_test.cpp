// x87 against the host's: every instruction on random states.
#include <doctest/doctest.h>

#include <cstdio>
#include <map>
#include <random>
#include <string>

#include "core/decode/decoder.h"
#include "core/interp/x87.h"
#include "tests/unit/host_instruction.h"

namespace lodge {

namespace {

class RandomX87 {
  public:
    explicit RandomX87(u64 seed) : random_(seed) {}

    u64 number() { return random_(); }
    unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
    bool one_in(unsigned n) { return below(n) == 0; }

    // A register's value: of every class that FXAM knows, and of those it calls unsupported.
    void value(u8* to) {
        constexpr u64 kInteger = u64{1} << 63;
        constexpr u16 kExponents[] = {0,
                                      1,
                                      2,
                                      0x3C00,
                                      0x3F80,
                                      0x3FFE,
                                      0x3FFF,
                                      0x4000,
                                      0x400E,
                                      0x401E,
                                      0x403E,
                                      0x7FFE,
                                      0x7FFF,
                                      0x3FFF - 16382 + 64,
                                      0x3FFF + 127,
                                      0x3FFF - 127,
                                      0x3FFF - 150,
                                      0x3FFF + 1023,
                                      0x3FFF - 1023,
                                      0x3FFF - 1074};
        constexpr u64 kSignificands[] = {0,
                                         kInteger,
                                         kInteger | 1,
                                         ~u64{0},
                                         0xC000000000000000,
                                         1,
                                         kInteger - 1,
                                         0x4000000000000000,
                                         0xFFFFFF0000000000,
                                         0xFFFFFF8000000000,
                                         0xFFFFFFFFFFFFF800,
                                         0xFFFFFFFFFFFFFC00};
        u16 exponent = one_in(2) ? kExponents[below(std::size(kExponents))] : static_cast<u16>(number() & 0x7FFF);
        if (one_in(3)) exponent = static_cast<u16>(0x3FF0 + below(0x50));
        u64 significand = one_in(2) ? kSignificands[below(std::size(kSignificands))] : number();
        if (!one_in(4) && exponent) significand |= kInteger;
        if (one_in(4) && exponent == 0) significand &= ~kInteger;
        x87::set_value(to, static_cast<u16>(exponent | (one_in(2) ? 0x8000 : 0)), significand);
    }

    // As the x87 can be between two instructions: no unmasked exception is pending.
    void state(MachineState& state) {
        FxImage& fx = state.fx;
        constexpr u16 kUsual[] = {0x37F, 0x27F, 0x07F, 0x17F};
        fx.control = static_cast<u16>(one_in(2) ? 0x37F : kUsual[below(4)] | (number() & 0xC00));
        if (one_in(3)) fx.control = static_cast<u16>((number() & 0x1F3F) | 0x40);
        fx.status = static_cast<u16>(number() & 0x7F7F);
        fx.status &= static_cast<u16>(~(~fx.control & x87::kExceptions));
        if (one_in(2)) fx.status &= static_cast<u16>(~x87::kExceptions);
        fx.valid = static_cast<u8>(one_in(2) ? 0x7F >> below(3) : number());
        if (one_in(2)) {  // as programs use the stack: from the top
            const unsigned used = below(9), top = fx.status >> 11 & 7;
            fx.valid = 0;
            for (unsigned i = 0; i < used; ++i) fx.valid = static_cast<u8>(fx.valid | 1u << ((top + i) & 7));
        }
        for (auto& reg : fx.st) value(reg);
        for (auto& gpr : state.gpr) gpr = static_cast<u32>(number());
        state.flags = number() & kArithmeticFlags;
        for (u8& byte : state.memory) byte = static_cast<u8>(number());
        memory_operand(state.memory + MachineState::kOperand);
    }

  private:
    // Something that may be interesting as a real of 4, 8 or 10 bytes, as an integer or as decimal digits.
    void memory_operand(u8* to) {
        constexpr u32 kSingles[] = {0,          0x80000000, 1,          0x007FFFFF, 0x00800000, 0x3F800000, 0x7F7FFFFF,
                                    0x7F800000, 0xFF800000, 0x7F800001, 0x7FBFFFFF, 0x7FC00000, 0xFFC00001, 0xBF800000};
        constexpr u64 kDoubles[] = {0,
                                    u64{1} << 63,
                                    1,
                                    0x000FFFFFFFFFFFFF,
                                    0x0010000000000000,
                                    0x3FF0000000000000,
                                    0x7FEFFFFFFFFFFFFF,
                                    0x7FF0000000000000,
                                    0xFFF0000000000000,
                                    0x7FF0000000000001,
                                    0x7FF8000000000000,
                                    0xFFF8000000000001,
                                    0xBFF0000000000000};
        switch (below(6)) {
            case 0:
                store(to, kSingles[below(std::size(kSingles))]);
                break;
            case 1:
                store(to, kDoubles[below(std::size(kDoubles))]);
                break;
            case 2:
                value(to);
                break;
            case 3:
                for (unsigned i = 0; i < 9; ++i) to[i] = static_cast<u8>(below(10) << 4 | below(10));
                to[9] = one_in(2) ? 0x80 : 0;
                break;
            case 4:
                store<float>(to, static_cast<float>(static_cast<i32>(number())) / 65536);
                break;
            default:
                break;
        }
    }

    std::mt19937_64 random_;
};

std::string text(const MachineState& s) {
    char line[256];
    std::string result;
    std::snprintf(line, sizeof line, "cw %04X sw %04X valid %02X ax %llX flags %llX\n", s.fx.control, s.fx.status,
                  s.fx.valid, static_cast<unsigned long long>(s.gpr[0]), static_cast<unsigned long long>(s.flags));
    result += line;
    for (unsigned i = 0; i < 8; ++i) {
        std::snprintf(line, sizeof line, " st%u %04X %016llX\n", i, x87::sign_and_exponent(s.fx.st[i]),
                      static_cast<unsigned long long>(x87::significand(s.fx.st[i])));
        result += line;
    }
    result += " memory";
    for (unsigned i = 0; i < 128; ++i) {
        std::snprintf(line, sizeof line, " %02X", s.memory[MachineState::kOperand + i]);
        result += line;
    }
    return result;
}

bool same(const MachineState& a, const MachineState& b) {
    if (a.fx.control != b.fx.control || a.fx.status != b.fx.status || a.fx.valid != b.fx.valid) return false;
    for (unsigned i = 0; i < 8; ++i)
        if (std::memcmp(a.fx.st[i], b.fx.st[i], 10) != 0) return false;
    if (std::memcmp(a.gpr, b.gpr, sizeof a.gpr) != 0 || a.flags != b.flags) return false;
    return std::memcmp(a.memory, b.memory, sizeof a.memory) == 0;
}

// The pointers that FNSTENV and FNSAVE write are the host's own; families differ in when they do.
void hide_pointers(const Insn& insn, MachineState& state) {
    if (insn.opcode != Opcode::FNSTENV && insn.opcode != Opcode::FNSAVE) return;
    std::memset(state.memory + MachineState::kOperand + 12, 0, 16);
}

// Where families of processors differ, lodge follows the SDM.
bool is_fcomi(Opcode opcode) {
    return opcode == Opcode::FCOMI || opcode == Opcode::FCOMIP || opcode == Opcode::FUCOMI || opcode == Opcode::FUCOMIP;
}
void hide_differences(const Insn& insn, MachineState& state) {
    hide_pointers(insn, state);
    if (is_fcomi(insn.opcode)) {  // AMD's leave C1, and set EFLAGS though the exception is not masked
        state.fx.status &= static_cast<u16>(~x87::kC1);
        if (state.fx.status & x87::kSummary) state.flags = 0;
    }
}

struct Finding {
    unsigned count = 0;
    std::string first;
};

}  // namespace

TEST_CASE("x87: every instruction, random states") {
    HostInstruction host;
    GuestInstruction guest;
    RandomX87 random(1);
    std::map<std::string, Finding> findings;
    unsigned run = 0;
    for (unsigned escape = 0xD8; escape <= 0xDF; ++escape) {
        for (unsigned modrm = 0; modrm < 0x100; ++modrm) {
            if (modrm < 0xC0 && (modrm & 0xC7) != 6) continue;  // memory only as [ESI]
            const u8 bytes[] = {static_cast<u8>(escape), static_cast<u8>(modrm)};
            Insn insn;
            if (decode(bytes, CodeSize::bits32, insn) != DecodeStatus::ok) continue;
            if (escape == 0xD9 && insn.opcode == Opcode::FSTP && modrm >= 0xC0) continue;  // ignores stack underflow
            const unsigned times = modrm < 0xC0 ? 1000 : 300;
            for (unsigned i = 0; i < times; ++i) {
                MachineState before;
                random.state(before);
                MachineState on_host = before, on_guest = before;
                const Outcome outcome = host.run(bytes, on_host);
                char name[64];
                std::snprintf(name, sizeof name, "%02X %02X %s", escape, modrm, name_of(insn.opcode).data());
                Finding& finding = findings[name];
                const bool known = guest.run(bytes, on_guest);
                hide_differences(insn, on_host);
                hide_differences(insn, on_guest);
                ++run;
                if (outcome == Outcome::completed && known && !guest.fault() && same(on_host, on_guest)) continue;
                if (finding.count++ == 0)
                    finding.first = "before " + text(before) + "\nhost " + text(on_host) + "\nguest " + text(on_guest);
            }
        }
    }
    for (const auto& [name, finding] : findings) {
        if (finding.count == 0) continue;
        FAIL_CHECK(name << ": " << finding.count << " times\n" << finding.first);
    }
    CHECK(run > 100'000);
}

}  // namespace lodge
