#include "devices/ata_disk.h"

#include <algorithm>
#include <cassert>

namespace lodge {

namespace {

constexpr u64 kMostSectors = u64{1} << 48;

// SET FEATURES subcommands, ATA/ATAPI-6.
constexpr u8 kEnableWriteCache = 0x02;
constexpr u8 kSetTransferMode = 0x03;
constexpr u8 kDisableLookAhead = 0x55;
constexpr u8 kKeepSettings = 0x66;
constexpr u8 kDisableWriteCache = 0x82;
constexpr u8 kEnableLookAhead = 0xAA;
constexpr u8 kRevertSettings = 0xCC;

// SMART subcommands, ATA/ATAPI-6, and the key that guards them.
constexpr u8 kSmartReadData = 0xD0;
constexpr u8 kSmartReadThresholds = 0xD1;
constexpr u8 kSmartAutosave = 0xD2;
constexpr u8 kSmartSaveAttributes = 0xD3;
constexpr u8 kSmartExecuteTest = 0xD4;
constexpr u8 kSmartReadLog = 0xD5;
constexpr u8 kSmartEnable = 0xD8;
constexpr u8 kSmartDisable = 0xD9;
constexpr u8 kSmartReturnStatus = 0xDA;
constexpr u8 kSmartKeyMid = 0x4F;
constexpr u8 kSmartKeyHigh = 0xC2;

constexpr u8 kTrim = 0x01;

// An entry of a TRIM list, ACS-2 DATA SET MANAGEMENT: 48 bits of address, 16 bits of count.
u64 range_start(u64 entry) {
    return entry & 0xFFFF'FFFF'FFFF;
}
u64 range_length(u64 entry) {
    return entry >> 48;
}

}  // namespace

AtaDisk::AtaDisk(const Platform& platform, IdeCable& cable, BlockDevice& disk, unsigned number)
    : IdeDrive(cable),
      log_(platform.log),
      scheduler_(platform.scheduler),
      name_("disk" + std::to_string(number)),
      number_(number),
      sectors_(std::min(disk.size() / kSectorSize, kMostSectors)),
      read_only_(disk.read_only()),
      queue_(platform.scheduler, platform.inputs, platform.log, "ide." + name_, disk,
             [this](DiskCompletion completion) { on_disk(std::move(completion)); }) {
    reset();
}

// Resets.

void AtaDisk::reset() {
    use_default_settings();
    set_geometry(ata_geometry(sectors_));
    dma_mode_ = 0x20 | kAtaMostMultiwordMode;
    smart_.stop_test();
    keep_settings_ = false;
    standby_after_ = 0;
    stop();
    software_reset(false);
}

void AtaDisk::use_default_settings() {
    multiple_ = 0;
    write_cache_ = true;
    look_ahead_ = true;
}

void AtaDisk::stop() {
    queue_.cancel();
    activity_ = Activity::idle;
    mode_ = Mode::none;
    extended_ = write_through_ = false;
    lba_ = 0;
    remaining_ = chunk_ = next_range_ = 0;
    ranges_.clear();
    drop_transfer();
    set_intrq(false);
}

void AtaDisk::software_reset(bool held) {
    stop();
    if (held) return set_busy();
    if (!keep_settings_) use_default_settings();
    power_ = Power::active;
    used();
    set_idle(0);
    set_signature(0, 0);
}

void AtaDisk::diagnose() {
    stop();
    set_idle(0);
    set_signature(0, 0);
}

// The command table. ATA/ATAPI-6 clause 8; READ and WRITE "without retry" (x1h, CBh, C9h) are ATA-3's.

const AtaDisk::Command* AtaDisk::find(u8 code) {
    using Disk = AtaDisk;
    // clang-format off
    static constexpr Command kCommands[] = {
        {0x00, &Disk::refuse},                                           // NOP
        {0x06, &Disk::data_set_management},
        {0x08, &Disk::refuse},                                           // DEVICE RESET: packet devices only
        {0x20, &Disk::read_sectors,   Mode::pio},
        {0x21, &Disk::read_sectors,   Mode::pio},
        {0x24, &Disk::read_sectors,   Mode::pio,      true},             // READ SECTORS EXT
        {0x25, &Disk::read_sectors,   Mode::dma,      true},             // READ DMA EXT
        {0x27, &Disk::read_native_max_address, Mode::none, true},
        {0x29, &Disk::read_sectors,   Mode::multiple, true},             // READ MULTIPLE EXT
        {0x30, &Disk::write_sectors,  Mode::pio},
        {0x31, &Disk::write_sectors,  Mode::pio},
        {0x34, &Disk::write_sectors,  Mode::pio,      true},             // WRITE SECTORS EXT
        {0x35, &Disk::write_sectors,  Mode::dma,      true},             // WRITE DMA EXT
        {0x39, &Disk::write_sectors,  Mode::multiple, true},             // WRITE MULTIPLE EXT
        {0x3D, &Disk::write_sectors,  Mode::dma,      true, true},       // WRITE DMA FUA EXT
        {0x40, &Disk::verify_sectors},
        {0x41, &Disk::verify_sectors},
        {0x42, &Disk::verify_sectors, Mode::none,     true},             // READ VERIFY SECTORS EXT
        {0x70, &Disk::seek},
        {0x91, &Disk::initialize_device_parameters},
        {0x94, &Disk::standby},                                          // 94h..99h: ATA-3's codes of E0h..E6h
        {0x95, &Disk::idle},
        {0x96, &Disk::standby,        Mode::none,     false, false, true},
        {0x97, &Disk::idle,           Mode::none,     false, false, true},
        {0x98, &Disk::check_power_mode},
        {0x99, &Disk::sleep},
        {0xA0, &Disk::refuse},                                           // PACKET
        {0xA1, &Disk::refuse},                                           // IDENTIFY PACKET DEVICE
        {0xB0, &Disk::smart},
        {0xC4, &Disk::read_sectors,   Mode::multiple},
        {0xC5, &Disk::write_sectors,  Mode::multiple},
        {0xC6, &Disk::set_multiple_mode},
        {0xC8, &Disk::read_sectors,   Mode::dma},
        {0xC9, &Disk::read_sectors,   Mode::dma},
        {0xCA, &Disk::write_sectors,  Mode::dma},
        {0xCB, &Disk::write_sectors,  Mode::dma},
        {0xCE, &Disk::write_sectors,  Mode::multiple, true, true},       // WRITE MULTIPLE FUA EXT
        {0xE0, &Disk::standby},                                          // STANDBY IMMEDIATE
        {0xE1, &Disk::idle},                                             // IDLE IMMEDIATE
        {0xE2, &Disk::standby,        Mode::none,     false, false, true},
        {0xE3, &Disk::idle,           Mode::none,     false, false, true},
        {0xE5, &Disk::check_power_mode},
        {0xE6, &Disk::sleep},
        {0xE7, &Disk::flush_cache},
        {0xEA, &Disk::flush_cache,    Mode::none,     true},             // FLUSH CACHE EXT
        {0xEC, &Disk::identify_device},
        {0xEF, &Disk::set_features},
        {0xF8, &Disk::read_native_max_address},
    };
    // clang-format on
    static constexpr Command kRecalibrate{0x10, &Disk::recalibrate};  // 10h..1Fh in ATA-1
    if ((code & 0xF0) == kRecalibrate.code) return &kRecalibrate;
    const auto* found = std::find_if(std::begin(kCommands), std::end(kCommands),
                                     [code](const Command& command) { return command.code == code; });
    return found == std::end(kCommands) ? nullptr : found;
}

void AtaDisk::execute(u8 code) {
    if (power_ == Power::sleeping) return;  // only a reset wakes it
    const Command* command = find(code);
    if (!command) {
        log_.once(LogChannel::ide, "%s: command %02Xh is not one of this disk's", name_.c_str(), code);
        return abort();
    }
    set_busy();
    (this->*command->run)(*command);
}

void AtaDisk::refuse(const Command&) {
    abort();
}

// Addresses: CHS, 28-bit and 48-bit (ATA/ATAPI-6 clause 6).

u64 AtaDisk::lba28() const {
    return u64{device() & 0x0Fu} << 24 | u64{current(kIdeLbaHigh)} << 16 | u64{current(kIdeLbaMid)} << 8 |
           current(kIdeLbaLow);
}

u64 AtaDisk::lba48() const {
    return u64{previous(kIdeLbaHigh)} << 40 | u64{previous(kIdeLbaMid)} << 32 | u64{previous(kIdeLbaLow)} << 24 |
           u64{current(kIdeLbaHigh)} << 16 | u64{current(kIdeLbaMid)} << 8 | current(kIdeLbaLow);
}

std::optional<u64> AtaDisk::chs_address() const {
    const u32 cylinder = u32{current(kIdeLbaHigh)} << 8 | current(kIdeLbaMid);
    const u32 head = device() & 0x0F;
    const u32 sector = current(kIdeLbaLow);
    if (sector == 0 || sector > geometry_.sectors || head >= geometry_.heads || cylinder >= geometry_.cylinders)
        return {};
    return (u64{cylinder} * geometry_.heads + head) * geometry_.sectors + sector - 1;
}

std::optional<u64> AtaDisk::address(bool extended) const {
    if (extended) return lba48();
    return device() & kIdeLbaMode ? lba28() : chs_address();
}

void AtaDisk::put_lba(u64 lba, bool extended) {
    set_register(kIdeLbaLow, static_cast<u8>(lba));
    set_register(kIdeLbaMid, static_cast<u8>(lba >> 8));
    set_register(kIdeLbaHigh, static_cast<u8>(lba >> 16));
    if (!extended) return set_register(kIdeDevice, replace_bits(device(), u8{0x0F}, static_cast<u8>(lba >> 24)));
    set_previous(kIdeLbaLow, static_cast<u8>(lba >> 24));
    set_previous(kIdeLbaMid, static_cast<u8>(lba >> 32));
    set_previous(kIdeLbaHigh, static_cast<u8>(lba >> 40));
}

void AtaDisk::put_chs(u64 lba) {
    const u64 track = lba / geometry_.sectors;
    set_register(kIdeLbaLow, static_cast<u8>(lba % geometry_.sectors + 1));
    set_register(kIdeLbaMid, static_cast<u8>(track / geometry_.heads));
    set_register(kIdeLbaHigh, static_cast<u8>(track / geometry_.heads >> 8));
    set_register(kIdeDevice, replace_bits(device(), u8{0x0F}, static_cast<u8>(track % geometry_.heads)));
}

void AtaDisk::put_address(u64 lba) {
    if (extended_ || (device() & kIdeLbaMode)) return put_lba(lba, extended_);
    put_chs(lba);
}

// Commands on sectors.

bool AtaDisk::begin_sectors(const Command& command, Activity activity) {
    power_ = Power::active;
    used();
    extended_ = command.extended;
    mode_ = command.mode;
    write_through_ = command.write_through || !write_cache_;
    const u32 written = command.extended ? u32{previous(kIdeCount)} << 8 | current(kIdeCount) : current(kIdeCount);
    remaining_ = written ? written : (command.extended ? 0x10000 : 0x100);
    const std::optional<u64> start = address(command.extended);
    if (mode_ == Mode::multiple && !multiple_) {
        abort();
    } else if (!start) {
        finish(kIdeIdNotFound);
    } else if (*start >= sectors_ || remaining_ > sectors_ - *start) {
        // Nothing is moved; the registers tell the first sector that is not there.
        if (*start < sectors_) put_address(sectors_);
        finish(kIdeIdNotFound);
    } else {
        lba_ = *start;
        activity_ = activity;
        return true;
    }
    return false;
}

void AtaDisk::fail_sectors(u8 error) {
    put_address(lba_);
    activity_ = Activity::idle;
    finish(error);
}

// ATA-3 and before: on success the registers hold the last sector's address and a count of zero.
void AtaDisk::end_sectors() {
    assert(remaining_ == 0);
    put_address(lba_ - 1);
    set_register(kIdeCount, 0);
    activity_ = Activity::idle;
}

void AtaDisk::offer_block() {
    const size_t sectors = mode_ == Mode::dma ? kChunkSectors : mode_ == Mode::multiple ? multiple_ : 1;
    offer(sectors * kSectorSize);
}

void AtaDisk::offer_block_with_interrupt() {
    offer_block();
    if (mode_ != Mode::dma) set_intrq(true);
}

void AtaDisk::block_moved() {
    switch (activity_) {
        case Activity::reading:
            return block_sent();
        case Activity::writing:
            return block_received();
        case Activity::fetching_ranges:
            return ranges_fetched();
        default:
            activity_ = Activity::idle;
            return set_idle(0);
    }
}

void AtaDisk::read_sectors(const Command& command) {
    if (begin_sectors(command, Activity::reading)) read_chunk();
}

void AtaDisk::read_chunk() {
    drop_transfer();
    set_busy();
    chunk_ = next_chunk();
    queue_.submit({DiskOperation::read, lba_ * kSectorSize, u64{chunk_} * kSectorSize, take_spare()});
}

void AtaDisk::chunk_read(DiskCompletion completion) {
    if (completion.status != DiskStatus::ok) return fail_sectors(kIdeUncorrectable);
    lba_ += chunk_;
    remaining_ -= chunk_;
    start_transfer(towards_host(), std::move(completion.data));
    offer_block_with_interrupt();
}

// The last block of a PIO read is followed by no interrupt (PIO data-in protocol).
void AtaDisk::block_sent() {
    if (left_in_buffer()) return offer_block_with_interrupt();
    if (remaining_) return read_chunk();
    end_sectors();
    if (mode_ == Mode::dma) return finish(0);
    set_idle(0);
}

void AtaDisk::write_sectors(const Command& command) {
    if (read_only_) return abort();
    if (begin_sectors(command, Activity::writing)) collect_chunk();
}

// The first block of a PIO write is asked for without an interrupt (PIO data-out protocol).
void AtaDisk::collect_chunk() {
    chunk_ = next_chunk();
    std::vector<u8> room = take_spare();
    room.assign(size_t{chunk_} * kSectorSize, 0);
    start_transfer(from_host(), std::move(room));
    offer_block();
}

void AtaDisk::block_received() {
    if (left_in_buffer()) return offer_block_with_interrupt();
    write_chunk();
}

void AtaDisk::write_chunk() {
    std::vector<u8> data = std::move(buffer());
    drop_transfer();
    queue_.submit({DiskOperation::write, lba_ * kSectorSize, 0, std::move(data)});
}

void AtaDisk::chunk_written() {
    lba_ += chunk_;
    remaining_ -= chunk_;
    if (remaining_) {
        collect_chunk();
        if (mode_ != Mode::dma) set_intrq(true);
        return;
    }
    end_sectors();
    if (write_through_) return begin_flush();
    finish(0);
}

void AtaDisk::verify_sectors(const Command& command) {
    if (begin_sectors(command, Activity::verifying)) read_chunk();
}

void AtaDisk::chunk_verified() {
    lba_ += chunk_;
    remaining_ -= chunk_;
    if (remaining_) return read_chunk();
    end_sectors();
    finish(0);
}

void AtaDisk::seek(const Command& command) {
    const std::optional<u64> target = address(false);
    finish(target && *target < sectors_ ? 0 : kIdeIdNotFound);
}

void AtaDisk::recalibrate(const Command&) {
    finish(0);
}

void AtaDisk::flush_cache(const Command&) {
    begin_flush();
}

void AtaDisk::begin_flush() {
    activity_ = Activity::flushing;
    queue_.submit({DiskOperation::flush, 0, 0, {}});
}

// What the disk queue has finished. The kinds agree unless a loaded state was tampered with.
void AtaDisk::on_disk(DiskCompletion completion) {
    const bool failed = completion.status != DiskStatus::ok;
    const bool reads = activity_ == Activity::reading || activity_ == Activity::verifying;
    if (reads && completion.data.size() != size_t{chunk_} * kSectorSize) return fail_sectors(kIdeUncorrectable);
    switch (activity_) {
        case Activity::reading:
            return chunk_read(std::move(completion));
        case Activity::writing:
            give_spare(std::move(completion.data));
            return failed ? fail_sectors(kIdeAborted) : chunk_written();
        case Activity::verifying:
            return failed ? fail_sectors(kIdeUncorrectable) : chunk_verified();
        case Activity::flushing:
            activity_ = Activity::idle;
            return finish(failed ? kIdeAborted : 0);
        case Activity::trimming:
            return trim_next();  // a hint: its failure is the log's business
        default:
            return;
    }
}

// Information and settings.

void AtaDisk::send(std::span<const u8> data) {
    mode_ = Mode::pio;
    activity_ = Activity::sending;
    start_transfer(IdeTransfer::pio_in, std::vector<u8>(data.begin(), data.end()));
    offer_block_with_interrupt();
}

AtaIdentity AtaDisk::identity() const {
    return {.sectors = sectors_,
            .current = geometry_,
            .serial = "LODGE-" + std::to_string(number_),
            .slave = (number_ & 1) != 0,
            .multiple = multiple_,
            .dma_mode = dma_mode_,
            .write_cache = write_cache_,
            .look_ahead = look_ahead_,
            .smart = smart_.enabled()};
}

void AtaDisk::identify_device(const Command&) {
    send(ata_identify(identity()));
}

void AtaDisk::set_multiple_mode(const Command&) {
    const u8 count = current(kIdeCount);
    if (count > kAtaMostMultiple || (count & (count - 1))) return abort();
    multiple_ = count;
    finish(0);
}

void AtaDisk::initialize_device_parameters(const Command&) {
    const u8 sectors = current(kIdeCount);
    const u8 heads = static_cast<u8>((device() & 0x0F) + 1);
    if (!sectors) return abort();
    const u64 cylinders = std::min<u64>(sectors_ / (u64{heads} * sectors), 0xFFFF);
    set_geometry({static_cast<u16>(cylinders), heads, sectors});
    finish(0);
}

// Without the host protected area feature set the native maximum is the current one.
void AtaDisk::read_native_max_address(const Command& command) {
    const u64 last = sectors_ ? sectors_ - 1 : 0;
    put_lba(command.extended ? last : std::min<u64>(last, 0x0FFF'FFFF), command.extended);
    finish(0);
}

void AtaDisk::set_features(const Command&) {
    finish(set_feature(current(kIdeFeatures)) ? 0 : kIdeAborted);
}

bool AtaDisk::set_feature(u8 feature) {
    switch (feature) {
        case kEnableWriteCache:
            write_cache_ = true;
            return true;
        case kDisableWriteCache:
            write_cache_ = false;
            return true;
        case kEnableLookAhead:
            look_ahead_ = true;
            return true;
        case kDisableLookAhead:
            look_ahead_ = false;
            return true;
        case kKeepSettings:
            keep_settings_ = true;
            return true;
        case kRevertSettings:
            keep_settings_ = false;
            return true;
        case kSetTransferMode:
            return ata_select_transfer_mode(current(kIdeCount), dma_mode_);
        default:
            return false;
    }
}

void AtaDisk::smart(const Command&) {
    const u8 subcommand = current(kIdeFeatures);
    if (current(kIdeLbaMid) != kSmartKeyMid || current(kIdeLbaHigh) != kSmartKeyHigh) return abort();
    if (!smart_.enabled() && subcommand != kSmartEnable) return abort();
    switch (subcommand) {
        case kSmartReadData:
            return send(smart_.data(scheduler_.now()));
        case kSmartReadThresholds:
            return send(smart_.thresholds());
        case kSmartReadLog:
            return smart_read_log();
        case kSmartExecuteTest:
            return finish(smart_.run_test(current(kIdeLbaLow), scheduler_.now()) ? 0 : kIdeAborted);
        case kSmartEnable:
        case kSmartDisable:
            smart_.enable(subcommand == kSmartEnable);
            return finish(0);
        case kSmartAutosave:
        case kSmartSaveAttributes:
        case kSmartReturnStatus:
            return finish(0);  // the key left in place: no threshold exceeded
        default:
            return abort();
    }
}

// Every log is one sector.
void AtaDisk::smart_read_log() {
    const auto page = smart_.log(current(kIdeLbaLow), scheduler_.now());
    if (!page || current(kIdeCount) != 1) return abort();
    send(*page);
}

// DATA SET MANAGEMENT (ACS-2): blocks of 64 ranges by DMA, each to be discarded.

void AtaDisk::data_set_management(const Command&) {
    const u32 blocks = u32{previous(kIdeCount)} << 8 | current(kIdeCount);
    if (read_only_ || current(kIdeFeatures) != kTrim || blocks == 0 || blocks > kAtaMostTrimBlocks) return abort();
    power_ = Power::active;
    used();
    mode_ = Mode::dma;
    activity_ = Activity::fetching_ranges;
    start_transfer(IdeTransfer::dma_out, std::vector<u8>(size_t{blocks} * kSectorSize));
    offer_block();
}

void AtaDisk::ranges_fetched() {
    ranges_ = std::move(buffer());
    next_range_ = 0;
    drop_transfer();
    activity_ = Activity::trimming;
    if (ranges_valid()) return trim_next();
    ranges_.clear();
    activity_ = Activity::idle;
    finish(kIdeIdNotFound);
}

bool AtaDisk::ranges_valid() const {
    for (size_t at = 0; at < ranges_.size(); at += 8) {
        const u64 entry = load<u64>(&ranges_[at]);
        if (range_length(entry) && range_start(entry) + range_length(entry) > sectors_) return false;
    }
    return true;
}

void AtaDisk::trim_next() {
    while (size_t{next_range_} * 8 < ranges_.size()) {
        const u64 entry = load<u64>(&ranges_[size_t{next_range_++} * 8]);
        if (!range_length(entry)) continue;
        queue_.submit(
            {DiskOperation::discard, range_start(entry) * kSectorSize, range_length(entry) * kSectorSize, {}});
        return;
    }
    ranges_.clear();
    activity_ = Activity::idle;
    finish(0);
}

// Power. Nothing spins; the guest is told what a drive would tell it.

// ATA/ATAPI-6 table 24: units of 5 seconds, then of 30 minutes, then single values.
void AtaDisk::set_standby_timer(u8 count) {
    constexpr u64 kMinute = 60 * kNanosecondsPerSecond;
    if (count <= 240) {
        standby_after_ = count * 5 * kNanosecondsPerSecond;
    } else if (count <= 251) {
        standby_after_ = (count - 240) * 30 * kMinute;
    } else if (count == 253) {
        standby_after_ = 8 * 60 * kMinute;  // "between 8 and 12 hours"
    } else {
        standby_after_ = 21 * kMinute + (count == 255 ? 15 * kNanosecondsPerSecond : 0);
    }
    used();
}

void AtaDisk::used() {
    last_used_ = scheduler_.now();
}

bool AtaDisk::spun_down() const {
    return power_ == Power::standby || (standby_after_ && scheduler_.now() - last_used_ >= standby_after_);
}

// IDLE IMMEDIATE (95h, E1h) leaves the timer alone; so does STANDBY IMMEDIATE (94h, E0h).
void AtaDisk::idle(const Command& command) {
    power_ = Power::active;
    if (command.sets_timer) set_standby_timer(current(kIdeCount));
    used();
    finish(0);
}

void AtaDisk::standby(const Command& command) {
    power_ = Power::standby;
    if (command.sets_timer) set_standby_timer(current(kIdeCount));
    begin_flush();
}

void AtaDisk::sleep(const Command&) {
    power_ = Power::sleeping;
    begin_flush();
}

void AtaDisk::check_power_mode(const Command&) {
    set_register(kIdeCount, spun_down() ? 0x00 : 0xFF);
    finish(0);
}

void AtaDisk::state(StateIo& io) {
    io.section(name_, 1, [&] {
        u64 sectors = sectors_;
        io.field("sectors", sectors);
        if (sectors != sectors_) io.fail(name_ + ": the saved disk had another size");
        drive_state(io);
        io.field("cylinders", geometry_.cylinders);
        io.field("heads", geometry_.heads);
        io.field("sectors_per_track", geometry_.sectors);
        io.field("multiple", multiple_);
        io.field("dma_mode", dma_mode_);
        io.field("write_cache", write_cache_);
        io.field("look_ahead", look_ahead_);
        smart_.state(io);
        io.field("keep_settings", keep_settings_);
        io.field("power", power_);
        io.field("standby_after", standby_after_);
        io.field("last_used", last_used_);
        io.field("activity", activity_);
        io.field("mode", mode_);
        io.field("extended", extended_);
        io.field("write_through", write_through_);
        io.field("lba", lba_);
        io.field("remaining", remaining_);
        io.field("chunk", chunk_);
        io.blob("ranges", ranges_, size_t{kAtaMostTrimBlocks} * kSectorSize);
        io.field("next_range", next_range_);
        queue_.state(io);
    });
    if (io.loading()) check_loaded(io);
}

// Nothing a tampered state holds may lead to more than wrong data.
void AtaDisk::check_loaded(StateIo& io) {
    const bool settings = geometry_.heads >= 1 && geometry_.heads <= 16 && geometry_.sectors >= 1 &&
                          multiple_ <= kAtaMostMultiple && power_ <= Power::sleeping;
    const bool command =
        mode_ <= Mode::dma && activity_ <= Activity::trimming && ranges_.size() % kSectorSize == 0 && ranges_valid();
    if (!io.failed() && settings && command && loaded_transfer_sound()) return;
    io.fail(name_ + ": the saved state cannot be");
    reset();
}

bool AtaDisk::loaded_transfer_sound() {
    const bool waits = transfer() == IdeTransfer::none && activity_ != Activity::idle;
    if (buffer().size() % kSectorSize || queue_.in_flight() > (waits ? 1 : 0)) return false;
    if (activity_ != Activity::reading && activity_ != Activity::writing && activity_ != Activity::verifying)
        return true;
    if (mode_ == Mode::multiple && !multiple_) return false;
    if (lba_ > sectors_ || remaining_ > sectors_ - lba_ || remaining_ > 0x10000) return false;
    // A chunk read has left what remains when it is sent to the host; before, and when writing, it is part of it.
    if (activity_ == Activity::reading && !waits) return true;
    const bool collected = waits || buffer().size() == size_t{chunk_} * kSectorSize;
    return chunk_ >= 1 && chunk_ <= kChunkSectors && chunk_ <= remaining_ && collected;
}

}  // namespace lodge
