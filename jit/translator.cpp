#include "jit/translator.h"

#include <unistd.h>

#include <algorithm>

#include "core/decode/decoder.h"
#include "core/interp/bind.h"
#include "jit/emitter.h"
#include "jit/listing.h"

namespace lodge::jit {

namespace {

constexpr unsigned kMostInBlock = 64;
constexpr size_t kMostVersions = 8;
// No version: ask again much later.
constexpr i32 kVeryOften = 0x7FFFFFFF;
// Before each block's code lies a pointer to the block, so that the jump cache need not hold both.
constexpr u64 kHeaderBytes = 16;
constexpr u64 kAlignment = 16;

u64 aligned(u64 bytes) {
    return (bytes + kAlignment - 1) & ~(kAlignment - 1);
}
// More than a block of so many instructions takes.
u64 room_for(unsigned instructions) {
    constexpr u64 kMostPerInsn = 512, kMostPerBlock = 1024;
    return aligned(kHeaderBytes + instructions * kMostPerInsn + kMostPerBlock);
}
u64 page_of(const Block& block) {
    return block.backing / kPageSize;
}
u32 mode_of(u64 key) {
    return static_cast<u32>(key & ((1u << kModeBits) - 1));
}
Block* block_at(const u8* code) {
    return load<Block*>(code - kHeaderBytes);
}

// A conditional branch forwards is left by the side, and the block goes on behind it.
bool goes_on_behind(const Insn& insn) {
    const bool conditional = insn.opcode >= Opcode::JO && insn.opcode <= Opcode::JNLE;
    return conditional && static_cast<i64>(insn.immediate) > 0;
}

// `backing`: where `code` begins.
std::vector<Insn> decode_block(std::span<const u8> code, u64 backing, u32 mode, const Cpu& cpu) {
    const CpuModel& model = cpu.model();
    const auto size = static_cast<CodeSize>(mode & kModeCodeSize);
    std::vector<Insn> insns;
    size_t offset = 0;
    while (insns.size() < kMostInBlock) {
        Insn insn;
        if (decode(code.subspan(offset), size, insn) != DecodeStatus::ok) break;
        insn.opcode = opcode_in(model, insn);
        place_insn(insn, static_cast<unsigned>(insns.size()), static_cast<unsigned>(offset), model);
        offset += insn.length;
        insns.push_back(insn);
        if (cpu.code_is_marked(backing + offset)) break;
        if (Emitter::ends_translation(insn) && !goes_on_behind(insn)) break;
    }
    return insns;
}

// What the assembler refused.
class EmissionErrors final : public asmjit::ErrorHandler {
  public:
    void handleError(asmjit::Error, const char* message, asmjit::BaseEmitter*) override { message_ = message; }
    bool seen() const { return !message_.empty(); }
    const std::string& message() const { return message_; }

  private:
    std::string message_;
};

i32 from_state(const Cpu& cpu, const void* field) {
    return static_cast<i32>(static_cast<const u8*>(field) - reinterpret_cast<const u8*>(&cpu.state)) - kStateBias;
}

}  // namespace

Result<std::unique_ptr<Translator>> Translator::create(Cpu& cpu, const Options& options) {
    auto memory = CodeMemory::create(options.code_bytes, u64{kRegions} * kCellsPerRegion * sizeof(AccessCell));
    if (!memory) return memory.error();
    std::unique_ptr<Translator> translator(new Translator(cpu, options, std::move(*memory)));
    if (options.jit_dump.empty()) return translator;
    auto dump = JitDump::create(options.jit_dump);
    if (!dump) return dump.error();
    translator->jit_dump_ = std::move(*dump);
    return translator;
}

Translator::Translator(Cpu& cpu, const Options& options, std::unique_ptr<CodeMemory> memory)
    : cpu_(cpu),
      options_(options),
      interpreter_(cpu),
      memory_(std::move(memory)),
      stubs_(make_stubs(*memory_, cpu.tlb())),
      holder_(std::make_unique<asmjit::CodeHolder>()),
      jumps_(kJumpEntries, kNoJump),
      crossings_(kCrossings),
      free_(memory_->begin() + aligned(stubs_.bytes)),
      cell_owners_(kRegions * kCellsPerRegion),
      windows_(cpu.memory().memfd()) {
    cpu_.set_code_cache(this);
    if (options_.perf_map) perf_map_.reset(std::fopen(("/tmp/perf-" + std::to_string(getpid()) + ".map").c_str(), "w"));
    cpu_.state.engine.engine = reinterpret_cast<u64>(this);
    cpu_.state.engine.jump_cache = reinterpret_cast<u64>(jumps_.data());
}

Translator::~Translator() {
    cpu_.forget_cells();
    write_listings();
}

std::vector<u8> Translator::code_bytes(const Block& block) const {
    const std::span<const u8> memory = cpu_.memory().backing();
    const u64 in_first = std::min<u64>(block.bytes, kPageSize - block.page_offset());
    const auto first = memory.subspan(block.backing, in_first);
    std::vector<u8> bytes(first.begin(), first.end());
    if (!block.crosses()) return bytes;
    const auto second = memory.subspan(block.second_page * kPageSize, block.bytes - in_first);
    bytes.insert(bytes.end(), second.begin(), second.end());
    return bytes;
}

void Translator::write_listings() {
    if (options_.listing.empty()) return;
    std::FILE* out = std::fopen(options_.listing.c_str(), "w");
    if (!out)
        return cpu_.log().write(LogChannel::cpu, LogLevel::error, "%s: cannot be written", options_.listing.c_str());
    blocks_.visit([&](const Block& block) {
        const std::vector<u8> guest = code_bytes(block);
        write_listing(out, block, guest);
        for (const auto& version : block.versions) write_listing(out, *version, guest);
    });
    std::fclose(out);
}

u64 Translator::epoch() const {
    return cpu_.generation() << kModeBits | current_mode(cpu_);
}

ExitReason Translator::run(u64 instructions) {
    end_ = cpu_.state.retired + instructions;
    wanted_ = nullptr;
    ++rounds_;
    bool spent = false;  // translated code has run, and it may be the budget that has ended it
    for (;;) {
        if (cpu_.state.retired >= end_) return ExitReason::budget;
        if (const u32 attention = cpu_.attention.load(std::memory_order_relaxed)) [[unlikely]] {
            wanted_ = nullptr;
            ExitReason exit;
            if (interpreter_.attend(attention, exit)) return exit;
            continue;
        }
        if (cpu_.checks_every_access()) {
            interpret(interpreter_.next_block(nullptr));
            continue;
        }
        Block* block = find();
        if (!block) continue;
        if (block->count > end_ - cpu_.state.retired) {
            if (spent) sample(*block);
            spent = false;
            interpret(nullptr);
            continue;
        }
        if (wanted_ && !link(*wanted_, *block)) continue;
        enter(*block);
        if (options_.by_block) return ExitReason::budget;
        spent = true;
        if (!missing_.empty()) give_up_cells();
        if (windows_.wants_room()) {
            cpu_.forget_cells();
            windows_.make_room();
        }
    }
}

// Cold code, a block of the interpreter's at a time; null: an instruction that is in no block.
void Translator::interpret(Interpreter::Block* block) {
    wanted_ = nullptr;
    if (!block && cpu_.stops_here()) return;
    if (!block || block->count > end_ - cpu_.state.retired) {
        ++counters_.steps;
        interpreter_.step();
    } else {
        ++counters_.cold_blocks;
        interpreter_.run_block(*block);
    }
}

// Null: the interpreter has gone on for a while.
Block* Translator::find() {
    const u64 ip = cpu_.state.ip;
    if (cpu_.code_is_marked(cpu_.linear_ip())) {
        interpret(nullptr);
        return nullptr;
    }
    cpu_.state.engine.epoch = epoch();
    JumpEntry& entry = jump_entry(ip);
    if (entry.ip == ip && is_good(entry, &Cpu::fetch_pointer)) return block_at(entry.code);
    Interpreter::Block* cold = interpreter_.next_block(nullptr);
    Block* block = nullptr;
    if (!cold) {
        block = find_crossing();
    } else if (!cold->stays_cold && ++cold->executions >= options_.hot) {
        cpu_.state.engine.epoch = epoch();
        block = find_or_translate(cold->key >> 4);
        if (!block) cold->stays_cold = true;
    }
    if (!block || !lies_in_segment(*block, ip)) {
        interpret(cold);
        return nullptr;
    }
    cpu_.state.engine.epoch = epoch();
    fill_jump(ip, *block);
    return block;
}

void Translator::fill_jump(u64 ip, const Block& block) {
    u64 page_ip = ip - block.page_offset();
    if (!cpu_.code64()) page_ip &= 0xFFFFFFFF;
    jump_entry(ip) = {ip, cpu_.state.engine.epoch, page_ip, block.code};
}

u64 Translator::linear_of(u64 ip) const {
    return (cpu_.state.segment(Segment::cs).base + ip) & cpu_.state.linear_mask;
}

bool Translator::is_at(const Block& block, u64 ip, Fetch fetch) {
    if (!lies_in_segment(block, ip)) return false;
    const u64 linear = linear_of(ip);
    const u8* memory = cpu_.memory().backing().data();
    if ((cpu_.*fetch)(linear) != memory + block.backing) return false;
    return !block.crosses() || (cpu_.*fetch)(next_page(linear)) == memory + block.second_page * kPageSize;
}

// Whether the entry's block lies at its IP. If it is of another epoch it is brought into this one.
bool Translator::is_good(JumpEntry& entry, Fetch fetch) {
    const u64 epoch = cpu_.state.engine.epoch;
    if (!entry.code) return false;
    const Block* block = block_at(entry.code);
    if (!block) return false;
    if (entry.epoch == epoch) return true;
    if (mode_of(entry.epoch) != mode_of(epoch) || !is_at(*block, entry.ip, fetch)) return false;
    entry.epoch = epoch;
    return true;
}

const Translator::JumpEntry* Translator::known_jump(u64 ip) {
    ++counters_.jump_misses;
    JumpEntry& entry = jump_entry(ip);
    const u64 epoch = cpu_.state.engine.epoch;
    constexpr Fetch kFetch = &Cpu::known_fetch_pointer;
    if (entry.ip == ip && is_good(entry, kFetch)) return &entry;
    const u8* code = cpu_.known_fetch_pointer(linear_of(ip));
    if (!code) return nullptr;
    const u64 backing = static_cast<u64>(code - cpu_.memory().backing().data());
    const Block* block = blocks_.find(backing << kModeBits | mode_of(epoch));
    if (!block || !is_at(*block, ip, kFetch)) return nullptr;
    fill_jump(ip, *block);
    return &entry;
}

u64 Translator::next_page(u64 linear) const {
    return (linear - linear % kPageSize + kPageSize) & cpu_.state.linear_mask;
}

// The first bytes say that the rest is needed, so that a fault of the second page is the instruction's own.
Block* Translator::find_crossing() {
    const u64 linear = linear_of(cpu_.state.ip);
    const u64 in_page = kPageSize - linear % kPageSize;
    if (in_page >= kLongestInsn) return nullptr;
    // Behind the segment's end not even the page is looked at.
    if (!cpu_.code64() && cpu_.state.ip + in_page > cpu_.state.segment(Segment::cs).limit) return nullptr;
    const u8* memory = cpu_.memory().backing().data();
    const u8* first = cpu_.fetch_pointer(linear);
    if (!first) return nullptr;
    std::array<u8, kLongestInsn> bytes{};
    std::copy_n(first, in_page, bytes.begin());
    Insn insn;
    const CodeSize size = cpu_.code_size();
    if (decode({bytes.data(), in_page}, size, insn) != DecodeStatus::truncated) return nullptr;
    const u8* second = cpu_.fetch_pointer(next_page(linear));
    if (!second) return nullptr;
    const u64 backing = static_cast<u64>(first - memory);
    const u64 second_page = static_cast<u64>(second - memory) / kPageSize;
    cpu_.state.engine.epoch = epoch();
    const u64 key = backing << kModeBits | mode_of(cpu_.state.engine.epoch);
    u8& stepped = crossings_[(backing / kPageSize * 7 + in_page) % kCrossings];
    Block* block = blocks_.find(key);
    if (block && block->second_page == second_page) return block;
    if (block) {
        remove_from_pages(*block);
        drop(*block);
        stepped = 0;
    }
    if (++stepped < std::min<u32>(kHotCrossing, options_.hot)) return nullptr;
    std::copy_n(second, kLongestInsn - in_page, bytes.begin() + in_page);
    insn = Insn{};
    if (decode(bytes, size, insn) != DecodeStatus::ok) return nullptr;
    place_insn(insn, 0, 0, cpu_.model());
    return translate({&insn, 1}, backing, key, second_page, {});
}

bool Translator::lies_in_segment(const Block& block, u64 ip) const {
    return cpu_.code64() || ip + block.bytes - 1 <= cpu_.state.segment(Segment::cs).limit;
}

void Translator::enter(Block& block) {
    EngineState& engine = cpu_.state.engine;
    if (options_.by_block) end_ = cpu_.state.retired + block.count;  // the next one does not fit
    engine.remaining = static_cast<i64>(end_ - cpu_.state.retired);
    engine.page_ip = jump_entry(cpu_.state.ip).page_ip;
    ++counters_.entries;
    u8* state = reinterpret_cast<u8*>(&cpu_.state) + kStateBias;
    wanted_ = nullptr;
    stubs_.enter(state, block.code);
    cpu_.state.retired = end_ - static_cast<u64>(engine.remaining);
    buried_.clear();
}

const u8* Translator::fall_back(const Fallback& fallback) {
    EngineState& engine = cpu_.state.engine;
    ++counters_.fallbacks[static_cast<size_t>(fallback.insn[0].opcode)];
    cpu_.state.retired = end_ - static_cast<u64>(engine.remaining) - fallback.count;
    u64 ip = engine.page_ip + fallback.start;
    if (fallback.insn[0].code_size != CodeSize::bits64) ip &= 0xFFFFFFFF;
    cpu_.state.gpr[kBlockIp] = ip;
    cpu_.stop = cpu_.code_changed = false;
    fallback.insn[0].run(cpu_, &fallback.insn[0]);
    if (cpu_.current == &fallback.insn[1] && !fallback.leave && may_go_on(fallback)) [[likely]] {
        cpu_.current = nullptr;
        return kGoOn;
    }
    interpreter_.complete();
    engine.remaining = static_cast<i64>(end_ - cpu_.state.retired);
    return next_code();
}

// Nobody wants translated code to be left between two blocks.
bool Translator::may_run_on() const {
    return !cpu_.attention.load(std::memory_order_relaxed) && !cpu_.checks_every_access() && buried_.empty() &&
           cpu_.state.engine.remaining > 0;
}

// Where translated code goes on after the running block was left; null: it is left.
const u8* Translator::next_code() {
    if (!may_run_on()) return nullptr;
    cpu_.state.engine.epoch = epoch();
    const JumpEntry* entry = known_jump(cpu_.state.ip);
    if (!entry) return nullptr;
    cpu_.state.engine.page_ip = entry->page_ip;
    return entry->code;
}

const u8* Translator::follow(Link& link) {
    ++counters_.follows;
    wanted_ = &link;
    if (!may_run_on()) return nullptr;
    cpu_.state.engine.epoch = epoch();
    const JumpEntry* entry = known_jump(cpu_.state.ip);
    if (!entry || !this->link(link, *block_at(entry->code))) return nullptr;
    wanted_ = nullptr;
    cpu_.state.engine.page_ip = entry->page_ip;
    return entry->code;
}

// After an instruction of the interpreter's in the middle of a block: what the block takes for granted still holds, and
// nobody wants to be heard.
bool Translator::may_go_on(const Fallback& fallback) const {
    if (!cpu_.stop) {
        if (!fallback.may_change_mode) return true;
        if (fallback.loads != kNoSegment) {
            if (fallback.insn[0].code_size == CodeSize::bits64) return true;  // flat, or FS or GS, whatever is loaded
            const auto segment = static_cast<Segment>(fallback.loads);
            return is_flat(cpu_.state, segment) == ((cpu_.state.engine.epoch & flat_bit(segment)) != 0);
        }
    }
    if (cpu_.code_changed || cpu_.attention.load(std::memory_order_relaxed)) return false;
    return !fallback.may_change_mode || (epoch() == cpu_.state.engine.epoch && !cpu_.checks_every_access());
}

// --- Making blocks

Block* Translator::find_or_translate(u64 backing) {
    const u32 mode = static_cast<u32>(cpu_.state.engine.epoch & ((1u << kModeBits) - 1));
    const u64 key = backing << kModeBits | mode;
    Block* block = blocks_.find(key);
    return block ? block : translate(backing, key, {.tier = {.hot = options_.samples == 0}});
}

Block* Translator::translate(u64 backing, u64 key, const Form& form) {
    const std::span<const u8> page = cpu_.memory().backing().subspan(backing, kPageSize - backing % kPageSize);
    const auto insns = decode_block(page, backing, mode_of(key), cpu_);
    if (insns.empty()) return nullptr;
    return translate(insns, backing, key, Block::kInOnePage, form);
}

EmitterContext Translator::emitter_context() const {
    EmitterContext context;
    context.model = &cpu_.model();
    context.stubs = &stubs_;
    context.tlb = from_state(cpu_, cpu_.tlb().entries().data());
    context.stack_cell = from_state(cpu_, &cpu_.tlb().stack_cell());
    const Cpu::Places places = cpu_.places();
    context.attention = from_state(cpu_, places.attention);
    context.interrupt_line = from_state(cpu_, places.interrupt_line);
    context.kernel_gs_base = from_state(cpu_, places.kernel_gs_base);
    context.tsc_offset = from_state(cpu_, places.tsc_offset);
    context.tsc_aux = from_state(cpu_, places.tsc_aux);
    context.current_tlb = from_state(cpu_, places.tlb);
    context.supervisor_tlb = from_state(cpu_, places.supervisor_tlb);
    context.open_tlb = from_state(cpu_, places.open_tlb);
    context.ticks = &cpu_.clock().anchor();
    return context;
}

Block* Translator::translate(std::span<const Insn> insns, u64 backing, u64 key, u64 second_page, const Form& form) {
    auto owned = std::make_unique<Block>();
    Block& block = *owned;
    block.key = key;
    block.backing = backing;
    block.flags = form.flags;
    block.general = form.general;
    block.second_page = second_page;
    block.tier = form.tier;
    block.count = static_cast<u16>(insns.size());
    block.bytes = static_cast<u16>(insns.back().block_offset + insns.back().length);
    if (!emit(block, insns))
        return form.tier.hot && !form.general ? translate(insns, backing, key, second_page, {}) : nullptr;

    for (const auto& link : block.links) link->countdown = options_.often;
    block.region = region_;
    regions_[region_].push_back(&block);
    cells_used_[region_] += static_cast<u32>(block.cells.size());
    for (const CellUse& use : block.cells) cell_owners_[number_of(*use.cell)] = &block;
    tell_perf(block);
    ++counters_.translated_blocks;
    counters_.hot_blocks += block.tier.hot;
    counters_.translated_instructions += block.count;
    counters_.code_bytes += block.size;
    if (form.general) return form.general->versions.emplace_back(std::move(owned)).get();
    add_to_page(block, page_of(block));
    if (block.crosses() && block.second_page != page_of(block)) add_to_page(block, block.second_page);
    return blocks_.insert(key, std::move(owned));
}

bool Translator::emit(Block& block, std::span<const Insn> insns) {
    u8* at = reserve(room_for(block.count));
    block.code = at + kHeaderBytes;
    AccessCell* cells = reinterpret_cast<AccessCell*>(memory_->data()) + region_ * kCellsPerRegion;
    EmitterContext context = emitter_context();
    context.cells = std::span(cells, kCellsPerRegion).subspan(cells_used_[region_]);

    // The holder keeps its memory from block to block.
    asmjit::CodeHolder& code = *holder_;
    code.reset(asmjit::ResetPolicy::kSoft);
    code.init(asmjit::Environment::host(), reinterpret_cast<u64>(block.code));
    EmissionErrors errors;
    code.setErrorHandler(&errors);
    x86::Assembler assembler(&code);
    Emitter emitter(assembler, context, block, insns, mode_of(block.key));
    emitter.emit();
    emitter.finish();
    code.setErrorHandler(nullptr);
    if (errors.seen()) {
        ++counters_.refused_blocks;
        cpu_.log().write(LogChannel::cpu, LogLevel::warning,
                         "a block stays interpreted, since it cannot be encoded: %s", errors.message().c_str());
        return false;
    }
    if (emitter.failed()) return false;
    const asmjit::CodeBuffer& buffer = code.textSection()->buffer();
    block.size = static_cast<u32>(buffer.size());
    store<Block*>(memory_->writable(at), &block);
    std::memcpy(memory_->writable(block.code), buffer.data(), buffer.size());
    free_ = at + aligned(kHeaderBytes + buffer.size());
    return true;
}

// --- Hot blocks

void Translator::sample(Block& block) {
    if (block.tier.hot || block.crosses()) return;
    if (rounds_ - block.sampled > kMostRoundsBetween) block.samples = 0;
    block.sampled = rounds_;
    if (++block.samples != options_.samples) return;
    if (mode_of(block.key) & kModeUser) translate_again(block, {.hot = true});
}

void Translator::translate_again(Block& block, const Tier& tier) {
    const u64 backing = block.backing, key = block.key;
    remove_from_pages(block);
    drop(block);
    translate(backing, key, {.tier = tier});
}

size_t Translator::number_of(const AccessCell& cell) const {
    return static_cast<size_t>(&cell - reinterpret_cast<const AccessCell*>(memory_->data()));
}

bool Translator::refill(AccessCell& cell, u64 linear) {
    ++counters_.cell_misses;
    ++cell.misses;
    if (cell.span <= kPageSize && cell.misses % kMissesPerRun != 0) return cpu_.tlb().fill_cell_by_page(cell, linear);
    const u64 tag = cell.tag, span = cell.span;
    if (cell.windowed) {
        use_window(linear);
        if ((linear & kPageMask) + cell.reach > kPageSize) use_window(linear + kPageSize);
    }
    const bool filled = cpu_.tlb().fill_cell(cell, linear);
    const bool has_grown = filled && span && tag - cell.tag < cell.span;
    if (has_grown)
        --cell.misses;
    else if (cell.misses >= kMissesAtOnce)
        look_at_misses(cell);
    return filled;
}

// Gives the page's TLB entry its address in a window.
void Translator::use_window(u64 linear) {
    Tlb& tlb = cpu_.tlb();
    const u64 page = linear & ~kPageMask;
    const TlbEntry& entry = tlb.entry(page);
    if (entry.read_tag != page || tlb.alias(page)) return;
    const u64 space = cpu_.state.cr0 & kCr0Pg ? cpu_.state.cr3 : 0;
    const u64 backing = (entry.host_page - reinterpret_cast<u64>(cpu_.memory().backing().data())) / kPageSize;
    u64 host = windows_.find(space, page, backing);
    if (!host) {
        const u64 retired = end_ - static_cast<u64>(cpu_.state.engine.remaining);
        if (mapped_views_ >= kFirstViews + retired / kInsnsPerView) return;
        host = windows_.map(space, page, backing);
        if (!host) return;
        ++mapped_views_;
    }
    ++views_;
    tlb.set_alias(page, host);
}

// Too many misses: first the accesses are given windows, then the cell is given up, unless it is still getting better.
void Translator::look_at_misses(AccessCell& cell) {
    cell.misses = 0;
    Block* owner = cell_owners_[number_of(cell)];
    if (!owner) return;
    const u64 retired = end_ - static_cast<u64>(cpu_.state.engine.remaining);
    for (CellUse& use : owner->cells) {
        if (use.cell != &cell) continue;
        const u64 insns = (retired - use.since) / kMissesAtOnce;
        if (cell.windowed && insns < kWorth && use.views == views_ && ++use.strikes == kMostStrikes)
            missing_.push_back(&cell);
        cell.windowed |= use.since != 0 && insns < kRare;
        use.since = retired;
        use.views = views_;
    }
}

// Groups are taken apart first.
void Translator::give_up_cells() {
    std::vector<AccessCell*> missing;
    missing.swap(missing_);
    for (const AccessCell* cell : missing) {
        Block* owner = cell_owners_[number_of(*cell)];
        if (!owner) continue;
        const auto use = std::find_if(owner->cells.begin(), owner->cells.end(),
                                      [&](const CellUse& candidate) { return candidate.cell == cell; });
        Block& whole = owner->general ? *owner->general : *owner;
        Tier tier = whole.tier;
        const bool group = (use->insns & (use->insns - 1)) != 0;
        (group ? tier.single : tier.plain) |= use->insns;
        ++counters_.cells_given_up;
        translate_again(whole, tier);
    }
}

// --- Links

void Translator::set_jump(const u8* jump, const u8* target) {
    store<i32>(memory_->writable(jump), static_cast<i32>(target - (jump + 4)));
}

bool Translator::link(Link& link, Block& target) {
    if (link.mode != mode_of(target.key)) return true;
    const bool same_page = page_of(*link.from) == page_of(target);
    if (!link.literal && (!same_page || target.crosses())) return true;
    if (link.to == &target && link.countdown < 0) return link_version(link, target);
    if (link.to != &target) {
        if (link.to) unlink(link);
        link.to = &target;
        target.incoming.push_back(&link);
        set_jump(link.onward, target.code);
        ++counters_.links;
    }
    if (link.literal) {
        const EngineState& engine = cpu_.state.engine;
        const PageLiteral literal{engine.page_ip, engine.epoch, jump_entry(cpu_.state.ip).page_ip};
        store(memory_->writable(link.literal), literal);
    }
    return true;
}

bool Translator::link_version(Link& link, Block& target) {
    const unsigned region = region_;
    reserve(room_for(target.count));
    if (region_ != region) return false;
    Block* version = version_of(target, link.flags);
    link.countdown = version ? options_.often : kVeryOften;
    if (!version) return true;
    link.version = version;
    version->incoming.push_back(&link);
    set_jump(link.jump, version->code);
    return true;
}

Block* Translator::version_of(Block& target, const FlagRecipe& flags) {
    for (const auto& version : target.versions)
        if (version->flags == flags) return version.get();
    if (target.crosses() || target.versions.size() == kMostVersions) return nullptr;
    ++counters_.versions;
    return translate(target.backing, target.key, {.tier = target.tier, .flags = flags, .general = &target});
}

void Translator::unlink(Link& link) {
    if (link.version) unlink_version(link);
    set_jump(link.onward, link.unlinked);
    if (link.literal) store<u64>(memory_->writable(link.literal), kNoPage);
    std::erase(link.to->incoming, &link);
    link.to = nullptr;
}

void Translator::unlink_version(Link& link) {
    set_jump(link.jump, link.saving);
    std::erase(link.version->incoming, &link);
    link.version = nullptr;
    link.countdown = options_.often;
}

// --- Dropping blocks

// Which bytes of a page a block was made from.
Translator::Extent Translator::extent_in(const Block& block, u64 page) {
    const auto first = static_cast<unsigned>(block.page_offset());
    if (!block.crosses()) return {first, block.bytes};
    const auto in_first = static_cast<unsigned>(kPageSize - first);
    // A page may be mapped behind itself.
    if (page_of(block) == block.second_page) return {0, kPageSize};
    if (page == page_of(block)) return {first, in_first};
    return {0, block.bytes - in_first};
}

void Translator::add_to_page(Block& block, u64 page) {
    const Extent extent = extent_in(block, page);
    cpu_.memory().mark_code(page, extent.offset, extent.length);
    pages_[page].push_back(&block);
}

void Translator::remove_from_pages(const Block& block) {
    for (const u64 page : {page_of(block), block.second_page})
        if (const auto found = pages_.find(page); found != pages_.end()) std::erase(found->second, &block);
}

// A block goes with its versions, or a version alone.
void Translator::drop(Block& block) {
    while (!block.versions.empty()) drop(*block.versions.back());
    while (!block.incoming.empty()) {
        Link& link = *block.incoming.back();
        block.general ? unlink_version(link) : unlink(link);
    }
    for (const auto& link : block.links)
        if (link->to) unlink(*link);
    if (wanted_ && wanted_->from == &block) wanted_ = nullptr;
    if (!block.general) outdate(block);
    for (const CellUse& use : block.cells) cell_owners_[number_of(*use.cell)] = nullptr;
    std::erase(regions_[block.region], &block);
    bury(block);
    ++counters_.dropped_blocks;
}

// The jump cache may lead to the block's code for as long as it is there.
void Translator::outdate(const Block& block) {
    constexpr u8 kJump = 0xE9;
    store<Block*>(memory_->writable(block.code - kHeaderBytes), nullptr);
    store<u8>(memory_->writable(block.code), kJump);
    set_jump(block.code + 1, block.outdated);
}

void Translator::bury(Block& block) {
    if (!block.general) {
        buried_.push_back(blocks_.take(block.key));
        return;
    }
    auto& versions = block.general->versions;
    const auto found =
        std::find_if(versions.begin(), versions.end(), [&](auto& version) { return version.get() == &block; });
    buried_.push_back(std::move(*found));
    versions.erase(found);
}

void Translator::drop_code(u64 backing_page, unsigned offset, unsigned length) {
    interpreter_.drop_code(backing_page, offset, length);
    const auto found = pages_.find(backing_page);
    if (found == pages_.end()) return;
    for (Block* block : std::vector<Block*>(found->second)) {
        const Extent extent = extent_in(*block, backing_page);
        if (extent.offset < offset + length && offset < extent.offset + extent.length) {
            remove_from_pages(*block);
            drop(*block);
        } else {
            cpu_.memory().mark_code(backing_page, extent.offset, extent.length);
        }
    }
    if (found->second.empty()) pages_.erase(found);
}

// Room for `bytes` of code. Regions are filled in turn; the blocks of the next one make way when the last is full.
u8* Translator::reserve(u64 bytes) {
    const u64 region_bytes = memory_->size() / kRegions;
    u8* end = memory_->begin() + (region_ + 1) * region_bytes;
    if (free_ + bytes <= end) return free_;
    region_ = (region_ + 1) % kRegions;
    evict_region(region_);
    free_ = memory_->begin() + region_ * region_bytes;
    if (region_ == 0) free_ += aligned(stubs_.bytes);
    return free_;
}

void Translator::evict_region(unsigned region) {
    std::fill(jumps_.begin(), jumps_.end(),
              kNoJump);  // their code is about to be overwritten, also that of dropped ones
    if (regions_[region].empty()) return;
    ++counters_.evictions;
    while (!regions_[region].empty()) {
        Block& block = *regions_[region].back();
        if (!block.general) remove_from_pages(block);
        drop(block);
    }
    buried_.clear();
    cpu_.forget_cells();
    cells_used_[region] = 0;
}

// --- Statistics

void Translator::tell_perf(const Block& block) {
    if (perf_map_) write_perf_symbol(perf_map_.get(), block, cpu_.state.ip);
    if (jit_dump_)
        jit_dump_->add(perf_symbol(cpu_.state.ip), reinterpret_cast<u64>(block.code), {block.code, block.size});
}

std::vector<std::pair<std::string, u64>> Translator::statistics() const {
    constexpr size_t kMostFallbacks = 24;
    std::vector<std::pair<std::string, u64>> lines = {
        {"translated blocks", counters_.translated_blocks},
        {"translated instructions", counters_.translated_instructions},
        {"host code bytes", counters_.code_bytes},
        {"blocks dropped", counters_.dropped_blocks},
        {"blocks refused by the assembler", counters_.refused_blocks},
        {"regions evicted", counters_.evictions},
        {"hot blocks", counters_.hot_blocks},
        {"cell misses", counters_.cell_misses},
        {"cells given up", counters_.cells_given_up},
        {"pages mapped in windows", mapped_views_},
        {"links made", counters_.links},
        {"versions of blocks made", counters_.versions},
        {"entries into translated code", counters_.entries},
        {"branches followed by the translator", counters_.follows},
        {"jump cache misses", counters_.jump_misses},
        {"cold blocks interpreted", counters_.cold_blocks},
        {"instructions stepped", counters_.steps},
        {"TLB misses", cpu_.tlb_misses},
    };
    std::vector<std::pair<std::string, u64>> fallbacks;
    for (size_t i = 0; i < kOpcodeCount; ++i)
        if (counters_.fallbacks[i])
            fallbacks.emplace_back("fallback " + std::string(name_of(static_cast<Opcode>(i))), counters_.fallbacks[i]);
    std::sort(fallbacks.begin(), fallbacks.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
    if (fallbacks.size() > kMostFallbacks) fallbacks.resize(kMostFallbacks);
    lines.insert(lines.end(), fallbacks.begin(), fallbacks.end());
    return lines;
}

}  // namespace lodge::jit
