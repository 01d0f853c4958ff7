// What the commands of `lodge disk` have in common: arguments, signals, progress, exit statuses.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "disks/copy_disk.h"
#include "disks/open_image.h"

namespace lodge {

// 0, or the exit status that says what kind of error it was; the error is on standard error.
int report(const Result<void>& result);

// N[K|M|G|T], in bytes or units of 1024, 1024^2, ... bytes.
Result<u64> parse_size(const std::string& text);

// Of the commands that read an image.
struct SourceArguments {
    std::string file;
    std::string format = "detect";
    std::string size_rule = "creator";

    void add_to(CLI::App& command, const std::string& name);
    // What is doubtful in a chain goes to standard error.
    Result<OpenOptions> options() const;
};

// Of the commands that make an image.
struct TargetArguments {
    std::string file;
    std::string type = "dynamic";
    std::string block_size;  // empty: the usual one

    void add_to(CLI::App& command, const std::string& name);
    Result<CreateOptions> options(u64 size) const;
    // Of a child of `parent`.
    Result<ChildOptions> child_options(const std::string& parent) const;

  private:
    Result<std::optional<u32>> parse_block_size() const;
};

// While it lives, the signals that ask the program to end wait, so that a command can leave no half target behind;
// then they have their usual effect.
class HeldSignals {
  public:
    HeldSignals();
    ~HeldSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    HeldSignals(const HeldSignals&) = delete;
    HeldSignals& operator=(const HeldSignals&) = delete;

    bool waiting() const;

  private:
    sigset_t ending_;
    sigset_t before_;
};

// A bar on standard error, where that is a terminal.
class ProgressBar {
  public:
    ~ProgressBar();
    void show(u64 done, u64 total);

  private:
    bool terminal_ = isatty(STDERR_FILENO);
    int shown_ = -1;
};

// Long work: a bar, and an end where a signal asks for it.
class Watched {
  public:
    CopyProgress progress() {
        return [this](u64 done, u64 total) {
            bar_.show(done, total);
            return !signals_.waiting();
        };
    }

  private:
    HeldSignals signals_;
    ProgressBar bar_;
};

}  // namespace lodge
