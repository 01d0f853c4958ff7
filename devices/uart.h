// A 16550A serial port. Source: National Semiconductor PC16550D data sheet (June 1995).
//
// Out: bytes go to a CharPort at once; the transmitter then counts as busy for a moment of guest time, so that
// interrupts come as after a real transmission. In: payloads of the input source named as the port are bytes from the
// line; what does not fit the receive FIFO waits in a backlog of up to kBacklog bytes, the rest is dropped with a
// notice.
#pragma once

#include <atomic>
#include <deque>
#include <string>

#include "core/device.h"
#include "core/input_queue.h"
#include "core/scheduler.h"
#include "devices/claims.h"
#include "devices/ports.h"

namespace lodge {

class Uart final : public Device {
  public:
    static constexpr size_t kBacklog = 64 * 1024;
    static constexpr size_t kFifo = 16;

    // `name` ("com1") names the device and its input source. `output` may be null: nothing is connected.
    Uart(Scheduler& scheduler, InputQueue& inputs, CharPort* output, IrqLine irq, Log& log, std::string name);

    // Claims 8 ports at `base`.
    Result<void> attach(Bus& ports, u16 base);
    InputQueue::SourceId input_source() const { return source_; }

    std::string_view name() const override { return name_; }
    void reset() override;
    void state(StateIo& io) override;

    u8 read(unsigned offset);
    void write(unsigned offset, u8 value);
    // Bytes from the line.
    void receive(std::span<const u8> bytes);

    // For whoever posts inputs, from any thread, so that nothing is posted that would be lost. Ask in this order.
    // How many bytes have been received in this object's life (it is no part of the state), lost ones included:
    u64 received_count() const { return received_count_.load(std::memory_order_acquire); }
    // How many of all that have been received wait in the backlog:
    size_t waiting() const { return waiting_.load(std::memory_order_relaxed); }

  private:
    bool divisor_access() const;
    bool fifo_enabled() const;
    bool loopback() const;
    size_t receive_capacity() const { return fifo_enabled() ? kFifo : 1; }
    size_t receive_trigger() const;
    u64 character_time() const;
    u8 interrupt_identity() const;
    u8 read_receiver();
    u8 read_interrupt_identity();
    u8 read_line_status();
    u8 read_modem_status();
    u8 modem_inputs() const;
    void write_transmitter(u8 value);
    void write_interrupt_enable(u8 value);
    void write_fifo_control(u8 value);
    void write_modem_control(u8 value);
    void accept(u8 value);
    void arrived();
    void expect_arrival();
    void restart_timeout();
    void update();

    CharPort* output_;
    IrqLine irq_;
    Log& log_;
    Claims claims_;
    std::string name_;
    InputQueue::SourceId source_;

    u8 interrupt_enable_ = 0;
    u8 fifo_control_ = 0;
    u8 line_control_ = 0;
    u8 modem_control_ = 0;
    u8 line_errors_ = 0;  // OE, PE, FE, BI of the line status register
    u8 modem_delta_ = 0;  // bits 3:0 of the modem status register
    u8 scratch_ = 0;
    u16 divisor_ = 12;
    std::deque<u8> received_;  // RBR or receive FIFO, first in front
    std::deque<u8> backlog_;   // bytes from the line that wait for room
    std::atomic<u64> received_count_ = 0;
    std::atomic<size_t> waiting_ = 0;
    bool transmit_interrupt_ = false;
    bool receive_timeout_ = false;
    Event sent_;     // the transmitter tells that it is empty
    Event timeout_;  // bytes have been waiting in the FIFO
    Event arrival_;  // the next byte of the backlog has come over the line
};

}  // namespace lodge
