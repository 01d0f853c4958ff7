#include "devices/vga.h"

#include <doctest/doctest.h>

#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

namespace {

constexpr u64 kVramOffset = 1 * kMiB;
constexpr u64 kVramSize = 4 * kMiB;

// The register values of the IBM VGA BIOS for some modes (PS/2 technical reference, video modes).
struct ModeTable {
    u8 misc;
    u8 sequencer[4];
    u8 crtc[25];
    u8 attribute[4];  // 10h..13h
    u8 graphics[9];
};
constexpr ModeTable kText80 = {0x67,
                               {0x00, 0x03, 0x00, 0x02},
                               {0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E, 0x00,
                                0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F, 0x28, 0x1F, 0x96, 0xB9, 0xA3, 0xFF},
                               {0x0C, 0x00, 0x0F, 0x08},
                               {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0E, 0x00, 0xFF}};
constexpr ModeTable kMode12 = {0xE3,
                               {0x01, 0x0F, 0x00, 0x06},
                               {0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0x0B, 0x3E, 0x00, 0x40, 0x00, 0x00, 0x00,
                                0x00, 0x00, 0x00, 0xEA, 0x8C, 0xDF, 0x28, 0x00, 0xE7, 0x04, 0xE3, 0xFF},
                               {0x01, 0x00, 0x0F, 0x00},
                               {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0F, 0xFF}};
constexpr ModeTable kMode13 = {0x63,
                               {0x01, 0x0F, 0x00, 0x0E},
                               {0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0xBF, 0x1F, 0x00, 0x41, 0x00, 0x00, 0x00,
                                0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F, 0x28, 0x40, 0x96, 0xB9, 0xA3, 0xFF},
                               {0x41, 0x00, 0x0F, 0x00},
                               {0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0F, 0xFF}};
constexpr ModeTable kMode4 = {0x63,
                              {0x09, 0x03, 0x00, 0x02},
                              {0x2D, 0x27, 0x28, 0x90, 0x2B, 0x80, 0xBF, 0x1F, 0x00, 0xC1, 0x00, 0x00, 0x00,
                               0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F, 0x14, 0x00, 0x96, 0xB9, 0xA2, 0xFF},
                              {0x01, 0x00, 0x03, 0x00},
                              {0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0F, 0x00, 0xFF}};
constexpr ModeTable kMode6 = {0x63,
                              {0x01, 0x01, 0x00, 0x06},
                              {0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0xBF, 0x1F, 0x00, 0xC1, 0x00, 0x00, 0x00,
                               0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F, 0x28, 0x00, 0x96, 0xB9, 0xC2, 0xFF},
                              {0x01, 0x00, 0x01, 0x00},
                              {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0D, 0x00, 0xFF}};

struct Fixture : TestBoard {
    Fixture() : TestBoard(kVramOffset + kVramSize) {
        auto parts = platform();
        REQUIRE(vga.attach(parts).ok());
    }
    void set(u16 port, u8 index, u8 value) {
        out(port, index);
        out(port + 1, value);
    }
    void attribute(u8 index, u8 value) {
        in(0x3DA);
        out(0x3C0, index);
        out(0x3C0, value);
    }
    void mode(const ModeTable& table) {
        out(0x3C2, table.misc);
        for (u8 i = 0; i < 4; ++i) set(0x3C4, i + 1, table.sequencer[i]);
        set(0x3D4, 0x11, 0x00);
        for (u8 i = 0; i < 25; ++i) set(0x3D4, i, table.crtc[i]);
        for (u8 i = 0; i < 9; ++i) set(0x3CE, i, table.graphics[i]);
        for (u8 i = 0; i < 16; ++i) attribute(i, i);
        for (u8 i = 0; i < 4; ++i) attribute(0x10 + i, table.attribute[i]);
        in(0x3DA);
        out(0x3C0, 0x20);
        // Colour n is n in red, 63 - n in green, 2n in blue, six bits each.
        out(0x3C8, 0);
        for (unsigned i = 0; i < 256; ++i) {
            out(0x3C9, static_cast<u8>(i & 63));
            out(0x3C9, static_cast<u8>(63 - (i & 63)));
            out(0x3C9, static_cast<u8>(2 * i & 63));
        }
    }
    static u32 six(u32 value) { return (value << 2 | value >> 4) & 0xFF; }
    static u32 colour(unsigned i) { return six(i & 63) << 16 | six(63 - (i & 63)) << 8 | six(2 * i & 63); }
    u32 pixel(unsigned x, unsigned y) {
        const Frame frame = vga.render();
        REQUIRE(x < frame.width);
        REQUIRE(y < frame.height);
        return frame.pixels[size_t{y} * frame.stride + x];
    }
    void poke(u64 address, u8 value) { memory->write_value(address, value); }
    u8 peek(u64 address) { return memory->read_value<u8>(address); }
    void print(u64 address, const std::string& text, u8 attribute_byte) {
        for (char c : text) {
            poke(address++, static_cast<u8>(c));
            poke(address++, attribute_byte);
        }
    }
    // A font whose glyph n has n in every row.
    void load_font() {
        set(0x3C4, 2, 0x04);
        set(0x3C4, 4, 0x06);
        set(0x3CE, 5, 0x00);
        set(0x3CE, 6, 0x04);
        for (unsigned i = 0; i < 256; ++i)
            for (unsigned row = 0; row < 32; ++row) poke(0xA0000 + i * 32 + row, static_cast<u8>(i));
        set(0x3C4, 2, 0x03);
        set(0x3C4, 4, 0x02);
        set(0x3CE, 5, 0x10);
        set(0x3CE, 6, 0x0E);
    }
    void dispi(u16 index, u16 value) {
        ports.write(0x1CE, 2, index);
        ports.write(0x1CF, 2, value);
    }
    u16 dispi(u16 index) {
        ports.write(0x1CE, 2, index);
        return static_cast<u16>(ports.read(0x1D0, 2));
    }
    void dispi_mode(u16 width, u16 height, u16 depth) {
        dispi(4, 0);
        dispi(1, width);
        dispi(2, height);
        dispi(3, depth);
        dispi(4, 0x41);
    }
    u8* vram() { return memory->backing().data() + kVramOffset; }

    Vga vga{*memory, scheduler, log, kVramOffset, kVramSize};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "vga: text of 80 columns") {
    mode(kText80);
    load_font();
    print(0xB8000, "Hello", 0x1E);
    print(0xB8000 + 160 * 24, "\x81 last", 0x07);
    const std::string screen = vga.text_screen();
    CHECK(screen.substr(0, 6) == "Hello\n");
    CHECK(screen.substr(screen.size() - 7) == "? last\n");
    const Frame frame = vga.render();
    CHECK(frame.width == 720);
    CHECK(frame.height == 400);
    // 'H' is 48h: pixels 1 and 4 of the first cell.
    CHECK(pixel(0, 0) == colour(1));
    CHECK(pixel(1, 0) == colour(14));
    CHECK(pixel(4, 15) == colour(14));
    CHECK(pixel(8, 0) == colour(1));
    CHECK(pixel(9 * 5, 0) == colour(0));
    CHECK(peek(0xB8000) == 'H');
    CHECK(peek(0xB8001) == 0x1E);
    CHECK(peek(0xA0000) == 0xFF);  // not mapped in this mode
}

TEST_CASE_FIXTURE(Fixture, "vga: whole cells are written and read as their bytes are") {
    mode(kText80);
    memory->write_value<u16>(0xB8010, 0x1E41);
    CHECK(peek(0xB8010) == 'A');
    CHECK(peek(0xB8011) == 0x1E);
    memory->write_value<u16>(0xB8021, 0x4207);  // an attribute and the next character
    CHECK(peek(0xB8021) == 0x07);
    CHECK(memory->read_value<u16>(0xB8022) == 0x0042);
    memory->write_value<u32>(0xB8030, 0x1F441F43);
    CHECK(memory->read_value<u16>(0xB8032) == 0x1F44);
    // Reading fills the latches, of which write mode 1 makes a copy.
    CHECK(memory->read_value<u16>(0xB8010) == 0x1E41);
    set(0x3CE, 5, 0x11);
    memory->write_value<u16>(0xB8040, 0);
    set(0x3CE, 5, 0x10);
    CHECK(memory->read_value<u16>(0xB8040) == 0x1E41);
    // Planes that are masked, and bits, stay.
    set(0x3C4, 2, 0x01);
    memory->write_value<u16>(0xB8040, 0x5542);
    set(0x3C4, 2, 0x03);
    CHECK(memory->read_value<u16>(0xB8040) == 0x1E42);
    set(0x3CE, 8, 0x0F);
    memory->write_value<u16>(0xB8040, 0xFFFF);
    set(0x3CE, 8, 0xFF);
    CHECK(memory->read_value<u16>(0xB8040) == 0x1F4F);
    CHECK(memory->read_value<u16>(0xB0000) == 0xFFFF);  // not mapped in this mode
}

TEST_CASE_FIXTURE(Fixture, "vga: cursor, line graphics, blinking and start address") {
    mode(kText80);
    load_font();
    print(0xB8000, "\xC1", 0x07);
    print(0xB8000 + 160, std::string("\x81"), 0x87);
    CHECK(pixel(8, 0) == colour(7));  // ninth dot repeats the eighth
    CHECK(pixel(7, 16) == colour(7));
    set(0x3D4, 0x0E, 0x00);
    set(0x3D4, 0x0F, 0x05);
    print(0xB8000 + 10, " ", 0x07);
    CHECK(pixel(45, 14) == colour(7));
    CHECK(pixel(45, 12) == colour(0));
    set(0x3D4, 0x0A, 0x20);
    CHECK(pixel(45, 14) == colour(0));
    advance(16 * kNanosecondsPerSecond / 70);  // after 16 frames the blinking character is hidden
    CHECK(pixel(7, 16) == colour(0));
    set(0x3D4, 0x0D, 80);
    print(0xB8000 + 160, "Z", 0x07);
    CHECK(vga.text_screen().substr(0, 2) == "Z\n");
}

TEST_CASE_FIXTURE(Fixture, "vga: 640x480 in 16 colours and the write modes") {
    mode(kMode12);
    set(0x3C4, 2, 0x0F);
    set(0x3CE, 0, 0x05);
    set(0x3CE, 1, 0x0F);
    set(0x3CE, 8, 0xF0);
    poke(0xA0000, 0xFF);  // set/reset to colour 5 in the left four pixels
    CHECK(pixel(0, 0) == colour(5));
    CHECK(pixel(3, 0) == colour(5));
    CHECK(pixel(4, 0) == colour(0));
    CHECK(vga.render().width == 640);
    CHECK(vga.render().height == 480);
    CHECK(vga.text_screen().empty());

    set(0x3CE, 1, 0x00);
    set(0x3CE, 5, 0x02);  // write mode 2: the value is the colour
    set(0x3CE, 8, 0x0F);
    peek(0xA0000);  // latches
    poke(0xA0000, 0x0A);
    CHECK(pixel(4, 0) == colour(10));
    CHECK(pixel(0, 0) == colour(5));

    set(0x3CE, 5, 0x01);  // write mode 1: copy by latches
    peek(0xA0000);
    poke(0xA0050, 0x00);
    CHECK(pixel(0, 1) == colour(5));
    CHECK(pixel(7, 1) == colour(10));

    set(0x3CE, 5, 0x03);  // write mode 3: the value masks set/reset
    set(0x3CE, 8, 0xFF);
    set(0x3CE, 0, 0x03);
    peek(0xA0000);
    poke(0xA0000, 0x81);
    CHECK(pixel(0, 0) == colour(3));
    CHECK(pixel(1, 0) == colour(5));
    CHECK(pixel(7, 0) == colour(3));

    set(0x3CE, 5, 0x08);  // read mode 1: which pixels are colour 5
    set(0x3CE, 2, 0x05);
    set(0x3CE, 7, 0x0F);
    CHECK(peek(0xA0000) == 0x70);
    set(0x3CE, 5, 0x00);  // read mode 0
    set(0x3CE, 4, 0x01);
    CHECK(peek(0xA0000) == 0x8F);

    set(0x3CE, 3, 0x18);  // XOR
    peek(0xA0000);
    poke(0xA0000, 0xFF);
    CHECK(peek(0xA0000) == 0x70);
    set(0x3CE, 3, 0x04);  // rotate by 4
    set(0x3CE, 8, 0xFF);
    poke(0xA0001, 0x81);
    CHECK(peek(0xA0001) == 0x18);
}

TEST_CASE_FIXTURE(Fixture, "vga: mode 13h and the unchained modes") {
    mode(kMode13);
    poke(0xA0000 + 320 * 100 + 7, 0x2A);
    CHECK(vga.render().width == 320);
    CHECK(vga.render().height == 200);
    CHECK(pixel(7, 100) == colour(0x2A));
    CHECK(peek(0xA0000 + 320 * 100 + 7) == 0x2A);
    out(0x3C6, 0x0F);
    CHECK(pixel(7, 100) == colour(0x0A));
    out(0x3C6, 0xFF);
    set(0x3C4, 4, 0x06);  // unchain
    set(0x3D4, 0x14, 0);  // byte mode
    set(0x3D4, 0x17, 0xE3);
    set(0x3C4, 2, 0x08);
    poke(0xA0000 + 80 * 3 + 2, 0x11);  // plane 3: x = 2 * 4 + 3
    CHECK(pixel(11, 3) == colour(0x11));
    set(0x3D4, 0x0D, 0x50);
    CHECK(pixel(11, 2) == colour(0x11));
}

TEST_CASE_FIXTURE(Fixture, "vga: CGA modes 4 and 6") {
    mode(kMode4);
    poke(0xB8000, 0x1B);               // pixels 0, 1, 2, 3
    poke(0xB8000 + 0x2000 + 1, 0xE4);  // second line: pixels 4..7 are 3, 2, 1, 0
    CHECK(vga.render().width == 320);
    CHECK(vga.render().height == 200);
    for (unsigned i = 0; i < 4; ++i) CHECK(pixel(i, 0) == colour(i));
    for (unsigned i = 0; i < 4; ++i) CHECK(pixel(4 + i, 1) == colour(3 - i));
    mode(kMode6);
    poke(0xB8000 + 80, 0x80);
    CHECK(vga.render().width == 640);
    CHECK(vga.render().height == 200);
    CHECK(pixel(0, 2) == colour(1));
    CHECK(pixel(1, 2) == colour(0));
}

TEST_CASE_FIXTURE(Fixture, "vga: split screen and panning") {
    mode(kMode12);
    set(0x3C4, 2, 0x01);
    set(0x3CE, 8, 0xFF);
    poke(0xA0000, 0x80);
    set(0x3D4, 0x0D, 0x50);  // the picture starts on the second row
    set(0x3D4, 0x18, 99);    // and begins again at 0 below line 99
    set(0x3D4, 0x07, 0x2E);
    set(0x3D4, 0x09, 0x00);
    CHECK(pixel(0, 99) == colour(0));
    CHECK(pixel(0, 100) == colour(1));
    poke(0xA0000 + 80, 0x01);
    attribute(0x33, 7);
    CHECK(pixel(0, 0) == colour(1));
}

TEST_CASE_FIXTURE(Fixture, "vga: registers read back, CRTC protection, DAC order") {
    mode(kText80);
    out(0x3D4, 0x00);
    CHECK(in(0x3D5) == 0x5F);
    set(0x3D4, 0x00, 0x11);  // protected by register 11h
    CHECK(in(0x3D5) == 0x5F);
    set(0x3D4, 0x07, 0x00);
    CHECK(in(0x3D5) == 0x0F);  // only the line compare bit
    CHECK(in(0x3CC) == 0x67);
    CHECK(in(0x3B5) == 0xFF);
    out(0x3C7, 10);
    CHECK(in(0x3C7) == 3);
    CHECK(in(0x3C9) == 10);
    CHECK(in(0x3C9) == 53);
    CHECK(in(0x3C9) == 20);
    CHECK(in(0x3C9) == 11);
    in(0x3DA);
    out(0x3C0, 0x30);
    CHECK(in(0x3C1) == 0x0C);
}

TEST_CASE_FIXTURE(Fixture, "vga: retrace comes about 70 times a second") {
    mode(kText80);
    unsigned frames = 0;
    bool last = false;
    for (unsigned i = 0; i < 100'000; ++i) {
        advance(10'000);
        const bool now = in(0x3DA) & 0x08;
        frames += now && !last;
        last = now;
    }
    CHECK(frames >= 69);
    CHECK(frames <= 71);
}

TEST_CASE_FIXTURE(Fixture, "vga: display interface: identity, limits, depths") {
    CHECK(dispi(0) == 0xB0C5);
    dispi(0, 0x1234);
    CHECK(dispi(0) == 0xB0C5);
    CHECK(dispi(10) == kVramSize / 65536);
    dispi(4, 2);
    CHECK(dispi(1) == 2560);
    CHECK(dispi(3) == 32);
    dispi_mode(800, 600, 32);
    CHECK(dispi(6) == 800);
    CHECK(dispi(7) == kVramSize / 3200);
    dispi(1, 640);
    CHECK(dispi(1) == 800);  // not while it is on
    store<u32>(vram() + (3200 * 10 + 4 * 20), 0x00123456);
    CHECK(vga.render().width == 800);
    CHECK(pixel(20, 10) == 0x123456);
    dispi(8, 20);
    dispi(9, 10);
    CHECK(pixel(0, 0) == 0x123456);
    dispi_mode(800, 600, 24);
    CHECK(vram()[3200 * 10 + 80] == 0);  // cleared
    vram()[2400 + 3] = 0x11;
    vram()[2400 + 5] = 0x33;
    CHECK(pixel(1, 1) == 0x330011);
    dispi_mode(640, 480, 16);
    store<u16>(vram() + 1280, 0xF81F);
    CHECK(pixel(0, 1) == 0xFF00FF);
    dispi_mode(640, 480, 15);
    store<u16>(vram() + 1282, 0x03E0);
    CHECK(pixel(1, 1) == 0x00FF00);
    mode(kText80);
    dispi_mode(640, 480, 8);
    vram()[640 * 2 + 3] = 200;
    CHECK(pixel(3, 2) == colour(200));
    dispi_mode(800, 600, 4);
    vram()[(100 * 3 + 1) * 4 + 2] = 0x80;
    CHECK(pixel(8, 3) == colour(4));
    CHECK(vga.text_screen().empty());
}

TEST_CASE_FIXTURE(Fixture, "vga: banks, 8-bit DAC, pictures larger than the memory") {
    mode(kMode13);
    dispi_mode(1024, 768, 8);
    dispi(5, 3);
    poke(0xA0000 + 5, 0x77);
    CHECK(vram()[3 * 65536 + 5] == 0x77);
    CHECK(peek(0xA0005) == 0x77);
    dispi(4, 0xE1);  // 8-bit DAC, no clearing
    out(0x3C8, 0x77);
    out(0x3C9, 0xFE);
    out(0x3C9, 0x01);
    out(0x3C9, 0x80);
    CHECK(pixel(5, 192) == 0xFE0180);
    dispi_mode(2560, 1600, 32);
    const Frame frame = vga.render();
    CHECK(frame.height == 1600);
    CHECK(pixel(0, 1599) == 0);
    dispi(9, 0xFFFF);
    dispi(8, 0xFFFF);
    CHECK(pixel(0, 0) == 0);
}

TEST_CASE_FIXTURE(Fixture, "vga: the register block of BAR 2") {
    CHECK(vga.read_registers(0x500, 2) == 0xB0C5);
    vga.write_registers(0x502, 2, 1024);
    vga.write_registers(0x504, 4, 16u << 16 | 768);
    vga.write_registers(0x508, 2, 0x41);
    CHECK(vga.render().width == 1024);
    CHECK(vga.render().height == 768);
    vga.write_registers(0x402, 1, 0x67);
    CHECK(vga.read_registers(0x40C, 1) == 0x67);
    CHECK(vga.read_registers(0x000, 4) == 0xFFFFFFFF);
}

TEST_CASE_FIXTURE(Fixture, "vga: before any programming there is a black picture") {
    const Frame frame = vga.render();
    CHECK(frame.width == 640);
    CHECK(pixel(100, 100) == 0);
}

TEST_CASE_FIXTURE(Fixture, "vga: save, load, save") {
    mode(kText80);
    dispi_mode(640, 480, 8);
    TestBoard second(kVramOffset + kVramSize);
    Vga other(*second.memory, second.scheduler, second.log, kVramOffset, kVramSize);
    CHECK(same_after_load(vga, other));
}
