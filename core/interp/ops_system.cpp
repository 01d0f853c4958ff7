// System instructions, far transfers, flags, ports. The rules are the Cpu's (core/cpu); here they meet their operands.
#include "core/interp/bind.h"

namespace lodge {

namespace {

// For operations whose speed does not matter: operand n, register or memory, of its own size.
bool read_operand(Cpu& cpu, const Insn& insn, unsigned n, u64& value) {
    const Operand& operand = insn.operands[n];
    if (operand.kind == OperandKind::immediate) {
        value = insn.immediate;
        return true;
    }
    const auto read = [&]<class T>(T) {
        T narrow = 0;
        if (operand.kind == OperandKind::gpr)
            narrow = get_gpr<T>(cpu, operand.reg);
        else if (!MemoryOperand::read(cpu, insn, narrow))
            return false;
        value = narrow;
        return true;
    };
    switch (operand.size) {
        case 1:
            return read(u8{});
        case 2:
            return read(u16{});
        case 4:
            return read(u32{});
        default:
            return read(u64{});
    }
}

bool write_operand(Cpu& cpu, const Insn& insn, unsigned n, u64 value) {
    const Operand& operand = insn.operands[n];
    const auto write = [&]<class T>(T narrow) {
        if (operand.kind == OperandKind::memory) return MemoryOperand::write(cpu, insn, narrow);
        set_gpr<T>(cpu, operand.reg, narrow);
        return true;
    };
    switch (operand.size) {
        case 1:
            return write(static_cast<u8>(value));
        case 2:
            return write(static_cast<u16>(value));
        case 4:
            return write(static_cast<u32>(value));
        default:
            return write(value);
    }
}

bool require_supervisor(Cpu& cpu) {
    return cpu.state.cpl == 0 ? true : cpu.raise_gp(0);
}
// CR4.UMIP: SGDT, SIDT, SLDT, SMSW, STR are the supervisor's (SDM vol. 3, 2.5).
bool not_kept_from_user(Cpu& cpu) {
    return (cpu.state.cr4 & kCr4Umip) && cpu.state.cpl != 0 ? cpu.raise_gp(0) : true;
}
bool require_protected(Cpu& cpu) {
    return cpu.real_or_v86() ? cpu.raise_ud() : true;
}

// --- Far transfers

bool far_target(Cpu& cpu, const Insn& insn, u16& selector, u64& offset) {
    if (insn.operands[0].kind == OperandKind::far) {
        selector = insn.immediate2;
        offset = insn.immediate;
        return true;
    }
    const u64 address = effective_address(cpu, insn);
    if (insn.operand_size == 2) {
        u16 narrow = 0;
        if (!cpu.read<u16>(insn.segment, address, narrow)) return false;
        offset = narrow;
    } else if (insn.operand_size == 4) {
        u32 narrow = 0;
        if (!cpu.read<u32>(insn.segment, address, narrow)) return false;
        offset = narrow;
    } else if (!cpu.read<u64>(insn.segment, address, offset)) {
        return false;
    }
    return cpu.read<u16>(insn.segment, (address + insn.operand_size) & size_mask(insn.address_size), selector);
}

bool op_jmpf(Cpu& cpu, const Insn& insn) {
    u16 selector = 0;
    u64 offset = 0;
    return far_target(cpu, insn, selector, offset) &&
           cpu.far_jump(selector, offset, insn.operand_size, next_ip(cpu, insn));
}

bool op_callf(Cpu& cpu, const Insn& insn) {
    u16 selector = 0;
    u64 offset = 0;
    return far_target(cpu, insn, selector, offset) &&
           cpu.far_call(selector, offset, insn.operand_size, next_ip(cpu, insn));
}

bool op_retf(Cpu& cpu, const Insn& insn) {
    return cpu.far_return(insn.operand_size, is_immediate(insn, 0) ? static_cast<u16>(insn.immediate) : 0);
}

bool op_iret(Cpu& cpu, const Insn& insn) {
    return cpu.interrupt_return(insn.operand_size, next_ip(cpu, insn));
}

bool op_int(Cpu& cpu, const Insn& insn) {
    if (cpu.v86() && cpu.iopl() < 3) return cpu.raise_gp(0);
    return cpu.software_interrupt(static_cast<u8>(insn.immediate), next_ip(cpu, insn), EventKind::software);
}
bool op_int3(Cpu& cpu, const Insn& insn) {
    return cpu.software_interrupt(static_cast<u8>(Exception::BP), next_ip(cpu, insn), EventKind::software);
}
// A data breakpoint that a load of SS has held back is told by this very #DB.
bool op_int1(Cpu& cpu, const Insn& insn) {
    if (!cpu.software_interrupt(static_cast<u8>(Exception::DB), next_ip(cpu, insn), EventKind::icebp)) return false;
    cpu.merge_pending_trap();
    return true;
}
bool op_into(Cpu& cpu, const Insn& insn) {
    if (!cpu.state.status.overflow) {
        cpu.state.ip = next_ip(cpu, insn);
        return true;
    }
    return cpu.software_interrupt(static_cast<u8>(Exception::OF), next_ip(cpu, insn), EventKind::software);
}

template <class T>
bool op_bound(Cpu& cpu, const Insn& insn) {
    const u64 address = effective_address(cpu, insn);
    T low = 0, high = 0;
    if (!cpu.read<T>(insn.segment, address, low) ||
        !cpu.read<T>(insn.segment, (address + sizeof(T)) & size_mask(insn.address_size), high))
        return false;
    using Signed = std::make_signed_t<T>;
    const auto index = static_cast<Signed>(get_gpr<T>(cpu, insn.operands[0].reg));
    if (index < static_cast<Signed>(low) || index > static_cast<Signed>(high)) return cpu.raise(Exception::BR);
    return true;
}

bool op_sysenter(Cpu& cpu, const Insn&) {
    return cpu.sysenter();
}
bool op_sysexit(Cpu& cpu, const Insn& insn) {
    return cpu.sysexit(insn.operand_size);
}
bool op_syscall(Cpu& cpu, const Insn& insn) {
    return cpu.syscall(next_ip(cpu, insn));
}
bool op_sysret(Cpu& cpu, const Insn& insn) {
    return cpu.sysret(insn.operand_size);
}
bool op_swapgs(Cpu& cpu, const Insn&) {
    return cpu.swapgs();
}

template <Segment segment>
bool op_read_base(Cpu& cpu, const Insn& insn) {
    return cpu.fs_gs_base_allowed() && write_operand(cpu, insn, 0, cpu.state.segment(segment).base);
}
template <Segment segment>
bool op_write_base(Cpu& cpu, const Insn& insn) {
    u64 base = 0;
    return cpu.fs_gs_base_allowed() && read_operand(cpu, insn, 0, base) && cpu.set_segment_base(segment, base);
}

bool op_undefined(Cpu& cpu, const Insn&) {
    return cpu.raise_ud();
}
bool op_nop(Cpu&, const Insn&) {
    return true;
}

// --- Flags

bool op_pushf(Cpu& cpu, const Insn& insn) {
    if (cpu.v86() && cpu.iopl() < 3) return cpu.raise_gp(0);
    // VM and RF are pushed as zero.
    return cpu.push((cpu.eflags() | 0x02) & ~u64{kFlagVirtual8086 | kFlagResume}, insn.operand_size);
}

// SDM vol. 2, table 4-16 "Effect of POPF/POPFD on the EFLAGS Register".
bool op_popf(Cpu& cpu, const Insn& insn) {
    if (cpu.v86() && cpu.iopl() < 3) return cpu.raise_gp(0);
    u64 value = 0;
    if (!cpu.pop(value, insn.operand_size)) return false;
    u32 changeable = kArithmeticFlags | kFlagTrap | kFlagDirection | kFlagNestedTask;
    if (insn.operand_size > 2) changeable |= kFlagAlignmentCheck | kFlagId;
    const unsigned privilege = cpu.protected_mode() ? cpu.state.cpl : 0;
    if (privilege <= cpu.iopl()) changeable |= kFlagInterrupt;
    if (privilege == 0) changeable |= kFlagIopl;
    u32 flags = replace_bits(cpu.eflags(), changeable, static_cast<u32>(value));
    flags &= ~kFlagResume;
    cpu.set_eflags(flags);
    return true;
}

bool interrupt_flag_allowed(Cpu& cpu) {
    if (!cpu.protected_mode()) return true;
    const unsigned privilege = cpu.v86() ? 3 : cpu.state.cpl;
    return privilege <= cpu.iopl() ? true : cpu.raise_gp(0);
}

bool op_cli(Cpu& cpu, const Insn&) {
    if (!interrupt_flag_allowed(cpu)) return false;
    cpu.set_system_flags(cpu.state.system_flags & ~kFlagInterrupt);
    return true;
}

bool op_sti(Cpu& cpu, const Insn&) {
    if (!interrupt_flag_allowed(cpu)) return false;
    if (cpu.flag(kFlagInterrupt)) return true;
    cpu.set_system_flags(cpu.state.system_flags | kFlagInterrupt);
    // The shadow holds back interrupts, not the single step after STI; and that step's handler ends the shadow.
    if (!cpu.flag(kFlagTrap)) cpu.request_attention(kAttentionShadow);
    return true;
}

bool op_hlt(Cpu& cpu, const Insn&) {
    if (!require_supervisor(cpu)) return false;
    cpu.state.halted = true;
    cpu.request_attention(kAttentionHalted);
    return true;
}

// --- Ports

bool op_in(Cpu& cpu, const Insn& insn) {
    const u16 port = is_immediate(insn, 1) ? static_cast<u16>(insn.immediate) : static_cast<u16>(cpu.state.gpr[kRdx]);
    u32 value = 0;
    if (!cpu.port_read(port, insn.operands[0].size, value)) return false;
    return write_operand(cpu, insn, 0, value);
}

bool op_out(Cpu& cpu, const Insn& insn) {
    const u16 port = is_immediate(insn, 0) ? static_cast<u16>(insn.immediate) : static_cast<u16>(cpu.state.gpr[kRdx]);
    const unsigned size = insn.operands[1].size;
    return cpu.port_write(port, size, static_cast<u32>(cpu.state.gpr[kRax] & size_mask(size)));
}

// --- Control, debug and test registers

bool op_mov_cr(Cpu& cpu, const Insn& insn) {
    if (!require_supervisor(cpu)) return false;
    const bool to_control = insn.operands[0].kind == OperandKind::control;
    const unsigned index = insn.operands[to_control ? 0 : 1].reg;
    const u8 reg = insn.operands[to_control ? 1 : 0].reg;
    if (to_control) {
        const u64 value = insn.code_size == CodeSize::bits64 ? cpu.state.gpr[reg] : get_gpr<u32>(cpu, reg);
        switch (index) {
            case 0:
                return cpu.set_cr0(value);
            case 2:
                cpu.state.cr2 = value;
                return true;
            case 3:
                return cpu.set_cr3(value);
            case 4:
                return cpu.model().has_cpuid ? cpu.set_cr4(value) : cpu.raise_ud();
            case 8:
                if (insn.code_size != CodeSize::bits64) return cpu.raise_ud();
                if (value > 15) return cpu.raise_gp(0);
                cpu.begin_device_access();
                if (cpu.apic()) cpu.apic()->set_task_priority(static_cast<u8>(value << 4));
                return true;
            default:
                return cpu.raise_ud();
        }
    }
    u64 value = 0;
    switch (index) {
        case 0:
            value = cpu.state.cr0;
            break;
        case 2:
            value = cpu.state.cr2;
            break;
        case 3:
            value = cpu.state.cr3;
            break;
        case 4:
            if (!cpu.model().has_cpuid) return cpu.raise_ud();
            value = cpu.state.cr4;
            break;
        case 8:
            if (insn.code_size != CodeSize::bits64) return cpu.raise_ud();
            value = cpu.apic() ? cpu.apic()->task_priority() >> 4 : 0;
            break;
        default:
            return cpu.raise_ud();
    }
    if (insn.code_size == CodeSize::bits64)
        cpu.state.gpr[reg] = value;
    else
        set_gpr<u32>(cpu, reg, static_cast<u32>(value));
    return true;
}

bool op_mov_dr(Cpu& cpu, const Insn& insn) {
    if (!require_supervisor(cpu)) return false;
    const bool to_debug = insn.operands[0].kind == OperandKind::debug;
    const unsigned index = insn.operands[to_debug ? 0 : 1].reg;
    const u8 reg = insn.operands[to_debug ? 1 : 0].reg;
    const bool wide = insn.code_size == CodeSize::bits64;
    if (to_debug) return cpu.write_dr(index, wide ? cpu.state.gpr[reg] : get_gpr<u32>(cpu, reg));
    u64 value = 0;
    if (!cpu.read_dr(index, value)) return false;
    cpu.state.gpr[reg] = wide ? value : value & 0xFFFFFFFF;
    return true;
}

// The 486's cache and TLB test registers read as zero here; later CPUs do not have them.
bool op_mov_tr(Cpu& cpu, const Insn& insn) {
    if (cpu.model().features_edx & kCpuidTsc) return cpu.raise_ud();
    if (!require_supervisor(cpu)) return false;
    if (insn.operands[0].kind == OperandKind::gpr) set_gpr<u32>(cpu, insn.operands[0].reg, 0);
    return true;
}

bool op_lmsw(Cpu& cpu, const Insn& insn) {
    u64 value = 0;
    if (!require_supervisor(cpu) || !read_operand(cpu, insn, 0, value)) return false;
    const u64 kept_pe = cpu.state.cr0 & kCr0Pe;  // LMSW cannot clear PE
    return cpu.set_cr0((cpu.state.cr0 & ~u64{0x0F}) | (value & 0x0F) | kept_pe);
}
bool op_smsw(Cpu& cpu, const Insn& insn) {
    return not_kept_from_user(cpu) && write_operand(cpu, insn, 0, cpu.state.cr0);
}

bool op_clts(Cpu& cpu, const Insn&) {
    if (!require_supervisor(cpu)) return false;
    cpu.state.cr0 &= ~kCr0Ts;
    return true;
}

bool op_privileged_nop(Cpu& cpu, const Insn&) {
    return require_supervisor(cpu);
}

bool op_invlpg(Cpu& cpu, const Insn& insn) {
    if (!require_supervisor(cpu)) return false;
    const u64 linear = cpu.state.segment(insn.segment).base + effective_address(cpu, insn);
    cpu.invalidate_page(linear & cpu.state.linear_mask);
    return true;
}

// --- Descriptor tables

bool load_table(Cpu& cpu, const Insn& insn, TableRegister& table) {
    if (!require_supervisor(cpu)) return false;
    const u64 address = effective_address(cpu, insn);
    const u64 mask = size_mask(insn.address_size);
    u16 limit = 0;
    if (!cpu.read<u16>(insn.segment, address, limit)) return false;
    u64 base = 0;
    if (insn.code_size == CodeSize::bits64) {
        if (!cpu.read<u64>(insn.segment, (address + 2) & mask, base)) return false;
    } else {
        u32 narrow = 0;
        if (!cpu.read<u32>(insn.segment, (address + 2) & mask, narrow)) return false;
        base = insn.operand_size == 2 ? narrow & 0x00FFFFFF : narrow;
    }
    if (!Cpu::canonical(base)) return cpu.raise_gp(0);
    table.base = base;
    table.limit = limit;
    return true;
}

bool store_table(Cpu& cpu, const Insn& insn, const TableRegister& table) {
    if (!not_kept_from_user(cpu)) return false;
    const u64 address = effective_address(cpu, insn);
    const u64 base_at = (address + 2) & size_mask(insn.address_size);
    const unsigned width = insn.code_size == CodeSize::bits64 ? 8 : 4;
    if (!cpu.probe_write(insn.segment, base_at, width)) return false;
    if (!cpu.write<u16>(insn.segment, address, static_cast<u16>(table.limit))) return false;
    if (width == 8) return cpu.write<u64>(insn.segment, base_at, table.base);
    return cpu.write<u32>(insn.segment, base_at, static_cast<u32>(table.base));
}

bool op_lgdt(Cpu& cpu, const Insn& insn) {
    return load_table(cpu, insn, cpu.state.gdtr);
}
bool op_lidt(Cpu& cpu, const Insn& insn) {
    return load_table(cpu, insn, cpu.state.idtr);
}
bool op_sgdt(Cpu& cpu, const Insn& insn) {
    return store_table(cpu, insn, cpu.state.gdtr);
}
bool op_sidt(Cpu& cpu, const Insn& insn) {
    return store_table(cpu, insn, cpu.state.idtr);
}

bool op_lldt(Cpu& cpu, const Insn& insn) {
    u64 selector = 0;
    return require_protected(cpu) && require_supervisor(cpu) && read_operand(cpu, insn, 0, selector) &&
           cpu.load_ldtr(static_cast<u16>(selector));
}
bool op_ltr(Cpu& cpu, const Insn& insn) {
    u64 selector = 0;
    return require_protected(cpu) && require_supervisor(cpu) && read_operand(cpu, insn, 0, selector) &&
           cpu.load_tr(static_cast<u16>(selector));
}
bool op_sldt(Cpu& cpu, const Insn& insn) {
    return require_protected(cpu) && not_kept_from_user(cpu) && write_operand(cpu, insn, 0, cpu.state.ldtr.selector);
}
bool op_str(Cpu& cpu, const Insn& insn) {
    return require_protected(cpu) && not_kept_from_user(cpu) && write_operand(cpu, insn, 0, cpu.state.tr.selector);
}

bool op_lar(Cpu& cpu, const Insn& insn) {
    u64 selector = 0;
    u32 rights = 0;
    if (!require_protected(cpu) || !read_operand(cpu, insn, 1, selector)) return false;
    const bool visible = cpu.load_access_rights(static_cast<u16>(selector), rights);
    if (cpu.fault()) return false;
    cpu.state.status.set_zero(visible);
    return visible ? write_operand(cpu, insn, 0, rights) : true;
}
bool op_lsl(Cpu& cpu, const Insn& insn) {
    u64 selector = 0;
    u32 limit = 0;
    if (!require_protected(cpu) || !read_operand(cpu, insn, 1, selector)) return false;
    const bool visible = cpu.load_segment_limit(static_cast<u16>(selector), limit);
    if (cpu.fault()) return false;
    cpu.state.status.set_zero(visible);
    return visible ? write_operand(cpu, insn, 0, limit) : true;
}
template <bool write>
bool op_verify(Cpu& cpu, const Insn& insn) {
    u64 selector = 0;
    if (!require_protected(cpu) || !read_operand(cpu, insn, 0, selector)) return false;
    const bool yes = cpu.verify_segment(static_cast<u16>(selector), write);
    if (cpu.fault()) return false;
    cpu.state.status.set_zero(yes);
    return true;
}
// Writes only what it changes: a read-only destination that is high enough is no fault (verified on hardware).
bool op_arpl(Cpu& cpu, const Insn& insn) {
    u64 selector = 0;
    if (!require_protected(cpu) || !read_operand(cpu, insn, 0, selector)) return false;
    const u64 rpl = cpu.state.gpr[insn.operands[1].reg] & 3;
    const bool raised = (selector & 3) < rpl;
    if (raised && !write_operand(cpu, insn, 0, (selector & ~u64{3}) | rpl)) return false;
    cpu.state.status.set_zero(raised);
    return true;
}

// --- Identification, time, model-specific registers

bool op_cpuid(Cpu& cpu, const Insn&) {
    u64* gpr = cpu.state.gpr;
    CpuidContext context;
    context.apic_enabled = cpu.apic() && (cpu.apic()->base_msr() & 0x800);
    context.code64 = cpu.code64();
    context.cr4 = cpu.state.cr4;
    const CpuidResult result = cpuid(cpu.model(), static_cast<u32>(gpr[kRax]), static_cast<u32>(gpr[kRcx]), context);
    gpr[kRax] = result.eax;
    gpr[kRbx] = result.ebx;
    gpr[kRcx] = result.ecx;
    gpr[kRdx] = result.edx;
    return true;
}

bool put_edx_eax(Cpu& cpu, u64 value) {
    cpu.state.gpr[kRax] = value & 0xFFFFFFFF;
    cpu.state.gpr[kRdx] = value >> 32;
    return true;
}

bool op_rdtsc(Cpu& cpu, const Insn&) {
    if ((cpu.state.cr4 & kCr4Tsd) && cpu.state.cpl != 0) return cpu.raise_gp(0);
    return put_edx_eax(cpu, cpu.tsc());
}

bool op_rdtscp(Cpu& cpu, const Insn& insn) {
    if (!op_rdtsc(cpu, insn)) return false;
    cpu.state.gpr[kRcx] = cpu.tsc_aux() & 0xFFFFFFFF;
    return true;
}

// No performance counters: CR4.PCE or not, there is none to name.
bool op_rdpmc(Cpu& cpu, const Insn&) {
    return cpu.raise_gp(0);
}

bool op_rdmsr(Cpu& cpu, const Insn&) {
    u64 value = 0;
    return require_supervisor(cpu) && cpu.read_msr(static_cast<u32>(cpu.state.gpr[kRcx]), value) &&
           put_edx_eax(cpu, value);
}
bool op_wrmsr(Cpu& cpu, const Insn&) {
    if (!require_supervisor(cpu)) return false;
    cpu.begin_device_access();
    const u64 value = (cpu.state.gpr[kRdx] & 0xFFFFFFFF) << 32 | (cpu.state.gpr[kRax] & 0xFFFFFFFF);
    return cpu.write_msr(static_cast<u32>(cpu.state.gpr[kRcx]), value);
}

// CLFLUSH and the like: checked as a read of one byte.
bool op_touch(Cpu& cpu, const Insn& insn) {
    u8 byte = 0;
    return cpu.read<u8>(insn.segment, effective_address(cpu, insn), byte);
}

}  // namespace

InsnHandler bind_system(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::JMPF:
            return ending<op_jmpf>;
        case Opcode::CALLF:
            return ending<op_callf>;
        case Opcode::RETF:
            return ending<op_retf>;
        case Opcode::IRET:
            return ending<op_iret>;
        case Opcode::INT:
            return ending<op_int>;
        case Opcode::INT3:
            return ending<op_int3>;
        case Opcode::INT1:
            return ending<op_int1>;
        case Opcode::INTO:
            return ending<op_into>;
        case Opcode::BOUND:
            return insn.operand_size == 2 ? chained<op_bound<u16>> : chained<op_bound<u32>>;
        case Opcode::SYSENTER:
            return ending<op_sysenter>;
        case Opcode::SYSEXIT:
            return ending<op_sysexit>;
        case Opcode::SYSCALL:
            return ending<op_syscall>;
        case Opcode::SYSRET:
            return ending<op_sysret>;
        case Opcode::SWAPGS:
            return chained<op_swapgs>;
        case Opcode::RDFSBASE:
            return chained<op_read_base<Segment::fs>>;
        case Opcode::RDGSBASE:
            return chained<op_read_base<Segment::gs>>;
        case Opcode::WRFSBASE:
            return chained<op_write_base<Segment::fs>>;
        case Opcode::WRGSBASE:
            return chained<op_write_base<Segment::gs>>;
        case Opcode::RDTSCP:
            return chained<op_rdtscp>;
        case Opcode::UD0:
        case Opcode::UD1:
        case Opcode::UD2:
            return chained<op_undefined>;
        case Opcode::NOP:
        case Opcode::PAUSE:
            return chained_pure<op_nop>;
        case Opcode::CLFLUSH:
            return chained<op_touch>;
        case Opcode::PUSHF:
            return chained<op_pushf>;
        case Opcode::POPF:
            return chained<op_popf>;
        case Opcode::CLI:
            return chained<op_cli>;
        case Opcode::STI:
            return chained<op_sti>;
        case Opcode::HLT:
            return chained<op_hlt>;
        case Opcode::IN:
            return chained<op_in>;
        case Opcode::OUT:
            return chained<op_out>;
        case Opcode::MOV_CR:
            return chained<op_mov_cr>;
        case Opcode::MOV_DR:
            return chained<op_mov_dr>;
        case Opcode::MOV_TR:
            return chained<op_mov_tr>;
        case Opcode::LMSW:
            return chained<op_lmsw>;
        case Opcode::SMSW:
            return chained<op_smsw>;
        case Opcode::CLTS:
            return chained<op_clts>;
        case Opcode::INVD:
        case Opcode::WBINVD:
            return chained<op_privileged_nop>;
        case Opcode::INVLPG:
            return chained<op_invlpg>;
        case Opcode::LGDT:
            return chained<op_lgdt>;
        case Opcode::LIDT:
            return chained<op_lidt>;
        case Opcode::SGDT:
            return chained<op_sgdt>;
        case Opcode::SIDT:
            return chained<op_sidt>;
        case Opcode::LLDT:
            return chained<op_lldt>;
        case Opcode::LTR:
            return chained<op_ltr>;
        case Opcode::SLDT:
            return chained<op_sldt>;
        case Opcode::STR:
            return chained<op_str>;
        case Opcode::LAR:
            return chained<op_lar>;
        case Opcode::LSL:
            return chained<op_lsl>;
        case Opcode::VERR:
            return chained<op_verify<false>>;
        case Opcode::VERW:
            return chained<op_verify<true>>;
        case Opcode::ARPL:
            return chained<op_arpl>;
        case Opcode::CPUID:
            return chained<op_cpuid>;
        case Opcode::RDTSC:
            return chained<op_rdtsc>;
        case Opcode::RDPMC:
            return chained<op_rdpmc>;
        case Opcode::RDMSR:
            return chained<op_rdmsr>;
        case Opcode::WRMSR:
            return chained<op_wrmsr>;
        default:
            return nullptr;
    }
}

}  // namespace lodge
