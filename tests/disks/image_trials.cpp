// Random histories of chains of images against a plain model.
//
//   lodge_image_trials random  [--operations N] [--seed S]   every step is compared with the model
//   lodge_image_trials crashes [--histories N]  [--seed S]   a crash at every write: of the process, and of the host
//   with
//                                                            some or all of what was not flushed lost
//   lodge_image_trials kills   [--kills N]      [--seed S]   a process that is killed by SIGKILL at a write
//
// Exit status 0, or 1 with the seed and the step where something was wrong.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "tests/disks/image_history.h"

using namespace lodge;
using namespace lodge::trial;

namespace {

struct Options {
    std::string_view what;
    u64 count = 0;
    u32 seed = 1;
    std::string folder = "/dev/shm";
};

bool fail(u32 seed, const std::string& where, const std::string& wrong) {
    std::fprintf(stderr, "seed %u, %s: %s\n", seed, where.c_str(), wrong.c_str());
    return false;
}

// --- random

// One chain for some thousand steps; `done` counts on.
bool random_history(u32 seed, u64 steps) {
    std::mt19937 random(seed);
    HistoryRules rules;
    ChainShape shape(random, rules);
    DiskModel model(shape.size());
    MemorySite site;
    HistoryRunner runner(site, shape);
    if (auto started = runner.start(); !started) return fail(seed, "start", started.error().context);
    for (u64 i = 0; i < steps; ++i) {
        const Step step = shape.draw(random);
        const std::string where = "step " + std::to_string(i) + ", " + step.describe();
        if (auto made = runner.make(step); !made) return fail(seed, where, made.error().context);
        model.apply(step);
        shape.apply(step);
        const bool data = step.kind == Step::Kind::write || step.kind == Step::Kind::zero;
        if (data && i % 16 != 0 && i + 1 < steps) continue;
        const auto disk = runner.read_disk();
        if (!disk) return fail(seed, where, disk.error().context);
        if (const std::string wrong = model.compare(*disk, false); !wrong.empty()) return fail(seed, where, wrong);
        model.settle(*disk);
        model.forget_older();
    }
    runner.close();
    const std::string wrong = verify(site, shape.levels().back().name, model, false);
    return wrong.empty() || fail(seed, "at the end", wrong);
}

bool random_trials(const Options& options) {
    constexpr u64 kStepsInHistory = 2000;
    for (u64 done = 0, history = 0; done < options.count; done += kStepsInHistory, ++history)
        if (!random_history(options.seed + static_cast<u32>(history), std::min(kStepsInHistory, options.count - done)))
            return false;
    std::printf("%llu operations, no difference\n", static_cast<unsigned long long>(options.count));
    return true;
}

// --- crashes

// What a history may have come to when it was cut: the step that was being made, and the disk before and after it.
struct Progress {
    explicit Progress(std::mt19937& random, const HistoryRules& rules) : shape(random, rules), model(shape.size()) {}

    ChainShape shape;
    DiskModel model;

    // Before a step is made: what it overwrites can still be there after a crash in it.
    void begin(const Step& step) {
        before_resize.clear();
        if (step.kind == Step::Kind::resize) before_resize.push_back(model);
        model.apply(step);
    }
    // After it: what is promised from now on.
    void end(const Step& step) {
        before_resize.clear();
        if (step.kind == Step::Kind::flush) model.forget_older();
        shape.apply(step);
    }
    std::string verify_after_crash(Site& site) const {
        const std::string name = shape.levels().back().name;
        std::string wrong = verify(site, name, model, true);
        if (!wrong.empty() && !before_resize.empty() && verify(site, name, before_resize[0], true).empty()) return {};
        return wrong;
    }

    std::vector<DiskModel> before_resize;  // none or one
};

HistoryRules crash_rules() {
    HistoryRules rules;
    rules.most_size = 40 * kKiB;
    rules.structure_steps = 25;
    return rules;
}

// Cuts the history after `changes` changes to files. Returns how many there were; 0 where something was wrong.
u64 crash_after(u32 seed, u64 steps, u64 changes) {
    std::mt19937 random(seed);
    Progress progress(random, crash_rules());
    MemorySite site;
    HistoryRunner runner(site, progress.shape);
    if (auto started = runner.start(); !started) return fail(seed, "start", started.error().context), 0;
    site.stop_after(changes);
    std::string where;
    for (u64 i = 0; i < steps; ++i) {
        const Step step = progress.shape.draw(random);
        where =
            "cut after " + std::to_string(changes) + " changes in step " + std::to_string(i) + ", " + step.describe();
        progress.begin(step);
        const auto made = runner.make(step);
        if (site.stopped()) break;
        if (!made) return fail(seed, where, made.error().context), 0;
        progress.end(step);
    }
    runner.close();
    using Loss = MemorySite::Loss;
    for (const Loss loss : {Loss::none, Loss::all, Loss::some, Loss::some}) {
        const std::string wrong = progress.verify_after_crash(*site.after_crash(loss, random));
        const char* kind = loss == Loss::none ? " (process)" : loss == Loss::all ? " (all lost)" : " (some lost)";
        if (!wrong.empty()) return fail(seed, where + kind, wrong), 0;
    }
    return site.changes();
}

bool crash_trials(const Options& options) {
    constexpr u64 kSteps = 60;
    u64 crashes = 0;
    for (u32 history = 0; history < options.count; ++history) {
        const u32 seed = options.seed + history;
        const u64 all = crash_after(seed, kSteps, ~u64{0});
        if (all == 0) return false;
        // The changes of start() come before any that can be cut.
        for (u64 changes = 0; changes < all; ++changes, ++crashes)
            if (crash_after(seed, kSteps, changes) == 0) return false;
    }
    std::printf("%llu crashes in %llu histories, four losses each: no flushed sector lost\n",
                static_cast<unsigned long long>(crashes), static_cast<unsigned long long>(options.count));
    return true;
}

// --- kills

// Ends the process in the middle of a write.
class KillingFile final : public File {
  public:
    KillingFile(std::unique_ptr<File> file, u64& left) : file_(std::move(file)), left_(left) {}
    const std::string& name() const override { return file_->name(); }
    Result<u64> size() override { return file_->size(); }
    Result<void> read(u64 offset, std::span<u8> into) override { return file_->read(offset, into); }
    Result<void> write(u64 offset, std::span<const u8> from) override {
        // A long write may be done in part, by whole sectors.
        const u64 middle = align_down(offset + from.size() / 2, kSectorSize);
        if (left_ == 0 && middle > offset) static_cast<void>(file_->write(offset, from.first(middle - offset)));
        count();
        return file_->write(offset, from);
    }
    Result<void> truncate(u64 size) override {
        count();
        return file_->truncate(size);
    }
    Result<void> sync() override {
        count();
        return {};  // the host goes on living
    }
    Result<void> zero(u64 offset, u64 length, HostSpace space) override {
        count();
        return file_->zero(offset, length, space);
    }
    Result<void> allocate(u64 size) override { return file_->allocate(size); }
    Result<Extent> extent(u64 offset) override { return file_->extent(offset); }
    Result<u64> host_space() override { return file_->host_space(); }

  private:
    void count() {
        if (left_-- == 0) ::kill(::getpid(), SIGKILL);
    }

    std::unique_ptr<File> file_;
    u64& left_;
};

class KillingSite final : public HostSite {
  public:
    KillingSite(std::string folder, u64 changes) : HostSite(std::move(folder)), left_(changes) {}

  private:
    std::unique_ptr<File> wrap(std::unique_ptr<File> file) override {
        return std::make_unique<KillingFile>(std::move(file), left_);
    }
    u64 left_;
};

// What the process that is killed tells the other, in shared memory.
struct Told {
    u64 steps_begun;
    u64 steps_ended;
};

constexpr u64 kStepsBeforeKill = 60;

[[noreturn]] void make_history_until_killed(u32 seed, const std::string& folder, u64 changes, Told& told) {
    std::mt19937 random(seed);
    Progress progress(random, crash_rules());
    KillingSite site(folder, changes);
    HistoryRunner runner(site, progress.shape);
    if (!runner.start()) ::_exit(1);
    for (u64 i = 0; i < kStepsBeforeKill; ++i) {
        const Step step = progress.shape.draw(random);
        told.steps_begun = i + 1;
        if (!runner.make(step)) ::_exit(1);
        progress.end(step);
        told.steps_ended = i + 1;
    }
    runner.close();
    ::_exit(0);
}

bool kill_once(u32 seed, const std::string& folder, u64 changes, Told& told) {
    told = {};
    const pid_t child = ::fork();
    if (child < 0) return fail(seed, "fork", "the host has no more processes");
    if (child == 0) make_history_until_killed(seed, folder, changes, told);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) return fail(seed, "history", "a step failed");
    std::mt19937 random(seed);
    Progress progress(random, crash_rules());
    HostSite site(folder);
    if (!site.exists(progress.shape.levels()[0].name)) return true;  // killed while the base was made
    std::string where = "killed at change " + std::to_string(changes);
    for (u64 i = 0; i < told.steps_begun; ++i) {
        const Step step = progress.shape.draw(random);
        progress.begin(step);
        if (i < told.steps_ended) progress.end(step);
        where = "killed at change " + std::to_string(changes) + ", step " + std::to_string(i) + ", " + step.describe();
    }
    // A drop that was cut may have removed the file already, and the name is the one below then.
    if (!site.exists(progress.shape.levels().back().name)) progress.shape.apply({Step::Kind::drop});
    const std::string wrong = progress.verify_after_crash(site);
    return wrong.empty() || fail(seed, where, wrong);
}

bool kill_trials(const Options& options) {
    std::string folder = options.folder + "/lodge-kills.XXXXXX";
    if (!::mkdtemp(folder.data())) return fail(options.seed, folder, "cannot be made");
    auto* told =
        static_cast<Told*>(::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    std::mt19937 random(options.seed);
    bool good = told != MAP_FAILED;
    for (u64 i = 0; good && i < options.count; ++i) {
        good = kill_once(options.seed + static_cast<u32>(i), folder, random() % 400, *told);
        if (!good) break;
        for (const auto& entry : std::filesystem::directory_iterator(folder)) std::filesystem::remove(entry.path());
    }
    if (!good) return std::fprintf(stderr, "the files are in %s\n", folder.c_str()), false;
    std::filesystem::remove_all(folder);
    std::printf("%llu kills: no flushed sector lost, every image opened\n",
                static_cast<unsigned long long>(options.count));
    return true;
}

int usage() {
    std::fprintf(stderr,
                 "usage: lodge_image_trials random|crashes|kills [--operations|--histories|--kills N] [--seed S] "
                 "[--folder F]\n");
    return 2;
}

}  // namespace

int main(int count, char** words) {
    if (count < 2 || count % 2 != 0) return usage();
    Options options{words[1]};
    options.count = options.what == "random" ? 100'000 : options.what == "crashes" ? 20 : 500;
    for (int i = 2; i + 1 < count; i += 2) {
        const std::string_view name = words[i];
        if (name == "--operations" || name == "--histories" || name == "--kills")
            options.count = std::strtoull(words[i + 1], nullptr, 10);
        else if (name == "--seed")
            options.seed = static_cast<u32>(std::strtoul(words[i + 1], nullptr, 10));
        else if (name == "--folder")
            options.folder = words[i + 1];
        else
            return usage();
    }
    if (options.what == "random") return random_trials(options) ? 0 : 1;
    if (options.what == "crashes") return crash_trials(options) ? 0 : 1;
    if (options.what == "kills") return kill_trials(options) ? 0 : 1;
    return usage();
}
