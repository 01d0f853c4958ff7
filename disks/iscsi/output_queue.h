// What a connection has to send: headers and runs of shared buffers, handed to writev without being copied.
#pragma once

#include <sys/uio.h>

#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "disks/iscsi/pdu.h"

namespace lodge::iscsi {

// Data that one or several PDUs carry.
using SharedBytes = std::shared_ptr<const std::vector<u8>>;

class OutputQueue {
  public:
    void set_digests(Digests digests) { digests_ = digests; }

    // Sets the header's DataSegmentLength; adds padding and digests. `length` bytes of `data` from `offset` on.
    void push(Header header, SharedBytes data, size_t offset, size_t length);
    void push(Header header) { push(header, nullptr, 0, 0); }
    void push(Header header, std::vector<u8> data);

    bool empty() const { return entries_.empty(); }
    size_t bytes() const { return bytes_; }
    // What comes first, in at most `into.size()` pieces; the number of pieces.
    size_t gather(std::span<iovec> into) const;
    void sent(size_t bytes);
    void clear();

  private:
    struct Entry {
        std::array<u8, kHeaderBytes + kDigestBytes> head{};
        u8 head_bytes = kHeaderBytes;
        u8 tail_bytes = 0;
        std::array<u8, 3 + kDigestBytes> tail{};  // padding and digest
        SharedBytes data;
        size_t offset = 0, length = 0;
        size_t bytes() const { return head_bytes + length + tail_bytes; }
    };
    Digests digests_;
    std::deque<Entry> entries_;
    size_t bytes_ = 0;
    size_t sent_ = 0;  // of the first entry
};

}  // namespace lodge::iscsi
