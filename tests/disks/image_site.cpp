#include "tests/disks/image_site.h"

#include <unistd.h>

#include <algorithm>
#include <set>

namespace lodge::trial {

namespace {

constexpr u64 kSizeOfFile = ~u64{0};  // in place of a sector: the size is written on its own, too

}  // namespace

OpenOptions HostSite::options() {
    OpenOptions options;
    options.overlay_folder = folder_;
    options.open_file = [this](const std::string& path, FileAccess access) -> Result<std::unique_ptr<File>> {
        auto file = open_host_file(path, access);
        if (!file || access == FileAccess::read) return file;
        return wrap(std::move(*file));
    };
    return options;
}

Result<void> HostSite::make(const std::string& name, const Fill& fill) {
    auto made = NewFile::create(path_of(name), true);
    if (!made) return made.error();
    LODGE_TRY(fill(wrap((*made)->take_file())));
    return (*made)->commit();
}

void HostSite::remove(const std::string& name) {
    ::unlink(path_of(name).c_str());
}

bool HostSite::exists(const std::string& name) {
    return ::access(path_of(name).c_str(), F_OK) == 0;
}

void SparseBytes::read(u64 offset, std::span<u8> into) const {
    std::fill(into.begin(), into.end(), u8{0});
    const u64 end = offset + into.size();
    for (auto at = sectors_.lower_bound(offset / kSectorSize); at != sectors_.end(); ++at) {
        const u64 begin = at->first * kSectorSize;
        if (begin >= end) break;
        const u64 from = std::max(begin, offset), to = std::min(begin + kSectorSize, end);
        std::copy(at->second.begin() + static_cast<std::ptrdiff_t>(from - begin),
                  at->second.begin() + static_cast<std::ptrdiff_t>(to - begin),
                  into.begin() + static_cast<std::ptrdiff_t>(from - offset));
    }
}

void SparseBytes::write(u64 offset, std::span<const u8> from) {
    size_ = std::max(size_, offset + from.size());
    while (!from.empty()) {
        const u64 within = offset % kSectorSize;
        const size_t part = std::min<size_t>(kSectorSize - within, from.size());
        std::copy_n(from.begin(), part, sectors_[offset / kSectorSize].begin() + static_cast<std::ptrdiff_t>(within));
        from = from.subspan(part);
        offset += part;
    }
}

void SparseBytes::zero(u64 offset, u64 length) {
    const u64 end = offset + length;
    for (auto at = sectors_.lower_bound(offset / kSectorSize); at != sectors_.end();) {
        const u64 begin = at->first * kSectorSize;
        if (begin >= end) break;
        if (offset <= begin && begin + kSectorSize <= end) {
            at = sectors_.erase(at);
            continue;
        }
        const u64 from = std::max(begin, offset) - begin, to = std::min(begin + kSectorSize, end) - begin;
        std::fill(at->second.begin() + static_cast<std::ptrdiff_t>(from),
                  at->second.begin() + static_cast<std::ptrdiff_t>(to), u8{0});
        ++at;
    }
}

void SparseBytes::truncate(u64 size) {
    if (size < size_) zero(size, size_ - size);
    size_ = size;
}

Extent SparseBytes::extent(u64 offset) const {
    const auto at = sectors_.lower_bound(offset / kSectorSize);
    if (at == sectors_.end()) return {size_ - offset, true};
    const u64 begin = at->first * kSectorSize;
    if (begin > offset) return {std::min(begin, size_) - offset, true};
    return {std::min(begin + kSectorSize, size_) - offset, false};
}

class MemorySite::Handle final : public File {
  public:
    Handle(MemorySite& site, std::string name, std::shared_ptr<Stored> stored)
        : site_(site), name_(std::move(name)), stored_(std::move(stored)) {}

    const std::string& name() const override { return name_; }
    Result<u64> size() override { return stored_->now.size(); }
    Result<void> read(u64 offset, std::span<u8> into) override {
        if (offset + into.size() > stored_->now.size()) return Error{ErrorKind::io, name_ + ": read past the end"};
        stored_->now.read(offset, into);
        return {};
    }
    Result<void> write(u64 offset, std::span<const u8> from) override {
        return site_.change(*stored_, {Change::Kind::write, offset, from.size(), {from.begin(), from.end()}});
    }
    Result<void> truncate(u64 size) override { return site_.change(*stored_, {Change::Kind::truncate, size, 0, {}}); }
    Result<void> zero(u64 offset, u64 length, HostSpace) override {
        return site_.change(*stored_, {Change::Kind::zero, offset, length, {}});
    }
    Result<void> allocate(u64 size) override { return truncate(std::max(size, stored_->now.size())); }
    Result<void> sync() override {
        if (!site_.may_change()) return Error{ErrorKind::io, name_ + ": the host is gone"};
        for (const Change& change : stored_->unflushed) apply(stored_->flushed, change, [](u64) { return true; });
        stored_->unflushed.clear();
        return {};
    }
    Result<Extent> extent(u64 offset) override { return stored_->now.extent(offset); }
    Result<u64> host_space() override { return stored_->now.stored(); }

  private:
    MemorySite& site_;
    std::string name_;
    std::shared_ptr<Stored> stored_;
};

OpenOptions MemorySite::options() {
    OpenOptions options;
    options.overlay_folder = "/dev/shm";
    options.open_file = [this](const std::string& path, FileAccess) -> Result<std::unique_ptr<File>> {
        const auto found = files_.find(path);
        if (found == files_.end()) return Error{ErrorKind::not_found, path + ": no such file"};
        return std::unique_ptr<File>(std::make_unique<Handle>(*this, path, found->second));
    };
    return options;
}

Result<void> MemorySite::make(const std::string& name, const Fill& fill) {
    auto stored = std::make_shared<Stored>();
    auto handle = std::make_unique<Handle>(*this, path_of(name), stored);
    LODGE_TRY(fill(std::move(handle)));
    LODGE_TRY(Handle(*this, path_of(name), stored).sync());
    files_[path_of(name)] = std::move(stored);
    return {};
}

bool MemorySite::may_change() {
    if (changes_ >= last_change_) stopped_ = true;
    return !stopped_;
}

Result<void> MemorySite::change(Stored& stored, Change change) {
    if (!may_change()) return Error{ErrorKind::io, "the host is gone"};
    ++changes_;
    apply(stored.now, change, [](u64) { return true; });
    stored.unflushed.push_back(std::move(change));
    return {};
}

void MemorySite::apply(SparseBytes& bytes, const Change& change, const std::function<bool(u64 sector)>& keep) {
    if (change.kind == Change::Kind::truncate) {
        if (keep(kSizeOfFile)) bytes.truncate(change.offset);
        return;
    }
    for (u64 at = 0; at < change.length;) {
        const u64 offset = change.offset + at;
        const u64 part = std::min(kSectorSize - offset % kSectorSize, change.length - at);
        if (keep(offset / kSectorSize)) {
            if (change.kind == Change::Kind::write)
                bytes.write(offset, std::span(change.bytes).subspan(at, part));
            else if (offset < bytes.size())
                bytes.zero(offset, std::min(part, bytes.size() - offset));
        }
        at += part;
    }
}

std::unique_ptr<MemorySite> MemorySite::after_crash(Loss loss, std::mt19937& random) const {
    auto site = std::make_unique<MemorySite>();
    for (const auto& [path, stored] : files_) {
        auto left = std::make_shared<Stored>();
        left->now = loss == Loss::none ? stored->now : stored->flushed;
        if (loss == Loss::some) {
            // The host writes a sector as its cache has it at that moment: with all changes up to then, and none later.
            std::set<u64> written;
            const auto keep = [&](u64 sector) {
                return !written.contains(sector) && (random() % 2 == 0 || !written.insert(sector).second);
            };
            for (const Change& change : stored->unflushed) apply(left->now, change, keep);
        }
        left->flushed = left->now;
        site->files_[path] = std::move(left);
    }
    return site;
}

}  // namespace lodge::trial
