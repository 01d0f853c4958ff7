#include "net/threaded_network.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace lodge {

ThreadedNetwork::ThreadedNetwork(std::unique_ptr<NetworkBackend> backend)
    : backend_(std::move(backend)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

ThreadedNetwork::~ThreadedNetwork() {
    disconnect();
    close(wake_);
}

void ThreadedNetwork::connect(InputQueue& inputs, InputQueue::SourceId source, Scheduler&) {
    feed_.emplace(inputs, source);
    thread_ = std::thread([this] { run(); });
}

void ThreadedNetwork::disconnect() {
    if (!thread_.joinable()) return;
    {
        std::lock_guard lock(mutex_);
        ending_ = true;
    }
    wake();
    thread_.join();
}

void ThreadedNetwork::wake() {
    // Nothing to do about a failure: the counter is then full, and the thread awake.
    static_cast<void>(eventfd_write(wake_, 1));
}

void ThreadedNetwork::send(std::span<const u8> frame) {
    bool asleep = false;
    {
        std::lock_guard lock(mutex_);
        if (ending_ || from_guest_.size() + frame.size() > kMostFromGuest) return;
        asleep = from_guest_.empty();
        const size_t at = from_guest_.size();
        from_guest_.resize(at + sizeof(u32));
        store(&from_guest_[at], static_cast<u32>(frame.size()));
        from_guest_.insert(from_guest_.end(), frame.begin(), frame.end());
    }
    if (asleep) wake();
}

void ThreadedNetwork::taken(size_t bytes) {
    if (!feed_) return;
    feed_->taken(bytes);
    if (starved_.exchange(false)) wake();
}

// The thread's side.

void ThreadedNetwork::run() {
    backend_->start({[this](std::span<const u8> frame) { feed_->deliver(frame); },
                     [this](bool plugged) { feed_->set_cable(plugged); }, [this] { return feed_->crowded(); },
                     [] { return GuestClock::host_now(); }});
    for (;;) {
        take_from_guest();
        flush();
        polled_.assign(1, {wake_, POLLIN, 0});
        const int timeout = backend_->prepare(polled_);
        poll(polled_.data(), polled_.size(), timeout);
        eventfd_t unused;
        if (polled_[0].revents) static_cast<void>(eventfd_read(wake_, &unused));
        {
            std::lock_guard lock(mutex_);
            if (ending_) return;
        }
        backend_->ready(std::span<const pollfd>(polled_).subspan(1));
    }
}

void ThreadedNetwork::take_from_guest() {
    taken_from_guest_.clear();
    {
        std::lock_guard lock(mutex_);
        taken_from_guest_.swap(from_guest_);
    }
    for (std::span<const u8> left = taken_from_guest_; !left.empty();) {
        const u32 length = load<u32>(left.data());
        backend_->from_guest(left.subspan(sizeof(u32), length));
        left = left.subspan(sizeof(u32) + length);
    }
}

// Posts what the guest has room for, and sees to it that `taken` wakes the thread for the rest.
void ThreadedNetwork::flush() {
    for (;;) {
        feed_->flush();
        starved_ = feed_->crowded();
        // The guest may have taken the last of them before it could see that somebody waits.
        if (!feed_->crowded() || !feed_->has_room()) return;
    }
}

}  // namespace lodge
