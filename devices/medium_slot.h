// The slot of a drive for removable media: what is in it changes while the machine runs, and always between two
// instructions, as an input (decision 2 of docs/architecture.md).
//
// The image itself cannot travel in an input: whoever inserts it leaves it with the slot, and the input says which one
// it was and how large. The drive's I/O goes through `disk()`, which stays the same object whatever is in the slot, so
// that a DiskQueue can be made for it once; the slot waits for that queue before it takes a medium away.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/base/log.h"
#include "core/base/state_io.h"
#include "core/input_queue.h"
#include "disks/block_device.h"

namespace lodge {

// The drive around a slot. All calls on the CPU thread.
class MediumDrive {
  public:
    virtual ~MediumDrive() = default;
    // The medium goes: afterwards no request for it may be on its way to the host.
    virtual void settle_medium() = 0;
    // Another medium is in the slot, or none any more.
    virtual void medium_changed() = 0;
    // The guest does not let it go.
    virtual bool medium_locked() const = 0;
    // Somebody has asked for a medium that is locked: the guest may want to know.
    virtual void eject_requested() = 0;
};

class MediumSlot {
  public:
    enum class Eject : u8 { ask, force };

    // `name` ("cdrom2") names the input source; `medium` is in the slot from the start, null for an empty one.
    MediumSlot(InputQueue& inputs, Log& log, std::string name, std::unique_ptr<BlockDevice> medium);
    MediumSlot(const MediumSlot&) = delete;
    MediumSlot& operator=(const MediumSlot&) = delete;

    // At construction time; the drive outlives every input that is applied.
    void connect(MediumDrive& drive) { drive_ = &drive; }

    // From any thread. What is in the slot is replaced, unless the guest has locked it: then the new medium is dropped.
    void insert(std::unique_ptr<BlockDevice> medium);
    // From any thread. A locked medium stays, and the drive is asked for it, unless by force.
    void eject(Eject how);

    // CPU thread.
    bool loaded() const { return disk_.medium != nullptr; }
    // Bytes; 0 when the slot is empty.
    u64 size() const { return loaded() ? disk_.medium->size() : 0; }
    bool write_protected() const { return loaded() && disk_.medium->read_only(); }
    const std::string& name() const { return name_; }
    // Fails all I/O while the slot is empty.
    BlockDevice& disk() { return disk_; }

    // Within the drive's section. Which media there are is no part of a state: a state with another medium in the slot
    // is refused.
    void state(StateIo& io);

  private:
    enum class Operation : u8 { insert, eject, force_eject };

    class Contents final : public BlockDevice {
      public:
        u64 size() const override { return medium ? medium->size() : 0; }
        bool read_only() const override { return !medium || medium->read_only(); }
        std::string describe() const override { return medium ? medium->describe() : "an empty drive"; }
        Result<void> read(u64 offset, std::span<u8> into) override;
        bool set_patience(Patience patience) override { return medium && medium->set_patience(patience); }
        Result<void> write(u64 offset, std::span<const u8> from) override;
        Result<void> flush() override;
        Result<void> discard(u64 offset, u64 length) override;
        Result<void> zero(u64 offset, u64 length) override;

        std::unique_ptr<BlockDevice> medium;
    };

    void post(Operation operation, u64 ticket, u64 size);
    void on_input(std::span<const u8> payload);
    std::unique_ptr<BlockDevice> collect(u64 ticket);
    void change(std::unique_ptr<BlockDevice> medium);

    InputQueue& inputs_;
    Log& log_;
    std::string name_;
    InputQueue::SourceId source_;
    Contents disk_;
    MediumDrive* drive_ = nullptr;

    std::mutex mutex_;
    u64 next_ticket_ = 1;                                    // under mutex_
    std::map<u64, std::unique_ptr<BlockDevice>> delivered_;  // under mutex_: by ticket, not yet in the slot
};

}  // namespace lodge
