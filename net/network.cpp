#include "net/network.h"

#include "devices/ethernet.h"
#include "net/stepped_network.h"
#include "net/threaded_network.h"

namespace lodge {

bool CardFeed::has_room() const {
    // A loaded state may hold frames that were not sent here.
    const u64 taken = taken_.load(std::memory_order_acquire);
    return sent_ <= taken || sent_ - taken < kMostUnderWay;
}

void CardFeed::add(std::span<const u8> frame) {
    if (batch_.empty()) batch_.push_back(NetworkPort::kInputFrames);
    const size_t at = batch_.size();
    batch_.resize(at + 2);
    store(&batch_[at], static_cast<u16>(frame.size()));
    batch_.insert(batch_.end(), frame.begin(), frame.end());
    sent_ += frame.size();
}

void CardFeed::deliver(std::span<const u8> frame) {
    if (frame.size() < kEthernetHeader || frame.size() > NetworkPort::kMostFrame) return;
    if (waiting_.empty() && has_room()) return add(frame);
    if (waiting_bytes_ + frame.size() > kMostWaiting) return;
    waiting_.emplace_back(frame.begin(), frame.end());
    waiting_bytes_ += frame.size();
}

void CardFeed::flush() {
    while (!waiting_.empty() && has_room()) {
        add(waiting_.front());
        waiting_bytes_ -= waiting_.front().size();
        waiting_.pop_front();
    }
    if (batch_.empty()) return;
    inputs_.post(source_, std::move(batch_));
    batch_ = {};
}

void CardFeed::set_cable(bool plugged) {
    flush();
    inputs_.post(source_, {NetworkPort::kInputCable, static_cast<u8>(plugged)});
}

std::unique_ptr<Network> make_network(std::unique_ptr<NetworkBackend> backend, ClockMode clock) {
    if (clock == ClockMode::virtual_time) return std::make_unique<SteppedNetwork>(std::move(backend));
    return std::make_unique<ThreadedNetwork>(std::move(backend));
}

}  // namespace lodge
