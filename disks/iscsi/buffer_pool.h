// Large buffers that are used again: memory that the allocator gives back to the host and asks for again costs a page
// fault for each of its pages, more than copying the data does.
#pragma once

#include <memory>
#include <vector>

#include "core/base/types.h"

namespace lodge::iscsi {

class BufferPool : public std::enable_shared_from_this<BufferPool> {
  public:
    static constexpr size_t kMostBytes = 8 * kMiB;     // kept
    static constexpr size_t kLeastBuffer = 32 * kKiB;  // smaller ones are the allocator's business

    // A buffer of any size and content, with room for so many bytes if there is one.
    std::vector<u8> take(size_t bytes) {
        if (bytes < kLeastBuffer || buffers_.empty() || buffers_.back().capacity() < bytes) return {};
        std::vector<u8> buffer = std::move(buffers_.back());
        buffers_.pop_back();
        bytes_ -= buffer.capacity();
        return buffer;
    }
    void give(std::vector<u8> buffer) {
        if (buffer.capacity() < kLeastBuffer || bytes_ + buffer.capacity() > kMostBytes) return;
        bytes_ += buffer.capacity();
        buffers_.push_back(std::move(buffer));
    }
    // Shared, and back here when nobody has it any more.
    std::shared_ptr<const std::vector<u8>> share(std::vector<u8> buffer) {
        if (buffer.capacity() < kLeastBuffer) return std::make_shared<const std::vector<u8>>(std::move(buffer));
        auto* shared = new std::vector<u8>(std::move(buffer));
        return {shared, [pool = shared_from_this()](const std::vector<u8>* last) {
                    pool->give(std::move(*const_cast<std::vector<u8>*>(last)));
                    delete last;
                }};
    }

  private:
    std::vector<std::vector<u8>> buffers_;
    size_t bytes_ = 0;
};

}  // namespace lodge::iscsi
