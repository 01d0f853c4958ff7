#include "jit/code_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace lodge::jit {

// The executable mapping is the writable one once more, moved from nothing (mremap(2): an old size of 0 maps shared
// pages again) over the beginning of memory that holds the data behind it. perf looks names up in /tmp/perf-PID.map
// only for anonymous memory, which a memfd is not.
namespace {

constexpr u64 kLargePage = u64{2} << 20;
constexpr int kReadWrite = PROT_READ | PROT_WRITE;

// Private memory that begins at a multiple of kLargePage; null: there is none.
u8* map_aligned(u64 bytes) {
    void* all = mmap(nullptr, bytes + kLargePage, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return nullptr;
    u8* begin = static_cast<u8*>(all);
    const u64 before = (kLargePage - reinterpret_cast<u64>(begin) % kLargePage) % kLargePage;
    if (before) munmap(begin, before);
    munmap(begin + before + bytes, kLargePage - before);
    return begin + before;
}

}  // namespace

Result<std::unique_ptr<CodeMemory>> CodeMemory::create(u64 bytes, u64 data_bytes) {
    std::unique_ptr<CodeMemory> memory(new CodeMemory);
    memory->size_ = bytes;
    memory->data_size_ = data_bytes;
    memory->writable_ = map_aligned(bytes);
    memory->executable_ = map_aligned(bytes + data_bytes);
    if (memory->writable_ && memory->executable_) {
        void* writable = mmap(memory->writable_, bytes, kReadWrite, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (writable != MAP_FAILED) madvise(writable, bytes, MADV_HUGEPAGE);  // or not
        void* executable = MAP_FAILED;
        if (writable != MAP_FAILED)
            executable = mremap(writable, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, memory->executable_);
        if (executable != MAP_FAILED && mprotect(executable, bytes, PROT_READ | PROT_EXEC) == 0) return memory;
    }
    return Error{ErrorKind::io, std::string("memory for translated code: ") + std::strerror(errno) +
                                    "; --engine interpreter needs none"};
}

CodeMemory::~CodeMemory() {
    if (writable_) munmap(writable_, size_);
    if (executable_) munmap(executable_, size_ + data_size_);
}

}  // namespace lodge::jit
