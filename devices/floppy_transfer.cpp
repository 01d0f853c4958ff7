// The diskette controller's commands that look at or move sectors. Source: 82077AA data sheet (290166), section 5:
// the result bytes' values at the end of each kind of command, and their tables of the next sector's address.
#include <algorithm>
#include <cassert>

#include "devices/floppy_controller.h"

namespace lodge {

namespace {

// First byte of a command.
constexpr u8 kMultiTrack = 0x80;
constexpr u8 kMfm = 0x40;
constexpr u8 kSkip = 0x20;
constexpr u8 kEnableCount = 0x80;  // EC, in VERIFY's second byte
constexpr u8 kCodeBits = 0x1F;
constexpr u8 kReadDeleted = 0x0C;

// ST0
constexpr u8 kSeekEnd = 0x20;
constexpr u8 kEquipmentCheck = 0x10;
constexpr u8 kNormal = 0, kAbnormal = 1;  // interrupt code, bits 7:6
// ST1
constexpr u8 kEndOfCylinder = 0x80;
constexpr u8 kDataError = 0x20;
constexpr u8 kOverrun = 0x10;
constexpr u8 kNoData = 0x04;
constexpr u8 kNotWritable = 0x02;
constexpr u8 kMissingMark = 0x01;
// ST2
constexpr u8 kControlMark = 0x40;
constexpr u8 kDataErrorInData = 0x20;
constexpr u8 kWrongCylinder = 0x10;
constexpr u8 kScanEqual = 0x08;
constexpr u8 kScanNotSatisfied = 0x04;

constexpr u8 kSize512 = 2;  // N
constexpr size_t kIdSize = 4;

constexpr u64 kRevolution = 200'000'000;  // nanoseconds, at 300 a minute
constexpr u64 kDmaPoll = 100'000;
constexpr u64 kLongestStep = 2'000'000;

}  // namespace

// The commands.

void FloppyController::read_data() {
    begin(Operation::read);
}

void FloppyController::read_deleted_data() {
    begin(Operation::read);
}

// An image holds no deleted data marks, so that deleted data are written as any other.
void FloppyController::write_data() {
    begin(Operation::write);
}

void FloppyController::verify() {
    left_ = bytes_[8];
    begin(Operation::verify);
}

void FloppyController::scan() {
    constexpr u8 kLow = 0x08, kHigh = 0x0C;
    const u8 kind = bytes_[0] & 0x0C;
    begin(kind == kHigh ? Operation::scan_high : kind == kLow ? Operation::scan_low : Operation::scan_equal);
}

void FloppyController::read_track() {
    left_ = 1;  // the number of the sector under the heads, whatever its address
    begin(Operation::read_track);
}

void FloppyController::read_id() {
    begin(Operation::read_id);
}

void FloppyController::format_track() {
    left_ = bytes_[3];
    data_length_ = bytes_[5];
    begin(Operation::format);
}

void FloppyController::begin(Operation operation) {
    phase_ = Phase::execution;
    operation_ = operation;
    unit_ = bytes_[1] & 3;
    head_ = bytes_[1] >> 2 & 1;
    st0_ = st1_ = st2_ = 0;
    terminal_count_ = false;
    const bool addressed = operation != Operation::read_id && operation != Operation::format;
    if (addressed) take_address();
    dma_.request(dma_mode() && operation != Operation::read_id && operation != Operation::verify);
    if (addressed && implied_seek()) return locate();
    search();
}

void FloppyController::take_address() {
    cylinder_id_ = bytes_[2];
    head_id_ = bytes_[3];
    sector_id_ = bytes_[4];
    size_id_ = bytes_[5];
    last_sector_ = bytes_[6];
    data_length_ = bytes_[8];
}

// The implied seek of CONFIGURE's EIS.
void FloppyController::locate() {
    const int steps = cylinder_id_ - present_cylinder_[unit_];
    if (steps == 0) return search();
    wait_ = Wait::heads;
    st0_ |= kSeekEnd;
    work_.schedule_in(static_cast<u64>(steps < 0 ? -steps : steps) * std::min(step_time(), kLongestStep));
}

// Who is under the heads.

bool FloppyController::from_host() const {
    return writes() || operation_ == Operation::scan_equal || operation_ == Operation::scan_low ||
           operation_ == Operation::scan_high;
}

bool FloppyController::needs_track() const {
    return !writes() && operation_ != Operation::read_id;
}

// What can be read where the heads are: null when nothing can.
const FloppyFormat* FloppyController::medium() const {
    if (!drive(unit_) || !motor(unit_) || !(bytes_[0] & kMfm)) return nullptr;
    const FloppyFormat* format = selected().readable(static_cast<FloppyRate>(rate_));
    return format && head_ < format->heads && selected().medium_cylinder() ? format : nullptr;
}

u64 FloppyController::sector_time() const {
    return kRevolution / medium()->sectors / kHaste;
}

// Looks for the next sector that the command wants.
void FloppyController::search() {
    const FloppyFormat* format = medium();
    if (!format) return fail(kMissingMark, 0);
    if (writes() && selected().write_protected()) {
        st1_ |= kNotWritable;
        return finish(kAbnormal);
    }
    if (operation_ == Operation::format && left_ == 0) return finish(kNormal);
    if (operation_ == Operation::read_track && (left_ > last_sector_ || left_ > format->sectors)) {
        st1_ |= kEndOfCylinder;
        return finish(kAbnormal);
    }
    if (const u8 wrong = mismatch()) return fail(kNoData, wrong & kWrongCylinder);
    if (!needs_track() || selected().has_track(head_)) return await_sector();
    wait_ = Wait::track;
    selected().fetch_track(head_);
}

// Zero when the track has a sector of the address that is looked for; else not zero, with ST2's bit for a wrong
// cylinder. Every track is as it was formatted: sectors 1 and up, of 512 bytes, with the address of where they are.
u8 FloppyController::mismatch() const {
    const bool any = operation_ == Operation::read_id || operation_ == Operation::format;
    if (any || operation_ == Operation::read_track) return 0;
    if (cylinder_id_ != selected().medium_cylinder()) return kNoData | kWrongCylinder;
    const bool found = head_id_ == head_ && size_id_ == kSize512 && sector_id_ >= 1 && sector_id_ <= medium()->sectors;
    return found ? 0 : kNoData;
}

void FloppyController::await_sector() {
    wait_ = Wait::sector;
    moved_ = 0;
    work_.schedule_in(sector_time());
}

void FloppyController::on_work() {
    switch (wait_) {
        case Wait::heads: {
            const int steps = cylinder_id_ - present_cylinder_[unit_];
            for (int step = 0; step < std::abs(steps) && drive(unit_); ++step) selected().step(steps > 0);
            present_cylinder_[unit_] = cylinder_id_;
            return search();
        }
        case Wait::sector:
            return sector_reached();
        case Wait::dma:
            return move_by_dma();
        case Wait::failure:
            return finish(kAbnormal);
        default:
            return;
    }
}

// The medium may have gone while the sector came round.
void FloppyController::sector_reached() {
    if (!medium() || (needs_track() && !selected().has_track(head_)) || mismatch()) return search();
    if (operation_ == Operation::read_id) return id_read();
    if (operation_ == Operation::verify) return sector_done();
    if ((bytes_[0] & kCodeBits) == kReadDeleted) {
        st2_ |= kControlMark;
        if (bytes_[0] & kSkip) st1_ |= kEndOfCylinder;
        if (bytes_[0] & kSkip) return finish(kAbnormal);
    }
    if (operation_ == Operation::read || operation_ == Operation::read_track) {
        const u8 number = operation_ == Operation::read ? sector_id_ : left_;
        if (operation_ == Operation::read_track && number != sector_id_) st1_ |= kNoData;
        const auto data = selected().sector(head_, number);
        std::copy(data.begin(), data.end(), buffer_.begin());
    } else {
        buffer_.fill(0);
    }
    move_data();
}

// Where the diskette is in its turn decides which address comes next.
void FloppyController::id_read() {
    cylinder_id_ = *selected().medium_cylinder();
    head_id_ = head_;
    sector_id_ = static_cast<u8>(scheduler_.now() / sector_time() % medium()->sectors + 1);
    size_id_ = kSize512;
    finish(kNormal);
}

// Moving a sector's bytes, or the address that a format gives a sector.

size_t FloppyController::wanted() const {
    return operation_ == Operation::format ? kIdSize : buffer_.size();
}

void FloppyController::move_data() {
    if (dma_mode()) {
        patience_ = static_cast<u8>(kRevolution / kHaste / kDmaPoll);
        return move_by_dma();
    }
    wait_ = Wait::host;
    set_interrupt(true);
}

void FloppyController::move_by_dma() {
    const std::span<u8> data = std::span(buffer_).first(wanted()).subspan(moved_);
    DmaChannel::Transfer moved;
    if (output_ & kDmaGate) moved = from_host() ? dma_.from_memory(data) : dma_.to_memory(data);
    moved_ = static_cast<u16>(moved_ + moved.bytes);
    if (moved.terminal_count || moved_ == wanted()) return data_moved(moved.terminal_count);
    if (patience_ == 0) {
        st1_ |= kOverrun;
        return finish(kAbnormal);
    }
    --patience_;
    wait_ = Wait::dma;
    work_.schedule_in(kDmaPoll);
}

// Through the FIFO there is an interrupt for each byte, or for as many as CONFIGURE's threshold says.
u8 FloppyController::read_byte() {
    const u8 value = buffer_[moved_];
    byte_moved();
    return value;
}

void FloppyController::write_byte(u8 value) {
    buffer_[moved_] = value;
    byte_moved();
}

void FloppyController::byte_moved() {
    constexpr u8 kFifoDisabled = 0x20, kThreshold = 0x0F;
    const unsigned burst = configuration_ & kFifoDisabled ? 1 : (configuration_ & kThreshold) + 1u;
    set_interrupt(false);
    if (++moved_ == wanted()) return data_moved(false);
    if (moved_ % burst == 0) set_interrupt(true);
}

void FloppyController::data_moved(bool terminal_count) {
    terminal_count_ = terminal_count;
    switch (operation_) {
        case Operation::write:
            return store_sector();
        case Operation::format:
            return store_formatted();
        case Operation::scan_equal:
        case Operation::scan_low:
        case Operation::scan_high:
            return scanned();
        default:
            return sector_done();
    }
}

void FloppyController::store_sector() {
    if (!medium() || mismatch()) return search();
    wait_ = Wait::store;
    selected().write_sector(head_, sector_id_, buffer_);
}

// The image has a place only for the sectors of its own format; others are lost, as they would be in its file.
void FloppyController::store_formatted() {
    const FloppyFormat* format = medium();
    const u8 sector = buffer_[2];
    const bool fits = format && buffer_[0] == selected().medium_cylinder() && buffer_[1] == head_ && sector >= 1 &&
                      sector <= format->sectors && buffer_[3] == kSize512;
    if (!fits) return sector_done();
    buffer_.fill(data_length_);
    wait_ = Wait::store;
    selected().write_sector(head_, sector, buffer_);
}

// FFh on either side is like any byte.
void FloppyController::scanned() {
    if (!medium() || !selected().has_track(head_) || mismatch()) return search();
    const auto data = selected().sector(head_, sector_id_);
    bool equal = true, low = true, high = true;
    for (size_t i = 0; i < moved_; ++i) {
        if (data[i] == 0xFF || buffer_[i] == 0xFF) continue;
        equal &= data[i] == buffer_[i];
        low &= data[i] <= buffer_[i];
        high &= data[i] >= buffer_[i];
    }
    const bool met =
        equal || (operation_ == Operation::scan_low && low) || (operation_ == Operation::scan_high && high);
    st2_ = static_cast<u8>(equal ? kScanEqual : met ? 0 : kScanNotSatisfied);
    if (met) return finish(kNormal);
    sector_done();
}

// On to the next sector.

void FloppyController::sector_done() {
    const bool scans = from_host() && !writes();
    if (operation_ == Operation::format) {
        --left_;
        return search();
    }
    const bool counts = operation_ == Operation::verify && (bytes_[1] & kEnableCount);
    const bool deleted = (bytes_[0] & kCodeBits) == kReadDeleted;
    if (terminal_count_ || deleted || (counts && --left_ == 0)) {
        advance_address();
        return finish(kNormal);
    }
    if (operation_ == Operation::read_track) {
        ++left_;
        ++sector_id_;
        return search();
    }
    if (next_sector()) return search();
    advance_address();
    if (operation_ == Operation::verify || scans) return finish(kNormal);
    st1_ |= kEndOfCylinder;
    finish(kAbnormal);
}

bool FloppyController::next_sector() {
    const bool scans = from_host() && !writes();
    const unsigned step = scans && data_length_ == 2 ? 2 : 1;
    if (sector_id_ < last_sector_ && sector_id_ + step <= last_sector_) {
        sector_id_ = static_cast<u8>(sector_id_ + step);
        return true;
    }
    // A first sector beyond the last one has no end but the track's.
    if (sector_id_ > last_sector_) return ++sector_id_ != 0;
    if (!(bytes_[0] & kMultiTrack) || head_ != 0) return false;
    head_ = 1;
    head_id_ ^= 1;
    sector_id_ = 1;
    return true;
}

// The address in the results is the one behind the last sector.
void FloppyController::advance_address() {
    if (sector_id_ != last_sector_) {
        ++sector_id_;
        return;
    }
    const bool multiple = bytes_[0] & kMultiTrack;
    sector_id_ = 1;
    if (!multiple || head_ == 1) ++cylinder_id_;
    if (multiple) head_id_ ^= 1;
}

// The end.

// The index hole has to pass twice before the controller gives up.
void FloppyController::fail(u8 st1, u8 st2) {
    st1_ |= st1;
    st2_ |= st2;
    wait_ = Wait::failure;
    work_.schedule_in(2 * kRevolution / kHaste);
}

void FloppyController::finish(u8 interrupt_code) {
    dma_.request(false);
    operation_ = Operation::none;
    wait_ = Wait::nothing;
    st0_ = static_cast<u8>((st0_ & (kSeekEnd | kEquipmentCheck)) | interrupt_code << 6 | head_ << 2 | unit_);
    respond({st0_, st1_, st2_, cylinder_id_, head_id_, sector_id_, size_id_});
    set_interrupt(true);
}

void FloppyController::on_disk(unsigned number, DiskCompletion completion) {
    drives_[number]->completed(completion);
    if (number != unit_) return;
    const bool failed = completion.status != DiskStatus::ok;
    if (wait_ == Wait::track && completion.operation == DiskOperation::read) {
        if (!failed) return search();
        st1_ |= kDataError;
        st2_ |= kDataErrorInData;
        return finish(kAbnormal);
    }
    if (wait_ != Wait::store || completion.operation != DiskOperation::write) return;
    if (!failed) return sector_done();
    st0_ |= kEquipmentCheck;
    finish(kAbnormal);
}

}  // namespace lodge
