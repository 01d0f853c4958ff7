// An initiator that speaks PDUs to a Service without sockets, one at a time: for tests.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "disks/iscsi/chap.h"
#include "disks/iscsi/service.h"
#include "disks/iscsi/text_keys.h"
#include "tests/iscsi/trial_directory.h"

namespace lodge::iscsi_test {

// What the target has sent.
struct Received {
    Header header;
    std::vector<u8> data;
    bool is(Opcode opcode) const { return header.opcode() == opcode; }
};

using Keys = std::map<std::string, std::string>;

// A service with its directory, and a clock that tests set.
struct Site {
    explicit Site(TargetOptions options = {}, Observer* observer = nullptr)
        : service(options, directory, observer, log, {fill, [] { return i64{1'800'000'000}; }}) {
        directory.names = {"iqn.2026-11.io.lodge:one", "iqn.2026-11.io.lodge:two"};
        directory.disk = disk;
    }
    static void fill(std::span<u8> bytes) {
        for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<u8>(37 * i + 11);
    }
    // Until nothing moves any more.
    void settle() {
        while (!service.work()) continue;
    }

    Log log;
    std::shared_ptr<Disk> disk = TrialDisk::in_memory(kMiB);
    TrialDirectory directory;
    Service service;
};

class Initiator {
  public:
    explicit Initiator(Site& site, std::string name = "iqn.2026-11.test:a", u16 isid = 1)
        : site_(site), name_(std::move(name)), isid_(isid), answers_(kMiB * 16) {
        open();
    }
    void open() { connection_ = site_.service.open("192.0.2.1:1000", "192.0.2.9:3260").id(); }
    // The connection breaks.
    void lose() {
        if (Connection* connection = this->connection()) site_.service.close(*connection, "connection lost");
        site_.settle();
    }
    Connection* connection() const { return site_.service.find_connection(connection_); }

    // Sends a PDU, and collects what comes back.
    void send(Header header, std::span<const u8> data = {}) {
        OutputQueue queue;
        queue.set_digests(digests);
        queue.push(header, {data.begin(), data.end()});
        std::vector<u8> bytes(queue.bytes());
        iovec pieces[3];
        const size_t count = queue.gather(pieces);
        size_t at = 0;
        for (size_t i = 0; i < count; at += pieces[i++].iov_len)
            std::memcpy(&bytes[at], pieces[i].iov_base, pieces[i].iov_len);
        if (damage) damage(bytes);
        send_bytes(bytes);
    }
    void send_bytes(std::span<const u8> bytes) {
        Connection* connection = this->connection();
        if (!connection) return;
        connection->input().arrived(bytes);
        connection->serve();
        site_.settle();
        if (reads) collect();
    }
    void collect() {
        Connection* connection = this->connection();
        while (connection && connection->has_output()) {
            iovec pieces[64];
            const size_t count = connection->output().gather(pieces);
            size_t bytes = 0;
            for (size_t i = 0; i < count; ++i) {
                const auto* from = static_cast<const u8*>(pieces[i].iov_base);
                wire_.insert(wire_.end(), from, from + pieces[i].iov_len);
                bytes += pieces[i].iov_len;
            }
            connection->output().sent(bytes);
            connection->sent();
            site_.settle();
        }
        answers_.set_digests(digests);
        answers_.arrived(wire_);
        while (const auto pdu = answers_.next()) {
            if (pdu->data_damaged) std::abort();
            received.push_back({pdu->header, {pdu->data.begin(), pdu->data.end()}});
        }
        answers_.keep();
        wire_.clear();
    }
    std::optional<Received> next() {
        collect();
        if (received.empty()) return std::nullopt;
        Received first = std::move(received.front());
        received.pop_front();
        if (first.header.opcode() != Opcode::data_in || (first.header.flags() & 1))
            stat_sn = first.header.get<u32>(24) + 1;
        return first;
    }

    // Login.

    Header login_header(u8 flags) const {
        Header header(Opcode::login, flags);
        header.set(0, static_cast<u8>(0x43));
        header.set(8, static_cast<u8>(0x80));
        header.set(12, isid_);
        header.set(14, tsih);
        header.set_initiator_tag(0x77);
        header.set(20, cid);
        header.set(24, command_sn);
        return header;
    }
    std::optional<Received> login_step(u8 flags, const Keys& keys) {
        std::vector<u8> text;
        for (const auto& [key, value] : keys) append_text(text, key, value);
        send(login_header(flags), text);
        return next();
    }
    Keys names(const std::string& target = "iqn.2026-11.io.lodge:one") const {
        return {{"InitiatorName", name_}, {"TargetName", target}, {"SessionType", "Normal"}};
    }
    // From the operational stage straight into the full feature phase.
    bool log_in(Keys more = {}, const std::string& target = "iqn.2026-11.io.lodge:one") {
        Keys keys = names(target);
        if (target.empty()) {
            keys.erase("TargetName");
            keys["SessionType"] = "Discovery";
        }
        keys.merge(more);
        const auto answer = login_step(0x87, keys);
        if (!answer || answer->header.get<u16>(36) != 0) return false;
        tsih = answer->header.get<u16>(14);
        answered = keys_of(answer->data);
        digests = {answered["HeaderDigest"] == "CRC32C", answered["DataDigest"] == "CRC32C"};
        return true;
    }
    static Keys keys_of(const std::vector<u8>& text) {
        Keys keys;
        for (const TextPair& pair : parse_text(text).value_or(std::vector<TextPair>{})) keys[pair.key] = pair.value;
        return keys;
    }

    // Full feature phase.

    Header request(Opcode opcode, u8 flags, bool immediate = false) {
        Header header(opcode, flags);
        if (immediate) header.set(0, static_cast<u8>(static_cast<u8>(opcode) | 0x40));
        header.set_initiator_tag(++tag);
        header.set_target_tag(kNoTag);
        header.set(24, immediate ? command_sn : command_sn++);
        header.set(28, stat_sn);
        return header;
    }
    Header command(const std::vector<u8>& cdb, u8 flags, u32 expected, bool immediate = false) {
        Header header = request(Opcode::scsi_command, flags, immediate);
        header.set(20, expected);
        for (size_t i = 0; i < cdb.size(); ++i) header.set(32 + i, cdb[i]);
        return header;
    }
    Header data_out(const Header& command, u32 target_tag, u32 data_sn, u32 offset, bool final) const {
        Header header(Opcode::data_out, final ? 0x80 : 0);
        header.set_initiator_tag(command.initiator_tag());
        header.set_target_tag(target_tag);
        header.set(36, data_sn);
        header.set(40, offset);
        return header;
    }
    // Takes the unit attentions of a new session away.
    void make_ready() {
        for (int i = 0; i < 3; ++i) {
            send(command({0x00, 0, 0, 0, 0, 0}, 0x81, 0));
            next();
        }
    }
    // READ (10) of `count` blocks.
    static std::vector<u8> read_10(u32 lba, u16 count) { return ten(0x28, lba, count); }
    static std::vector<u8> write_10(u32 lba, u16 count) { return ten(0x2A, lba, count); }

    bool reads = true;  // it takes what is sent to it
    std::function<void(std::vector<u8>&)> damage;
    Digests digests;
    Keys answered;  // by the target in the login
    u16 tsih = 0, cid = 0;
    u32 command_sn = 100, stat_sn = 0, tag = 0;
    std::deque<Received> received;

  private:
    static std::vector<u8> ten(u8 code, u32 lba, u16 count) {
        std::vector<u8> cdb(10);
        cdb[0] = code;
        store_big_endian(&cdb[2], lba);
        store_big_endian(&cdb[7], count);
        return cdb;
    }

    Site& site_;
    std::string name_;
    u16 isid_;
    u64 connection_ = 0;
    PduStream answers_;
    std::vector<u8> wire_;
};

}  // namespace lodge::iscsi_test
