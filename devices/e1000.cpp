#include "devices/e1000.h"

#include <algorithm>

namespace lodge {

using namespace e1000;

namespace {

constexpr PciIdentity k82540em{.vendor = 0x8086,
                               .device = 0x100E,
                               .revision = 2,
                               .class_code = 0x020000,  // Ethernet
                               .subsystem_vendor = 0x8086,
                               .subsystem = 0x001E,
                               .interrupt_pin = 1};

constexpr unsigned kMemoryBar = 0, kIoBar = 2;  // 317453 table 4-2; BAR 1 is the flash, which this card has not
constexpr u16 kMediumDecoding = 0x0220;         // PCI status: DEVSEL# timing medium, 66 MHz
constexpr u32 kLatency = 0xFF00;                // MIN_GNT FFh, MAX_LAT 0

// EECD, 317453 table 13-6.
constexpr u32 kEecdClock = 0x01, kEecdSelect = 0x02, kEecdIn = 0x04, kEecdOut = 0x08, kEecdRequest = 0x40,
              kEecdGrant = 0x80, kEecdPresent = 0x100;
// EERD, table 13-8.
constexpr u32 kEerdStart = 0x01, kEerdDone = 0x10;
// MDIC, table 13-10.
constexpr u32 kMdicWrite = 1, kMdicRead = 2, kMdicReady = 1u << 28, kMdicInterrupt = 1u << 29, kMdicError = 1u << 30;
constexpr u32 kPhyAddress = 1;

constexpr u64 kThrottleUnit = 256;  // nanoseconds: ITR, 13.4.18
constexpr u64 kDelayUnit = 1024;    // nanoseconds: RDTR, RADV, TIDV, TADV

// Transmit descriptors: command bits that matter to the ring, and the byte that is written back.
constexpr u8 kReportStatus = 0x08, kReportPacketSent = 0x10, kInterruptDelay = 0x80;
constexpr u8 kDescriptorExtended = 0x20;
constexpr u64 kStatusByte = 12;

// Where a ring's registers are, behind its RDBAL or TDBAL.
constexpr u32 kTailOffset = 0x18, kHeadOffset = 0x10, kLengthOffset = 0x08;

// Of an array the first row.
constexpr RegisterInfo kRegisterNames[] = {
#define REGISTER(name, offset, count, kind, writable, reset)                                       \
    {offset, 32, #name,                                                                            \
     RegisterKind::kind == RegisterKind::plain || RegisterKind::kind == RegisterKind::read_only || \
             (RegisterKind::kind == RegisterKind::action && offset != ICR)                         \
         ? RegisterRead::harmless                                                                  \
         : RegisterRead::changes},
#include "devices/e1000_registers.inc"
#undef REGISTER
};
constexpr RegisterInfo kIoNames[] = {{0, 32, "IOADDR"}, {4, 32, "IODATA", RegisterRead::changes}};

}  // namespace

E1000::E1000(const Platform& platform, const E1000Config& config)
    : PciDevice(platform, config.name, k82540em),
      port_(config.port),
      source_(platform.inputs.add_source(config.name, [this](std::span<const u8> payload) { on_input(payload); })),
      eeprom_(config.address),
      phy_(platform.scheduler, config.name, [this] { link_changed(); }),
      builder_(platform.memory, platform.log, [this](std::span<const u8> frame) { send(frame); }),
      throttle_(platform.scheduler, config.name + ".throttle", [this](u64) { update_interrupt(); }),
      receive_delay_(platform.scheduler, config.name + ".receive_delay", [this](u64) { raise(kIntRxt0); }),
      receive_absolute_(platform.scheduler, config.name + ".receive_absolute", [this](u64) { raise(kIntRxt0); }),
      transmit_delay_(platform.scheduler, config.name + ".transmit_delay", [this](u64) { raise(kIntTxdw); }),
      transmit_absolute_(platform.scheduler, config.name + ".transmit_absolute", [this](u64) { raise(kIntTxdw); }),
      transmit_more_(platform.scheduler, config.name + ".transmit_more", [this](u64) { transmit_burst(); }) {
    set_config(kPciStatus, kMediumDecoding, 2);
    set_config(kPciInterruptPin + 1, kLatency >> 8, 1);
    set_writable(kPciCommand, 0x0557, 2);  // I/O, memory, master, MWI, parity, SERR#, no INTx
    set_writable(0x0C, 0xFF, 1);           // cache line size
    set_writable(0x0D, 0xF8, 1);           // latency timer
    add_memory_bar(
        kMemoryBar, RegisterFile::kSize, [this](u64 offset, unsigned size) { return read_memory_bar(offset, size); },
        [this](u64 offset, unsigned size, u64 value) { write_memory_bar(offset, size, value); }, kRegisterNames);
    add_io_bar(
        kIoBar, kIoPorts, [this](u64 offset, unsigned size) { return read_io(offset, size); },
        [this](u64 offset, unsigned size, u64 value) { write_io(offset, size, value); }, kIoNames);
    if (config.rom_size) add_rom(config.rom_size, config.rom_offset);
    phy_.set_cable(port_ != nullptr);
    reset();
}

void E1000::reset() {
    PciDevice::reset();
    eeprom_.reset();
    phy_.reset();
    io_address_ = 0;
    reset_mac();
}

// What CTRL.RST resets: all but the PCI configuration, the PHY and the EEPROM.
void E1000::reset_mac() {
    registers_.reset();
    builder_.reset();
    drop_waiting();
    for (Event* event :
         {&throttle_, &receive_delay_, &receive_absolute_, &transmit_delay_, &transmit_absolute_, &transmit_more_})
        event->cancel();
    load_address();
    update_interrupt();
}

void E1000::load_address() {
    const MacAddress address = eeprom_.address();
    registers_[RA] = load<u32>(&address[0]);
    registers_[RA + 4] = kRahAv | load<u16>(&address[4]);
}

void E1000::state(StateIo& io) {
    io.section(name(), 1, [&] {
        config_state(io);
        registers_.state(io);
        eeprom_.state(io);
        phy_.state(io);
        builder_.state(io);
        io.field("io_address", io_address_);
        u32 count = static_cast<u32>(waiting_.size());
        io.field("waiting", count);
        if (io.loading()) {
            drop_waiting();
            waiting_.resize(std::min<size_t>(count, kBacklog));
        }
        for (u32 index = 0; index < waiting_.size() && !io.failed(); ++index) {
            io.blob("waiting" + std::to_string(index), waiting_[index], kMostFrame);
            if (io.loading()) waiting_bytes_ += waiting_[index].size();
            if (waiting_[index].size() < kEthernetHeader || waiting_bytes_ > kBacklog)
                io.fail(std::string(name()) + ": a waiting frame cannot be");
        }
        for (Event* event :
             {&throttle_, &receive_delay_, &receive_absolute_, &transmit_delay_, &transmit_absolute_, &transmit_more_})
            event->state(io);
    });
    if (io.loading() && io.failed()) drop_waiting();
}

void E1000::config_write(unsigned offset, unsigned size, u32 value) {
    PciDevice::config_write(offset, size, value);
    if (bus_master()) receive_waiting();
}

// --- Accesses. Registers are 32 bits wide; a part of one can be read, but not written (317453 13.2).

u64 E1000::read_memory_bar(u64 offset, unsigned size) {
    const u32 word = static_cast<u32>(offset & ~u64{3});
    if (size == 8) return read(word) | u64{read(word + 4)} << 32;
    return read(word) >> (8 * (offset & 3));
}

void E1000::write_memory_bar(u64 offset, unsigned size, u64 value) {
    if (size < 4 || (offset & 3)) {
        platform().log.once(LogChannel::net, "%s: a write of %u bytes at +%llX is ignored", std::string(name()).c_str(),
                            size, static_cast<unsigned long long>(offset));
        return;
    }
    write(static_cast<u32>(offset), static_cast<u32>(value));
    if (size == 8) write(static_cast<u32>(offset) + 4, static_cast<u32>(value >> 32));
}

u64 E1000::read_io(u64 offset, unsigned size) {
    if (size != 4) return 0;
    if (offset == 0) return io_address_;
    return offset == 4 && io_address_ < RegisterFile::kSize ? read(io_address_ & ~3u) : 0;
}

void E1000::write_io(u64 offset, unsigned size, u64 value) {
    if (size != 4) return;
    if (offset == 0) io_address_ = static_cast<u32>(value);
    if (offset == 4 && io_address_ < RegisterFile::kSize) write(io_address_ & ~3u, static_cast<u32>(value));
}

u32 E1000::read(u32 offset) {
    const RegisterRow* row = in_dma_ ? nullptr : RegisterFile::find(offset);
    if (!row) {
        platform().log.once(LogChannel::net, "%s: no register at +%X", std::string(name()).c_str(), offset);
        return 0;
    }
    const u32 value = row->kind == RegisterKind::action ? read_action(offset) : registers_.read(*row, offset);
    if (platform().log.wants(LogChannel::net, LogLevel::debug))
        platform().log.write(LogChannel::net, LogLevel::debug, "%s read %s+%X = 0x%X", std::string(name()).c_str(),
                             row->name, offset - row->offset, value);
    return value;
}

void E1000::write(u32 offset, u32 value) {
    const RegisterRow* row = in_dma_ ? nullptr : RegisterFile::find(offset);
    if (!row) {
        platform().log.once(LogChannel::net, "%s: no register to write at +%X", std::string(name()).c_str(), offset);
        return;
    }
    if (platform().log.wants(LogChannel::net, LogLevel::debug))
        platform().log.write(LogChannel::net, LogLevel::debug, "%s write %s+%X = 0x%X", std::string(name()).c_str(),
                             row->name, offset - row->offset, value);
    if (row->kind == RegisterKind::action)
        write_action(offset, value & row->writable);
    else
        registers_.write(*row, offset, value);
}

u32 E1000::read_action(u32 offset) {
    switch (offset) {
        case STATUS:
            return read_status();
        case EECD:
            return read_eecd();
        case ICR: {
            const u32 causes = std::exchange(registers_[ICR], 0);
            update_interrupt();
            return causes;
        }
        case ICS:
        case IMC:
            return 0;  // write-only
        default:
            return registers_[offset];
    }
}

void E1000::write_action(u32 offset, u32 value) {
    switch (offset) {
        case CTRL:
            return write_control(value);
        case EECD:
            return write_eecd(value);
        case EERD:
            return write_eerd(value);
        case CTRL_EXT:
            registers_[CTRL_EXT] = value & ~kCtrlExtEeRst;
            if (value & kCtrlExtEeRst) load_address();
            return;
        case MDIC:
            return write_mdic(value);
        case ICR:
            registers_[ICR] &= ~value;
            return update_interrupt();
        case ITR:
            registers_[ITR] = value;
            if (value == 0) throttle_.cancel();
            return update_interrupt();
        case ICS:
            return raise(value);
        case IMS:
            registers_[IMS] |= value;
            return update_interrupt();
        case IMC:
            registers_[IMS] &= ~value;
            return update_interrupt();
        case RCTL:
            return write_receive_control(value);
        case TCTL:
            registers_[TCTL] = value;
            if (!(value & kTctlEn)) return builder_.reset();
            return transmit();
        case RDT:
            registers_[RDT] = value;
            return receive_waiting();
        case RDTR:
            return write_receive_delay(value);
        case TDT:
            registers_[TDT] = value;
            return transmit();
        default:
            return;  // STATUS: read-only
    }
}

// --- Control, link, EEPROM, PHY

u32 E1000::read_status() const {
    return kStatusFd | kStatusSpeed1000 | kStatusAsdv1000 | (link_up() ? kStatusLu : 0);
}

bool E1000::link_up() const {
    return phy_.link() && (registers_[CTRL] & kCtrlSlu);
}

void E1000::link_changed() {
    if (registers_[CTRL] & kCtrlSlu) raise(kIntLsc);
}

void E1000::write_control(u32 value) {
    if (value & kCtrlPhyRst) phy_.restart();
    if (value & kCtrlRst) return reset_mac();
    const bool was_up = link_up();
    registers_[CTRL] = value & ~kCtrlPhyRst;
    if (link_up() != was_up) raise(kIntLsc);
}

u32 E1000::read_eecd() const {
    u32 value = (registers_[EECD] & ~kEecdOut) | kEecdPresent | (eeprom_.output() ? kEecdOut : 0);
    if (value & kEecdRequest) value |= kEecdGrant;
    return value;
}

void E1000::write_eecd(u32 value) {
    registers_[EECD] = value;
    eeprom_.drive(value & kEecdSelect, value & kEecdClock, value & kEecdIn);
}

// The word is there at once.
void E1000::write_eerd(u32 value) {
    if (!(value & kEerdStart)) return;
    const u32 address = bits(value, 8, 8);
    registers_[EERD] = (value & 0xFF00) | kEerdDone | u32{eeprom_.word(address)} << 16;
}

void E1000::write_mdic(u32 value) {
    const u32 operation = bits(value, 26, 2), index = bits(value, 16, 5);
    u32 result = (value & ~(kMdicError | kMdicReady)) | kMdicReady;
    if (bits(value, 21, 5) != kPhyAddress || (operation != kMdicRead && operation != kMdicWrite)) {
        result |= kMdicError;
    } else if (operation == kMdicWrite) {
        phy_.write(index, static_cast<u16>(value));
    } else {
        result = (result & ~0xFFFFu) | phy_.read(index);
    }
    registers_[MDIC] = result;
    if (value & kMdicInterrupt) raise(kIntMdac);
}

// --- Interrupts

void E1000::raise(u32 causes) {
    registers_[ICR] |= causes;
    if (causes & kIntRxt0) {
        receive_delay_.cancel();
        receive_absolute_.cancel();
    }
    if (causes & kIntTxdw) {
        transmit_delay_.cancel();
        transmit_absolute_.cancel();
    }
    update_interrupt();
}

// ITR counts from one rise of the pin to the next (317453 13.4.18).
void E1000::update_interrupt() {
    if (!(registers_[ICR] & registers_[IMS])) return set_intx(false);
    if (intx() || throttle_.pending()) return;
    set_intx(true);
    if (registers_[ITR]) throttle_.schedule_in(registers_[ITR] * kThrottleUnit);
}

// --- Rings

E1000::Ring E1000::ring(u32 low) const {
    return {registers_[low] | u64{registers_[low + 4]} << 32, registers_[low + kLengthOffset] / kDescriptorSize,
            registers_[low + kHeadOffset], registers_[low + kTailOffset]};
}

bool E1000::ring_usable(const Ring& ring, const char* which) {
    if (ring.count == 0) return false;
    if (ring.head < ring.count && ring.tail < ring.count) return true;
    platform().log.once(LogChannel::net, "%s: %s ring of %u descriptors has head %u and tail %u",
                        std::string(name()).c_str(), which, ring.count, ring.head, ring.tail);
    return false;
}

void E1000::transmit() {
    if (!transmit_more_.pending()) transmit_burst();
}

void E1000::transmit_burst() {
    if (in_dma_ || !(registers_[TCTL] & kTctlEn) || !bus_master()) return;
    Ring ring = this->ring(TDBAL);
    if (ring.head == ring.tail || !ring_usable(ring, "transmit")) return;
    const TransmitOptions options{(registers_[TCTL] & kTctlPsp) != 0, (registers_[CTRL] & kCtrlVme) != 0,
                                  static_cast<u16>(registers_[VET])};
    u32 causes = 0;
    burst_ = 0;
    in_dma_ = true;
    const u64 segmented = builder_.segmented();
    for (u32 done = 0; ring.head != ring.tail; ++done) {
        if (done == kBurstDescriptors || burst_ >= kBurstBytes) {
            transmit_more_.schedule_in(kBurstPause);
            break;
        }
        const u64 address = ring.base + u64{ring.head} * kDescriptorSize;
        TransmitDescriptor descriptor;
        platform().memory.read(address, std::span<u8>(reinterpret_cast<u8*>(&descriptor), sizeof descriptor));
        builder_.take(descriptor, options);
        written_back(descriptor, address, causes);
        ring.head = ring.head + 1 == ring.count ? 0 : ring.head + 1;
    }
    in_dma_ = false;
    registers_[TDH] = ring.head;
    registers_.count(TSCTC, static_cast<u32>(builder_.segmented() - segmented));
    if (ring.head == ring.tail) causes |= kIntTxqe;
    if (ring.head == ring.tail && bits(registers_[TXDCTL], 25, 7) != 0) causes |= kIntTxdLow;
    raise(causes);
}

void E1000::written_back(const TransmitDescriptor& descriptor, u64 address, u32& causes) {
    const u8 command = static_cast<u8>(bits(descriptor.high, 24, 8));
    if (!(command & (kReportStatus | kReportPacketSent))) return;
    constexpr u8 kDone = 0x01;
    platform().memory.write_value<u8>(address + kStatusByte, static_cast<u8>(bits(descriptor.high, 32, 4) | kDone));
    if ((command & kInterruptDelay) && registers_[TIDV])
        delay_transmit_interrupt();
    else
        causes |= kIntTxdw;
}

// Each such descriptor starts TIDV anew; TADV runs from the first.
void E1000::delay_transmit_interrupt() {
    transmit_delay_.schedule_in(registers_[TIDV] * kDelayUnit);
    if (registers_[TADV] && !transmit_absolute_.pending())
        transmit_absolute_.schedule_in(registers_[TADV] * kDelayUnit);
}

void E1000::send(std::span<const u8> frame) {
    burst_ += frame.size();
    if (frame.size() < kEthernetHeader) return;
    count_sent(frame);
    const bool loopback = bits(registers_[RCTL], 6, 2) != 0 || phy_.loopback();
    if (loopback) return receive(frame);
    if (link_up() && port_) port_->send(frame);
}

// --- Reception

void E1000::on_input(std::span<const u8> payload) {
    if (payload.empty()) return;
    if (payload[0] == NetworkPort::kInputFrames) return on_frames(payload.subspan(1));
    if (payload[0] == NetworkPort::kInputCable && payload.size() == 2) phy_.set_cable(payload[1] != 0);
}

void E1000::on_frames(std::span<const u8> frames) {
    while (frames.size() >= 2) {
        const size_t length = std::min<size_t>(load<u16>(frames.data()), frames.size() - 2);
        arrive(frames.subspan(2, length));
        frames = frames.subspan(2 + length);
    }
}

void E1000::arrive(std::span<const u8> frame) {
    if (port_) port_->arrived(frame);
    const size_t waited = waiting_bytes_;
    if (link_up()) receive(frame);
    // What has been put behind others is taken later.
    if (waiting_bytes_ == waited && port_) port_->taken(frame.size());
}

void E1000::receive(std::span<const u8> frame) {
    if (frame.size() < kEthernetHeader || frame.size() > kMostFrame) return;
    count_arrived(frame);
    if (!(registers_[RCTL] & kRctlEn)) return;
    if (frame_too_long(registers_, frame)) registers_.count(ROC);
    if (filter_frame(registers_, frame) == Acceptance::rejected) return;
    count_received(frame);
    if (waiting_.empty() && deliver(frame)) return;
    if (waiting_bytes_ + frame.size() > kBacklog) {
        registers_.count(MPC);
        return raise(kIntRxo);
    }
    if (waiting_.empty()) registers_.count(RNBC);
    waiting_.emplace_back(frame.begin(), frame.end());
    waiting_bytes_ += frame.size();
}

void E1000::receive_waiting() {
    if (in_dma_) return;
    size_t taken = 0;
    while (!waiting_.empty() && deliver(waiting_.front())) {
        taken += waiting_.front().size();
        waiting_bytes_ -= waiting_.front().size();
        waiting_.pop_front();
    }
    if (taken && port_) port_->taken(taken);
}

void E1000::drop_waiting() {
    waiting_.clear();
    if (waiting_bytes_ && port_) port_->taken(waiting_bytes_);
    waiting_bytes_ = 0;
}

void E1000::write_receive_control(u32 value) {
    registers_[RCTL] = value;
    if (value & kRctlEn)
        receive_waiting();
    else
        drop_waiting();
}

// RDTR with its flush bit tells at once of what RDTR and RADV still hold back.
void E1000::write_receive_delay(u32 value) {
    registers_[RDTR] = value & 0xFFFF;
    if ((value & kRdtrFpd) && (receive_delay_.pending() || receive_absolute_.pending())) raise(kIntRxt0);
}

// Finds descriptors enough for `buffers` buffers of a frame; a null address is one that holds nothing (317453 3.2.5).
// Returns how many to use, null ones included; 0 if there are not enough.
u32 E1000::find_descriptors(const Ring& ring, size_t buffers) {
    u32 used = 0;
    for (u32 at = ring.head; at != ring.tail && buffers > 0; at = at + 1 == ring.count ? 0 : at + 1) {
        if (platform().memory.read_value<u64>(ring.base + u64{at} * kDescriptorSize) != 0) --buffers;
        ++used;
    }
    return buffers == 0 ? used : 0;
}

bool E1000::deliver(std::span<const u8> frame) {
    const u32 buffer_size = receive_buffer_size(registers_[RCTL]);
    Ring ring = this->ring(RDBAL);
    if (buffer_size == 0 || ring.head == ring.tail || !bus_master() || !ring_usable(ring, "receive")) return false;
    const ReceivedInfo info = describe_frame(registers_, frame);
    make_stored(frame);
    const size_t buffers = (stored_.size() + buffer_size - 1) / buffer_size;
    const bool was_in_dma = std::exchange(in_dma_, true);
    const u32 used = find_descriptors(ring, buffers);
    if (used) store_frame(ring, used, info, buffer_size);
    in_dma_ = was_in_dma;
    if (used) {
        registers_[RDH] = ring.head;
        received(stored_.size(), ring);
        return true;
    }
    // A frame that the whole ring has no room for would wait for ever.
    const u32 free = (ring.tail + ring.count - ring.head) % ring.count;
    if (free + 1 < ring.count) return false;
    registers_.count(MPC);
    raise(kIntRxo);
    return true;
}

// The frame as it is stored: padded as its sender's card would have, without its tag if that is taken out, with its
// FCS unless that is.
void E1000::make_stored(std::span<const u8> frame) {
    stored_.assign(frame.begin(), frame.end());
    if (stored_.size() < kEthernetShortest) stored_.resize(kEthernetShortest);
    const bool with_fcs = !(registers_[RCTL] & kRctlSecrc);
    const u32 fcs = with_fcs ? ethernet_fcs(stored_) : 0;
    if (has_tag(registers_, frame)) stored_.erase(stored_.begin() + 12, stored_.begin() + 12 + kEthernetTag);
    if (!with_fcs) return;
    stored_.resize(stored_.size() + kEthernetFcs);
    store(&stored_[stored_.size() - kEthernetFcs], fcs);
}

void E1000::store_frame(Ring& ring, u32 used, const ReceivedInfo& info, u32 buffer_size) {
    std::span<const u8> left = stored_;
    for (; used > 0; --used) {
        const u64 descriptor = ring.base + u64{ring.head} * kDescriptorSize;
        const u64 buffer = platform().memory.read_value<u64>(descriptor);
        const auto part = left.first(buffer ? std::min<size_t>(left.size(), buffer_size) : 0);
        platform().memory.write(buffer, part);
        left = left.subspan(part.size());
        u64 result = part.size() | u64{kReceivedDone} << 32;
        if (used == 1)
            result |= u64{info.checksum} << 16 | u64{static_cast<u8>(info.status | kReceivedEnd)} << 32 |
                      u64{info.errors} << 40 | u64{info.tag} << 48;
        platform().memory.write_value<u64>(descriptor + 8, result);
        ring.head = ring.head + 1 == ring.count ? 0 : ring.head + 1;
    }
}

void E1000::received(size_t size, const Ring& ring) {
    u32 causes = 0;
    const u32 free = (ring.tail + ring.count - ring.head) % ring.count;
    if (free <= ring.count >> (bits(registers_[RCTL], 8, 2) + 1)) causes |= kIntRxdmt0;
    if (registers_[RSRPD] && size <= registers_[RSRPD]) causes |= kIntSrpd;
    if (registers_[RDTR] == 0) {
        causes |= kIntRxt0;
    } else {
        receive_delay_.schedule_in(registers_[RDTR] * kDelayUnit);
        if (registers_[RADV] && !receive_absolute_.pending())
            receive_absolute_.schedule_in(registers_[RADV] * kDelayUnit);
    }
    raise(causes);
}

// --- Statistics, 317453 13.7. Lengths include the FCS.

namespace {

// Which of six counters, from `first`, a length belongs to.
u32 size_counter(u32 first, size_t length) {
    static constexpr size_t kLast[] = {64, 127, 255, 511, 1023};
    const auto at = std::find_if(std::begin(kLast), std::end(kLast), [length](size_t last) { return length <= last; });
    return first + 4 * static_cast<u32>(at - std::begin(kLast));
}

}  // namespace

void E1000::count_sent(std::span<const u8> frame) {
    const size_t length = frame.size() + kEthernetFcs;
    registers_.count(TPT);
    registers_.count(GPTC);
    registers_.count_long(TOTL, length);
    registers_.count_long(GOTCL, length);
    registers_.count(size_counter(PTC64, length));
    if (is_broadcast(frame.data()))
        registers_.count(BPTC);
    else if (is_multicast(frame.data()))
        registers_.count(MPTC);
}

void E1000::count_arrived(std::span<const u8> frame) {
    registers_.count(TPR);
    registers_.count_long(TORL, std::max(frame.size(), kEthernetShortest) + kEthernetFcs);
}

void E1000::count_received(std::span<const u8> frame) {
    const size_t length = std::max(frame.size(), kEthernetShortest) + kEthernetFcs;
    registers_.count(GPRC);
    registers_.count_long(GORCL, length);
    registers_.count(size_counter(PRC64, length));
    if (is_broadcast(frame.data()))
        registers_.count(BPRC);
    else if (is_multicast(frame.data()))
        registers_.count(MPRC);
}

}  // namespace lodge
