// Ethernet frames in a byte stream, as QEMU's `-netdev stream` sends them: each behind its length, 32 bits, big-endian.
// Source: QEMU's documentation of -netdev stream, and its net/stream.c for the order of bytes.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/base/types.h"

namespace lodge {

constexpr size_t kFrameStreamHeader = 4;
// A peer that announces more has lost its place.
constexpr size_t kLongestStreamFrame = 128 * kKiB;

void append_frame(std::vector<u8>& out, std::span<const u8> frame);

// Takes the stream apart. Any bytes may come; nothing beyond one frame is kept.
class FrameReader {
  public:
    using Take = std::function<void(std::span<const u8> frame)>;

    // False: the stream makes no sense and should be given up.
    bool feed(std::span<const u8> bytes, const Take& take);

  private:
    std::vector<u8> partial_;  // of a frame with its header
};

}  // namespace lodge
