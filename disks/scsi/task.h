// A command on its way: what it wants next, and of whom. No I/O happens here; whoever owns the transport and the medium
// does what a task asks for and tells its unit (disks/scsi/unit.h has the loop).
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "core/base/state_io.h"
#include "core/base/types.h"
#include "disks/scsi/codes.h"
#include "disks/scsi/sense.h"

namespace lodge::scsi {

// An initiator port as one unit knows it. The owner numbers them: 0..15 on a parallel bus; one for each name of an
// initiator port (iSCSI: initiator name and ISID), the same number whenever that port comes back.
using Nexus = u32;

using Cdb = std::array<u8, 16>;

struct Command {
    static constexpr u64 kUnlimited = ~u64{0};

    Cdb cdb{};
    Nexus nexus = 0;
    u64 tag = 0;  // unique among the nexus's tasks; no meaning when untagged
    TaskAttribute attribute = TaskAttribute::simple;
    // How many bytes the initiator is willing to send (iSCSI's expected length). A write then moves the whole blocks
    // that fit; a parameter list that does not fit fails. A parallel bus asks for whatever the command wants.
    u64 most_out = kUnlimited;
    // How many bytes it is willing to take. A read then stops behind the block that has the last of them, and total_in
    // tells what there would have been.
    u64 most_in = kUnlimited;
};

enum class MediumOperation : u8 { read, write, flush, discard, zero, extent };

// Work on the medium, in bytes. A read or write has at most kMostMediumBytes, a discard or zero kMostMediumRange; an
// extent asks for the run that begins at `offset` (BlockDevice::extent).
struct MediumRequest {
    MediumOperation operation = MediumOperation::flush;
    u64 offset = 0;
    u64 length = 0;
};
constexpr u64 kMostMediumBytes = kMiB;
constexpr u64 kMostMediumRange = 64 * kMiB;

enum class MediumStatus : u8 { ok, failed, no_space };

// What came of it. A read gives exactly `length` bytes, an extent the run's length and whether it is known to be zeros.
struct MediumResult {
    MediumStatus status = MediumStatus::ok;
    std::vector<u8> data;
    u64 extent_length = 0;
    bool extent_zero = false;
};

struct Operation;

class Task {
  public:
    enum class Need : u8 {
        turn,      // it waits in its task set; nothing for the owner to do
        data_out,  // bytes from the initiator, into data_out()
        medium,    // medium(), with the bytes of medium_data() when it writes
        data_in,   // bytes for the initiator are in data_in()
        done,      // status() and sense(); the owner retires it
        aborted,   // nobody is to hear of it; the owner drops what it does for it and retires it
    };

    explicit Task(u64 id, const Command& command) : id_(id), command_(command) {}
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;

    // Its number among its unit's tasks, never used again.
    u64 id() const { return id_; }
    const Command& command() const { return command_; }
    Need need() const { return need_; }

    // How much the command moves in all: what it has offered or asked for so far and what is to come, known from the
    // first data_in or data_out on. Less is moved when it fails.
    u64 total_in() const { return total_in_; }
    u64 total_out() const { return total_out_; }
    // What the initiator's own count of bytes could be compared with: what was really moved.
    u64 moved() const { return moved_; }

    // The rest of the current piece, at most kMostMediumBytes. Unit::data_moved tells how much of it has travelled.
    std::span<u8> data_out();
    std::span<const u8> data_in() const { return std::span(buffer_).subspan(position_); }
    // The bytes of data_in(), for an owner that sends them later; all of the piece counts as there until it has moved.
    std::vector<u8> take_data_in();
    // How much is left of the current piece, without making room for it.
    size_t left_in_piece() const { return piece_ - position_; }

    const MediumRequest& medium() const { return medium_; }
    // What a write writes, medium().length bytes; the owner moves it out.
    std::vector<u8> take_medium_data();

    Status status() const { return status_; }
    const Sense& sense() const { return sense_; }

    // For the owner: a number of its own, saved with the task.
    u64 owner_data = 0;

    // For the class that carries the command out: where it stands.
    struct Work {
        u8 step = 0;           // the place at which it waits
        u64 offset = 0;        // bytes on the medium
        u64 left = 0;          // bytes to go
        u64 count = 0;         // what it likes to count
        bool through = false;  // flush before the end
        std::vector<u8> held;  // bytes put aside, at most kMostMediumBytes
        void state(StateIo& io);
    };
    Work work;

  private:
    friend class Unit;
    friend class TaskSet;

    // In the section that is open.
    void state(StateIo& io);

    u64 id_;
    Command command_;
    Need need_ = Need::turn;
    bool started_ = false;
    bool exclusive_ = false;  // as ordered, whatever its attribute: it reads and then writes
    bool listed_ = false;     // among those that wait for the owner's eye

    u64 total_in_ = 0, total_out_ = 0, moved_ = 0;
    std::vector<u8> buffer_;  // what travels between initiator, task and medium
    u32 piece_ = 0;           // bytes of the current data piece
    u32 position_ = 0;        // how much of it has travelled
    MediumRequest medium_;
    Status status_ = Status::good;
    Sense sense_;

    // The unit's notes.
    const Operation* operation_ = nullptr;
    MediumStatus medium_status_ = MediumStatus::ok;
    u64 extent_length_ = 0;
    bool extent_zero_ = false;
};

}  // namespace lodge::scsi
