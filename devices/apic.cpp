#include "devices/apic.h"

#include <algorithm>

namespace lodge {

namespace {

// Register numbers: offset / 16 (SDM 3A table 10-1).
enum Register : unsigned {
    kId = 0x02,
    kVersion = 0x03,
    kTaskPriority = 0x08,
    kArbitrationPriority = 0x09,
    kProcessorPriority = 0x0A,
    kEoi = 0x0B,
    kLogicalDestination = 0x0D,
    kDestinationFormat = 0x0E,
    kSpurious = 0x0F,
    kInService = 0x10,
    kTrigger = 0x18,
    kRequest = 0x20,
    kErrorStatus = 0x28,
    kCommandLow = 0x30,
    kCommandHigh = 0x31,
    kLvtFirst = 0x32,
    kInitialCount = 0x38,
    kCurrentCount = 0x39,
    kDivide = 0x3E,
};

constexpr RegisterInfo kRegisters[] = {{0x020, 32, "ID"},
                                       {0x030, 32, "VERSION"},
                                       {0x080, 32, "TPR"},
                                       {0x090, 32, "APR"},
                                       {0x0A0, 32, "PPR"},
                                       {0x0B0, 32, "EOI"},
                                       {0x0D0, 32, "LDR"},
                                       {0x0E0, 32, "DFR"},
                                       {0x0F0, 32, "SVR"},
                                       {0x100, 32, "ISR0"},
                                       {0x180, 32, "TMR0"},
                                       {0x200, 32, "IRR0"},
                                       {0x280, 32, "ESR"},
                                       {0x300, 32, "ICR_LOW"},
                                       {0x310, 32, "ICR_HIGH"},
                                       {0x320, 32, "LVT_TIMER"},
                                       {0x330, 32, "LVT_THERMAL"},
                                       {0x340, 32, "LVT_PERFORMANCE"},
                                       {0x350, 32, "LVT_LINT0"},
                                       {0x360, 32, "LVT_LINT1"},
                                       {0x370, 32, "LVT_ERROR"},
                                       {0x380, 32, "INITIAL_COUNT"},
                                       {0x390, 32, "CURRENT_COUNT"},
                                       {0x3E0, 32, "DIVIDE"}};

// An integrated APIC with LVT entries 0 to 5 (SDM 10.4.8).
constexpr u32 kVersionValue = 0x00050014;
constexpr u32 kMasked = 1U << 16;
constexpr u32 kRemoteIrr = 1U << 14;
constexpr u32 kLevelTrigger = 1U << 15;
// What software can set in each LVT entry (SDM figure 10-8).
constexpr u32 kLvtWritable[] = {0x000300FF, 0x000107FF, 0x000107FF, 0x0001A7FF, 0x0001A7FF, 0x000100FF};
constexpr u32 kCommandWritable = 0x000CCFFF;
constexpr u32 kSpuriousWritable = 0x000001FF;

constexpr u8 kSendIllegalVector = 0x20;  // error status bits (SDM figure 10-9)
constexpr u8 kReceivedIllegalVector = 0x40;
constexpr u8 kIllegalRegister = 0x80;

constexpr u64 kBaseBoot = 1U << 8;
constexpr u64 kBaseEnable = 1U << 11;
constexpr unsigned kAddressBits = 36;
constexpr u64 kBaseAddress = ((u64{1} << kAddressBits) - 1) & ~u64{0xFFF};

constexpr u64 kNanosecondsPerTick = kNanosecondsPerSecond / LocalApic::kTimerHertz;

ApicDelivery delivery_of(u32 value) {
    return static_cast<ApicDelivery>(bits(value, 8, 3));
}

std::optional<u8> highest(const std::array<u32, 8>& set) {
    for (unsigned i = 8; i-- > 0;)
        if (set[i]) return static_cast<u8>(i * 32 + 31 - static_cast<unsigned>(std::countl_zero(set[i])));
    return std::nullopt;
}

void assign(std::array<u32, 8>& set, u8 vector, bool value) {
    const u32 one = 1U << (vector % 32);
    set[vector / 32] = value ? set[vector / 32] | one : set[vector / 32] & ~one;
}

bool contains(const std::array<u32, 8>& set, u8 vector) {
    return bit(set[vector / 32], vector % 32);
}

}  // namespace

bool ApicBus::deliver(const ApicMessage& message) {
    if (message.delivery != ApicDelivery::lowest_priority) {
        bool taken = false;
        for (LocalApic* apic : apics_)
            if (apic->accepts(message.destination, message.logical)) taken |= apic->receive(message);
        return taken;
    }
    LocalApic* lowest = nullptr;
    for (LocalApic* apic : apics_) {
        if (!apic->enabled() || !apic->accepts(message.destination, message.logical)) continue;
        if (!lowest || apic->processor_priority() < lowest->processor_priority()) lowest = apic;
    }
    return lowest && lowest->receive(message);
}

void ApicBus::broadcast(const ApicMessage& message, const LocalApic* except) {
    for (LocalApic* apic : apics_)
        if (apic != except) apic->receive(message);
}

void ApicBus::end_of_interrupt(u8 vector) {
    for (EoiListener* listener : listeners_) listener->end_of_interrupt(vector);
}

LocalApic::LocalApic(Scheduler& scheduler, CpuPins& cpu, ApicBus& bus, InterruptController& external, Log& log, u8 id)
    : scheduler_(scheduler),
      cpu_(cpu),
      bus_(bus),
      external_(external),
      log_(log),
      claims_(log, LogChannel::apic),
      name_("apic" + std::to_string(id)),
      initial_id_(id),
      timer_(scheduler, "timer", [this](u64) { timer_expired(); }) {
    bus.add(*this);
    base_msr_ = kDefaultBase | kBaseEnable | (initial_id_ == 0 ? kBaseBoot : 0);
    id_ = initial_id_;
    reset_registers();
}

Result<void> LocalApic::attach(Bus& mmio) {
    mmio_ = &mmio;
    return claim_page();
}

Result<void> LocalApic::claim_page() {
    claims_.release();
    if (!mmio_ || !globally_enabled()) return {};
    // Registers are 32 bits wide on 16-byte boundaries and want 32-bit accesses (SDM 10.4.1); narrower reads see part.
    return claims_.any(
        *mmio_, base_msr_ & kBaseAddress, 4096, name_, kRegisters,
        [this](u64 offset, unsigned size) { return u64{read(offset)} >> (8 * (offset & 3)); },
        [this](u64 offset, unsigned size, u64 value) {
            if (size >= 4 && offset % 16 == 0) return write(offset, static_cast<u32>(value));
            log_.once(LogChannel::apic, "%u-byte write to a local APIC ignored", size);
        });
}

void LocalApic::reset() {
    base_msr_ = kDefaultBase | kBaseEnable | (initial_id_ == 0 ? kBaseBoot : 0);
    id_ = initial_id_;
    reset_registers();
    move_page();
    update();
}

// What reset and INIT have in common: all but the ID and IA32_APIC_BASE (SDM 10.4.7.3).
void LocalApic::reset_registers() {
    task_priority_ = 0;
    logical_destination_ = 0;
    destination_format_ = 0xFFFFFFFF;
    spurious_ = 0xFF;
    error_status_ = 0;
    error_pending_ = 0;
    command_low_ = 0;
    command_high_ = 0;
    lvt_.fill(kMasked);
    request_ = {};
    in_service_ = {};
    trigger_ = {};
    initial_count_ = 0;
    divide_ = 0;
    timer_running_ = false;
    external_request_ = false;
    timer_.cancel();
}

void LocalApic::enable_virtual_wire() {
    write_spurious(0x10F);
    write_lvt(kLvtLint0, static_cast<u32>(ApicDelivery::external) << 8);
    write_lvt(kLvtLint1, static_cast<u32>(ApicDelivery::nmi) << 8);
    update();
}

void LocalApic::state(StateIo& io) {
    io.section(name_, 1, [&] {
        io.field("base_msr", base_msr_);
        io.field("id", id_);
        io.field("task_priority", task_priority_);
        io.field("logical_destination", logical_destination_);
        io.field("destination_format", destination_format_);
        io.field("spurious", spurious_);
        io.field("error_status", error_status_);
        io.field("error_pending", error_pending_);
        io.field("command_low", command_low_);
        io.field("command_high", command_high_);
        io.field("lvt", lvt_);
        io.field("request", request_);
        io.field("in_service", in_service_);
        io.field("trigger", trigger_);
        io.field("initial_count", initial_count_);
        io.field("divide", divide_);
        io.field("timer_running", timer_running_);
        io.field("timer_start", timer_start_);
        io.field("lint0", lint_[kLint0]);
        io.field("lint1", lint_[kLint1]);
        io.field("external_request", external_request_);
        timer_.state(io);
    });
    if (!io.loading()) return;
    if (timer_running_ && initial_count_ == 0) {
        io.fail("apic: a running timer without a count");
        timer_running_ = false;
    }
    move_page();
}

void LocalApic::move_page() {
    if (const auto claimed = claim_page(); !claimed)
        log_.once(LogChannel::apic, "local APIC page not reachable: %s", claimed.error().context.c_str());
}

bool LocalApic::set_base_msr(u64 value) {
    // Bits 7:0 and 9 are reserved, bit 10 (x2APIC) is not announced.
    if (value & ~(kBaseAddress | kBaseEnable | kBaseBoot)) return false;
    const bool was_enabled = globally_enabled();
    base_msr_ = (value & ~kBaseBoot) | (base_msr_ & kBaseBoot);
    if (was_enabled && !globally_enabled()) reset_registers();
    move_page();
    update();
    return true;
}

void LocalApic::set_task_priority(u8 value) {
    task_priority_ = value;
    update();
}

bool LocalApic::accepts(u8 destination, bool logical) const {
    if (!globally_enabled()) return false;
    if (destination == 0xFF) return true;
    if (!logical) return destination == id_;
    const u8 mine = static_cast<u8>(logical_destination_ >> 24);
    if (destination_format_ >> 28 == 0xF) return mine & destination;
    return (mine ^ destination) < 0x10 && (mine & destination & 0x0F);
}

u8 LocalApic::processor_priority() const {
    const u8 serving = highest(in_service_).value_or(0);
    return task_priority_ >> 4 >= serving >> 4 ? task_priority_ : serving & 0xF0;
}

bool LocalApic::receive(const ApicMessage& message) {
    switch (message.delivery) {
        case ApicDelivery::fixed:
        case ApicDelivery::lowest_priority:
            return enabled() && raise_vector(message.vector, message.level_triggered);
        case ApicDelivery::nmi:
            cpu_.nmi();
            return true;
        case ApicDelivery::init:
            // A level de-assert only synchronised arbitration IDs on old APICs.
            if (message.level_triggered && !message.assert_level) return true;
            reset_registers();
            update();
            cpu_.init();
            return true;
        case ApicDelivery::startup:
            cpu_.startup(message.vector);
            return true;
        case ApicDelivery::external:
            if (!enabled()) return false;
            external_request_ = true;
            update();
            return true;
        default:
            log_.once(LogChannel::apic, "delivery mode %u ignored", static_cast<unsigned>(message.delivery));
            return false;
    }
}

bool LocalApic::raise_vector(u8 vector, bool level_triggered) {
    if (vector < 16) {
        error(kReceivedIllegalVector);
        return false;
    }
    assign(request_, vector, true);
    assign(trigger_, vector, level_triggered);
    update();
    return true;
}

void LocalApic::error(u8 error_bits) {
    const bool news = error_bits & ~error_pending_;
    error_pending_ |= error_bits;
    const u8 vector = static_cast<u8>(lvt_[kLvtError]);
    // An illegal vector in the error entry itself must not go round in circles.
    if (news && !masked(kLvtError) && vector >= 16) raise_vector(vector, false);
}

void LocalApic::set_irq(unsigned pin, bool level) {
    if (pin > kLint1) return;
    const bool rises = level && !lint_[pin];
    lint_[pin] = level;
    if (globally_enabled()) {
        const u32 entry = lvt_[kLvtLint0 + pin];
        const bool level_fixed = delivery_of(entry) == ApicDelivery::fixed && (entry & kLevelTrigger);
        if (rises || (level && level_fixed)) raise_lint(pin);
    } else if (rises && pin == kLint1) {
        cpu_.nmi();
    }
    update();
}

// The active level or edge of a LINT pin meets its LVT entry. ExtINT is not an event but a level: external_pending().
void LocalApic::raise_lint(unsigned pin) {
    u32& entry = lvt_[kLvtLint0 + pin];
    if (entry & kMasked) return;
    switch (delivery_of(entry)) {
        case ApicDelivery::fixed: {
            const bool level = entry & kLevelTrigger;
            if (level && (entry & kRemoteIrr)) return;
            if (raise_vector(static_cast<u8>(entry), level) && level) entry |= kRemoteIrr;
            return;
        }
        case ApicDelivery::nmi:
            cpu_.nmi();
            return;
        case ApicDelivery::init:
            reset_registers();
            cpu_.init();
            return;
        default:
            return;
    }
}

bool LocalApic::external_pending() const {
    if (!globally_enabled()) return lint_[kLint0];
    if (external_request_) return true;
    for (unsigned pin : {kLint0, kLint1}) {
        const unsigned index = kLvtLint0 + pin;
        if (lint_[pin] && !masked(index) && delivery_of(lvt_[index]) == ApicDelivery::external) return true;
    }
    return false;
}

std::optional<u8> LocalApic::deliverable() const {
    if (!globally_enabled()) return std::nullopt;
    const auto vector = highest(request_);
    if (!vector || *vector >> 4 <= processor_priority() >> 4) return std::nullopt;
    return vector;
}

void LocalApic::update() {
    cpu_.set_interrupt(deliverable() || external_pending());
}

std::optional<u8> LocalApic::acknowledge() {
    auto vector = deliverable();
    if (vector) {
        assign(request_, *vector, false);
        assign(in_service_, *vector, true);
    } else if (external_pending()) {
        external_request_ = false;
        vector = external_.acknowledge();
    }
    update();
    return vector;
}

void LocalApic::write_eoi() {
    const auto vector = highest(in_service_);
    if (!vector) return;
    assign(in_service_, *vector, false);
    if (contains(trigger_, *vector)) {
        for (unsigned pin : {kLint0, kLint1}) {
            u32& entry = lvt_[kLvtLint0 + pin];
            if (static_cast<u8>(entry) != *vector || !(entry & kRemoteIrr)) continue;
            entry &= ~kRemoteIrr;
            if (lint_[pin]) raise_lint(pin);
        }
        bus_.end_of_interrupt(*vector);
    }
}

void LocalApic::send_command() {
    ApicMessage message;
    message.destination = static_cast<u8>(command_high_ >> 24);
    message.logical = bit(command_low_, 11);
    message.delivery = delivery_of(command_low_);
    message.vector = static_cast<u8>(command_low_);
    message.level_triggered = bit(command_low_, 15);
    message.assert_level = bit(command_low_, 14);
    const bool has_vector =
        message.delivery == ApicDelivery::fixed || message.delivery == ApicDelivery::lowest_priority;
    if (has_vector && message.vector < 16) return error(kSendIllegalVector);
    // The trigger mode only matters to INIT; all else is sent as an edge (SDM 10.6.1).
    if (message.delivery != ApicDelivery::init) message.level_triggered = false;
    switch (bits(command_low_, 18, 2)) {
        case 0:
            bus_.deliver(message);
            return;
        case 1:
            receive(message);
            return;
        case 2:
            return bus_.broadcast(message, nullptr);
        default:
            return bus_.broadcast(message, this);
    }
}

u32 LocalApic::read(u64 offset) {
    return offset % 16 < 4 ? read_register(static_cast<unsigned>(offset / 16)) : 0;
}

void LocalApic::write(u64 offset, u32 value) {
    write_register(static_cast<unsigned>(offset / 16), value);
    update();
}

u32 LocalApic::read_register(unsigned index) {
    if (index >= kInService && index < kTrigger) return in_service_[index - kInService];
    if (index >= kTrigger && index < kRequest) return trigger_[index - kTrigger];
    if (index >= kRequest && index < kErrorStatus) return request_[index - kRequest];
    if (index >= kLvtFirst && index - kLvtFirst < lvt_.size()) return lvt_[index - kLvtFirst];
    switch (index) {
        case kId:
            return u32{id_} << 24;
        case kVersion:
            return kVersionValue;
        case kTaskPriority:
            return task_priority_;
        case kArbitrationPriority:
        case kProcessorPriority:
            return processor_priority();
        case kEoi:
            return 0;
        case kLogicalDestination:
            return logical_destination_;
        case kDestinationFormat:
            return destination_format_;
        case kSpurious:
            return spurious_;
        case kErrorStatus:
            return error_status_;
        case kCommandLow:
            return command_low_;
        case kCommandHigh:
            return command_high_;
        case kInitialCount:
            return initial_count_;
        case kCurrentCount:
            settle_timer();
            return current_count();
        case kDivide:
            return divide_;
        default:
            error(kIllegalRegister);
            return 0;
    }
}

void LocalApic::write_register(unsigned index, u32 value) {
    if (index >= kInService && index < kErrorStatus) return;  // read-only
    if (index >= kLvtFirst && index - kLvtFirst < lvt_.size()) return write_lvt(index - kLvtFirst, value);
    switch (index) {
        case kId:
            id_ = static_cast<u8>(value >> 24);
            return;
        case kVersion:
        case kArbitrationPriority:
        case kProcessorPriority:
        case kCurrentCount:
            return;  // read-only
        case kTaskPriority:
            task_priority_ = static_cast<u8>(value);
            return;
        case kEoi:
            return write_eoi();
        case kLogicalDestination:
            logical_destination_ = value & 0xFF000000;
            return;
        case kDestinationFormat:
            destination_format_ = value | 0x0FFFFFFF;
            return;
        case kSpurious:
            return write_spurious(value);
        case kErrorStatus:
            // A write makes the errors since the last one readable (SDM 10.5.3).
            error_status_ = error_pending_;
            error_pending_ = 0;
            return;
        case kCommandLow:
            command_low_ = value & kCommandWritable;
            return send_command();
        case kCommandHigh:
            command_high_ = value & 0xFF000000;
            return;
        case kInitialCount:
            return write_initial_count(value);
        case kDivide:
            return write_divide(value);
        default:
            error(kIllegalRegister);
    }
}

void LocalApic::write_spurious(u32 value) {
    spurious_ = value & kSpuriousWritable;
    // Software-disabled: all LVT entries are masked and stay so (SDM 10.4.7.2).
    if (enabled()) return;
    for (u32& entry : lvt_) entry |= kMasked;
}

void LocalApic::write_lvt(unsigned index, u32 value) {
    if (index == kLvtTimer) settle_timer();
    const u32 count = index == kLvtTimer ? current_count() : 0;
    lvt_[index] = (value & kLvtWritable[index]) | (lvt_[index] & kRemoteIrr);
    if (!enabled()) lvt_[index] |= kMasked;
    if (index == kLvtTimer) {
        if (timer_running_) continue_timer(count);
        return;
    }
    if (index != kLvtLint0 && index != kLvtLint1) return;
    if (!(value & kLevelTrigger)) lvt_[index] &= ~kRemoteIrr;
    const bool level_fixed = delivery_of(value) == ApicDelivery::fixed && (value & kLevelTrigger);
    if (level_fixed && lint_[index - kLvtLint0]) raise_lint(index - kLvtLint0);
}

// Nanoseconds of one count.
u64 LocalApic::timer_tick() const {
    // Bits 3, 1 and 0: 000 divides by 2, 001 by 4, .. 110 by 128, 111 by 1 (SDM figure 10-10).
    const u32 code = bits(divide_, 3, 1) << 2 | bits(divide_, 0, 2);
    return kNanosecondsPerTick << ((code + 1) & 7);
}

u32 LocalApic::current_count() const {
    if (!timer_running_) return 0;
    const u64 counts = (scheduler_.now() - timer_start_) / timer_tick();
    if (timer_periodic()) return static_cast<u32>(initial_count_ - counts % initial_count_);
    return counts >= initial_count_ ? 0 : static_cast<u32>(initial_count_ - counts);
}

void LocalApic::write_initial_count(u32 value) {
    settle_timer();
    initial_count_ = value;
    timer_running_ = value != 0;
    timer_.cancel();
    if (timer_running_) continue_timer(value);
}

void LocalApic::write_divide(u32 value) {
    settle_timer();
    const u32 count = current_count();
    divide_ = value & 0x0B;
    if (timer_running_) continue_timer(count);
}

// Goes on counting down from `count` under the programming as it is now. Near guest time 0 the start may lie before it:
// the unsigned arithmetic wraps and comes out right.
void LocalApic::continue_timer(u32 count) {
    const u64 now = scheduler_.now();
    timer_start_ = now - (initial_count_ - count) * timer_tick();
    timer_.schedule_at(std::max(timer_start_ + timer_period(), now + 1));
}

// On the realtime clock the count may reach zero a little before the scheduler comes to tell: whoever looks at the
// timer or changes it then finds it expired, under the programming that it had.
void LocalApic::settle_timer() {
    if (!timer_running_ || scheduler_.now() < timer_start_ + timer_period()) return;
    timer_.cancel();
    timer_expired();
}

void LocalApic::timer_expired() {
    if (!timer_running_ || initial_count_ == 0) return;
    if (timer_periodic()) {
        const u64 now = scheduler_.now();
        timer_start_ += (now - timer_start_) / timer_period() * timer_period();
        timer_.schedule_at(std::max(timer_start_ + timer_period(), now + 1));
    } else {
        timer_running_ = false;
    }
    if (!masked(kLvtTimer)) raise_vector(static_cast<u8>(lvt_[kLvtTimer]), false);
}

}  // namespace lodge
