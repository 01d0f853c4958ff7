#include "core/cpu/cpu_model.h"

#include <cstring>

namespace lodge {

const std::vector<CpuModel>& cpu_models() {
    static const std::vector<CpuModel> kModels = [] {
        CpuModel i486;
        i486.name = "486";
        i486.family_model_stepping = 0x480;  // DX4
        i486.features_edx = kCpuidFpu;
        i486.brand = "";

        CpuModel pentium3;
        pentium3.name = "pentium3";
        pentium3.family_model_stepping = 0x6B1;  // Tualatin
        pentium3.features_edx = kCpuidFpu | kCpuidDe | kCpuidPse | kCpuidTsc | kCpuidMsr | kCpuidPae | kCpuidCx8 |
                                kCpuidApic | kCpuidSep | kCpuidMtrr | kCpuidPge | kCpuidCmov | kCpuidPat | kCpuidPse36 |
                                kCpuidMmx | kCpuidFxsr | kCpuidSse;
        pentium3.physical_bits = 36;
        pentium3.brand = "lodge pentium3";

        // 32-bit code with all that a 32-bit x86-64 guest may use: SSE2 and NX.
        CpuModel pentium4 = pentium3;
        pentium4.name = "pentium4";
        pentium4.family_model_stepping = 0xF43;
        pentium4.features_edx |= kCpuidSse2 | kCpuidClflush;
        pentium4.extended_edx = kCpuidNx;
        pentium4.physical_bits = 36;
        pentium4.brand = "lodge pentium4";

        // The baseline of the x86-64 psABI.
        CpuModel x86_64 = pentium4;
        x86_64.name = "x86-64";
        x86_64.family_model_stepping = 0x6F1;
        x86_64.extended_edx = kCpuidNx | kCpuidLm | kCpuidSyscall;
        x86_64.extended_ecx = 0;
        x86_64.physical_bits = 40;
        x86_64.brand = "lodge x86-64";

        CpuModel v2 = x86_64;
        v2.name = "x86-64-v2";
        v2.family_model_stepping = 0x206A1;
        v2.features_ecx = kCpuidSse3 | kCpuidSsse3 | kCpuidCx16 | kCpuidSse41 | kCpuidSse42 | kCpuidPopcnt |
                          kCpuidPclmulqdq | kCpuidMovbe | kCpuidAes;
        v2.extended_edx |= kCpuidRdtscp | kCpuidPage1Gb;
        v2.extended_ecx = kCpuidLahf64 | kCpuidPrefetchw;
        v2.brand = "lodge x86-64-v2";
        return std::vector<CpuModel>{i486, pentium3, pentium4, x86_64, v2};
    }();
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
        case CpuFeature::lm:
            return (model.extended_edx & kCpuidLm) != 0;
        case CpuFeature::syscall:
            return (model.extended_edx & kCpuidSyscall) != 0;
        case CpuFeature::rdtscp:
            return (model.extended_edx & kCpuidRdtscp) != 0;
        case CpuFeature::prefetchw:
            return (model.extended_ecx & kCpuidPrefetchw) != 0;
        case CpuFeature::sse3:
            return ecx(kCpuidSse3);
        case CpuFeature::ssse3:
            return ecx(kCpuidSsse3);
        case CpuFeature::sse41:
            return ecx(kCpuidSse41);
        case CpuFeature::sse42:
            return ecx(kCpuidSse42);
        case CpuFeature::popcnt:
            return ecx(kCpuidPopcnt);
        case CpuFeature::pclmulqdq:
            return ecx(kCpuidPclmulqdq);
        case CpuFeature::movbe:
            return ecx(kCpuidMovbe);
        case CpuFeature::aes:
            return ecx(kCpuidAes);
        case CpuFeature::cx16:
            return ecx(kCpuidCx16);
        default:
            return false;  // later than any model of this build
    }
}

namespace {

constexpr u32 kHighestBasic = 2;
constexpr u32 kHighestExtended = 0x80000008;

// The 48 bytes of the brand string, 16 to a leaf (SDM vol. 2, "CPUID").
CpuidResult brand_leaf(const CpuModel& model, u32 leaf) {
    char text[48] = {};
    std::memcpy(text, model.brand.data(), model.brand.size() < sizeof text ? model.brand.size() : sizeof text - 1);
    CpuidResult result;
    std::memcpy(&result, text + (leaf - 0x80000002) * 16, 16);
    return result;
}

}  // namespace

CpuidResult cpuid(const CpuModel& model, u32 leaf, u32, bool apic_enabled, u64) {
    if (leaf > kHighestBasic && leaf < 0x80000000) leaf = kHighestBasic;  // as Intel: the highest basic leaf answers
    if (leaf > kHighestExtended) leaf = kHighestBasic;
    switch (leaf) {
        case 0:
            return {model.features_edx & kCpuidMtrr ? kHighestBasic : 1, 0x756E6547, 0x6C65746E, 0x49656E69};
        case 1: {
            u32 edx = model.features_edx;
            if (!apic_enabled) edx &= ~kCpuidApic;
            const u32 clflush_line = model.features_edx & kCpuidClflush ? 8u << 8 : 0;
            return {model.family_model_stepping, clflush_line | (1u << 16), model.features_ecx, edx};
        }
        case 2:
            return {0x03020101, 0, 0, 0x0C040843};  // the Pentium III's caches and TLBs
        case 0x80000000:
            return {kHighestExtended, 0, 0, 0};
        case 0x80000001:
            return {0, 0, model.extended_ecx, model.extended_edx};
        case 0x80000002:
        case 0x80000003:
        case 0x80000004:
            return brand_leaf(model, leaf);
        case 0x80000008:
            return {model.physical_bits | (model.extended_edx & kCpuidLm ? 48u : 32u) << 8, 0, 0, 0};
        default:
            return {};
    }
}

}  // namespace lodge
