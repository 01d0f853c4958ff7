#include "disks/scsi/sense.h"

#include <array>

namespace lodge::scsi {

namespace {

constexpr u8 kFixedCurrent = 0x70;
constexpr u8 kDescriptorCurrent = 0x72;
constexpr u8 kValid = 0x80;
constexpr u8 kIncorrectLength = 0x20;

// Descriptor types and their additional lengths, SPC-4 table 28.
constexpr u8 kInformationDescriptor = 0x00;
constexpr u8 kSpecificDescriptor = 0x02;
constexpr u8 kBlockDescriptor = 0x05;

// SPC-4 table 34: SKSV, C/D, BPV, bit pointer; field pointer.
std::array<u8, 3> specific(const Sense& sense) {
    u8 first = kValid;
    if (sense.field == Sense::Field::cdb) first |= 0x40;
    if (sense.field_bit != Sense::kNoBit) first |= static_cast<u8>(0x08 | (sense.field_bit & 7));
    return {first, static_cast<u8>(sense.field_byte >> 8), static_cast<u8>(sense.field_byte)};
}

Sense with_field(SenseCode code, Sense::Field field, u16 byte, u8 bit) {
    Sense sense = Sense::illegal(code);
    sense.field = field;
    sense.field_byte = byte;
    sense.field_bit = bit;
    return sense;
}

}  // namespace

Sense Sense::invalid_cdb(u16 byte, u8 bit) {
    return with_field(kInvalidFieldInCdb, Field::cdb, byte, bit);
}

Sense Sense::invalid_parameter(u16 byte, u8 bit) {
    return with_field(kInvalidFieldInParameterList, Field::parameters, byte, bit);
}

std::vector<u8> Sense::fixed() const {
    std::vector<u8> data(18);
    data[0] = kFixedCurrent;
    data[2] = static_cast<u8>(key);
    if (incorrect_length) data[2] |= kIncorrectLength;
    if (information && *information <= 0xFFFF'FFFF) {
        data[0] |= kValid;
        store_big_endian(&data[3], static_cast<u32>(*information));
    }
    data[7] = static_cast<u8>(data.size() - 8);
    data[12] = code.code;
    data[13] = code.qualifier;
    if (field != Field::none) {
        const auto bytes = specific(*this);
        std::copy(bytes.begin(), bytes.end(), data.begin() + 15);
    }
    return data;
}

std::vector<u8> Sense::descriptors() const {
    std::vector<u8> data = {kDescriptorCurrent, static_cast<u8>(key), code.code, code.qualifier, 0, 0, 0, 0};
    if (information) {
        const size_t at = data.size();
        data.insert(data.end(), {kInformationDescriptor, 10, kValid, 0});
        data.resize(at + 12);
        store_big_endian(&data[at + 4], *information);
    }
    if (field != Field::none) {
        const auto bytes = specific(*this);
        data.insert(data.end(), {kSpecificDescriptor, 6, 0, 0, bytes[0], bytes[1], bytes[2], 0});
    }
    if (incorrect_length) data.insert(data.end(), {kBlockDescriptor, 2, 0, kIncorrectLength});
    data[7] = static_cast<u8>(data.size() - 8);
    return data;
}

void Sense::state(StateIo& io) {
    bool known = information.has_value();
    u64 value = information.value_or(0);
    io.field("key", key);
    io.field("code", code.code);
    io.field("qualifier", code.qualifier);
    io.field("has_information", known);
    io.field("information", value);
    io.field("incorrect_length", incorrect_length);
    io.field("field", field);
    io.field("field_byte", field_byte);
    io.field("field_bit", field_bit);
    if (!io.loading()) return;
    information = known ? std::optional(value) : std::nullopt;
    key = static_cast<SenseKey>(static_cast<u8>(key) & 0x0F);
    if (field > Field::parameters) field = Field::none;
}

}  // namespace lodge::scsi
