#include "tests/oracle/guest_cpu.h"

#include <algorithm>
#include <cstring>

#include "core/decode/decoder.h"
#include "core/interp/bind.h"
#include "tests/oracle/interpreter_has.h"

namespace lodge::oracle {
namespace {

// Physical memory. The tables of descriptors are at a linear address that only the supervisor reaches.
constexpr u64 kPml4 = 0x1000, kPdpt = 0x2000, kDirectory = 0x3000, kTable = 0x4000, kGdt = 0x5000;
constexpr u64 kPhysicalData = 0x8000, kPhysicalCode = 0x10000, kPhysicalSize = 0x20000;
constexpr u64 kGdtLinear = 0x101F0000, kLdtOffset = 0x800;
constexpr u16 kCode32 = 0x23, kDataSelector = 0x2B, kCode64 = 0x33;
constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kAccessedDirty = 0x60, kNoExecute = u64{1} << 63;
constexpr unsigned kMostSteps = 64;

InsnHandler bind_whatever_the_model(const Insn& insn) {
    using Binder = InsnHandler (*)(const Insn&);
    static constexpr Binder kBinders[] = {bind_integer, bind_move,      bind_branch, bind_shift, bind_string,
                                          bind_system,  bind_extension, bind_xsave,  bind_x87,   bind_simd};
    for (const Binder binder : kBinders)
        if (const InsnHandler handler = binder(insn)) return handler;
    return nullptr;
}

const CpuModel& model() {
    return *find_cpu_model("x86-64-v2");
}

void set_flat(SegmentState& segment, u16 selector, u64 base, u32 attributes) {
    segment = SegmentState{};
    segment.selector = selector;
    segment.base = segment.descriptor_base = base;
    segment.limit = 0xFFFFFFFF;
    segment.attributes = attributes;
    segment.readable_span = 0xFFFFFFFF;
    segment.writable_span = attributes & kSegmentCode ? i64{-1} : i64{0xFFFFFFFF};
}

}  // namespace

bool interpreter_has(const Insn& insn) {
    return has_feature(model(), required_feature(insn)) || bind_whatever_the_model(insn);
}

GuestCpu::GuestCpu() {
    memory_ = std::move(*PhysicalMemory::create(kPhysicalSize, nothing_));
    memory_->map(0, kPhysicalSize, 0, true);
    const u64 directory = kPresent | kWritable | kUser | 0x20;
    memory_->write_value<u64>(kPml4, kPdpt | directory);
    memory_->write_value<u64>(kPdpt, kDirectory | directory);
    memory_->write_value<u64>(kDirectory + (kWindow >> 21 & 511) * 8, kTable | directory);
    for (u64 at = 0; at < kDataSize + kReadOnlySize; at += kPageSize)
        map_page(kData + at, kPhysicalData + at, kUser | kNoExecute | (at < kDataSize ? kWritable : 0));
    for (u64 at = 0; at < kCodeSize; at += kPageSize) map_page(kCode + at, kPhysicalCode + at, kUser);
    map_page(kGdtLinear, kGdt, kWritable | kNoExecute);
    set_descriptor(kGdt + (kCode32 & ~7u), 0x00CFFB000000FFFF);
    set_descriptor(kGdt + (kDataSelector & ~7u), 0x00CFF3000000FFFF);
    set_descriptor(kGdt + (kCode64 & ~7u), 0x00AFFB000000FFFF);
    cpu_ = std::make_unique<Cpu>(log_, *memory_, nothing_, clock_, model());
}

GuestCpu::~GuestCpu() = default;

u64 GuestCpu::code_offset() const {
    return kPhysicalCode;
}

std::span<u8> GuestCpu::data() {
    return memory_->backing().subspan(kPhysicalData, kDataSize + kReadOnlySize);
}

void GuestCpu::map_page(u64 linear, u64 physical, u64 rights) {
    memory_->write_value<u64>(kTable + (linear >> 12 & 511) * 8, physical | rights | kPresent | kAccessedDirty);
}

void GuestCpu::set_descriptor(u64 address, u64 value) {
    memory_->write_value<u64>(address, value);
}

void GuestCpu::set_fs32(u16 selector, u64 base) {
    fs_selector32_ = selector;
    fs_base32_ = base;
    if (selector & 4)
        set_descriptor(kGdt + kLdtOffset + (selector & ~7u),
                       0x00CFF3000000FFFF | (base & 0xFFFFFF) << 16 | (base >> 24) << 56);
    enter_mode(false);
    in_mode_[0] = cpu_->state;
    enter_mode(true);
    in_mode_[1] = cpu_->state;
}

// Through reset, so that a recorded fault is gone too.
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
    to.tr.attributes = 0;  // no port is permitted
    to.gdtr.base = kGdtLinear;
    to.gdtr.limit = 0x7F;
    to.idtr.limit = 0;
    to.ldtr = SegmentState{};
    to.ldtr.selector = 0x50;
    to.ldtr.base = to.ldtr.descriptor_base = kGdtLinear + kLdtOffset;
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
    if (cpu_->fault()) cpu_->init();
    CpuState& to = cpu_->state;
    to = in_mode_[made.code64];
    if (made.code64) {
        SegmentState& fs = to.segment(Segment::fs);
        SegmentState& gs = to.segment(Segment::gs);
        fs.base = fs.descriptor_base = from.fs_base;
        gs.base = gs.descriptor_base = from.gs_base;
    }
    std::memcpy(to.gpr, from.gpr.data(), sizeof from.gpr);
    to.ip = from.ip;
    cpu_->mode_changed();
    cpu_->set_eflags(from.flags);
    cpu_->mode_changed();
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

// One instruction. False: it faulted.
bool GuestCpu::step() {
    u8 bytes[kLongestInsn];
    Insn& insn = block_[0];
    // First what lies in this page: the next one may fault, and the instruction may not need it.
    const u64 ip = cpu_->state.ip;
    auto have = static_cast<unsigned>(std::min<u64>(kLongestInsn, kPageSize - (ip & kPageMask)));
    if (cpu_->fetch_bytes(ip, bytes, have) < have) return false;
    DecodeStatus status = decode({bytes, have}, cpu_->code_size(), insn);
    while (status == DecodeStatus::truncated && have < kLongestInsn) {
        if (cpu_->fetch_bytes(ip + have, bytes + have, 1) == 0) return false;
        ++have;
        status = decode({bytes, have}, cpu_->code_size(), insn);
    }
    if (status != DecodeStatus::ok) return status == DecodeStatus::too_long ? cpu_->raise_gp() : cpu_->raise_ud();
    if (insn.base == kBlockIp) insn.displacement += insn.length;
    insn.run = bind_whatever_the_model(insn);
    if (!insn.run) return cpu_->raise_ud();
    block_[1] = Insn{};
    block_[1].run = [](Cpu& cpu, const Insn* at) { stop_before(cpu, at); };
    block_[1].code_size = insn.code_size;
    block_[1].block_index = 1;
    block_[1].block_offset = insn.length;
    cpu_->stop = false;
    cpu_->state.gpr[kBlockIp] = ip;
    insn.run(*cpu_, &insn);
    if (!cpu_->fault()) return true;
    cpu_->state.ip = ip;
    return false;
}

void GuestCpu::run(const OracleCase& made, OracleOutcome& outcome) {
    load_state(made);
    unsigned steps = 0;
    while (cpu_->state.ip != made.end() && ++steps < kMostSteps)
        if (!step()) break;
    outcome.fault.reset();
    if (const auto& fault = cpu_->fault())
        outcome.fault = OracleFault{static_cast<u8>(fault->vector), fault->error,
                                    fault->vector == Exception::PF ? cpu_->state.cr2 : 0};
    cpu_->attention.store(0);
    store_state(outcome.state);
}

}  // namespace lodge::oracle
