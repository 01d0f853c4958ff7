// The host's side of devices: what a frontend gives to a board. Calls towards the host come on the CPU thread and must
// not block for long; whatever comes from the host enters through the InputQueue (each device says how).
#pragma once

#include <span>

#include "core/base/types.h"

namespace lodge {

// Where a serial port's or debug port's bytes go.
class CharPort {
  public:
    virtual ~CharPort() = default;
    virtual void write(std::span<const u8> bytes) = 0;
};

// The network that a card is plugged into. What comes from it enters through the card's input source, whose payloads
// are a byte that says what it is, and then
//   kInputFrames: for each frame u16 length (little-endian) and its bytes, without FCS
//   kInputCable:  u8 1 plugged in, 0 pulled out
class NetworkPort {
  public:
    static constexpr u8 kInputFrames = 0, kInputCable = 1;

    virtual ~NetworkPort() = default;
    // A frame that the guest has sent: without its FCS, at most kMostFrame bytes.
    virtual void send(std::span<const u8> frame) = 0;
    // A frame that was given to the card's input source has come to the card: whether the card takes it or not.
    virtual void arrived(std::span<const u8>) {}
    // So many bytes of frames that have arrived wait no longer: they are in the guest's memory, or lost.
    virtual void taken(size_t) {}

    static constexpr size_t kMostFrame = 16 * 1024;
};

// A finished picture: 32-bit pixels, 0x00RRGGBB, `stride` pixels from row to row.
struct Frame {
    unsigned width = 0;
    unsigned height = 0;
    unsigned stride = 0;
    const u32* pixels = nullptr;
};

}  // namespace lodge
