#include "disks/server/api_rates.h"

namespace lodge::server {

namespace {

constexpr RateWindow::Seconds kWindow{5};
constexpr std::chrono::seconds kPeriod{1};

}  // namespace

void RateWindow::add(Seconds now, const std::vector<LiveSession>& sessions) {
    Sample sample{now, {}};
    for (const LiveSession& each : sessions) sample.traffic[each.id] = each.traffic;
    samples_.push_back(std::move(sample));
    while (samples_.front().when < now - kWindow) samples_.pop_front();
}

Rates RateWindow::of(const std::string& session) const {
    if (samples_.empty()) return {};
    const Sample& last = samples_.back();
    const auto end = last.traffic.find(session);
    if (end == last.traffic.end()) return {};
    for (const Sample& each : samples_) {
        const auto begin = each.traffic.find(session);
        const double seconds = (last.when - each.when).count();
        if (begin == each.traffic.end() || seconds <= 0) continue;
        const auto per_second = [&](u64 Traffic::*count) {
            const u64 before = begin->second.*count, after = end->second.*count;
            return after < before ? 0 : static_cast<double>(after - before) / seconds;
        };
        return {per_second(&Traffic::read_bytes), per_second(&Traffic::written_bytes), per_second(&Traffic::reads),
                per_second(&Traffic::writes)};
    }
    return {};
}

RateMeter::RateMeter(Live& live) : live_(live), thread_([this] { run(); }) {}

RateMeter::~RateMeter() {
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

Rates RateMeter::of(const std::string& session) const {
    std::lock_guard lock(mutex_);
    return window_.of(session);
}

void RateMeter::run() {
    const auto began = std::chrono::steady_clock::now();
    std::unique_lock lock(mutex_);
    while (!stop_) {
        lock.unlock();
        const auto sessions = live_.sessions();
        lock.lock();
        window_.add(std::chrono::steady_clock::now() - began, sessions);
        wake_.wait_for(lock, kPeriod, [this] { return stop_; });
    }
}

}  // namespace lodge::server
