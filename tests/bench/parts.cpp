// What lodge does outside of guest instructions, one operation at a time, in a machine as `lodge run` makes it: at a
// translator's speed these are what is left.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "frontend/pc_machine.h"

namespace lodge {
namespace {

// Instructions that take no time.
class NothingExecutor final : public Executor {
  public:
    explicit NothingExecutor(Cpu& cpu) : cpu_(cpu) {}
    ExitReason run(u64 instructions) override {
        cpu_.clear_attention(kAttentionKick);
        cpu_.state.retired += instructions;
        return ExitReason::budget;
    }

  private:
    Cpu& cpu_;
};

struct Parts {
    Log log;
    std::unique_ptr<PcMachine> made;

    Parts() {
        std::thread([] {
        }).join();  // as lodge has others: from now on the C++ library's counts of references are atomic
        RunConfig config;
        config.memory = "64";
        config.display = "none";
        config.serial = "null";
        auto result = PcMachine::create(config, log);
        if (!result) {
            std::fprintf(stderr, "%s\n", result.error().context.c_str());
            std::exit(1);
        }
        made = std::move(*result);
        machine().set_executor(std::make_unique<NothingExecutor>(machine().cpu()));
        show_text_memory();
    }

    Machine& machine() { return made->machine(); }

    // The addressing of text mode: even bytes in plane 0, odd ones in plane 1, at B8000h.
    void show_text_memory() {
        Bus& ports = machine().ports();
        ports.write(0x3C2, 1, 0x67);
        const auto set = [&](u64 port, u64 index, u64 value) { ports.write(port, 2, value << 8 | index); };
        set(0x3C4, 2, 0x03);
        set(0x3C4, 4, 0x02);
        set(0x3CE, 5, 0x10);
        set(0x3CE, 6, 0x0E);
        set(0x3CE, 8, 0xFF);
    }
};

void round(benchmark::State& state) {
    Parts parts;
    const u64 instructions = static_cast<u64>(state.range(0));
    for (auto _ : state) parts.machine().run_until(parts.machine().cpu().state.retired + instructions);
}
BENCHMARK(round)->Arg(1)->Arg(20'000);

void tsc(benchmark::State& state) {
    Parts parts;
    for (auto _ : state) benchmark::DoNotOptimize(parts.machine().cpu().tsc());
}
BENCHMARK(tsc);

void port_read(benchmark::State& state) {
    Parts parts;
    Bus& ports = parts.machine().ports();
    const u64 port = static_cast<u64>(state.range(0));
    for (auto _ : state) benchmark::DoNotOptimize(ports.read(port, port == 0x608 ? 4 : 1));
}
// PIC mask, PIT counter, NMI status, CMOS, keyboard status, IDE status, PM timer, nothing, serial line status.
BENCHMARK(port_read)->Arg(0x21)->Arg(0x40)->Arg(0x61)->Arg(0x71)->Arg(0x64)->Arg(0x1F7)->Arg(0x608)->Arg(0x9999)->Arg(
    0x3FD);

void port_write(benchmark::State& state) {
    Parts parts;
    Bus& ports = parts.machine().ports();
    const u64 port = static_cast<u64>(state.range(0));
    for (auto _ : state) ports.write(port, 1, 0);
}
// POST code, CMOS index, serial transmitter.
BENCHMARK(port_write)->Arg(0x80)->Arg(0x70)->Arg(0x3F8);

void memory_read(benchmark::State& state) {
    Parts parts;
    Bus& mmio = parts.machine().mmio();
    const u64 address = static_cast<u64>(state.range(0));
    for (auto _ : state) benchmark::DoNotOptimize(mmio.read(address, 4));
}
// Local APIC: version, current count; I/O APIC window.
BENCHMARK(memory_read)->Arg(0xFEE00030)->Arg(0xFEE00390)->Arg(0xFEC00010);

void apic_timer(benchmark::State& state) {
    Parts parts;
    Bus& mmio = parts.machine().mmio();
    mmio.write(0xFEE000F0, 4, 0x1FF);
    mmio.write(0xFEE00320, 4, 0xEC);
    for (auto _ : state) mmio.write(0xFEE00380, 4, 1'000'000);
}
BENCHMARK(apic_timer);

void text_write(benchmark::State& state) {
    Parts parts;
    PhysicalMemory& memory = parts.machine().memory();
    for (auto _ : state) memory.write_value<u16>(0xB8000, 0x0741);
}
BENCHMARK(text_write);

void text_read(benchmark::State& state) {
    Parts parts;
    PhysicalMemory& memory = parts.machine().memory();
    for (auto _ : state) benchmark::DoNotOptimize(memory.read_value<u16>(0xB8000));
}
BENCHMARK(text_read);

}  // namespace
}  // namespace lodge

BENCHMARK_MAIN();
