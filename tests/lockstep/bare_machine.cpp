#include "tests/lockstep/bare_machine.h"

#include <algorithm>

#include "core/interp/interpreter.h"
#include "jit/translator.h"
#include "tests/lockstep/layout.h"

namespace lodge::lockstep {

namespace {

u64 mix(u64 value) {
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9;
    value = (value ^ value >> 27) * 0x94D049BB133111EB;
    return value ^ value >> 31;
}

}  // namespace

u64 Devices::access(u64 kind, u64 address, unsigned size, u64 value) {
    for (const u64 part : {kind, address, u64{size}, value, clock_.now()})
        history_ = mix((history_ + 0x9E3779B97F4A7C15) ^ part);
    return history_ & ~u64{0} >> (64 - 8 * size);
}

void Devices::written(u64 kind, u64 address, u64 value) {
    if (kind == 0 && address == kA20Port) return cpu_->set_a20(value & 2);
    if (kind == 0 && address == kStopPort) return cpu_->request_attention(kAttentionKick);
    const bool is_request = kind == 0 ? address == kRequestPort : (address & 0xFF0) == 0x100;
    const bool is_nmi = kind == 0 ? address == kNmiPort : (address & 0xFF0) == 0x110;
    if (is_request) request(static_cast<u8>(kInterrupts + value % 32));
    if (is_nmi) cpu_->nmi();
}

void Devices::reset() {
    std::fill(std::begin(requests_), std::end(requests_), 0);
    cpu_->set_interrupt(false);
}

void Devices::request(u8 vector) {
    requests_[vector / 64] |= u64{1} << vector % 64;
    cpu_->set_interrupt(true);
}

std::optional<u8> Devices::acknowledge() {
    for (unsigned i = 4; i-- > 0;) {
        if (!requests_[i]) continue;
        const unsigned highest = 63 - static_cast<unsigned>(std::countl_zero(requests_[i]));
        requests_[i] &= ~(u64{1} << highest);
        cpu_->set_interrupt(std::any_of(std::begin(requests_), std::end(requests_), [](u64 some) { return some; }));
        return static_cast<u8>(i * 64 + highest);
    }
    cpu_->set_interrupt(false);
    return std::nullopt;
}

std::unique_ptr<BareMachine> BareMachine::create(const EngineChoice& choice, const CpuModel& model,
                                                 std::span<const u8> handlers) {
    std::unique_ptr<BareMachine> made(new BareMachine);
    auto memory = PhysicalMemory::create(kMemorySize, made->devices_.registers());
    if (!memory) return nullptr;
    made->memory_ = std::move(*memory);
    made->memory_->map(0, kMemorySize, 0, true);
    made->memory_->map(kHandlers, kHandlersSize, kHandlers, false);
    const std::span<u8> backing = made->memory_->backing();
    std::fill(backing.begin(), backing.end(), kNoInstruction);
    std::copy(handlers.begin(), handlers.end(), backing.begin() + kHandlers);
    made->memory_->touched(0, kMemorySize);
    made->cpu_ = std::make_unique<Cpu>(made->log_, *made->memory_, made->devices_.ports(), made->clock_, model);
    made->devices_.connect(*made->cpu_);
    made->cpu_->connect(made->devices_, nullptr);
    if (!choice.translator) {
        made->engine_ = std::make_unique<Interpreter>(*made->cpu_);
        return made;
    }
    auto translator = jit::Translator::create(
        *made->cpu_,
        {.code_bytes = choice.code_bytes, .hot = choice.hot, .samples = choice.samples, .often = choice.often});
    if (!translator) return nullptr;
    made->engine_ = std::move(*translator);
    return made;
}

void BareMachine::reset() {
    devices_.reset();
    clock_.set_position(cpu_->state.retired);
    cpu_->reset();
    cpu_->attention.store(0);
}

}  // namespace lodge::lockstep
