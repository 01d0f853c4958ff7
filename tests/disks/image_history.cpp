#include "tests/disks/image_history.h"

#include <algorithm>

#include "disks/check_image.h"
#include "disks/commit_image.h"
#include "disks/compact_image.h"
#include "disks/rebase_image.h"
#include "disks/resize_image.h"

namespace lodge::trial {

namespace {

bool go_on(u64, u64) {
    return true;
}

std::array<u8, 16> id_of(const std::string& name) {
    std::array<u8, 16> id{};
    std::copy_n(name.begin(), std::min(name.size(), id.size()), id.begin());
    return id;
}

template <class T>
T one_of(std::mt19937& random, std::initializer_list<T> values) {
    return *(values.begin() + static_cast<std::ptrdiff_t>(random() % values.size()));
}

}  // namespace

std::string Step::describe() const {
    static constexpr std::array<const char*, kKinds> kNames = {"write",  "zero",     "discard", "flush",
                                                               "reopen", "snapshot", "commit",  "drop",
                                                               "rebase", "compact",  "resize",  "check"};
    std::string text = kNames[static_cast<size_t>(kind)];
    if (length != 0) text += " " + std::to_string(length) + " at " + std::to_string(offset);
    if (kind == Kind::resize) text += " to " + std::to_string(size);
    if (kind == Kind::commit || kind == Kind::compact || kind == Kind::rebase)
        text += " level " + std::to_string(level);
    if (kind == Kind::rebase) text += new_base ? " onto a new base" : " onto level " + std::to_string(target);
    return text;
}

std::vector<u8> bytes_of(const Step& step) {
    std::vector<u8> bytes(step.length);
    if (step.value % 8 == 0) return bytes;  // zeros that are written
    for (size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<u8>((step.value * 131 + (step.offset + i) * 7 + i / 251) % 255 + 1);
    return bytes;
}

ChainShape::ChainShape(std::mt19937& random, const HistoryRules& rules) : rules_(rules) {
    const u64 size = (random() % (rules.most_size / kSectorSize) + 1) * kSectorSize;
    levels_.push_back({next_name(), size});
    ++made_;
    base_block_size_ = one_of<u32>(random, {512, 4096, 4096, 16384});
}

Step ChainShape::draw(std::mt19937& random) const {
    if (random() % 100 < rules_.structure_steps) return draw_structure(random);
    Step step;
    const u64 align = one_of<u64>(random, {1, 512, 512, 4096});
    step.offset = align_down(random() % size(), align);
    step.length = std::min(align_up(random() % 9000 + 1, align), size() - step.offset);
    step.value = static_cast<u32>(random());
    switch (random() % 16) {
        case 0:
        case 1:
            step.kind = Step::Kind::zero;
            break;
        case 2:
            step.kind = Step::Kind::discard;
            step.offset = align_down(step.offset, kSectorSize);
            step.length = std::min(align_up(step.length, kSectorSize), size() - step.offset);
            break;
        case 3:
        case 4:
            step = {Step::Kind::flush};
            break;
        case 5:
            step = {random() % 4 == 0 ? Step::Kind::reopen : Step::Kind::flush};
            break;
        default:
            step.kind = Step::Kind::write;
    }
    return step;
}

Step ChainShape::draw_structure(std::mt19937& random) const {
    constexpr size_t kMostLevels = 5;
    Step step;
    const size_t top = levels_.size() - 1;
    step.level = random() % levels_.size();
    step.block_size = one_of<u32>(random, {512, 4096, 4096, 16384});
    step.value = static_cast<u32>(random());
    switch (random() % 8) {
        case 0:
        case 1:
            if (levels_.size() < kMostLevels) {
                step.kind = Step::Kind::snapshot;
                step.name = next_name();
                return step;
            }
            [[fallthrough]];
        case 2:
            if (top_is_committed_ && levels_[top].size == levels_[top - 1].size) {
                step.kind = Step::Kind::drop;
                return step;
            }
            if (top == 0) break;
            step.kind = Step::Kind::commit;
            step.level = random() % 2 == 0 ? top : random() % top + 1;
            return step;
        case 3:
            if (top == 0) break;
            step.kind = Step::Kind::rebase;
            step.level = random() % top + 1;
            step.target = random() % step.level;
            step.new_base = random() % 4 == 0;
            step.name = next_name();
            step.size = (random() % (rules_.most_size / kSectorSize) + 1) * kSectorSize;
            return step;
        case 4:
        case 5:
            step.kind = Step::Kind::compact;
            return step;
        case 6:
            step.kind = Step::Kind::resize;
            step.size = (random() % (rules_.most_size / kSectorSize) + 1) * kSectorSize;
            return step;
        default:
            break;
    }
    return {Step::Kind::check};
}

void ChainShape::apply(const Step& step) {
    const auto level = levels_.begin() + static_cast<std::ptrdiff_t>(step.level);
    const bool harmless = step.kind == Step::Kind::flush || step.kind == Step::Kind::check;
    top_is_committed_ =
        (harmless && top_is_committed_) || (step.kind == Step::Kind::commit && step.level == levels_.size() - 1);
    switch (step.kind) {
        case Step::Kind::snapshot:
            levels_.push_back({step.name, size()});
            ++made_;
            break;
        case Step::Kind::commit:
            level[-1].size = std::max(level[-1].size, level->size);
            break;
        case Step::Kind::drop:
            levels_.pop_back();
            break;
        case Step::Kind::rebase:
            if (step.new_base) {
                levels_.erase(levels_.begin(), level);
                levels_.insert(levels_.begin(), {step.name, step.size});
                ++made_;
            } else {
                levels_.erase(levels_.begin() + static_cast<std::ptrdiff_t>(step.target) + 1, level);
            }
            break;
        case Step::Kind::resize:
            levels_.back().size = step.size;
            break;
        default:
            break;
    }
}

void DiskModel::keep_older(Possible& sector) {
    for (const Sector& value : sector.now)
        if (std::find(sector.older.begin(), sector.older.end(), value) == sector.older.end())
            sector.older.push_back(value);
}

void DiskModel::overwrite(u64 offset, std::span<const u8> bytes) {
    while (!bytes.empty()) {
        const u64 within = offset % kSectorSize;
        const size_t part = std::min<size_t>(kSectorSize - within, bytes.size());
        Possible& sector = sectors_[offset / kSectorSize];
        keep_older(sector);
        for (Sector& value : sector.now)
            std::copy_n(bytes.begin(), part, value.begin() + static_cast<std::ptrdiff_t>(within));
        std::sort(sector.now.begin(), sector.now.end());
        sector.now.erase(std::unique(sector.now.begin(), sector.now.end()), sector.now.end());
        bytes = bytes.subspan(part);
        offset += part;
    }
}

void DiskModel::apply(const Step& step) {
    switch (step.kind) {
        case Step::Kind::write:
            return overwrite(step.offset, bytes_of(step));
        case Step::Kind::zero:
            return overwrite(step.offset, std::vector<u8>(step.length));
        case Step::Kind::discard:
            for (u64 at = step.offset / kSectorSize; at < (step.offset + step.length) / kSectorSize; ++at) {
                keep_older(sectors_[at]);
                auto& now = sectors_[at].now;
                if (std::find(now.begin(), now.end(), Sector{}) == now.end()) now.push_back(Sector{});
            }
            return;
        case Step::Kind::resize:
            return sectors_.resize(step.size / kSectorSize);
        default:
            return;
    }
}

void DiskModel::forget_older() {
    for (Possible& sector : sectors_) sector.older.clear();
}

std::string DiskModel::compare(std::span<const u8> disk, bool after_crash) const {
    if (disk.size() != size())
        return "the disk has " + std::to_string(disk.size()) + " bytes, not " + std::to_string(size());
    for (size_t i = 0; i < sectors_.size(); ++i) {
        const u8* actual = disk.data() + i * kSectorSize;
        const auto equals = [&](const Sector& value) { return std::equal(value.begin(), value.end(), actual); };
        const auto& [now, older] = sectors_[i];
        if (std::any_of(now.begin(), now.end(), equals)) continue;
        if (after_crash && std::any_of(older.begin(), older.end(), equals)) continue;
        return "sector " + std::to_string(i) + " begins with " + std::to_string(actual[0]) + ", not with " +
               std::to_string(now[0][0]);
    }
    return {};
}

void DiskModel::settle(std::span<const u8> disk) {
    for (size_t i = 0; i < sectors_.size(); ++i) {
        sectors_[i].now.resize(1);
        std::copy_n(disk.begin() + static_cast<std::ptrdiff_t>(i * kSectorSize), kSectorSize,
                    sectors_[i].now[0].begin());
    }
}

Result<void> HistoryRunner::make_base(const std::string& name, u64 size, u32 block_size, u32 value) {
    return site_.make(name, [&](std::unique_ptr<File> file) -> Result<void> {
        CreateOptions create;
        create.size = size;
        create.block_size = block_size;
        create.unique_id = id_of(name);
        auto device = create_image(std::move(file), create);
        if (!device) return device.error();
        // A base that a chain is put on has something of its own; the first one has not.
        if (value != 0) {
            Step content{Step::Kind::write, size / 4 / kSectorSize * kSectorSize, size / 3, value | 1};
            LODGE_TRY((*device)->write(content.offset, bytes_of(content)));
        }
        return finish_image(**device);
    });
}

Result<void> HistoryRunner::open() {
    OpenOptions options = site_.options();
    options.mode = ImageMode::private_writes;
    auto device = open_image(path(shape_.levels().size() - 1), options);
    if (!device) return device.error();
    device_ = std::move(*device);
    return {};
}

Result<void> HistoryRunner::start() {
    LODGE_TRY(make_base(shape_.levels()[0].name, shape_.size(), shape_.base_block_size(), 0));
    return open();
}

Result<void> HistoryRunner::make(const Step& step) {
    if (!device_) LODGE_TRY(open());
    switch (step.kind) {
        case Step::Kind::write:
            return device_->write(step.offset, bytes_of(step));
        case Step::Kind::zero:
            return device_->zero(step.offset, step.length);
        case Step::Kind::discard:
            return device_->discard(step.offset, step.length);
        case Step::Kind::flush:
            return device_->flush();
        default:
            device_.reset();
            return make_structure(step);
    }
}

Result<void> HistoryRunner::make_structure(const Step& step) {
    const OpenOptions options = site_.options();
    const size_t top = shape_.levels().size() - 1;
    switch (step.kind) {
        case Step::Kind::snapshot:
            return site_.make(step.name, [&](std::unique_ptr<File> file) -> Result<void> {
                LODGE_TRY(create_child(
                    *file, {site_.path_of(step.name), path(top), step.block_size, 0, id_of(step.name)}, options));
                return file->sync();
            });
        case Step::Kind::commit: {
            const auto done = commit_image(path(step.level), options, go_on, OtherChildren::spoil);
            return done ? Result<void>() : Result<void>(done.error());
        }
        case Step::Kind::drop:
            site_.remove(shape_.levels()[top].name);
            return {};
        case Step::Kind::rebase: {
            if (step.new_base) LODGE_TRY(make_base(step.name, step.size, step.block_size, step.value | 1));
            const std::string parent = step.new_base ? site_.path_of(step.name) : path(step.target);
            return rebase_image(path(step.level), parent, RebaseKind::keep_content, options, go_on);
        }
        case Step::Kind::compact: {
            const auto done = compact_image(path(step.level), options, go_on);
            return done ? Result<void>() : Result<void>(done.error());
        }
        case Step::Kind::resize:
            return resize_image(path(top), step.size, Shrinking::lose_data, options);
        case Step::Kind::check: {
            const auto reports = check_chain(path(top), options, false);
            if (!reports) return reports.error();
            for (const CheckReport& report : *reports)
                if (report.problem_count != 0) return Error{ErrorKind::bad_format, report.problems.front()};
            return {};
        }
        default:
            return {};
    }
}

Result<std::vector<u8>> HistoryRunner::read_disk() {
    if (!device_) LODGE_TRY(open());
    std::vector<u8> bytes(device_->size());
    LODGE_TRY(device_->read(0, bytes));
    return bytes;
}

std::string verify(Site& site, const std::string& name, const DiskModel& model, bool after_crash) {
    const std::string path = site.path_of(name);
    OpenOptions options = site.options();
    // It opens as it is; and a repair finds it in order, or puts it in order.
    for (const bool repair : {false, true}) {
        if (repair) {
            const auto reports = check_chain(path, options, true);
            if (!reports) return reports.error().context;
            for (const CheckReport& report : *reports)
                if (report.left != 0) return report.path + ": " + report.problems.front();
        }
        options.mode = repair ? ImageMode::private_writes : ImageMode::read_only;
        auto device = open_image(path, options);
        if (!device) return device.error().context;
        std::vector<u8> bytes((*device)->size());
        if (const auto read = (*device)->read(0, bytes); !read) return read.error().context;
        if (const std::string wrong = model.compare(bytes, after_crash); !wrong.empty()) return wrong;
    }
    return {};
}

}  // namespace lodge::trial
