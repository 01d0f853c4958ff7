// A logical unit: what every SCSI device has in common. Sources: SAM-4 (tasks, status), SPC-4 (commands of all types).
//
// It does no I/O, starts no thread and calls nobody (but keep_reservations). Its owner (a host adapter, an ATAPI drive,
// the iSCSI target) hands it commands and serves what their tasks ask for:
//
//     unit.submit(command);
//     while (Task* task = unit.take_ready())
//         switch (task->need()) {
//             case Task::Need::data_out:  // fill task->data_out(), now or when it comes; then unit.data_moved(*task,
//             n) case Task::Need::data_in:   // send task->data_in(); then unit.data_moved(*task, n) case
//             Task::Need::medium:    // do task->medium(), maybe on another thread; then unit.medium_done(*task, …)
//             case Task::Need::done:      // tell task->status() and sense(); then unit.retire(*task)
//             case Task::Need::aborted:   // forget it, and what comes of it later; then unit.retire(*task)
//         }
//
// take_ready gives each task once for each of its needs, in the order in which they came up; every call above may make
// others ready, so the loop runs after each of them. A task's data travels in pieces of at most
// UnitOptions::chunk_bytes: when the last byte of a piece has moved, the task goes on to its next need. All calls come
// from one thread at a time.
//
// Medium work of an aborted task may still be under way when the abort is answered. An owner that works in order (as
// DiskQueue does) is safe; one that works in parallel answers the abort only when that work has ended.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "disks/scsi/mode_pages.h"
#include "disks/scsi/reservations.h"
#include "disks/scsi/task.h"
#include "disks/scsi/task_set.h"

namespace lodge::scsi {

class Unit;

// A row of a unit's table of commands.
struct Operation {
    using Handler = void (Unit::*)(Task&);
    static constexpr u8 kNoServiceAction = 0xFF;

    // Flags.
    static constexpr u8 kDespiteAttention = 0x01;    // runs while a unit attention waits (SAM-4 5.14)
    static constexpr u8 kDespiteReservation = 0x02;  // never in conflict with a reservation
    static constexpr u8 kReads = 0x04;               // in conflict with exclusive access, not with exclusive writing
    static constexpr u8 kNeedsMedium = 0x08;         // fails while the unit is not ready
    static constexpr u8 kExclusive = 0x10;           // no other task runs meanwhile

    u8 code;
    u8 service_action;  // in bits 4:0 of byte 1
    u8 length;          // of the CDB
    u8 flags;
    Handler begin;
    Handler resume;            // when what the task needed is there; null: it then ends with GOOD
    std::array<u8, 15> usage;  // which bits of the CDB mean something, from byte 1 on
};

// For tables of classes derived from Unit. (g++ 12 does not take this cast for a constant, so they are const only.)
template <class Derived>
Operation::Handler handler(void (Derived::*function)(Task&)) {
    return static_cast<Operation::Handler>(function);
}

struct UnitIdentity {
    std::string vendor = "LODGE";  // at most 8 characters
    std::string product;           // at most 16
    std::string revision = "1.0";  // at most 4
    std::string serial;            // at most 32; makes the unit's designators, so it is unique
};

struct UnitOptions {
    u32 chunk_bytes = 256 * 1024;  // at most kMostMediumBytes, a multiple of 4096
    u32 most_tasks = 64;           // more of them end with TASK SET FULL; below TaskSet::kMostTasks
    bool parallel = false;         // on a parallel bus: INQUIRY tells of 16 bits and synchronous transfers
    // Sense data travels with the status (iSCSI); otherwise it waits for REQUEST SENSE.
    bool autosense = false;
};

// What is in the drive.
struct Medium {
    u64 bytes = 0;
    bool read_only = false;
};

class Unit {
  public:
    enum class Reset : u8 { power_on, bus, device };

    virtual ~Unit() = default;
    Unit(const Unit&) = delete;
    Unit& operator=(const Unit&) = delete;

    // The owner's loop; see above.
    Task& submit(const Command& command);
    Task* take_ready();
    // `bytes` of data_out() or data_in() have travelled; at most left_in_piece().
    void data_moved(Task& task, size_t bytes);
    void medium_done(Task& task, MediumResult result);
    void retire(Task& task);
    // Of that number; null when it has been retired.
    Task* find(u64 id) const { return tasks_.find(id); }
    size_t tasks() const { return tasks_.size(); }

    // Sense data as the Control mode page wants it, for an owner that sends it with the status.
    std::vector<u8> sense_bytes(const Sense& sense) const;
    // The transport failed the command: it ends with CHECK CONDITION, ABORTED COMMAND and this code.
    void abort_with(Task& task, SenseCode code);

    // Task management, SAM-4 clause 7. What is aborted comes out of take_ready with Need::aborted.
    // False: the nexus has no such task.
    bool abort_task(Nexus nexus, TaskAttribute attribute, u64 tag);
    void abort_task_set(Nexus nexus);
    void clear_task_set(Nexus nexus);
    // Aborts everything; settings and reservations go back to what they were at power-on.
    void reset(Reset kind);
    // The initiator port has gone: its tasks, its reservation, its sense. If it comes back it is told.
    void nexus_lost(Nexus nexus);
    // Forgets an initiator port that was lost and is not registered: if it comes back, it is a new one. False: it is
    // registered and stays.
    bool forget(Nexus nexus);
    // How an initiator port is called (SPC-4 7.6.4), for PERSISTENT RESERVE IN; without it the nexus's number is taken
    // for its address on a parallel bus.
    void set_transport_id(Nexus nexus, std::vector<u8> id) { nexus_state(nexus).transport_id = std::move(id); }
    // The other way round, for registrations that name other ports (SPEC_I_PT, REGISTER AND MOVE): the owner numbers a
    // port that it has not met yet, or has none for it. Without it: the ports whose TransportID has been set, and the
    // addresses of a parallel bus.
    void find_nexus_by(Reservations::NexusOf nexus_of) { nexus_of_ = std::move(nexus_of); }
    // Persistent reservations that outlast a loss of power (APTPL): `keep` is given what to keep, opaque bytes, and has
    // it in safety when it returns true. Without it APTPL is refused. What was kept is given back before the first
    // command, after find_nexus_by; false: it is damaged, or names ports that have no number.
    void keep_reservations(std::function<bool(std::span<const u8> kept)> keep) { keep_ = std::move(keep); }
    bool restore_reservations(std::span<const u8> kept);
    // What a target with several units has, for REPORT LUNS; in the form of SAM-4 4.6.7.
    void set_luns(std::vector<u64> luns) { luns_ = std::move(luns); }

    const std::optional<Medium>& medium() const { return medium_; }
    const UnitIdentity& identity() const { return identity_; }

    // The one walk, in a section of that name. What is on the medium is no part of it.
    void state(StateIo& io, std::string_view name);

  protected:
    Unit(DeviceType type, bool removable, UnitIdentity identity, UnitOptions options);

    // The commands of the derived class; they come before those that all units have.
    virtual std::span<const Operation> operations() const = 0;
    // Why commands that need the medium must fail now.
    virtual std::optional<Sense> not_ready() const;
    // Why this command fails whatever else holds, before any other check.
    virtual std::optional<Sense> refuses(u8) const { return std::nullopt; }
    // Whether it keeps unit attentions at all.
    virtual bool has_attentions() const { return true; }
    // INQUIRY: the vital product data pages beyond 00h, 80h and 83h: their codes, ascending, and the bytes from 4 on.
    virtual std::vector<u8> vital_page_codes() const { return {}; }
    virtual std::optional<std::vector<u8>> vital_page(u8) const { return std::nullopt; }
    // INQUIRY bytes 58 on: the standards it keeps to.
    virtual std::vector<u16> standards() const { return {}; }
    // MODE SENSE and MODE SELECT.
    virtual u8 mode_medium_type() const { return 0; }
    virtual u8 mode_device_parameter() const { return 0; }
    virtual std::vector<u8> block_descriptor(bool) const { return {}; }
    virtual std::optional<Sense> select_block_descriptor(std::span<const u8>, size_t) { return std::nullopt; }
    virtual void mode_changed() {}
    // On top of what reset() does.
    virtual void unit_reset(Reset) {}
    // In the section of the unit.
    virtual void unit_state(StateIo&) {}

    // What a handler does last: exactly one of these.
    void want_data_out(Task& task, size_t bytes);  // resume has them in buffer(task)
    void want_medium(Task& task, MediumRequest request, std::vector<u8> data = {});
    void offer_data_in(Task& task, std::vector<u8> data);
    void finish(Task& task, Status status = Status::good);
    void fail(Task& task, const Sense& sense);
    // Sends at most `allocation` bytes of it and ends. An empty answer ends at once.
    void reply(Task& task, std::vector<u8> data, u64 allocation);
    // For a parameter list of `length` bytes; false: the command has ended, as it is too long or the initiator sends
    // less.
    bool want_parameters(Task& task, u32 length, u32 most);

    // What has arrived from the initiator, or what the medium was read into.
    static std::vector<u8>& buffer(Task& task) { return task.buffer_; }
    static std::vector<u8> take_buffer(Task& task) { return std::move(task.buffer_); }
    static const Cdb& cdb(const Task& task) { return task.command_.cdb; }
    // Totals, when a command moves its data in several pieces: to be set before the first.
    static void set_total_in(Task& task, u64 bytes) { task.total_in_ = bytes; }
    static void set_total_out(Task& task, u64 bytes) { task.total_out_ = bytes; }
    // Of the last medium work. `failed_medium` ends the command when it failed.
    static MediumStatus medium_status(const Task& task) { return task.medium_status_; }
    static u64 extent_length(const Task& task) { return task.extent_length_; }
    static bool extent_zero(const Task& task) { return task.extent_zero_; }

    // A condition that every nexus, or every other one, is to be told of.
    void attention(SenseCode code);
    void attention_to_others(Nexus nexus, SenseCode code);
    void attention_to(Nexus nexus, SenseCode code);

    // RESERVE, RELEASE and PERSISTENT RESERVE, for the tables of types that have them; in unit_reservations.cpp.
    void reserve(Task& task);
    void release(Task& task);
    void persistent_reserve_in(Task& task);
    void persistent_reserve_out(Task& task);
    void persistent_reserve_out_end(Task& task);
    void carry_out_reservation(Task& task, const Reservations::Request& request);
    std::optional<Sense> parse_reservation_ports(std::span<const u8> list, Reservations::Request& request) const;
    std::vector<u8> transport_id_of(Nexus nexus) const;
    std::optional<Nexus> nexus_of(std::span<const u8> transport_id) const;

    void set_medium(std::optional<Medium> medium) { medium_ = medium; }
    ModePages& mode_pages() { return mode_pages_; }
    const ModePages& mode_pages() const { return mode_pages_; }
    // Whether any nexus wants the medium kept in the drive (PREVENT ALLOW MEDIUM REMOVAL), and the command itself.
    bool removal_prevented() const;
    const UnitOptions& options() const { return options_; }

  private:
    // What a unit keeps for each initiator port.
    struct NexusState {
        std::vector<SenseCode> attentions;  // each once, in order
        std::optional<Sense> sense;         // of the last command, for REQUEST SENSE
        bool prevents_removal = false;
        std::vector<u8> transport_id;  // the owner's to set again after loading a state
        void forget();
    };
    static constexpr u32 kMostNexuses = 65536;
    static constexpr size_t kMostAttentions = 16;
    static constexpr u32 kEchoBytes = 4096;

    const Operation* find_operation(const Cdb& cdb) const;
    bool knows_code(u8 code) const;
    NexusState& nexus_state(Nexus nexus);
    void begin(Task& task);
    bool refused(Task& task);
    void resume(Task& task);
    void make_ready(Task& task);
    void set_need(Task& task, Task::Need need);
    void abort(const std::function<bool(const Task&)>& condition);

    // The commands that all units have, in unit_commands.cpp.
    static std::span<const Operation> primary_operations();
    void test_unit_ready(Task& task);
    void request_sense(Task& task);
    void inquiry(Task& task);
    std::vector<u8> standard_inquiry() const;
    std::optional<std::vector<u8>> common_vital_page(u8 code) const;
    std::vector<u8> designators() const;
    void mode_select_6(Task& task);
    void mode_select_10(Task& task);
    void mode_select_end(Task& task);
    void mode_sense_6(Task& task);
    void mode_sense_10(Task& task);
    std::optional<std::vector<u8>> mode_data(Task& task, std::vector<u8> descriptor);
    void report_luns(Task& task);
    void report_operations(Task& task);
    void report_task_management(Task& task);
    void report_one_operation(Task& task);
    std::vector<const Operation*> all_operations() const;
    void prevent_allow_removal(Task& task);
    void send_diagnostic(Task& task);
    void receive_diagnostic(Task& task);
    void log_sense(Task& task);
    void read_buffer(Task& task);
    void write_buffer(Task& task);
    void write_buffer_end(Task& task);

    DeviceType type_;
    bool removable_;
    UnitIdentity identity_;
    UnitOptions options_;
    std::vector<u64> luns_{0};
    std::optional<Medium> medium_;
    ModePages mode_pages_;
    std::map<Nexus, NexusState> nexuses_;
    Reservations reservations_;
    Reservations::NexusOf nexus_of_;
    std::function<bool(std::span<const u8>)> keep_;
    std::vector<u8> echo_;  // WRITE BUFFER's, for READ BUFFER
    TaskSet tasks_;
    std::deque<Task*> ready_;
};

}  // namespace lodge::scsi
