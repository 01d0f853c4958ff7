// A device on a parallel SCSI bus: speaks the bus's phases and messages on one side, and serves the tasks of its
// logical unit on the other, with its medium behind a DiskQueue. Sources: SCSI-2 clauses 6 and 7, SPI-3 clause 16.
//
// The target drives the phases. At each boundary between bytes it decides what comes next (`next`): message out if ATN
// is asserted, then what it has to say, then the command, the data, the status. Where the medium makes a task wait
// before its first byte or before its status, and IDENTIFY has allowed it, the target disconnects and reselects later;
// in the midst of data it keeps the bus. Every SAVE DATA POINTER is sent that an initiator may need.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/disk_queue.h"
#include "devices/platform.h"
#include "devices/scsi_bus.h"
#include "disks/scsi/target.h"

namespace lodge {

class ScsiTarget {
  public:
    // `unit` is LUN 0. `medium` holds what it reads and writes; null when it never asks. Platform, bus and medium
    // outlive the target. `name` is unique in its machine.
    ScsiTarget(const Platform& platform, ScsiBus& bus, std::string name, std::unique_ptr<scsi::Unit> unit,
               BlockDevice* medium);
    ScsiTarget(const ScsiTarget&) = delete;
    ScsiTarget& operator=(const ScsiTarget&) = delete;

    void reset();
    // In a section of its name.
    void state(StateIo& io);
    // Waits until nothing is on its way to the medium.
    void settle() {
        if (queue_) queue_->settle();
    }
    // Somebody has done something to the unit that may have made tasks ready.
    void unit_changed() { serve(); }

    // The bus's side.
    void selected(unsigned initiator, bool attention);
    void reselected();
    void bus_reset();
    void abandoned();

    // The connected initiator's side.
    ScsiPhase phase() const { return phase_; }
    // Whether a byte is asked for, or offered, in that phase.
    bool requesting() const { return requesting_ && !held_; }
    // What is at hand: bytes to take in a phase towards the initiator, room for bytes in the others. Not empty while it
    // is requesting.
    std::span<const u8> offered();
    std::span<u8> room();
    // That many bytes of them have travelled. `last`: of a message in, its acknowledgement is held back until
    // acknowledge(); of a message out, ATN falls before the last byte.
    void moved(size_t bytes, bool last);
    // ACK after the last byte of a message.
    void acknowledge();
    bool acknowledgement_held() const { return held_; }
    void set_attention(bool level);
    bool attention() const { return attention_; }

  private:
    static constexpr size_t kMostMessage = 260;
    static constexpr size_t kMostTasks = 64;
    // Task::owner_data: what has been moved since the last SAVE DATA POINTER; whether the initiator lets it disconnect.
    static constexpr u64 kUnsaved = 1, kMayDisconnect = 2;

    scsi::Unit& unit() { return units_.unit(lun_); }
    scsi::Task* current() { return task_ ? unit().find(task_) : nullptr; }

    void set_phase(ScsiPhase phase);
    void wait();
    void next();
    void next_of_task(scsi::Task& task);
    void wait_for_medium(scsi::Task& task);
    void let_go();

    void take_messages();
    size_t take_message(std::span<const u8> rest);
    size_t take_extended(std::span<const u8> rest);
    void say(std::initializer_list<u8> message) { messages_.insert(messages_.end(), message); }
    void end_connection();
    void take_command(size_t bytes);

    void serve();
    void serve_unit(scsi::Unit& unit);
    void serve_task(scsi::Unit& unit, scsi::Task& task);
    void drop(scsi::Unit& unit, scsi::Task& task);
    void begin_medium(scsi::Unit& unit, scsi::Task& task);
    void on_disk(DiskCompletion completion);
    void forget_all();
    void check_loaded(StateIo& io);

    ScsiBus& bus_;
    std::string name_;
    std::unique_ptr<scsi::Unit> unit_;
    scsi::Target units_;

    // The connection.
    ScsiPhase phase_ = ScsiPhase::command;
    bool requesting_ = false;
    bool held_ = false;
    bool attention_ = false;
    bool ending_ = false;         // bus free comes next, once everything is said
    bool disconnecting_ = false;  // and the task goes on later
    bool wants_command_ = false;
    u8 initiator_ = 0;
    u8 lun_ = 0;
    bool may_disconnect_ = false;
    scsi::TaskAttribute attribute_ = scsi::TaskAttribute::untagged;
    u8 tag_ = 0;
    u64 task_ = 0;              // the connected one's number in its unit; 0: none
    std::vector<u8> messages_;  // to the initiator
    std::vector<u8> received_;  // a message from it
    u32 received_bytes_ = 0;
    scsi::Cdb cdb_{};
    u32 cdb_bytes_ = 0;
    u8 status_ = 0;

    std::vector<u64> ready_;        // disconnected tasks that want the bus back, in order
    std::map<u64, u64> on_medium_;  // the disk queue's tags, and whose tasks they are

    std::unique_ptr<DiskQueue> queue_;  // last: its completions use all of the above
};

}  // namespace lodge
