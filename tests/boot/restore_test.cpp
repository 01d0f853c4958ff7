// A machine that is saved in mid-boot and restored finishes its boot, and nobody can tell.
//
// Two runs of Debian's boot on the virtual clock, side by side. The straight run goes from reset to power-off in one
// machine and is only saved on the way, at a handful of stages. The relay runs each leg in a machine of its own, which
// is freshly made and loads what the machine before it has saved. At every stage: the relay has come to the same save
// as the straight run, byte for byte (so two runs are identical, and a restored machine goes on as if nothing had
// been), and the fresh machine saves again what it has loaded. In the end both have powered off with the same final
// save and the same serial output.
//
// At every stage also each device by itself: saved, loaded into another machine's, saved again, equal bytes.
//
// What is on a disk is no part of a saved state: a machine must be restored over the disk as it was when it was saved.
// The guest here writes to its disk only after the last stage, so that an empty overlay (mode=shared) will do.
//
// Usage: restore_test GUESTS ide|scsi (the folder that tests/guests/make_guests.sh makes; where the disk is)
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/pc_machine.h"

namespace lodge {

namespace {

[[noreturn]] void fail(const std::string& why) {
    std::fprintf(stderr, "restore_test: %s\n", why.c_str());
    std::_Exit(1);
}

void expect(bool holds, const std::string& what) {
    if (!holds) fail(what);
}

// Where the straight run is saved: at the first multiple of `step` instructions, at least `delay` after the stage
// before, at which `reached` holds.
struct Stage {
    const char* name;
    u64 delay;
    u64 step;
    bool (*reached)(PcMachine&);
};

constexpr u64 kMillion = 1'000'000;

bool always(PcMachine&) {
    return true;
}

bool paging(PcMachine& pc) {
    return pc.machine().cpu().state.cr0 & kCr0Pg;
}

std::vector<u8> save(Device& device) {
    StateIo io;
    device.state(io);
    return io.take();
}

// The field of that name, a u32, in the saved state of a disk's queue; 0 where there is none.
bool has_request_in_flight(Device& device) {
    static constexpr std::string_view kField = "in_flight";
    const auto saved = save(device);
    for (auto at = saved.begin();; ++at) {
        at = std::search(at, saved.end(), kField.begin(), kField.end());
        const size_t value = static_cast<size_t>(at - saved.begin()) + kField.size() + sizeof(u32);
        if (value + sizeof(u32) > saved.size()) return false;
        if (load<u32>(&saved[value])) return true;
    }
}

bool disk_works(PcMachine& pc) {
    const auto& devices = pc.pc().devices();
    return std::any_of(devices.begin(), devices.end(), [](Device* device) { return has_request_in_flight(*device); });
}

// The kernel is loaded at 16 MiB, above all code of firmware and boot loader that runs here.
bool kernel_without_paging(PcMachine& pc) {
    const CpuState& state = pc.machine().cpu().state;
    return !paging(pc) && (state.cr0 & kCr0Pe) && state.ip >= 16 * kMiB && state.ip < 128 * kMiB;
}

bool kernel_waits_for_disk(PcMachine& pc) {
    return paging(pc) && disk_works(pc);
}

bool user_program(PcMachine& pc) {
    return paging(pc) && pc.machine().cpu().state.cpl == 3;
}

constexpr Stage kStages[] = {
    {"firmware", kMillion, kMillion, always},
    {"boot loader, a disk request in flight", kMillion, 10'000, disk_works},
    {"decompression", 0, kMillion, kernel_without_paging},
    {"kernel", 100 * kMillion, kMillion, paging},
    {"kernel's driver, a disk request in flight", 0, 10'000, kernel_waits_for_disk},
    {"user program", 0, 10'000, user_program},
};
constexpr size_t kStageCount = std::size(kStages);

struct Point {
    u64 retired = 0;
    std::vector<u8> save;
};

class Boots {
  public:
    // `disk`: the option's value.
    Boots(std::string disk, std::filesystem::path folder) : disk_(std::move(disk)), folder_(std::move(folder)) {}

    void run() {
        auto relay = std::async(std::launch::async, [this] { return run_relay(); });
        const Point straight = run_straight();
        const Point last = relay.get();
        expect(last.retired == straight.retired, "the relay powered off at another instruction");
        expect(last.save == straight.save, "the relay powered off in another state");
        compare_output();
    }

  private:
    std::string serial_file(size_t leg) const { return (folder_ / ("leg" + std::to_string(leg))).string(); }
    std::string straight_file() const { return (folder_ / "straight").string(); }

    std::unique_ptr<PcMachine> make(const std::string& serial) {
        RunConfig config;
        config.memory = "128";
        config.clock = "virtual";
        config.display = "none";
        config.disks = {disk_};
        config.serial = "file:" + serial;
        auto made = PcMachine::create(config, log_);
        if (!made) fail(made.error().context);
        return std::move(*made);
    }

    static void run_to(Machine& machine, u64 retired) {
        expect(!machine.run_until(retired), "the guest ended too early");
        expect(machine.cpu().state.retired == retired, "run_until went too far");
    }

    // A machine that is restored has an empty TLB; one that went on has not. The guest could tell by the accessed bits
    // of its page tables, so here both start the next leg with an empty one.
    static Point save(Machine& machine) {
        machine.cpu().flush_tlb(true);
        return {machine.cpu().state.retired, machine.save()};
    }

    static Point finish(Machine& machine) {
        const RunResult end = machine.run();
        expect(end.why == RunEnd::power_off, "the guest did not power off: " + end.message);
        return save(machine);
    }

    void check_devices(Pc& from, const std::string& stage) {
        const auto other = make((folder_ / "devices").string());
        const auto& devices = other->pc().devices();
        expect(devices.size() == from.devices().size(), "two machines have different devices");
        for (size_t i = 0; i < devices.size(); ++i) {
            const std::string name = stage + ", device " + std::string(devices[i]->name());
            const auto saved = lodge::save(*from.devices()[i]);
            StateIo io(saved);
            devices[i]->state(io);
            if (const auto loaded = io.result(); !loaded) fail(name + ": " + loaded.error().context);
            expect(lodge::save(*devices[i]) == saved, name + ": saved again otherwise than it was loaded");
        }
    }

    Point run_straight() {
        const auto pc = make(straight_file());
        Machine& machine = pc->machine();
        u64 at = 0;
        for (size_t i = 0; i < kStageCount; ++i) {
            const Stage& stage = kStages[i];
            at = (at + stage.delay) / stage.step * stage.step;
            do {
                at += stage.step;
                run_to(machine, at);
            } while (!stage.reached(*pc));
            std::printf("%12llu  %s\n", static_cast<unsigned long long>(at), stage.name);
            std::fflush(stdout);
            points_[i].set_value(save(machine));
        }
        const Point end = finish(machine);
        std::printf("%12llu  power-off\n", static_cast<unsigned long long>(end.retired));
        return end;
    }

    Point run_relay() {
        auto pc = make(serial_file(0));
        for (size_t i = 0; i < kStageCount; ++i) {
            const std::string name = kStages[i].name;
            const Point wanted = points_[i].get_future().get();
            run_to(pc->machine(), wanted.retired);
            const Point reached = save(pc->machine());
            compare(wanted.save, reached.save, name);
            check_devices(pc->pc(), name);
            pc = make(serial_file(i + 1));
            if (const auto loaded = pc->machine().load(reached.save); !loaded)
                fail(name + ": " + loaded.error().context);
            compare(reached.save, pc->machine().save(), name + ", saved again");
        }
        return finish(pc->machine());
    }

    static void compare(const std::vector<u8>& wanted, const std::vector<u8>& got, const std::string& stage) {
        if (wanted == got) return;
        const auto [first, unused] = std::mismatch(wanted.begin(), wanted.end(), got.begin(), got.end());
        fail(stage + ": the saves differ from byte " + std::to_string(first - wanted.begin()) + " on (sizes " +
             std::to_string(wanted.size()) + ", " + std::to_string(got.size()) + ", memory from byte " +
             std::to_string(load<u64>(wanted.data()) + sizeof(u64)) + ")");
    }

    static std::string contents(const std::string& path) {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }

    void compare_output() {
        std::string relayed;
        for (size_t leg = 0; leg <= kStageCount; ++leg) relayed += contents(serial_file(leg));
        const std::string straight = contents(straight_file());
        expect(straight.find("LODGE-GUEST-DONE") != std::string::npos, "the guest did not finish its work");
        expect(relayed == straight, "the relay's serial output differs");
    }

    std::string disk_;
    std::filesystem::path folder_;
    Log log_;
    std::promise<Point> points_[kStageCount];
};

}  // namespace

}  // namespace lodge

int main(int count, char** arguments) {
    const std::string bus = count == 3 ? arguments[2] : "";
    if (bus != "ide" && bus != "scsi") {
        std::fprintf(stderr, "usage: restore_test GUESTS ide|scsi\n");
        return 2;
    }
    const std::string image = std::string(arguments[1]) + (bus == "scsi" ? "/scsi-auto.vhd" : "/auto.vhd");
    char folder[] = "/tmp/lodge-restore-XXXXXX";
    if (!mkdtemp(folder)) return 2;
    lodge::Boots(image + ",mode=shared,bus=" + bus, folder).run();
    std::filesystem::remove_all(folder);
    return 0;
}
