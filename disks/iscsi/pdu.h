// PDUs as bytes: the basic header segment with its fields, and the stream from a peer cut into PDUs. Source: RFC 7143
// section 11.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "core/base/types.h"

namespace lodge::iscsi {

constexpr size_t kHeaderBytes = 48;
constexpr size_t kDigestBytes = 4;
constexpr size_t kMostAdditionalBytes = 255 * 4;
constexpr u32 kNoTag = 0xFFFF'FFFF;

enum class Opcode : u8 {
    nop_out = 0x00,
    scsi_command = 0x01,
    task_management = 0x02,
    login = 0x03,
    text = 0x04,
    data_out = 0x05,
    logout = 0x06,
    snack = 0x10,
    nop_in = 0x20,
    scsi_response = 0x21,
    task_management_response = 0x22,
    login_response = 0x23,
    text_response = 0x24,
    data_in = 0x25,
    logout_response = 0x26,
    ready_to_transfer = 0x31,
    asynchronous_message = 0x32,
    reject = 0x3F,
};

// RFC 7143 11.17.1.
enum class RejectReason : u8 {
    data_digest = 0x02,
    protocol_error = 0x04,
    command_not_supported = 0x05,
    too_many_immediate_commands = 0x06,
    task_in_progress = 0x07,
    invalid_field = 0x09,
    long_operation = 0x0A,
};

// A header; fields that several PDUs share have names.
class Header {
  public:
    Header() = default;
    explicit Header(Opcode opcode, u8 flags = 0x80) {
        bytes_[0] = static_cast<u8>(opcode);
        bytes_[1] = flags;
    }
    explicit Header(std::span<const u8> bytes) { std::memcpy(bytes_.data(), bytes.data(), kHeaderBytes); }

    Opcode opcode() const { return static_cast<Opcode>(bytes_[0] & 0x3F); }
    bool immediate() const { return bytes_[0] & 0x40; }
    u8 flags() const { return bytes_[1]; }
    bool final() const { return bytes_[1] & 0x80; }
    size_t additional_bytes() const { return size_t{bytes_[4]} * 4; }
    u32 data_bytes() const { return load_big_endian<u32>(&bytes_[4]) & 0xFF'FFFF; }
    u64 lun() const { return get<u64>(8); }
    u32 initiator_tag() const { return get<u32>(16); }
    u32 target_tag() const { return get<u32>(20); }
    u32 command_sn() const { return get<u32>(24); }
    u32 expected_stat_sn() const { return get<u32>(28); }

    u8 byte(size_t at) const { return bytes_[at]; }
    template <class T>
    T get(size_t at) const {
        return load_big_endian<T>(&bytes_[at]);
    }
    template <class T>
    void set(size_t at, T value) {
        store_big_endian(&bytes_[at], value);
    }
    void set_flags(u8 flags) { bytes_[1] = flags; }
    void set_data_bytes(u32 count) { set<u32>(4, count | u32{bytes_[4]} << 24); }
    void set_initiator_tag(u32 tag) { set(16, tag); }
    void set_target_tag(u32 tag) { set(20, tag); }

    std::span<const u8, kHeaderBytes> bytes() const { return bytes_; }
    std::span<const u8> bytes(size_t at, size_t count) const { return std::span(bytes_).subspan(at, count); }

  private:
    std::array<u8, kHeaderBytes> bytes_{};
};

// Which PDUs carry digests, from the full feature phase on.
struct Digests {
    bool header = false;
    bool data = false;
};

struct Pdu {
    Header header;
    std::span<const u8> additional;  // additional header segments
    std::span<const u8> data;        // without padding
    bool data_damaged = false;       // its digest is wrong
};

// Cuts what arrives into PDUs, of which only the one that is not whole yet is kept here. Usage:
//
//     space() -> read(2) into it -> arrived(n) -> next() until it has none -> keep()
//
// The PDU that next() gives lies in the scratch buffer or here, and is good until the next call.
class PduStream {
  public:
    enum class Trouble : u8 { none, header_digest, too_long };

    // `most_data`: of a data segment; a PDU with more is Trouble::too_long, as nothing behind it can be found.
    explicit PduStream(u32 most_data) : most_data_(most_data) {}
    void set_digests(Digests digests) { digests_ = digests; }
    void set_most_data(u32 bytes) { most_data_ = bytes; }

    // Where bytes from the peer belong: the missing ones of the PDU that has begun, then the scratch buffer.
    std::array<std::span<u8>, 2> space(std::span<u8> scratch);
    void arrived(size_t bytes);
    // Bytes from elsewhere, instead of space() and arrived(). They stay where they are until keep().
    void arrived(std::span<const u8> bytes) { fresh_ = bytes; }
    // Nothing: no whole PDU is left, or there is trouble, after which there is nothing more to be had.
    std::optional<Pdu> next();
    Trouble trouble() const { return trouble_; }
    // Puts aside what next() has not given.
    void keep();
    size_t kept_bytes() const { return kept_.size() - kept_at_; }

  private:
    // How many bytes the PDU that `bytes` begin has, as far as they tell: at least one more than there are if it is not
    // whole.
    size_t needed(std::span<const u8> bytes);
    Pdu cut(std::span<const u8> bytes);
    std::span<const u8> kept() const { return std::span(kept_).subspan(kept_at_); }

    u32 most_data_;
    Digests digests_;
    Trouble trouble_ = Trouble::none;
    std::vector<u8> kept_;  // from kept_at_ on
    size_t kept_at_ = 0;
    size_t offered_ = 0;  // bytes that space() has added to kept_
    std::span<u8> scratch_;
    std::span<const u8> fresh_;  // what has arrived and is not in kept_
};

}  // namespace lodge::iscsi
