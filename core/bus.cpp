#include "core/bus.h"

#include <cstdio>

namespace lodge {

BusRange& BusRange::operator=(BusRange&& other) noexcept {
    if (this == &other) return *this;
    release();
    bus_ = std::exchange(other.bus_, nullptr);
    base_ = other.base_;
    return *this;
}

void BusRange::release() {
    if (bus_) bus_->release(base_);
    bus_ = nullptr;
}

Result<BusRange> Bus::claim(u64 base, u64 size, std::string name, BusRead read, BusWrite write,
                            RegisterTable registers) {
    char place[64];
    std::snprintf(place, sizeof place, " at %llX..%llX", static_cast<unsigned long long>(base),
                  static_cast<unsigned long long>(base + size - 1));
    if (size == 0 || base + (size - 1) < base)
        return Error{ErrorKind::usage, name_ + " range of " + name + place + " is empty or wraps"};
    const auto next = ranges_.lower_bound(base);
    if (next != ranges_.end() && next->first - base < size)
        return Error{ErrorKind::usage, name_ + " range of " + name + place + " overlaps " + next->second->name};
    if (next != ranges_.begin()) {
        const auto& [before, range] = *std::prev(next);
        if (base - before < range->size)
            return Error{ErrorKind::usage, name_ + " range of " + name + place + " overlaps " + range->name};
    }
    ranges_[base] = std::make_unique<Range>(Range{size, std::move(name), std::move(read), std::move(write), registers});
    forget();
    BusRange claimed;
    claimed.bus_ = this;
    claimed.base_ = base;
    return claimed;
}

void Bus::release(u64 base) {
    const auto found = ranges_.find(base);
    if (handlers_ > 0) released_.push_back(std::move(found->second));
    ranges_.erase(found);
    forget();
}

const Bus::Range* Bus::find(u64 address, u64& base) const {
    Found& found = found_[address % kFound];
    if (found.range && found.address == address) {
        base = found.base;
        return found.range;
    }
    auto next = ranges_.upper_bound(address);
    if (next == ranges_.begin()) return nullptr;
    --next;
    if (address - next->first >= next->second->size) return nullptr;
    base = next->first;
    found = {address, base, next->second.get()};
    return found.range;
}

void Bus::note_unclaimed(const char* what, std::set<u64>& noted, u64 address) {
    if (!log_.wants(LogChannel::bus, LogLevel::warning) || noted.size() >= kMostNoted) return;
    const u64 first = address & ~(noted_together_ - 1);
    if (!noted.insert(first).second) return;
    char others[64] = "";
    if (noted_together_ > 1)
        std::snprintf(others, sizeof others, "; others in %llX..%llX are not noted",
                      static_cast<unsigned long long>(first),
                      static_cast<unsigned long long>(first + noted_together_ - 1));
    log_.write(LogChannel::bus, LogLevel::warning, "%s of unclaimed %s %llX%s", what, name_.c_str(),
               static_cast<unsigned long long>(address), others);
}

u64 Bus::read_claims(u64 address, unsigned size) {
    u64 base = 0;
    const Range* range = find(address, base);
    if (range && address - base <= range->size - size && size <= range->size) {
        const InHandler in_handler(*this);
        return range->read(address - base, size);
    }
    if (size == 1) {
        note_unclaimed("read", noted_reads_, address);
        return 0xFF;
    }
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= (read_claims(address + i, 1) & 0xFF) << (8 * i);
    return value;
}

void Bus::write_claims(u64 address, unsigned size, u64 value) {
    u64 base = 0;
    const Range* range = find(address, base);
    if (range && address - base <= range->size - size && size <= range->size) {
        const InHandler in_handler(*this);
        range->write(address - base, size, value);
        return;
    }
    if (size == 1) {
        note_unclaimed("write", noted_writes_, address);
        return;
    }
    for (unsigned i = 0; i < size; ++i) write_claims(address + i, 1, (value >> (8 * i)) & 0xFF);
}

std::string Bus::name_at(u64 address) const {
    u64 base = 0;
    const Range* range = find(address, base);
    return range ? range->name : std::string();
}

std::optional<BusClaim> Bus::claim_at(u64 address) const {
    u64 base = 0;
    const Range* range = find(address, base);
    if (!range) return {};
    return BusClaim{base, range->size, range->name, range->registers};
}

void Bus::visit(const std::function<void(const BusClaim&)>& visit) const {
    for (const auto& [base, range] : ranges_) visit({base, range->size, range->name, range->registers});
}

}  // namespace lodge
