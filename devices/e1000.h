// An Intel 82540EM gigabit Ethernet card (PCI 8086:100E), the "e1000" of other emulators.
// Source: Intel PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual 317453.
//
//   frames out   a write to TDT runs the transmit ring: descriptors go to the PacketBuilder, whose frames go to the
//                NetworkPort at once. A burst is bounded; the rest follows a moment of guest time later.
//   frames in    come through the input queue (payloads: NetworkPort in ports.h), are filtered, and wait in a
//                queue of at most kBacklog bytes until the guest has given descriptors; what does not fit is lost and
//                counted (MPC).
//   interrupts   causes gather in ICR; the pin follows ICR and IMS, not more often than ITR says; RDTR, RADV, TIDV and
//                TADV delay causes, all in guest time.
//
// A guest may point the card's DMA at the card's own registers: such accesses do nothing.
#pragma once

#include <deque>
#include <vector>

#include "core/input_queue.h"
#include "core/scheduler.h"
#include "devices/e1000_eeprom.h"
#include "devices/e1000_phy.h"
#include "devices/e1000_receive.h"
#include "devices/e1000_registers.h"
#include "devices/e1000_transmit.h"
#include "devices/pci.h"
#include "devices/ports.h"

namespace lodge {

struct E1000Config {
    std::string name = "nic0";  // unique in its machine; names the device and its input source
    MacAddress address{};
    NetworkPort* port = nullptr;  // null: the cable is not plugged in
    u64 rom_offset = 0;           // of the expansion ROM in the backing of guest memory
    u32 rom_size = 0;             // 0: none
};

class E1000 final : public PciDevice {
  public:
    static constexpr size_t kBacklog = 256 * kKiB;
    static constexpr size_t kMostFrame = NetworkPort::kMostFrame;
    // What one write to TDT does at most, and when the rest follows.
    static constexpr size_t kBurstBytes = 256 * kKiB;
    static constexpr u32 kBurstDescriptors = 512;
    static constexpr u64 kBurstPause = 10'000;  // nanoseconds

    // The port outlives the card.
    E1000(const Platform& platform, const E1000Config& config);

    InputQueue::SourceId input_source() const { return source_; }
    MacAddress address() const { return eeprom_.address(); }

    void reset() override;
    void state(StateIo& io) override;
    void config_write(unsigned offset, unsigned size, u32 value) override;

    // A register by its offset, 32 bits wide; software's accesses.
    u32 read(u32 offset);
    void write(u32 offset, u32 value);

  private:
    struct Ring {
        u64 base = 0;
        u32 count = 0;  // descriptors
        u32 head = 0;
        u32 tail = 0;
    };
    static constexpr u32 kDescriptorSize = 16;
    static constexpr u32 kIoPorts = 64;  // IOADDR at 0, IODATA at 4

    u64 read_memory_bar(u64 offset, unsigned size);
    void write_memory_bar(u64 offset, unsigned size, u64 value);
    u64 read_io(u64 offset, unsigned size);
    void write_io(u64 offset, unsigned size, u64 value);

    u32 read_action(u32 offset);
    void write_action(u32 offset, u32 value);
    u32 read_status() const;
    u32 read_eecd() const;
    void write_control(u32 value);
    void write_eecd(u32 value);
    void write_eerd(u32 value);
    void write_mdic(u32 value);
    void write_receive_control(u32 value);
    void write_receive_delay(u32 value);
    void reset_mac();
    void load_address();

    bool link_up() const;
    void link_changed();

    void raise(u32 causes);
    void update_interrupt();

    Ring ring(u32 low) const;
    bool ring_usable(const Ring& ring, const char* which);
    void transmit();
    void transmit_burst();
    void written_back(const e1000::TransmitDescriptor& descriptor, u64 address, u32& causes);
    void delay_transmit_interrupt();
    void send(std::span<const u8> frame);
    void count_sent(std::span<const u8> frame);

    void on_input(std::span<const u8> payload);
    void on_frames(std::span<const u8> frames);
    void arrive(std::span<const u8> frame);
    void receive(std::span<const u8> frame);
    void receive_waiting();
    // False: the frame has to wait for descriptors.
    bool deliver(std::span<const u8> frame);
    u32 find_descriptors(const Ring& ring, size_t buffers);
    void make_stored(std::span<const u8> frame);
    void store_frame(Ring& ring, u32 used, const e1000::ReceivedInfo& info, u32 buffer_size);
    void received(size_t size, const Ring& ring);
    void count_arrived(std::span<const u8> frame);
    void count_received(std::span<const u8> frame);
    void drop_waiting();

    NetworkPort* port_;
    InputQueue::SourceId source_;
    e1000::RegisterFile registers_;
    e1000::Eeprom eeprom_;
    e1000::Phy phy_;
    e1000::PacketBuilder builder_;
    u32 io_address_ = 0;
    std::deque<std::vector<u8>> waiting_;  // frames that wait for descriptors
    size_t waiting_bytes_ = 0;
    std::vector<u8> stored_;  // the frame that is being delivered
    bool in_dma_ = false;
    size_t burst_ = 0;  // bytes sent by the burst that is running

    Event throttle_;           // ITR: the pin may rise again
    Event receive_delay_;      // RDTR
    Event receive_absolute_;   // RADV
    Event transmit_delay_;     // TIDV
    Event transmit_absolute_;  // TADV
    Event transmit_more_;      // the next burst
};

}  // namespace lodge
