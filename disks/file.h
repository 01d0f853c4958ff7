// Positional input and output on a host file: the only place of this folder that calls the host.
// Every error says which file, what was tried, where in the file, and what the host answered; a full host disk is
// ErrorKind::no_space, anything else the host refuses while the file is open is ErrorKind::io.
//
// File is an interface so that tests can put a recorder between a driver and the host (what would be on the disk if
// the process died after the third write?) and so that a fuzzer can hand over bytes that were never a named file.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/base/result.h"
#include "core/base/types.h"
#include "disks/block_device.h"

namespace lodge {

// What zeroing does with the host's disk space behind the range.
enum class HostSpace {
    release,  // give it back: the file becomes sparse
    keep,     // stay allocated
};

class File {
  public:
    virtual ~File() = default;

    // For messages.
    virtual const std::string& name() const = 0;
    virtual Result<u64> size() = 0;
    // Fills all of `into`; a file that ends earlier is ErrorKind::io.
    virtual Result<void> read(u64 offset, std::span<u8> into) = 0;
    // As BlockDevice::set_patience.
    virtual bool set_patience(Patience patience) { return patience == Patience::wait; }
    // Grows the file where the range goes past its end.
    virtual Result<void> write(u64 offset, std::span<const u8> from) = 0;
    virtual Result<void> truncate(u64 size) = 0;
    // After it returns, what was written before survives a crash of the host.
    virtual Result<void> sync() = 0;
    // The range, which lies within the file, reads as zeros.
    virtual Result<void> zero(u64 offset, u64 length, HostSpace space) = 0;
    // Makes the file `size` bytes long if it is shorter, all of it backed by space on the host's disk. What it holds
    // stays.
    virtual Result<void> allocate(u64 size) = 0;
    // Holes of a sparse file are extents known to be zero. `offset` is below size().
    virtual Result<Extent> extent(u64 offset) = 0;
    // Bytes that the file occupies on the host's disk; less than its size when it is sparse.
    virtual Result<u64> host_space() = 0;
};

enum class FileAccess {
    read,        // takes the shared lock: many readers, no writer
    read_write,  // takes the exclusive lock
};

class HostFile final : public File {
  public:
    // Opens a regular file or a block device and locks it until it is closed. Errors: not_found; usage (permission);
    // bad_format (a directory, a pipe, a terminal); locked; io.
    static Result<std::unique_ptr<HostFile>> open(const std::string& path, FileAccess access);
    // A file without a name, gone when it is closed, in `folder`.
    static Result<std::unique_ptr<HostFile>> open_anonymous(const std::string& folder);
    // A file in memory, gone when it is closed.
    static Result<std::unique_ptr<HostFile>> open_in_memory(const std::string& name);
    // Takes over `descriptor`, which is open for reading and writing.
    HostFile(int descriptor, std::string name) : descriptor_(descriptor), name_(std::move(name)) {}
    ~HostFile() override;
    HostFile(const HostFile&) = delete;
    HostFile& operator=(const HostFile&) = delete;

    const std::string& name() const override { return name_; }
    Result<u64> size() override;
    Result<void> read(u64 offset, std::span<u8> into) override;
    bool set_patience(Patience patience) override;
    Result<void> write(u64 offset, std::span<const u8> from) override;
    Result<void> truncate(u64 size) override;
    Result<void> sync() override;
    Result<void> zero(u64 offset, u64 length, HostSpace space) override;
    Result<void> allocate(u64 size) override;
    Result<Extent> extent(u64 offset) override;
    Result<u64> host_space() override;

    // The host's descriptor, still owned by this file.
    int descriptor() const { return descriptor_; }

  private:
    Result<void> lock(FileAccess access);
    Result<void> write_zeros(u64 offset, u64 length);
    Error failure(const std::string& action) const;
    Error failure_at(const char* action, u64 offset, u64 length) const;

    int descriptor_;
    std::string name_;
    Patience patience_ = Patience::wait;
    bool always_waits_ = false;  // its file system has no other reads (tmpfs)
};

// Another name for a file that somebody else owns and keeps for as long.
class BorrowedFile : public File {
  public:
    explicit BorrowedFile(File& file) : file_(file) {}
    const std::string& name() const override { return file_.name(); }
    Result<u64> size() override { return file_.size(); }
    Result<void> read(u64 offset, std::span<u8> into) override { return file_.read(offset, into); }
    bool set_patience(Patience patience) override { return file_.set_patience(patience); }
    Result<void> write(u64 offset, std::span<const u8> from) override { return file_.write(offset, from); }
    Result<void> truncate(u64 size) override { return file_.truncate(size); }
    Result<void> sync() override { return file_.sync(); }
    Result<void> zero(u64 offset, u64 length, HostSpace space) override { return file_.zero(offset, length, space); }
    Result<void> allocate(u64 size) override { return file_.allocate(size); }
    Result<Extent> extent(u64 offset) override { return file_.extent(offset); }
    Result<u64> host_space() override { return file_.host_space(); }

  protected:
    File& file_;
};

// HostFile::open as a File.
Result<std::unique_ptr<File>> open_host_file(const std::string& path, FileAccess access);

// A file that appears under its name only when it is complete. Until commit() it has no name, or where the file system
// cannot do that a name of its own beside the target, so a command that fails or is killed leaves no half target.
class NewFile {
  public:
    // Errors: usage where the target exists and `replace` is false or it is not a regular file; locked where the
    // target is open elsewhere; not_found where its folder does not exist.
    static Result<std::unique_ptr<NewFile>> create(const std::string& path, bool replace);
    ~NewFile();
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;

    // The file to fill, exactly once. Its messages use the target's name.
    std::unique_ptr<File> take_file() { return std::move(file_); }
    // Gives the file its name. The target is replaced in one step.
    Result<void> commit();

  private:
    NewFile() = default;
    Error failure(const std::string& action) const;

    std::string path_;            // the target
    std::string temporary_path_;  // beside the target; empty while the file has no name
    int descriptor_ = -1;         // a second descriptor of the file, to name it by
    bool replace_ = false;
    std::unique_ptr<File> file_;
};

// Whether two paths lead to the same file (links included). False where one does not exist.
bool same_file(const std::string& first, const std::string& second);

// When a file was last changed, in seconds since 1970; nothing where there is no such file.
std::optional<i64> time_of_change(const std::string& path);

// "12.5 MiB", for messages.
std::string size_for_people(u64 bytes);

}  // namespace lodge
