// The controller's registers and the commands that are done at once or only move heads. Those that move data are in
// floppy_transfer.cpp.
#include "devices/floppy_controller.h"

#include <algorithm>
#include <cassert>

namespace lodge {

namespace {

// Registers, by their offset from 3F0h. The two status registers of the PS/2 are not driven in AT mode.
enum Offset : unsigned { kOutput = 2, kTape = 3, kStatus = 4, kFifo = 5, kInput = 7 };

constexpr RegisterInfo kRegisters[] = {{0, 8, "SRA"}, {1, 8, "SRB"},     {2, 8, "DOR"},
                                       {3, 8, "TDR"}, {4, 8, "MSR_DSR"}, {5, 8, "FIFO", RegisterRead::changes}};
constexpr RegisterInfo kInputRegisters[] = {{0, 8, "DIR_CCR"}};
constexpr u8 kUndriven = 0xFF;

// DOR: drive in bits 1:0, motors in bits 7:4.
constexpr u8 kNotReset = 0x04;

// MSR: a bit for each seeking drive in 3:0.
constexpr u8 kRequest = 0x80;
constexpr u8 kToHost = 0x40;
constexpr u8 kNonDma = 0x20;
constexpr u8 kBusy = 0x10;

constexpr u8 kSoftwareReset = 0x80;  // DSR
constexpr u8 kRateBits = 0x03;       // DSR, CCR
constexpr u8 kDiskChange = 0x80;     // DIR

// CONFIGURE's second parameter.
constexpr u8 kFifoDisabled = 0x20;
constexpr u8 kFifoSettings = 0x2F;

constexpr u8 kInvalidCommand = 0x80;  // ST0
constexpr u8 kPollingEnd = 0xC0;      // ST0, after a reset
constexpr u8 kSeekEnd = 0x20;         // ST0
constexpr u8 kNoTrack0 = 0x50;        // ST0: abnormal, equipment check
constexpr unsigned kMostRecalibrationSteps = 79;

// Data sheet, after a reset the drives are polled; the first interrupt comes within a millisecond or two.
constexpr u64 kPollingTime = 500'000;
constexpr u64 kNoStepTime = 20'000;

// The rates as rate_ codes them.
constexpr unsigned kKilobits[] = {500, 300, 250, 1000};

}  // namespace

FloppyController::FloppyController(const Platform& platform, IrqLine irq, DmaChannel& dma,
                                   const std::array<Bay, kDrives>& bays)
    : scheduler_(platform.scheduler),
      irq_(irq),
      dma_(dma),
      claims_(platform.log, LogChannel::floppy),
      work_(platform.scheduler, "work", [this](u64) { on_work(); }),
      reset_done_(platform.scheduler, "reset_done", [this](u64) { announce_reset(); }),
      seeks_{Event{platform.scheduler, "seek0", [this](u64) { seek_done(0); }},
             Event{platform.scheduler, "seek1", [this](u64) { seek_done(1); }},
             Event{platform.scheduler, "seek2", [this](u64) { seek_done(2); }},
             Event{platform.scheduler, "seek3", [this](u64) { seek_done(3); }}} {
    for (unsigned number = 0; number < kDrives; ++number) {
        if (!bays[number].slot) continue;
        drives_[number] = std::make_unique<FloppyDrive>(
            platform, *bays[number].slot, bays[number].type, number,
            [this, number](DiskCompletion completion) { on_disk(number, std::move(completion)); });
    }
    reset();
}

Result<void> FloppyController::attach(Bus& ports) {
    LODGE_TRY(claims_.bytes(
        ports, 0x3F0, 6, "floppy", kRegisters, [this](u64 offset) { return read(static_cast<unsigned>(offset)); },
        [this](u64 offset, u8 value) { write(static_cast<unsigned>(offset), value); }));
    return claims_.bytes(
        ports, 0x3F7, 1, "floppy input", kInputRegisters, [this](u64) { return read(kInput); },
        [this](u64, u8 value) { write(kInput, value); });
}

FloppyDriveType FloppyController::drive_type(unsigned number) const {
    return drive(number) ? drive(number)->type() : FloppyDriveType::none;
}

void FloppyController::reset() {
    for (const auto& drive : drives_)
        if (drive) drive->reset();
    abort();
    output_ = tape_ = precompensation_ = perpendicular_ = 0;
    rate_ = static_cast<u8>(FloppyRate::k250);
    specified_ = {};
    locked_ = false;
    software_reset();
    present_cylinder_ = {};
    reset_statuses_ = 0;
    reset_done_.cancel();
    update_lines();
}

// Registers.

u8 FloppyController::read(unsigned offset) {
    switch (offset) {
        case kOutput:
            return output_;
        case kTape:
            return tape_ | 0xFC;
        case kStatus:
            return main_status();
        case kFifo:
            return read_fifo();
        case kInput:
            return digital_input();
        default:
            return kUndriven;
    }
}

void FloppyController::write(unsigned offset, u8 value) {
    switch (offset) {
        case kOutput:
            return write_output(value);
        case kTape:
            tape_ = value & 3;
            return;
        case kStatus:
            return write_rate_select(value);
        case kFifo:
            return write_fifo(value);
        case kInput:
            rate_ = value & kRateBits;
            return;
        default:
            return;
    }
}

bool FloppyController::held_in_reset() const {
    return !(output_ & kNotReset);
}

u8 FloppyController::main_status() const {
    if (held_in_reset()) return 0;
    switch (phase_) {
        case Phase::command:
            return static_cast<u8>(kRequest | (count_ ? kBusy : 0) | seeking_);
        case Phase::result:
            return kRequest | kToHost | kBusy | seeking_;
        case Phase::execution:
            break;
    }
    u8 status = kBusy | seeking_;
    if (!dma_mode() && operation_ != Operation::verify && operation_ != Operation::read_id) status |= kNonDma;
    if (wait_ == Wait::host) status |= static_cast<u8>(kRequest | (from_host() ? 0 : kToHost));
    return status;
}

// The change line of the drive that is selected and turns. The other bits are the hard disk's, which does not drive
// them.
u8 FloppyController::digital_input() const {
    const unsigned number = output_ & 3;
    const bool changed = drive(number) && motor(number) && drive(number)->changed();
    return changed ? kDiskChange : 0;
}

bool FloppyController::motor(unsigned number) const {
    return bit(output_, 4 + number);
}

void FloppyController::write_output(u8 value) {
    const bool was_held = held_in_reset();
    flush_stopped(value);
    output_ = value;
    if (held_in_reset() && !was_held) {
        abort();
        software_reset();
        reset_done_.cancel();
    } else if (!held_in_reset() && was_held) {
        reset_done_.schedule_in(kPollingTime / kHaste);
    }
    update_lines();
}

// A motor that stops is as near as a diskette comes to a request to write everything.
void FloppyController::flush_stopped(u8 value) {
    for (unsigned number = 0; number < kDrives; ++number)
        if (drive(number) && motor(number) && !bit(value, 4 + number)) drive(number)->flush();
}

void FloppyController::write_rate_select(u8 value) {
    rate_ = value & kRateBits;
    if (!(value & kSoftwareReset) || held_in_reset()) return;
    abort();
    software_reset();
    reset_done_.schedule_in(kPollingTime / kHaste);
}

void FloppyController::abort() {
    work_.cancel();
    for (Event& seek : seeks_) seek.cancel();
    for (const auto& drive : drives_)
        if (drive) drive->cancel();
    dma_.request(false);
    operation_ = Operation::none;
    wait_ = Wait::nothing;
    head_ = 0;
    moved_ = 0;
    seeking_ = sought_ = recalibrating_ = outwards_ = 0;
    command_done();
    set_interrupt(false);
}

// Data sheet, "default values": EFIFO, FIFOTHR and PRETRK survive if they are locked.
void FloppyController::software_reset() {
    configuration_ = locked_ ? configuration_ & kFifoSettings : kFifoDisabled;
    if (!locked_) precompensation_ = 0;
    perpendicular_ &= static_cast<u8>(~3);
    present_cylinder_ = {};
    reset_statuses_ = 0;
}

void FloppyController::announce_reset() {
    reset_statuses_ = 4;
    set_interrupt(true);
}

void FloppyController::set_interrupt(bool level) {
    interrupt_ = level;
    update_lines();
}

void FloppyController::update_lines() {
    irq_.set(interrupt_ && (output_ & kDmaGate));
}

u8 FloppyController::read_fifo() {
    if (held_in_reset()) return kUndriven;
    if (phase_ == Phase::execution) return wait_ == Wait::host && !from_host() ? read_byte() : kUndriven;
    if (phase_ == Phase::command) return kUndriven;
    set_interrupt(false);
    const u8 value = bytes_[position_++];
    if (position_ == count_) command_done();
    return value;
}

void FloppyController::write_fifo(u8 value) {
    if (held_in_reset() || phase_ == Phase::result) return;
    if (phase_ == Phase::execution) {
        if (wait_ == Wait::host && from_host()) write_byte(value);
        return;
    }
    bytes_[count_++] = value;
    const Command* command = find(bytes_[0]);
    if (!command) return respond({kInvalidCommand});
    if (count_ == command->length) (this->*command->run)();
}

// The command table, data sheet section 5. PART ID came with the 82078 and is invalid here, which is how drivers tell
// the two apart.
const FloppyController::Command* FloppyController::find(u8 code) {
    using Chip = FloppyController;
    // clang-format off
    static constexpr Command kCommands[] = {
        {0x9F, 0x02, 9, &Chip::read_track},
        {0xFF, 0x03, 3, &Chip::specify},
        {0xFF, 0x04, 2, &Chip::sense_drive_status},
        {0x3F, 0x05, 9, &Chip::write_data},
        {0x1F, 0x06, 9, &Chip::read_data},
        {0xFF, 0x07, 2, &Chip::recalibrate},
        {0xFF, 0x08, 1, &Chip::sense_interrupt},
        {0x3F, 0x09, 9, &Chip::write_data},            // WRITE DELETED DATA
        {0xBF, 0x0A, 2, &Chip::read_id},
        {0x1F, 0x0C, 9, &Chip::read_deleted_data},
        {0xBF, 0x0D, 6, &Chip::format_track},
        {0xFF, 0x0E, 1, &Chip::dump_registers},
        {0xFF, 0x0F, 3, &Chip::seek},
        {0xFF, 0x10, 1, &Chip::version},
        {0x1F, 0x11, 9, &Chip::scan},                  // SCAN EQUAL
        {0xFF, 0x12, 2, &Chip::perpendicular},
        {0xFF, 0x13, 4, &Chip::configure},
        {0x7F, 0x14, 1, &Chip::lock},
        {0x1F, 0x16, 9, &Chip::verify},
        {0x1F, 0x19, 9, &Chip::scan},                  // SCAN LOW OR EQUAL
        {0x1F, 0x1D, 9, &Chip::scan},                  // SCAN HIGH OR EQUAL
        {0xBF, 0x8F, 3, &Chip::relative_seek},
    };
    // clang-format on
    const auto* found = std::find_if(std::begin(kCommands), std::end(kCommands),
                                     [code](const Command& row) { return (code & row.mask) == row.code; });
    return found == std::end(kCommands) ? nullptr : found;
}

void FloppyController::respond(std::initializer_list<u8> bytes) {
    assert(bytes.size() <= bytes_.size());
    std::copy(bytes.begin(), bytes.end(), bytes_.begin());
    count_ = static_cast<u8>(bytes.size());
    position_ = 0;
    phase_ = Phase::result;
}

void FloppyController::command_done() {
    phase_ = Phase::command;
    count_ = position_ = 0;
    if (sought_) set_interrupt(true);
}

// Commands that are done at once.

void FloppyController::specify() {
    specified_ = {bytes_[1], bytes_[2]};
    command_done();
}

bool FloppyController::dma_mode() const {
    return !(specified_[1] & 1);
}

bool FloppyController::implied_seek() const {
    return configuration_ & 0x40;
}

void FloppyController::sense_drive_status() {
    constexpr u8 kWriteProtected = 0x40, kReady = 0x20, kTrack0 = 0x10, kTwoSides = 0x08;
    const FloppyDrive* sensed = drive(bytes_[1] & 3);
    u8 status = kReady | kTwoSides | (bytes_[1] & 7);
    if (sensed && sensed->write_protected()) status |= kWriteProtected;
    if (sensed && sensed->at_track_0()) status |= kTrack0;
    respond({status});
}

void FloppyController::sense_interrupt() {
    set_interrupt(false);
    if (reset_statuses_) {
        const unsigned number = 4u - reset_statuses_--;
        return respond({static_cast<u8>(kPollingEnd | number), present_cylinder_[number]});
    }
    if (!sought_) return respond({kInvalidCommand});
    const auto number = static_cast<unsigned>(std::countr_zero(sought_));
    sought_ &= static_cast<u8>(sought_ - 1);
    respond({seek_status_[number], present_cylinder_[number]});
}

void FloppyController::configure() {
    configuration_ = bytes_[2];
    precompensation_ = bytes_[3];
    command_done();
}

void FloppyController::perpendicular() {
    constexpr u8 kOverwrite = 0x80, kDriveBits = 0x3C, kGapAndGate = 0x03;
    const u8 taken = static_cast<u8>(kGapAndGate | (bytes_[1] & kOverwrite ? kDriveBits : 0));
    perpendicular_ = replace_bits(perpendicular_, taken, bytes_[1]);
    command_done();
}

void FloppyController::lock() {
    locked_ = bit(bytes_[0], 7);
    respond({static_cast<u8>(locked_ ? 0x10 : 0)});
}

void FloppyController::version() {
    respond({0x90});
}

void FloppyController::dump_registers() {
    respond({present_cylinder_[0], present_cylinder_[1], present_cylinder_[2], present_cylinder_[3], specified_[0],
             specified_[1], last_sector_, static_cast<u8>((locked_ ? 0x80 : 0) | perpendicular_), configuration_,
             precompensation_});
}

// Moving heads.

void FloppyController::seek() {
    const unsigned number = bytes_[1] & 3;
    begin_seek(number, bytes_[2] - present_cylinder_[number], false);
}

void FloppyController::relative_seek() {
    const bool inwards = bytes_[0] & 0x40;
    begin_seek(bytes_[1] & 3, inwards ? bytes_[2] : -bytes_[2], false);
}

void FloppyController::recalibrate() {
    const unsigned number = bytes_[1] & 3;
    const unsigned distance = drive(number) ? drive(number)->cylinder() : kMostRecalibrationSteps;
    begin_seek(number, -static_cast<int>(std::min(distance, kMostRecalibrationSteps)), true);
}

// SPECIFY's SRT: 16 less the step time in milliseconds, at 500 Kbit/s.
u64 FloppyController::step_time() const {
    const u64 milliseconds = 16u - (specified_[0] >> 4);
    return milliseconds * 1'000'000 * 500 / kKilobits[rate_] / kHaste;
}

void FloppyController::begin_seek(unsigned number, int steps, bool recalibrates) {
    const u8 one = static_cast<u8>(1 << number);
    const u8 count = static_cast<u8>(steps < 0 ? -steps : steps);
    seek_status_[number] = static_cast<u8>(kSeekEnd | (recalibrates ? number : bytes_[1] & 7));
    steps_[number] = count;
    outwards_ = replace_bits(outwards_, one, static_cast<u8>(steps < 0 ? one : 0));
    recalibrating_ = replace_bits(recalibrating_, one, static_cast<u8>(recalibrates ? one : 0));
    seeking_ |= one;
    sought_ &= static_cast<u8>(~one);
    seeks_[number].schedule_in(kNoStepTime + count * step_time());
    command_done();
}

void FloppyController::seek_done(unsigned number) {
    const u8 one = static_cast<u8>(1 << number);
    const bool outwards = outwards_ & one;
    for (unsigned step = 0; step < steps_[number] && drive(number); ++step) drive(number)->step(!outwards);
    present_cylinder_[number] =
        static_cast<u8>(present_cylinder_[number] + (outwards ? -steps_[number] : steps_[number]));
    if (recalibrating_ & one) {
        present_cylinder_[number] = 0;
        if (!drive(number) || !drive(number)->at_track_0()) seek_status_[number] |= kNoTrack0;
    }
    steps_[number] = 0;
    seeking_ &= static_cast<u8>(~one);
    sought_ |= one;
    if (phase_ == Phase::command) set_interrupt(true);
}

void FloppyController::state(StateIo& io) {
    io.section(name(), 1, [&] {
        io.field("output", output_);
        io.field("tape", tape_);
        io.field("rate", rate_);
        io.bytes("specified", specified_);
        io.field("configuration", configuration_);
        io.field("precompensation", precompensation_);
        io.field("perpendicular", perpendicular_);
        io.field("locked", locked_);
        io.field("phase", phase_);
        io.bytes("bytes", bytes_);
        io.field("count", count_);
        io.field("position", position_);
        io.field("interrupt", interrupt_);
        io.field("reset_statuses", reset_statuses_);
        io.field("seeking", seeking_);
        io.field("sought", sought_);
        io.bytes("seek_status", seek_status_);
        io.bytes("present_cylinder", present_cylinder_);
        io.bytes("steps", steps_);
        io.field("outwards", outwards_);
        io.field("recalibrating", recalibrating_);
        io.field("operation", operation_);
        io.field("wait", wait_);
        io.field("unit", unit_);
        io.field("head", head_);
        io.field("cylinder_id", cylinder_id_);
        io.field("head_id", head_id_);
        io.field("sector_id", sector_id_);
        io.field("size_id", size_id_);
        io.field("last_sector", last_sector_);
        io.field("data_length", data_length_);
        io.field("left", left_);
        io.field("st0", st0_);
        io.field("st1", st1_);
        io.field("st2", st2_);
        io.field("terminal_count", terminal_count_);
        io.field("moved", moved_);
        io.field("patience", patience_);
        io.bytes("buffer", buffer_);
        work_.state(io);
        reset_done_.state(io);
        for (Event& seek : seeks_) seek.state(io);
        for (const auto& drive : drives_)
            if (drive) drive->state(io);
    });
    if (io.loading()) check_loaded(io);
}

// Nothing a tampered state holds may lead to more than wrong data.
void FloppyController::check_loaded(StateIo& io) {
    rate_ &= kRateBits;
    tape_ &= 3;
    seeking_ &= 0x0F;
    sought_ &= 0x0F;
    const Command* command = find(bytes_[0]);
    const bool bytes = phase_ == Phase::command
                           ? count_ == 0 || (command && count_ < command->length)
                           : phase_ == Phase::execution || (position_ < count_ && count_ <= bytes_.size());
    const bool moves = wait_ == Wait::host || wait_ == Wait::dma;
    const bool transfer = operation_ <= Operation::read_id && moved_ <= buffer_.size() &&
                          (!moves || moved_ < wanted()) && (operation_ != Operation::read_track || left_ > 0);
    const bool execution = transfer && wait_ <= Wait::failure && head_ <= 1 &&
                           (phase_ == Phase::execution) == (wait_ != Wait::nothing) &&
                           (phase_ == Phase::execution) == (operation_ != Operation::none);
    const bool sound = phase_ <= Phase::result && reset_statuses_ <= 4 && bytes && execution;
    if (!io.failed() && sound) return;
    io.fail("floppy: the saved state cannot be");
    reset();
}

}  // namespace lodge
