// Discs and diskettes are put in and taken out under a running Linux, which notices each change, keeps what it has
// locked until force is used, and writes to the diskette that is in the drive.
//
// Usage: media_test GUESTS (the folder that tests/guests/make_guests.sh makes)
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "disks/open_image.h"
#include "frontend/pc_machine.h"

namespace lodge {

namespace {

[[noreturn]] void fail(const std::string& why) {
    std::fprintf(stderr, "media_test: %s\n", why.c_str());
    std::_Exit(1);
}

class Test {
  public:
    Test(std::filesystem::path guests, std::filesystem::path folder)
        : guests_(std::move(guests)), folder_(std::move(folder)) {}

    void run() {
        start();
        expect("LODGE-GUEST-READY");
        change_discs();
        lock_disc();
        change_diskettes();
        type("poweroff -f");
        cpu_.join();
        if (end_.why != RunEnd::power_off) fail("the guest did not power off");
        if (contents("c").substr(512, 7) != "WRITTEN") fail("the diskette does not hold what the guest wrote");
        if (contents("b").substr(0, 8) != "DISKETTE") fail("a diskette that was out was written to");
    }

  private:
    void start() {
        RunConfig config;
        config.memory = "256";
        config.display = "none";
        config.kernel = (guests_ / "amd64/vmlinuz").string();
        config.initrd = (guests_ / "amd64/storage.img").string();
        config.append = "console=ttyS0 panic=-1 lodge.mode=shell";
        config.cdroms = {"empty"};
        config.floppies = {"empty"};
        config.serial = "file:" + (folder_ / "serial").string();
        auto made = PcMachine::create(config, log_);
        if (!made) fail(made.error().context);
        pc_ = std::move(*made);
        cpu_ = std::thread([this] { end_ = pc_->machine().run(); });
    }

    void change_discs() {
        ask("head -c 6 /dev/sr0", "No medium found");
        cdrom().insert(image("one", "DISC-1", 4 * kMiB));
        ask("head -c 6 /dev/sr0", "DISC-1");
        ask("cat /sys/block/sr0/size", "8192");
        cdrom().insert(image("two", "DISC-2", 2 * kMiB));
        ask("head -c 6 /dev/sr0", "DISC-2");
        ask("cat /sys/block/sr0/size", "4096");
    }

    void lock_disc() {
        ask("block_io tray /dev/sr0 lock", "tray lock: good");
        cdrom().eject(MediumSlot::Eject::ask);
        cdrom().insert(image("three", "DISC-3", 2 * kMiB));
        ask("head -c 6 /dev/sr0", "DISC-2");
        cdrom().eject(MediumSlot::Eject::force);
        ask("head -c 6 /dev/sr0", "No medium found");
        ask("block_io tray /dev/sr0 unlock", "tray unlock: good");
    }

    void change_diskettes() {
        MediumSlot& drive = *pc_->pc().floppy(0);
        drive.insert(image("b", "DISKETTE-1440", 1440 * kKiB));
        ask("head -c 13 /dev/fd0", "DISKETTE-1440");
        drive.insert(image("c", "DISKETTE-720", 720 * kKiB));
        ask("head -c 12 /dev/fd0", "DISKETTE-720");
        ask("echo WRITTEN | dd of=/dev/fd0 bs=512 seek=1 conv=sync && sync", "1+0 records out");
        drive.eject(MediumSlot::Eject::ask);
        ask("head -c 13 /dev/fd0", "head: /dev/fd0:");
    }

    MediumSlot& cdrom() { return *pc_->pc().cdrom(2); }

    std::unique_ptr<BlockDevice> image(const std::string& name, const std::string& text, u64 size) {
        const std::filesystem::path path = folder_ / name;
        std::ofstream(path) << text;
        std::filesystem::resize_file(path, size);
        OpenOptions options;
        options.raw = true;
        options.mode = ImageMode::private_writes;
        auto opened = open_image(path.string(), options);
        if (!opened) fail(opened.error().context);
        return std::move(*opened);
    }

    std::string contents(const std::string& name) const {
        std::ifstream file(folder_ / name, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }

    void type(const std::string& line) {
        const std::string text = line + "\n";
        pc_->machine().inputs().post(pc_->pc().serial(0)->input_source(), {text.begin(), text.end()});
    }
    // The echo of the command does not count: the answer must come behind it.
    void ask(const std::string& command, const std::string& answer) {
        expect("/ # ");
        type(command);
        expect(command.substr(command.size() - 4));
        expect(answer);
    }
    void expect(const std::string& text) {
        constexpr auto kPatience = std::chrono::minutes(5);
        const auto began = std::chrono::steady_clock::now();
        for (;;) {
            const std::string said = contents("serial");
            const size_t at = said.find(text, searched_);
            if (at != std::string::npos) {
                searched_ = at + text.size();
                return;
            }
            if (std::chrono::steady_clock::now() - began > kPatience) fail("'" + text + "' did not come:\n" + said);
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
    }

    std::filesystem::path guests_, folder_;
    Log log_;
    std::unique_ptr<PcMachine> pc_;
    std::thread cpu_;
    RunResult end_;
    size_t searched_ = 0;
};

}  // namespace

}  // namespace lodge

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: media_test GUESTS\n");
        return 2;
    }
    char folder[] = "/tmp/lodge-media-XXXXXX";
    if (!mkdtemp(folder)) return 2;
    lodge::Test(arguments[1], folder).run();
    std::filesystem::remove_all(folder);
    return 0;
}
