// What is where in a VHD file: reads footer, header and table, and lists everything that is wrong with them.
// Opening an image and checking one look through the same eyes: the driver refuses at the first problem that would make
// it read or write the wrong bytes, `lodge disk check` prints all of them.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "disks/file.h"
#include "disks/vhd_format.h"

namespace lodge {

enum class VhdProblemKind : u8 {
    end_footer,   // missing or damaged; the copy at the front is good
    footer_copy,  // missing, damaged or not equal to the good footer at the end
    block_gone,   // begins past the end of the file: none of its bytes exist
    block_cut,    // begins within the file and ends past it
    overlap,      // two records share bytes of the file
};
constexpr size_t kVhdProblemKinds = 5;

struct VhdProblem {
    VhdProblemKind kind;
    u32 block;         // for the block kinds: which
    std::string text;  // place and finding; the file's name is for the caller to put in front
    // The disk's bytes cannot be told with certainty: never open this image.
    bool fatal() const { return kind != VhdProblemKind::end_footer && kind != VhdProblemKind::footer_copy; }
};

struct VhdLayout {
    u64 file_size = 0;
    u64 disk_size = 0;  // bytes, by the size rule
    VhdFooter footer;
    std::array<u8, kVhdFooterSize> footer_bytes{};  // as found, to write it again with all that we do not know
    bool footer_at_end = false;                     // a good footer ends the file
    u64 footer_offset = 0;                          // where that footer begins; file_size where there is none

    // Not for fixed disks:
    VhdHeader header;
    u32 bitmap_size = 0;
    std::vector<u32> table;  // an entry per block of the disk
    u64 append_offset = 0;   // behind everything but the footer, a multiple of 512: where a new block goes

    std::vector<VhdProblem> problems;  // the first kMostVhdProblems
    std::array<u64, kVhdProblemKinds> problems_of_kind{};

    u64 stored_block_size() const { return u64{bitmap_size} + header.block_size; }
    u64 problem_count() const;
    bool has(VhdProblemKind kind) const { return problems_of_kind[static_cast<size_t>(kind)] != 0; }
    const VhdProblem* first_fatal() const;
};

constexpr size_t kMostVhdProblems = 100;  // a damaged table must not fill the memory, or the screen

// Whether the file has a footer's mark at its end or a dynamic image's at its front: it is meant to be a VHD.
Result<bool> looks_like_vhd(File& file);

enum class VhdReading {
    whole,         // with the table, and every problem
    records_only,  // footer and header: the table stays empty, and append_offset 0. Fast however large the disk is
};

// Errors, where there is no telling what the disk is: no good footer, no good header, sizes that no file can have, a
// table that is not in the file (bad_format, unsupported), or the file cannot be read (io). `context` is complete.
// For a differencing image footer, header and table are read like a dynamic one's.
Result<VhdLayout> read_vhd_layout(File& file, VhdSizeRule rule, VhdReading reading = VhdReading::whole);

}  // namespace lodge
