// Sense data: why a command ended with CHECK CONDITION. Source: SPC-4 4.5 (formats), 4.5.2.4 (sense key specific data).
#pragma once

#include <optional>
#include <vector>

#include "core/base/state_io.h"
#include "core/base/types.h"
#include "disks/scsi/codes.h"

namespace lodge::scsi {

struct Sense {
    SenseKey key = SenseKey::no_sense;
    SenseCode code;
    std::optional<u64> information;  // by command: the block at fault, or the offset of a miscompare
    bool incorrect_length = false;   // ILI

    // Which field an ILLEGAL REQUEST is about: a byte of the CDB or of the parameter list, and maybe its highest bit.
    enum class Field : u8 { none, cdb, parameters };
    static constexpr u8 kNoBit = 0xFF;
    Field field = Field::none;
    u16 field_byte = 0;
    u8 field_bit = kNoBit;

    // The error that says which byte of the CDB cannot be.
    static Sense invalid_cdb(u16 byte, u8 bit = kNoBit);
    static Sense invalid_parameter(u16 byte, u8 bit = kNoBit);
    static Sense illegal(SenseCode code) { return {.key = SenseKey::illegal_request, .code = code}; }

    // Response code 70h, 18 bytes. Information of more than 32 bits cannot be told and is left out.
    std::vector<u8> fixed() const;
    // Response code 72h.
    std::vector<u8> descriptors() const;

    // Fields of the section that is open.
    void state(StateIo& io);
};

}  // namespace lodge::scsi
