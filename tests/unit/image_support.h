// What the tests of disk images share: folders and files that vanish, data to recognise, a file that remembers what was
// done to it.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <variant>
#include <vector>

#include "disks/open_image.h"

namespace lodge::test {

class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string path = (std::filesystem::temp_directory_path() / "lodge-test.XXXXXX").string();
        REQUIRE(::mkdtemp(path.data()) != nullptr);
        path_ = path;
    }
    ~TemporaryFolder() { std::filesystem::remove_all(path_); }

    std::string operator/(const std::string& name) const { return (path_ / name).string(); }
    std::string path() const { return path_.string(); }
    size_t entries() const {
        return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
    }

  private:
    std::filesystem::path path_;
};

// The value, or a failed test that says why there is none.
template <class T>
T must(Result<T> result) {
    if (!result) FAIL(result.error().context);
    return std::move(*result);
}
inline void must(const Result<void>& result) {
    if (!result) FAIL(result.error().context);
}

inline std::unique_ptr<HostFile> memory_file(const std::string& name = "memory") {
    return must(HostFile::open_in_memory(name));
}

inline std::unique_ptr<HostFile> memory_file(std::span<const u8> content) {
    auto file = memory_file();
    must(file->write(0, content));
    return file;
}

inline std::vector<u8> content_of(File& file) {
    std::vector<u8> bytes(must(file.size()));
    must(file.read(0, bytes));
    return bytes;
}

inline std::vector<u8> content_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_content(const std::string& path, std::span<const u8> content) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
}

inline std::vector<u8> content_of(BlockDevice& device) {
    std::vector<u8> bytes(device.size());
    must(device.read(0, bytes));
    return bytes;
}

// Bytes that are never zero and tell where they were meant to be.
inline std::vector<u8> pattern(size_t length, u32 seed) {
    std::vector<u8> bytes(length);
    for (size_t i = 0; i < length; ++i) bytes[i] = static_cast<u8>((seed * 131 + i * 7 + i / 251) % 255 + 1);
    return bytes;
}

using SharedFile = BorrowedFile;

// A folder whose files are in memory. They may be opened any number of times.
class MemoryFolder {
  public:
    File& add(const std::string& path, std::span<const u8> content = {}) {
        files_[path] = memory_file(path);
        must(files_[path]->write(0, content));
        return *files_[path];
    }
    HostFile& at(const std::string& path) { return *files_.at(path); }
    std::map<std::string, std::unique_ptr<HostFile>>& files() { return files_; }

    Result<std::unique_ptr<File>> open(const std::string& path) {
        const auto found = files_.find(path);
        if (found == files_.end()) return Error{ErrorKind::not_found, path + ": no such file"};
        return std::unique_ptr<File>(std::make_unique<SharedFile>(*found->second));
    }
    OpenOptions options(ImageMode mode = ImageMode::read_only) {
        OpenOptions options;
        options.mode = mode;
        options.open_file = [this](const std::string& path, FileAccess) { return open(path); };
        return options;
    }

  private:
    std::map<std::string, std::unique_ptr<HostFile>> files_;
};

// One change to a file.
struct Change {
    enum class Kind { write, truncate, zero, sync } kind;
    u64 offset = 0;
    u64 length = 0;
    std::vector<u8> bytes;

    void apply_to(File& file) const {
        switch (kind) {
            case Kind::write:
                return must(file.write(offset, bytes));
            case Kind::truncate:
                return must(file.truncate(offset));
            case Kind::zero:
                return must(file.zero(offset, length, HostSpace::release));
            case Kind::sync:
                return;
        }
    }
};

// Remembers every change, and can refuse to make some.
class RecordingFile final : public SharedFile {
  public:
    RecordingFile(File& file, std::vector<Change>& changes, int& changes_until_failure)
        : SharedFile(file), changes_(changes), until_failure_(changes_until_failure) {}

    Result<void> write(u64 offset, std::span<const u8> from) override {
        LODGE_TRY(record({Change::Kind::write, offset, from.size(), {from.begin(), from.end()}}));
        return file_.write(offset, from);
    }
    Result<void> truncate(u64 size) override {
        LODGE_TRY(record({Change::Kind::truncate, size, 0, {}}));
        return file_.truncate(size);
    }
    Result<void> sync() override { return record({Change::Kind::sync, 0, 0, {}}); }
    Result<void> zero(u64 offset, u64 length, HostSpace space) override {
        LODGE_TRY(record({Change::Kind::zero, offset, length, {}}));
        return file_.zero(offset, length, space);
    }

  private:
    Result<void> record(Change change) {
        if (until_failure_ >= 0 && until_failure_-- == 0) return Error{ErrorKind::no_space, "the test's disk is full"};
        changes_.push_back(std::move(change));
        return {};
    }

    std::vector<Change>& changes_;
    int& until_failure_;  // negative: never
};

// An empty dynamic VHD in memory.
inline std::unique_ptr<HostFile> dynamic_vhd(u64 size, u32 block_size) {
    auto file = memory_file("test.vhd");
    CreateOptions options;
    options.size = size;
    options.block_size = block_size;
    must(finish_image(*must(create_image(std::make_unique<SharedFile>(*file), options))));
    return file;
}

inline OpenOptions for_writing() {
    OpenOptions options;
    options.mode = ImageMode::private_writes;
    return options;
}

inline std::unique_ptr<BlockDevice> open_shared(File& file, const OpenOptions& options = {}) {
    return must(open_image(std::make_unique<SharedFile>(file), options));
}

inline bool mentions(const Error& error, const std::string& text) {
    return error.context.find(text) != std::string::npos;
}

inline bool is_one_line(const Error& error) {
    return !error.context.empty() && error.context.find('\n') == std::string::npos;
}

}  // namespace lodge::test
