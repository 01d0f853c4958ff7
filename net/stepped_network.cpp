#include "net/stepped_network.h"

#include <algorithm>
#include <ctime>

namespace lodge {

void SteppedNetwork::connect(InputQueue& inputs, InputQueue::SourceId source, Scheduler& scheduler) {
    scheduler_ = &scheduler;
    feed_.emplace(inputs, source);
    step_.emplace(
        scheduler, "network", [this](u64) { step(); }, Event::Of::host);
    backend_->start({[this](std::span<const u8> frame) { feed_->deliver(frame); },
                     [this](bool plugged) { feed_->set_cable(plugged); }, [this] { return feed_->crowded(); },
                     [this] { return scheduler_->now(); }});
    arrange();
}

void SteppedNetwork::disconnect() {
    step_.reset();
    feed_.reset();
}

void SteppedNetwork::send(std::span<const u8> frame) {
    if (!feed_) return;
    backend_->from_guest(frame);
    feed_->flush();
    arrange();
}

void SteppedNetwork::taken(size_t bytes) {
    if (!feed_) return;
    feed_->taken(bytes);
    feed_->flush();
}

void SteppedNetwork::step() {
    const u64 spare = host_time_to_spare();
    polled_.clear();
    backend_->prepare(polled_);
    const timespec wait = {static_cast<time_t>(spare / kNanosecondsPerSecond),
                           static_cast<long>(spare % kNanosecondsPerSecond)};
    ppoll(polled_.data(), polled_.size(), &wait, nullptr);
    backend_->ready(polled_);
    feed_->flush();
    arrange();
}

// How far guest time has run ahead of the host's since the last step.
u64 SteppedNetwork::host_time_to_spare() {
    constexpr u64 kLongest = 100'000'000;
    const u64 guest = scheduler_->now(), host = GuestClock::host_now();
    const u64 guest_passed = guest - guest_before_, host_passed = host - host_before_;
    const bool ahead = guest_before_ != 0 && backend_->has_peers() && guest_passed > host_passed;
    const u64 spare = ahead ? std::min(guest_passed - host_passed, kLongest) : 0;
    guest_before_ = guest;
    host_before_ = host + spare;
    return spare;
}

void SteppedNetwork::arrange() {
    if (step_->pending()) return;
    polled_.clear();
    const int timeout = backend_->prepare(polled_);
    if (backend_->has_peers()) return step_->schedule_in(kStep);
    if (!polled_.empty()) return step_->schedule_in(kListeningStep);
    if (timeout >= 0) step_->schedule_in(std::max<u64>(1, static_cast<u64>(timeout)) * 1'000'000);
}

}  // namespace lodge
