#include "tests/oracle/guest_cpu.h"

#include <cstring>

#include "tests/oracle/engines.h"
#include "tests/oracle/models.h"

namespace lodge::oracle {
namespace {

// Physical memory. The upper half of the linear addresses has tables of its own.
constexpr u64 kPml4 = 0x1000, kPdpt = 0x2000, kDirectory = 0x3000, kTable = 0x4000;
constexpr u64 kUpperPdpt = 0x5000, kUpperDirectory = 0x6000, kUpperTable = 0x7000;
constexpr u64 kSystem = 0x8000;  // what lies at kSystemLinear
constexpr u64 kPhysicalData = 0x10000, kPhysicalCode = 0x18000, kPhysicalSize = 0x20000;
// Linear addresses where the host has its kernel, too: a page each of descriptors, gates, TSS, handlers and stack.
constexpr u64 kSystemLinear = 0xFFFFFFFF80000000, kSystemSize = 5 * kPageSize;
constexpr u64 kGdt = 0, kIdt = 0x1000, kTss = 0x2000, kHandlers = 0x3000, kStackEnd = 0x5000;
constexpr u64 kLdt = 0x800;
constexpr u16 kKernelCode = 0x08, kCode32 = 0x23, kDataSelector = 0x2B, kCode64 = 0x33, kTssSelector = 0x40,
              kLdtSelector = 0x50;
constexpr unsigned kHandlerSize = 16;
constexpr u8 kHalt = 0xF4;
constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kAccessedDirty = 0x60, kNoExecute = u64{1} << 63;
// More than a case can take without a fault at its end.
constexpr unsigned kMostInstructions = 64;

void set_flat(SegmentState& segment, u16 selector, u64 base, u32 attributes) {
    segment = SegmentState{};
    segment.selector = selector;
    segment.base = segment.descriptor_base = base;
    segment.limit = 0xFFFFFFFF;
    segment.attributes = attributes;
    segment.readable_span = 0xFFFFFFFF;
    segment.writable_span = attributes & kSegmentCode ? i64{-1} : i64{0xFFFFFFFF};
}

// Linux lets programs use INT3 and INTO; other gates are the kernel's.
u64 gate_rights(unsigned vector) {
    const bool for_users = vector == 3 || vector == 4;
    return for_users ? 0xEE : 0x8E;
}

}  // namespace

GuestCpu::GuestCpu() {
    memory_ = std::move(*PhysicalMemory::create(kPhysicalSize, nothing_));
    memory_->map(0, kPhysicalSize, 0, true);
    const u64 directory = kPresent | kWritable | kUser | 0x20;
    memory_->write_value<u64>(kPml4, kPdpt | directory);
    memory_->write_value<u64>(kPdpt, kDirectory | directory);
    memory_->write_value<u64>(kDirectory + (kWindow >> 21 & 511) * 8, kTable | directory);
    memory_->write_value<u64>(kPml4 + 511 * 8, kUpperPdpt | directory);
    memory_->write_value<u64>(kUpperPdpt + 510 * 8, kUpperDirectory | directory);
    memory_->write_value<u64>(kUpperDirectory, kUpperTable | directory);
    for (u64 at = 0; at < kDataSize + kReadOnlySize; at += kPageSize)
        map_page(kData + at, kPhysicalData + at, kUser | kNoExecute | (at < kDataSize ? kWritable : 0));
    for (u64 at = 0; at < kCodeSize; at += kPageSize) map_page(kCode + at, kPhysicalCode + at, kUser);
    for (u64 at = 0; at < kSystemSize; at += kPageSize) map_page(kSystemLinear + at, kSystem + at, kWritable);
    make_tables();
    cpu_ = std::make_unique<Cpu>(log_, *memory_, nothing_, clock_, guest_model());
}

std::unique_ptr<GuestCpu> GuestCpu::create(std::string_view engine) {
    std::unique_ptr<GuestCpu> guest(new GuestCpu);
    guest->engine_ = make_engine(engine, *guest->cpu_);
    return guest->engine_ ? std::move(guest) : nullptr;
}

GuestCpu::~GuestCpu() = default;

u64 GuestCpu::code_offset() const {
    return kPhysicalCode;
}

std::span<u8> GuestCpu::data() {
    return memory_->backing().subspan(kPhysicalData, kDataSize + kReadOnlySize);
}

void GuestCpu::map_page(u64 linear, u64 physical, u64 rights) {
    const u64 table = linear < kSystemLinear ? kTable : kUpperTable;
    memory_->write_value<u64>(table + (linear >> 12 & 511) * 8, physical | rights | kPresent | kAccessedDirty);
}

void GuestCpu::make_tables() {
    const auto put = [&](u64 at, u64 value) { memory_->write_value<u64>(kSystem + at, value); };
    const auto descriptor = [&](u16 selector, u64 value) { put(kGdt + (selector & ~7u), value); };
    descriptor(kKernelCode, 0x00AF9B000000FFFF);
    descriptor(kCode32, 0x00CFFB000000FFFF);
    descriptor(kDataSelector, 0x00CFF3000000FFFF);
    descriptor(kCode64, 0x00AFFB000000FFFF);
    for (unsigned vector = 0; vector < 256; ++vector) {
        const u64 target = kSystemLinear + kHandlers + vector * kHandlerSize;
        put(kIdt + vector * 16,
            (target & 0xFFFF) | u64{kKernelCode} << 16 | gate_rights(vector) << 40 | (target >> 16 & 0xFFFF) << 48);
        put(kIdt + vector * 16 + 8, target >> 32);
        memory_->write_value<u8>(kSystem + kHandlers + vector * kHandlerSize, kHalt);
    }
    // RSP0 lies at an odd multiple of four. No port is permitted: the map would begin behind the limit.
    const u64 stack = kSystemLinear + kStackEnd;
    memory_->write_value<u32>(kSystem + kTss + 4, static_cast<u32>(stack));
    memory_->write_value<u32>(kSystem + kTss + 8, static_cast<u32>(stack >> 32));
    memory_->write_value<u16>(kSystem + kTss + 0x66, 0x68);
}

void GuestCpu::set_fs32(u16 selector, u64 base) {
    fs_selector32_ = selector;
    fs_base32_ = base;
    if (selector & 4)
        memory_->write_value<u64>(kSystem + kLdt + (selector & ~7u),
                                  0x00CFF3000000FFFF | (base & 0xFFFFFF) << 16 | (base >> 24) << 56);
    enter_mode(false);
    in_mode_[0] = cpu_->state;
    enter_mode(true);
    in_mode_[1] = cpu_->state;
}

void GuestCpu::enter_mode(bool code64) {
    cpu_->init();
    CpuState& to = cpu_->state;
    constexpr u32 kDataAttributes = 0xC0F3;
    for (const Segment segment : {Segment::ds, Segment::es, Segment::ss})
        set_flat(to.segment(segment), kDataSelector, 0, kDataAttributes);
    set_flat(to.segment(Segment::cs), code64 ? kCode64 : kCode32, 0, code64 ? 0xA0FB : 0xC0FB);
    if (code64) {
        for (const Segment segment : {Segment::fs, Segment::gs}) {
            to.segment(segment) = SegmentState{};
            to.segment(segment).attributes = kSegmentUnusable;
        }
    } else {
        set_flat(to.segment(Segment::fs), fs_selector32_, fs_base32_, kDataAttributes);
        set_flat(to.segment(Segment::gs), kDataSelector, 0, kDataAttributes);
    }
    to.tr = SegmentState{};
    to.tr.selector = kTssSelector;
    to.tr.base = to.tr.descriptor_base = kSystemLinear + kTss;
    to.tr.limit = 0x67;
    to.tr.attributes = kSegmentPresent | 0x0B;
    to.gdtr.base = kSystemLinear + kGdt;
    to.gdtr.limit = 0x7F;
    to.idtr.base = kSystemLinear + kIdt;
    to.idtr.limit = 0xFFF;
    to.ldtr = SegmentState{};
    to.ldtr.selector = kLdtSelector;
    to.ldtr.base = to.ldtr.descriptor_base = kSystemLinear + kLdt;
    to.ldtr.limit = 7;
    to.ldtr.attributes = kSegmentPresent | 2;
    to.cr0 = kCr0Pe | kCr0Mp | kCr0Et | kCr0Ne | kCr0Wp | kCr0Am | kCr0Pg;
    to.cr3 = kPml4;
    to.cr4 = kCr4Pae | kCr4Osfxsr | kCr4Osxmmexcpt | kCr4Fsgsbase | kCr4Umip | kCr4Osxsave;
    to.efer = kEferSce | kEferLme | kEferLma | kEferNxe;
    to.cpl = 3;
    cpu_->mode_changed();
}

void GuestCpu::load_state(const OracleCase& made) {
    const OracleState& from = made.before;
    CpuState& to = cpu_->state;
    const EngineState engine = to.engine;
    to = in_mode_[made.code64];
    to.engine = engine;
    if (made.code64) {
        SegmentState& fs = to.segment(Segment::fs);
        SegmentState& gs = to.segment(Segment::gs);
        fs.base = fs.descriptor_base = from.fs_base;
        gs.base = gs.descriptor_base = from.gs_base;
    }
    std::memcpy(to.gpr, from.gpr.data(), sizeof from.gpr);
    to.ip = from.ip;
    cpu_->attention.store(0);
    cpu_->pending_dr6 = 0;
    cpu_->mode_changed();
    cpu_->set_eflags(from.flags);
    FpuState& fpu = to.fpu;
    fpu.control = from.fpu.control;
    fpu.status = from.fpu.status;
    fpu.valid = from.fpu.valid;
    fpu.mxcsr = from.fpu.mxcsr;
    const unsigned top = from.fpu.status >> 11 & 7;
    for (unsigned i = 0; i < 8; ++i) std::memcpy(fpu.st[(top + i) & 7], from.fpu.st[i], 10);
    std::memcpy(fpu.xmm, from.fpu.xmm, sizeof fpu.xmm);
}

void GuestCpu::store_state(OracleState& state) const {
    const CpuState& from = cpu_->state;
    std::memcpy(state.gpr.data(), from.gpr, sizeof state.gpr);
    state.ip = from.ip;
    state.flags = cpu_->eflags() | 2;
    state.code_selector = from.segment(Segment::cs).selector;
    static constexpr Segment kSegments[] = {Segment::ds, Segment::es, Segment::fs, Segment::gs};
    for (unsigned i = 0; i < 4; ++i) state.selectors[i] = from.segment(kSegments[i]).selector;
    state.fs_base = from.segment(Segment::fs).base;
    state.gs_base = from.segment(Segment::gs).base;
    FxImage& fpu = state.fpu;
    fpu.control = from.fpu.control;
    fpu.status = from.fpu.status;
    fpu.valid = from.fpu.valid;
    fpu.mxcsr = from.fpu.mxcsr;
    const unsigned top = from.fpu.status >> 11 & 7;
    for (unsigned i = 0; i < 8; ++i) std::memcpy(fpu.st[i], from.fpu.st[(top + i) & 7], 10);
    std::memcpy(fpu.xmm, from.fpu.xmm, sizeof fpu.xmm);
}

// A handler has been reached: what it found on its stack is the state at the fault.
void GuestCpu::take_fault(const OracleCase& made, OracleOutcome& outcome) const {
    const CpuState& from = cpu_->state;
    const u64 vector = (from.ip - kSystemLinear - kHandlers) / kHandlerSize;
    u64 at = from.gpr[kRsp] - kSystemLinear + kSystem;
    const auto pop = [&] {
        at += 8;
        return memory_->read_value<u64>(at - 8);
    };
    OracleFault fault;
    fault.vector = static_cast<u8>(vector);
    if (has_error_code(static_cast<Exception>(vector))) fault.error = static_cast<u32>(pop());
    if (vector == static_cast<u64>(Exception::PF)) fault.address = from.cr2;
    OracleState& state = outcome.state;
    state.ip = pop();
    state.code_selector = static_cast<u16>(pop());
    state.flags = static_cast<u32>(pop());
    state.gpr[kRsp] = pop();
    // Behind the case lies a HLT.
    if (state.ip == made.end() && vector == static_cast<u64>(Exception::GP)) return;
    outcome.fault = fault;
}

// Mostly as fast as it goes; some cases instruction by instruction, which must come to the same.
ExitReason GuestCpu::run_engine(const OracleCase& made) {
    const bool stepped = made.before.ip % 8 == 0;
    for (unsigned i = 0; i < kMostInstructions; ++i) {
        const bool trap_is_due = cpu_->attention.load() & kAttentionTrap;
        if (cpu_->state.ip == made.end() && !trap_is_due) return ExitReason::budget;
        const ExitReason exit = engine_->run(stepped ? 1 : kMostInstructions);
        if (exit == ExitReason::kicked) continue;  // a long repetition is to go on
        if (exit != ExitReason::budget || !stepped) return exit;
    }
    return ExitReason::budget;
}

void GuestCpu::run(const OracleCase& made, OracleOutcome& outcome) {
    const u64 code = kPhysicalCode + (made.before.ip - kCode);
    memory_->write(code, made.bytes);
    load_state(made);
    const u64 retired = cpu_->state.retired;
    const bool in_handler = run_engine(made) == ExitReason::halted && cpu_->state.cpl == 0;
    outcome.fault.reset();
    store_state(outcome.state);
    outcome.retired = cpu_->state.retired - retired - in_handler;  // the handler's HLT
    if (in_handler) take_fault(made, outcome);
    memory_->write(code, std::vector<u8>(made.bytes.size(), kFiller));
}

}  // namespace lodge::oracle
