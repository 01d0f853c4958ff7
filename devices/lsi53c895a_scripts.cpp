// The SCRIPTS processor. Source: LSI53C895A technical manual, chapter 5; register descriptions in chapter 4.
//
// An instruction is two doublewords, three for memory moves and 64-bit direct block moves. DCMD and DBC hold the first,
// DSPS the second, DSP points behind them while they are carried out.
#include <algorithm>

#include "devices/lsi53c895a.h"

namespace lodge {

using namespace lsi;

namespace {

constexpr size_t kPieceBytes = 64 * 1024;

// The first doubleword.
constexpr u32 kIndirect = 0x2000'0000, kTableIndirect = 0x1000'0000;                      // block moves
constexpr u32 kIoRelative = 0x0400'0000, kIoTable = 0x0200'0000, kWithAtn = 0x0100'0000;  // I/O
constexpr u32 kSetCarry = 0x400, kSetTarget = 0x200, kSetAck = 0x40, kSetAtn = 0x08;
constexpr u32 kRelative = 0x0080'0000, kCarryTest = 0x0020'0000, kOnTheFly = 0x0010'0000, kIfTrue = 0x0008'0000,
              kCompareData = 0x0004'0000, kComparePhase = 0x0002'0000, kWaitPhase = 0x0001'0000;  // transfer control
constexpr u32 kUseSfbr = 0x0080'0000;                                                             // read/write
constexpr u32 kLoadStore = 0x2000'0000, kDsaRelative = 0x1000'0000, kLoad = 0x0100'0000;

u32 sign_extended(u32 offset) {
    return static_cast<u32>(static_cast<i32>(offset << 8) >> 8);
}

bool is_data(ScsiPhase phase) {
    return phase == ScsiPhase::data_out || phase == ScsiPhase::data_in;
}

}  // namespace

void Lsi53c895a::start(u32 dsp) {
    set_word(kDsp, dsp);
    moving_ = false;
    scripts_ = Scripts::running;
    run();
}

void Lsi53c895a::run() {
    if (in_script_ || scripts_ == Scripts::stopped || !bus_master()) return;
    in_script_ = true;
    left_of_share_ = kShare;
    // Whatever waited is carried out anew.
    if (scripts_ == Scripts::waiting && !moving_) set_word(kDsp, instruction_);
    scripts_ = Scripts::running;
    while (scripts_ == Scripts::running && left_of_share_ > 0) {
        --left_of_share_;
        const Step came_to = moving_ ? go_on_moving() : step();
        if (scripts_ != Scripts::running) break;
        if (came_to == Step::wait) scripts_ = Scripts::waiting;
        if (came_to == Step::done && !moving_ && (at(kDcntl) & kSingleStepMode)) dma_interrupt(kSingleStep);
    }
    in_script_ = false;
    continue_.cancel();
    // Who has taken more than the share waits the longer.
    if (scripts_ == Scripts::running)
        continue_.schedule_in(kPause * static_cast<u64>(1 + std::max<i64>(0, -left_of_share_) / kShare));
}

Lsi53c895a::Step Lsi53c895a::step() {
    instruction_ = word(kDsp);
    const u32 first = fetch(address_with(kSfs, instruction_));
    // An empty doubleword would be a block move of nothing, an illegal instruction. SeaBIOS has such a one where a
    // command moves no data, and expects that it is passed over.
    if (first == 0) {
        jump(instruction_ + 4);
        return Step::done;
    }
    const u32 second = fetch(address_with(kSfs, instruction_ + 4));
    jump(instruction_ + 8);
    set_word(kDbc, first);
    set_word(kDsps, second);
    switch (first >> 30) {
        case 0:
            return block_move(first);
        case 1:
            return bits(first, 27, 3) < 5 ? input_output(first) : read_write(first);
        case 2:
            return transfer_control(first);
        default:
            return first & kLoadStore ? load_store(first) : memory_move(first);
    }
}

Lsi53c895a::Step Lsi53c895a::illegal() {
    platform().log.once(LogChannel::scsi, "lsi53c895a: illegal instruction %08X %08X", word(kDbc), word(kDsps));
    dma_interrupt(kIllegalInstruction);
    return Step::stop;
}

u64 Lsi53c895a::data_structure(u32 offset) const {
    return address_with(kDrs, word(kDsa) + sign_extended(offset));
}

// Block moves.

// The upper half of an address that a table entry selects (manual, CCNTL1, bit 2): the scratch registers from C on,
// then the static selectors.
u32 Lsi53c895a::table_upper(u8 selector) const {
    if (at(kCcntl1) & kTableIndexMode) return selector;
    const unsigned index = selector & 0x1F;
    if (index < 16) return word(static_cast<u8>(kScratchC + 4 * index));
    return index <= 0x15 ? word(static_cast<u8>(kMmrs + 4 * (index - 16))) : 0;
}

u64 Lsi53c895a::move_address(u32 instruction) {
    const u32 second = word(kDsps);
    if (instruction & kTableIndirect) {
        const u64 entry = data_structure(second);
        const u32 count = fetch(entry), low = fetch(entry + 4);
        const u8 top = static_cast<u8>(count >> 24);
        set_counter(count);
        set_word(kEsa, static_cast<u32>(entry));
        set_word(kRbc, count);
        const u32 high = at(kCcntl1) & kWideTableIndirect ? table_upper(top) : word(kSbms);
        return u64{high} << 32 | low;
    }
    set_word(kEsa, instruction_);
    set_word(kRbc, instruction);
    if (instruction & kIndirect) return address_with(kSbms, fetch(address_with(kSbms, second)));
    if (!(at(kCcntl1) & kWideDirect)) return address_with(kSbms, second);
    set_word(kDbms, fetch(address_with(kSfs, word(kDsp))));
    jump(word(kDsp) + 4);
    return address_with(kDbms, second);
}

Lsi53c895a::Step Lsi53c895a::block_move(u32 instruction) {
    const u64 address = move_address(instruction);
    set_word(kIa, instruction_);
    set_word(kDnad, static_cast<u32>(address));
    set_word(kDnad64, static_cast<u32>(address >> 32));
    set_word(kUa, static_cast<u32>(address));
    if (counter() == 0) return illegal();
    moving_ = true;
    return go_on_moving();
}

Lsi53c895a::Step Lsi53c895a::go_on_moving() {
    const auto phase = static_cast<ScsiPhase>(at(kDcmd) & 7);
    while (counter()) {
        if (left_of_share_ <= 0) return Step::done;  // run comes back to it
        ScsiTarget* other = target();
        if (!other || !other->requesting()) return Step::wait;
        if (other->phase() != phase) return wrong_phase();
        if (move_piece(*other, phase) == 0 && target() == other && other->requesting()) return Step::wait;
        if (!moving_) return Step::stop;
    }
    moving_ = false;
    return Step::done;
}

size_t Lsi53c895a::move_piece(ScsiTarget& other, ScsiPhase phase) {
    const u64 address = u64{word(kDnad64)} << 32 | word(kDnad);
    size_t bytes = 0;
    if (to_initiator(phase)) {
        const std::span<const u8> offered = other.offered();
        bytes = std::min({offered.size(), size_t{counter()}, kPieceBytes});
        if (bytes == 0) return 0;
        at(kSfbr) = offered[0];
        at(kSidl) = offered[bytes - 1];  // the byte on the bus; Linux finds the tag of a reselection there
        const std::vector<u8> copy(offered.begin(), offered.begin() + static_cast<long>(bytes));
        dma_write(address, copy);
    } else {
        const std::span<u8> room = other.room();
        bytes = std::min({room.size(), size_t{counter()}, kPieceBytes});
        if (bytes == 0) return 0;
        dma_read(address, room.first(bytes));
    }
    // Where the bytes went, the bus may have been reset.
    if (!moving_ || target() != &other || !other.requesting() || other.phase() != phase) return 0;
    const bool last = bytes == counter();
    const u64 next = address + bytes;
    set_word(kDnad, static_cast<u32>(next));
    set_word(kDnad64, static_cast<u32>(next >> 32));
    set_counter(counter() - static_cast<u32>(bytes));
    set_word(kSbc, static_cast<u32>(bytes) & 0xFF'FFFF);
    set_word(kCsbc, word(kCsbc) + static_cast<u32>(bytes));
    left_of_share_ -= static_cast<i64>(bytes / 64);
    // ATN falls before the last byte of a message out; ACK stays after the last one of a message in (manual 5.3.2).
    if (phase == ScsiPhase::message_out && last) at(kSocl) &= static_cast<u8>(~kAttention);
    if (phase == ScsiPhase::message_in && last) at(kSocl) |= kAcknowledge;
    other.moved(bytes, last);
    return bytes;
}

// The target wants something else than the instruction: the program jumps or ends (manual, CCNTL0, bits 7 to 5).
Lsi53c895a::Step Lsi53c895a::wrong_phase() {
    const auto phase = static_cast<ScsiPhase>(at(kDcmd) & 7);
    // SeaBIOS selects without ATN and then sends IDENTIFY all the same: ATN goes up late.
    if (phase == ScsiPhase::message_out && target()->phase() == ScsiPhase::command && !(at(kSocl) & kAttention)) {
        target()->set_attention(true);
        return Step::done;
    }
    moving_ = false;
    set_word(kUa, word(kDnad));
    set_word(kRbc, (word(kRbc) & 0xFF00'0000) | counter());
    if (!(at(kCcntl0) & kPhaseMismatchJump) || (!is_data(phase) && !(at(kCcntl0) & kJumpOnAnyPhase))) {
        scsi_interrupt(kPhaseMismatch, 0);
        return Step::stop;
    }
    const bool second = at(kCcntl0) & kJumpControl ? to_initiator(phase) : (at(kScntl2) & kWideScsiReceive) != 0;
    jump(word(second ? kPmjad2 : kPmjad1));
    return Step::done;
}

// I/O instructions, in the initiator role.

Lsi53c895a::Step Lsi53c895a::input_output(u32 instruction) {
    const u32 second = word(kDsps);
    const u32 alternative = instruction & kIoRelative ? word(kDsp) + sign_extended(second) : second;
    switch (bits(instruction, 27, 3)) {
        case 0:
            return select(instruction, alternative);
        case 1:
            return target() ? Step::wait : Step::done;
        case 2:
            return wait_reselect(alternative);
        case 3:
            return set_or_clear(instruction, true);
        default:
            return set_or_clear(instruction, false);
    }
}

Lsi53c895a::Step Lsi53c895a::select(u32 instruction, u32 alternative) {
    if (selecting_) return Step::wait;
    if (target() && target()->acknowledgement_held()) {
        // SeaBIOS never acknowledges the last message of a command.
        at(kScntl2) &= static_cast<u8>(~kDisconnectUnexpected);
        at(kSocl) &= static_cast<u8>(~kAcknowledge);
        target()->acknowledge();
    }
    if (target()) {  // reselected before it could win the bus
        jump(alternative);
        return Step::done;
    }
    u8 id = static_cast<u8>(bits(instruction, 16, 4));
    if (instruction & kIoTable) {
        const u32 entry = fetch(data_structure(instruction & 0xFF'FFFF));
        at(kScntl3) = static_cast<u8>(entry >> 24);
        id = static_cast<u8>(bits(entry, 16, 4));
        at(kSxfer) = static_cast<u8>(entry >> 8);
    }
    const bool attention = instruction & kWithAtn;
    at(kSdid) = id;
    at(kSocl) = attention ? kAttention : u8{0};
    if (!bus_.select(id, at(kScid) & 0x0F, attention)) {
        selecting_ = true;
        selection_.schedule_in(kSelectionTime);
        return Step::done;
    }
    connected();
    if (at(kSien0) & kFunctionComplete) scsi_interrupt(kFunctionComplete, 0);
    return Step::done;
}

Lsi53c895a::Step Lsi53c895a::wait_reselect(u32 alternative) {
    if (target()) return Step::done;
    if (at(kIstat0) & kSignal) {
        jump(alternative);
        return Step::done;
    }
    return take_reselection() ? Step::done : Step::wait;
}

Lsi53c895a::Step Lsi53c895a::set_or_clear(u32 instruction, bool set) {
    const u8 lines = static_cast<u8>(instruction & (kSetAck | kSetAtn));
    constexpr u8 kTargetRole = 0x01;
    at(kSocl) = set ? at(kSocl) | lines : at(kSocl) & static_cast<u8>(~lines);
    if (instruction & kSetCarry) carry_ = set;
    if (instruction & kSetTarget) {
        at(kScntl0) = replace_bits(at(kScntl0), kTargetRole, set ? kTargetRole : u8{0});
        if (set) platform().log.once(LogChannel::scsi, "lsi53c895a: the target role is not there");
    }
    // ATN goes up before the acknowledgement: the target then sees it at once.
    if (target() && (lines & kSetAtn)) target()->set_attention(set);
    if (target() && (lines & kSetAck) && !set) target()->acknowledge();
    return Step::done;
}

// Read/write instructions.

u8 Lsi53c895a::calculate(unsigned operation, u8 first, u8 second) {
    switch (operation) {
        case 0:
            return second;
        case 1: {
            const bool out = first & 0x80;
            first = static_cast<u8>(first << 1 | carry_);
            carry_ = out;
            return first;
        }
        case 2:
            return first | second;
        case 3:
            return first ^ second;
        case 4:
            return first & second;
        case 5: {
            const bool out = first & 0x01;
            first = static_cast<u8>(first >> 1 | carry_ << 7);
            carry_ = out;
            return first;
        }
        default: {
            const unsigned sum = first + second + (operation == 7 && carry_);
            carry_ = sum > 0xFF;
            return static_cast<u8>(sum);
        }
    }
}

Lsi53c895a::Step Lsi53c895a::read_write(u32 instruction) {
    constexpr unsigned kFromSfbr = 5, kToSfbr = 6;
    const u8 reg = static_cast<u8>(bits(instruction, 16, 7) | (instruction & 0x80));
    const unsigned opcode = bits(instruction, 27, 3), operation = bits(instruction, 24, 3);
    const u8 data = instruction & kUseSfbr ? at(kSfbr) : static_cast<u8>(instruction >> 8);
    const bool moves = operation == 0;
    const u8 first = opcode == kFromSfbr ? at(kSfbr) : (moves ? u8{0} : read_register(reg));
    const u8 result = calculate(operation, first, data);
    if (opcode == kToSfbr) {
        at(kSfbr) = result;
    } else {
        write_register(reg, result);
    }
    return Step::done;
}

// Transfer control.

std::optional<bool> Lsi53c895a::condition(u32 instruction) {
    const bool wanted = instruction & kIfTrue;
    bool holds = true;
    if (instruction & kCarryTest) return carry_ == wanted;
    if (instruction & kComparePhase) {
        const bool settled = target() && target()->requesting();
        if ((instruction & kWaitPhase) && !settled) return std::nullopt;
        holds = (bus_lines() & 7) == bits(instruction, 24, 3);
    }
    if (instruction & kCompareData) {
        const u8 mask = static_cast<u8>(~(instruction >> 8));
        holds = holds && (at(kSfbr) & mask) == (static_cast<u8>(instruction) & mask);
    }
    return holds == wanted;
}

Lsi53c895a::Step Lsi53c895a::transfer_control(u32 instruction) {
    const std::optional<bool> taken = condition(instruction);
    if (!taken) return Step::wait;
    if (!*taken) return Step::done;
    const u32 second = word(kDsps);
    const u32 address = instruction & kRelative ? word(kDsp) + sign_extended(second) : second;
    switch (bits(instruction, 27, 3)) {
        case 0:
            jump(address);
            return Step::done;
        case 1:
            set_word(kTemp, word(kDsp));
            jump(address);
            return Step::done;
        case 2:
            jump(word(kTemp));
            return Step::done;
        case 3:
            if (instruction & kOnTheFly) {
                at(kIstat0) |= kInterruptOnTheFly;
                update_interrupt();
                return Step::done;
            }
            dma_interrupt(kScriptInterrupt);
            return Step::stop;
        default:
            return illegal();
    }
}

// Memory moves, loads and stores.

Lsi53c895a::Step Lsi53c895a::memory_move(u32 instruction) {
    u32 left = counter();
    const u32 to = fetch(address_with(kSfs, word(kDsp)));
    jump(word(kDsp) + 4);
    set_word(kTemp, to);
    u64 source = address_with(kMmrs, word(kDsps)), destination = address_with(kMmws, to);
    if (left == 0 || ((source ^ destination) & 3)) return illegal();
    std::array<u8, 4096> bytes;
    while (left && scripts_ == Scripts::running) {
        const std::span<u8> piece = std::span(bytes).first(std::min<size_t>(left, bytes.size()));
        dma_read(source, piece);
        dma_write(destination, piece);
        source += piece.size();
        destination += piece.size();
        left -= static_cast<u32>(piece.size());
        left_of_share_ -= static_cast<i64>(piece.size() / 64);
    }
    set_counter(left);
    return Step::done;
}

Lsi53c895a::Step Lsi53c895a::load_store(u32 instruction) {
    const u32 count = instruction & 7;
    const u8 reg = static_cast<u8>(instruction >> 16);
    if (count == 0 || count > 4) return illegal();
    const u32 second = word(kDsps);
    const u64 address = instruction & kDsaRelative ? data_structure(second) : address_with(kDrs, second);
    std::array<u8, 4> bytes{};
    const std::span<u8> used = std::span(bytes).first(count);
    if (instruction & kLoad) {
        dma_read(address, used);
        for (u32 i = 0; i < count; ++i) write_register(static_cast<u8>(reg + i), bytes[i]);
    } else {
        for (u32 i = 0; i < count; ++i) bytes[i] = read_register(static_cast<u8>(reg + i));
        dma_write(address, used);
    }
    return Step::done;
}

}  // namespace lodge
