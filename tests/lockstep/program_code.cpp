// Pieces of code: plain instructions, branches, loops, calls, strings, stores into code.
#include <algorithm>

#include "tests/lockstep/program_maker.h"

namespace lodge::lockstep {

u64 ProgramMaker::data_pointer() {
    const u64 pick = random_.below(100);
    u64 linear = kData + 0x800 + random_.below(kDataSize - 0x1000);
    if (pick < 80) linear &= ~u64{15};
    if (pick >= 88) linear = (linear & ~u64{0xFFF}) + 0x1000 - random_.below(24);  // across pages
    const bool pages = program_.paging != Paging::none;
    if (pages && pick % 8 == 0 && !is16() && program_.mode != Mode::based32) linear += kAliasWindow;
    if (pages && pick % 32 == 1 && !is16() && program_.mode != Mode::based32) linear += kLargeWindow;
    if (pick == 50) linear = kCode + random_.below(kCodeSize);
    if (pick == 51 && program_.mode != Mode::real) linear = kDevices + random_.below(0x800);
    return offset_of(linear);
}

Surroundings ProgramMaker::surroundings() {
    Surroundings around;
    around.code_size = program_.code_size;
    around.pointers = pointers_;
    around.kept = kept_;
    around.data_offset = offset_of(kData + 0x100);
    around.data_size = kDataSize - 0x200;
    around.supervisor = !program_.user;
    return around;
}

// The whole register; in 16-bit code its lower 32 bits.
void ProgramMaker::move(unsigned reg, u64 value) {
    begin();
    const unsigned low = reg & 7;
    if (!is64()) {
        if (is16()) put_byte(0x66);
        put_byte(0xB8 + low);
        immediates_.push_back(at_);
        return put_value(value, 4);
    }
    if (value >> 32 == 0) {
        if (reg & 8) put_byte(0x41);
        put_byte(0xB8 + low);
        return put_value(value, 4);
    }
    if (static_cast<u64>(static_cast<i64>(static_cast<i32>(value))) == value) {
        put({0x48 | reg >> 3, 0xC7, 0xC0 | low});
        return put_value(value, 4);
    }
    put({0x48 | reg >> 3, 0xB8 | low});
    put_value(value, 8);
}

// ModRM (and SIB) of an operand at `linear`, by DS; `reg` is ModRM's.
void ProgramMaker::absolute(unsigned reg, u64 linear) {
    if (is16()) {
        put_byte(reg << 3 | 6);
        put_value(linear - data_base_, 2);
    } else if (is64()) {
        put({reg << 3 | 4, 0x25});
        put_value(window_ + linear, 4);
    } else {
        put_byte(reg << 3 | 5);
        put_value(linear - data_base_, 4);
    }
}

void ProgramMaker::near_branch(std::initializer_list<unsigned> opcode, unsigned piece) {
    begin();
    put(opcode);
    const u8 size = is16() ? 2 : 4;
    fixups_.push_back({at_, size, true, piece});
    put_value(0, size);
}

// Loads a piece's IP.
void ProgramMaker::move_entry(unsigned reg, unsigned piece) {
    u64 home = program_.home;
    if (program_.paging != Paging::none && home == kCode && random_.chance(25)) home += kAliasWindow;
    move(reg, home);
    fixups_.push_back({at_ - 4, 4, false, piece});
}

void ProgramMaker::aim() {
    move(pointers_[random_.below(pointers_.size())], data_pointer());
}

void ProgramMaker::make_plain() {
    begin();
    Insn insn;
    const std::vector<u8> bytes = maker_.front().make(surroundings(), program_.home + at_, insn);
    for (const u8 byte : bytes) put_byte(byte);
    const bool has_immediate =
        std::any_of(std::begin(insn.operands), std::end(insn.operands),
                    [](const Operand& operand) { return operand.kind == OperandKind::immediate; });
    if (has_immediate && bytes.size() > 1) immediates_.push_back(at_ - 1);
}

// Some items that a branch leaves out.
void ProgramMaker::make_skip() {
    begin();
    const bool counts = random_.chance(8);
    put({counts ? 0xE0u + static_cast<unsigned>(random_.below(4)) : 0x70u + static_cast<unsigned>(random_.below(16)),
         0});
    const u32 from = at_;
    for (u64 i = 1 + random_.below(5); i > 0; --i) make_plain();
    if (at_ < kCodeSize) code()[from - 1] = static_cast<u8>(at_ - from);
}

void ProgramMaker::make_loop(unsigned depth) {
    const u64 count = random_.chance(10) ? 100 + random_.below(200) : 2 + random_.below(30);
    const bool by_memory = random_.chance(40);
    const u64 counter = kData + 0x7E00 + random_.below(32) * 4;
    const u32 kept = kept_;
    if (by_memory) {
        begin();
        if (is16()) put_byte(0x66);
        put_byte(0xC7);
        absolute(0, counter);
        put_value(count, 4);
    } else {
        move(kRcx, count);
        kept_ |= 1u << kRcx;
    }
    const u32 top = at_;
    for (u64 i = 1 + random_.below(6); i > 0 && !full(); --i) make_item(depth + 1);
    kept_ = kept;
    begin();
    const u32 distance = at_ - top;
    if (by_memory) {
        if (is16()) put_byte(0x66);
        put_byte(0xFF);
        absolute(1, counter);
    } else if (distance < 110 && random_.chance(50)) {
        put({random_.chance(70) ? 0xE2u : 0xE0u + static_cast<unsigned>(random_.below(2)), 0u});
        code()[at_ - 1] = static_cast<u8>(top - at_);
        return;
    } else {
        if (is16()) put_byte(0x66);
        put({0xFF, 0xC9});  // DEC ECX
    }
    begin();
    put({0x0F, 0x85});
    const unsigned size = is16() ? 2 : 4;
    put_value(static_cast<u64>(top) - at_ - size, size);
}

void ProgramMaker::make_call() {
    // Mostly to a later piece, so that calls end.
    const unsigned count = static_cast<unsigned>(pieces_.size());
    const bool later = current_ + 1 < count && random_.chance(97);
    const unsigned target = later ? current_ + 1 + static_cast<unsigned>(random_.below(count - current_ - 1))
                                  : static_cast<unsigned>(random_.below(count));
    const u64 pick = random_.below(10);
    if (pick < 7) {
        near_branch({0xE8}, target);
    } else {
        move_entry(kRax, target);
        begin();
        put({0xFF, 0xD0});  // CALL rAX
    }
}

void ProgramMaker::make_indirect() {
    const unsigned target = static_cast<unsigned>(random_.below(pieces_.size()));
    switch (random_.below(4)) {
        case 0:
            move_entry(kRdx, target);
            begin();
            put({0xFF, 0xE2});  // JMP rDX
            break;
        case 1: {  // through the table in data (make_code)
            begin();
            put_byte(0xFF);
            absolute(random_.chance(70) ? 2 : 4, kData + 0x7F00 + random_.below(16) * 8);
            break;
        }
        case 2:  // a return that no call made
            move_entry(kRax, target);
            begin();
            put({0x50, 0xC3});
            break;
        default:
            begin();
            put({0xE9});
            fixups_.push_back({at_, static_cast<u8>(is16() ? 2 : 4), true, target});
            put_value(0, is16() ? 2 : 4);
            break;
    }
}

void ProgramMaker::make_string() {
    static constexpr u8 kOpcodes[] = {0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF};
    move(kRsi, data_pointer());
    move(kRdi, random_.chance(70) ? data_pointer() : program_.gpr[kRsi]);
    move(kRcx, random_.chance(80) ? random_.below(40) : random_.below(6000));
    begin();
    if (random_.chance(20)) put_byte(random_.chance(50) ? 0xFD : 0xFC);
    begin();
    if (random_.chance(85)) put_byte(random_.chance(80) ? 0xF3 : 0xF2);
    if (random_.chance(20)) put_byte(0x66);
    if (is64() && random_.chance(25)) put_byte(0x48);
    put_byte(kOpcodes[random_.below(std::size(kOpcodes))]);
}

// PUSH and POP around something.
void ProgramMaker::make_pair() {
    begin();
    const unsigned first = static_cast<unsigned>(random_.below(8)), second = static_cast<unsigned>(random_.below(8));
    put_byte(0x50 + first);
    for (u64 i = random_.below(4); i > 0; --i) make_plain();
    begin();
    put_byte(0x58 + (kept_ >> second & 1 ? static_cast<unsigned>(kRax) : second));
}

void ProgramMaker::make_store_into_code() {
    if (immediates_.empty()) return;
    u64 target = kCode + immediates_[random_.below(immediates_.size())];
    if (random_.chance(10)) target = kCode + at_ + random_.below(40);  // what comes next
    const bool pages = program_.paging != Paging::none && !is16() && program_.mode != Mode::based32;
    if (pages && random_.chance(25)) target += random_.chance(70) ? kAliasWindow : kLargeWindow;
    const u64 pick = random_.below(10);
    if (pick < 6) {  // MOV, ADD, XOR byte
        static constexpr u8 kOperations[] = {0xC6, 0x80, 0x80};
        const unsigned which = static_cast<unsigned>(random_.below(3));
        begin();
        put_byte(kOperations[which]);
        absolute(which == 2 ? 6 : 0, target);
        put_byte(static_cast<u8>(random_.chance(50) ? random_() : 0));
    } else if (pick < 8) {  // MOV byte from a register
        begin();
        put_byte(0x88);
        absolute(static_cast<unsigned>(random_.below(8)), target);
    } else {  // code onto itself
        const u64 from = target & ~u64{0x3F};
        move(kRsi, offset_of(from));
        move(kRdi, offset_of(from));
        move(kRcx, 1 + random_.below(40));
        begin();
        put({0xFC});
        begin();
        put({0xF3, 0xA4u + static_cast<unsigned>(random_.below(2))});
    }
}

void ProgramMaker::make_item(unsigned depth) {
    if (full()) return;
    const u64 pick = random_.below(1000);
    if (pick < 700) return make_plain();
    if (pick < 790) return make_skip();
    if (pick < 815 && depth < 2) return make_loop(depth);
    if (pick < 835 && depth < 2) return make_call();
    if (pick < 850) return make_string();
    if (pick < 875) return make_pair();
    if (pick < 885) return make_store_into_code();
    if (pick < 893) return make_service();
    if (pick < 900) return make_segment_load();
    if (pick < 908) return make_flags();
    if (pick < 911) return make_indirect();
    if (pick < 914) return make_far();
    if (pick < 918) {
        if (!program_.user || random_.chance(10)) make_system();
        return;
    }
    if (pick < 960) return aim();
    make_plain();
}

// Somewhere behind the last one; now and then right before the end of a page.
void ProgramMaker::begin_piece(unsigned index) {
    const u64 pick = random_.below(100);
    if (pick < 60) at_ += static_cast<u32>(random_.below(20));
    if (pick >= 75 && at_ + 0x2000 < kCodeSize)
        at_ = static_cast<u32>((at_ | 0xFFF) + 1 - random_.below(pick < 90 ? 30 : 400));
    pieces_[index] = at_;
    current_ = index;
}

void ProgramMaker::end_piece(bool is_main) {
    if (is_main) return near_branch({0xE9}, 0);
    if (random_.chance(80)) {
        begin();
        return put_byte(0xC3);
    }
    if (random_.chance(50)) return make_indirect();
    near_branch({0xE9}, static_cast<unsigned>(random_.below(pieces_.size())));
}

void ProgramMaker::make_piece(unsigned index, unsigned items) {
    begin_piece(index);
    if (index == 0) {  // the stack begins anew
        move(kRsp, program_.gpr[kRsp]);
        for (const u8 reg : pointers_) move(reg, data_pointer());
        for (unsigned target = 1; target < pieces_.size() && target < 4; ++target) near_branch({0xE8}, target);
    }
    for (unsigned i = 0; i < items && !full(); ++i) {
        make_item(0);
        if (index == 0 && random_.chance(15)) make_call();
    }
    end_piece(index == 0);
}

void ProgramMaker::make_code() {
    pieces_.resize(4 + random_.below(14));
    for (unsigned i = 0; i < pieces_.size(); ++i) make_piece(i, 5 + static_cast<unsigned>(random_.below(40)));
    for (const Fixup& fixup : fixups_) {
        if (fixup.at + fixup.size > kCodeSize) continue;
        u8* field = code().data() + fixup.at;
        const u64 target = pieces_[fixup.piece];
        const u64 value = fixup.relative ? target - (fixup.at + fixup.size) : load<u32>(field) + target;
        if (fixup.size == 2)
            store(field, static_cast<u16>(fixup.relative ? value : load<u16>(field) + target));
        else
            store(field, static_cast<u32>(value));
    }
    std::sort(starts_.begin(), starts_.end());
    u8* resume = program_.memory.data() + kResume;
    for (u32 at = 0; at < kCodeSize; ++at) {
        const auto next = std::upper_bound(starts_.begin(), starts_.end(), at);
        resume[at] = next == starts_.end() || *next - at > 255 ? 0 : static_cast<u8>(*next - at);
    }
    for (unsigned i = 0; i < 16; ++i)
        store<u64>(program_.memory.data() + kData + 0x7F00 + i * 8,
                   program_.home + pieces_[random_.below(pieces_.size())]);
    program_.ip = program_.home + pieces_[0];
}

}  // namespace lodge::lockstep
