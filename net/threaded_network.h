// A network on a thread of its own: the driver for the realtime clock.
#pragma once

#include <mutex>
#include <optional>
#include <thread>

#include "net/network.h"

namespace lodge {

class ThreadedNetwork final : public Network {
  public:
    // Bytes that may wait for the thread.
    static constexpr size_t kMostFromGuest = 4 * kMiB;

    explicit ThreadedNetwork(std::unique_ptr<NetworkBackend> backend);
    ~ThreadedNetwork() override;

    void connect(InputQueue& inputs, InputQueue::SourceId source, Scheduler& scheduler) override;
    void disconnect() override;
    void send(std::span<const u8> frame) override;
    void taken(size_t bytes) override;

  private:
    void run();
    void take_from_guest();
    void flush();
    void wake();

    std::unique_ptr<NetworkBackend> backend_;
    int wake_;
    std::optional<CardFeed> feed_;

    // The thread's.
    std::vector<u8> taken_from_guest_;
    std::vector<pollfd> polled_;

    std::atomic<bool> starved_ = false;  // frames wait for the guest to take others
    std::mutex mutex_;
    bool ending_ = false;         // under mutex_
    std::vector<u8> from_guest_;  // under mutex_: u32 length, frame, and so on
    std::thread thread_;          // last: it uses all of the above
};

}  // namespace lodge
