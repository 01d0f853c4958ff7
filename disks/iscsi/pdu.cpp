#include "disks/iscsi/pdu.h"

#include <algorithm>

#include "disks/iscsi/crc32c.h"

namespace lodge::iscsi {

std::array<std::span<u8>, 2> PduStream::space(std::span<u8> scratch) {
    scratch_ = scratch;
    offered_ = 0;
    const size_t have = kept().size();
    if (have == 0) return {std::span<u8>(), scratch};
    const size_t want = needed(kept());
    if (trouble_ != Trouble::none || want <= have) return {std::span<u8>(), scratch};
    offered_ = want - have;
    kept_.resize(kept_.size() + offered_);
    return {std::span(kept_).last(offered_), scratch};
}

void PduStream::arrived(size_t bytes) {
    const size_t into_kept = std::min(bytes, offered_);
    kept_.resize(kept_.size() - (offered_ - into_kept));
    offered_ = 0;
    fresh_ = std::span<const u8>(scratch_).first(bytes - into_kept);
}

size_t PduStream::needed(std::span<const u8> bytes) {
    if (bytes.size() < kHeaderBytes) return kHeaderBytes;
    const size_t additional = size_t{bytes[4]} * 4;
    const u32 data = load_big_endian<u32>(&bytes[4]) & 0xFF'FFFF;
    const size_t head = kHeaderBytes + additional;
    const size_t whole_head = head + (digests_.header ? kDigestBytes : 0);
    if (bytes.size() < whole_head) return whole_head;
    // A length is to be believed only once the header is known to be sound.
    if (digests_.header && crc32c(bytes.first(head)) != load<u32>(&bytes[head])) {
        trouble_ = Trouble::header_digest;
    } else if (data > most_data_) {
        trouble_ = Trouble::too_long;
    }
    const size_t padded = align_up(data, 4);
    return whole_head + padded + (digests_.data && data ? kDigestBytes : 0);
}

Pdu PduStream::cut(std::span<const u8> bytes) {
    Pdu pdu{.header = Header(bytes)};
    const size_t additional = pdu.header.additional_bytes();
    const size_t begin = kHeaderBytes + additional + (digests_.header ? kDigestBytes : 0);
    const u32 count = pdu.header.data_bytes();
    const size_t padded = align_up(count, 4);
    pdu.additional = bytes.subspan(kHeaderBytes, additional);
    pdu.data = bytes.subspan(begin, count);
    if (digests_.data && count)
        pdu.data_damaged = crc32c(bytes.subspan(begin, padded)) != load<u32>(&bytes[begin + padded]);
    return pdu;
}

std::optional<Pdu> PduStream::next() {
    if (trouble_ != Trouble::none) return std::nullopt;
    const bool from_kept = !kept().empty();
    while (true) {
        const std::span<const u8> bytes = from_kept ? kept() : fresh_;
        if (bytes.empty()) return std::nullopt;
        const size_t want = needed(bytes);
        if (trouble_ != Trouble::none) return std::nullopt;
        if (want <= bytes.size()) {
            if (from_kept) {
                kept_at_ += want;
            } else {
                fresh_ = fresh_.subspan(want);
            }
            return cut(bytes.first(want));
        }
        // What is fresh continues what was kept.
        if (!from_kept || fresh_.empty()) return std::nullopt;
        const size_t more = std::min(want - bytes.size(), fresh_.size());
        kept_.insert(kept_.end(), fresh_.begin(), fresh_.begin() + static_cast<long>(more));
        fresh_ = fresh_.subspan(more);
    }
}

void PduStream::keep() {
    if (kept_at_ == kept_.size()) {
        kept_ = {};
    } else {
        kept_.erase(kept_.begin(), kept_.begin() + static_cast<long>(kept_at_));
    }
    kept_at_ = 0;
    kept_.insert(kept_.end(), fresh_.begin(), fresh_.end());
    fresh_ = {};
}

}  // namespace lodge::iscsi
