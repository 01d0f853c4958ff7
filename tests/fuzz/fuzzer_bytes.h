// What a fuzzer hands over, taken from its front value by value. Behind the end there are zeros.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include "core/base/types.h"

namespace lodge::test {

class FuzzerBytes {
  public:
    explicit FuzzerBytes(std::span<const u8> bytes) : bytes_(bytes) {}
    bool empty() const { return bytes_.empty(); }
    template <class T>
    T take() {
        T value{};
        const size_t size = std::min(sizeof value, bytes_.size());
        if (size) std::memcpy(&value, bytes_.data(), size);
        bytes_ = bytes_.subspan(size);
        return value;
    }

  private:
    std::span<const u8> bytes_;
};

}  // namespace lodge::test
