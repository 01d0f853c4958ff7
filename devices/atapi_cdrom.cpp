#include "devices/atapi_cdrom.h"

#include <algorithm>
#include <array>

namespace lodge {

namespace {

using scsi::Task;

constexpr size_t kPacketBytes = 12;
constexpr scsi::Nexus kHost = 0;

// Interrupt reason: the count register, which says whose turn it is.
constexpr u8 kIsCommand = 0x01;  // C/D: a packet or the status, not data
constexpr u8 kToHost = 0x02;     // I/O

// PACKET's features register.
constexpr u8 kByDma = 0x01;
constexpr u8 kOverlapped = 0x02;

constexpr u8 kSetTransferMode = 0x03;
constexpr u8 kSignatureMid = 0x14, kSignatureHigh = 0xEB;

}  // namespace

AtapiCdRom::AtapiCdRom(const Platform& platform, IdeCable& cable, MediumSlot& slot, unsigned number)
    : IdeDrive(cable),
      name_("cdrom" + std::to_string(number)),
      number_(number),
      slot_(slot),
      unit_({.product = "lodge CD-ROM", .serial = "LODGE-" + std::to_string(number)},
            slot.loaded() ? std::optional(scsi::Medium{slot.size(), true}) : std::nullopt,
            scsi::CdRom::Interface::atapi, {.chunk_bytes = kMostBuffered}),
      queue_(platform.scheduler, platform.inputs, platform.log, "ide." + name_, slot.disk(),
             [this](DiskCompletion completion) { on_disk(std::move(completion)); }) {
    slot.connect(*this);
    reset();
}

void AtapiCdRom::medium_changed() {
    unit_.change_disc(slot_.loaded() ? std::optional(scsi::Medium{slot_.size(), true}) : std::nullopt);
}

// Resets. SRST and DEVICE RESET end what is under way and leave the rest alone, so that a driver that resets a drive in
// order to find it does not have to lock its tray again.

void AtapiCdRom::reset() {
    dma_mode_ = 0x20 | kAtaMostMultiwordMode;
    unit_.reset(scsi::Unit::Reset::power_on);
    software_reset(false);
}

void AtapiCdRom::software_reset(bool held) {
    stop();
    if (held) return set_busy();
    diagnose();
}

void AtapiCdRom::diagnose() {
    stop();
    sleeping_ = false;
    set_unready();
    set_signature(kSignatureMid, kSignatureHigh);
}

void AtapiCdRom::device_reset() {
    diagnose();
}

void AtapiCdRom::stop() {
    queue_.cancel();
    unit_.abort_task_set(kHost);
    while (Task* task = unit_.take_ready()) unit_.retire(*task);
    activity_ = Activity::idle;
    task_ = 0;
    piece_ = 0;
    drop_transfer();
    set_intrq(false);
}

// Commands other than PACKET, ATA/ATAPI-6 clause 8.

void AtapiCdRom::execute(u8 code) {
    constexpr u8 kReadSectors = 0x20, kPacket = 0xA0, kIdentifyPacketDevice = 0xA1;
    constexpr u8 kStandbyImmediate = 0xE0, kIdleImmediate = 0xE1, kCheckPowerMode = 0xE5, kSleep = 0xE6;
    constexpr u8 kIdentifyDevice = 0xEC, kSetFeatures = 0xEF;
    if (sleeping_) return;  // only a reset wakes it
    set_busy();
    switch (code) {
        case kPacket:
            return packet();
        case kIdentifyPacketDevice:
            return identify_packet_device();
        case kSetFeatures:
            return set_features();
        case kReadSectors:
        case kIdentifyDevice:
            return refuse_as_packet_device();
        case kCheckPowerMode:
            set_reason(0xFF);
            return finish(0);
        case kSleep:
            sleeping_ = true;
            return finish(0);
        case kStandbyImmediate:
        case kIdleImmediate:
            return finish(0);
        default:
            return abort();
    }
}

// The signature tells the host what it has found instead of a disk.
void AtapiCdRom::refuse_as_packet_device() {
    set_signature(kSignatureMid, kSignatureHigh);
    abort();
}

void AtapiCdRom::identify_packet_device() {
    const auto data =
        ata_identify_packet({.serial = unit_.identity().serial, .slave = (number_ & 1) != 0, .dma_mode = dma_mode_});
    activity_ = Activity::identifying;
    start_transfer(IdeTransfer::pio_in, std::vector<u8>(data.begin(), data.end()));
    offer(data.size());
    set_intrq(true);
}

void AtapiCdRom::set_features() {
    if (current(kIdeFeatures) != kSetTransferMode) return abort();
    const bool known = ata_select_transfer_mode(current(kIdeCount), dma_mode_);
    finish(known ? 0 : kIdeAborted);
}

// PACKET: first the packet itself, by PIO and without an interrupt.

void AtapiCdRom::packet() {
    const u8 features = current(kIdeFeatures);
    if (features & kOverlapped) return abort();
    dma_ = features & kByDma;
    // A limit of 0 is not allowed for PIO, FFFFh is FFFEh, and an odd one leaves a byte to the next block.
    limit_ = static_cast<u16>(current(kIdeLbaHigh) << 8 | current(kIdeLbaMid)) & 0xFFFE;
    if (limit_ == 0) limit_ = 0xFFFE;
    activity_ = Activity::packet;
    set_reason(kIsCommand);
    start_transfer(IdeTransfer::pio_out, std::vector<u8>(kPacketBytes));
    offer(kPacketBytes);
}

void AtapiCdRom::packet_arrived() {
    scsi::Command command;
    std::copy_n(buffer().begin(), std::min(buffer().size(), kPacketBytes), command.cdb.begin());
    command.nexus = kHost;
    command.tag = next_tag_++;
    drop_transfer();
    activity_ = Activity::command;
    task_ = unit_.submit(command).id();
    serve();
}

// The unit's task: what it needs next.

void AtapiCdRom::serve() {
    while (Task* task = unit_.take_ready()) serve(*task);
}

void AtapiCdRom::serve(Task& task) {
    switch (task.need()) {
        case Task::Need::data_in:
            return send(task.data_in());
        case Task::Need::data_out:
            return receive(task.left_in_piece());
        case Task::Need::medium:
            return read_disc(task);
        case Task::Need::done:
            complete(task);
            return unit_.retire(task);
        default:
            return unit_.retire(task);
    }
}

void AtapiCdRom::send(std::span<const u8> data) {
    piece_ = static_cast<u32>(std::min<size_t>(data.size(), kMostBuffered));
    std::vector<u8> buffer = take_spare();
    buffer.resize(align_up(piece_, 2));
    buffer.back() = 0;
    std::copy_n(data.begin(), piece_, buffer.begin());
    start_transfer(dma_ ? IdeTransfer::dma_in : IdeTransfer::pio_in, std::move(buffer));
    offer_piece();
}

void AtapiCdRom::receive(size_t bytes) {
    piece_ = static_cast<u32>(std::min<size_t>(bytes, kMostBuffered));
    start_transfer(dma_ ? IdeTransfer::dma_out : IdeTransfer::pio_out, std::vector<u8>(align_up(piece_, 2)));
    offer_piece();
}

// By PIO, each block with its count of bytes and an interrupt; by DMA the whole piece.
void AtapiCdRom::offer_piece() {
    set_reason(transfer() == IdeTransfer::pio_in || transfer() == IdeTransfer::dma_in ? kToHost : 0);
    if (dma_) return offer(left_in_buffer());
    const size_t padding = buffer().size() - piece_;
    const size_t block = std::min<size_t>(left_in_buffer(), limit_);
    const size_t told = block == left_in_buffer() ? block - padding : block;
    set_register(kIdeLbaMid, static_cast<u8>(told));
    set_register(kIdeLbaHigh, static_cast<u8>(told >> 8));
    offer(block);
    set_intrq(true);
}

void AtapiCdRom::block_moved() {
    switch (activity_) {
        case Activity::packet:
            return packet_arrived();
        case Activity::command:
            break;
        default:
            activity_ = Activity::idle;
            return set_idle(0);
    }
    if (left_in_buffer()) return offer_piece();
    Task* moved = task();
    if (!moved) return abort();  // only a damaged state
    const size_t bytes = std::min<size_t>(piece_, moved->left_in_piece());
    if (moved->need() == Task::Need::data_out) std::copy_n(buffer().begin(), bytes, moved->data_out().begin());
    drop_transfer();
    set_busy();
    unit_.data_moved(*moved, bytes);
    serve();
}

void AtapiCdRom::complete(const Task& task) {
    activity_ = Activity::idle;
    task_ = 0;
    set_reason(kIsCommand | kToHost);
    const bool good = task.status() == scsi::Status::good || task.status() == scsi::Status::condition_met;
    // The error register has the sense key in bits 7:4 (8.24.5).
    finish(good ? 0 : static_cast<u8>(static_cast<u8>(task.sense().key) << 4 | kIdeAborted));
}

// Reading the disc.

void AtapiCdRom::read_disc(const Task& task) {
    using scsi::MediumOperation;
    const scsi::MediumRequest& wanted = task.medium();
    if (wanted.operation == MediumOperation::read) {
        queue_.submit({DiskOperation::read, wanted.offset, wanted.length, {}});
    } else {
        queue_.submit({DiskOperation::flush, 0, 0, {}});
    }
}

void AtapiCdRom::on_disk(DiskCompletion completion) {
    Task* waiting = task();
    if (!waiting || waiting->need() != Task::Need::medium) return;
    const bool failed = completion.status != DiskStatus::ok;
    unit_.medium_done(*waiting, {.status = failed ? scsi::MediumStatus::failed : scsi::MediumStatus::ok,
                                 .data = std::move(completion.data),
                                 .extent_length = 0,
                                 .extent_zero = false});
    serve();
}

void AtapiCdRom::state(StateIo& io) {
    io.section(name_, 1, [&] {
        slot_.state(io);
        drive_state(io);
        unit_.state(io, "unit");
        io.field("dma_mode", dma_mode_);
        io.field("sleeping", sleeping_);
        io.field("activity", activity_);
        io.field("dma", dma_);
        io.field("limit", limit_);
        io.field("task", task_);
        io.field("piece", piece_);
        io.field("next_tag", next_tag_);
        queue_.state(io);
    });
    if (io.loading()) check_loaded(io);
}

// Nothing a tampered state holds may lead to more than wrong data.
void AtapiCdRom::check_loaded(StateIo& io) {
    const bool limited = activity_ != Activity::command || (limit_ >= 2 && limit_ % 2 == 0);
    if (!io.failed() && activity_ <= Activity::identifying && limited && loaded_transfer_sound()) return;
    io.fail(name_ + ": the saved state cannot be");
    reset();
}

bool AtapiCdRom::loaded_transfer_sound() {
    const Task* saved = task();
    const bool moves = transfer() != IdeTransfer::none;
    switch (activity_) {
        case Activity::packet:
            return transfer() == IdeTransfer::pio_out && buffer().size() == kPacketBytes;
        case Activity::identifying:
            return transfer() == IdeTransfer::pio_in;
        case Activity::command:
            if (!saved || queue_.in_flight() > (moves ? 0 : 1)) return false;
            return !moves || (buffer().size() == align_up(piece_, 2) && piece_ > 0);
        case Activity::idle:
            return !moves && !saved && queue_.in_flight() == 0;
    }
    return false;
}

}  // namespace lodge
