#include "tests/oracle/models.h"

#include <cpuid.h>

namespace lodge::oracle {
namespace {

CpuidResult ask_host(u32 leaf, u32 subleaf) {
    CpuidResult result;
    if (!__get_cpuid_count(leaf, subleaf, &result.eax, &result.ebx, &result.ecx, &result.edx)) return {};
    return result;
}

CpuModel read_host_model() {
    CpuModel model;
    model.name = "host";
    const CpuidResult basic = ask_host(1, 0), structured = ask_host(7, 0), extended = ask_host(0x80000001, 0);
    model.features_edx = basic.edx;
    model.features_ecx = basic.ecx;
    model.extended_edx = extended.edx;
    model.extended_ecx = extended.ecx;
    model.structured_ebx = structured.ebx;
    model.structured_ecx = structured.ecx;
    model.structured_edx = structured.edx;
    model.xsave_eax = ask_host(0x0D, 1).eax;
    return model;
}

CpuModel make_guest_model() {
    CpuModel model = cpu_models().back();
    const CpuModel& host = host_model();
    model.structured_ebx |= host.structured_ebx & (kCpuidBmi1 | kCpuidAdx);
    model.structured_ecx |= host.structured_ecx & kCpuidPrefetchwt1;
    model.extended_ecx |= host.extended_ecx & (kCpuidLzcnt | kCpuidSse4a);
    return model;
}

}  // namespace

const CpuModel& host_model() {
    static const CpuModel kModel = read_host_model();
    return kModel;
}

const CpuModel& guest_model() {
    static const CpuModel kModel = make_guest_model();
    return kModel;
}

}  // namespace lodge::oracle
