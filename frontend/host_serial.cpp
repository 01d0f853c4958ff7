#include "frontend/host_serial.h"

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace lodge {

AsyncWriter::AsyncWriter(int descriptor, bool owned)
    : descriptor_(descriptor), owned_(owned), thread_([this] { run(); }) {}

AsyncWriter::~AsyncWriter() {
    {
        std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
    if (owned_) close(descriptor_);
}

void AsyncWriter::write(std::span<const u8> bytes) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_.size() < kMostWaiting; });
    waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
    lock.unlock();
    changed_.notify_all();
}

namespace {

// Everything, unless nobody reads any more.
void write_all(int descriptor, std::span<const u8> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
        if (written > 0) {
            bytes = bytes.subspan(static_cast<size_t>(written));
        } else if (errno == EAGAIN) {
            pollfd ready{descriptor, POLLOUT, 0};
            poll(&ready, 1, -1);
        } else if (errno != EINTR) {
            return;
        }
    }
}

}  // namespace

void AsyncWriter::run() {
    std::vector<u8> batch;
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
            if (waiting_.empty()) return;
            batch.swap(waiting_);
        }
        changed_.notify_all();
        write_all(descriptor_, batch);
        batch.clear();
    }
}

Result<std::unique_ptr<CharPort>> open_char_port(const std::string& option, const std::string& value) {
    if (value == "null") return std::unique_ptr<CharPort>();
    if (value == "stdio") return std::unique_ptr<CharPort>(std::make_unique<AsyncWriter>(STDOUT_FILENO, false));
    if (value.starts_with("file:")) {
        const std::string path = value.substr(5);
        const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (descriptor < 0)
            return Error{ErrorKind::usage,
                         option + " " + value + ": cannot write " + path + ": " + std::strerror(errno)};
        return std::unique_ptr<CharPort>(std::make_unique<AsyncWriter>(descriptor, true));
    }
    return Error{ErrorKind::usage, option + " " + value + ": not one of stdio, file:PATH, null"};
}

struct RawTerminal::Saved {
    termios settings;
};

RawTerminal::RawTerminal() : saved_(std::make_unique<Saved>()) {
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved_->settings) != 0) return;
    termios raw = saved_->settings;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST;  // lodge's own messages still want their line ends
    active_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

RawTerminal::~RawTerminal() {
    if (active_) tcsetattr(STDIN_FILENO, TCSANOW, &saved_->settings);
}

}  // namespace lodge
