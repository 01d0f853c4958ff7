// CPU models: what CPUID says and which instructions exist. `--cpu NAME`.
#pragma once

#include <string_view>
#include <vector>

#include "core/base/types.h"
#include "core/decode/opcode.h"

namespace lodge {

struct CpuModel {
    std::string_view name;
    u32 family_model_stepping = 0;  // CPUID.1:EAX; in EDX after reset
    bool has_cpuid = true;          // without: no CPUID, no EFLAGS.ID, no CR4
    u32 features_edx = 0;           // CPUID.1:EDX
    u32 features_ecx = 0;           // CPUID.1:ECX
    u32 extended_edx = 0;           // CPUID.80000001h:EDX
    u32 extended_ecx = 0;           // CPUID.80000001h:ECX
    u32 structured_ebx = 0;         // CPUID.7.0:EBX
    u32 structured_ecx = 0;
    u32 structured_edx = 0;
    u32 xsave_eax = 0;  // CPUID.0Dh.1:EAX
    u32 highest_leaf = 1;
    u32 highest_extended_leaf = 0x80000004;
    unsigned physical_bits = 32;
    std::string_view brand;
};

// CPUID.1:EDX
constexpr u32 kCpuidFpu = 1u << 0, kCpuidVme = 1u << 1, kCpuidDe = 1u << 2, kCpuidPse = 1u << 3, kCpuidTsc = 1u << 4,
              kCpuidMsr = 1u << 5, kCpuidPae = 1u << 6, kCpuidMce = 1u << 7, kCpuidCx8 = 1u << 8, kCpuidApic = 1u << 9,
              kCpuidSep = 1u << 11, kCpuidMtrr = 1u << 12, kCpuidPge = 1u << 13, kCpuidMca = 1u << 14,
              kCpuidCmov = 1u << 15, kCpuidPat = 1u << 16, kCpuidPse36 = 1u << 17, kCpuidClflush = 1u << 19,
              kCpuidMmx = 1u << 23, kCpuidFxsr = 1u << 24, kCpuidSse = 1u << 25, kCpuidSse2 = 1u << 26;
// CPUID.1:ECX
constexpr u32 kCpuidSse3 = 1u << 0, kCpuidPclmulqdq = 1u << 1, kCpuidSsse3 = 1u << 9, kCpuidCx16 = 1u << 13,
              kCpuidPcid = 1u << 17, kCpuidSse41 = 1u << 19, kCpuidSse42 = 1u << 20, kCpuidMovbe = 1u << 22,
              kCpuidPopcnt = 1u << 23, kCpuidAes = 1u << 25, kCpuidXsave = 1u << 26, kCpuidOsxsave = 1u << 27,
              kCpuidRdrand = 1u << 30;
// CPUID.80000001h:EDX
constexpr u32 kCpuidSyscall = 1u << 11, kCpuidNx = 1u << 20, kCpuidPage1Gb = 1u << 26, kCpuidRdtscp = 1u << 27,
              kCpuidLm = 1u << 29;
// CPUID.80000001h:ECX
constexpr u32 kCpuidLahf64 = 1u << 0, kCpuidLzcnt = 1u << 5, kCpuidSse4a = 1u << 6, kCpuidPrefetchw = 1u << 8;
// CPUID.7.0:EBX
constexpr u32 kCpuidFsgsbase = 1u << 0, kCpuidTscAdjust = 1u << 1, kCpuidBmi1 = 1u << 3, kCpuidSmep = 1u << 7,
              kCpuidErms = 1u << 9, kCpuidInvpcid = 1u << 10, kCpuidRdseed = 1u << 18, kCpuidAdx = 1u << 19,
              kCpuidSmap = 1u << 20, kCpuidClflushopt = 1u << 23, kCpuidClwb = 1u << 24, kCpuidSha = 1u << 29;
// CPUID.7.0:ECX
constexpr u32 kCpuidPrefetchwt1 = 1u << 0, kCpuidUmip = 1u << 2, kCpuidRdpid = 1u << 22;
// CPUID.7.0:EDX
constexpr u32 kCpuidFsrm = 1u << 4, kCpuidArchCapabilities = 1u << 29;
// CPUID.0Dh.1:EAX
constexpr u32 kCpuidXsaveopt = 1u << 0, kCpuidXsavec = 1u << 1, kCpuidXgetbv1 = 1u << 2;

// The components that XCR0 may enable: x87 and SSE. SDM vol. 1, 13.3.
constexpr u64 kXcr0X87 = 0x01, kXcr0Sse = 0x02;

// Whether the model has the instructions of a feature.
bool has_feature(const CpuModel& model, CpuFeature feature);

// The models this build runs, weakest first.
const std::vector<CpuModel>& cpu_models();
// Null when there is none of that name.
const CpuModel* find_cpu_model(std::string_view name);

struct CpuidResult {
    u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
};
// What the answers depend on beside the model.
struct CpuidContext {
    bool apic_enabled = false;  // IA32_APIC_BASE.EN
    bool code64 = false;        // SYSCALL is reported in 64-bit code only, as by Intel's CPUs
    u64 cr4 = 0;
};
CpuidResult cpuid(const CpuModel& model, u32 leaf, u32 subleaf, const CpuidContext& context);

}  // namespace lodge
