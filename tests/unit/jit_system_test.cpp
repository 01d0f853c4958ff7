// Flags, selectors, SWAPGS, SMAP, single string instructions and bit strings on the translator against the interpreter:
// random programs of a supervisor, with interrupts that wait for IF, at every place of a page and across its end.
#include <doctest/doctest.h>

#include <random>

#include "core/decode/decoder.h"
#include "core/decode/disasm.h"
#include "jit/translator.h"
#include "tests/unit/long_mode_fixture.h"

using namespace lodge;

namespace {

constexpr unsigned kCases = 20000;
constexpr u8 kVector = 0x40;

// Holds INTR high until the interrupt has been taken.
class OneInterrupt final : public InterruptController {
  public:
    void request(Cpu& cpu) {
        cpu_ = &cpu;
        cpu.set_interrupt(true);
    }
    std::optional<u8> acknowledge() override {
        cpu_->set_interrupt(false);
        return kVector;
    }

  private:
    Cpu* cpu_ = nullptr;
};

using Bytes = std::vector<u8>;

class SystemTwins {
  public:
    SystemTwins(u64 seed, CodeSize size) : size_(size), random_(seed) {
        translator_ = std::move(*jit::Translator::create(*b_.cpu, {.code_bytes = u64{8} << 20, .hot = 1}));
        for (unsigned i = 0; i < 2; ++i) {
            Guest64& guest = *guests_[i];
            guest.cpu->connect(controllers_[i], nullptr);
            for (u64 page = kData; page < kData + kDataBytes; page += kPageSize)
                guest.put(Guest64::entry_of(page), page | (page == kOpenPage ? 7 : 3));
            guest.put(Guest64::entry_of(kReadOnly), kReadOnly | 1);
            guest.put(Guest64::entry_of(kAbsent), 0);
            guest.cpu->set_cr4(guest.state().cr4 | kCr4Smap);
            if (size == CodeSize::bits32) {
                guest.compatibility();
                for (const Segment segment : {Segment::ds, Segment::es})
                    guest.cpu->load_segment(segment, Guest64::kData0);
            }
        }
        start_ = a_.state();
    }

    // One program from one state. False: the engines differ, and it has been told how.
    bool run_case() {
        const u64 program = kCode + (random_() % 2 ? random_() % 0x80 : 0xFD0 + random_() % 0x30);
        const Bytes code = draw_program();
        const CpuState state = draw_state(program);
        const bool interrupt = random_() % 3 == 0;
        const u64 budget = 1 + random_() % 60;
        for (unsigned i = 0; i < 2; ++i) {
            Guest64& guest = *guests_[i];
            const EngineState engine = guest.cpu->state.engine;
            const u64 retired = guest.cpu->state.retired;
            guest.cpu->state = state;
            guest.cpu->state.engine = engine;
            guest.cpu->state.retired = retired;
            guest.memory->write(program, code);
            guest.cpu->clear_attention(~kAttentionKick);
            guest.cpu->set_interrupt(false);
            guest.cpu->set_eflags(state.system_flags);
            guest.cpu->state.status = state.status;
            guest.cpu->mode_changed();
            if (interrupt) controllers_[i].request(*guest.cpu);
        }
        a_.interpreter->run(budget);
        translator_->run(budget);
        return same(code, program);
    }
    const jit::Translator::Counters& counters() const { return translator_->counters(); }

  private:
    static constexpr u64 kCode = Guest64::kCode, kData = 0x30000, kDataBytes = 0x5000, kStack = 0x36000;
    static constexpr u64 kOpenPage = 0x31000, kAbsent = 0x32000, kReadOnly = 0x33000;

    bool wide() const { return size_ == CodeSize::bits64; }
    u64 draw(std::initializer_list<u64> from) { return from.begin()[random_() % from.size()]; }

    Bytes draw_instruction() {
        const auto operand = [&] { return static_cast<u8>(random_() % 2 ? 0x06 : 0x07); };  // [rSI], [rDI]
        switch (random_() % 24) {
            case 0:
                return {0x9C};  // PUSHF
            case 1:
                return {0x66, 0x9C};
            case 2:
            case 3:
            case 4: {  // PUSH flags, POPF
                const u32 flags = static_cast<u32>((random_() & 0xED7) | (random_() % 8 ? 0 : random_() & 0x247700));
                return {0x68, u8(flags), u8(flags >> 8), u8(flags >> 16), u8(flags >> 24), 0x9D};
            }
            case 5:
                return {0x66, 0x9D};
            case 6:
                return {0xFA};  // CLI
            case 7:
            case 8:
                return {0xFB};  // STI
            case 9:
            case 10:
                return {0x0F, 0x01, 0xCB};  // STAC
            case 11:
                return {0x0F, 0x01, 0xCA};  // CLAC
            case 12:
                return wide() ? Bytes{0x0F, 0x01, 0xF8} : Bytes{0x06};  // SWAPGS, PUSH ES
            case 13:
                return {0x0F, u8(random_() % 2 ? 0xA0 : 0xA8)};  // PUSH FS, GS
            case 14:
                return {0x8C, u8(0xC0 | random_() % 6 << 3 | random_() % 8 % 4)};  // MOV r32, segment
            case 15:
                return {0x8C, u8(random_() % 6 << 3 | operand())};
            case 16:
            case 17:
            case 18: {  // single string instructions
                static constexpr u8 kStrings[] = {0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF};
                const u8 opcode = kStrings[random_() % std::size(kStrings)];
                if (random_() % 4 == 0) return {0x66, opcode};
                return wide() && random_() % 4 == 0 ? Bytes{0x48, opcode} : Bytes{opcode};
            }
            case 19: {  // BT, BTS, BTR, BTC with a register
                static constexpr u8 kTests[] = {0xA3, 0xAB, 0xB3, 0xBB};
                const u8 opcode = kTests[random_() % 4], modrm = static_cast<u8>(0x10 | operand());
                if (random_() % 4 == 0) return {0x66, 0x0F, opcode, modrm};
                return wide() && random_() % 2 ? Bytes{0x48, 0x0F, opcode, modrm} : Bytes{0x0F, opcode, modrm};
            }
            case 20:
                return wide() ? Bytes{0x48, 0x0F, 0xC7, u8(0x08 | operand())}  // CMPXCHG16B
                              : Bytes{0x0F, 0xC7, u8(0x08 | operand())};
            case 21:
                return {0xF3, 0x0F, u8(random_() % 2 ? 0xBC : 0xBD), u8(0xC2)};  // TZCNT, LZCNT: BSF, BSR
            case 22:
                return {u8(random_() % 8 ? 0xFC : 0xFD)};  // CLD, STD
            default:
                return {0x66, 0x0F, 0x1F, 0x84, 0x00, 0, 0, 0, 0};  // a long NOP
        }
    }

    Bytes draw_program() {
        Bytes code = {0x90};
        const unsigned count = 1 + random_() % 16;
        for (unsigned i = 0; i < count; ++i) {
            const Bytes bytes = draw_instruction();
            code.insert(code.end(), bytes.begin(), bytes.end());
            if (random_() % 4 == 0) code.insert(code.end(), {0x72, 0x00});        // JB to the next
            if (random_() % 4 == 0) code.insert(code.end(), {0x01, 0xD0});        // ADD EAX, EDX
            if (random_() % 6 == 0) code.insert(code.end(), {0x0F, 0x92, 0xC2});  // SETB DL
        }
        if (random_() % 2) {  // again, while ECX counts down
            code.insert(code.end(), {0xFF, 0xC9, 0x0F, 0x85});
            const auto back = -static_cast<i32>(code.size() + 4);
            for (unsigned i = 0; i < 4; ++i) code.push_back(static_cast<u8>(back >> (8 * i)));
        }
        code.push_back(0xF4);
        return code;
    }

    CpuState draw_state(u64 program) {
        CpuState state = start_;
        for (const u8 reg : {u8{kRax}, u8{kRdx}, u8{kRbx}})
            state.gpr[reg] = wide() ? random_() >> random_() % 60 : static_cast<u32>(random_()) >> random_() % 30;
        if (random_() % 2) state.gpr[kRdx] = random_() % 0x4000;  // a bit number that stays near
        state.gpr[kRcx] = 1 + random_() % 8;
        for (const u8 reg : {u8{kRsi}, u8{kRdi}})
            state.gpr[reg] = kData + random_() % 5 * 0x1000 + draw({0x800, 0xFFC, random_() % 0x1000});
        state.gpr[kRsp] = kStack - draw({0, 2, 4, 8, 0xFF8, random_() % 0x800});
        state.gpr[kRbp] = kData;
        state.ip = program;
        state.status.set_eflags(static_cast<u32>(random_()));
        state.system_flags = static_cast<u32>(draw({0, kFlagInterrupt, kFlagInterrupt | kFlagAlignmentCheck}));
        return state;
    }

    bool same(const Bytes& code, u64 program) {
        const CpuState &x = a_.state(), &y = b_.state();
        std::string wrong;
        const auto compare = [&](const char* name, u64 want, u64 have) {
            if (want == have) return;
            char text[100];
            std::snprintf(text, sizeof text, "%s: interpreter %lx, translator %lx\n", name, want, have);
            wrong += text;
        };
        for (unsigned i = 0; i < 16; ++i) compare("general register", x.gpr[i], y.gpr[i]);
        for (unsigned i = 0; i < 6; ++i) {
            compare("base", x.segments[i].base, y.segments[i].base);
            compare("selector", x.segments[i].selector, y.segments[i].selector);
        }
        u64 want = 0, have = 0;
        a_.cpu->read_msr(0xC0000102, want);
        b_.cpu->read_msr(0xC0000102, have);
        compare("kernel GS base", want, have);
        compare("ip", x.ip, y.ip);
        compare("eflags", a_.cpu->eflags(), b_.cpu->eflags());
        compare("cr2", x.cr2, y.cr2);
        compare("retired", x.retired, y.retired);
        compare("halted", x.halted, y.halted);
        compare("open pages", a_.cpu->user_pages_are_open(), b_.cpu->user_pages_are_open());
        compare("attention", a_.cpu->attention.load(), b_.cpu->attention.load());
        const auto p = a_.memory->backing(), q = b_.memory->backing();
        if (std::memcmp(&p[kData], &q[kData], kStack + kPageSize - kData) != 0)
            for (u64 at = kData; at < kStack + kPageSize; ++at) compare("memory", p[at], q[at]);
        if (wrong.empty()) return true;
        std::string text;
        for (size_t at = 0; at < code.size();) {
            Insn insn;
            if (decode(std::span(code).subspan(at), size_, insn) != DecodeStatus::ok) break;
            text += disassemble(insn, program + at) + '\n';
            at += insn.length;
        }
        MESSAGE("at " << program << ":\n" << text << wrong);
        return false;
    }

    Guest64 a_, b_;
    Guest64* guests_[2] = {&a_, &b_};
    OneInterrupt controllers_[2];
    std::unique_ptr<jit::Translator> translator_;
    CodeSize size_;
    std::mt19937_64 random_;
    CpuState start_;
};

}  // namespace

TEST_CASE("what kernels do beside arithmetic leaves the same state on both engines") {
    for (const CodeSize size : {CodeSize::bits32, CodeSize::bits64}) {
        SystemTwins twins(5, size);
        for (unsigned i = 0; i < kCases; ++i) REQUIRE(twins.run_case());
        CHECK(twins.counters().refused_blocks == 0);
        CHECK(twins.counters().translated_blocks > kCases / 2);
    }
}
