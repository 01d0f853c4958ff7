// The IDE function under random register accesses, guest time and states: nothing may crash, hang or grow, and a state
// must save to the same bytes again after it was loaded.
#include <cstdlib>

#include "tests/fuzz/fuzzer_bytes.h"
#include "tests/unit/ide_fixture.h"

using namespace lodge;
using ide_test::Board;
using ide_test::kBusMasterPort;
using ide_test::kMemory;
using test::FuzzerBytes;
using test::MemoryDisk;

namespace {

class Session {
  public:
    explicit Session(FuzzerBytes& bytes) : bytes_(bytes) {}

    void step() {
        const u8 action = bytes_.take<u8>();
        base_ = action & 0x80 ? 0x170 : 0x1F0;
        switch (action & 0x0F) {
            case 0:
                return board_.out(port(), bytes_.take<u8>());
            case 1:
                return static_cast<void>(board_.in(port()));
            case 2:
                return board_.ports.write(port(), size(), bytes_.take<u32>());
            case 3:
                return static_cast<void>(board_.ports.read(port(), size()));
            case 4:
                return read_data();
            case 5:
                return write_data();
            case 6:
                return board_.advance(u64{bytes_.take<u16>()} << 4);
            case 7:
                return board_.advance(2'000'000);
            case 8:
                return board_.ports.write(kBusMasterPort + (bytes_.take<u8>() & 15), size(), bytes_.take<u32>());
            case 9:
                return write_memory();
            case 10:
                return start_dma();
            case 11:
                return command();
            case 12:
                return move();
            case 13:
                return configure();
            case 14:
                return fail();
            default:
                return board_.ide.reset();
        }
    }

  private:
    u16 port() {
        const u8 index = bytes_.take<u8>();
        return static_cast<u16>(index & 0x80 ? base_ + 0x206 : base_ + (index & 7));
    }
    unsigned size() { return 1u << (bytes_.take<u8>() % 3); }

    void read_data() {
        for (unsigned count = bytes_.take<u8>() * 2u; count; --count) board_.in32(base_);
    }
    void write_data() {
        for (unsigned count = bytes_.take<u8>() * 2u; count; --count) board_.out16(base_, static_cast<u16>(count));
    }
    void write_memory() { board_.memory->write_value(bytes_.take<u16>() & 0xFFF8u, bytes_.take<u64>()); }

    // A table of one or two regions that lead somewhere, and the bus master started.
    void start_dma() {
        const u16 offset = base_ == 0x1F0 ? 0 : 8;
        const u32 address = bytes_.take<u32>() % (2 * kMemory);
        board_.memory->write_value(0x100, address);
        board_.memory->write_value(0x104, u32{bytes_.take<u16>()} | (address & 2 ? 0x8000'0000u : 0));
        board_.out32(kBusMasterPort + offset + 4, 0x100);
        const u8 direction = bytes_.take<u8>() & 8;
        board_.out(kBusMasterPort + offset, 0);
        board_.out(kBusMasterPort + offset, direction | 1);
    }

    // A command this disk has, with small addresses.
    void command() {
        static constexpr u8 kCodes[] = {0x06, 0x10, 0x20, 0x24, 0x25, 0x27, 0x29, 0x30, 0x34, 0x35, 0x39,
                                        0x3D, 0x40, 0x42, 0x70, 0x90, 0x91, 0xB0, 0xC4, 0xC5, 0xC6, 0xC8,
                                        0xCA, 0xCE, 0xE0, 0xE1, 0xE5, 0xE7, 0xEA, 0xEC, 0xEF, 0xF8};
        const u8 code = kCodes[bytes_.take<u8>() % std::size(kCodes)];
        board_.out(base_ + 6, bytes_.take<u8>());
        board_.out(base_ + 1, code == 0x06 ? 1 : bytes_.take<u8>());
        board_.out(base_ + 2, bytes_.take<u8>() & 1);
        board_.out(base_ + 2, bytes_.take<u8>());
        board_.out(base_ + 3, 0);
        board_.out(base_ + 3, bytes_.take<u8>());
        for (u16 index = 4; index < 6; ++index) {
            board_.out(base_ + index, 0);
            board_.out(base_ + index, code == 0xB0 ? (index == 4 ? 0x4F : 0xC2) : 0);
        }
        board_.out(base_ + 7, code);
    }

    // Saves, loads (perhaps damaged), and saves again.
    void move() {
        auto saved = board_.save();
        const u16 at = bytes_.take<u16>();
        const u8 flip = bytes_.take<u8>();
        saved[at % saved.size()] ^= flip;
        const bool loaded = board_.load(saved);
        if (!flip && !loaded) std::abort();
        if (!loaded) return board_.ide.reset();  // a machine that failed to load is not used as it is
        if (!flip && board_.save() != saved) std::abort();
    }

    void configure() {
        static constexpr u8 kOffsets[] = {0x04, 0x05, 0x20, 0x40, 0x41, 0x43, 0x44, 0x0D};
        const u8 offset = kOffsets[bytes_.take<u8>() % std::size(kOffsets)];
        board_.ide.config_write(offset, 1, bytes_.take<u8>());
    }

    void fail() {
        const u8 which = bytes_.take<u8>();
        first_.fail_reads = second_.fail_reads = which & 1;
        first_.fail_writes = second_.fail_writes = which & 2;
        first_.fail_flushes = which & 4;
    }

    FuzzerBytes& bytes_;
    u16 base_ = 0x1F0;
    MemoryDisk first_{5000};
    MemoryDisk second_{64};
    MemoryDisk third_{64};
    Board board_{{&first_, nullptr, &second_, &third_}};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    FuzzerBytes bytes({data, size});
    Session session(bytes);
    while (!bytes.empty()) session.step();
    return 0;
}
