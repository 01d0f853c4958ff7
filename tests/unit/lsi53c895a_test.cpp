#include "devices/lsi53c895a.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "tests/unit/lsi_fixture.h"

using namespace lodge;
using namespace lodge::lsi;
using lsi_test::Board;
using lsi_test::kRam;
using lsi_test::kRegistersAt;
using lsi_test::MemoryDisk;

namespace {

// Where things are in guest memory.
constexpr u32 kCode = 0x1000, kMessageOut = 0x2000, kCommand = 0x2100, kStatus = 0x2200, kMessageIn = 0x2300,
              kTable = 0x2400, kData = 0x8000;
constexpr u64 kMillisecond = 1'000'000;

// Instructions.
constexpr u32 kMoveDataOut = 0x0800'0000, kMoveDataIn = 0x0900'0000, kMoveCommand = 0x0A00'0000,
              kMoveStatus = 0x0B00'0000, kMoveMessageOut = 0x0E00'0000, kMoveMessageIn = 0x0F00'0000;
constexpr u32 kSelectAtn = 0x4100'0000, kWaitDisconnect = 0x4800'0000, kWaitReselect = 0x5000'0000;
constexpr u32 kClearAck = 0x6000'0040, kJump = 0x8008'0000, kInt = 0x9808'0000;
constexpr u32 kJumpIfMessageIn = 0x870B'0000, kExpectDisconnect = 0x7C02'7F00;  // waits for a phase; SCNTL2 &= 7Fh

struct Adapter {
    explicit Adapter(ClockMode mode = ClockMode::virtual_time) : board({&disk, nullptr, nullptr, &second}, mode) {
        disk.number_sectors(0, 64);
        board.out(kSien0, 0x8F);
        board.out(kSien1, 0x04);
        board.out(kDien, 0x7D);
    }

    void program(std::vector<u32> words, u32 at = kCode) {
        for (size_t i = 0; i < words.size(); ++i) board.memory->write_value(at + 4 * i, words[i]);
    }
    void put(u32 at, const std::vector<u8>& data) { board.memory->write(at, data); }
    std::vector<u8> bytes(u32 at, size_t count) {
        std::vector<u8> data(count);
        board.memory->read(at, data);
        return data;
    }
    // Runs until an interrupt, for at most a second of guest time.
    void run(u32 at = kCode) {
        board.out32(kDsp, at);
        wait();
    }
    void wait() {
        for (int i = 0; i < 1000 && !board.irq(); ++i) board.advance(kMillisecond);
    }
    u8 dstat() { return board.in(kDstat); }
    u16 sist() { return static_cast<u16>(board.in(kSist0) | board.in(kSist1) << 8); }

    // A command without disconnection, start to end; data in when `in`. The status.
    u8 command(std::vector<u8> cdb, u32 count, bool in, u8 target = 0) {
        put(kMessageOut, {0x80});
        put(kStatus, {0xFF});
        put(kCommand, cdb);
        std::vector<u32> words = {kSelectAtn | u32{target} << 16,
                                  0,
                                  kMoveMessageOut | 1,
                                  kMessageOut,
                                  kMoveCommand | static_cast<u32>(cdb.size()),
                                  kCommand};
        if (count) words.insert(words.end(), {(in ? kMoveDataIn : kMoveDataOut) | count, kData});
        words.insert(words.end(), {kMoveStatus | 1, kStatus, kMoveMessageIn | 1, kMessageIn, kExpectDisconnect, 0,
                                   kClearAck, 0, kWaitDisconnect, 0, kInt, 0x1234});
        program(words);
        run();
        CHECK(dstat() == 0x84);
        CHECK(sist() == 0);
        CHECK(board.in32(kDsps) == 0x1234);
        CHECK(bytes(kMessageIn, 1)[0] == 0);
        return bytes(kStatus, 1)[0];
    }
    void clear_attention(u8 target = 0) { command({0x00, 0, 0, 0, 0, 0}, 0, false, target); }

    MemoryDisk disk{4096};
    MemoryDisk second{4096};
    Board board;
};

}  // namespace

TEST_CASE("lsi53c895a: header, ranges and register names") {
    Adapter adapter;
    CHECK(adapter.board.lsi.config_read(0, 4) == 0x0012'1000);
    CHECK(adapter.board.lsi.config_read(8, 4) == 0x0100'0000);
    CHECK(adapter.board.in(kScntl0) == 0xC0);
    CHECK(adapter.board.in(kDstat) == 0x80);
    CHECK(adapter.board.in(kGpcntl) == 0x0F);
    adapter.board.out32(kScratchA, 0x1122'3344);
    CHECK(adapter.board.in(kScratchA + 1) == 0x33);
    adapter.board.out(kCtest2, kPciConfiguration);
    CHECK(adapter.board.in32(kScratchA) == kRegistersAt);
    CHECK(adapter.board.in32(kScratchB) == kRam);
    adapter.board.mmio.write(kRam + 0x1FFC, 4, 0xCAFE'BABE);
    CHECK(adapter.board.mmio.read(kRam + 0x1FFC, 4) == 0xCAFE'BABE);
    adapter.board.out(kIstat0, kSoftReset);
    CHECK(adapter.board.in32(kScratchA) == 0);
    std::set<std::string> names;
    u32 next = 0;
    for (const RegisterInfo& info : kRegisters) {
        CHECK(names.insert(info.name).second);
        CHECK(info.offset >= next);
        next = info.offset + info.bits / 8u;
    }
}

TEST_CASE("lsi53c895a: a command from selection to bus free") {
    Adapter adapter;
    CHECK(adapter.command({0x12, 0, 0, 0, 36, 0}, 36, true) == 0);
    const auto inquiry = adapter.bytes(kData, 36);
    CHECK(std::string(inquiry.begin() + 8, inquiry.begin() + 13) == "LODGE");
    CHECK(inquiry[7] == 0x32);
    CHECK(adapter.command({0x00, 0, 0, 0, 0, 0}, 0, false) == 2);
    CHECK(adapter.command({0x00, 0, 0, 0, 0, 0}, 0, false) == 0);
    CHECK(adapter.command({0x28, 0, 0, 0, 0, 5, 0, 0, 2, 0}, 1024, true) == 0);
    CHECK(load<u64>(adapter.bytes(kData, 8).data()) == 5);
    CHECK(load<u64>(adapter.bytes(kData + 512, 8).data()) == 6);
    adapter.put(kData, std::vector<u8>(1024, 0x5A));
    CHECK(adapter.command({0x2A, 0, 0, 0, 0, 9, 0, 0, 2, 0}, 1024, false) == 0);
    CHECK(adapter.disk.content[10][511] == 0x5A);
    CHECK(adapter.command({0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, false) == 0);
    CHECK(adapter.disk.flushes == 1);
    CHECK(adapter.board.in(kScntl1) == 0);
}

TEST_CASE("lsi53c895a: nobody answers") {
    Adapter adapter;
    adapter.program({kSelectAtn | 1 << 16, 0, kMoveMessageOut | 1, kMessageOut, kInt, 0});
    adapter.run();
    CHECK(adapter.board.in(kIstat0) == kScsiInterrupt);
    CHECK(adapter.sist() == kSelectionTimeout << 8);
    CHECK(adapter.board.in32(kDsp) == kCode + 16);
    CHECK_FALSE(adapter.board.irq());
}

TEST_CASE("lsi53c895a: tagged commands disconnect and come back") {
    Adapter adapter;
    adapter.clear_attention();
    adapter.clear_attention(3);
    // Starts one command for each target, then takes the reselections.
    for (u8 i = 0; i < 2; ++i) {
        adapter.put(kMessageOut + 8 * i, {0xC0, 0x20, static_cast<u8>(0x11 + i)});
        adapter.put(kCommand + 16 * i, {0x28, 0, 0, 0, 0, static_cast<u8>(i), 0, 0, 1, 0});
    }
    adapter.second.number_sectors(0, 4);
    std::vector<u32> words;
    for (u32 i = 0; i < 2; ++i)
        words.insert(words.end(), {kSelectAtn | (i ? 3u : 0u) << 16, 0, kMoveMessageOut | 3, kMessageOut + 8 * i,
                                   kMoveCommand | 10, kCommand + 16 * i, kMoveMessageIn | 1, kMessageIn,
                                   kExpectDisconnect, 0, kClearAck, 0, kWaitDisconnect, 0});
    for (u32 i = 0; i < 2; ++i)
        words.insert(words.end(), {kWaitReselect,      0,
                                   kMoveMessageIn | 1, kMessageIn + 16 * i,
                                   kClearAck,          0,
                                   kMoveMessageIn | 2, kMessageIn + 16 * i + 1,
                                   kClearAck,          0,
                                   kMoveDataIn | 512,  kData + 512 * i,
                                   kMoveStatus | 1,    kStatus + i,
                                   kMoveMessageIn | 1, kMessageIn + 16 * i + 8,
                                   kExpectDisconnect,  0,
                                   kClearAck,          0,
                                   kWaitDisconnect,    0});
    words.insert(words.end(), {kInt, 7});
    adapter.program(words);
    adapter.put(kStatus, {0xFF, 0xFF});
    adapter.run();
    CHECK(adapter.dstat() == 0x84);
    CHECK(adapter.board.in32(kDsps) == 7);
    CHECK(adapter.bytes(kMessageIn, 3) == std::vector<u8>{0x80, 0x20, 0x11});
    CHECK(adapter.bytes(kMessageIn + 16, 3) == std::vector<u8>{0x80, 0x20, 0x12});
    CHECK(adapter.bytes(kStatus, 2) == std::vector<u8>{0, 0});
    CHECK(load<u64>(adapter.bytes(kData + 512, 8).data()) == 1);
    CHECK(adapter.board.in(kSsid) == (kSsidValid | 3));
}

TEST_CASE("lsi53c895a: a save in mid-command, while the medium works, goes on in another machine") {
    for (const u64 time : {u64{0}, u64{1000}, u64{200'000}}) {
        Adapter adapter;
        adapter.clear_attention();
        adapter.put(kMessageOut, {0xC0, 0x20, 0x55});
        adapter.put(kCommand, {0x28, 0, 0, 0, 0, 3, 0, 0, 4, 0});
        adapter.program({kSelectAtn,
                         0,
                         kMoveMessageOut | 3,
                         kMessageOut,
                         kMoveCommand | 10,
                         kCommand,
                         kMoveMessageIn | 1,
                         kMessageIn,
                         kExpectDisconnect,
                         0,
                         kClearAck,
                         0,
                         kWaitDisconnect,
                         0,
                         kWaitReselect,
                         0,
                         kMoveMessageIn | 1,
                         kMessageIn,
                         kClearAck,
                         0,
                         kMoveMessageIn | 2,
                         kMessageIn + 1,
                         kClearAck,
                         0,
                         kMoveDataIn | 2048,
                         kData,
                         kMoveStatus | 1,
                         kStatus,
                         kInt,
                         9});
        adapter.board.out32(kDsp, kCode);
        adapter.board.advance(time);
        const auto saved = adapter.board.save();
        Adapter other;
        std::copy(adapter.board.memory->backing().begin(), adapter.board.memory->backing().end(),
                  other.board.memory->backing().begin());
        REQUIRE(other.board.load(saved));
        CHECK(other.board.save() == saved);
        other.wait();
        CHECK(other.dstat() == 0x84);
        CHECK(other.board.in32(kDsps) == 9);
        CHECK(load<u64>(other.bytes(kData + 1536, 8).data()) == 6);
    }
}

TEST_CASE("lsi53c895a: phase mismatch, as an interrupt and as a jump") {
    Adapter adapter;
    adapter.clear_attention();
    adapter.put(kMessageOut, {0x80});
    adapter.put(kCommand, {0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0});
    adapter.put(kTable, {0, 4, 0, 0x77, 0, 0x80, 0, 0});  // 1024 bytes at kData
    adapter.board.out32(kDsa, kTable + 0x10);
    const std::vector<u32> words = {kSelectAtn,
                                    0,
                                    kMoveMessageOut | 1,
                                    kMessageOut,
                                    kMoveCommand | 10,
                                    kCommand,
                                    kMoveDataIn | 0x1000'0000,
                                    0xFF'FFF0,
                                    kInt,
                                    1};
    adapter.program(words);
    adapter.program({kInt, 2}, 0x3000);
    adapter.program({kInt, 3}, 0x3100);
    adapter.run();
    CHECK(adapter.sist() == kPhaseMismatch);
    CHECK((adapter.board.in32(kDbc) & 0xFF'FFFF) == 512);
    CHECK(adapter.board.in32(kDnad) == kData + 512);
    CHECK(adapter.board.in32(kDsp) == kCode + 32);
    adapter.board.out(kScntl1, kAssertReset);
    CHECK(adapter.board.in(kSstat0) == kResetLine);
    CHECK(adapter.sist() == kScsiReset);
    adapter.board.out(kScntl1, 0);
    adapter.clear_attention();

    adapter.board.out(kCcntl0, kPhaseMismatchJump | kJumpControl);
    adapter.board.out32(kPmjad1, 0x3000);
    adapter.board.out32(kPmjad2, 0x3100);
    adapter.put(kCommand, {0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0});
    adapter.program(words);
    adapter.run();
    CHECK(adapter.dstat() == 0x84);
    CHECK(adapter.board.in32(kDsps) == 3);
    CHECK(adapter.board.in32(kRbc) == 0x7700'0200);
    CHECK(adapter.board.in32(kUa) == kData + 512);
    CHECK(adapter.board.in32(kEsa) == kTable);
    CHECK(adapter.board.in32(kIa) == kCode + 24);
    CHECK(adapter.board.in32(kCsbc) >= 512);
}

TEST_CASE("lsi53c895a: negotiation, rejection and aborts by message") {
    Adapter adapter;
    adapter.clear_attention();
    adapter.put(kMessageOut, {0x80, 1, 3, 1, 5, 60, 1, 2, 3, 2, 0x10});
    adapter.put(kCommand, {0x00, 0, 0, 0, 0, 0});
    adapter.program({kSelectAtn, 0, kMoveMessageOut | 11, kMessageOut, kMoveMessageIn | 10, kMessageIn, kClearAck, 0,
                     kMoveCommand | 6, kCommand, kMoveStatus | 1, kStatus, kInt, 1});
    adapter.run();
    CHECK(adapter.dstat() == 0x84);
    CHECK(adapter.bytes(kMessageIn, 10) == std::vector<u8>{1, 3, 1, 10, 31, 1, 2, 3, 1, 7});
    CHECK(adapter.bytes(kStatus, 1)[0] == 0);
    // BUS DEVICE RESET: the target lets go, which nobody has announced to the chip.
    adapter.board.out(kScntl1, kAssertReset);
    adapter.board.out(kScntl1, 0);
    adapter.sist();
    adapter.clear_attention();
    adapter.put(kMessageOut, {0x80, 0x0C});
    adapter.program({kSelectAtn, 0, kMoveMessageOut | 2, kMessageOut, kInt, 1});
    adapter.run();
    CHECK(adapter.sist() == kUnexpectedDisconnect);
    CHECK(adapter.command({0x03, 0, 0, 0, 18, 0}, 18, true) == 0);
    CHECK(adapter.bytes(kData + 12, 2) == std::vector<u8>{0x29, 0x03});
}

TEST_CASE("lsi53c895a: arithmetic, memory moves, loads and stores") {
    Adapter adapter;
    adapter.board.out32(kDsa, kTable);
    adapter.program({0x7834'8100,
                     0,  // MOVE 81h TO SCRATCHA0
                     0x7934'0000,
                     0,  // SCRATCHA0 SHL: carry
                     0x7F35'0100,
                     0,  // SCRATCHA1 + 1 + carry
                     0x7234'0000,
                     0,  // SCRATCHA0 | 0 TO SFBR
                     0x6B36'0F00,
                     0,  // SFBR ^ 0Fh TO SCRATCHA2
                     0x7E36'F800,
                     0,  // SCRATCHA2 + F8h: carry
                     0x8028'0000 | 0,
                     kCode + 0x40,  // JUMP IF CARRY
                     kInt,
                     0xBAD,
                     0x785C'5A80,
                     0,  // MOVE 5Ah TO SCRATCHO0 (A7 set: DCh)
                     0xF134'0004,
                     0x10,  // LOAD SCRATCHA, DSA + 10h
                     0xE05C'0002,
                     kData,  // STORE SCRATCHB, 2 bytes
                     0xC000'0008,
                     kData + 4,
                     kData + 64,  // memory move
                     kInt,
                     5});
    adapter.put(kTable + 0x10, {1, 2, 3, 4});
    adapter.put(kData, {9, 9, 9, 9, 10, 11, 12, 13, 14, 15, 16, 17});
    adapter.board.out32(kScratchB, 0xAABB'CCDD);
    adapter.run();
    CHECK(adapter.dstat() == 0x84);
    CHECK(adapter.board.in32(kDsps) == 5);
    CHECK(adapter.board.in32(kScratchA) == 0x0403'0201);
    CHECK(adapter.board.in(kCsbc) == 0x5A);
    CHECK(adapter.bytes(kData, 3) == std::vector<u8>{0xDD, 0xCC, 9});
    CHECK(adapter.bytes(kData + 64, 8) == std::vector<u8>{10, 11, 12, 13, 14, 15, 16, 17});
    // What cannot be is an interrupt.
    for (const u32 wrong : {0x0800'0000u, 0xC000'0000u, 0xE000'0000u, 0xE000'0005u, 0xB800'0000u | 0x0008'0000u}) {
        adapter.program({wrong, kData, kData + 1});
        adapter.run();
        CHECK(adapter.dstat() == 0x81);
    }
}

TEST_CASE("lsi53c895a: programs in its own RAM, calls, interrupts on the fly, single steps") {
    Adapter adapter;
    const std::vector<u32> words = {0x8808'0000, static_cast<u32>(kRam) + 0x20, kInt, 6};
    for (size_t i = 0; i < words.size(); ++i) adapter.board.mmio.write(kRam + 4 * i, 4, words[i]);
    const std::vector<u32> called = {0x9818'0000, 0, 0x9008'0000, 0};  // INTFLY, RETURN
    for (size_t i = 0; i < called.size(); ++i) adapter.board.mmio.write(kRam + 0x20 + 4 * i, 4, called[i]);
    adapter.run(static_cast<u32>(kRam));
    CHECK(adapter.board.in(kIstat0) == (kInterruptOnTheFly | kDmaInterrupt));
    CHECK(adapter.dstat() == 0x84);
    CHECK(adapter.board.irq());
    adapter.board.out(kIstat0, kInterruptOnTheFly);
    CHECK_FALSE(adapter.board.irq());
    adapter.board.out(kDcntl, kSingleStepMode);
    adapter.run(static_cast<u32>(kRam));
    CHECK(adapter.dstat() == 0x88);
    CHECK(adapter.board.in32(kDsp) == kRam + 0x20);
    adapter.board.out(kDcntl, kStart);
    adapter.wait();
    CHECK(adapter.board.in(kIstat0) == (kInterruptOnTheFly | kDmaInterrupt));
}

TEST_CASE("lsi53c895a: an endless program leaves time to others, and can be ended") {
    Adapter adapter;
    adapter.program({kJump, kCode});
    adapter.board.out32(kDsp, kCode);
    CHECK(adapter.board.in(kIstat1) == kScriptsRunning);
    adapter.board.advance(5 * kMillisecond);
    CHECK_FALSE(adapter.board.irq());
    adapter.board.out(kIstat0, kAbort);
    CHECK(adapter.dstat() == (kFifoEmpty | kAborted));
    CHECK(adapter.board.scheduler.next() == kNever);
    // 16 MiB moved over and over.
    adapter.program({0xC0FF'FFFC, 0, 0, kJump, kCode});
    adapter.board.out32(kDsp, kCode);
    adapter.board.advance(kMillisecond);
    adapter.board.out(kIstat0, kAbort);
}

TEST_CASE("lsi53c895a: SIGP wakes a program that waits for a reselection") {
    Adapter adapter;
    adapter.program({kWaitReselect, kCode + 16, kInt, 1, kInt, 2});
    adapter.board.out32(kDsp, kCode);
    adapter.board.advance(kMillisecond);
    CHECK_FALSE(adapter.board.irq());
    adapter.board.out(kIstat0, kSignal);
    CHECK(adapter.board.in32(kDsps) == 2);
    CHECK((adapter.board.in(kCtest2)&kCtestSignal) != 0);
    CHECK((adapter.board.in(kCtest2)&kCtestSignal) == 0);
}

TEST_CASE("lsi53c895a: the general-purpose timer") {
    Adapter adapter;
    adapter.board.out(kSien1, kGeneralTimer);
    adapter.board.out(kStime1, 4);
    adapter.board.advance(900'000);
    CHECK_FALSE(adapter.board.irq());
    adapter.board.advance(200'000);
    CHECK(adapter.board.irq());
    CHECK(adapter.sist() == kGeneralTimer << 8);
}

TEST_CASE("lsi53c895a: what SeaBIOS does: no ATN, sixteen bytes of command, nothing acknowledged, empty moves") {
    Adapter adapter;
    adapter.put(kMessageOut, {0x80});
    adapter.put(kCommand, {0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    adapter.program({0x4000'0000, 0,          0x0600'0001, kMessageOut, 0x0200'0010, kCommand,   0x8782'0000, 0x18,
                     0x0700'0002, kMessageIn, 0x5000'0000, 0,           0x0700'0002, kMessageIn, 0,           0,
                     0x0300'0001, kStatus,    0x0700'0001, kMessageIn,  kInt,        0});
    for (const u8 status : {2, 0}) {
        adapter.board.out32(kDsp, kCode);
        CHECK(adapter.dstat() == 0x84);
        CHECK(adapter.sist() == 0);
        CHECK(adapter.bytes(kStatus, 1)[0] == status);
    }
}

TEST_CASE("lsi53c895a: data into the chip's own registers") {
    Adapter adapter;
    adapter.clear_attention();
    adapter.put(kMessageOut, {0x80});
    adapter.put(kCommand, {0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0});
    adapter.disk.content[1].fill(0x48);  // SRST into ISTAT0, RST into SCNTL1
    adapter.program({kSelectAtn, 0, kMoveMessageOut | 1, kMessageOut, kMoveCommand | 10, kCommand, kMoveDataIn | 512,
                     static_cast<u32>(kRegistersAt), kInt, 1});
    adapter.board.out32(kDsp, kCode);
    adapter.board.advance(100 * kMillisecond);
    adapter.board.lsi.reset();
    adapter.board.enable();
    adapter.program({kInt, 1});
    adapter.run();
    CHECK(adapter.board.in32(kDsps) == 1);
}
