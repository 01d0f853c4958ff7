// A network on the CPU thread, at instants of guest time: the driver for the virtual clock.
//
// A frame of the guest's goes to the backend when it is sent, and what the backend answers is an input of the next
// instruction. Descriptors are looked at every kStep of guest time while there are any. While somebody outside may have
// something to say, guest time does not run ahead of the host's: an idle guest would else be past its time-outs before
// a peer could answer.
#pragma once

#include <optional>

#include "net/network.h"

namespace lodge {

class SteppedNetwork final : public Network {
  public:
    static constexpr u64 kStep = 1'000'000;            // nanoseconds of guest time
    static constexpr u64 kListeningStep = 10'000'000;  // while only listening

    explicit SteppedNetwork(std::unique_ptr<NetworkBackend> backend) : backend_(std::move(backend)) {}

    void connect(InputQueue& inputs, InputQueue::SourceId source, Scheduler& scheduler) override;
    void disconnect() override;
    void send(std::span<const u8> frame) override;
    void taken(size_t bytes) override;

  private:
    void step();
    // When to look again, if at all.
    void arrange();
    u64 host_time_to_spare();

    std::unique_ptr<NetworkBackend> backend_;
    Scheduler* scheduler_ = nullptr;
    std::optional<CardFeed> feed_;
    std::optional<Event> step_;
    std::vector<pollfd> polled_;
    u64 guest_before_ = 0, host_before_ = 0;  // when guest time was last compared with the host's
};

}  // namespace lodge
