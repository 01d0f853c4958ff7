// Two machines that run the same random FPU code, one on the interpreter, one on the translator.
#pragma once

#include <doctest/doctest.h>

#include <immintrin.h>

#include "core/decode/decoder.h"
#include "core/decode/disasm.h"
#include "core/interp/bind.h"
#include "jit/fpu_transfer.h"
#include "jit/translator.h"
#include "tests/unit/long_mode_fixture.h"
#include "tests/unit/random_instructions.h"

namespace lodge {

class FpuTwins {
  public:
    using Filter = bool (*)(const Insn&);

    FpuTwins(u64 seed, CodeSize size, Filter filter)
        : size_(size), filter_(filter), random_(seed), instructions_(seed) {
        translator_ = std::move(*jit::Translator::create(*b_.cpu, {.code_bytes = u64{8} << 20, .hot = 1}));
        for (Guest64* guest : {&a_, &b_}) {
            guest->put(Guest64::entry_of(kAbsent), 0);
            guest->put(Guest64::entry_of(kReadOnly), kReadOnly | 1);
            guest->cpu->flush_tlb(true);
            if (size != CodeSize::bits64) guest->compatibility();
            if (size == CodeSize::bits16) enter_code16(*guest);
        }
        start_ = a_.state();
    }

    // One program from one state. False: the engines differ, and it has been told how.
    bool run_case() {
        // Now and then it reaches into the next page.
        program_ = kCode + (random_() % 8 ? random_() % 0x100 : 0xF80 + random_() % 0x80);
        const std::vector<u8> code = draw_program();
        CpuState state = draw_state();
        for (Guest64* guest : {&a_, &b_}) {
            const EngineState engine = guest->cpu->state.engine;
            guest->cpu->state = state;
            guest->cpu->state.engine = engine;
            guest->memory->write(program_, code);
            guest->cpu->state.halted = false;
            guest->cpu->clear_attention(kAttentionHalted);
            guest->cpu->mode_changed();
        }
        if (++cases_ % 16 == 1) draw_data();
        const u64 budget = 20 + random_() % 200;
        a_.interpreter->run(budget);
        translator_->run(budget);
        return same(code, state);
    }
    const jit::Translator::Counters& counters() const { return translator_->counters(); }

  private:
    static constexpr u64 kCode = Guest64::kCode, kData = 0x30000, kDataBytes = 0x5000;
    static constexpr u64 kAbsent = 0x32000, kReadOnly = 0x33000;

    // Segments of 64 KiB: code at kCode, data at kData and a little less than there is.
    static void enter_code16(Guest64& guest) {
        constexpr u16 kCode16 = Guest64::kFree, kData16 = Guest64::kFree + 8;
        guest.descriptor(kCode16, 0x00009A000000FFFF | kCode << 16);
        guest.descriptor(kData16, 0x0000920000004FF0 | kData << 16);
        guest.cpu->far_jump(kCode16, 0, 4, 0);
        for (const Segment segment : {Segment::ds, Segment::es, Segment::ss, Segment::fs, Segment::gs})
            guest.cpu->load_segment(segment, kData16);
    }
    bool code16() const { return size_ == CodeSize::bits16; }

    u64 draw(std::initializer_list<u64> from) { return from.begin()[random_() % from.size()]; }

    static bool is_pointer(u8 reg) { return reg >= kRbx && reg <= kRdi; }

    bool accept(const Insn& insn) const {
        if (!filter_(insn) || !exists(insn, a_.cpu->model())) return false;
        if (insn.prefixes & kPrefixLock) return false;
        for (unsigned i = 0; i < 4; ++i)
            if (insn.operands[i].kind == OperandKind::gpr && operand_access(insn, i) != Access::read &&
                is_pointer(insn.operands[i].reg))
                return false;
        if (!insn.has_memory()) return true;
        return is_pointer(insn.base) && insn.base != kRsp && insn.index == kNoRegister &&
               (insn.address_size >= 4 || code16()) && insn.displacement >= -0x80 && insn.displacement < 0x80;
    }

    std::vector<u8> draw_program() {
        std::vector<u8> code = {0x90};
        const unsigned count = 1 + random_() % 12;
        for (unsigned drawn = 0; drawn < count;) {
            const InstructionBytes bytes = instructions_.next(size_);
            Insn insn;
            if (decode(bytes, size_, insn) != DecodeStatus::ok || !accept(insn)) continue;
            ++drawn;
            code.insert(code.end(), bytes.begin(), bytes.begin() + insn.length);
            draw_filler(code);
        }
        if (random_() & 1) {  // again, while CX counts down
            code.insert(code.end(), {0xFF, 0xC9});
            if (code16()) code.push_back(0x66);
            const auto back = -static_cast<i32>(code.size() + 6);
            code.insert(code.end(), {0x0F, 0x85});
            for (unsigned i = 0; i < 4; ++i) code.push_back(static_cast<u8>(back >> (8 * i)));
        }
        code.push_back(0xF4);
        return code;
    }

    // Integer instructions between the others: flags, sides, calls of the interpreter, stores and loads.
    void draw_filler(std::vector<u8>& code) {
        switch (random_() % 18) {
            case 0:
                return void(code.insert(code.end(), {0x01, 0xD0}));  // ADD EAX, EDX
            case 1:
                return void(code.insert(code.end(), {0x72, 0x00}));  // JB to the next
            case 2:
                return void(code.insert(code.end(), {0x7A, 0x02, 0x01, 0xD2}));  // JP over ADD EDX, EDX
            case 3:
                return void(code.insert(code.end(), {0x0F, 0xA2}));  // CPUID
            case 4:
                return void(code.insert(code.end(), {0x8B, u8(code16() ? 0x04 : 0x06)}));  // MOV EAX, [rSI]
            case 5:
                return void(code.insert(code.end(), {0x89, u8(code16() ? 0x05 : 0x07)}));  // MOV [rDI], EAX
            case 6:
                return void(code.insert(code.end(), {0x0F, 0x92, 0xC2}));  // SETB DL
            case 7:
                return void(code.insert(code.end(), {0x83, 0xC6, 0x10}));  // ADD ESI, 16
            case 8:
                return void(code.insert(code.end(), {0x87, 0xFB}));  // XCHG EDI, EBX
            default:
                return;
        }
    }

    u64 draw_pointer() {
        const u64 page = kData + (random_() % 5) * 0x1000;
        u64 at = 0;
        switch (random_() % 8) {
            case 0:
                at = 0xFF0 + random_() % 16;  // its operand may reach into the next page
                break;
            case 1:
                at = random_() % 0x1000;
                break;
            default:
                at = 0x100 + 16 * (random_() % 0xD0);
                break;
        }
        return (random_() % 3 ? kData : page) + at - (code16() ? kData : 0);
    }

    u64 draw_significand() {
        return draw({0, 1, u64{1} << 63, u64{3} << 62, ~u64{0}, random_(), random_() | u64{1} << 63, random_() >> 40});
    }
    u64 draw_float() {
        switch (random_() % 4) {
            case 0:
                return draw({0, u64{1} << 63, 0x7FF0000000000000, 0x7FF8000000000000, 0x7FF0000000000001, 1,
                             0x3FF0000000000000, 0x7FEFFFFFFFFFFFFF, 0x0010000000000000});
            case 1:
                return draw({0, 0x3F800000, 0x7F800000, 0x7FC00000, 0x7F800001, 0x80000001, 0x00800000}) |
                       draw({0, 0x3F800000, 0x7F800000, 0x7FC00000, 0x7F800001, 0x80000001, 0x00800000}) << 32;
            case 2:
                return (0x3F0 + random_() % 32) << 52 | random_() >> 12;
            default:
                return random_();
        }
    }

    CpuState draw_state() {
        CpuState state = start_;
        for (unsigned i = 0; i < 16; ++i) {
            const u64 value = random_() % 4 ? random_() : random_() % 32;
            const bool wide = size_ == CodeSize::bits64;
            if (i != kRsp && (wide || i < 8)) state.gpr[i] = wide ? value : static_cast<u32>(value);
        }
        for (u8 reg : {u8{kRbx}, u8{kRbp}, u8{kRsi}, u8{kRdi}}) state.gpr[reg] = draw_pointer();
        state.gpr[kRcx] = 1 + random_() % 8;
        state.ip = program_ - (code16() ? kCode : 0);
        state.status.set_eflags(static_cast<u32>(random_()));
        FpuState& fpu = state.fpu;
        for (auto& reg : fpu.st) {
            store<u64>(reg, random_() % 3 ? draw_significand() : draw_float());
            store<u16>(reg + 8, static_cast<u16>(draw({0, 1, 0x3FFF, 0x4000 + random_() % 64, 0x7FFE, 0x7FFF, 0xFFFF,
                                                       0xBFFF, random_()})));
        }
        for (auto& reg : fpu.xmm) {
            store<u64>(reg, draw_float());
            store<u64>(reg + 8, draw_float());
        }
        const bool masked = random_() % 16 != 0;
        fpu.control = static_cast<u16>((random_() & 0x0F00) | 0x40 | (masked ? 0x3F : random_() & 0x3F));
        fpu.status = static_cast<u16>((random_() & 0x7F00) | (random_() & fpu.control & 0x3F));
        fpu.valid = static_cast<u8>(draw({0, 0xFF, random_(), random_()}));
        fpu.mxcsr = static_cast<u32>((random_() & (random_() % 2 ? 0xE07F : 0x3F)) |
                                     (random_() % 16 ? 0x1F80 : random_() & 0x1F80));
        fpu.instruction = random_();
        fpu.data = random_();
        fpu.instruction_selector = static_cast<u16>(random_());
        fpu.data_selector = static_cast<u16>(random_());
        return state;
    }

    void draw_data() {
        std::vector<u8> data(kDataBytes);
        for (size_t at = 0; at < data.size(); at += 8) {
            u64 value = draw_float();
            // Good to load as MXCSR and as control word.
            if (random_() % 3 == 0) value = 0x1FBF | (random_() & 0xE040);
            store<u64>(&data[at], value);
        }
        a_.memory->write(kData, data);
        b_.memory->write(kData, data);
    }

    bool same(const std::vector<u8>& code, const CpuState& before) {
        const CpuState &x = a_.state(), &y = b_.state();
        std::string wrong;
        const auto compare = [&](const char* name, u64 want, u64 have) {
            if (want == have) return;
            char text[100];
            std::snprintf(text, sizeof text, "%s: interpreter %lx, translator %lx\n", name, want, have);
            wrong += text;
        };
        static constexpr const char* kNames[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                   "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
        for (unsigned i = 0; i < 16; ++i) compare(kNames[i], x.gpr[i], y.gpr[i]);
        for (unsigned i = 0; i < 8; ++i) {
            compare("R significand", load<u64>(x.fpu.st[i]), load<u64>(y.fpu.st[i]));
            compare("R exponent", load<u64>(x.fpu.st[i] + 8), load<u64>(y.fpu.st[i] + 8));
        }
        for (unsigned i = 0; i < 16; ++i) {
            compare("xmm low", load<u64>(x.fpu.xmm[i]), load<u64>(y.fpu.xmm[i]));
            compare("xmm high", load<u64>(x.fpu.xmm[i] + 8), load<u64>(y.fpu.xmm[i] + 8));
        }
        compare("ip", x.ip, y.ip);
        compare("eflags", x.status.eflags(), y.status.eflags());
        compare("cr2", x.cr2, y.cr2);
        compare("retired", x.retired, y.retired);
        compare("halted", x.halted, y.halted);
        compare("control", x.fpu.control, y.fpu.control);
        compare("status", x.fpu.status, y.fpu.status);
        compare("valid", x.fpu.valid, y.fpu.valid);
        compare("opcode", x.fpu.opcode, y.fpu.opcode);
        compare("instruction", x.fpu.instruction, y.fpu.instruction);
        compare("instruction selector", x.fpu.instruction_selector, y.fpu.instruction_selector);
        compare("data", x.fpu.data, y.fpu.data);
        compare("data selector", x.fpu.data_selector, y.fpu.data_selector);
        compare("mxcsr", x.fpu.mxcsr, y.fpu.mxcsr);
        compare_host(compare);
        const auto p = a_.memory->backing(), q = b_.memory->backing();
        const u64 first = kData - 0x10000;
        if (std::memcmp(&p[first], &q[first], kDataBytes + 0x10000) != 0)
            for (u64 at = first; at < kData + kDataBytes; ++at)
                if (p[at] != q[at]) compare(("memory at " + std::to_string(at)).c_str(), p[at], q[at]);
        if (wrong.empty()) return true;
        MESSAGE("case " << cases_ << ":\n" << listing(code) << shown(before) << wrong);
        return false;
    }

    // What C++ code finds: default MXCSR and control word, an empty x87.
    template <class Compare>
    static void compare_host(const Compare& compare) {
        struct alignas(16) {
            u16 control, status;
            u8 valid, rest[507];
        } area;
        asm volatile("fxsave %0" : "=m"(area));
        compare("the host's control word", 0x37F, area.control);
        compare("the host's x87 registers in use", 0, area.valid);
        compare("the host's MXCSR", 0x1F80, _mm_getcsr() & 0xFFC0);
    }

    static std::string shown(const CpuState& s) {
        char text[200];
        std::snprintf(text, sizeof text, "control %x status %x valid %x mxcsr %x rbx %lx rbp %lx rsi %lx rdi %lx\n",
                      s.fpu.control, s.fpu.status, s.fpu.valid, s.fpu.mxcsr, s.gpr[kRbx], s.gpr[kRbp], s.gpr[kRsi],
                      s.gpr[kRdi]);
        return text;
    }

    std::string listing(const std::vector<u8>& code) const {
        std::string text;
        for (size_t at = 0; at < code.size();) {
            Insn insn;
            if (decode(std::span(code).subspan(at), size_, insn) != DecodeStatus::ok) break;
            char address[20];
            std::snprintf(address, sizeof address, "%lx: ", program_ + at);
            text += address + disassemble(insn, program_ + at) + '\n';
            at += insn.length;
        }
        return text;
    }

    Guest64 a_, b_;
    std::unique_ptr<jit::Translator> translator_;
    CodeSize size_;
    Filter filter_;
    std::mt19937_64 random_;
    RandomInstructions instructions_;
    CpuState start_;
    u64 program_ = kCode;
    u64 cases_ = 0;
};

}  // namespace lodge
