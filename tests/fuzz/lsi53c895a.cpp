// The LSI 53C895A under random register accesses, programs in guest memory and in its own RAM, guest time and states:
// nothing may crash, hang or grow, and a state must save to the same bytes again after it was loaded.
#include <cstdlib>

#include "tests/fuzz/fuzzer_bytes.h"
#include "tests/unit/lsi_fixture.h"

using namespace lodge;
using lsi_test::Board;
using lsi_test::kIo;
using lsi_test::kMemory;
using lsi_test::kRam;
using lsi_test::kRegistersAt;
using test::FuzzerBytes;
using test::MemoryDisk;

namespace {

class Session {
  public:
    explicit Session(std::span<const u8> bytes) : bytes_(bytes) {}

    void run() {
        while (!bytes_.empty()) step();
        if (!board_.load(board_.save())) std::abort();
    }

  private:
    void step() {
        switch (bytes_.take<u8>() & 0x0F) {
            case 0:
                return board_.out(bytes_.take<u8>(), bytes_.take<u8>());
            case 1:
                return static_cast<void>(board_.in(bytes_.take<u8>()));
            case 2:
                return board_.mmio.write(kRegistersAt + bytes_.take<u8>() * 4, 4, bytes_.take<u32>());
            case 3:
                return board_.mmio.write(kRam + bytes_.take<u16>() % 0x2000, 4, bytes_.take<u32>());
            case 4:
            case 5:
                return instruction();
            case 6:
                return board_.advance(u64{bytes_.take<u16>()} << 6);
            case 7:
                return board_.advance(3'000'000);
            case 8:
                return start();
            case 9:
            case 10:
                return command();
            case 11:
                return board_.memory->write_value(bytes_.take<u16>() & 0xFFF8u, bytes_.take<u64>());
            case 12:
                return move();
            case 13:
                return fail();
            case 14:
                return board_.lsi.config_write(bytes_.take<u8>() % 64, 1, bytes_.take<u8>());
            default:
                return restart();
        }
    }

    // One at the end of the program, of a kind that means something.
    void instruction() {
        static constexpr u32 kKinds[] = {0x0800'0000, 0x0900'0000, 0x0A00'0000, 0x0B00'0000, 0x0E00'0000, 0x0F00'0000,
                                         0x1900'0000, 0x2900'0000, 0x4100'0000, 0x4800'0000, 0x5000'0000, 0x5800'0000,
                                         0x6000'0000, 0x6800'0000, 0x7000'0000, 0x7800'0000, 0x8008'0000, 0x800A'0000,
                                         0x870B'0000, 0x8808'0000, 0x9008'0000, 0x9808'0000, 0x9818'0000, 0xC000'0000,
                                         0xE000'0000, 0xF100'0000};
        const u32 first = kKinds[bytes_.take<u8>() % std::size(kKinds)] | (bytes_.take<u32>() & 0x00FF'FFFF);
        u32 second = bytes_.take<u32>();
        if (second & 1) second = 0x1000 + (second & 0xFFF8);
        if (second & 2) second = static_cast<u32>(kRam) + (second & 0x1FF8);
        board_.memory->write_value(0x1000 + program_, first);
        board_.memory->write_value(0x1004 + program_, second);
        program_ = (program_ + 8) & 0xFF8;
    }
    void start() {
        board_.memory->write_value(0x1000 + program_, u32{0x9808'0000});
        board_.out32(lsi::kDsp, 0x1000);
        program_ = 0;
    }

    // A whole command with small numbers, tagged or not, that a driver might send, stopped anywhere.
    void command() {
        static constexpr u8 kCodes[] = {0x00, 0x03, 0x08, 0x0A, 0x12, 0x15, 0x1A, 0x25, 0x28, 0x2A, 0x2E, 0x2F,
                                        0x35, 0x41, 0x42, 0x5A, 0x5E, 0x5F, 0x88, 0x89, 0x8A, 0x8B, 0x93, 0x9E};
        const u8 flags = bytes_.take<u8>();
        std::array<u8, 16> cdb{};
        cdb[0] = kCodes[bytes_.take<u8>() % std::size(kCodes)];
        for (size_t i = 1; i < cdb.size(); ++i)
            cdb[i] = bytes_.empty() || (flags & 0x40) ? u8{0} : bytes_.take<u8>() & 0x1F;
        const std::array<u8, 4> message = {static_cast<u8>(flags & 1 ? 0xC0 : 0x80), static_cast<u8>(0x20 + flags % 3),
                                           flags, 0x0D};
        board_.memory->write(0x600, message);
        board_.memory->write(0x620, cdb);
        const u32 target = flags & 2 ? 1 : 0, length = flags & 4 ? 3 : 1;
        const u32 size = bytes_.take<u16>() + 1;
        const u32 program[] = {0x4100'0000 | target << 16,
                               0,
                               0x0E00'0000 | length,
                               0x600,
                               0x0A00'0010,
                               0x620,
                               0x870F'0000,
                               0x740,  // message in: below
                               0x810B'0000,
                               0x730,
                               0x0800'0000 | size,
                               0x2000,
                               0x830B'0000,
                               0x760};
        for (size_t i = 0; i < std::size(program); ++i) board_.memory->write_value(0x700 - 0x38 + 4 * i, program[i]);
        const u32 rest[] = {0x0900'0000 | size, 0x4000, 0x8308'0000, 0x760, 0x0F00'0001, 0x640, 0x7C02'7F00, 0,
                            0x6000'0040,        0,      0x4800'0000, 0,     0x0B00'0001, 0x650, 0x0F00'0001, 0x641,
                            0x6000'0040,        0,      0x5000'0000, 0x700, 0x0F00'0003, 0x642, 0x6000'0040, 0,
                            0x8008'0000,        0x6E8};
        for (size_t i = 0; i < std::size(rest); ++i) board_.memory->write_value(0x730 + 4 * i, rest[i]);
        board_.out32(lsi::kDsp, 0x700 - 0x38);
    }

    void move() {
        auto saved = board_.save();
        const u16 at = bytes_.take<u16>();
        const u8 flip = bytes_.take<u8>();
        saved[at % saved.size()] ^= flip;
        const bool loaded = board_.load(saved);
        if (!flip && !loaded) std::abort();
        if (!loaded) return restart();  // a machine that failed to load is not used as it is
        if (!flip && board_.save() != saved) std::abort();
    }

    void fail() {
        const u8 which = bytes_.take<u8>();
        first_.fail_reads = which & 1;
        first_.fail_writes = which & 2;
        second_.fail_flushes = which & 4;
    }

    void restart() {
        board_.lsi.reset();
        board_.enable();
    }

    FuzzerBytes bytes_;
    u32 program_ = 0;
    MemoryDisk first_{5000};
    MemoryDisk second_{64};
    Board board_{{&first_, &second_}};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    Session({data, size}).run();
    return 0;
}
