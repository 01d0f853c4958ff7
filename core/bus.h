// A space of addresses (I/O ports, or the memory-mapped part of the physical space) in which devices claim ranges.
// A device sees offsets into its range, never addresses. Overlapping claims are refused. An access that straddles the
// end of a range, or that no range holds, is taken apart into bytes; unclaimed bytes read FFh and are noted once for
// each address, or for each larger piece of the space: firmware and drivers look for ROMs over hundreds of KiB.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/log.h"
#include "core/base/result.h"
#include "core/memory/address_space.h"
#include "core/register_table.h"

namespace lodge {

using BusRead = std::function<u64(u64 offset, unsigned size)>;
using BusWrite = std::function<void(u64 offset, unsigned size, u64 value)>;

class Bus;

// One access, as the CPU or a device made it.
struct BusAccess {
    u64 address = 0;
    unsigned size = 0;  // 1, 2, 4 or 8
    bool write = false;
    u64 value = 0;  // read or written
};

// Sees every access when it has been made.
class BusObserver {
  public:
    virtual ~BusObserver() = default;
    virtual void on_access(const Bus& bus, const BusAccess& access) = 0;
};

// What is known of a claimed range.
struct BusClaim {
    u64 base = 0, size = 0;
    std::string_view name;
    RegisterTable registers;  // may be empty
};

// A claimed range. Giving it up (destruction) frees the addresses.
class BusRange {
  public:
    BusRange() = default;
    BusRange(BusRange&& other) noexcept { *this = std::move(other); }
    BusRange& operator=(BusRange&& other) noexcept;
    ~BusRange() { release(); }

    void release();
    bool claimed() const { return bus_ != nullptr; }
    u64 base() const { return base_; }

  private:
    friend class Bus;
    Bus* bus_ = nullptr;
    u64 base_ = 0;
};

class Bus final : public AddressSpace {
  public:
    // `name` for messages ("port", "memory"). The log outlives the bus. `noted_together` is a power of two: of each
    // aligned run of that many addresses only the first unclaimed read and the first unclaimed write are noted.
    Bus(Log& log, std::string name, u64 noted_together = 1)
        : log_(log), name_(std::move(name)), noted_together_(noted_together) {}

    // Claims [base, base+size). ErrorKind::usage when it overlaps another claim or wraps; naming both.
    // `registers` outlive the claim.
    Result<BusRange> claim(u64 base, u64 size, std::string name, BusRead read, BusWrite write,
                           RegisterTable registers = {});

    u64 read(u64 address, unsigned size) override {
        const u64 value = read_claims(address, size);
        if (!observers_.empty()) [[unlikely]]
            tell({address, size, false, value});
        return value;
    }
    void write(u64 address, unsigned size, u64 value) override {
        write_claims(address, size, value);
        if (!observers_.empty()) [[unlikely]]
            tell({address, size, true, value});
    }
    // As `read`, but no observer hears of it: for debuggers.
    u64 read_unobserved(u64 address, unsigned size) { return read_claims(address, size); }
    // Not from on_access.
    void add_observer(BusObserver& observer) { observers_.push_back(&observer); }
    void remove_observer(BusObserver& observer) { std::erase(observers_, &observer); }

    const std::string& name() const { return name_; }
    // The name of the range at that address, empty when there is none.
    std::string name_at(u64 address) const;
    // The claim that holds the address.
    std::optional<BusClaim> claim_at(u64 address) const;
    // Calls visit for every claim in order of addresses.
    void visit(const std::function<void(const BusClaim&)>& visit) const;

  private:
    friend class BusRange;
    struct Range {
        u64 size;
        std::string name;
        BusRead read;
        BusWrite write;
        RegisterTable registers;
    };
    u64 read_claims(u64 address, unsigned size);
    void write_claims(u64 address, unsigned size, u64 value);
    void tell(const BusAccess& access) {
        for (BusObserver* observer : observers_) observer->on_access(*this, access);
    }
    // The range that holds the address, and its base; null when none.
    const Range* find(u64 address, u64& base) const;
    void note_unclaimed(const char* what, std::set<u64>& noted, u64 address);

    static constexpr size_t kMostNoted = 4096;  // a guest must not make these sets grow without bound

    void release(u64 base);

    // While a handler runs: what it releases, its own range perhaps, lives on until the outermost one has returned.
    class InHandler {
      public:
        explicit InHandler(Bus& bus) : bus_(bus) { ++bus_.handlers_; }
        ~InHandler() {
            if (--bus_.handlers_ == 0 && !bus_.released_.empty()) bus_.released_.clear();
        }

      private:
        Bus& bus_;
    };

    // What `find` answered lately: guests poll the same few registers.
    struct Found {
        u64 address = 0, base = 0;
        const Range* range = nullptr;
    };
    static constexpr size_t kFound = 64;
    void forget() { found_.fill({}); }

    Log& log_;
    std::string name_;
    u64 noted_together_;
    std::set<u64> noted_reads_;  // first addresses of runs
    std::set<u64> noted_writes_;
    std::map<u64, std::unique_ptr<Range>> ranges_;
    mutable std::array<Found, kFound> found_;
    std::vector<BusObserver*> observers_;
    unsigned handlers_ = 0;
    std::vector<std::unique_ptr<Range>> released_;
};

}  // namespace lodge
