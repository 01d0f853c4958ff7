// From transmit descriptors to frames: gathers the parts of a packet from guest memory, puts in checksums and tags, and
// cuts large TCP and UDP packets into segments.
// Source: Intel 317453, chapter 3.3 (descriptors) to 3.6 (segmentation), 3.2.9 and chapter 9 (VLAN).
//
// Knows no rings and no registers: it is given the descriptors one after the other.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <vector>

#include "core/base/log.h"
#include "core/base/state_io.h"
#include "core/memory/physical_memory.h"

namespace lodge::e1000 {

// Sixteen bytes as they lie in the ring, little-endian.
struct TransmitDescriptor {
    u64 low = 0;
    u64 high = 0;
};

// What the registers say.
struct TransmitOptions {
    bool pad_short = false;  // TCTL.PSP
    bool vlan = false;       // CTRL.VME
    u16 vlan_type = 0;       // VET
};

class PacketBuilder {
  public:
    // A frame without its FCS.
    using Emit = std::function<void(std::span<const u8> frame)>;

    static constexpr size_t kMostFrame = 16 * 1024;
    // Segments of less would let one descriptor make ten thousands of frames; TCP's smallest is larger, too.
    static constexpr u32 kLeastSegment = 16;

    PacketBuilder(PhysicalMemory& memory, Log& log, Emit emit);

    // Takes one descriptor. Calls `emit` for each frame that is complete by it.
    void take(const TransmitDescriptor& descriptor, const TransmitOptions& options);
    // How many segmentation contexts have been sent whole (TSCTC).
    u64 segmented() const { return segmented_; }

    // Forgets the packet that was begun, and the contexts.
    void reset();
    void state(StateIo& io);

  private:
    // Where checksums start, go and end; from a context descriptor or a legacy descriptor.
    struct Checksum {
        u8 start = 0;
        u8 offset = 0;
        u16 end = 0;  // the last byte; 0: the end of the packet
    };
    struct Context {
        Checksum ip;
        Checksum transport;
        u16 segment = 0;      // MSS
        u8 header = 0;        // bytes of headers before the payload
        u8 ipv4 = 0;          // else IPv6
        u8 tcp = 0;           // else UDP
        u8 reserved[3] = {};  // no padding: it is saved as it is
    };

    void take_context(const TransmitDescriptor& descriptor);
    void begin(u8 command, u8 packet_options, bool extended);
    void append(u64 address, size_t length);
    void append_part(u64 address, size_t length);
    size_t segment_limit() const;
    void finish(bool with_fcs);
    void emit_segment(bool last);
    void fit_headers(bool last);
    void insert(const Checksum& checksum, bool zero_means_none);
    void emit();
    void add_word(size_t at, u32 by);
    void put_word(size_t at, size_t value);
    void forget_packet();

    PhysicalMemory& memory_;
    Log& log_;
    Emit emit_;
    TransmitOptions options_;

    // The two contexts that the card remembers: for checksums, and for segmentation.
    Context plain_;
    Context segmentation_;

    // The packet that has been begun.
    bool begun_ = false;
    Context context_;  // as it was when the packet was begun
    bool segmenting_ = false;
    bool ip_checksum_ = false;
    bool transport_checksum_ = false;
    bool legacy_checksum_ = false;
    bool too_long_ = false;
    bool tagged_ = false;
    u16 tag_ = 0;
    Checksum legacy_;
    std::vector<u8> buffer_;   // the frame, or headers and what is there of a segment's payload
    std::vector<u8> headers_;  // segmenting: the headers as the guest gave them
    u32 sent_segments_ = 0;    // of this packet
    u32 sent_payload_ = 0;     // bytes
    u64 segmented_ = 0;
    std::vector<u8> tagged_frame_;
};

}  // namespace lodge::e1000
