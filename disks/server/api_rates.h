// What sessions move per second, over the last few seconds, from counts that only grow.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "disks/server/live.h"

namespace lodge::server {

struct Rates {
    double read_bytes = 0, written_bytes = 0, reads = 0, writes = 0;  // per second
};

// The arithmetic, without a clock of its own.
class RateWindow {
  public:
    using Seconds = std::chrono::duration<double>;

    // Counts of all sessions at an instant, later than the one before.
    void add(Seconds now, const std::vector<LiveSession>& sessions);
    // Over the samples of at most the last five seconds; zeros for a session that has only one.
    Rates of(const std::string& session) const;

  private:
    struct Sample {
        Seconds when{};
        std::map<std::string, Traffic> traffic;  // by session
    };
    std::deque<Sample> samples_;
};

// Takes a sample every second, on a thread of its own.
class RateMeter {
  public:
    explicit RateMeter(Live& live);
    ~RateMeter();
    Rates of(const std::string& session) const;

  private:
    void run();

    Live& live_;
    mutable std::mutex mutex_;
    RateWindow window_;
    bool stop_ = false;
    std::condition_variable wake_;
    std::thread thread_;
};

}  // namespace lodge::server
