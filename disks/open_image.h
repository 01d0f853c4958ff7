// The one way to open, make and describe an image. What a file is is told by its content, never by its name.
//
// A guest decides what is in a raw disk, so it could make one look like something else to whoever opens it next; who
// opens disks of guests he does not trust says `raw`.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "disks/block_device.h"
#include "disks/file.h"
#include "disks/vhd_layout.h"

namespace lodge {

enum class ImageFormat { raw, vhd_fixed, vhd_dynamic, vhd_differencing };
// "raw", "fixed VHD", "dynamic VHD", "differencing VHD"
const char* name_of(ImageFormat format);

enum class ImageMode {
    read_only,
    private_writes,  // writes persist; nobody else may have the image open
    shared,          // writes go to a throw-away layer; everybody may read, nobody may write
};

struct OpenOptions {
    ImageMode mode = ImageMode::read_only;
    bool raw = false;  // do not look, it is raw
    VhdSizeRule size_rule = VhdSizeRule::by_creator;
    // Where the throw-away layer lives. Empty: $TMPDIR, or /var/tmp, since /tmp is often memory.
    std::string overlay_folder;
    // How files are opened, for tests that have theirs in memory.
    std::function<Result<std::unique_ptr<File>>(const std::string& path, FileAccess access)> open_file = open_host_file;
    // Told what is doubtful in a chain of differencing images, a line at a time.
    std::function<void(const std::string& line)> warn = [](const std::string&) {};
};

// The image is locked until the device is destroyed, and so are, for reading, the ancestors of a differencing one
// (vhd_parent.h). Errors: not_found, usage (permission), locked, io, and
//   bad_format:  a directory, an empty file, no whole number of sectors, a damaged VHD; each with the place in the
//   file;
//                a chain with a loop, or whose parent is another disk
//   unsupported: another program's format (QCOW2, VMDK, VDI, VHDX), a VHD beyond our limits
Result<std::unique_ptr<BlockDevice>> open_image(const std::string& path, const OpenOptions& options);
// As above for a file that is open and locked already, for writing unless mode is read_only.
Result<std::unique_ptr<BlockDevice>> open_image(std::unique_ptr<File> file, const OpenOptions& options);

struct ImageDetails;
// The device of an image that look_at_image described, and of its ancestors, which are opened. `descendants`: the
// unique ids of images that depend on it.
Result<std::unique_ptr<BlockDevice>> open_described(std::unique_ptr<File> file, ImageDetails details, bool read_only,
                                                    const OpenOptions& options,
                                                    std::vector<std::array<u8, 16>> descendants = {});

struct ImageDetails {
    ImageFormat format = ImageFormat::raw;
    u64 disk_size = 0;   // bytes
    u64 file_size = 0;   // bytes
    u64 host_space = 0;  // bytes that the file occupies
    std::optional<VhdLayout> vhd;
};

enum class Strictness {
    refuse_problems,  // a VHD with a fatal problem is an error
    list_problems,    // they are in the layout
};

// What a file is, without making a device of it. Errors as open_image's.
Result<ImageDetails> inspect_image(const std::string& path, const OpenOptions& options);

// An image of a chain, and what there is to say about its link to its parent.
struct ChainMember {
    std::string path;
    ImageDetails details;
    std::string warning;
};

struct Chain {
    std::vector<ChainMember> members;  // the image and its ancestors, nearest first
    std::optional<Error> broken;       // why the last member's parent is not there
};

// Errors as open_image's, for the image itself.
Result<Chain> inspect_chain(const std::string& path, const OpenOptions& options);
Result<ImageDetails> look_at_image(File& file, const OpenOptions& options, Strictness strictness);

struct CreateOptions {
    ImageFormat format = ImageFormat::vhd_dynamic;  // not differencing
    u64 size = 0;                                   // bytes, a multiple of 512
    u32 block_size = kVhdDefaultBlockSize;
    u32 timestamp = 0;  // seconds since 2000-01-01 00:00 UTC
    std::array<u8, 16> unique_id{};
};

// Makes `file`, which is empty, an image that reads as zeros. The device does not flush while it grows: for images that
// nobody can see before they are complete. Errors: usage (size, block size), no_space, io.
Result<std::unique_ptr<BlockDevice>> create_image(std::unique_ptr<File> file, const CreateOptions& options);

struct ChildOptions {
    std::string path;               // where the child will be; its parent's path is said relative to it
    std::string parent;             // path of a VHD of any kind
    std::optional<u32> block_size;  // empty: as the parent's, with at most a million blocks
    u32 timestamp = 0;
    std::array<u8, 16> unique_id{};
};

// Makes `file`, which is empty, a differencing VHD that reads as its parent does. Takes no longer for a large disk than
// writing its empty table. Errors: those of the parent; usage (block size; the parent is no VHD, or its path cannot be
// said); no_space, io.
Result<void> create_child(File& file, const ChildOptions& child, const OpenOptions& options);

// The last call on a device that create_image made: gives reserved space back and flushes.
Result<void> finish_image(BlockDevice& device);

// 16 random bytes marked as such (RFC 4122 version 4).
Result<std::array<u8, 16>> random_unique_id();

// Where throw-away files live.
std::string throw_away_folder(const OpenOptions& options);

}  // namespace lodge
