#include "devices/e1000_eeprom.h"

namespace lodge::e1000 {

namespace {

// Words of the map, 317453 table 5-2.
constexpr u32 kCompatibility = 0x03;
constexpr u32 kInitControl1 = 0x0A;
constexpr u32 kSubsystemId = 0x0B;
constexpr u32 kSubsystemVendor = 0x0C;
constexpr u32 kDeviceId = 0x0D;
constexpr u32 kVendorId = 0x0E;
constexpr u32 kInitControl2 = 0x0F;
constexpr u32 kChecksum = 0x3F;
constexpr u16 kChecksumTotal = 0xBABA;  // of all words, 317453 5.6.35

// The two bits behind the start bit, then six of address; for 00 the address's upper two tell what is meant.
constexpr u32 kExtended = 0, kWrite = 1, kRead = 2, kErase = 3;
constexpr u32 kEwds = 0, kWral = 1, kEral = 2, kEwen = 3;
constexpr u8 kInstructionBits = 8;
constexpr u8 kWordBits = 16;
constexpr u8 kMostBits = kInstructionBits + kWordBits;

}  // namespace

Eeprom::Eeprom(const MacAddress& address) {
    words_.fill(0xFFFF);
    for (u32 index = 0; index < 3; ++index) words_[index] = load<u16>(&address[2 * index]);
    words_[kCompatibility] = 0x0000;
    // Signature 01b in bits 15:14; full duplex; subsystem and device ids are to be loaded.
    words_[kInitControl1] = 0x4403;
    words_[kSubsystemId] = 0x001E;
    words_[kSubsystemVendor] = 0x8086;
    words_[kDeviceId] = 0x100E;
    words_[kVendorId] = 0x8086;
    words_[kInitControl2] = 0x3040;  // no wake-up by APM (bit 10)
    seal();
}

// The checksum word makes all words add up.
void Eeprom::seal() {
    u16 sum = 0;
    for (u32 index = 0; index < kChecksum; ++index) sum = static_cast<u16>(sum + words_[index]);
    words_[kChecksum] = static_cast<u16>(kChecksumTotal - sum);
}

MacAddress Eeprom::address() const {
    MacAddress address;
    for (u32 index = 0; index < 3; ++index) store(&address[2 * index], words_[index]);
    return address;
}

void Eeprom::drive(bool select, bool clock, bool data) {
    if (!select) {
        // Between instructions the output floats, pulled up.
        selected_ = started_ = reading_ = false;
        count_ = 0;
        shifted_ = 0;
        output_ = true;
    } else if (clock && !clock_ && selected_) {
        clock_in(data);
    } else {
        selected_ = true;
    }
    clock_ = clock;
}

void Eeprom::clock_in(bool data) {
    if (reading_) {
        // A read goes on with the next word for as long as it is clocked.
        if (sending_left_ == 0) {
            sending_index_ = (sending_index_ + 1) % kWords;
            sending_ = words_[sending_index_];
            sending_left_ = kWordBits;
        }
        output_ = sending_ & 0x8000;
        sending_ = static_cast<u16>(sending_ << 1);
        --sending_left_;
        return;
    }
    if (!started_) {
        started_ = data;
        return;
    }
    if (count_ == kMostBits) return;  // bits beyond an instruction say nothing
    shifted_ = shifted_ << 1 | data;
    ++count_;
    instruction();
}

void Eeprom::instruction() {
    if (count_ < kInstructionBits) return;
    const u32 head = count_ > kInstructionBits ? shifted_ >> (count_ - kInstructionBits) : shifted_;
    const u32 code = bits(head, 6, 2), address = head % kWords;
    const bool whole = count_ == kMostBits;
    if (count_ == kInstructionBits && code == kRead) {
        // A zero comes before the word's bits.
        reading_ = true;
        output_ = false;
        sending_index_ = static_cast<u8>(address);
        sending_ = words_[address];
        sending_left_ = kWordBits;
    } else if (count_ == kInstructionBits && code == kErase && writable_) {
        words_[address] = 0xFFFF;
    } else if (whole && code == kWrite && writable_) {
        words_[address] = static_cast<u16>(shifted_);
    } else if (code == kExtended) {
        ext_instruction(address);
    }
}

void Eeprom::ext_instruction(u32 address) {
    const u32 code = bits(address, 4, 2);
    const bool whole = count_ == kMostBits;
    if (code == kEwen || code == kEwds) writable_ = code == kEwen;
    if (code == kEral && writable_ && count_ == kInstructionBits) words_.fill(0xFFFF);
    if (code == kWral && writable_ && whole) words_.fill(static_cast<u16>(shifted_));
}

void Eeprom::reset() {
    selected_ = clock_ = started_ = reading_ = writable_ = false;
    output_ = true;
    shifted_ = 0;
    count_ = 0;
    sending_ = 0;
    sending_left_ = 0;
    sending_index_ = 0;
}

void Eeprom::state(StateIo& io) {
    io.section("eeprom", 1, [&] {
        io.field("words", words_);
        io.field("selected", selected_);
        io.field("clock", clock_);
        io.field("output", output_);
        io.field("writable", writable_);
        io.field("started", started_);
        io.field("shifted", shifted_);
        io.field("count", count_);
        io.field("sending", sending_);
        io.field("sending_left", sending_left_);
        io.field("sending_index", sending_index_);
        io.field("reading", reading_);
        if (count_ > kMostBits || sending_left_ > kWordBits || sending_index_ >= kWords) {
            io.fail("the EEPROM's shift register cannot be");
            reset();
        }
    });
}

}  // namespace lodge::e1000
