// The drive, its tray and its reading commands. Source: MMC-6 (T10/1836-D) chapter 6.
#include "disks/scsi/cdrom.h"

#include <algorithm>
#include <cassert>

#include "disks/scsi/cd_sector.h"

namespace lodge::scsi {

namespace {

constexpr SenseCode kIllegalModeForTrack{0x64, 0x00};

// 80 minutes, less the lead-in: more cannot be a CD.
constexpr u64 kMostCdBlocks = u64{80} * 60 * kCdSectorsPerSecond;

// READ CD's sector parts as Task::Work::step keeps them, with a bit that says that the command reads.
constexpr u8 kReading = 0x80, kSync = 0x01, kHeader = 0x02, kData = 0x04, kCheck = 0x08;

u32 load_24(const u8* from) {
    return u32{from[0]} << 16 | u32{from[1]} << 8 | from[2];
}

}  // namespace

CdRom::CdRom(UnitIdentity identity, std::optional<Medium> disc, Interface interface, UnitOptions options)
    : Unit(DeviceType::cdrom, true, std::move(identity), options), interface_(interface), disc_(disc) {
    set_medium(disc_);
    add_mode_pages();
}

std::span<const Operation> CdRom::operations() const {
    using Drive = CdRom;
    constexpr u8 kNone = Operation::kNoServiceAction;
    constexpr u8 kFree = Operation::kDespiteReservation;
    constexpr u8 kAlways = Operation::kDespiteAttention | kFree;
    constexpr u8 kReads = Operation::kNeedsMedium | Operation::kReads;
    // clang-format off
    static const Operation kOperations[] = {
        {0x1B, kNone, 6,  kFree,   handler(&Drive::start_stop),      nullptr, {0x01, 0, 0x0F, 0xF3}},
        {0x25, kNone, 10, kReads,  handler(&Drive::read_capacity),   nullptr, {0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0x01}},
        {0x28, kNone, 10, kReads,  handler(&Drive::read), handler(&Drive::read_on),
                                               {0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF}},
        {0x2B, kNone, 10, kReads,  handler(&Drive::seek),            nullptr, {0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0x42, kNone, 10, kReads,  handler(&Drive::read_sub_channel), nullptr,
                                               {0x02, 0x40, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF}},
        {0x43, kNone, 10, kReads,  handler(&Drive::read_toc),        nullptr, {0x02, 0x0F, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xC0}},
        {0x44, kNone, 10, kReads,  handler(&Drive::read_header),     nullptr,
                                               {0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF}},
        {0x46, kNone, 10, kAlways, handler(&Drive::get_configuration), nullptr, {0x03, 0xFF, 0xFF, 0, 0, 0, 0xFF, 0xFF}},
        {0x4A, kNone, 10, kAlways, handler(&Drive::get_event_status), nullptr, {0x01, 0, 0, 0xFF, 0, 0, 0xFF, 0xFF}},
        {0x4E, kNone, 10, kReads,  handler(&Drive::done),            nullptr, {}},           // STOP PLAY/SCAN
        {0x51, kNone, 10, kReads,  handler(&Drive::read_disc_information), nullptr, {0x07, 0, 0, 0, 0, 0, 0xFF, 0xFF}},
        {0x52, kNone, 10, kReads,  handler(&Drive::read_track_information), nullptr,
                                               {0x03, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF}},
        {0xA8, kNone, 12, kReads,  handler(&Drive::read), handler(&Drive::read_on),
                                               {0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0xAC, kNone, 12, kReads,  handler(&Drive::get_performance), nullptr,
                                               {0x1F, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF}},
        {0xAD, kNone, 12, kReads,  handler(&Drive::read_disc_structure), nullptr,
                                               {0x0F, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
        {0xB9, kNone, 12, kReads,  handler(&Drive::read_cd_msf), handler(&Drive::read_on),
                                               {0x1C, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xF8, 0x07}},
        {0xBB, kNone, 12, 0,       handler(&Drive::done),            nullptr, {0x03, 0xFF, 0xFF, 0xFF, 0xFF}},  // SET CD SPEED
        {0xBD, kNone, 12, kFree,   handler(&Drive::mechanism_status), nullptr, {0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}},
        {0xBE, kNone, 12, kReads,  handler(&Drive::read_cd), handler(&Drive::read_on),
                                               {0x1C, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xF8, 0x07}},
    };
    // clang-format on
    return kOperations;
}

// SAM-4, SPC-4 and MMC-6, none in a certain version.
std::vector<u16> CdRom::standards() const {
    return {0x0080, 0x0460, 0x04E0};
}

bool CdRom::is_dvd() const {
    return blocks() > kMostCdBlocks;
}

// The disc and the tray.

std::optional<Sense> CdRom::not_ready() const {
    if (medium()) return std::nullopt;
    const SenseCode code = tray_open_ ? kMediumNotPresentTrayOpen : kMediumNotPresentTrayClosed;
    return Sense{.key = SenseKey::not_ready, .code = code};
}

void CdRom::disc_changed(bool present) {
    set_medium(present ? disc_ : std::nullopt);
    event_ = present ? Event::new_medium : Event::removal;
    position_ = 0;
}

void CdRom::change_disc(std::optional<Medium> disc) {
    disc_ = disc;
    tray_open_ = false;
    disc_changed(disc_.has_value());
    if (disc_) attention(kMediumMayHaveChanged);
}

void CdRom::request_eject() {
    event_ = Event::eject_request;
}

void CdRom::unit_reset(Reset kind) {
    if (kind != Reset::power_on) return;
    tray_open_ = false;
    event_ = Event::none;
    position_ = 0;
    set_medium(disc_);
}

// MMC-6 6.44. The drive turns when it must: starting and stopping are nothing to it. A tray that comes back with the
// disc it went out with is no news, or the guest that has just closed it would find its next read refused.
void CdRom::start_stop(Task& task) {
    constexpr u8 kPowerConditions = 0xF0, kLoadEject = 0x02, kStart = 0x01;
    const u8 byte = cdb(task)[4];
    if ((byte & kPowerConditions) || !(byte & kLoadEject)) return finish(task);
    if (!(byte & kStart)) return open_tray(task);
    if (!tray_open_) return finish(task);
    tray_open_ = false;
    if (disc_) disc_changed(true);
    finish(task);
}

void CdRom::open_tray(Task& task) {
    if (tray_open_) return finish(task);
    if (locked()) {
        const SenseKey key = medium() ? SenseKey::illegal_request : SenseKey::not_ready;
        return fail(task, {.key = key, .code = kMediumRemovalPrevented});
    }
    tray_open_ = true;
    if (disc_) disc_changed(false);
    finish(task);
}

void CdRom::unit_state(StateIo& io) {
    io.field("tray_open", tray_open_);
    io.field("event", event_);
    io.field("position", position_);
    if (!io.loading()) return;
    if (event_ > Event::removal) event_ = Event::none;
    set_medium(tray_open_ ? std::nullopt : disc_);
}

// Mode pages, MMC-6 chapter 7.

// Medium type codes of the header, which old drivers look at (SFF-8020i table 73).
u8 CdRom::mode_medium_type() const {
    constexpr u8 kDataDisc = 0x01, kNoDisc = 0x70, kOpen = 0x71;
    if (medium()) return kDataDisc;
    return tray_open_ ? kOpen : kNoDisc;
}

void CdRom::add_mode_pages() {
    constexpr u8 kReadsRecordable = 0x03, kReadsDvd = 0x08;
    constexpr u8 kMode2 = 0x30, kMultiSession = 0x40;
    constexpr u8 kLock = 0x01, kEject = 0x08, kTray = 0x20;
    // Kilobytes a second: 56 times 176.4, as 16 bits.
    constexpr u16 kSpeed = 9878;
    constexpr u8 kSpeedHigh = kSpeed >> 8, kSpeedLow = kSpeed & 0xFF;
    ModePages& pages = mode_pages();
    // Read error recovery; retries are nobody's to count here.
    pages.add({0x01, 10, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0xFF, 0xFF});
    // CD device parameters: inactivity timer, seconds in a minute, frames in a second.
    pages.add({0x0D, 6, 0, 0x0D, 0, 60, 0, 75}, {0, 0, 0, 0x0F});
    // CD audio control: immediate; both channels at full volume. There is no sound to control.
    pages.add({0x0E, 14, 4, 0, 0, 0, 0, 75, 1, 0xFF, 2, 0xFF, 0, 0, 0, 0},
              {0, 0, 0x06, 0, 0, 0, 0, 0, 0x0F, 0xFF, 0x0F, 0xFF});
    // Capabilities and mechanical status.
    pages.add({0x2A,
               20,
               kReadsRecordable | kReadsDvd,
               0,
               kMode2 | kMultiSession,
               0,
               kTray | kEject | kLock,
               0,
               kSpeedHigh,
               kSpeedLow,
               0,
               2,
               2,
               0,
               kSpeedHigh,
               kSpeedLow,
               0,
               0,
               0,
               0,
               0,
               0},
              {});
}

// Reading.

bool CdRom::in_range(Task& task, u64 lba, u64 count) {
    if (lba <= blocks() && count <= blocks() - lba) return true;
    const u64 first_missing = std::max(lba, blocks());
    fail(task, {.key = SenseKey::illegal_request, .code = kLbaOutOfRange, .information = first_missing});
    return false;
}

void CdRom::read_capacity(Task& task) {
    std::vector<u8> data(8);
    store_big_endian(&data[0], static_cast<u32>(blocks() ? blocks() - 1 : 0));
    store_big_endian(&data[4], kBlock);
    reply(task, std::move(data), Command::kUnlimited);
}

void CdRom::seek(Task& task) {
    const u32 lba = load_big_endian<u32>(&cdb(task)[2]);
    if (!in_range(task, lba, 1)) return;
    position_ = lba;
    finish(task);
}

void CdRom::read(Task& task) {
    constexpr u8 kRead12 = 0xA8;
    const Cdb& bytes = cdb(task);
    const u64 count = bytes[0] == kRead12 ? load_big_endian<u32>(&bytes[6]) : load_big_endian<u16>(&bytes[7]);
    task.work.step = kReading | kData;
    begin_read(task, load_big_endian<u32>(&bytes[2]), count, kBlock);
}

// Expected sector type 0 is any, 2 is mode 1, which all sectors are here.
std::optional<CdRom::Selection> CdRom::selection(Task& task) {
    constexpr u8 kAny = 0, kMode1 = 2;
    const Cdb& bytes = cdb(task);
    const u8 type = bytes[1] >> 2 & 7;
    if (type != kAny && type != kMode1) {
        fail(task, Sense::illegal(kIllegalModeForTrack));
        return std::nullopt;
    }
    const u8 channel = bytes[9];
    const bool header = channel & 0x20;
    // A sub-header there is none; parts that do not lie beside each other cannot be asked for (MMC-6 table 350).
    const Selection wanted{(channel & 0x80) != 0, header, (channel & 0x10) != 0, (channel & 0x08) != 0};
    const bool gap =
        (wanted.sync && !header && (wanted.data || wanted.check)) || (header && !wanted.data && wanted.check);
    if ((channel & 0x06) || gap || (bytes[10] & 0x07)) {
        fail(task, Sense::invalid_cdb(static_cast<u16>(bytes[10] & 0x07 ? 10 : 9)));
        return std::nullopt;
    }
    task.work.step = static_cast<u8>(kReading | (wanted.sync ? kSync : 0) | (wanted.header ? kHeader : 0) |
                                     (wanted.data ? kData : 0) | (wanted.check ? kCheck : 0));
    return wanted;
}

void CdRom::read_cd(Task& task) {
    const Cdb& bytes = cdb(task);
    if (const auto wanted = selection(task))
        begin_read(task, load_big_endian<u32>(&bytes[2]), load_24(&bytes[6]), wanted->bytes());
}

void CdRom::read_cd_msf(Task& task) {
    const auto wanted = selection(task);
    if (!wanted) return;
    const auto block = [&](size_t at) {
        const u8* msf = &cdb(task)[at];
        return (u64{msf[0]} * 60 + msf[1]) * kCdSectorsPerSecond + msf[2];
    };
    const u64 first = block(3), end = block(6);
    if (first < kCdLeadIn || end < first) return fail(task, Sense::invalid_cdb(3));
    begin_read(task, first - kCdLeadIn, end - first, wanted->bytes());
}

void CdRom::begin_read(Task& task, u64 lba, u64 count, u32 bytes_each) {
    if (!in_range(task, lba, count)) return;
    if (count == 0 || bytes_each == 0) return finish(task);
    position_ = lba + count - 1;
    set_total_in(task, count * bytes_each);
    task.work.offset = lba * kBlock;
    task.work.left = count * kBlock;
    read_chunk(task);
}

// Raw sectors are larger than the blocks they are made of: no piece of them is more than a chunk either.
void CdRom::read_chunk(Task& task) {
    const bool plain = task.work.step == (kReading | kData);
    const u64 most = options().chunk_bytes / (plain ? kBlock : kCdSectorBytes) * kBlock;
    want_medium(task, {MediumOperation::read, task.work.offset, std::min(task.work.left, most)});
}

void CdRom::read_on(Task& task) {
    Task::Work& work = task.work;
    if (task.need() == Task::Need::data_in) return work.left ? read_chunk(task) : finish(task);
    std::vector<u8> data = take_buffer(task);
    const u64 lba = work.offset / kBlock;
    if (medium_status(task) != MediumStatus::ok || data.size() < kBlock || data.size() > work.left)
        return fail(task, {.key = SenseKey::medium_error, .code = kUnrecoveredReadError, .information = lba});
    work.offset += data.size();
    work.left -= data.size();
    if (work.step == (kReading | kData)) return offer_data_in(task, std::move(data));
    const Selection wanted{(work.step & kSync) != 0, (work.step & kHeader) != 0, (work.step & kData) != 0,
                           (work.step & kCheck) != 0};
    if (wanted.bytes() == 0) return finish(task);
    offer_data_in(task, select(data, lba, wanted));
}

std::vector<u8> CdRom::select(std::span<const u8> data, u64 lba, const Selection& wanted) const {
    std::vector<u8> out;
    out.reserve(data.size() / kBlock * wanted.bytes());
    for (size_t at = 0; at + kBlock <= data.size(); at += kBlock, ++lba) {
        const auto sector = cd_sector(lba, data.subspan(at, kBlock));
        auto part = sector.begin();
        const auto take = [&](bool take_it, u32 bytes) {
            if (take_it) out.insert(out.end(), part, part + bytes);
            part += bytes;
        };
        take(wanted.sync, kCdSyncBytes);
        take(wanted.header, kCdHeaderBytes);
        take(wanted.data, kCdDataBytes);
        take(wanted.check, kCdSectorBytes - kCdSyncBytes - kCdHeaderBytes - kCdDataBytes);
    }
    return out;
}

}  // namespace lodge::scsi
