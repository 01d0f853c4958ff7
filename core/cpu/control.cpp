// Control registers and model-specific registers: SDM vol. 3, 2.5 and 9.4; vol. 4.
#include "core/cpu/cpu.h"

namespace lodge {

bool Cpu::set_cr0(u64 value) {
    const u64 old = state.cr0;
    const bool long_capable = model_.extended_edx & kCpuidLm;
    if (long_capable && value >> 32) return raise_gp(0);
    if ((value & kCr0Pg) && !(value & kCr0Pe)) return raise_gp(0);
    if ((value & kCr0Nw) && !(value & kCr0Cd)) return raise_gp(0);
    constexpr u64 kExisting = kCr0Pe | kCr0Mp | kCr0Em | kCr0Ts | kCr0Ne | kCr0Wp | kCr0Am | kCr0Nw | kCr0Cd | kCr0Pg;
    value = (value & kExisting) | kCr0Et;
    const bool paging_starts = (value & kCr0Pg) && !(old & kCr0Pg);
    const bool paging_stops = !(value & kCr0Pg) && (old & kCr0Pg);
    if (paging_starts && (state.efer & kEferLme)) {
        if (!(state.cr4 & kCr4Pae)) return raise_gp(0);
        if (state.segment(Segment::cs).attributes & kSegmentLong) return raise_gp(0);
        if ((state.tr.attributes & kSegmentType & ~2u) == 1) return raise_gp(0);  // a TSS of 16 bits
        state.efer |= kEferLma;
    } else if ((value & kCr0Pg) && (state.cr4 & kCr4Pae) && !long_mode() &&
               ((old ^ value) & (kCr0Pg | kCr0Cd | kCr0Nw))) {  // SDM vol. 3, 4.4.1
        if (!load_pdptrs(state.cr3)) return false;
    }
    if (paging_stops) {
        if (code64() || (state.cr4 & kCr4Pcide)) return raise_gp(0);
        state.efer &= ~kEferLma;
    }
    state.cr0 = value;
    if ((old ^ value) & kCr0Pe)
        for (SegmentState& segment : state.segments) update_spans(segment);
    if ((old ^ value) & (kCr0Pg | kCr0Wp | kCr0Pe))
        flush_tlb(true);
    else
        mode_changed();
    return true;
}

bool Cpu::set_cr3(u64 value) {
    if (long_mode()) {
        // Bit 63: keep what is cached of the new PCID. Nothing of another PCID is kept here, so that changes nothing.
        if (state.cr4 & kCr4Pcide) value &= ~(u64{1} << 63);
        if (value & ~u64{0} << model_.physical_bits) return raise_gp(0);
    } else if ((state.cr0 & kCr0Pg) && (state.cr4 & kCr4Pae)) {
        if (!load_pdptrs(value)) return false;
    }
    state.cr3 = value;
    flush_tlb(false);
    for (CpuObserver* observer : observers_) observer->on_page_table_change();
    return true;
}

bool Cpu::set_cr4(u64 value) {
    u64 existing = 0;
    const auto offers_by = [&](u32 word, u32 feature, u64 bits_of_cr4) {
        if (word & feature) existing |= bits_of_cr4;
    };
    const auto offers = [&](u32 feature, u64 bits_of_cr4) { offers_by(model_.features_edx, feature, bits_of_cr4); };
    offers(kCpuidVme, kCr4Vme | kCr4Pvi);
    offers(kCpuidTsc, kCr4Tsd | kCr4Pce);
    offers(kCpuidDe, kCr4De);
    offers(kCpuidPse, kCr4Pse);
    offers(kCpuidPae, kCr4Pae);
    offers(kCpuidMce, kCr4Mce);
    offers(kCpuidPge, kCr4Pge);
    offers(kCpuidFxsr, kCr4Osfxsr);
    offers(kCpuidSse, kCr4Osxmmexcpt);
    offers_by(model_.features_ecx, kCpuidPcid, kCr4Pcide);
    offers_by(model_.features_ecx, kCpuidXsave, kCr4Osxsave);
    offers_by(model_.structured_ebx, kCpuidFsgsbase, kCr4Fsgsbase);
    offers_by(model_.structured_ebx, kCpuidSmep, kCr4Smep);
    offers_by(model_.structured_ebx, kCpuidSmap, kCr4Smap);
    offers_by(model_.structured_ecx, kCpuidUmip, kCr4Umip);
    if (value & ~existing) return raise_gp(0);
    const u64 changed = state.cr4 ^ value;
    if (long_mode() && !(value & kCr4Pae)) return raise_gp(0);
    // PCIDs start in long mode, with PCID 0 (SDM vol. 3, 4.10.1).
    if ((changed & value & kCr4Pcide) && (!long_mode() || (state.cr3 & 0xFFF))) return raise_gp(0);
    const u64 old = state.cr4;
    state.cr4 = value;
    constexpr u64 kReloading = kCr4Pae | kCr4Pge | kCr4Pse | kCr4Smep;  // SDM vol. 3, 4.4.1
    if ((changed & kReloading) && (state.cr0 & kCr0Pg) && (value & kCr4Pae) && !long_mode() &&
        !load_pdptrs(state.cr3)) {
        state.cr4 = old;
        return false;
    }
    if (changed & (kCr4Pae | kCr4Pge | kCr4Pse | kCr4Smep | kCr4Smap | kCr4Pcide)) flush_tlb(true);
    return true;
}

bool Cpu::set_efer(u64 value) {
    u64 existing = 0;
    if (model_.extended_edx & kCpuidNx) existing |= kEferNxe;
    if (model_.extended_edx & kCpuidLm) existing |= kEferLme | kEferLma;
    if (model_.extended_edx & kCpuidSyscall) existing |= kEferSce;
    if (value & ~existing) return raise_gp(0);
    if ((state.cr0 & kCr0Pg) && ((value ^ state.efer) & kEferLme)) return raise_gp(0);
    state.efer = (value & ~kEferLma) | (state.efer & kEferLma);
    flush_tlb(true);
    return true;
}

bool Cpu::set_xcr0(u64 value) {
    if (!(value & kXcr0X87) || (value & ~(kXcr0X87 | kXcr0Sse))) return raise_gp(0);
    xcr0_ = value;
    return true;
}

// Of the entries that are kept all belong to the present PCID or are global; forgetting too many is permitted.
bool Cpu::invalidate_pcid(u64 type, u64 pcid, u64 linear) {
    if (type > 3 || pcid >> 12) return raise_gp(0);
    if (type <= 1 && pcid != 0 && !(state.cr4 & kCr4Pcide)) return raise_gp(0);
    if (type == 0 && !canonical(linear)) return raise_gp(0);
    if (type == 0)
        invalidate_page(linear);
    else
        flush_tlb(/*global_too=*/type == 2);
    return true;
}

namespace {

constexpr u32 kMsrTsc = 0x10, kMsrPlatformId = 0x17, kMsrApicBase = 0x1B, kMsrTscAdjust = 0x3B, kMsrBiosSign = 0x8B,
              kMsrMtrrCap = 0xFE, kMsrArchCapabilities = 0x10A, kMsrSysenterCs = 0x174, kMsrSysenterEsp = 0x175,
              kMsrSysenterEip = 0x176, kMsrMiscEnable = 0x1A0, kMsrMtrrVariable = 0x200, kMsrPat = 0x277,
              kMsrMtrrDefType = 0x2FF, kMsrEfer = 0xC0000080;

// IA32_ARCH_CAPABILITIES: an interpreter does not run ahead of its checks, and has no buffers to leak from. RDCL_NO,
// SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO,
// GDS_NO, RFDS_NO (SDM vol. 4, table 2-2).
constexpr u64 kArchCapabilities = 1u << 0 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 8 | 1u << 13 | 1u << 14 |
                                  1u << 15 | 1u << 20 | 1u << 24 | 1u << 26 | 1u << 27;
// IA32_MISC_ENABLE: fast strings; and of what may be set, what changes nothing here: automatic thermal control,
// xTPR messages off.
constexpr u64 kMiscEnableWritable = 1u << 0 | 1u << 3 | 1u << 23;

// IA32_MTRR_FIX64K_00000, FIX16K_80000, FIX16K_A0000, FIX4K_C0000 .. FIX4K_F8000.
int fixed_mtrr(u32 index) {
    if (index == 0x250) return 0;
    if (index == 0x258 || index == 0x259) return static_cast<int>(index - 0x258 + 1);
    if (index >= 0x268 && index <= 0x26F) return static_cast<int>(index - 0x268 + 3);
    return -1;
}

bool valid_memory_type(u64 type) {
    return type == 0 || type == 1 || type == 4 || type == 5 || type == 6;
}
bool valid_memory_types(u64 value, bool pat) {
    for (unsigned i = 0; i < 8; ++i) {
        const u64 type = bits(value, 8 * i, 8);
        if (!valid_memory_type(type) && !(pat && type == 7)) return false;
    }
    return true;
}

constexpr unsigned kVariableMtrrs = 8;

}  // namespace

// Unknown MSRs raise #GP(0), as on hardware; systems probe by that.
bool Cpu::read_msr(u32 index, u64& value) {
    if (const int fixed = fixed_mtrr(index); fixed >= 0 && (model_.features_edx & kCpuidMtrr)) {
        value = mtrr_fixed_[fixed];
        return true;
    }
    if (index >= kMsrMtrrVariable && index < kMsrMtrrVariable + 2 * kVariableMtrrs &&
        (model_.features_edx & kCpuidMtrr)) {
        value = mtrr_variable_[index - kMsrMtrrVariable];
        return true;
    }
    if (MachineCheck::holds(index) && (model_.features_edx & kCpuidMca)) {
        value = machine_check_.read(index);
        return true;
    }
    if (model_.extended_edx & kCpuidLm) {
        bool known = false;
        const bool ok = read_long_msr(index, value, known);
        if (known) return ok;
    }
    const auto has = [&](u32 feature) { return (model_.features_edx & feature) != 0; };
    switch (index) {
        case kMsrTsc:
            value = tsc();
            return true;
        case kMsrTscAdjust:
            if (!(model_.structured_ebx & kCpuidTscAdjust)) return raise_gp(0);
            value = tsc_adjust_;
            return true;
        case kMsrApicBase:
            if (!apic_ || !has(kCpuidApic)) return raise_gp(0);
            value = apic_->base_msr();
            return true;
        case kMsrPlatformId:  // platform 0; what updates microcode reads it beside the next
        case kMsrBiosSign:
            value = 0;
            return true;
        case kMsrMtrrCap:
            if (!has(kCpuidMtrr)) return raise_gp(0);
            value = 0x500 | kVariableMtrrs;  // write-combining and fixed ranges
            return true;
        case kMsrArchCapabilities:
            if (!(model_.structured_edx & kCpuidArchCapabilities)) return raise_gp(0);
            value = kArchCapabilities;
            return true;
        case kMsrSysenterCs:
            value = sysenter_cs_;
            return has(kCpuidSep) || raise_gp(0);
        case kMsrSysenterEsp:
            value = sysenter_esp_;
            return has(kCpuidSep) || raise_gp(0);
        case kMsrSysenterEip:
            value = sysenter_eip_;
            return has(kCpuidSep) || raise_gp(0);
        case kMsrMiscEnable:
            value = misc_enable_;
            return true;
        case kMsrPat:
            value = pat_;
            return has(kCpuidPat) || raise_gp(0);
        case kMsrMtrrDefType:
            value = mtrr_def_type_;
            return has(kCpuidMtrr) || raise_gp(0);
        case kMsrEfer:
            value = state.efer;
            return (model_.extended_edx & (kCpuidNx | kCpuidLm)) || raise_gp(0);
        default:
            log_.once(LogChannel::cpu, "read of unknown MSR %X", index);
            return raise_gp(0);
    }
}

// A write of either register adds to both (SDM vol. 3, 17.17.3 "Time-Stamp Counter Adjustment").
void Cpu::adjust_tsc(u64 by) {
    tsc_offset_ += by;
    tsc_adjust_ += by;
}

bool Cpu::write_msr(u32 index, u64 value) {
    if (const int fixed = fixed_mtrr(index); fixed >= 0 && (model_.features_edx & kCpuidMtrr)) {
        if (!valid_memory_types(value, false)) return raise_gp(0);
        mtrr_fixed_[fixed] = value;
        return true;
    }
    if (index >= kMsrMtrrVariable && index < kMsrMtrrVariable + 2 * kVariableMtrrs &&
        (model_.features_edx & kCpuidMtrr)) {
        mtrr_variable_[index - kMsrMtrrVariable] = value;
        return true;
    }
    if (MachineCheck::holds(index) && (model_.features_edx & kCpuidMca))
        return machine_check_.write(index, value) || raise_gp(0);
    if (model_.extended_edx & kCpuidLm) {
        bool known = false;
        const bool ok = write_long_msr(index, value, known);
        if (known) return ok;
    }
    const auto has = [&](u32 feature) { return (model_.features_edx & feature) != 0; };
    switch (index) {
        case kMsrTsc:
            adjust_tsc(value - tsc());
            return true;
        case kMsrTscAdjust:
            if (!(model_.structured_ebx & kCpuidTscAdjust)) return raise_gp(0);
            adjust_tsc(value - tsc_adjust_);
            return true;
        case kMsrApicBase:
            if (!apic_ || !has(kCpuidApic) || !apic_->set_base_msr(value)) return raise_gp(0);
            return true;
        case kMsrBiosSign:
            return true;
        case kMsrSysenterCs:
            if (!has(kCpuidSep)) return raise_gp(0);
            sysenter_cs_ = value & 0xFFFFFFFF;
            return true;
        case kMsrSysenterEsp:
        case kMsrSysenterEip:
            if (!has(kCpuidSep) || !canonical(value)) return raise_gp(0);
            (index == kMsrSysenterEsp ? sysenter_esp_ : sysenter_eip_) = value;
            return true;
        case kMsrMiscEnable:
            misc_enable_ = value & kMiscEnableWritable;
            return true;
        case kMsrPat:
            if (!has(kCpuidPat) || !valid_memory_types(value, true)) return raise_gp(0);
            pat_ = value;
            return true;
        case kMsrMtrrDefType:
            if (!has(kCpuidMtrr) || !valid_memory_type(value & 0xFF) || (value & ~u64{0xCFF})) return raise_gp(0);
            mtrr_def_type_ = value;
            return true;
        case kMsrEfer:
            if (!(model_.extended_edx & (kCpuidNx | kCpuidLm))) return raise_gp(0);
            return set_efer(value);
        default:
            log_.once(LogChannel::cpu, "write of unknown MSR %X", index);
            return raise_gp(0);
    }
}

}  // namespace lodge
