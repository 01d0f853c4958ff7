// The serial EEPROM beside the 82540EM: 64 words of 16 bits, a 93C46 on a Microwire bus.
// Sources: Intel 317453, chapter 5 (EEPROM map) and 13.4.3 (EECD); Atmel 93C46 data sheet (instructions, table 4).
//
// A guest reads it word by word through the EERD register, or drives the chip's pins itself through EECD.
#pragma once

#include <array>

#include "core/base/state_io.h"
#include "devices/ethernet.h"

namespace lodge::e1000 {

class Eeprom {
  public:
    static constexpr u32 kWords = 64;

    // As the factory left it: the address, the PCI ids, a checksum.
    explicit Eeprom(const MacAddress& address);

    u16 word(u32 index) const { return index < kWords ? words_[index] : 0xFFFF; }
    // What words 0..2 say.
    MacAddress address() const;

    // Chip select, clock and data in as the guest drives them; the chip acts on a rising clock.
    void drive(bool select, bool clock, bool data);
    // The data output: high when the chip does not drive it, and when it is ready after a write.
    bool output() const { return output_; }

    // The pins let go. The words are kept: nothing but a write changes them.
    void reset();
    void state(StateIo& io);

  private:
    void clock_in(bool data);
    void instruction();
    void ext_instruction(u32 address);
    void seal();

    std::array<u16, kWords> words_;
    bool selected_ = false;
    bool clock_ = false;
    bool output_ = true;
    bool writable_ = false;  // after EWEN
    bool started_ = false;   // the start bit has come
    u32 shifted_ = 0;        // bits that came behind it
    u8 count_ = 0;
    u16 sending_ = 0;       // a READ's word, what is left of it in the high bits
    u8 sending_left_ = 0;   // bits
    u8 sending_index_ = 0;  // of the word being sent
    bool reading_ = false;
};

}  // namespace lodge::e1000
