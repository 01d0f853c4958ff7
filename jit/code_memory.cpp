#include "jit/code_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace lodge::jit {

// The executable mapping is the writable one once more, moved from nothing (mremap(2): an old size of 0 maps shared
// pages again) over the beginning of memory that holds the data behind it. perf looks names up in /tmp/perf-PID.map
// only for anonymous memory, which a memfd is not.
Result<std::unique_ptr<CodeMemory>> CodeMemory::create(u64 bytes, u64 data_bytes) {
    std::unique_ptr<CodeMemory> memory(new CodeMemory);
    memory->size_ = bytes;
    memory->data_size_ = data_bytes;
    constexpr int kReadWrite = PROT_READ | PROT_WRITE;
    void* writable = mmap(nullptr, bytes, kReadWrite, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (writable != MAP_FAILED) memory->writable_ = static_cast<u8*>(writable);
    void* executable = mmap(nullptr, bytes + data_bytes, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (executable != MAP_FAILED) memory->executable_ = static_cast<u8*>(executable);
    if (memory->writable_ && memory->executable_) {
        executable = mremap(writable, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, executable);
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
