// What the drive says of the disc and of itself. Source: MMC-6 (T10/1836-D), features in chapter 5, commands in 6.
#include <algorithm>

#include "disks/scsi/cd_sector.h"
#include "disks/scsi/cdrom.h"

namespace lodge::scsi {

namespace {

// ADR 1 (the sub-channel tells the position), control 4 (data track).
constexpr u8 kDataTrack = 0x14;
constexpr u8 kLeadOut = 0xAA;
constexpr u8 kMsf = 0x02;  // in byte 1 of a CDB

constexpr u16 kNoProfile = 0x0000;
constexpr u16 kCdProfile = 0x0008;
constexpr u16 kDvdProfile = 0x0010;

// Features of MMC-6 chapter 5.
constexpr u16 kProfileList = 0x0000;
constexpr u16 kCore = 0x0001;
constexpr u16 kRemovable = 0x0003;
constexpr u16 kRandomReadable = 0x0010;
constexpr u16 kCdRead = 0x001E;
constexpr u16 kDvdRead = 0x001F;
constexpr u16 kPowerManagement = 0x0100;
constexpr u16 kTimeOut = 0x0105;
constexpr u16 kFeatures[] = {kProfileList, kCore,    kRemovable,       kRandomReadable,
                             kCdRead,      kDvdRead, kPowerManagement, kTimeOut};

template <class T>
void append(std::vector<u8>& to, T value) {
    const size_t at = to.size();
    to.resize(at + sizeof value);
    store_big_endian(&to[at], value);
}

void append_address(std::vector<u8>& to, u64 lba, bool as_msf) {
    if (!as_msf) return append(to, static_cast<u32>(lba));
    const auto msf = cd_msf(lba);
    to.insert(to.end(), {0, msf[0], msf[1], msf[2]});
}

u16 allocation_10(const Cdb& cdb) {
    return load_big_endian<u16>(&cdb[7]);
}

}  // namespace

// The table of contents: one track, and the lead-out.

void CdRom::read_toc(Task& task) {
    const Cdb& bytes = cdb(task);
    const bool msf = bytes[1] & kMsf;
    // SFF-8020i had the format in the control byte.
    const u8 format = bytes[2] & 0x0F ? bytes[2] & 0x0F : bytes[9] >> 6;
    switch (format) {
        case 0:
            if (bytes[6] > 1 && bytes[6] != kLeadOut) return fail(task, Sense::invalid_cdb(6));
            return reply(task, toc(msf, bytes[6]), allocation_10(bytes));
        case 1: {  // the first track of the last session
            std::vector<u8> data{0, 10, 1, 1, 0, kDataTrack, 1, 0};
            append_address(data, 0, msf);
            return reply(task, std::move(data), allocation_10(bytes));
        }
        case 2:
            return reply(task, full_toc(), allocation_10(bytes));
        default:
            return fail(task, Sense::invalid_cdb(2, 3));
    }
}

std::vector<u8> CdRom::toc(bool msf, u8 first_track) const {
    std::vector<u8> data{0, 0, 1, 1};
    if (first_track <= 1) {
        data.insert(data.end(), {0, kDataTrack, 1, 0});
        append_address(data, 0, msf);
    }
    data.insert(data.end(), {0, kDataTrack, kLeadOut, 0});
    append_address(data, blocks(), msf);
    store_big_endian(&data[0], static_cast<u16>(data.size() - 2));
    return data;
}

// The lead-in's entries: first and last track, lead-out, track 1 (MMC-6 table 487).
std::vector<u8> CdRom::full_toc() const {
    std::vector<u8> data{0, 0, 1, 1};
    const auto entry = [&](u8 point, std::array<u8, 3> position) {
        data.insert(data.end(), {1, kDataTrack, 0, point, 0, 0, 0, 0, position[0], position[1], position[2]});
    };
    entry(0xA0, {1, 0, 0});
    entry(0xA1, {1, 0, 0});
    entry(0xA2, cd_msf(blocks()));
    entry(1, cd_msf(0));
    store_big_endian(&data[0], static_cast<u16>(data.size() - 2));
    return data;
}

void CdRom::read_sub_channel(Task& task) {
    constexpr u8 kSubQ = 0x40, kNoAudioStatus = 0x15;
    constexpr u8 kPosition = 1, kCatalogue = 2, kIsrc = 3;
    const Cdb& bytes = cdb(task);
    std::vector<u8> data{0, kNoAudioStatus, 0, 0};
    if (bytes[2] & kSubQ) {
        const bool msf = bytes[1] & kMsf;
        const u8 format = bytes[3];
        if (format == kPosition) {
            data.insert(data.end(), {kPosition, kDataTrack, 1, 1});
            append_address(data, position_, msf);
            // Relative to the track, whose MSF addresses begin at 0.
            if (msf) {
                append_address(data, position_ - kCdLeadIn, true);
            } else {
                append(data, static_cast<u32>(position_));
            }
        } else if (format == kCatalogue || format == kIsrc) {
            data.insert(data.end(), {format, kDataTrack, static_cast<u8>(format == kIsrc ? 1 : 0), 0});
            data.resize(24);  // none is on the disc
        } else {
            return fail(task, Sense::invalid_cdb(3));
        }
    }
    store_big_endian(&data[2], static_cast<u16>(data.size() - 4));
    reply(task, std::move(data), allocation_10(bytes));
}

void CdRom::read_header(Task& task) {
    const Cdb& bytes = cdb(task);
    const u32 lba = load_big_endian<u32>(&bytes[2]);
    if (!in_range(task, lba, 1)) return;
    std::vector<u8> data{1, 0, 0, 0};  // mode 1
    append_address(data, lba, bytes[1] & kMsf);
    reply(task, std::move(data), allocation_10(bytes));
}

// A complete disc of one complete session with one track.
void CdRom::read_disc_information(Task& task) {
    constexpr u8 kComplete = 0x0E, kUnrestricted = 0x20;
    const Cdb& bytes = cdb(task);
    if (bytes[1] & 0x07) return fail(task, Sense::invalid_cdb(1, 2));
    std::vector<u8> data{0, 32, kComplete, 1, 1, 1, 1, kUnrestricted};
    data.resize(34);
    reply(task, std::move(data), allocation_10(bytes));
}

void CdRom::read_track_information(Task& task) {
    constexpr u8 kByBlock = 0, kByTrack = 1, kBySession = 2;
    const Cdb& bytes = cdb(task);
    const u32 number = load_big_endian<u32>(&bytes[2]);
    const u8 type = bytes[1] & 0x03;
    if (type == kByBlock && !in_range(task, number, 1)) return;
    if (((type == kByTrack || type == kBySession) && number != 1) || type > kBySession)
        return fail(task, Sense::invalid_cdb(2));
    std::vector<u8> data(36);
    data[1] = 34;
    data[2] = data[3] = 1;  // track, session
    data[5] = 4;            // track mode: data
    data[6] = 1;            // data mode
    store_big_endian(&data[24], static_cast<u32>(blocks()));
    reply(task, std::move(data), allocation_10(bytes));
}

void CdRom::mechanism_status(Task& task) {
    constexpr u8 kDoorOpen = 0x10;
    std::vector<u8> data(8);
    data[1] = tray_open_ ? kDoorOpen : 0;
    data[2] = static_cast<u8>(position_ >> 16);
    data[3] = static_cast<u8>(position_ >> 8);
    data[4] = static_cast<u8>(position_);
    reply(task, std::move(data), load_big_endian<u16>(&cdb(task)[8]));
}

// Features.

u16 CdRom::profile() const {
    if (!medium()) return kNoProfile;
    return is_dvd() ? kDvdProfile : kCdProfile;
}

// A feature's descriptor: code, version and whether it is current, its data.
std::vector<u8> CdRom::feature(u16 code) const {
    constexpr u8 kPersistent = 0x02;
    const bool cd = medium() && !is_dvd(), dvd = medium() && is_dvd();
    const auto flags = [](unsigned version, bool persistent, bool current) {
        return static_cast<u8>(version << 2 | (persistent ? kPersistent : 0) | (current ? 1 : 0));
    };
    std::vector<u8> data;
    append(data, code);
    switch (code) {
        case kProfileList:
            data.insert(data.end(), {flags(0, true, true), 8});
            append(data, kDvdProfile);
            data.insert(data.end(), {static_cast<u8>(dvd), 0});
            append(data, kCdProfile);
            data.insert(data.end(), {static_cast<u8>(cd), 0});
            break;
        case kCore:
            data.insert(data.end(), {flags(2, true, true), 8});
            append(data, u32{static_cast<u8>(interface_)});
            data.insert(data.end(), {0, 0, 0, 0});
            break;
        case kRemovable:  // a tray that opens on command and can be locked
            data.insert(data.end(), {flags(0, true, true), 4, 0x29, 0, 0, 0});
            break;
        case kRandomReadable:
            data.insert(data.end(), {flags(0, false, medium().has_value()), 8});
            append(data, kBlock);
            append(data, static_cast<u16>(dvd ? 16 : 1));
            data.insert(data.end(), {0, 0});
            break;
        case kCdRead:
            data.insert(data.end(), {flags(2, false, cd), 4, 0, 0, 0, 0});
            break;
        case kDvdRead:
            data.insert(data.end(), {flags(0, false, dvd), 0});
            break;
        default:  // power management, time-out: they have no data
            data.insert(data.end(), {flags(0, true, true), 0});
    }
    return data;
}

void CdRom::get_configuration(Task& task) {
    constexpr u8 kCurrent = 1, kOne = 2, kIsCurrent = 0x01;
    const Cdb& bytes = cdb(task);
    const u8 request = bytes[1] & 0x03;
    const u16 start = load_big_endian<u16>(&bytes[2]);
    if (request > kOne) return fail(task, Sense::invalid_cdb(1, 1));
    std::vector<u8> data(6);
    append(data, profile());
    for (const u16 code : kFeatures) {
        const std::vector<u8> descriptor = feature(code);
        const bool wanted = request == kOne ? code == start : code >= start;
        if (wanted && (request != kCurrent || (descriptor[2] & kIsCurrent)))
            data.insert(data.end(), descriptor.begin(), descriptor.end());
    }
    store_big_endian(&data[0], static_cast<u32>(data.size() - 4));
    reply(task, std::move(data), allocation_10(bytes));
}

// Of the classes of events there is only that of the medium.
void CdRom::get_event_status(Task& task) {
    constexpr u8 kPolled = 0x01, kMediumClass = 0x10, kMediumClassNumber = 4, kNoEventAvailable = 0x80;
    constexpr u8 kOpen = 0x01, kPresent = 0x02;
    const Cdb& bytes = cdb(task);
    if (!(bytes[1] & kPolled)) return fail(task, Sense::invalid_cdb(1, 0));
    const u16 allocation = allocation_10(bytes);
    if (!(bytes[4] & kMediumClass)) return reply(task, {0, 2, kNoEventAvailable, kMediumClass}, allocation);
    std::vector<u8> data{0, 6, kMediumClassNumber, kMediumClass, static_cast<u8>(event_), 0, 0, 0};
    data[5] = static_cast<u8>((tray_open_ ? kOpen : 0) | (medium() ? kPresent : 0));
    // Who takes only the header has not been told.
    if (allocation > 4) event_ = Event::none;
    reply(task, std::move(data), allocation);
}

// DVDs.

void CdRom::read_disc_structure(Task& task) {
    constexpr u8 kPhysical = 0x00, kCopyright = 0x01, kManufacturing = 0x04, kList = 0xFF;
    constexpr u32 kFirstBlock = 0x30000;
    const Cdb& bytes = cdb(task);
    if (!is_dvd()) return fail(task, Sense::illegal({0x30, 0x00}));  // incompatible medium
    if (bytes[6] != 0) return fail(task, Sense::invalid_cdb(6));     // one layer
    std::vector<u8> data(4);
    switch (bytes[7]) {
        case kPhysical:
            data.resize(4 + 2048);
            data[4] = 0x01;  // DVD-ROM, version 1
            data[5] = 0x0F;  // 120 mm, no maximum rate
            data[6] = 0x01;  // one layer, embossed
            store_big_endian(&data[8], kFirstBlock);
            store_big_endian(&data[12], static_cast<u32>(kFirstBlock + blocks() - 1));
            break;
        case kCopyright:
            data.resize(8);  // not protected, all regions
            break;
        case kManufacturing:
            data.resize(4 + 2048);
            break;
        case kList:
            for (const u8 format : {kPhysical, kCopyright, kManufacturing})
                data.insert(data.end(), {format, 0x40, 0, static_cast<u8>(format == kCopyright ? 8 : 4)});
            break;
        default:
            return fail(task, Sense::invalid_cdb(7));
    }
    store_big_endian(&data[0], static_cast<u16>(data.size() - 2));
    reply(task, std::move(data), load_big_endian<u16>(&bytes[8]));
}

// Nominal performance (type 0): the same speed from the first block to the last.
void CdRom::get_performance(Task& task) {
    constexpr u32 kKilobytesPerSecond = 9878;
    const Cdb& bytes = cdb(task);
    if (bytes[10] != 0) return fail(task, Sense::invalid_cdb(10));
    std::vector<u8> data(4);
    append(data, u32{0});
    append(data, u32{0});
    append(data, kKilobytesPerSecond);
    append(data, static_cast<u32>(blocks() ? blocks() - 1 : 0));
    append(data, kKilobytesPerSecond);
    store_big_endian(&data[0], static_cast<u32>(data.size() - 4));
    reply(task, std::move(data), Command::kUnlimited);
}

}  // namespace lodge::scsi
