// A SCSI command on its way between an initiator and a unit, with its data: immediate and unsolicited data, R2Ts,
// Data-In and its status. Source: RFC 7143 sections 11.3, 11.4, 11.7, 11.8.
//
// Data-Out comes in order (DataPDUInOrder and DataSequenceInOrder are always Yes), so what has arrived is told by one
// number. What comes before the unit wants it is kept; the initiator can send only what the negotiated FirstBurstLength
// allows, or what it was asked for.
#pragma once

#include <deque>
#include <optional>

#include "disks/iscsi/disk_unit.h"
#include "disks/iscsi/output_queue.h"

namespace lodge::iscsi {

class Connection;
class Session;

class Transfer final : public TaskOwner {
  public:
    Transfer(Session& session, Connection& connection, const Header& command);

    u32 tag() const { return tag_; }
    u64 lun() const { return lun_; }
    Connection& connection() const { return connection_; }
    scsi::TaskAttribute attribute() const { return command_.attribute; }
    // Bytes it may hold at a time.
    u64 cost() const { return std::min<u64>(expected_, DiskUnit::kChunk); }
    bool immediate() const { return immediate_; }
    // It has been given to the unit, which may have ended it since.
    bool begun() const { return unit_ != nullptr; }
    // It counts among the commands that its session may have.
    bool counts() const { return counts_; }
    void count_no_more() { counts_ = false; }

    // The data of the command itself, and of Data-Out PDUs.
    void take_immediate(std::span<const u8> data);
    void take(const Pdu& pdu);

    void begin(scsi::Unit& unit, scsi::Nexus nexus);
    void serve(scsi::Task& task) override;
    // There is room in the connection's output again.
    void go_on();
    // Nobody wants it any more: its unit forgets it. It is to be destroyed.
    void abandon();

  private:
    struct Burst {
        u32 target_tag;
        u32 length;
        u32 data_sn = 0;
    };
    struct Outcome {
        scsi::Status status = scsi::Status::good;
        scsi::Sense sense;
        u64 total_in = 0, total_out = 0, moved = 0;
    };

    scsi::Task* task() const { return task_ ? unit_->find(task_) : nullptr; }
    bool owed() const { return unsolicited_open_ || !asked_.empty(); }
    bool fits(const Pdu& pdu) const;
    void arrived(std::span<const u8> data);
    void count_off(const Header& header, u32 bytes);
    void give_early(scsi::Task& task);
    void ask(scsi::Task& task);
    void ask_more(scsi::Task& task);
    void fail(scsi::SenseCode code);

    void send(scsi::Task& task);
    void emit(bool with_status);
    void end(scsi::Task& task);
    void respond();
    u8 residual(Header& header, u8 flags) const;

    Session& session_;
    Connection& connection_;
    u32 tag_;
    u64 lun_;
    bool immediate_, reads_, writes_;
    u32 expected_;  // the initiator's count of bytes
    bool counts_ = true;
    scsi::Command command_;
    bool bad_attribute_ = false;

    scsi::Unit* unit_ = nullptr;
    u64 task_ = 0;

    // From the initiator.
    bool unsolicited_open_ = false;
    u32 unsolicited_sn_ = 0;
    bool discards_ = false;    // the command has failed; what is still owed is of no use
    u64 received_ = 0;         // bytes of data, from the beginning
    u64 requested_ = 0;        // up to where data has come or been asked for
    std::vector<u8> early_;    // what the unit has not wanted yet
    std::deque<Burst> asked_;  // R2Ts, the one that is being answered first
    u32 next_r2t_sn_ = 0;

    // To the initiator.
    SharedBytes held_;  // the last piece, kept back: it may carry the status
    size_t held_bytes_ = 0;
    u64 sent_ = 0;   // bytes before those that are held
    u32 burst_ = 0;  // of them, since the last PDU with F
    u32 next_data_sn_ = 0;
    bool waits_for_room_ = false;

    std::optional<Outcome> outcome_;
};

}  // namespace lodge::iscsi
