// The three scan code sets of PC keyboards, and the 8042's translation from set 2 to set 1.
// Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-key)", scan code tables.
#pragma once

#include <array>

#include "core/base/types.h"

namespace lodge {

// What the 8042 makes of a set 2 code: set 1 for keys, the same byte for answers.
u8 translate_set2(u8 code);
// Set 1 codes without the release bit, 00h..7Fh. Codes that no key has give 0.
u8 set1_to_set2(u8 code);
u8 set1_to_set3(u8 code);
u8 set1_extended_to_set3(u8 code);  // after E0h

constexpr u8 kSet3Pause = 0x62;
// Caps Lock, left and right Shift, left Ctrl, left Alt.
constexpr std::array<u8, 5> kSet3Modifiers = {0x14, 0x12, 0x59, 0x11, 0x19};

}  // namespace lodge
