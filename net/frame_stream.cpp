#include "net/frame_stream.h"

#include <algorithm>

namespace lodge {

void append_frame(std::vector<u8>& out, std::span<const u8> frame) {
    const size_t at = out.size();
    out.resize(at + kFrameStreamHeader);
    store_big_endian(&out[at], static_cast<u32>(frame.size()));
    out.insert(out.end(), frame.begin(), frame.end());
}

bool FrameReader::feed(std::span<const u8> bytes, const Take& take) {
    while (!bytes.empty()) {
        const size_t have = partial_.size();
        const size_t length = have < kFrameStreamHeader ? 0 : load_big_endian<u32>(partial_.data());
        const size_t whole = kFrameStreamHeader + length;
        const size_t part = std::min(bytes.size(), (have < kFrameStreamHeader ? kFrameStreamHeader : whole) - have);
        partial_.insert(partial_.end(), bytes.begin(), bytes.begin() + static_cast<long>(part));
        bytes = bytes.subspan(part);
        if (partial_.size() < kFrameStreamHeader) return true;
        const size_t announced = load_big_endian<u32>(partial_.data());
        if (announced > kLongestStreamFrame) return false;
        if (partial_.size() < kFrameStreamHeader + announced) continue;
        take(std::span<const u8>(partial_).subspan(kFrameStreamHeader));
        partial_.clear();
    }
    return true;
}

}  // namespace lodge
