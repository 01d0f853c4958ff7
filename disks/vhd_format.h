// The records of a VHD file, as bytes and as values: pure functions, no file is touched here.
// Source: Microsoft, "Virtual Hard Disk Image Format Specification" 1.0 (October 2006), here SPEC. All integers are
// big-endian. What a file of each kind looks like:
//
//   fixed:    the disk's bytes, footer
//   dynamic:  footer copy, header, block allocation table, blocks in order of allocation, footer
//   differencing: as dynamic, with a parent named in the header and by locators, whose texts are anywhere in the file
//
// A block is a bitmap with a bit per sector, rounded up to whole sectors, and the data. The table has an entry per
// block of the disk: the sector of the file where its bitmap begins, or kVhdUnusedBlock.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge {

constexpr size_t kVhdFooterSize = 512;
constexpr size_t kVhdOldFooterSize = 511;  // files from before Virtual PC 2004
constexpr size_t kVhdHeaderSize = 1024;
constexpr u32 kVhdUnusedBlock = 0xFFFFFFFF;
constexpr u32 kVhdDefaultBlockSize = 2 * kMiB;
constexpr u32 kVhdLeastBlockSize = 512;          // a sector
constexpr u32 kVhdMostBlockSize = 256 * kMiB;    // our limit: far above any use, keeps a bitmap at 64 KiB
constexpr u32 kVhdMostBlocks = 8 * 1024 * 1024;  // our limit: a table of 32 MiB; 2040 GiB in blocks of 256 KiB
constexpr u64 kVhdMostSize = 2040 * kGiB;        // SPEC: the largest disk

enum class VhdType : u32 { fixed = 2, dynamic = 3, differencing = 4 };

struct VhdGeometry {
    u16 cylinders = 0;
    u8 heads = 0;
    u8 sectors = 0;
    u64 total_sectors() const { return u64{cylinders} * heads * sectors; }
    bool operator==(const VhdGeometry&) const = default;
};

// The largest geometry: the disk is larger than cylinders, heads and sectors can say.
constexpr VhdGeometry kVhdMostGeometry{65535, 16, 255};

struct VhdFooter {
    u64 data_offset = ~u64{0};  // where the header is; all ones for a fixed disk
    u32 timestamp = 0;          // seconds since 2000-01-01 00:00 UTC
    std::array<char, 4> creator_application{};
    u32 creator_version = 0;
    std::array<char, 4> creator_host{};
    u64 original_size = 0;  // bytes
    u64 current_size = 0;   // bytes
    VhdGeometry geometry;
    VhdType type = VhdType::fixed;
    std::array<u8, 16> unique_id{};
    bool saved_state = false;
};

struct VhdLocator {
    u32 platform_code = 0;
    u32 data_space = 0;  // SPEC says sectors, Virtual PC and Hyper-V write bytes: trust data_length only
    u32 data_length = 0;
    u64 data_offset = 0;
};

struct VhdHeader {
    u64 table_offset = 0;
    u32 max_table_entries = 0;
    u32 block_size = kVhdDefaultBlockSize;  // bytes of data, without the bitmap
    std::array<u8, 16> parent_unique_id{};
    u32 parent_timestamp = 0;
    std::array<u8, 512> parent_name{};  // UTF-16BE
    std::array<VhdLocator, 8> locators{};
};

// Platform codes of parent locators.
constexpr u32 kVhdRelativePath = 0x57327275;  // W2ru: UTF-16LE, relative to the child's folder
constexpr u32 kVhdAbsolutePath = 0x57326B75;  // W2ku: UTF-16LE
constexpr u32 kVhdMacUrl = 0x4D616358;        // MacX: UTF-8, a file URL

// How a differencing image names its parent.
struct VhdParentLink {
    struct Path {
        u32 platform_code;
        std::vector<u8> text;  // as in the file
    };
    std::array<u8, 16> unique_id{};
    u32 timestamp = 0;                // when the parent's file was last changed
    std::array<u8, 512> file_name{};  // UTF-16BE
    std::vector<Path> paths;          // at most 8
};

// Which field of the footer tells the disk's size.
enum class VhdSizeRule {
    by_creator,  // Virtual PC counts by geometry, everybody else by the field; see vhd_disk_size
    geometry,
    current_size,
};

// The one's complement of the sum of all bytes but the four of the checksum at `checksum_offset`.
u32 vhd_checksum(std::span<const u8> record, size_t checksum_offset);

// Whether the bytes begin as a footer does. Says nothing about the rest.
bool has_vhd_cookie(std::span<const u8> record);

// 512 or 511 bytes. Errors say what is wrong in words that follow "footer at byte N: ". Kinds: bad_format, and
// unsupported for a version of the format that nobody has published.
Result<VhdFooter> parse_vhd_footer(std::span<const u8> record);
std::array<u8, kVhdFooterSize> build_vhd_footer(const VhdFooter& footer);
// `record`, a footer, with these values, and with all that VhdFooter does not know as it was.
std::array<u8, kVhdFooterSize> change_vhd_footer(std::array<u8, kVhdFooterSize> record, const VhdFooter& footer);

// 1024 bytes; errors as above, after "header at byte N: ". The block size is checked, offsets are for the caller.
Result<VhdHeader> parse_vhd_header(std::span<const u8> record);
std::array<u8, kVhdHeaderSize> build_vhd_header(const VhdHeader& header);

// Puts `parent` into the header, its paths' texts from byte `place` of the file on, each in whole sectors. Returns
// where they end.
u64 name_parent(VhdHeader& header, const VhdParentLink& parent, u64 place);

// The geometry for a disk of so many sectors, by the algorithm of SPEC's appendix. It may say up to a cylinder less.
VhdGeometry vhd_geometry(u64 sectors);

// Bytes of the disk. Readers disagree: Virtual PC (`vpc `) and QEMU's default (`qemu`) mean cylinders x heads x
// sectors unless that is the largest geometry; Hyper-V, disk2vhd, Xen, VirtualBox, Virtual Server mean current_size.
// A geometry of zero cannot be meant.
u64 vhd_disk_size(const VhdFooter& footer, VhdSizeRule rule);

// Bytes of a block's bitmap in the file: a bit per sector, rounded up to whole sectors.
u32 vhd_bitmap_size(u32 block_size);

// Blocks of a disk of `size` bytes, the last one perhaps in part.
u64 vhd_block_count(u64 size, u32 block_size);

// Seconds since 1970 as the format's seconds since 2000, held to what 32 bits can say.
u32 vhd_timestamp(i64 unix_seconds);
i64 unix_seconds_of(u32 vhd_timestamp);

// "01234567-89ab-cdef-0123-456789abcdef"
std::string vhd_id_text(const std::array<u8, 16>& id);

// A footer for a new disk of `size` bytes.
//
// The creator is `win `, version 6.1, host `Wi2k`, as Windows itself writes: with that creator QEMU, libvhdi, Hyper-V
// and VirtualBox take current_size, so all see exactly the size asked for, and Windows attaches the disk without
// doubts. The geometry is the specification's, which rounds down; only Virtual PC of 2004-2007 counts by it, and
// raising the size to a whole cylinder instead would break what Azure and Hyper-V ask for (whole MiB).
VhdFooter new_vhd_footer(VhdType type, u64 size, u32 timestamp, const std::array<u8, 16>& unique_id);

}  // namespace lodge
