#include "frontend/host_serial.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "frontend/host_socket.h"

namespace lodge {

namespace {

// A pipe that is ready takes this much without blocking (POSIX, PIPE_BUF).
constexpr size_t kPart = 4096;
// A guest writes a character at a time. The thread lets this much time pass after the first, so that a line costs a few
// system calls and wakes nobody's processor for every character.
constexpr std::chrono::milliseconds kGather(1);
// How long an abandoned port waits for a reader.
constexpr int kLastMilliseconds = 500;

}  // namespace

AsyncWriter::AsyncWriter(int descriptor, bool owned)
    : descriptor_(descriptor), owned_(owned), abandoned_(eventfd(0, EFD_CLOEXEC)), thread_([this] { run(); }) {}

AsyncWriter::~AsyncWriter() {
    {
        std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
    close(abandoned_);
    if (owned_) close(descriptor_);
}

void AsyncWriter::write(std::span<const u8> bytes) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_abandoned_ || waiting_.size() < kMostWaiting; });
    if (waiting_.size() >= kMostWaiting) return;
    const bool asleep = waiting_.empty();
    waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
    lock.unlock();
    if (asleep) changed_.notify_all();
}

void AsyncWriter::abandon() {
    {
        std::lock_guard lock(mutex_);
        is_abandoned_ = true;
    }
    changed_.notify_all();
    static_cast<void>(eventfd_write(abandoned_, 1));
}

bool AsyncWriter::wait_for_room() {
    pollfd sources[2] = {{descriptor_, POLLOUT, 0}, {abandoned_, POLLIN, 0}};
    while (!sources[0].revents && !sources[1].revents) poll(sources, 2, -1);
    if (!sources[0].revents) poll(sources, 1, kLastMilliseconds);
    return sources[0].revents & POLLOUT;
}

// Everything, unless nobody reads any more.
void AsyncWriter::write_all(std::span<const u8> bytes) {
    while (!bytes.empty() && wait_for_room()) {
        const ssize_t written = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kPart));
        if (written > 0)
            bytes = bytes.subspan(static_cast<size_t>(written));
        else if (errno != EINTR && errno != EAGAIN)
            return;
    }
}

void AsyncWriter::run() {
    std::vector<u8> batch;
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
            changed_.wait_for(lock, kGather, [this] { return ending_ || waiting_.size() >= kPart; });
            if (waiting_.empty()) return;
            batch.swap(waiting_);
        }
        changed_.notify_all();
        write_all(batch);
        batch.clear();
    }
}

size_t SerialFeed::room() const {
    const u64 received = uart_.received_count();
    // More may have been received than was sent here, if somebody else sends, too.
    const u64 under_way = sent_ > received ? sent_ - received : 0;
    const u64 taken = under_way + uart_.waiting();
    return taken < Uart::kBacklog ? static_cast<size_t>(Uart::kBacklog - taken) : 0;
}

void SerialFeed::send(std::vector<u8> bytes) {
    sent_ += bytes.size();
    inputs_.post(uart_.input_source(), std::move(bytes));
}

namespace {

Result<std::unique_ptr<HostPort>> make_host_port(const std::string& value) {
    if (value == "null") return std::unique_ptr<HostPort>();
    if (value == "stdio") return std::unique_ptr<HostPort>(std::make_unique<AsyncWriter>(STDOUT_FILENO, false));
    if (value.starts_with("unix:")) return SocketPort::listen_unix(value.substr(5));
    if (value.starts_with("tcp:")) return SocketPort::listen_tcp(value.substr(4));
    if (!value.starts_with("file:"))
        return Error{ErrorKind::usage, "not one of stdio, file:PATH, unix:PATH, tcp:HOST:PORT, null"};
    const std::string path = value.substr(5);
    const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor < 0) return Error{ErrorKind::usage, "cannot write " + path + ": " + std::strerror(errno)};
    return std::unique_ptr<HostPort>(std::make_unique<AsyncWriter>(descriptor, true));
}

}  // namespace

Result<std::unique_ptr<HostPort>> open_host_port(const std::string& option, const std::string& value) {
    auto port = make_host_port(value);
    if (!port) return Error{port.error().kind, option + " " + value + ": " + port.error().context};
    return port;
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
