#include "tests/insn/random.h"

#include <cstdio>
#include <string>
#include <string_view>

#include "core/decode/decoder.h"
#include "tests/insn/engine.h"
#include "tests/insn/test_file.h"
#include "tests/insn/test_memory.h"
#include "tests/random_values.h"

namespace lodge {
namespace {

// Opcodes in hexadecimal; what follows them is random. Not here: branches, far transfers, segment registers, ports and
// system instructions.
constexpr std::string_view kOpcodes[] = {
    "00", "01", "02", "03", "04", "05", "08", "09", "0A", "0B", "0C", "0D", "10", "11", "12", "13", "14", "15", "18",
    "19", "1A", "1B", "1C", "1D", "20", "21", "22", "23", "24", "25", "27", "28", "29", "2A", "2B", "2C", "2D", "2F",
    "30", "31", "32", "33", "34", "35", "37", "38", "39", "3A", "3B", "3C", "3D", "3F", "40", "43", "44", "48", "4B",
    "4C", "50", "54", "57", "58", "5C", "5F", "60", "61", "68", "69", "6A", "6B", "80", "81", "83", "84", "85", "86",
    "87", "88", "89", "8A", "8B", "8D", "8F", "91", "94", "97", "98", "99", "9E", "9F", "A4", "A5", "A6", "A7", "A8",
    "A9", "AA", "AB", "AC", "AD", "AE", "AF", "B0", "B4", "B8", "BC", "C0", "C1", "C6", "C7", "C8", "C9", "D0", "D1",
    "D2", "D3", "D4", "D5", "D6", "D7", "F5", "F6", "F7", "F6", "F7", "F8", "F9", "FC", "FD", "FE", "FF",
    // two bytes
    "0F40", "0F41", "0F42", "0F43", "0F44", "0F45", "0F46", "0F47", "0F48", "0F49", "0F4A", "0F4B", "0F4C", "0F4D",
    "0F4E", "0F4F", "0F90", "0F91", "0F92", "0F93", "0F94", "0F95", "0F96", "0F97", "0F98", "0F99", "0F9A", "0F9B",
    "0F9C", "0F9D", "0F9E", "0F9F", "0FA3", "0FA4", "0FA5", "0FAB", "0FAC", "0FAD", "0FAF", "0FB0", "0FB1", "0FB3",
    "0FB6", "0FB7", "0FBA", "0FBB", "0FBC", "0FBD", "0FBE", "0FBF", "0FC0", "0FC1", "0FC7", "0FC8", "0FCB",
    // later ones, with their mandatory prefixes
    "F30FB8", "F30FBC", "F30FBD", "F20F38F0", "F20F38F1", "0F38F0", "0F38F1", "660F38F6", "F30F38F6", "0FC3", "C4E200",
    "C4E278", "C4E2F8", "C4E37B", "C4E278", "63"};

// Flags that the SDM leaves undefined where alu.h does not take the host's own: decimal adjustment, which 64-bit code
// lacks, multiplication and division, and what the host may lack.
u32 ignored_flags(Opcode opcode) {
    switch (opcode) {
        case Opcode::AAA:
        case Opcode::AAS:
        case Opcode::AAM:
        case Opcode::AAD:
        case Opcode::DAA:
        case Opcode::DAS:
        case Opcode::MUL:
        case Opcode::IMUL:
        case Opcode::DIV:
        case Opcode::IDIV:
            return facts(opcode).flags_undefined;
        default:
            return facts(opcode).feature > CpuFeature::cmov ? facts(opcode).flags_undefined : 0;
    }
}

struct Case {
    InsnState state;
    bool code64 = false;
    std::vector<u8> bytes;
    Insn insn;
};

class Generator {
  public:
    explicit Generator(u64 seed) { random_.seed(seed); }
    Case next();
    void fill_data(InsnEngine& first, InsnEngine& second);

  private:
    bool make(Case& made);
    u64 value() { return random_integer(random_); }
    u64 data_address(unsigned room) { return kDataRegion.address + room + random_() % (kDataRegion.size - 2 * room); }
    void aim_memory(Case& made);
    void aim_strings(Case& made);
    bool is_excluded(const Insn& insn) const;

    Random random_;
};

bool host_has(CpuFeature feature) {
    switch (feature) {
        case CpuFeature::base486:
        case CpuFeature::cx8:
        case CpuFeature::cmov:
            return true;
        case CpuFeature::lm:
            return true;
        case CpuFeature::popcnt:
            return __builtin_cpu_supports("popcnt");
        case CpuFeature::lzcnt:
            return __builtin_cpu_supports("lzcnt");
        case CpuFeature::bmi1:
            return __builtin_cpu_supports("bmi");
        case CpuFeature::bmi2:
            return __builtin_cpu_supports("bmi2");
        case CpuFeature::adx:
            return __builtin_cpu_supports("adx");
        case CpuFeature::sse42:
            return __builtin_cpu_supports("sse4.2");
        case CpuFeature::cx16:
            return __builtin_cpu_supports("cmpxchg16b");
        case CpuFeature::movbe:
            return __builtin_cpu_supports("movbe");
        default:
            return false;
    }
}

bool is_integer(Opcode opcode) {
    return opcode <= Opcode::LEAVE || opcode == Opcode::MOVNTI;  // in the order of mnemonics.inc
}

// REX may have taken the place of an opcode, so that any instruction may have come out.
bool Generator::is_excluded(const Insn& insn) const {
    const bool is_string = insn.opcode >= Opcode::MOVS && insn.opcode <= Opcode::SCAS;
    const bool is_flag = insn.opcode >= Opcode::CLC && insn.opcode <= Opcode::STD;
    if (!is_integer(insn.opcode) && !is_string && !is_flag) return true;
    return facts(insn.opcode).ends_block || insn.opcode == Opcode::PUSHF || !host_has(facts(insn.opcode).feature) ||
           (insn.prefixes & kPrefixSegment);
}

// The memory operand's address comes to lie in the data region where a base register can be chosen for it.
void Generator::aim_memory(Case& made) {
    const Insn& insn = made.insn;
    auto& gpr = made.state.gpr;
    if (!insn.has_memory() || insn.base >= kNoRegister || insn.address_size == 2) return;
    if (insn.index == insn.base) return;
    const u64 target = data_address(0x40);
    u64 rest = static_cast<u64>(insn.displacement);
    if (insn.index != kNoRegister) rest += gpr[insn.index] << insn.scale;
    if (insn.base == 4) return;
    gpr[insn.base] = target - rest;
    if (insn.address_size == 4) gpr[insn.base] &= 0xFFFFFFFF;
    const bool is_bit_string = insn.opcode == Opcode::BT || insn.opcode == Opcode::BTS || insn.opcode == Opcode::BTR ||
                               insn.opcode == Opcode::BTC;
    if (!is_bit_string || insn.operands[1].kind != OperandKind::gpr || insn.operands[1].reg == insn.base ||
        insn.operands[1].reg == insn.index || insn.operands[1].reg == 4)
        return;
    gpr[insn.operands[1].reg] = random_() % 0x200 - 0x100;
}

void Generator::aim_strings(Case& made) {
    switch (made.insn.opcode) {
        case Opcode::MOVS:
        case Opcode::CMPS:
        case Opcode::STOS:
        case Opcode::LODS:
        case Opcode::SCAS:
            break;
        case Opcode::XLAT:
            made.state.gpr[3] = data_address(0x100);
            return;
        default:
            return;
    }
    if (made.insn.address_size == 2) return;
    made.state.gpr[1] = random_() % 8 ? random_() % 40 : random_() % 5000;
    made.state.gpr[6] = data_address(0x80);
    made.state.gpr[7] = random_() % 3 ? data_address(0x80) : made.state.gpr[6] + random_() % 32 - 16;
}

bool Generator::make(Case& made) {
    made = Case{};
    made.code64 = random_() % 3 == 0;
    auto& bytes = made.bytes;
    if (random_() % 3 == 0) bytes.push_back(0x66);
    if (random_() % 40 == 0) bytes.push_back(0x67);
    const u64 repeat = random_() % 8;
    if (repeat < 2) bytes.push_back(repeat ? 0xF2 : 0xF3);
    if (made.code64 && random_() % 2) bytes.push_back(static_cast<u8>(0x40 + random_() % 16));
    const std::string_view opcode = kOpcodes[random_() % std::size(kOpcodes)];
    for (size_t i = 0; i < opcode.size(); i += 2)
        bytes.push_back(static_cast<u8>(std::stoul(std::string(opcode.substr(i, 2)), nullptr, 16)));
    while (bytes.size() < kLongestInsn + 1) bytes.push_back(static_cast<u8>(value()));
    const CodeSize code_size = made.code64 ? CodeSize::bits64 : CodeSize::bits32;
    if (decode({bytes.data(), kLongestInsn}, code_size, made.insn) != DecodeStatus::ok) return false;
    if (is_excluded(made.insn)) return false;
    bytes.resize(made.insn.length);
    InsnState& state = made.state;
    for (u64& reg : state.gpr) reg = made.code64 ? value() : static_cast<u32>(value());
    state.gpr[4] = kStackRegion.address + 0x2000 + random_() % 0x100;
    if (random_() % 2) state.gpr[5] = kStackRegion.address + 0x2000 + random_() % 0x800;
    state.eflags = 0x202 | (static_cast<u32>(random_()) & (kArithmeticFlags | kFlagDirection));
    aim_memory(made);
    aim_strings(made);
    return true;
}

Case Generator::next() {
    Case made;
    while (!make(made)) {
    }
    return made;
}

void Generator::fill_data(InsnEngine& first, InsnEngine& second) {
    u8* to = first.memory(kDataRegion.address);
    for (u64 at = 0; at < kDataRegion.size; at += 8) store<u64>(to + at, value());
    std::memcpy(second.memory(kDataRegion.address), to, kDataRegion.size);
}

InsnOutcome run_case(InsnEngine& engine, const Case& made, u64 start) {
    u8* code = engine.memory(start);
    std::memcpy(code, made.bytes.data(), made.bytes.size());
    store<u16>(code + made.bytes.size(), 0x0B0F);  // UD2
    InsnState state = made.state;
    state.ip = start;
    return engine.run(state, start + made.bytes.size(), made.code64);
}

// Only what both can know.
std::string compare(const Case& made, const InsnOutcome& ours, const InsnOutcome& host) {
    std::string text;
    const auto note = [&](const char* what, u64 mine, u64 theirs) {
        if (mine == theirs) return;
        char line[100];
        std::snprintf(line, sizeof line, "    %s: interpreter %#llx, host %#llx\n", what,
                      static_cast<unsigned long long>(mine), static_cast<unsigned long long>(theirs));
        text += line;
    };
    const auto fault_of = [](const InsnOutcome& outcome) {
        return outcome.fault ? 0x100u + outcome.fault->vector : outcome.timed_out ? 1u : 0u;
    };
    note("fault (100h + vector)", fault_of(ours), fault_of(host));
    if (ours.fault && host.fault) note("error code", ours.fault->error, host.fault->error);
    static constexpr const char* kNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                             "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    for (unsigned i = 0; i < (made.code64 ? 16 : 8); ++i) note(kNames[i], ours.state.gpr[i], host.state.gpr[i]);
    note("ip", ours.state.ip, host.state.ip);
    u32 flags = (kArithmeticFlags | kFlagDirection) & ~ignored_flags(made.insn.opcode);
    // A faulting repetition keeps the flags (SDM vol. 2, "REP"); AMD's have those of the last comparison.
    const bool compares = made.insn.opcode == Opcode::SCAS || made.insn.opcode == Opcode::CMPS;
    if (compares && ours.fault) flags = 0;
    note("eflags", ours.state.eflags & flags, host.state.eflags & flags);
    return text;
}

std::string compare_memory(InsnEngine& ours, InsnEngine& host) {
    for (const TestRegion& region : {kDataRegion, kStackRegion}) {
        const u8* mine = ours.memory(region.address);
        const u8* theirs = host.memory(region.address);
        for (u64 i = 0; i < region.size; ++i) {
            if (mine[i] == theirs[i]) continue;
            char line[100];
            std::snprintf(line, sizeof line, "    memory %#llx: interpreter %#x, host %#x\n",
                          static_cast<unsigned long long>(region.address + i), mine[i], theirs[i]);
            return line;
        }
    }
    return {};
}

void print_case(const Case& made, const std::string& text) {
    std::printf("%.*s, %d-bit:", static_cast<int>(name_of(made.insn.opcode).size()), name_of(made.insn.opcode).data(),
                made.code64 ? 64 : 32);
    for (const u8 byte : made.bytes) std::printf(" %02X", byte);
    std::printf("\n    before:");
    for (const u64 reg : made.state.gpr) std::printf(" %llx", static_cast<unsigned long long>(reg));
    std::printf(" eflags %x\n%s", made.state.eflags, text.c_str());
}

}  // namespace

int run_random(unsigned long count, unsigned long seed) {
    const auto ours = make_interpreter_engine();
    const auto host = make_host_engine();
    if (!host) return 1;
    fill_memory(*ours, {});
    fill_memory(*host, {});
    Generator generator(seed);
    generator.fill_data(*ours, *host);
    unsigned long differing = 0, faulting = 0;
    for (unsigned long i = 0; i < count; ++i) {
        const Case made = generator.next();
        const InsnOutcome theirs = run_case(*host, made, kTestsStart);
        // The interpreter has no page faults in 64-bit code here: see load_state in interpreter_engine.cpp.
        const bool comparable = !made.code64 || !theirs.fault || theirs.fault->vector == 0;
        if (theirs.fault) ++faulting;
        std::string text;
        if (comparable) {
            const InsnOutcome mine = run_case(*ours, made, kTestsStart);
            text = compare(made, mine, theirs);
            if (!theirs.fault) text += compare_memory(*ours, *host);
        }
        if (!text.empty()) {
            print_case(made, text);
            ++differing;
        }
        if (theirs.fault || !text.empty() || i % 1000 == 999) {
            fill_memory(*ours, {});
            fill_memory(*host, {});
            generator.fill_data(*ours, *host);
        }
    }
    std::printf("%lu instructions, %lu of them faulting, %lu differ\n", count, faulting, differing);
    return differing == 0 ? 0 : 1;
}

}  // namespace lodge
