// Drives an image as `qemu-img bench` does: requests of one size, each so far behind the one before, round and round.
//
//   lodge_disk_io IMAGE COUNT SIZE STEP [write]
//
// prints "Run completed in N seconds." Requests follow one another, as from a device's worker thread; a flush ends the
// writes.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "disks/open_image.h"

using namespace lodge;

namespace {

int fail(const Error& error) {
    std::fprintf(stderr, "%s\n", error.context.c_str());
    return 1;
}

Result<void> run(BlockDevice& disk, u64 count, std::span<u8> buffer, u64 step, bool write) {
    const u64 places = disk.size() - buffer.size() + 1;
    for (u64 i = 0, offset = 0; i < count; ++i, offset = (offset + step) % places)
        LODGE_TRY(write ? disk.write(offset, buffer) : disk.read(offset, buffer));
    return write ? disk.flush() : Result<void>();
}

}  // namespace

int main(int count, char** words) {
    if (count < 5) {
        std::fprintf(stderr, "usage: lodge_disk_io IMAGE COUNT SIZE STEP [write]\n");
        return 2;
    }
    const bool write = count > 5 && std::string_view(words[5]) == "write";
    OpenOptions options;
    options.mode = write ? ImageMode::private_writes : ImageMode::read_only;
    auto disk = open_image(words[1], options);
    if (!disk) return fail(disk.error());
    std::vector<u8> buffer(std::strtoull(words[3], nullptr, 10), 0x5A);
    const auto start = std::chrono::steady_clock::now();
    if (auto done =
            run(**disk, std::strtoull(words[2], nullptr, 10), buffer, std::strtoull(words[4], nullptr, 10), write);
        !done)
        return fail(done.error());
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    std::printf("Run completed in %.3f seconds.\n", taken.count());
    return 0;
}
