// A saved state (core/base/state_io.h) as a tree of names and bytes: what is inside a device, for whoever only looks.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/device.h"

namespace lodge::debug {

struct StateTree {
    std::string name;
    std::vector<u8> bytes;         // of a field
    std::vector<StateTree> items;  // of a section, in the order of the walk
    bool section = false;

    // A field by its path ("counter0/mode"), as a little-endian number of up to 8 bytes.
    std::optional<u64> number(std::string_view path) const;
    const StateTree* find(std::string_view path) const;
};

// The root has no name. Nothing: these are not the bytes of a saved state.
std::optional<StateTree> parse_state(std::span<const u8> saved);
StateTree state_of(Device& device);

// One line for each field, sections indented.
std::string state_text(const StateTree& tree);

}  // namespace lodge::debug
