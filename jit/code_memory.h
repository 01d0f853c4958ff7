// Memory for host code, mapped twice: one mapping is written, the other executed, and no page is ever both. Behind the
// latter lies data that code reaches relative to itself.
#pragma once

#include <memory>

#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge::jit {

class CodeMemory {
  public:
    // `bytes` of code and of data: multiples of 4096.
    static Result<std::unique_ptr<CodeMemory>> create(u64 bytes, u64 data_bytes);
    ~CodeMemory();
    CodeMemory(const CodeMemory&) = delete;

    u8* begin() const { return executable_; }
    u64 size() const { return size_; }
    u8* data() const { return executable_ + size_; }
    // Where to write what is executed at `code`.
    u8* writable(const u8* code) const { return writable_ + (code - executable_); }

  private:
    CodeMemory() = default;

    u8* executable_ = nullptr;
    u8* writable_ = nullptr;
    u64 size_ = 0, data_size_ = 0;
};

}  // namespace lodge::jit
