// A session: an initiator port at a target. Keeps commands in the order of their CmdSN, however many connections they
// come on; knows the transfers under way; does task management. Source: RFC 7143 sections 4.2.2, 4.2.3, 11.5, 11.6.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "disks/iscsi/login.h"
#include "disks/iscsi/target.h"
#include "disks/iscsi/transfer.h"

namespace lodge::iscsi {

class Connection;
class Service;

class Session {
  public:
    static constexpr u32 kMostImmediate = 16;  // immediate SCSI commands under way

    // `attachment` is null in a discovery session.
    Session(Service& service, u64 id, u16 tsih, const LoginFacts& facts, std::unique_ptr<Attachment> attachment,
            i64 since);
    ~Session();

    u64 id() const { return info_.id; }
    u16 tsih() const { return tsih_; }
    const LoginFacts& facts() const { return facts_; }
    const Parameters& parameters() const { return facts_.parameters; }
    bool discovery() const { return facts_.discovery; }
    SessionInfo info() const;
    DiskUnit* disk_unit() const { return unit_; }

    const std::vector<Connection*>& connections() const { return connections_; }
    void add(Connection& connection);
    // Its commands end without an answer.
    void remove(Connection& connection);
    Connection* connection(u16 cid) const;

    // A request in the full feature phase that has a CmdSN.
    void receive(Connection& connection, const Pdu& pdu);
    void receive_data(const Connection& connection, const Pdu& pdu);
    u32 expected_command_sn() const { return expected_command_sn_; }
    u32 most_command_sn();

    // For transfers.
    void ended(Transfer& transfer);    // destroys it
    void uncount(Transfer& transfer);  // it is about to be answered
    void count_read(u64 bytes);
    void count_write(u64 bytes);
    void wake();
    Transfer* find(u32 tag) const;

    // The beginning of its end: all its commands are aborted.
    void close(std::string why, bool logged_out);
    bool closing() const { return closing_; }
    const std::string& end_reason() const { return end_reason_; }
    // Nothing of it is under way; it lets its disk go.
    void release();
    void feed();

  private:
    // A request before its turn.
    struct Early {
        Connection* connection = nullptr;  // null: nothing is to be done when its turn comes
        Header header;
        std::vector<u8> data;
    };

    bool in_window(u32 command_sn) const;
    void execute(Connection& connection, const Header& header, std::span<const u8> data);
    void execute_early();
    bool accept(Connection& connection, const Pdu& pdu);

    void start(Transfer& transfer);
    bool room_for(const Transfer& transfer) const;
    void begin(Transfer& transfer);

    enum class ManagementResponse : u8 {
        complete = 0,
        no_task = 1,
        no_lun = 2,
        reassign_not_supported = 4,
        not_supported = 5,
    };
    void manage(Connection& connection, const Header& header);
    ManagementResponse manage_lun(u8 function, u64 lun);
    ManagementResponse abort_task(const Header& header);
    // They end without an answer.
    void abandon(const std::function<bool(const Transfer&)>& which);

    Service& service_;
    u16 tsih_;
    LoginFacts facts_;
    SessionInfo info_;
    std::unique_ptr<Attachment> attachment_;
    std::shared_ptr<Disk> disk_;
    DiskUnit* unit_ = nullptr;
    scsi::Nexus nexus_ = 0;

    std::vector<Connection*> connections_;
    u32 expected_command_sn_;
    u32 most_command_sn_;
    std::map<u32, Early> early_;  // by CmdSN

    std::unordered_map<u32, std::unique_ptr<Transfer>> transfers_;  // by initiator task tag
    std::deque<u32> waiting_;  // transfers whose turn has come, without room for their data
    u32 active_ = 0;           // transfers that count against the window and have not been answered
    u32 immediate_ = 0;
    u64 held_bytes_ = 0;
    bool hungry_ = false;

    bool closing_ = false, logged_out_ = false;
    std::string end_reason_;
};

}  // namespace lodge::iscsi
