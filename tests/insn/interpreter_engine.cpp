// Runs tests on the interpreter's handlers: a Cpu in protected mode at CPL 3, flat segments, paging with an identity
// map of the test regions only, so that everything else is #PF as on the host. Blocks are decoded afresh each time and
// faults are not delivered, so that the state is that at the fault.
#include <array>

#include "core/cpu/cpu.h"
#include "core/decode/decoder.h"
#include "core/interp/bind.h"
#include "tests/insn/engine.h"
#include "tests/insn/test_memory.h"

namespace lodge {
namespace {

class NothingThere final : public AddressSpace {
  public:
    u64 read(u64, unsigned) override { return ~u64{0}; }
    void write(u64, unsigned, u64) override {}
};

// The page tables and the GDT lie at physical addresses that no test can reach; the GDT's linear address is the
// supervisor's.
constexpr u64 kPageDirectory = 0x1000, kPageTable = 0x2000, kGdt = 0x8000;
constexpr u64 kGdtLinear = 0x103F0000;
constexpr u64 kLow = 0x10000;
constexpr u16 kCode32 = 0x23, kData = 0x2B, kCode64 = 0x33;
constexpr unsigned kMostBlocks = 1'000'000;
constexpr unsigned kMostInBlock = 32;

class InterpreterEngine final : public InsnEngine {
  public:
    InterpreterEngine();
    u8* memory(u64 address) override { return memory_->read_pointer(address) + (address & kPageMask); }
    InsnOutcome run(const InsnState& state, u64 end, bool code64) override;

  private:
    void map(const TestRegion& region, u64& backing);
    void set_descriptor(u16 selector, u32 high);
    void load_state(Cpu& cpu, const InsnState& state, bool code64);
    InsnState final_state(const Cpu& cpu) const;
    bool decode_block(Cpu& cpu, u64 end);

    NothingThere nothing_;
    Log log_;
    GuestClock clock_{ClockMode::virtual_time};
    std::unique_ptr<PhysicalMemory> memory_;
    std::array<Insn, kMostInBlock + 1> block_;
};

InterpreterEngine::InterpreterEngine() {
    u64 size = kLow;
    for (const TestRegion& region : kTestRegions) size += region.size;
    memory_ = std::move(*PhysicalMemory::create(size, nothing_));
    memory_->map(0, kLow, 0, true);
    u64 backing = kLow;
    for (const TestRegion& region : kTestRegions) map(region, backing);
    constexpr u32 kPresentWritable = 0x03;  // for the supervisor only
    memory_->write_value<u32>(kPageTable + (kGdtLinear >> 12 & 0x3FF) * 4, static_cast<u32>(kGdt) | kPresentWritable);
    set_descriptor(kCode32, 0x00CFFB00);
    set_descriptor(kData, 0x00CFF300);
    set_descriptor(kCode64, 0x00AFFB00);
}

// All regions lie in one 4 MiB-aligned part of the address space.
void InterpreterEngine::map(const TestRegion& region, u64& backing) {
    memory_->map(region.address, region.size, backing, true);
    backing += region.size;
    constexpr u32 kPresentUser = 0x05, kWritable = 0x02;
    const u64 directory_entry = kPageDirectory + (region.address >> 22) * 4;
    memory_->write_value<u32>(directory_entry, static_cast<u32>(kPageTable) | kPresentUser | kWritable);
    for (u64 at = region.address; at < region.address + region.size; at += kPageSize) {
        const u32 entry = static_cast<u32>(at) | kPresentUser | (region.writable ? kWritable : 0);
        memory_->write_value<u32>(kPageTable + (at >> 12 & 0x3FF) * 4, entry);
    }
}

void InterpreterEngine::set_descriptor(u16 selector, u32 high) {
    memory_->write_value<u32>(kGdt + (selector & ~7u), 0x0000FFFF);
    memory_->write_value<u32>(kGdt + (selector & ~7u) + 4, high);
}

void set_flat(SegmentState& segment, u16 selector, u32 attributes, bool writable) {
    segment = SegmentState{};
    segment.selector = selector;
    segment.limit = 0xFFFFFFFF;
    segment.attributes = attributes;
    segment.readable_span = 0xFFFFFFFF;
    segment.writable_span = writable ? i64{0xFFFFFFFF} : i64{-1};
}

void InterpreterEngine::load_state(Cpu& cpu, const InsnState& state, bool code64) {
    cpu.reset();
    CpuState& to = cpu.state;
    for (unsigned i = 0; i < 6; ++i) set_flat(to.segments[i], kData, 0xC0F3, true);
    for (const Segment segment : {Segment::fs, Segment::gs}) {  // null, as on the host
        to.segment(segment) = SegmentState{};
        to.segment(segment).attributes = kSegmentUnusable;
    }
    set_flat(to.segment(Segment::cs), code64 ? kCode64 : kCode32, code64 ? 0xA0FB : 0xC0FB, false);
    to.tr.attributes = 0;  // no port is permitted
    to.gdtr.base = kGdtLinear;
    to.gdtr.limit = 0x3F;
    to.cr0 = kCr0Pe | kCr0Mp | kCr0Et | kCr0Ne | kCr0Wp | kCr0Pg;
    to.cr3 = kPageDirectory;
    to.cr4 = kCr4Osfxsr | kCr4Osxmmexcpt;
    to.cpl = 3;
    if (code64) {  // without paging: only the handlers matter here
        to.cr0 &= ~kCr0Pg;
        to.efer = kEferLme | kEferLma;
        to.linear_mask = ~u64{0};
    }
    cpu.mode_changed();
    for (unsigned i = 0; i < 16; ++i) to.gpr[i] = state.gpr[i];
    to.ip = state.ip;
    cpu.set_eflags(state.eflags);
    to.fpu.control = state.fcw;
    to.fpu.status = state.fsw;
    to.fpu.valid = state.valid;
    to.fpu.mxcsr = state.mxcsr;
    const unsigned top = state.fsw >> 11 & 7;
    for (unsigned i = 0; i < 8; ++i) {
        std::memcpy(to.fpu.st[(top + i) & 7], state.st[i].data(), 10);
        std::memcpy(to.fpu.xmm[i], state.xmm[i].data(), 16);
    }
}

InsnState InterpreterEngine::final_state(const Cpu& cpu) const {
    const CpuState& from = cpu.state;
    InsnState state;
    for (unsigned i = 0; i < 16; ++i) state.gpr[i] = from.gpr[i];
    state.ip = from.ip;
    state.eflags = cpu.eflags();
    state.fcw = from.fpu.control;
    state.fsw = from.fpu.status;
    state.valid = from.fpu.valid;
    state.mxcsr = from.fpu.mxcsr;
    const unsigned top = from.fpu.status >> 11 & 7;
    for (unsigned i = 0; i < 8; ++i) {
        std::memcpy(state.st[i].data(), from.fpu.st[(top + i) & 7], 10);
        std::memcpy(state.xmm[i].data(), from.fpu.xmm[i], 16);
    }
    return state;
}

// Integer instructions are tried whatever the CPU model has: a test that runs them asks the host first.
InsnHandler bind_anything(const Insn& insn, const CpuModel& model) {
    for (const auto binder : {bind_integer, bind_move, bind_shift})
        if (const InsnHandler handler = binder(insn)) return handler;
    return bind(insn, model);
}

// At least one instruction, up to `end`; false when not even one could be fetched and decoded.
bool InterpreterEngine::decode_block(Cpu& cpu, u64 end) {
    unsigned count = 0;
    u64 ip = cpu.state.ip;
    while (count < kMostInBlock && ip != end) {
        u8 bytes[kLongestInsn];
        const unsigned got = cpu.fetch_bytes(ip, bytes, kLongestInsn);
        if (got < kLongestInsn) return false;  // no test's code ends at its region's end
        Insn& insn = block_[count];
        const DecodeStatus status = decode(bytes, cpu.code_size(), insn);
        if (status != DecodeStatus::ok) {
            if (count) break;
            return status == DecodeStatus::too_long ? cpu.raise_gp() : cpu.raise_ud();
        }
        insn.block_index = static_cast<u8>(count++);
        insn.block_offset = static_cast<u16>(ip - cpu.state.ip);
        if (insn.base == kBlockIp) insn.displacement += insn.block_offset + insn.length;
        insn.run = bind_anything(insn, cpu.model());
        ip += insn.length;
        if (ends_block(insn)) break;
    }
    Insn& sentinel = block_[count];
    sentinel = Insn{};
    sentinel.run = [](Cpu& cpu, const Insn* insn) { stop_before(cpu, insn); };
    sentinel.code_size = cpu.code_size();
    sentinel.block_offset = static_cast<u16>(ip - cpu.state.ip);
    return true;
}

InsnOutcome InterpreterEngine::run(const InsnState& state, u64 end, bool code64) {
    Cpu cpu(log_, *memory_, nothing_, clock_, cpu_models().back());
    load_state(cpu, state, code64);
    InsnOutcome outcome;
    for (unsigned blocks = 0; cpu.state.ip != end; ++blocks) {
        if (blocks == kMostBlocks) {
            outcome.timed_out = true;
            break;
        }
        cpu.stop = false;
        cpu.state.gpr[kBlockIp] = cpu.state.ip;
        if (decode_block(cpu, end)) {
            block_[0].run(cpu, &block_[0]);
            if (cpu.fault()) cpu.state.ip = this_ip(cpu, *cpu.current);
        }
        if (cpu.fault()) break;
    }
    if (const auto& fault = cpu.fault()) outcome.fault = InsnFault{static_cast<u8>(fault->vector), fault->error};
    outcome.state = final_state(cpu);
    return outcome;
}

}  // namespace

std::unique_ptr<InsnEngine> make_interpreter_engine() {
    return std::make_unique<InterpreterEngine>();
}

}  // namespace lodge
