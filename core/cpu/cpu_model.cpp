// SDM vol. 2, "CPUID"; Intel application note 485 for the older leaves.
#include "core/cpu/cpu_model.h"

#include <cpuid.h>

#include <cstring>

namespace lodge {

namespace {

// SHA instructions are executed by the host's (core/interp/ops_simd_crypto.cpp), and not every host with the other
// features of x86-64-v2 has them.
u32 sha_of_host() {
    u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
    return ebx & kCpuidSha;
}

CpuModel make_486() {
    CpuModel model;
    model.name = "486";
    model.family_model_stepping = 0x433;  // DX2, the last without CPUID
    model.has_cpuid = false;
    model.features_edx = kCpuidFpu;
    return model;
}

CpuModel make_pentium3() {
    CpuModel model;
    model.name = "pentium3";
    model.family_model_stepping = 0x6B1;  // Tualatin
    model.features_edx = kCpuidFpu | kCpuidDe | kCpuidPse | kCpuidTsc | kCpuidMsr | kCpuidPae | kCpuidCx8 | kCpuidApic |
                         kCpuidMce | kCpuidSep | kCpuidMtrr | kCpuidPge | kCpuidMca | kCpuidCmov | kCpuidPat |
                         kCpuidPse36 | kCpuidMmx | kCpuidFxsr | kCpuidSse;
    model.highest_leaf = 2;
    model.physical_bits = 36;
    model.brand = "lodge pentium3";
    return model;
}

// 32-bit code with all that a 32-bit x86-64 guest may use: SSE2 and NX.
CpuModel make_pentium4() {
    CpuModel model = make_pentium3();
    model.name = "pentium4";
    model.family_model_stepping = 0xF43;
    model.features_edx |= kCpuidSse2 | kCpuidClflush;
    model.extended_edx = kCpuidNx;
    model.highest_extended_leaf = 0x80000008;
    model.brand = "lodge pentium4";
    return model;
}

// The baseline of the x86-64 psABI.
CpuModel make_x86_64() {
    CpuModel model = make_pentium4();
    model.name = "x86-64";
    model.family_model_stepping = 0x6F1;
    model.extended_edx = kCpuidNx | kCpuidLm | kCpuidSyscall;
    model.structured_edx = kCpuidArchCapabilities;
    model.highest_leaf = 7;
    model.physical_bits = 40;
    model.brand = "lodge x86-64";
    return model;
}

// The psABI's level 2, and what systems and libraries of cryptography look for beside it.
CpuModel make_x86_64_v2() {
    CpuModel model = make_x86_64();
    model.name = "x86-64-v2";
    // Gemini Lake: its features come nearest, and no system's driver takes it for a processor with a memory
    // controller's counters to set up, as Linux's does any Core from Nehalem on.
    model.family_model_stepping = 0x706A1;
    model.features_ecx = kCpuidSse3 | kCpuidPclmulqdq | kCpuidSsse3 | kCpuidCx16 | kCpuidPcid | kCpuidSse41 |
                         kCpuidSse42 | kCpuidMovbe | kCpuidPopcnt | kCpuidAes | kCpuidXsave | kCpuidRdrand;
    model.extended_edx |= kCpuidRdtscp | kCpuidPage1Gb;
    model.extended_ecx = kCpuidLahf64 | kCpuidPrefetchw;
    model.structured_ebx = kCpuidFsgsbase | kCpuidTscAdjust | kCpuidSmep | kCpuidErms | kCpuidInvpcid | kCpuidRdseed |
                           kCpuidSmap | kCpuidClflushopt | kCpuidClwb | sha_of_host();
    model.structured_ecx = kCpuidUmip | kCpuidRdpid;
    model.structured_edx |= kCpuidFsrm;
    model.xsave_eax = kCpuidXsaveopt | kCpuidXsavec | kCpuidXgetbv1;
    model.highest_leaf = 0x16;
    model.brand = "lodge x86-64-v2";
    return model;
}

}  // namespace

const std::vector<CpuModel>& cpu_models() {
    static const std::vector<CpuModel> kModels = {make_486(), make_pentium3(), make_pentium4(), make_x86_64(),
                                                  make_x86_64_v2()};
    return kModels;
}

const CpuModel* find_cpu_model(std::string_view name) {
    for (const CpuModel& model : cpu_models())
        if (model.name == name) return &model;
    return nullptr;
}

bool has_feature(const CpuModel& model, CpuFeature feature) {
    const auto edx = [&](u32 mask) { return (model.features_edx & mask) != 0; };
    const auto ecx = [&](u32 mask) { return (model.features_ecx & mask) != 0; };
    const auto structured = [&](u32 mask) { return (model.structured_ebx & mask) != 0; };
    const auto extended = [&](u32 mask) { return (model.extended_edx & mask) != 0; };
    switch (feature) {
        case CpuFeature::base486:
            return true;
        case CpuFeature::fpu:
            return edx(kCpuidFpu);
        case CpuFeature::tsc:
            return edx(kCpuidTsc);
        case CpuFeature::msr:
            return edx(kCpuidMsr);
        case CpuFeature::cx8:
            return edx(kCpuidCx8);
        case CpuFeature::sep:
            return edx(kCpuidSep);
        case CpuFeature::cmov:
            return edx(kCpuidCmov);
        case CpuFeature::mmx:
            return edx(kCpuidMmx);
        case CpuFeature::clflush:
            return edx(kCpuidClflush);
        case CpuFeature::fxsr:
            return edx(kCpuidFxsr);
        case CpuFeature::sse:
            return edx(kCpuidSse);
        case CpuFeature::sse2:
            return edx(kCpuidSse2);
        case CpuFeature::sse3:
            return ecx(kCpuidSse3);
        case CpuFeature::pclmulqdq:
            return ecx(kCpuidPclmulqdq);
        case CpuFeature::ssse3:
            return ecx(kCpuidSsse3);
        case CpuFeature::cx16:
            return ecx(kCpuidCx16);
        case CpuFeature::sse41:
            return ecx(kCpuidSse41);
        case CpuFeature::sse42:
            return ecx(kCpuidSse42);
        case CpuFeature::movbe:
            return ecx(kCpuidMovbe);
        case CpuFeature::popcnt:
            return ecx(kCpuidPopcnt);
        case CpuFeature::aes:
            return ecx(kCpuidAes);
        case CpuFeature::xsave:
            return ecx(kCpuidXsave);
        case CpuFeature::rdrand:
            return ecx(kCpuidRdrand);
        case CpuFeature::fsgsbase:
            return structured(kCpuidFsgsbase);
        case CpuFeature::invpcid:
            return structured(kCpuidInvpcid);
        case CpuFeature::rdseed:
            return structured(kCpuidRdseed);
        case CpuFeature::smap:
            return structured(kCpuidSmap);
        case CpuFeature::clflushopt:
            return structured(kCpuidClflushopt);
        case CpuFeature::clwb:
            return structured(kCpuidClwb);
        case CpuFeature::sha:
            return structured(kCpuidSha);
        case CpuFeature::bmi1:
            return structured(kCpuidBmi1);
        case CpuFeature::adx:
            return structured(kCpuidAdx);
        case CpuFeature::prefetchwt1:
            return (model.structured_ecx & kCpuidPrefetchwt1) != 0;
        case CpuFeature::lzcnt:
            return (model.extended_ecx & kCpuidLzcnt) != 0;
        case CpuFeature::sse4a:
            return (model.extended_ecx & kCpuidSse4a) != 0;
        case CpuFeature::rdpid:
            return (model.structured_ecx & kCpuidRdpid) != 0;
        case CpuFeature::xsaveopt:
            return (model.xsave_eax & kCpuidXsaveopt) != 0;
        case CpuFeature::xsavec:
            return (model.xsave_eax & kCpuidXsavec) != 0;
        case CpuFeature::lm:
            return extended(kCpuidLm);
        case CpuFeature::syscall:
            return extended(kCpuidSyscall);
        case CpuFeature::rdtscp:
            return extended(kCpuidRdtscp);
        case CpuFeature::prefetchw:
            return (model.extended_ecx & kCpuidPrefetchw) != 0;
        case CpuFeature::monitor:
        case CpuFeature::vmx:
        case CpuFeature::smx:
        case CpuFeature::fma:
        case CpuFeature::avx:
        case CpuFeature::f16c:
        case CpuFeature::avx2:
        case CpuFeature::bmi2:
        case CpuFeature::rtm:
        case CpuFeature::xsaves:
        case CpuFeature::svm:
        case CpuFeature::amd3dnow:
        case CpuFeature::clzero:
        case CpuFeature::wbnoinvd:
        case CpuFeature::count:
            return false;  // later than any model of this build, or another maker's
    }
    return false;
}

namespace {

// Descriptors of caches and TLBs; FFh: see leaf 4.
CpuidResult cache_descriptors(const CpuModel& model) {
    if (model.highest_leaf >= 4) return {0x0000FF01, 0, 0, 0};
    if (model.features_edx & kCpuidSse2) return {0x605B5001, 0, 0, 0x007C7040};  // a Pentium 4's
    return {0x03020101, 0, 0, 0x0C040843};                                       // a Pentium III's
}

struct Cache {
    u32 type, level, ways, sets;  // type: 1 data, 2 instructions, 3 both
};

// Lodge has no caches; these are a Sandy Bridge's, so that programs can choose their block sizes.
CpuidResult cache_leaf(u32 subleaf) {
    static constexpr Cache kCaches[] = {{1, 1, 8, 64}, {2, 1, 8, 64}, {3, 2, 8, 512}, {3, 3, 16, 2048}};
    constexpr u32 kLineSize = 64, kSelfInitialising = 0x100;
    if (subleaf >= std::size(kCaches)) return {};
    const Cache& cache = kCaches[subleaf];
    return {cache.type | cache.level << 5 | kSelfInitialising, (kLineSize - 1) | (cache.ways - 1) << 22, cache.sets - 1,
            0};
}

// The area: FXSAVE's 512 bytes and the header of 64; with the components of this build no more. SDM vol. 1, 13.4.
CpuidResult xsave_leaf(const CpuModel& model, u32 subleaf) {
    constexpr u32 kAreaSize = 576;
    if (!(model.features_ecx & kCpuidXsave)) return {};
    if (subleaf == 0) return {kXcr0X87 | kXcr0Sse, kAreaSize, kAreaSize, 0};
    if (subleaf == 1) return {model.xsave_eax, kAreaSize, 0, 0};
    return {};
}

// The 48 bytes of the brand string, 16 to a leaf.
CpuidResult brand_leaf(const CpuModel& model, u32 leaf) {
    char text[48] = {};
    std::memcpy(text, model.brand.data(), model.brand.size() < sizeof text ? model.brand.size() : sizeof text - 1);
    CpuidResult result;
    std::memcpy(&result, text + (leaf - 0x80000002) * 16, 16);
    return result;
}

CpuidResult feature_leaf(const CpuModel& model, const CpuidContext& context) {
    u32 edx = model.features_edx, ecx = model.features_ecx;
    if (!context.apic_enabled) edx &= ~kCpuidApic;
    if (context.cr4 >> 18 & 1) ecx |= kCpuidOsxsave;
    const u32 clflush_line = model.features_edx & kCpuidClflush ? 8u << 8 : 0;
    return {model.family_model_stepping, clflush_line | (1u << 16), ecx, edx};
}

CpuidResult extended_leaf(const CpuModel& model, u32 leaf, const CpuidContext& context) {
    switch (leaf) {
        case 0x80000000:
            return {model.highest_extended_leaf, 0, 0, 0};
        case 0x80000001:
            return {0, 0, model.extended_ecx, model.extended_edx & ~(context.code64 ? 0 : kCpuidSyscall)};
        case 0x80000002:
        case 0x80000003:
        case 0x80000004:
            return brand_leaf(model, leaf);
        case 0x80000006:
            return {0, 0, model.highest_leaf >= 4 ? 256u << 16 | 6u << 12 | 64 : 0, 0};  // L2: 256 KiB, 8 ways
        case 0x80000007:
            return {0, 0, 0, model.features_edx & kCpuidTsc ? 1u << 8 : 0};  // the TSC never changes its rate
        case 0x80000008:
            return {model.physical_bits | (model.extended_edx & kCpuidLm ? 48u : 32u) << 8, 0, 0, 0};
        default:
            return {};
    }
}

}  // namespace

CpuidResult cpuid(const CpuModel& model, u32 leaf, u32 subleaf, const CpuidContext& context) {
    if (leaf >= 0x80000000 && leaf <= model.highest_extended_leaf) return extended_leaf(model, leaf, context);
    if (leaf > model.highest_leaf) leaf = model.highest_leaf;  // as Intel: the highest basic leaf answers
    constexpr u32 kApicTimerAlwaysRuns = 1u << 2;
    constexpr u32 kCrystalHertz = 100'000'000, kTscPerCrystal = 10;  // also the local APIC's timer
    switch (leaf) {
        case 0:
            return {model.highest_leaf, 0x756E6547, 0x6C65746E, 0x49656E69};  // GenuineIntel
        case 1:
            return feature_leaf(model, context);
        case 2:
            return cache_descriptors(model);
        case 4:
            return cache_leaf(subleaf);
        case 6:
            return {model.features_edx & kCpuidApic ? kApicTimerAlwaysRuns : 0, 0, 0, 0};
        case 7:
            if (subleaf != 0) return {};
            return {0, model.structured_ebx, model.structured_ecx, model.structured_edx};
        case 0x0D:
            return xsave_leaf(model, subleaf);
        case 0x15:
            return {1, kTscPerCrystal, kCrystalHertz, 0};
        case 0x16:
            return {1000, 1000, 100, 0};  // MHz: base, highest, bus
        default:
            return {};
    }
}

}  // namespace lodge
