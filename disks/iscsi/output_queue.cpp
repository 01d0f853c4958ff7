#include "disks/iscsi/output_queue.h"

#include <cassert>

#include "disks/iscsi/crc32c.h"

namespace lodge::iscsi {

void OutputQueue::push(Header header, SharedBytes data, size_t offset, size_t length) {
    assert(length == 0 || (data && offset + length <= data->size()));
    header.set_data_bytes(static_cast<u32>(length));
    Entry& entry = entries_.emplace_back();
    std::memcpy(entry.head.data(), header.bytes().data(), kHeaderBytes);
    if (digests_.header) {
        store(&entry.head[kHeaderBytes], crc32c(header.bytes()));
        entry.head_bytes = kHeaderBytes + kDigestBytes;
    }
    if (length) {
        entry.tail_bytes = static_cast<u8>(align_up(length, 4) - length);
        if (digests_.data) {
            const u32 sum = crc32c(std::span(*data).subspan(offset, length));
            store(&entry.tail[entry.tail_bytes], crc32c(std::span(entry.tail).first(entry.tail_bytes), sum));
            entry.tail_bytes = static_cast<u8>(entry.tail_bytes + kDigestBytes);
        }
        entry.data = std::move(data);
        entry.offset = offset;
        entry.length = length;
    }
    bytes_ += entry.bytes();
}

void OutputQueue::push(Header header, std::vector<u8> data) {
    const size_t length = data.size();
    push(header, std::make_shared<const std::vector<u8>>(std::move(data)), 0, length);
}

size_t OutputQueue::gather(std::span<iovec> into) const {
    size_t count = 0;
    size_t skip = sent_;
    const auto add = [&](const u8* bytes, size_t length) {
        const size_t skipped = std::min(skip, length);
        skip -= skipped;
        if (length == skipped) return;
        // writev only reads them.
        into[count++] = {const_cast<u8*>(bytes) + skipped, length - skipped};
    };
    for (const Entry& entry : entries_) {
        if (count + 3 > into.size()) break;
        add(entry.head.data(), entry.head_bytes);
        if (entry.length) add(entry.data->data() + entry.offset, entry.length);
        add(entry.tail.data(), entry.tail_bytes);
    }
    return count;
}

void OutputQueue::sent(size_t bytes) {
    assert(bytes <= bytes_);
    bytes_ -= bytes;
    sent_ += bytes;
    while (!entries_.empty() && sent_ >= entries_.front().bytes()) {
        sent_ -= entries_.front().bytes();
        entries_.pop_front();
    }
}

void OutputQueue::clear() {
    entries_.clear();
    bytes_ = sent_ = 0;
}

}  // namespace lodge::iscsi
