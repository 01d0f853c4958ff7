#include "devices/uart.h"

#include <algorithm>

namespace lodge {

namespace {

enum Offset : unsigned {
    kData,
    kInterruptEnable,
    kIdentityFifo,
    kLineControl,
    kModemControl,
    kLineStatus,
    kModemStatus
};

constexpr u8 kReceiveEnable = 0x01;  // IER
constexpr u8 kTransmitEnable = 0x02;
constexpr u8 kLineStatusEnable = 0x04;
constexpr u8 kModemStatusEnable = 0x08;
constexpr u8 kFifoEnable = 0x01;  // FCR
constexpr u8 kFifoClearReceive = 0x02;
constexpr u8 kFifoClearTransmit = 0x04;
constexpr u8 kFifoKept = 0xC9;
constexpr u8 kNoInterrupt = 0x01;  // IIR, in order of falling priority
constexpr u8 kLineStatusInterrupt = 0x06;
constexpr u8 kReceiveInterrupt = 0x04;
constexpr u8 kTimeoutInterrupt = 0x0C;
constexpr u8 kTransmitInterrupt = 0x02;
constexpr u8 kModemInterrupt = 0x00;
constexpr u8 kFifosOn = 0xC0;
constexpr u8 kDivisorAccess = 0x80;  // LCR
constexpr u8 kRequestToSend = 0x02;  // MCR
constexpr u8 kDataTerminalReady = 0x01;
constexpr u8 kOut1 = 0x04;
constexpr u8 kOut2 = 0x08;  // on a PC: connects the interrupt to the bus
constexpr u8 kLoopback = 0x10;
constexpr u8 kDataReady = 0x01;  // LSR
constexpr u8 kOverrun = 0x02;
constexpr u8 kTransmitterEmpty = 0x60;  // THRE and TEMT
constexpr u8 kClearToSend = 0x10;       // MSR
constexpr u8 kDataSetReady = 0x20;
constexpr u8 kRing = 0x40;
constexpr u8 kCarrier = 0x80;

// The baud generator's input and the bits of time it gives per baud (data sheet, programmable baud generator).
constexpr u64 kClockHertz = 1'843'200;
constexpr u64 kClocksPerBit = 16;
// After a byte is written the transmitter's interrupt comes this much later: long enough for a handler to leave first.
// The line's own time is not kept: consoles would be slow for nothing.
constexpr u64 kSendTime = 1000;

constexpr RegisterInfo kRegisters[] = {{0, 8, "RBR/THR/DLL", RegisterRead::changes},
                                       {1, 8, "IER/DLM"},
                                       {2, 8, "IIR/FCR", RegisterRead::changes},
                                       {3, 8, "LCR"},
                                       {4, 8, "MCR"},
                                       {5, 8, "LSR", RegisterRead::changes},
                                       {6, 8, "MSR", RegisterRead::changes},
                                       {7, 8, "SCR"}};

}  // namespace

Uart::Uart(Scheduler& scheduler, InputQueue& inputs, CharPort* output, IrqLine irq, Log& log, std::string name)
    : output_(output),
      irq_(irq),
      log_(log),
      claims_(log, LogChannel::uart),
      name_(std::move(name)),
      source_(inputs.add_source(name_, [this](std::span<const u8> bytes) { receive(bytes); })),
      sent_(scheduler, "sent",
            [this](u64) {
                transmit_interrupt_ = true;
                update();
            }),
      timeout_(scheduler, "timeout",
               [this](u64) {
                   receive_timeout_ = !received_.empty();
                   update();
               }),
      arrival_(scheduler, "arrival", [this](u64) { arrived(); }) {}

Result<void> Uart::attach(Bus& ports, u16 base) {
    return claims_.bytes(
        ports, base, 8, name_, kRegisters, [this](u64 offset) { return read(static_cast<unsigned>(offset)); },
        [this](u64 offset, u8 value) { write(static_cast<unsigned>(offset), value); });
}

void Uart::reset() {
    // Data sheet table III. The divisor, the scratch register and what waits on the line are not touched.
    interrupt_enable_ = 0;
    fifo_control_ = 0;
    line_control_ = 0;
    modem_control_ = 0;
    line_errors_ = 0;
    modem_delta_ = 0;
    received_.clear();
    transmit_interrupt_ = false;
    receive_timeout_ = false;
    sent_.cancel();
    timeout_.cancel();
    expect_arrival();
    update();
}

void Uart::state(StateIo& io) {
    io.section(name_, 1, [&] {
        io.field("interrupt_enable", interrupt_enable_);
        io.field("fifo_control", fifo_control_);
        io.field("line_control", line_control_);
        io.field("modem_control", modem_control_);
        io.field("line_errors", line_errors_);
        io.field("modem_delta", modem_delta_);
        io.field("scratch", scratch_);
        io.field("divisor", divisor_);
        io.sequence("received", received_, kFifo);
        io.sequence("backlog", backlog_, kBacklog);
        io.field("transmit_interrupt", transmit_interrupt_);
        io.field("receive_timeout", receive_timeout_);
        sent_.state(io);
        timeout_.state(io);
        arrival_.state(io);
    });
    waiting_.store(backlog_.size(), std::memory_order_relaxed);
}

bool Uart::divisor_access() const {
    return line_control_ & kDivisorAccess;
}

bool Uart::fifo_enabled() const {
    return fifo_control_ & kFifoEnable;
}

bool Uart::loopback() const {
    return modem_control_ & kLoopback;
}

size_t Uart::receive_trigger() const {
    constexpr size_t kTriggers[] = {1, 4, 8, 14};
    return fifo_enabled() ? kTriggers[fifo_control_ >> 6] : 1;
}

// Nanoseconds that a character is on the line: start bit, 5 to 8 data bits, parity, one or two stop bits.
u64 Uart::character_time() const {
    const u64 line_bits = 1 + 5 + (line_control_ & 3) + bit(line_control_, 3) + 1 + bit(line_control_, 2);
    const u64 divisor = divisor_ ? divisor_ : 1;
    return line_bits * divisor * kClocksPerBit * kNanosecondsPerSecond / kClockHertz;
}

u8 Uart::read(unsigned offset) {
    switch (offset) {
        case kData:
            return divisor_access() ? static_cast<u8>(divisor_) : read_receiver();
        case kInterruptEnable:
            return divisor_access() ? static_cast<u8>(divisor_ >> 8) : interrupt_enable_;
        case kIdentityFifo:
            return read_interrupt_identity();
        case kLineControl:
            return line_control_;
        case kModemControl:
            return modem_control_;
        case kLineStatus:
            return read_line_status();
        case kModemStatus:
            return read_modem_status();
        default:
            return scratch_;
    }
}

void Uart::write(unsigned offset, u8 value) {
    switch (offset) {
        case kData:
            if (!divisor_access()) return write_transmitter(value);
            divisor_ = static_cast<u16>((divisor_ & 0xFF00) | value);
            return;
        case kInterruptEnable:
            if (!divisor_access()) return write_interrupt_enable(value);
            divisor_ = static_cast<u16>((divisor_ & 0x00FF) | value << 8);
            return;
        case kIdentityFifo:
            return write_fifo_control(value);
        case kLineControl:
            line_control_ = value;
            return;
        case kModemControl:
            return write_modem_control(value);
        case kLineStatus:
        case kModemStatus:
            return;  // for factory tests only (data sheet, line status register)
        default:
            scratch_ = value;
    }
}

u8 Uart::read_receiver() {
    if (received_.empty()) return 0;
    const u8 value = received_.front();
    received_.pop_front();
    receive_timeout_ = false;
    restart_timeout();
    expect_arrival();
    update();
    return value;
}

u8 Uart::interrupt_identity() const {
    if ((interrupt_enable_ & kLineStatusEnable) && line_errors_) return kLineStatusInterrupt;
    if (interrupt_enable_ & kReceiveEnable) {
        if (received_.size() >= receive_trigger()) return kReceiveInterrupt;
        if (receive_timeout_) return kTimeoutInterrupt;
    }
    if ((interrupt_enable_ & kTransmitEnable) && transmit_interrupt_) return kTransmitInterrupt;
    if ((interrupt_enable_ & kModemStatusEnable) && modem_delta_) return kModemInterrupt;
    return kNoInterrupt;
}

u8 Uart::read_interrupt_identity() {
    const u8 identity = interrupt_identity();
    if (identity == kTransmitInterrupt) {
        transmit_interrupt_ = false;  // reading it is the answer to it
        update();
    }
    return identity | (fifo_enabled() ? kFifosOn : 0);
}

u8 Uart::read_line_status() {
    u8 value = line_errors_ | kTransmitterEmpty;
    if (!received_.empty()) value |= kDataReady;
    line_errors_ = 0;
    update();
    return value;
}

u8 Uart::modem_inputs() const {
    if (!loopback()) return output_ ? kClearToSend | kDataSetReady | kCarrier : 0;
    return (modem_control_ & kRequestToSend ? kClearToSend : 0) |
           (modem_control_ & kDataTerminalReady ? kDataSetReady : 0) | (modem_control_ & kOut1 ? kRing : 0) |
           (modem_control_ & kOut2 ? kCarrier : 0);
}

u8 Uart::read_modem_status() {
    const u8 value = modem_inputs() | modem_delta_;
    modem_delta_ = 0;
    update();
    return value;
}

void Uart::write_transmitter(u8 value) {
    transmit_interrupt_ = false;
    // While the interrupt is off nobody can tell when the byte has left; enabling it asks at once.
    if ((interrupt_enable_ & kTransmitEnable) && !sent_.pending()) sent_.schedule_in(kSendTime);
    if (loopback()) {
        accept(value);
    } else if (output_) {
        output_->write(std::span<const u8>(&value, 1));
    }
    update();
}

void Uart::write_interrupt_enable(u8 value) {
    value &= 0x0F;
    // Enabling it with an empty transmitter asks at once, which drivers rely on.
    if ((value & ~interrupt_enable_) & kTransmitEnable) transmit_interrupt_ = true;
    interrupt_enable_ = value;
    update();
}

void Uart::write_fifo_control(u8 value) {
    const bool toggled = (value ^ fifo_control_) & kFifoEnable;
    // The other bits count only while the FIFOs are being or stay enabled.
    if (toggled || ((value & kFifoEnable) && (value & kFifoClearReceive))) {
        received_.clear();
        receive_timeout_ = false;
        timeout_.cancel();
    }
    if (toggled || ((value & kFifoEnable) && (value & kFifoClearTransmit))) {
        if (sent_.pending()) {
            sent_.cancel();
            transmit_interrupt_ = true;
        }
    }
    fifo_control_ = value & kFifoEnable ? value & kFifoKept : 0;
    expect_arrival();
    update();
}

void Uart::write_modem_control(u8 value) {
    const u8 before = modem_inputs();
    modem_control_ = value & 0x1F;
    const u8 after = modem_inputs();
    const u8 changed = before ^ after;
    // The ring indicator counts only when it ends (TERI).
    modem_delta_ |=
        static_cast<u8>((changed & (kClearToSend | kDataSetReady | kCarrier)) | (changed & before & kRing)) >> 4;
    expect_arrival();
    update();
}

// A character has arrived in the receiver.
void Uart::accept(u8 value) {
    if (received_.size() >= receive_capacity()) {
        line_errors_ |= kOverrun;
        // Without FIFO the new character replaces the old one; a full FIFO keeps what it has (data sheet, overrun
        // error).
        if (fifo_enabled()) return;
        received_.pop_back();
    }
    received_.push_back(value);
    restart_timeout();
}

void Uart::receive(std::span<const u8> bytes) {
    const size_t room = kBacklog - backlog_.size();
    if (bytes.size() > room) log_.once(LogChannel::uart, "%s: the guest does not read, input is lost", name_.c_str());
    const auto taken = bytes.first(std::min(bytes.size(), room));
    backlog_.insert(backlog_.end(), taken.begin(), taken.end());
    if (!arrival_.pending()) arrived();
    waiting_.store(backlog_.size(), std::memory_order_relaxed);
    received_count_.fetch_add(bytes.size(), std::memory_order_release);
}

// The host side knows flow control: a byte waits on the line until there is room for it.
void Uart::arrived() {
    if (backlog_.empty() || loopback() || received_.size() >= receive_capacity()) return;
    const u8 value = backlog_.front();
    backlog_.pop_front();
    waiting_.store(backlog_.size(), std::memory_order_relaxed);
    accept(value);
    expect_arrival();
    update();
}

void Uart::expect_arrival() {
    if (!backlog_.empty() && !arrival_.pending()) arrival_.schedule_in(character_time());
}

void Uart::restart_timeout() {
    if (received_.empty() || !fifo_enabled()) return timeout_.cancel();
    timeout_.schedule_in(4 * character_time());
}

void Uart::update() {
    const bool connected = (modem_control_ & kOut2) && !loopback();
    irq_.set(connected && interrupt_identity() != kNoInterrupt);
}

}  // namespace lodge
