#include "tests/lockstep/round.h"

#include <chrono>
#include <cstdio>
#include <deque>

#include "tests/lockstep/cpu_fields.h"
#include "tests/lockstep/layout.h"
#include "tests/random_values.h"

namespace lodge::lockstep {

namespace {

constexpr u64 kMemoryInterval = 3000;  // instructions between two comparisons of memory
// Repetitions come back now and then; no step takes so many.
constexpr unsigned kMostReturns = 100000;

// FS, GS, SYSENTER and SYSCALL: SDM vol. 4.
constexpr u32 kSysenterCs = 0x174, kSysenterEsp = 0x175, kSysenterEip = 0x176, kStar = 0xC0000081, kLstar = 0xC0000082,
              kCstar = 0xC0000083, kFlagMask = 0xC0000084;

const CpuModel& draw_model(Random& random) {
    const auto& models = cpu_models();
    return random.chance(75) ? models.back() : models[random.below(models.size())];
}

}  // namespace

// The steps of one program, and what happens from outside between them.
struct Round::Steps {
    Random random;
    u64 end;  // instructions retired
    u64 next = 0;
    u64 from = 0, to = 0;  // of the step
};

Round::Round(u64 seed, u64 number) : seed_(seed), number_(number) {
    Random random;
    random.seed(seed ^ 0x726F756E64, number);
    model_ = &draw_model(random);
    static constexpr u32 kHot[] = {0, 0, 1, 3, 10, 50};
    // The smallest has room for the longest block in each of its 16 regions.
    static constexpr u64 kCode[] = {u64{640} << 10, u64{1} << 20, u64{8} << 20};
    static constexpr u32 kSamples[] = {0, 1, 3, 3};
    static constexpr i32 kOften[] = {0, 5, 200, 4000};
    const auto draw = [&](const auto& values) { return values[random.below(std::size(values))]; };
    choice_ = {true, draw(kHot), draw(kSamples), draw(kOften), draw(kCode)};
}

std::unique_ptr<Round> Round::create(u64 seed, u64 number, std::span<const u8> handlers) {
    std::unique_ptr<Round> round(new Round(seed, number));
    round->a_ = BareMachine::create({}, *round->model_, handlers);
    round->b_ = BareMachine::create(round->choice_, *round->model_, handlers);
    if (!round->a_ || !round->b_) return nullptr;
    round->watchdog_ = std::make_unique<Watchdog>(round->a_->cpu(), round->b_->cpu());
    return round;
}

std::string Round::describe() const {
    return program_.describe() + ", " + std::string(model_->name) + ", hot after " + std::to_string(choice_.hot) +
           " and " + std::to_string(choice_.samples) + ", versions after " + std::to_string(choice_.often) +
           ", code memory of " + std::to_string(choice_.code_bytes >> 10) + " KiB";
}

// ---------------------------------------------------------------------------------------------------- Starting

bool Round::start(BareMachine& machine) {
    const Program& p = program_;
    machine.reset();
    PhysicalMemory& memory = machine.memory();
    const std::span<const u8> image = p.memory;
    memory.write(0, image.subspan(0, kHandlers));
    memory.write(kHandlers + kHandlersSize, image.subspan(kHandlers + kHandlersSize));
    memory.write(kHighArena, image.subspan(kArena, kArenaSize));
    Cpu& cpu = machine.cpu();
    CpuState& state = cpu.state;
    state.fpu = p.fpu;
    if (p.mode == Mode::real) {
        state.idtr = {kIvt, 0x3FF, 0};
        state.gdtr = {kGdt, 0xFF, 0};
        for (const Segment segment : {Segment::ds, Segment::es, Segment::fs, Segment::gs})
            cpu.set_real_mode_segment(segment, p.data);
        cpu.set_real_mode_segment(Segment::ss, p.stack);
        cpu.set_real_mode_segment(Segment::cs, p.code);
        if (!cpu.set_cr4(p.cr4) || !cpu.set_cr0(p.cr0)) return false;
    } else {
        const bool is_long = p.paging == Paging::long_mode;
        state.gdtr = {kGdt, 0xFF, 0};
        state.idtr = {kIdt, kVectors * (is_long ? 16 : 8) - 1, 0};
        cpu.enter_flat_protected(kKernelCode32, kKernelData);
        const bool ready = cpu.set_cr4(p.cr4) && cpu.set_cr3(p.paging == Paging::none ? 0 : kRootA) &&
                           cpu.set_efer(p.efer) && cpu.set_cr0(p.cr0) && cpu.load_tr(kTssSelector) &&
                           cpu.load_ldtr(kLdtSelector);
        if (!ready) return false;
        if (has_feature(*model_, CpuFeature::sep)) {
            cpu.write_msr(kSysenterCs, is_long ? kKernelCode64 - 0x20 : kKernelCode32);
            cpu.write_msr(kSysenterEsp, kHandlerStack);
            cpu.write_msr(kSysenterEip, is_long ? kSysenter64 : kSysenter32);
        }
        if (is_long) {
            cpu.write_msr(kStar, u64{kUserCode32} << 48 | u64{kKernelCode64} << 32);
            cpu.write_msr(kLstar, kSyscall64);
            cpu.write_msr(kCstar, kSyscallCompatibility);
            cpu.write_msr(kFlagMask, kFlagTrap | kFlagDirection);
        }
        // By IRET where the mode is a user's, from the stack of the handlers.
        state.gpr[kRsp] = kHandlerStack;
        const unsigned size = is_long ? 8 : 4;
        if (is_long && !cpu.far_jump(kKernelCode64, 0, 4, 0)) return false;
        u32 flags = p.flags & ~kFlagTrap;
        if (p.mode == Mode::virtual8086) {
            flags |= kFlagVirtual8086;
            for (unsigned i = 0; i < 4; ++i) cpu.push(p.data, 4);
        }
        const bool with_stack = p.user || is_long;
        const bool pushed = (!with_stack || (cpu.push(p.stack, size) && cpu.push(p.gpr[kRsp], size))) &&
                            cpu.push(flags, size) && cpu.push(p.code, size) && cpu.push(p.ip, size);
        if (!pushed || !cpu.interrupt_return(size, 0)) return false;
        if (p.mode != Mode::virtual8086) {
            if (!with_stack && !cpu.load_segment(Segment::ss, p.stack)) return false;
            if (!cpu.load_segment(Segment::ds, p.data) || !cpu.load_segment(Segment::es, p.extra)) return false;
            if (!cpu.load_segment(Segment::fs, p.data) || !cpu.load_segment(Segment::gs, p.extra)) return false;
        }
    }
    std::copy(std::begin(p.gpr), std::end(p.gpr), state.gpr);
    state.ip = p.ip;
    cpu.set_eflags((cpu.eflags() & kFlagVirtual8086) | p.flags);
    return true;
}

bool Round::start(u64 number) {
    program_ = make_program(seed_, number_ * kPrograms + number, *model_);
    since_memory_ = 0;
    is_stuck_ = false;
    return start(*a_) && start(*b_);
}

// ---------------------------------------------------------------------------------------------------- Running

void Round::write_both(u64 physical, std::span<const u8> bytes) {
    a_->memory().write(physical, bytes);
    b_->memory().write(physical, bytes);
}

// What other chips do.
void Round::happen(Steps& steps) {
    Random& random = steps.random;
    if (random.below(1000) >= program_.events) return;
    const u64 pick = random.below(100);
    if (pick < 55) {
        const u8 vector = static_cast<u8>(kInterrupts + random.below(32));
        a_->devices().request(vector);
        b_->devices().request(vector);
    } else if (pick < 75) {
        a_->cpu().nmi();
        b_->cpu().nmi();
    } else if (pick < 95) {  // DMA; some of it puts code back as it was
        const u64 at = kArena + random.below(kArenaSize - 0x1000);
        const u64 size = 1 + random.below(random.chance(20) ? 0x1000 : 64);
        write_both(at, std::span<const u8>(program_.memory).subspan(at, size));
    } else {
        const bool enabled = random.chance(70);
        a_->cpu().set_a20(enabled);
        b_->cpu().set_a20(enabled);
    }
}

// After HLT. False: nothing can wake the CPU any more.
bool Round::wake() {
    for (BareMachine* machine : {a_.get(), b_.get()}) {
        if (machine->cpu().flag(kFlagInterrupt))
            machine->devices().request(kInterrupts);
        else
            machine->cpu().nmi();
    }
    const u64 retired = a_->cpu().state.retired;
    return advance(*a_, retired + 1) == ExitReason::budget && advance(*b_, retired + 1) == ExitReason::budget;
}

ExitReason Round::advance(BareMachine& machine, u64 to) {
    watchdog_->pat();
    for (unsigned i = 0; i < kMostReturns; ++i) {
        const u64 retired = machine.cpu().state.retired;
        if (retired >= to) return ExitReason::budget;
        const ExitReason exit = machine.engine().run(to - retired);
        if (exit != ExitReason::kicked) return exit;
        if (watchdog_->has_bitten()) break;
    }
    is_stuck_ = true;
    return ExitReason::kicked;
}

Round::End Round::step(Steps& steps) {
    happen(steps);
    steps.from = a_->cpu().state.retired;
    const u64 range = program_.longest_step - program_.shortest_step + 1;
    steps.to = std::min(steps.end, steps.from + program_.shortest_step + steps.random.below(range));
    ++steps.next;
    const ExitReason exit_a = advance(*a_, steps.to), exit_b = advance(*b_, steps.to);
    if (is_stuck_) return End::over;
    ++counters_.comparisons;
    since_memory_ += a_->cpu().state.retired - steps.from;
    if (exit_a != exit_b || !same_cpus(a_->cpu(), b_->cpu()) || a_->devices().history() != b_->devices().history())
        return End::differs;
    if (since_memory_ >= kMemoryInterval) {
        since_memory_ = 0;
        if (!same_memory(kLowSize)) return End::differs;
    }
    if (exit_a == ExitReason::shutdown) {
        ++counters_.shutdowns;
        return End::over;
    }
    if (a_->cpu().state.retired >= steps.end) return End::over;
    if (exit_a == ExitReason::halted && !wake()) return End::over;
    return End::goes_on;
}

bool Round::same_memory(u64 size) const {
    return std::memcmp(a_->memory().backing().data(), b_->memory().backing().data(), size) == 0;
}

std::optional<Place> Round::run(bool thorough) {
    for (u64 number = 0; number < kPrograms; ++number) {
        if (!start(number)) {
            std::printf("program %lu does not start: %s\n", number, describe().c_str());
            return Place{number, 0, 0};
        }
        const u64 begin = a_->cpu().state.retired;
        Steps steps;
        steps.random.seed(program_.schedule);
        steps.end = begin + program_.instructions;
        End end;
        do {
            end = step(steps);
            if (thorough && end != End::differs && !same_memory(kMemorySize)) end = End::differs;
        } while (end == End::goes_on);
        if (end == End::over && !same_memory(kMemorySize)) end = End::differs;
        if (end == End::differs) return Place{number, steps.next - 1, steps.to - steps.from};
        const u64 instructions = a_->cpu().state.retired - begin;
        ++counters_.programs;
        counters_.stuck += is_stuck_;
        counters_.instructions += instructions;
        counters_.modes[static_cast<unsigned>(program_.mode)] += instructions;
        for (unsigned i = 0; i < kVectors; ++i) {
            const u32 count = a_->memory().read_value<u32>(kCounts + 4 * i);
            if (count < instructions) counters_.interrupts[i] += count;  // else overwritten
        }
    }
    return std::nullopt;
}

// ---------------------------------------------------------------------------------------------------- Differences

// False: the place is not reached.
bool Round::run_to(const Place& place, u64& end) {
    for (u64 number = 0; number <= place.program; ++number) {
        if (!start(number)) return false;
        Steps steps;
        steps.random.seed(program_.schedule);
        steps.end = a_->cpu().state.retired + program_.instructions;
        while (number < place.program || steps.next < place.step)
            if (step(steps) != End::goes_on) break;
        if (number < place.program) continue;
        happen(steps);
        end = a_->cpu().state.retired + place.length;
    }
    return true;
}

bool Round::same_at(const Place& place) {
    u64 end;
    if (!run_to(place, end)) return true;
    return advance(*a_, end) == advance(*b_, end) && same_cpus(a_->cpu(), b_->cpu()) &&
           a_->devices().history() == b_->devices().history() && same_memory(kMemorySize);
}

void Round::print_memory() const {
    const auto x = a_->memory().backing(), y = b_->memory().backing();
    unsigned shown = 0;
    for (size_t at = 0; at < x.size() && shown < 16; ++at)
        if (x[at] != y[at]) std::printf("* memory at %-18zx %16x %16x\n", at, x[at], y[at]), ++shown;
}

void Round::trace(const Place& place) {
    u64 end;
    if (!run_to(place, end)) return;
    constexpr size_t kShown = 50;
    std::deque<std::string> lines;
    Cpu& cpu = a_->cpu();
    while (cpu.state.retired < end) {
        unsigned length;
        char start[120];
        std::snprintf(start, sizeof start, "  %lu cpl %u %04x:%lx: ", cpu.state.retired, cpu.state.cpl,
                      cpu.state.segment(Segment::cs).selector, cpu.state.ip);
        lines.push_back(start + disassemble_at(cpu, cpu.state.ip, length));
        if (lines.size() > kShown) lines.pop_front();
        if (advance(*a_, cpu.state.retired + 1) != ExitReason::budget) break;
    }
    for (const std::string& line : lines) std::printf("%s\n", line.c_str());
    unsigned length;
    std::printf("  next: %lx: %s\n", cpu.state.ip, disassemble_at(cpu, cpu.state.ip, length).c_str());
}

void Round::show(const Place& place) {
    u64 end;
    if (!run_to(place, end)) return;
    const ExitReason exit_a = advance(*a_, end), exit_b = advance(*b_, end);
    if (exit_a != exit_b)
        std::printf("* why they came back: %u %u\n", static_cast<u32>(exit_a), static_cast<u32>(exit_b));
    print_fields(a_->cpu(), b_->cpu());
    if (a_->devices().history() != b_->devices().history()) std::printf("* what devices have been asked\n");
    print_memory();
}

}  // namespace lodge::lockstep
