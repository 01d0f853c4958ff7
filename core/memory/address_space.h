// What the CPU and DMA see of a bus: a space of addresses that always answers.
#pragma once

#include "core/base/types.h"

namespace lodge {

class AddressSpace {
  public:
    virtual ~AddressSpace() = default;
    // size is 1, 2, 4 or 8; the value is in the low bytes. Unclaimed addresses read all ones and ignore writes.
    virtual u64 read(u64 address, unsigned size) = 0;
    virtual void write(u64 address, unsigned size, u64 value) = 0;
};

}  // namespace lodge
