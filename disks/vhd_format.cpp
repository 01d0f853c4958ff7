#include "disks/vhd_format.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <string_view>

namespace lodge {

namespace {

constexpr std::string_view kFooterCookie = "conectix";
constexpr std::string_view kHeaderCookie = "cxsparse";
constexpr u32 kFormatVersion = 0x00010000;  // major 1, minor 0
constexpr u32 kReservedFeature = 2;         // SPEC: this bit is always set
constexpr i64 kEpoch = 946684800;           // 2000-01-01 00:00 UTC in Unix seconds

// SPEC "Hard Disk Footer Format"
namespace footer_at {
constexpr size_t kFeatures = 8, kVersion = 12, kDataOffset = 16, kTimestamp = 24, kCreatorApplication = 28,
                 kCreatorVersion = 32, kCreatorHost = 36, kOriginalSize = 40, kCurrentSize = 48, kCylinders = 56,
                 kHeads = 58, kSectors = 59, kType = 60, kChecksum = 64, kUniqueId = 68, kSavedState = 84;
}

// SPEC "Dynamic Disk Header Format"
namespace header_at {
constexpr size_t kDataOffset = 8, kTableOffset = 16, kVersion = 24, kMaxTableEntries = 28, kBlockSize = 32,
                 kChecksum = 36, kParentUniqueId = 40, kParentTimestamp = 56, kParentName = 64, kLocators = 576;
}
constexpr size_t kLocatorSize = 24;
namespace locator_at {
constexpr size_t kPlatformCode = 0, kDataSpace = 4, kDataLength = 8, kDataOffset = 16;
}

template <class T>
T get(std::span<const u8> record, size_t offset) {
    return load_big_endian<T>(record.data() + offset);
}

template <class T>
void put(std::span<u8> record, size_t offset, T value) {
    store_big_endian<T>(record.data() + offset, value);
}

template <class To, class From>
void copy_bytes(To& to, const From* from) {
    std::memcpy(to.data(), from, to.size());
}

std::string hex(u32 value) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%08x", value);
    return text;
}

bool begins_with(std::span<const u8> record, std::string_view cookie) {
    return record.size() >= cookie.size() && std::memcmp(record.data(), cookie.data(), cookie.size()) == 0;
}

Error bad(std::string what) {
    return Error{ErrorKind::bad_format, std::move(what)};
}

Result<void> check_sum(std::span<const u8> record, size_t checksum_offset) {
    const u32 stored = get<u32>(record, checksum_offset);
    const u32 computed = vhd_checksum(record, checksum_offset);
    if (stored == computed) return {};
    return bad("wrong checksum, " + hex(stored) + " where the content makes " + hex(computed));
}

Result<void> check_version(u32 version) {
    if (version >> 16 == 1) return {};
    return Error{ErrorKind::unsupported, "format version " + hex(version) + " is not 1.x"};
}

VhdLocator parse_locator(std::span<const u8> record) {
    VhdLocator locator;
    locator.platform_code = get<u32>(record, locator_at::kPlatformCode);
    locator.data_space = get<u32>(record, locator_at::kDataSpace);
    locator.data_length = get<u32>(record, locator_at::kDataLength);
    locator.data_offset = get<u64>(record, locator_at::kDataOffset);
    return locator;
}

void build_locator(std::span<u8> record, const VhdLocator& locator) {
    put(record, locator_at::kPlatformCode, locator.platform_code);
    put(record, locator_at::kDataSpace, locator.data_space);
    put(record, locator_at::kDataLength, locator.data_length);
    put(record, locator_at::kDataOffset, locator.data_offset);
}

bool counts_by_geometry(const VhdFooter& footer) {
    const std::string_view creator(footer.creator_application.data(), footer.creator_application.size());
    return creator == "vpc " || creator == "qemu";
}

}  // namespace

u32 vhd_checksum(std::span<const u8> record, size_t checksum_offset) {
    u32 sum = 0;
    for (size_t i = 0; i < record.size(); ++i)
        if (i < checksum_offset || i >= checksum_offset + 4) sum += record[i];
    return ~sum;
}

bool has_vhd_cookie(std::span<const u8> record) {
    return begins_with(record, kFooterCookie);
}

Result<VhdFooter> parse_vhd_footer(std::span<const u8> record) {
    if (record.size() < kVhdOldFooterSize) return bad("too short");
    if (!has_vhd_cookie(record)) return bad("no footer there");
    LODGE_TRY(check_sum(record, footer_at::kChecksum));
    LODGE_TRY(check_version(get<u32>(record, footer_at::kVersion)));
    VhdFooter footer;
    footer.data_offset = get<u64>(record, footer_at::kDataOffset);
    footer.timestamp = get<u32>(record, footer_at::kTimestamp);
    copy_bytes(footer.creator_application, record.data() + footer_at::kCreatorApplication);
    footer.creator_version = get<u32>(record, footer_at::kCreatorVersion);
    copy_bytes(footer.creator_host, record.data() + footer_at::kCreatorHost);
    footer.original_size = get<u64>(record, footer_at::kOriginalSize);
    footer.current_size = get<u64>(record, footer_at::kCurrentSize);
    footer.geometry = {get<u16>(record, footer_at::kCylinders), record[footer_at::kHeads], record[footer_at::kSectors]};
    const u32 type = get<u32>(record, footer_at::kType);
    if (type < 2 || type > 4) return bad("disk type " + std::to_string(type) + " is not 2, 3 or 4");
    footer.type = static_cast<VhdType>(type);
    copy_bytes(footer.unique_id, record.data() + footer_at::kUniqueId);
    footer.saved_state = record[footer_at::kSavedState] != 0;
    return footer;
}

std::array<u8, kVhdFooterSize> build_vhd_footer(const VhdFooter& footer) {
    std::array<u8, kVhdFooterSize> record{};
    std::memcpy(record.data(), kFooterCookie.data(), kFooterCookie.size());
    put(record, footer_at::kFeatures, kReservedFeature);
    put(record, footer_at::kVersion, kFormatVersion);
    return change_vhd_footer(record, footer);
}

std::array<u8, kVhdFooterSize> change_vhd_footer(std::array<u8, kVhdFooterSize> record, const VhdFooter& footer) {
    put(record, footer_at::kDataOffset, footer.data_offset);
    put(record, footer_at::kTimestamp, footer.timestamp);
    std::memcpy(record.data() + footer_at::kCreatorApplication, footer.creator_application.data(), 4);
    put(record, footer_at::kCreatorVersion, footer.creator_version);
    std::memcpy(record.data() + footer_at::kCreatorHost, footer.creator_host.data(), 4);
    put(record, footer_at::kOriginalSize, footer.original_size);
    put(record, footer_at::kCurrentSize, footer.current_size);
    put(record, footer_at::kCylinders, footer.geometry.cylinders);
    record[footer_at::kHeads] = footer.geometry.heads;
    record[footer_at::kSectors] = footer.geometry.sectors;
    put(record, footer_at::kType, static_cast<u32>(footer.type));
    std::memcpy(record.data() + footer_at::kUniqueId, footer.unique_id.data(), footer.unique_id.size());
    record[footer_at::kSavedState] = footer.saved_state;
    put(record, footer_at::kChecksum, vhd_checksum(record, footer_at::kChecksum));
    return record;
}

Result<VhdHeader> parse_vhd_header(std::span<const u8> record) {
    if (record.size() < kVhdHeaderSize) return bad("too short");
    if (!begins_with(record, kHeaderCookie)) return bad("no dynamic disk header there");
    LODGE_TRY(check_sum(record, header_at::kChecksum));
    LODGE_TRY(check_version(get<u32>(record, header_at::kVersion)));
    VhdHeader header;
    header.table_offset = get<u64>(record, header_at::kTableOffset);
    header.max_table_entries = get<u32>(record, header_at::kMaxTableEntries);
    header.block_size = get<u32>(record, header_at::kBlockSize);
    if (!std::has_single_bit(header.block_size) || header.block_size < kVhdLeastBlockSize)
        return bad("block size " + std::to_string(header.block_size) + " is not a power of two of at least 512");
    if (header.block_size > kVhdMostBlockSize)
        return Error{ErrorKind::unsupported, "block size " + std::to_string(header.block_size) + " is above 256 MiB"};
    copy_bytes(header.parent_unique_id, record.data() + header_at::kParentUniqueId);
    header.parent_timestamp = get<u32>(record, header_at::kParentTimestamp);
    copy_bytes(header.parent_name, record.data() + header_at::kParentName);
    for (size_t i = 0; i < header.locators.size(); ++i)
        header.locators[i] = parse_locator(record.subspan(header_at::kLocators + i * kLocatorSize, kLocatorSize));
    return header;
}

std::array<u8, kVhdHeaderSize> build_vhd_header(const VhdHeader& header) {
    std::array<u8, kVhdHeaderSize> record{};
    std::memcpy(record.data(), kHeaderCookie.data(), kHeaderCookie.size());
    put(record, header_at::kDataOffset, ~u64{0});  // SPEC prints 32 ones; Microsoft's tools want all 64
    put(record, header_at::kTableOffset, header.table_offset);
    put(record, header_at::kVersion, kFormatVersion);
    put(record, header_at::kMaxTableEntries, header.max_table_entries);
    put(record, header_at::kBlockSize, header.block_size);
    std::memcpy(record.data() + header_at::kParentUniqueId, header.parent_unique_id.data(), 16);
    put(record, header_at::kParentTimestamp, header.parent_timestamp);
    std::memcpy(record.data() + header_at::kParentName, header.parent_name.data(), header.parent_name.size());
    for (size_t i = 0; i < header.locators.size(); ++i)
        build_locator(std::span(record).subspan(header_at::kLocators + i * kLocatorSize, kLocatorSize),
                      header.locators[i]);
    put(record, header_at::kChecksum, vhd_checksum(record, header_at::kChecksum));
    return record;
}

u64 name_parent(VhdHeader& header, const VhdParentLink& parent, u64 place) {
    assert(parent.paths.size() <= header.locators.size());
    header.parent_unique_id = parent.unique_id;
    header.parent_timestamp = parent.timestamp;
    header.parent_name = parent.file_name;
    header.locators = {};
    for (size_t i = 0; i < parent.paths.size(); ++i) {
        const auto length = static_cast<u32>(parent.paths[i].text.size());
        const auto space = static_cast<u32>(align_up(length, 512));  // in bytes, as Virtual PC and Hyper-V want it
        header.locators[i] = {parent.paths[i].platform_code, space, length, place};
        place += space;
    }
    return place;
}

VhdGeometry vhd_geometry(u64 sectors) {
    sectors = std::min(sectors, kVhdMostGeometry.total_sectors());
    if (sectors >= u64{65535} * 16 * 63) return {static_cast<u16>(sectors / 255 / 16), 16, 255};
    u64 per_track = 17;
    u64 tracks = sectors / per_track;
    u64 heads = std::max<u64>(4, (tracks + 1023) / 1024);
    if (tracks >= heads * 1024 || heads > 16) {
        per_track = 31;
        heads = 16;
        tracks = sectors / per_track;
    }
    if (tracks >= heads * 1024) {
        per_track = 63;
        heads = 16;
        tracks = sectors / per_track;
    }
    return {static_cast<u16>(tracks / heads), static_cast<u8>(heads), static_cast<u8>(per_track)};
}

u64 vhd_disk_size(const VhdFooter& footer, VhdSizeRule rule) {
    if (rule == VhdSizeRule::geometry) return footer.geometry.total_sectors() * 512;
    const bool geometry_is_meant = rule == VhdSizeRule::by_creator && counts_by_geometry(footer) &&
                                   footer.geometry != kVhdMostGeometry && footer.geometry.total_sectors() != 0;
    return geometry_is_meant ? footer.geometry.total_sectors() * 512 : footer.current_size;
}

u32 vhd_bitmap_size(u32 block_size) {
    return static_cast<u32>(align_up((block_size / 512 + 7) / 8, 512));
}

u64 vhd_block_count(u64 size, u32 block_size) {
    return size / block_size + (size % block_size != 0);
}

u32 vhd_timestamp(i64 unix_seconds) {
    return static_cast<u32>(std::clamp<i64>(unix_seconds - kEpoch, 0, 0xFFFFFFFF));
}

i64 unix_seconds_of(u32 vhd_timestamp) {
    return kEpoch + vhd_timestamp;
}

std::string vhd_id_text(const std::array<u8, 16>& id) {
    std::string text;
    for (size_t i = 0; i < id.size(); ++i) {
        char byte[3];
        std::snprintf(byte, sizeof byte, "%02x", id[i]);
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += byte;
    }
    return text;
}

VhdFooter new_vhd_footer(VhdType type, u64 size, u32 timestamp, const std::array<u8, 16>& unique_id) {
    VhdFooter footer;
    footer.data_offset = type == VhdType::fixed ? ~u64{0} : kVhdFooterSize;
    footer.timestamp = timestamp;
    footer.creator_application = {'w', 'i', 'n', ' '};
    footer.creator_version = 0x00060001;
    footer.creator_host = {'W', 'i', '2', 'k'};
    footer.original_size = size;
    footer.current_size = size;
    footer.geometry = vhd_geometry(size / 512);
    footer.type = type;
    footer.unique_id = unique_id;
    return footer;
}

}  // namespace lodge
