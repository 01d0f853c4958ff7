// What `lodge disk info` prints.
#pragma once

#include "disks/open_image.h"

namespace lodge {

// The first image of the chain, for people or as a JSON object.
void print_image(const Chain& chain);
void print_image_json(const Chain& chain);
// All of it: a tree, or the object with an array "chain".
void print_chain(const Chain& chain);
void print_chain_json(const Chain& chain);

}  // namespace lodge
