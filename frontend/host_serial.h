// The host's side of a serial or debug port: where `--serial` and `--debugcon` lead.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/result.h"
#include "core/input_queue.h"
#include "devices/ports.h"
#include "devices/uart.h"

namespace lodge {

// Where the bytes go that somebody sends to a port of the host. From the port's thread.
class PortFeed {
  public:
    virtual ~PortFeed() = default;
    // How many bytes may be sent now.
    virtual size_t room() const = 0;
    virtual void send(std::vector<u8> bytes) = 0;
    // A client has connected, or gone.
    virtual void on_client(bool) {}
};

// The way from the host to a guest's serial port. Whoever sends asks for room first, so that a guest that does not read
// loses nothing: the host's sender waits instead. For one thread; queue and port outlive it.
class SerialFeed final : public PortFeed {
  public:
    SerialFeed(InputQueue& inputs, const Uart& uart) : inputs_(inputs), uart_(uart), sent_(uart.received_count()) {}

    size_t room() const override;
    void send(std::vector<u8> bytes) override;

  private:
    InputQueue& inputs_;
    const Uart& uart_;
    u64 sent_;
};

// A port of the host. All but `write` belong to the thread that made it.
class HostPort : public CharPort {
  public:
    // What the host has to say goes to `feed`, until another call; null: it is not asked for.
    virtual void connect(PortFeed*) {}
    // The run is to end, whatever the host's reader does: from now on nobody waits for one that does not read.
    virtual void abandon() {}
};

// A CharPort that hands bytes to a thread of its own, so that a slow terminal or pipe does not stop the guest. When
// kMostWaiting bytes wait, the guest does wait: nothing is dropped, unless the port is abandoned.
class AsyncWriter final : public HostPort {
  public:
    // Writes to `descriptor`, which stays the caller's unless `owned`.
    AsyncWriter(int descriptor, bool owned);
    // Writes what waits, then ends. Once abandoned it waits a moment at most.
    ~AsyncWriter() override;

    void write(std::span<const u8> bytes) override;
    void abandon() override;

  private:
    static constexpr size_t kMostWaiting = 1 << 20;
    void run();
    void write_all(std::span<const u8> bytes);
    // Waits until the descriptor takes a part. False: it never will, or not soon enough.
    bool wait_for_room();

    int descriptor_;
    bool owned_;
    int abandoned_;  // an eventfd: readable once the port is abandoned
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<u8> waiting_;    // under mutex_
    bool ending_ = false;        // under mutex_
    bool is_abandoned_ = false;  // under mutex_
    std::thread thread_;
};

// "stdio", "file:PATH", "unix:PATH", "tcp:HOST:PORT", "null" -> a port; null for "null". ErrorKind::usage for what
// cannot be; the error names `option`, the value and the reason.
Result<std::unique_ptr<HostPort>> open_host_port(const std::string& option, const std::string& value);

// The terminal on standard input in raw mode for as long as this lives; nothing when it is no terminal.
class RawTerminal {
  public:
    RawTerminal();
    ~RawTerminal();
    RawTerminal(const RawTerminal&) = delete;
    bool active() const { return active_; }

  private:
    struct Saved;
    std::unique_ptr<Saved> saved_;
    bool active_ = false;
};

}  // namespace lodge
