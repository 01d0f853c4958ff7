// The host's side of a serial or debug port: where `--serial` and `--debugcon` lead.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/result.h"
#include "devices/ports.h"

namespace lodge {

// A CharPort that hands bytes to a thread of its own, so that a slow terminal or pipe does not stop the guest. When
// kMostWaiting bytes wait, the guest does wait: nothing is dropped.
class AsyncWriter final : public CharPort {
  public:
    // Writes to `descriptor`, which stays the caller's unless `owned`.
    AsyncWriter(int descriptor, bool owned);
    // Writes what waits, then ends.
    ~AsyncWriter() override;

    void write(std::span<const u8> bytes) override;

  private:
    static constexpr size_t kMostWaiting = 1 << 20;
    void run();

    int descriptor_;
    bool owned_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<u8> waiting_;
    bool ending_ = false;
    std::thread thread_;
};

// "stdio", "file:PATH", "null" -> a port; null for "null". ErrorKind::usage for other words, io when the file cannot be
// made.
Result<std::unique_ptr<CharPort>> open_char_port(const std::string& option, const std::string& value);

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
