#include "jit/translator.h"

#include <unistd.h>

#include <algorithm>

#include "core/decode/decoder.h"
#include "jit/emitter.h"
#include "jit/listing.h"

namespace lodge::jit {

namespace {

constexpr unsigned kMostInBlock = 64;
// A branch that leaves with a recipe gets a version of its target after so many times.
constexpr i32 kOften = 200;
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

std::vector<Insn> decode_block(std::span<const u8> code, u32 mode, const CpuModel& model) {
    const auto size = static_cast<CodeSize>(mode & kModeCodeSize);
    std::vector<Insn> insns;
    size_t offset = 0;
    while (insns.size() < kMostInBlock) {
        Insn insn;
        if (decode(code.subspan(offset), size, insn) != DecodeStatus::ok) break;
        place_insn(insn, static_cast<unsigned>(insns.size()), static_cast<unsigned>(offset), model);
        offset += insn.length;
        insns.push_back(insn);
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
    auto memory = CodeMemory::create(options.code_bytes);
    if (!memory) return memory.error();
    return std::unique_ptr<Translator>(new Translator(cpu, options, std::move(*memory)));
}

Translator::Translator(Cpu& cpu, const Options& options, std::unique_ptr<CodeMemory> memory)
    : cpu_(cpu),
      options_(options),
      interpreter_(cpu),
      memory_(std::move(memory)),
      stubs_(make_stubs(*memory_, cpu.tlb())),
      jumps_(kJumpEntries, kNoJump),
      free_(memory_->begin() + aligned(stubs_.bytes)) {
    cpu_.set_code_cache(this);
    if (options_.perf_map) perf_map_.reset(std::fopen(("/tmp/perf-" + std::to_string(getpid()) + ".map").c_str(), "w"));
    cpu_.state.engine.engine = reinterpret_cast<u64>(this);
    cpu_.state.engine.jump_cache = reinterpret_cast<u64>(jumps_.data());
}

Translator::~Translator() {
    write_listings();
}

void Translator::write_listings() {
    if (options_.listing.empty()) return;
    std::FILE* out = std::fopen(options_.listing.c_str(), "w");
    if (!out)
        return cpu_.log().write(LogChannel::cpu, LogLevel::error, "%s: cannot be written", options_.listing.c_str());
    blocks_.visit([&](const Block& block) {
        const auto guest = cpu_.memory().backing().subspan(block.backing, block.bytes);
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
            interpret(nullptr);
            continue;
        }
        if (wanted_ && !link(*wanted_, *block)) continue;
        enter(*block);
    }
}

// Cold code, a block of the interpreter's at a time; null: an instruction that is in no block.
void Translator::interpret(Interpreter::Block* block) {
    wanted_ = nullptr;
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
    cpu_.state.engine.epoch = epoch();
    JumpEntry& entry = jump_entry(ip);
    if (entry.ip == ip && (entry.epoch == cpu_.state.engine.epoch || still_good(entry))) return block_at(entry.code);
    Interpreter::Block* cold = interpreter_.next_block(nullptr);
    if (!cold || cold->stays_cold || ++cold->executions < options_.hot) {
        interpret(cold);
        return nullptr;
    }
    cpu_.state.engine.epoch = epoch();
    const u64 backing = cold->key >> 4;
    Block* block = find_or_translate(backing);
    if (!block) cold->stays_cold = true;
    if (!block || !lies_in_segment(*block)) {
        interpret(cold);
        return nullptr;
    }
    u64 page_ip = ip - block->page_offset();
    if (!cpu_.code64()) page_ip &= 0xFFFFFFFF;
    jump_entry(ip) = {ip, cpu_.state.engine.epoch, page_ip, block->code};
    return block;
}

// An entry of another epoch whose block is still what lies at its IP is brought into this epoch.
bool Translator::still_good(JumpEntry& entry) {
    constexpr u64 kModeMask = (u64{1} << kModeBits) - 1;
    const u64 epoch = cpu_.state.engine.epoch;
    if ((entry.epoch ^ epoch) & kModeMask) return false;
    const Block* block = block_at(entry.code);
    if (!block || !lies_in_segment(*block)) return false;
    const u64 linear = (cpu_.state.segment(Segment::cs).base + entry.ip) & cpu_.state.linear_mask;
    if (cpu_.fetch_pointer(linear) != cpu_.memory().backing().data() + block->backing) return false;
    entry.epoch = epoch;
    return true;
}

bool Translator::lies_in_segment(const Block& block) const {
    return cpu_.code64() || cpu_.state.ip + block.bytes - 1 <= cpu_.state.segment(Segment::cs).limit;
}

void Translator::enter(Block& block) {
    EngineState& engine = cpu_.state.engine;
    engine.remaining = static_cast<i64>(end_ - cpu_.state.retired);
    engine.page_ip = jump_entry(cpu_.state.ip).page_ip;
    ++counters_.entries;
    u8* state = reinterpret_cast<u8*>(&cpu_.state) + kStateBias;
    wanted_ = static_cast<Link*>(stubs_.enter(state, block.code));
    cpu_.state.retired = end_ - static_cast<u64>(engine.remaining);
    buried_.clear();
}

bool Translator::fall_back(const Fallback& fallback) {
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
        return false;
    }
    interpreter_.complete();
    engine.remaining = static_cast<i64>(end_ - cpu_.state.retired);
    return true;
}

// After an instruction of the interpreter's in the middle of a block: what the block takes for granted still holds, and
// nobody wants to be heard.
bool Translator::may_go_on(const Fallback& fallback) const {
    if (!cpu_.stop && !fallback.may_change_mode) return true;
    if (cpu_.code_changed || cpu_.attention.load(std::memory_order_relaxed)) return false;
    return !fallback.may_change_mode || (epoch() == cpu_.state.engine.epoch && !cpu_.checks_every_access());
}

// --- Making blocks

Block* Translator::find_or_translate(u64 backing) {
    const u32 mode = static_cast<u32>(cpu_.state.engine.epoch & ((1u << kModeBits) - 1));
    const u64 key = backing << kModeBits | mode;
    Block* block = blocks_.find(key);
    return block ? block : translate(backing, key);
}

Block* Translator::translate(u64 backing, u64 key, const FlagRecipe& flags, Block* general) {
    const u32 mode = mode_of(key);
    const std::span<const u8> page = cpu_.memory().backing().subspan(backing, kPageSize - backing % kPageSize);
    const auto insns = decode_block(page, mode, cpu_.model());
    EmitterContext context;
    context.model = &cpu_.model();
    context.stubs = &stubs_;
    context.tlb = from_state(cpu_, cpu_.tlb().entries().data());
    context.stack_cell = from_state(cpu_, &cpu_.tlb().stack_cell());
    const auto native = [&](const Insn& insn) { return Emitter::is_native(insn, context, mode); };
    if (std::none_of(insns.begin(), insns.end(), native)) return nullptr;

    auto owned = std::make_unique<Block>();
    Block& block = *owned;
    block.key = key;
    block.backing = backing;
    block.flags = flags;
    block.general = general;
    block.count = static_cast<u16>(insns.size());
    block.bytes = static_cast<u16>(insns.back().block_offset + insns.back().length);
    u8* at = reserve(room_for(block.count));
    block.code = at + kHeaderBytes;

    asmjit::CodeHolder code;
    code.init(asmjit::Environment::host(), reinterpret_cast<u64>(block.code));
    EmissionErrors errors;
    code.setErrorHandler(&errors);
    x86::Assembler assembler(&code);
    Emitter emitter(assembler, context, block, insns, mode);
    emitter.emit();
    emitter.finish();
    if (errors.seen()) {
        ++counters_.refused_blocks;
        cpu_.log().write(LogChannel::cpu, LogLevel::warning,
                         "a block stays interpreted, since it cannot be encoded: %s", errors.message().c_str());
        return nullptr;
    }
    const asmjit::CodeBuffer& buffer = code.textSection()->buffer();
    block.size = static_cast<u32>(buffer.size());
    store<Block*>(memory_->writable(at), &block);
    std::memcpy(memory_->writable(block.code), buffer.data(), buffer.size());
    free_ = at + aligned(kHeaderBytes + buffer.size());

    for (const auto& link : block.links) link->countdown = kOften;
    block.region = region_;
    regions_[region_].push_back(&block);
    if (perf_map_) write_perf_symbol(perf_map_.get(), block, cpu_.state.ip);
    ++counters_.translated_blocks;
    counters_.translated_instructions += block.count;
    counters_.code_bytes += block.size;
    if (general) return general->versions.emplace_back(std::move(owned)).get();
    cpu_.memory().mark_code(page_of(block), static_cast<unsigned>(block.page_offset()), block.bytes);
    pages_[page_of(block)].push_back(&block);
    return blocks_.insert(key, std::move(owned));
}

// --- Links

void Translator::set_jump(const u8* jump, const u8* target) {
    store<i32>(memory_->writable(jump), static_cast<i32>(target - (jump + 4)));
}

bool Translator::link(Link& link, Block& target) {
    if (mode_of(link.from->key) != mode_of(target.key)) return true;
    const bool same_page = page_of(*link.from) == page_of(target);
    if (!link.literal && !same_page) return true;
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
    link.countdown = version ? kOften : kVeryOften;
    if (!version) return true;
    link.version = version;
    version->incoming.push_back(&link);
    set_jump(link.jump, version->code);
    return true;
}

Block* Translator::version_of(Block& target, const FlagRecipe& flags) {
    for (const auto& version : target.versions)
        if (version->flags == flags) return version.get();
    if (target.versions.size() == kMostVersions) return nullptr;
    ++counters_.versions;
    return translate(target.backing, target.key, flags, &target);
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
    link.countdown = kOften;
}

// --- Dropping blocks

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
    store<Block*>(memory_->writable(block.code - kHeaderBytes), nullptr);  // for still_good()
    std::erase(regions_[block.region], &block);
    bury(block);
    ++counters_.dropped_blocks;
}

void Translator::bury(Block& block) {
    if (!block.general) {
        buried_.push_back(blocks_.take(block.key));
        return;
    }
    auto& versions = block.general->versions;
    const auto found = std::find_if(versions.begin(), versions.end(), [&](auto& version) { return version.get() == &block; });
    buried_.push_back(std::move(*found));
    versions.erase(found);
}

void Translator::drop_code(u64 backing_page, unsigned offset, unsigned length) {
    interpreter_.drop_code(backing_page, offset, length);
    const auto found = pages_.find(backing_page);
    if (found == pages_.end()) return;
    std::vector<Block*> kept;
    for (Block* block : found->second) {
        const auto first = static_cast<unsigned>(block->page_offset());
        if (first < offset + length && offset < first + block->bytes) {
            drop(*block);
        } else {
            kept.push_back(block);
            cpu_.memory().mark_code(backing_page, first, block->bytes);
        }
    }
    // What the interpreter has not dropped does not change the epoch, in which jumps to the block would stay good.
    if (kept.size() != found->second.size()) cpu_.next_fetch_epoch();
    if (kept.empty())
        pages_.erase(found);
    else
        found->second = std::move(kept);
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
        if (!block.general) std::erase(pages_[page_of(block)], &block);
        drop(block);
    }
    buried_.clear();
    cpu_.next_fetch_epoch();
    cpu_.state.engine.epoch = epoch();
}

// --- Statistics

std::vector<std::pair<std::string, u64>> Translator::statistics() const {
    constexpr size_t kMostFallbacks = 24;
    std::vector<std::pair<std::string, u64>> lines = {
        {"translated blocks", counters_.translated_blocks},
        {"translated instructions", counters_.translated_instructions},
        {"host code bytes", counters_.code_bytes},
        {"blocks dropped", counters_.dropped_blocks},
        {"blocks refused by the assembler", counters_.refused_blocks},
        {"regions evicted", counters_.evictions},
        {"links made", counters_.links},
        {"versions of blocks made", counters_.versions},
        {"entries into translated code", counters_.entries},
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
