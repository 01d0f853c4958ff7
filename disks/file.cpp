#include "disks/file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>

namespace lodge {

namespace {

constexpr size_t kZeroChunk = 256 * kKiB;

ErrorKind kind_of(int host_error) {
    switch (host_error) {
        case ENOENT:
        case ENOTDIR:
            return ErrorKind::not_found;
        case ENOSPC:
        case EDQUOT:
            return ErrorKind::no_space;
        case EACCES:
        case EPERM:
        case EROFS:
        case ENAMETOOLONG:
        case ELOOP:
            return ErrorKind::usage;
        case EISDIR:
        case ENXIO:
            return ErrorKind::bad_format;
        default:
            return ErrorKind::io;
    }
}

const char* remedy_of(int host_error) {
    switch (host_error) {
        case ENOSPC:
        case EDQUOT:
            return "; free some space on its file system";
        case EACCES:
        case EPERM:
        case EROFS:
            return "; check its permissions, or open it read-only";
        case ENOENT:
        case ENOTDIR:
            return "; check the path";
        case EFBIG:
            return "; its file system or a limit of this process does not allow a file so large";
        default:
            return "";
    }
}

Error host_failure(const std::string& name, const std::string& action) {
    const int host_error = errno;
    return Error{kind_of(host_error), name + ": " + action + ": " + std::strerror(host_error) + remedy_of(host_error)};
}

std::string folder_of(const std::string& path) {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    return folder.empty() ? "." : folder;
}

// Which byte ranges QEMU locks, as seen in /proc/locks while it runs: one byte per permission it uses from 100 on, one
// per permission it does not share from 200 on; writing is the second of them. An exclusive lock on everything thus
// keeps QEMU out, and a reader that holds byte 201 tells it not to write.
constexpr off_t kQemuWriterByte = 101;
constexpr off_t kQemuNoWriterByte = 201;

struct flock range_lock(short type, off_t start, off_t length) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = start;
    lock.l_len = length;  // 0: to the end, however far the file grows
    return lock;
}

bool refused_by_lock(int host_error) {
    return host_error == EAGAIN || host_error == EACCES;
}

// False where somebody else's lock is in the way. A file system without locks does not stop anyone.
bool take_lock(int descriptor, short type, off_t start, off_t length) {
    struct flock lock = range_lock(type, start, length);
    return ::fcntl(descriptor, F_OFD_SETLK, &lock) == 0 || !refused_by_lock(errno);
}

bool anybody_holds(int descriptor, off_t byte) {
    struct flock lock = range_lock(F_WRLCK, byte, 1);
    return ::fcntl(descriptor, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

}  // namespace

Result<std::unique_ptr<HostFile>> HostFile::open(const std::string& path, FileAccess access) {
    // O_NONBLOCK: opening a pipe must not wait for its other end. It means nothing for regular files.
    const int mode = access == FileAccess::read ? O_RDONLY : O_RDWR;
    const int descriptor = ::open(path.c_str(), mode | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0 && errno == EISDIR)
        return Error{ErrorKind::bad_format, path + ": is a directory; name an image file in it"};
    if (descriptor < 0) return host_failure(path, "cannot open");
    auto file = std::make_unique<HostFile>(descriptor, path);
    struct stat status {};
    if (::fstat(descriptor, &status) != 0) return host_failure(path, "cannot look at");
    if (S_ISDIR(status.st_mode))
        return Error{ErrorKind::bad_format, path + ": is a directory; name an image file in it"};
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        return Error{ErrorKind::bad_format,
                     path + ": is neither a regular file nor a block device; name an image file"};
    LODGE_TRY(file->lock(access));
    return file;
}

Result<std::unique_ptr<HostFile>> HostFile::open_anonymous(const std::string& folder) {
    const int descriptor = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (descriptor >= 0) return std::make_unique<HostFile>(descriptor, folder + "/(throw-away file)");
    std::string path = folder + "/lodge.XXXXXX";  // where the file system knows no nameless files
    const int named = ::mkostemp(path.data(), O_CLOEXEC);
    if (named < 0) return host_failure(folder, "cannot make a throw-away file in this folder");
    ::unlink(path.c_str());
    return std::make_unique<HostFile>(named, path);
}

Result<std::unique_ptr<HostFile>> HostFile::open_in_memory(const std::string& name) {
    const int descriptor = ::memfd_create(name.c_str(), MFD_CLOEXEC);
    if (descriptor < 0) return host_failure(name, "cannot make a file in memory");
    return std::make_unique<HostFile>(descriptor, name);
}

HostFile::~HostFile() {
    ::close(descriptor_);
}

Error HostFile::failure(const std::string& action) const {
    Error error = host_failure(name_, action);
    // The file is open: permission and existence are no longer the question.
    if (error.kind != ErrorKind::no_space) error.kind = ErrorKind::io;
    return error;
}

Error HostFile::failure_at(const char* action, u64 offset, u64 length) const {
    const int host_error = errno;
    const std::string text =
        std::string("cannot ") + action + " " + std::to_string(length) + " bytes at byte " + std::to_string(offset);
    errno = host_error;
    return failure(text);
}

Result<void> HostFile::lock(FileAccess access) {
    if (access == FileAccess::read_write) {
        if (take_lock(descriptor_, F_WRLCK, 0, 0)) return {};
        return Error{ErrorKind::locked, name_ + ": another program has it open; stop that program first"};
    }
    const bool free = take_lock(descriptor_, F_RDLCK, 0, 1) && take_lock(descriptor_, F_RDLCK, kQemuNoWriterByte, 1) &&
                      !anybody_holds(descriptor_, kQemuWriterByte);
    if (free) return {};
    return Error{ErrorKind::locked, name_ + ": another program has it open for writing; stop that program first"};
}

Result<u64> HostFile::size() {
    const off_t end = ::lseek(descriptor_, 0, SEEK_END);  // unlike fstat, right for block devices too
    if (end < 0) return failure("cannot tell its size");
    return static_cast<u64>(end);
}

bool HostFile::set_patience(Patience patience) {
    if (patience == Patience::none && always_waits_) return false;
    patience_ = patience;
    return true;
}

Result<void> HostFile::read(u64 offset, std::span<u8> into) {
    size_t done = 0;
    while (done < into.size()) {
        const iovec part{into.data() + done, into.size() - done};
        const int flags = patience_ == Patience::none ? RWF_NOWAIT : 0;
        const ssize_t count = ::preadv2(descriptor_, &part, 1, static_cast<off_t>(offset + done), flags);
        if (count < 0 && errno == EINTR) continue;
        if (flags && count <= 0) {
            always_waits_ = count < 0 && errno == EOPNOTSUPP;
            return Error{ErrorKind::would_wait, {}};
        }
        if (count < 0) return failure_at("read", offset, into.size());
        if (count == 0)
            return Error{ErrorKind::io, name_ + ": cannot read " + std::to_string(into.size()) + " bytes at byte " +
                                            std::to_string(offset) + ": the file ends at byte " +
                                            std::to_string(offset + done)};
        done += static_cast<size_t>(count);
    }
    return {};
}

Result<void> HostFile::write(u64 offset, std::span<const u8> from) {
    size_t done = 0;
    while (done < from.size()) {
        const ssize_t count =
            ::pwrite(descriptor_, from.data() + done, from.size() - done, static_cast<off_t>(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return failure_at("write", offset, from.size());
        done += static_cast<size_t>(count);
    }
    return {};
}

Result<void> HostFile::truncate(u64 size) {
    if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0)
        return failure("cannot make it " + std::to_string(size) + " bytes long");
    return {};
}

Result<void> HostFile::sync() {
    if (::fdatasync(descriptor_) != 0) return failure("cannot flush it to the disk");
    return {};
}

Result<void> HostFile::write_zeros(u64 offset, u64 length) {
    static constexpr std::array<u8, kZeroChunk> kZeros{};
    while (length > 0) {
        const size_t part = static_cast<size_t>(std::min<u64>(length, kZeros.size()));
        LODGE_TRY(write(offset, std::span(kZeros).first(part)));
        offset += part;
        length -= part;
    }
    return {};
}

Result<void> HostFile::zero(u64 offset, u64 length, HostSpace space) {
    if (length == 0) return {};
    const int how = (space == HostSpace::release ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE;
    if (::fallocate(descriptor_, how, static_cast<off_t>(offset), static_cast<off_t>(length)) == 0) return {};
    if (errno == ENOSPC || errno == EIO) return failure_at("zero", offset, length);
    return write_zeros(offset, length);  // not every file system can do it at a stroke
}

Result<void> HostFile::allocate(u64 size) {
    if (::fallocate(descriptor_, 0, 0, static_cast<off_t>(size)) == 0) return {};
    if (errno != EOPNOTSUPP && errno != ENOSYS) return failure("cannot allocate " + size_for_people(size));
    // Not every file system can do it at a stroke.
    for (u64 at = 0; at < size;) {
        auto run = extent(at);
        if (!run) return run.error();
        const u64 length = run->length == 0 ? size - at : std::min(run->length, size - at);
        if (run->length == 0 || run->zero) LODGE_TRY(write_zeros(at, length));
        at += length;
    }
    return {};
}

Result<Extent> HostFile::extent(u64 offset) {
    auto end = size();
    if (!end) return end.error();
    if (offset >= *end) return Extent{0, false};
    const off_t data = ::lseek(descriptor_, static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return Extent{*end - offset, true};
    if (data < 0) return Extent{*end - offset, false};  // a file system that does not know its holes
    if (static_cast<u64>(data) > offset) return Extent{static_cast<u64>(data) - offset, true};
    const off_t hole = ::lseek(descriptor_, static_cast<off_t>(offset), SEEK_HOLE);
    if (hole < 0 || static_cast<u64>(hole) <= offset) return Extent{*end - offset, false};
    return Extent{static_cast<u64>(hole) - offset, false};
}

Result<u64> HostFile::host_space() {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) return failure("cannot look at");
    return static_cast<u64>(status.st_blocks) * 512;  // st_blocks counts 512 bytes whatever the file system's block
}

Result<std::unique_ptr<File>> open_host_file(const std::string& path, FileAccess access) {
    auto file = HostFile::open(path, access);
    if (!file) return file.error();
    return std::unique_ptr<File>(std::move(*file));
}

Error NewFile::failure(const std::string& action) const {
    return host_failure(path_, action);
}

Result<std::unique_ptr<NewFile>> NewFile::create(const std::string& path, bool replace) {
    std::unique_ptr<NewFile> target(new NewFile);
    std::error_code ignored;
    const auto resolved = std::filesystem::canonical(path, ignored);  // replace what a link points at, not the link
    target->path_ = ignored ? path : resolved.string();
    target->replace_ = replace;
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0) {
        if (S_ISDIR(status.st_mode)) return Error{ErrorKind::usage, path + ": is a directory; name a file in it"};
        if (!S_ISREG(status.st_mode))
            return Error{ErrorKind::usage, path + ": exists and is not a regular file; name another target"};
        if (!replace) return Error{ErrorKind::usage, path + ": exists already; remove it or name another file"};
        auto old = HostFile::open(path, FileAccess::read_write);
        if (!old && old.error().kind != ErrorKind::io) return old.error();
    }
    const std::string folder = folder_of(target->path_);
    int descriptor = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (descriptor < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        target->temporary_path_ = target->path_ + "." + std::to_string(::getpid()) + ".part";
        descriptor = ::open(target->temporary_path_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
        if (descriptor < 0) target->temporary_path_.clear();
    }
    if (descriptor < 0) return target->failure("cannot create it in folder " + folder);
    target->descriptor_ = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    target->file_ = std::make_unique<HostFile>(descriptor, path);
    if (target->descriptor_ < 0) return target->failure("cannot create");
    return target;
}

Result<void> NewFile::commit() {
    if (temporary_path_.empty()) {
        // A nameless file gets its name through its entry in /proc (open(2), O_TMPFILE); linkat does not replace.
        const std::string entry = "/proc/self/fd/" + std::to_string(descriptor_);
        if (::linkat(AT_FDCWD, entry.c_str(), AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) == 0) return {};
        if (!replace_ || errno != EEXIST) return failure("cannot create");
        const std::string temporary = path_ + "." + std::to_string(::getpid()) + ".part";
        if (::linkat(AT_FDCWD, entry.c_str(), AT_FDCWD, temporary.c_str(), AT_SYMLINK_FOLLOW) != 0)
            return failure("cannot create");
        temporary_path_ = temporary;
    }
    // Without leave to replace, the name may have been taken since create(): the host decides in one step.
    const unsigned how = replace_ ? 0 : RENAME_NOREPLACE;
    if (::renameat2(AT_FDCWD, temporary_path_.c_str(), AT_FDCWD, path_.c_str(), how) != 0)
        return failure("cannot put the finished file in place");
    temporary_path_.clear();
    return {};
}

NewFile::~NewFile() {
    if (!temporary_path_.empty()) ::unlink(temporary_path_.c_str());
    if (descriptor_ >= 0) ::close(descriptor_);
}

bool same_file(const std::string& first, const std::string& second) {
    struct stat one {
    }, other{};
    return ::stat(first.c_str(), &one) == 0 && ::stat(second.c_str(), &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

std::optional<i64> time_of_change(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return {};
    return status.st_mtime;
}

std::string size_for_people(u64 bytes) {
    constexpr std::array<const char*, 4> kUnits = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < kKiB) return std::to_string(bytes) + " bytes";
    double value = static_cast<double>(bytes) / kKiB;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    char text[32];
    std::snprintf(text, sizeof text, "%.4g %s", value, kUnits[unit]);
    return text;
}

}  // namespace lodge
