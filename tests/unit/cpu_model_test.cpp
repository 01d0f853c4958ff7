// CPUID tells the truth: what a model lacks is #UD, what CPUID names executes.
#include "core/cpu/cpu_model.h"

#include <doctest/doctest.h>

#include <set>

#include "core/decode/decoder.h"
#include "core/interp/bind.h"
#include "tests/unit/long_mode_fixture.h"
#include "tests/unit/random_instructions.h"

using namespace lodge;

namespace {

// What binding an instruction that does not exist gives.
InsnHandler undefined_handler() {
    Insn insn;
    insn.opcode = Opcode::VMRUN;
    return bind(insn, cpu_models().back());
}

bool is_undefined_by_nature(Opcode opcode) {
    // Outside system management mode, RSM is #UD (SDM vol. 2, "RSM").
    return opcode == Opcode::RSM;
}

}  // namespace

TEST_CASE("cpu_model: the models, weakest first") {
    std::string names;
    for (const CpuModel& model : cpu_models()) names += std::string(model.name) + " ";
    CHECK(names == "486 pentium3 pentium4 x86-64 x86-64-v2 ");
    CHECK(find_cpu_model("x86-64-v9") == nullptr);
}

TEST_CASE("cpu_model: an instruction that the model lacks binds to #UD, any other to something else") {
    const InsnHandler undefined = undefined_handler();
    for (const CpuModel& model : cpu_models()) {
        CAPTURE(std::string(model.name));
        RandomInstructions random(1);
        std::set<Opcode> lacking, present;
        for (unsigned i = 0; i < 300'000; ++i) {
            const CodeSize size = i % 2 ? CodeSize::bits64 : CodeSize::bits32;
            const InstructionBytes bytes = random.next(size);
            Insn insn;
            if (decode(bytes, size, insn) != DecodeStatus::ok) continue;
            const bool lacks = !has_feature(model, required_feature(insn));
            const bool renamed = insn.opcode == Opcode::TZCNT || insn.opcode == Opcode::LZCNT;
            if (lacks && !renamed) {
                if (lacking.insert(insn.opcode).second) {
                    CAPTURE(name_of(insn.opcode));
                    CHECK((bind(insn, model) == undefined));
                }
            } else if (bind(insn, model) != undefined) {
                present.insert(insn.opcode);
            }
        }
        // Every mnemonic was met, and what the model has does something.
        for (size_t i = 1; i < kOpcodeCount; ++i) {
            const auto opcode = static_cast<Opcode>(i);
            if (!has_feature(model, facts(opcode).feature) || is_undefined_by_nature(opcode)) continue;
            if (model.name == "486" && opcode == Opcode::CPUID) continue;
            CAPTURE(name_of(opcode));
            CHECK(present.count(opcode) == 1);
        }
    }
}

TEST_CASE("cpu_model: x86-64-v2 is what its name promises") {
    const CpuModel& v2 = *find_cpu_model("x86-64-v2");
    for (CpuFeature feature :
         {CpuFeature::cmov,      CpuFeature::cx8,   CpuFeature::fpu,   CpuFeature::fxsr,   CpuFeature::mmx,
          CpuFeature::syscall,   CpuFeature::sse,   CpuFeature::sse2,  CpuFeature::cx16,   CpuFeature::popcnt,
          CpuFeature::sse3,      CpuFeature::sse41, CpuFeature::sse42, CpuFeature::ssse3,  CpuFeature::aes,
          CpuFeature::pclmulqdq, CpuFeature::movbe, CpuFeature::xsave, CpuFeature::rdrand, CpuFeature::rdseed,
          CpuFeature::fsgsbase})
        CHECK(has_feature(v2, feature));
    CHECK((v2.extended_ecx & kCpuidLahf64) != 0);
    const CpuModel& baseline = *find_cpu_model("x86-64");
    CHECK(!has_feature(baseline, CpuFeature::sse3));
    CHECK(!has_feature(baseline, CpuFeature::cx16));
    CHECK(has_feature(baseline, CpuFeature::lm));
}

TEST_CASE("cpu_model: CPUID leaves") {
    CpuidContext context;
    context.apic_enabled = true;
    for (const CpuModel& model : cpu_models()) {
        if (!model.has_cpuid) continue;
        CHECK(cpuid(model, 0, 0, context).eax == model.highest_leaf);
        CHECK(cpuid(model, 0x80000000, 0, context).eax == model.highest_extended_leaf);
        CHECK(cpuid(model, 1, 0, context).eax == model.family_model_stepping);
        // Beyond the last leaf, the last one answers.
        const CpuidResult last = cpuid(model, model.highest_leaf, 0, context);
        for (u32 leaf : {model.highest_leaf + 1, 0x40000000u, model.highest_extended_leaf + 1, ~0u}) {
            const CpuidResult beyond = cpuid(model, leaf, 0, context);
            CHECK(beyond.eax == last.eax);
            CHECK(beyond.ebx == last.ebx);
        }
    }
    const CpuModel& v2 = *find_cpu_model("x86-64-v2");
    CHECK((cpuid(v2, 1, 0, context).ecx & kCpuidOsxsave) == 0);
    context.cr4 = kCr4Osxsave;
    CHECK((cpuid(v2, 1, 0, context).ecx & kCpuidOsxsave) != 0);
    CHECK((cpuid(v2, 0x80000001, 0, context).edx & kCpuidSyscall) == 0);
    context.code64 = true;
    CHECK((cpuid(v2, 0x80000001, 0, context).edx & kCpuidSyscall) != 0);
    context.apic_enabled = false;
    CHECK((cpuid(v2, 1, 0, context).edx & kCpuidApic) == 0);
    CHECK(cpuid(v2, 0x0D, 0, context).eax == 3);
    CHECK(cpuid(v2, 0x0D, 0, context).ecx == 576);
    CHECK(cpuid(v2, 0x0D, 2, context).eax == 0);
    CHECK(cpuid(v2, 7, 1, context).ebx == 0);
    // Leaf 15h: the TSC's rate, as the clock has it.
    const CpuidResult clock = cpuid(v2, 0x15, 0, context);
    CHECK(u64{clock.ecx} * clock.ebx / clock.eax == GuestClock::kTscHertz);
    CHECK((cpuid(v2, 0x80000008, 0, context).eax & 0xFF) == v2.physical_bits);
}

TEST_CASE("cpu_model: LAHF in 64-bit code only where CPUID says so") {
    constexpr int kUd = 6;
    Guest64 v2, baseline("x86-64");
    CHECK(v2.run({0x9F}) == Guest64::kNone);
    CHECK(baseline.run({0x9F}) == kUd);
    CHECK(baseline.run({0x9E}) == kUd);
    baseline.reset();
    baseline.compatibility();
    CHECK(baseline.run({0x9F}) == Guest64::kNone);
}

TEST_CASE("cpu_model: the 486 has no CPUID, no ID flag, no CR4") {
    NothingThere nothing;
    Log log;
    GuestClock clock{ClockMode::virtual_time};
    auto memory = std::move(*PhysicalMemory::create(1 * kMiB, nothing));
    memory->map(0, 1 * kMiB, 0, true);
    Cpu cpu(log, *memory, nothing, clock, *find_cpu_model("486"));
    cpu.set_eflags(~0u & ~kFlagVirtual8086);
    CHECK((cpu.eflags() & kFlagId) == 0);
    CHECK((cpu.eflags() & kFlagAlignmentCheck) != 0);
    cpu.reset();
    Interpreter interpreter(cpu);
    cpu.set_real_mode_segment(Segment::cs, 0x100);
    cpu.mode_changed();
    memory->write_value<u16>(6 * 4, 0x500);  // #UD: HLT at 0:500
    memory->write_value<u8>(0x500, 0xF4);
    const auto undefined = [&](std::initializer_list<u8> bytes) {
        cpu.set_real_mode_segment(Segment::cs, 0x100);
        cpu.state.ip = 0;
        cpu.state.halted = false;
        cpu.clear_attention(kAttentionHalted);
        memory->write(0x1000, {bytes.begin(), bytes.size()});
        interpreter.run(1);
        return cpu.state.halted;
    };
    CHECK(undefined({0x0F, 0xA2}));         // CPUID
    CHECK(undefined({0x0F, 0x20, 0xE0}));   // MOV EAX, CR4
    CHECK(undefined({0x0F, 0x22, 0xE0}));   // MOV CR4, EAX
    CHECK(undefined({0x0F, 0x31}));         // RDTSC
    CHECK(undefined({0x0F, 0x1F, 0x00}));   // NOP of later CPUs
    CHECK(undefined({0x0F, 0x40, 0xC0}));   // CMOVO
    CHECK(!undefined({0x0F, 0xC8}));        // BSWAP
    CHECK(!undefined({0x0F, 0xB0, 0xC0}));  // CMPXCHG
    CHECK(!undefined({0x0F, 0x20, 0xC0}));  // MOV EAX, CR0
    CHECK(!undefined({0xD9, 0xE8}));        // FLD1
}
