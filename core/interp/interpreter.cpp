#include "core/interp/interpreter.h"

#include <algorithm>

#include "core/decode/decoder.h"
#include "core/interp/bind.h"

namespace lodge {

namespace {

void run_sentinel(Cpu& cpu, const Insn* insn) {
    stop_before(cpu, insn);
}

// What may clear TF as its last act, so that no single step comes after it.
bool enters_a_handler(const Insn& insn) {
    return insn.opcode == Opcode::INT || insn.opcode == Opcode::INT3 || insn.opcode == Opcode::INTO ||
           insn.opcode == Opcode::INT1 || insn.opcode == Opcode::SYSCALL;
}

}  // namespace

void place_insn(Insn& insn, unsigned index, unsigned offset, const CpuModel& model) {
    insn.block_index = static_cast<u8>(index);
    insn.block_offset = static_cast<u16>(offset);
    if (insn.base == kBlockIp) insn.displacement += offset + insn.length;
    insn.run = bind(insn, model);
}

void place_sentinel(Insn& sentinel, const Insn& last) {
    sentinel = Insn{};
    sentinel.run = run_sentinel;
    sentinel.code_size = last.code_size;
    sentinel.block_index = static_cast<u8>(last.block_index + 1);
    sentinel.block_offset = static_cast<u16>(last.block_offset + last.length);
}

Interpreter::Interpreter(Cpu& cpu) : cpu_(cpu), jumps_(kJumpEntries) {
    cpu_.set_code_cache(this);
}

Interpreter::~Interpreter() {
    cpu_.set_code_cache(nullptr);
}

ExitReason Interpreter::run(u64 instructions) {
    const u64 end = cpu_.state.retired + instructions;
    Block* block = nullptr;
    for (;;) {
        if (cpu_.state.retired >= end) return ExitReason::budget;
        if (const u32 attention = cpu_.attention.load(std::memory_order_relaxed)) [[unlikely]] {
            ExitReason exit;
            if (attend(attention, exit)) return exit;
            block = nullptr;
            continue;
        }
        block = next_block(block);
        if (!block && cpu_.stops_here()) continue;
        if (!block || block->count > end - cpu_.state.retired) {
            step();
            block = nullptr;
            continue;
        }
        if (!run_block(*block)) block = nullptr;
    }
}

bool Interpreter::run_block(const Block& block) {
    cpu_.state.gpr[kBlockIp] = cpu_.state.ip;
    execute(block.instructions.get());
    if (buried_.empty()) return true;
    buried_.clear();
    return false;
}

void Interpreter::execute(const Insn* first) {
    cpu_.stop = false;
    first->run(cpu_, first);
    complete();
}

void Interpreter::complete() {
    const Insn* at = cpu_.current;
    cpu_.current = nullptr;
    cpu_.state.retired += at->block_index;
    if (!cpu_.fault()) [[likely]]
        return;
    // A fault of a task switch belongs to the new task, whose IP is already in place (Cpu::enter_task).
    if (!cpu_.take_fault_in_new_context()) cpu_.state.ip = this_ip(cpu_, *at);
    cpu_.deliver_fault();
}

bool Interpreter::attend(u32 attention, ExitReason& exit) {
    if (attention & kAttentionShutdown) {
        exit = ExitReason::shutdown;
        return true;
    }
    if ((attention & kAttentionDebugger) && cpu_.stops_at_boundary()) {
        exit = ExitReason::debugger;
        return true;
    }
    if (attention & kAttentionKick) {
        cpu_.clear_attention(kAttentionKick);
        exit = ExitReason::kicked;
        return true;
    }
    if (attention & kAttentionInit) {
        cpu_.take_init();
        return false;
    }
    if (attention & kAttentionShadow) {
        if (!(attention & kAttentionHalted) && cpu_.stops_here()) return false;
        cpu_.clear_attention(kAttentionShadow | kAttentionNewStack);
        if (!(attention & kAttentionHalted)) {
            if (attention & kAttentionSingle)
                step_watched(attention & kAttentionNewStack);
            else
                step();
            return false;
        }
    }
    if (attention & kAttentionTrap) {
        cpu_.take_trap();
        return false;
    }
    if ((attention & kAttentionNmi) && cpu_.take_nmi()) return false;
    if (attention & kAttentionInterrupt) {
        cpu_.take_interrupt();
        return false;
    }
    if (attention & kAttentionHalted) {
        exit = ExitReason::halted;
        return true;
    }
    if (cpu_.stops_here()) return false;
    if (attention & kAttentionSingle)
        step_watched(false);
    else
        step();  // an NMI that is blocked, or the debugger follows each instruction
    return false;
}

Interpreter::Block* Interpreter::next_block(Block* previous) {
    const u64 ip = cpu_.state.ip;
    const u64 drops = drops_;
    if (previous)
        for (const Link& link : previous->links)
            if (leads_to(link, ip)) return link.block;
    Link& jump = jump_entry(ip);
    if (!leads_to(jump, ip)) {
        Block* found = find_block();
        if (!found) return nullptr;
        jump = {ip, cpu_.fetch_epoch, drops_, found};
    }
    if (previous && drops_ == drops) {
        previous->links[previous->next_link] = jump;
        previous->next_link ^= 1;
    }
    return jump.block;
}

Interpreter::Block* Interpreter::find_block() {
    const SegmentState& cs = cpu_.state.segment(Segment::cs);
    const u64 linear = (cs.base + cpu_.state.ip) & cpu_.state.linear_mask;
    const u8* code = cpu_.fetch_pointer(linear);
    if (!code) return nullptr;  // step() finds the fault again, or reads the bytes one by one
    const u64 offset = static_cast<u64>(code - cpu_.memory().backing().data());
    const u64 key = offset << 4 | static_cast<u64>(cpu_.code_size());
    Block* block = blocks_.find(key);
    if (!block) block = make_block(code, key);
    if (!block) return nullptr;
    if (!cpu_.code64() && cpu_.state.ip + block->bytes - 1 > cs.limit) return nullptr;
    return block;
}

Interpreter::Block* Interpreter::make_block(const u8* code, u64 key) {
    if (decoded_ > kMostDecoded) drop_all();
    const u64 backing = key >> 4;
    if (cpu_.code_is_marked(backing)) return nullptr;
    const auto available = static_cast<size_t>(kPageSize - (backing & kPageMask));
    std::array<Insn, kMostInBlock> decoded;
    unsigned count = 0;
    size_t offset = 0;
    while (count < kMostInBlock) {
        Insn& insn = decoded[count];
        insn = Insn{};
        if (decode({code + offset, available - offset}, cpu_.code_size(), insn) != DecodeStatus::ok) break;
        place_insn(insn, count, static_cast<unsigned>(offset), cpu_.model());
        offset += insn.length;
        ++count;
        if (ends_block(insn) || cpu_.code_is_marked(backing + offset)) break;
    }
    if (count == 0) return nullptr;
    auto block = std::make_unique<Block>();
    block->key = key;
    block->count = static_cast<u16>(count);
    block->bytes = static_cast<u16>(offset);
    block->instructions = std::make_unique<Insn[]>(count + 1);
    std::copy_n(decoded.begin(), count, block->instructions.get());
    place_sentinel(block->instructions[count], decoded[count - 1]);
    decoded_ += count;
    const u64 page = backing / kPageSize;
    const Extent extent{key, static_cast<u16>(backing & kPageMask), block->bytes};
    cpu_.memory().mark_code(page, extent.offset, extent.bytes);
    page_code_[page].push_back(extent);
    return blocks_.insert(key, std::move(block));
}

void Interpreter::bury(u64 key) {
    buried_.push_back(blocks_.take(key));
    decoded_ -= buried_.back()->count;
}

// Pages that hold both code and data are written to all the time, mostly near code and not into it: then nothing is
// dropped, and whatever was looked up stays valid.
void Interpreter::drop_code(u64 backing_page, unsigned offset, unsigned length) {
    const auto written = [&](const Extent& extent) {
        return extent.offset < offset + length && offset < unsigned{extent.offset} + extent.bytes;
    };
    PhysicalMemory& memory = cpu_.memory();
    const auto found = page_code_.find(backing_page);
    if (found == page_code_.end()) return memory.forget_code(backing_page);
    std::vector<Extent>& extents = found->second;
    if (std::none_of(extents.begin(), extents.end(), written)) return;
    ++drops_;
    // The page stays watched, so that no TLB is searched for it.
    memory.clear_code_marks(backing_page);
    for (const Extent& extent : extents) {
        if (written(extent))
            bury(extent.key);
        else
            memory.mark_code(backing_page, extent.offset, extent.bytes);
    }
    std::erase_if(extents, written);
    if (!extents.empty()) return;
    page_code_.erase(found);
    memory.forget_code(backing_page);
}

// The code marks stay, for another engine's sake: a write there finds nothing to drop and takes them away.
void Interpreter::drop_all() {
    blocks_.take_all([this](std::unique_ptr<Block> block) { buried_.push_back(std::move(block)); });
    page_code_.clear();
    decoded_ = 0;
    ++drops_;
}

bool Interpreter::decode_at_ip(Insn& insn) {
    const SegmentState& cs = cpu_.state.segment(Segment::cs);
    const u64 linear = (cs.base + cpu_.state.ip) & cpu_.state.linear_mask;
    u8 bytes[kLongestInsn];
    // First what lies in this page: the next one may fault, and the instruction may not need it.
    unsigned have = static_cast<unsigned>(std::min<u64>(kLongestInsn, kPageSize - (linear & kPageMask)));
    if (!cpu_.code64() && cpu_.state.ip <= cs.limit)
        have = static_cast<unsigned>(std::min<u64>(have, cs.limit - cpu_.state.ip + 1));
    if (cpu_.fetch_bytes(cpu_.state.ip, bytes, have) < have) return false;
    insn = Insn{};
    DecodeStatus status = decode({bytes, have}, cpu_.code_size(), insn);
    while (status == DecodeStatus::truncated && have < kLongestInsn) {
        if (cpu_.fetch_bytes(cpu_.state.ip + have, bytes + have, 1) == 0) return false;
        ++have;
        insn = Insn{};
        status = decode({bytes, have}, cpu_.code_size(), insn);
    }
    if (status == DecodeStatus::ok) return true;
    return status == DecodeStatus::invalid ? cpu_.raise_ud() : cpu_.raise_gp(0);
}

void Interpreter::step() {
    Insn& insn = single_[0];
    if (!decode_at_ip(insn)) return cpu_.deliver_fault();
    place_insn(insn, 0, 0, cpu_.model());
    place_sentinel(single_[1], insn);
    cpu_.state.gpr[kBlockIp] = cpu_.state.ip;
    execute(single_.data());
    buried_.clear();
}

// After a load of SS no code breakpoint is taken, as if RF were set (SDM vol. 3, 17.3.1.1), and the load itself is not
// stepped: with the next instruction it is one (6.8.3).
void Interpreter::step_watched(bool new_stack) {
    const bool resume = cpu_.flag(kFlagResume);
    const u64 linear = (cpu_.state.segment(Segment::cs).base + cpu_.state.ip) & cpu_.state.linear_mask;
    if (!resume && !new_stack && cpu_.code_breakpoint_at(linear)) {
        cpu_.take_code_breakpoint(linear);
        return cpu_.deliver_fault();
    }
    const bool trap = cpu_.flag(kFlagTrap);
    if (resume) cpu_.set_system_flags(cpu_.state.system_flags & ~kFlagResume);
    const u64 retired = cpu_.state.retired, ip = cpu_.state.ip;
    step();
    if (!trap || (cpu_.attention.load(std::memory_order_relaxed) & kAttentionNewStack)) return;
    // A fault has cleared TF. So may INT n and SYSCALL, and the handler is not stepped (SDM vol. 3, 17.3.1.4); what
    // else clears TF still traps. A repetition traps after each element, before it retires.
    const bool between_elements = cpu_.flag(kFlagTrap) && cpu_.state.ip == ip;
    const bool completed = cpu_.state.retired != retired && (cpu_.flag(kFlagTrap) || !enters_a_handler(single_[0]));
    if (completed || between_elements) cpu_.single_step_trap();
}

}  // namespace lodge
