#include "devices/e1000_transmit.h"

#include <algorithm>

#include "devices/ethernet.h"

namespace lodge::e1000 {

namespace {

// The command byte: bits 31:24 of the upper half's lower double word, 317453 tables 3-10, 3-14, 3-18.
constexpr u8 kEop = 0x01, kIfcs = 0x02, kInsertChecksum = 0x04, kSegment = 0x04, kExtended = 0x20, kTag = 0x40;
// Of a context descriptor.
constexpr u8 kContextTcp = 0x01, kContextIpv4 = 0x02;
// Packet options of a data descriptor.
constexpr u8 kOptionIp = 0x01, kOptionTransport = 0x02;

constexpr u64 kTypeContext = 0, kTypeData = 1;

constexpr u8 kTcpFin = 0x01, kTcpPush = 0x08;

u8 command_of(const TransmitDescriptor& descriptor) {
    return static_cast<u8>(bits(descriptor.high, 24, 8));
}

}  // namespace

PacketBuilder::PacketBuilder(PhysicalMemory& memory, Log& log, Emit emit)
    : memory_(memory), log_(log), emit_(std::move(emit)) {}

void PacketBuilder::take(const TransmitDescriptor& descriptor, const TransmitOptions& options) {
    options_ = options;
    const u8 command = command_of(descriptor);
    const bool extended = command & kExtended;
    const u64 type = bits(descriptor.high, 20, 4);
    if (extended && type == kTypeContext) return take_context(descriptor);
    if (extended && type != kTypeData) {
        log_.once(LogChannel::net, "e1000: transmit descriptor of unknown type %u", static_cast<unsigned>(type));
        return;
    }
    if (!begun_) begin(command, static_cast<u8>(bits(descriptor.high, 40, 8)), extended);
    if (command & kTag) {
        tagged_ = true;
        tag_ = static_cast<u16>(descriptor.high >> 48);
    }
    if (!extended && (command & kInsertChecksum)) {
        legacy_checksum_ = true;
        legacy_ = {static_cast<u8>(bits(descriptor.high, 40, 8)), static_cast<u8>(bits(descriptor.high, 16, 8)), 0};
    }
    append(descriptor.low, extended ? bits(descriptor.high, 0, 20) : bits(descriptor.high, 0, 16));
    if (command & kEop) finish(!(command & kIfcs));
}

void PacketBuilder::take_context(const TransmitDescriptor& descriptor) {
    const u8 command = command_of(descriptor);
    Context context;
    context.ip = {static_cast<u8>(descriptor.low), static_cast<u8>(descriptor.low >> 8),
                  static_cast<u16>(descriptor.low >> 16)};
    context.transport = {static_cast<u8>(descriptor.low >> 32), static_cast<u8>(descriptor.low >> 40),
                         static_cast<u16>(descriptor.low >> 48)};
    context.header = static_cast<u8>(descriptor.high >> 40);
    context.segment = static_cast<u16>(descriptor.high >> 48);
    context.tcp = command & kContextTcp ? 1 : 0;
    context.ipv4 = command & kContextIpv4 ? 1 : 0;
    (command & kSegment ? segmentation_ : plain_) = context;
}

// What the first descriptor of a packet says holds for all of it (317453 3.3.7.2).
void PacketBuilder::begin(u8 command, u8 packet_options, bool extended) {
    forget_packet();
    begun_ = true;
    if (!extended) return;
    ip_checksum_ = packet_options & kOptionIp;
    transport_checksum_ = packet_options & kOptionTransport;
    segmenting_ = command & kSegment;
    context_ = segmenting_ ? segmentation_ : plain_;
    if (segmenting_ && context_.segment < kLeastSegment) {
        log_.once(LogChannel::net, "e1000: segments of %u bytes are not made", context_.segment);
        too_long_ = true;
    }
}

size_t PacketBuilder::segment_limit() const {
    return segmenting_ ? std::min<size_t>(kMostFrame, size_t{context_.header} + context_.segment) : kMostFrame;
}

void PacketBuilder::append(u64 address, size_t length) {
    while (length > 0 && !too_long_) {
        if (segmenting_ && buffer_.size() == segment_limit()) emit_segment(false);
        const size_t part = std::min(length, segment_limit() - buffer_.size());
        if (part == 0) {
            log_.once(LogChannel::net, "e1000: a packet of more than %zu bytes is not sent", kMostFrame);
            too_long_ = true;
            return;
        }
        append_part(address, part);
        address += part;
        length -= part;
    }
}

void PacketBuilder::append_part(u64 address, size_t length) {
    const size_t old = buffer_.size();
    buffer_.resize(old + length);
    memory_.read(address, std::span<u8>(buffer_).subspan(old));
    if (segmenting_ && headers_.size() < context_.header)
        headers_.assign(buffer_.begin(),
                        buffer_.begin() + static_cast<long>(std::min<size_t>(buffer_.size(), context_.header)));
}

void PacketBuilder::finish(bool with_fcs) {
    if (segmenting_ && !too_long_) {
        emit_segment(true);
        ++segmented_;
    } else if (!too_long_ && !buffer_.empty()) {
        if (ip_checksum_) insert(context_.ip, false);
        if (transport_checksum_) insert(context_.transport, !context_.tcp);
        if (legacy_checksum_) insert(legacy_, false);
        // Without IFCS the guest has put the FCS there itself; the other side drops a frame whose FCS is wrong.
        const size_t bare = buffer_.size() - std::min(buffer_.size(), with_fcs ? kEthernetFcs : size_t{0});
        const auto frame = std::span<const u8>(buffer_).first(bare);
        if (!with_fcs || (bare > 0 && ethernet_fcs(frame) == load<u32>(&buffer_[bare]))) {
            buffer_.resize(bare);
            emit();
        } else {
            log_.once(LogChannel::net, "e1000: a frame without FCS (no IFCS in its descriptor) is lost");
        }
    }
    forget_packet();
}

void PacketBuilder::emit_segment(bool last) {
    fit_headers(last);
    if (ip_checksum_) insert(context_.ip, false);
    if (transport_checksum_) insert(context_.transport, !context_.tcp);
    const size_t payload = buffer_.size() - std::min(buffer_.size(), headers_.size());
    emit();
    ++sent_segments_;
    sent_payload_ += static_cast<u32>(payload);
    buffer_ = headers_;
}

// Lengths, the IP identification, the TCP sequence number and flags of this segment, 317453 3.5.8.
void PacketBuilder::fit_headers(bool last) {
    const Context& context = context_;
    const size_t ip = context.ip.start, transport = context.transport.start;
    const size_t size = buffer_.size();
    if (context.ipv4) {
        put_word(ip + 2, size - std::min(size, ip));
        add_word(ip + 4, sent_segments_);
    } else {
        put_word(ip + 4, size - std::min(size, ip + 40));
    }
    const size_t length = size - std::min(size, transport);
    if (!context.tcp) {
        put_word(transport + 4, length);
    } else if (transport + 14 <= size) {
        u8* sequence = &buffer_[transport + 4];
        store_big_endian(sequence, load_big_endian<u32>(sequence) + sent_payload_);
        if (!last) buffer_[transport + 13] &= static_cast<u8>(~(kTcpFin | kTcpPush));
    }
    // The guest has left the sum of the pseudo header there, but for the length.
    const size_t checksum = context.transport.offset;
    if (transport_checksum_ && checksum + 2 <= size)
        put_word(checksum, ones_add(load_big_endian<u16>(&buffer_[checksum]), static_cast<u32>(length)));
}

void PacketBuilder::insert(const Checksum& checksum, bool zero_means_none) {
    const size_t end = checksum.end ? std::min<size_t>(buffer_.size(), size_t{checksum.end} + 1) : buffer_.size();
    if (checksum.start >= end || size_t{checksum.offset} + 2 > buffer_.size()) return;
    u16 sum = static_cast<u16>(~ones_sum(std::span<const u8>(buffer_).subspan(checksum.start, end - checksum.start)));
    if (sum == 0 && zero_means_none) sum = 0xFFFF;
    put_word(checksum.offset, sum);
}

void PacketBuilder::emit() {
    if (buffer_.empty()) return;
    if (options_.pad_short && buffer_.size() < kEthernetShortest) buffer_.resize(kEthernetShortest);
    if (!tagged_ || !options_.vlan || buffer_.size() < kEthernetHeader) return emit_(buffer_);
    tagged_frame_.assign(buffer_.begin(), buffer_.begin() + 12);
    tagged_frame_.resize(12 + kEthernetTag);
    store_big_endian(&tagged_frame_[12], options_.vlan_type);
    store_big_endian(&tagged_frame_[14], tag_);
    tagged_frame_.insert(tagged_frame_.end(), buffer_.begin() + 12, buffer_.end());
    emit_(tagged_frame_);
}

void PacketBuilder::add_word(size_t at, u32 by) {
    if (at + 2 <= buffer_.size()) put_word(at, load_big_endian<u16>(&buffer_[at]) + by);
}

void PacketBuilder::put_word(size_t at, size_t value) {
    if (at + 2 <= buffer_.size()) store_big_endian(&buffer_[at], static_cast<u16>(value));
}

void PacketBuilder::forget_packet() {
    begun_ = segmenting_ = ip_checksum_ = transport_checksum_ = legacy_checksum_ = too_long_ = tagged_ = false;
    tag_ = 0;
    legacy_ = {};
    context_ = {};
    buffer_.clear();
    headers_.clear();
    sent_segments_ = sent_payload_ = 0;
}

void PacketBuilder::reset() {
    forget_packet();
    plain_ = segmentation_ = {};
}

void PacketBuilder::state(StateIo& io) {
    io.section("packet", 1, [&] {
        io.field("plain", plain_);
        io.field("segmentation", segmentation_);
        io.field("context", context_);
        io.field("begun", begun_);
        io.field("segmenting", segmenting_);
        io.field("ip_checksum", ip_checksum_);
        io.field("transport_checksum", transport_checksum_);
        io.field("legacy_checksum", legacy_checksum_);
        io.field("too_long", too_long_);
        io.field("tagged", tagged_);
        io.field("tag", tag_);
        io.field("legacy", legacy_);
        io.blob("buffer", buffer_, kMostFrame);
        io.blob("headers", headers_, kMostFrame);
        io.field("sent_segments", sent_segments_);
        io.field("sent_payload", sent_payload_);
        const bool small = context_.segment < kLeastSegment && segmenting_ && !too_long_;
        if (small || headers_.size() > context_.header || (segmenting_ && buffer_.size() > segment_limit())) {
            io.fail("a packet that was begun cannot be");
            reset();
        }
    });
}

}  // namespace lodge::e1000
