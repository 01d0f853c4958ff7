// What a network card can be plugged into.
//
//   the card (CPU thread)  --send-->  Network  --frames-->  the host
//   the card  <--input queue--  CardFeed  <--frames--  the host
//
// A kind of network is a NetworkBackend: what to do with a guest's frame, which descriptors to wait for, what to do
// when they are ready. Two drivers run one. On the realtime clock it is ThreadedNetwork, with a thread of its own. On
// the virtual clock it is SteppedNetwork: everything happens on the CPU thread at instants of guest time, so that a
// backend that needs nobody outside the process answers the same way at the same instruction in every run.
//
// Nothing here grows without bound: what neither guest nor host takes in time is dropped, as by any Ethernet.
#pragma once

#include <poll.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/base/log.h"
#include "core/input_queue.h"
#include "core/scheduler.h"
#include "devices/ports.h"

namespace lodge {

// The way from a network to a card: frames as inputs. For one thread, but `taken`.
class CardFeed {
  public:
    // Bytes that may be under way to the card (less than its own backlog), and bytes that wait for that.
    static constexpr u64 kMostUnderWay = 128 * kKiB;
    static constexpr size_t kMostWaiting = 1 * kMiB;

    CardFeed(InputQueue& inputs, InputQueue::SourceId source) : inputs_(inputs), source_(source) {}

    // Takes a frame; it is dropped when too much waits, or when no card would take it. `flush` posts, as one input,
    // what there is room for.
    void deliver(std::span<const u8> frame);
    void flush();
    // Frames wait for the card to take others.
    bool crowded() const { return !waiting_.empty(); }
    bool has_room() const;
    void set_cable(bool plugged);

    // CPU thread: the card has taken so many of the bytes.
    void taken(size_t bytes) { taken_.fetch_add(bytes, std::memory_order_release); }

  private:
    void add(std::span<const u8> frame);

    InputQueue& inputs_;
    InputQueue::SourceId source_;
    std::vector<u8> batch_;
    std::deque<std::vector<u8>> waiting_;
    size_t waiting_bytes_ = 0;
    u64 sent_ = 0;  // bytes of frames
    std::atomic<u64> taken_ = 0;
};

// What a backend may ask of its driver; valid from `start` on.
struct NetworkHost {
    std::function<void(std::span<const u8> frame)> deliver;  // to the guest
    std::function<void(bool plugged)> set_cable;
    std::function<bool()> crowded;  // the guest does not keep up: what is delivered now may be dropped
    std::function<u64()> now;       // nanoseconds: the host's monotonic clock, or the guest's
};

// All calls on one thread but those of the constructor.
class NetworkBackend {
  public:
    virtual ~NetworkBackend() = default;
    virtual void start(const NetworkHost& host) = 0;
    virtual void from_guest(std::span<const u8> frame) = 0;
    // Adds what to wait for. Returns after how many milliseconds `ready` is to be called at the latest; -1: whenever.
    virtual int prepare(std::vector<pollfd>& wanted) = 0;
    // The descriptors that `prepare` has added, as poll left them.
    virtual void ready(std::span<const pollfd> polled) = 0;
    // Whether somebody outside may have something to say soon: guest time then does not run ahead of the host's.
    virtual bool has_peers() const = 0;
};

class Network : public NetworkPort {
  public:
    // The card is there: from now on frames go both ways. Once.
    virtual void connect(InputQueue& inputs, InputQueue::SourceId source, Scheduler& scheduler) = 0;
    // The machine is going away.
    virtual void disconnect() = 0;
};

std::unique_ptr<Network> make_network(std::unique_ptr<NetworkBackend> backend, ClockMode clock);

}  // namespace lodge
