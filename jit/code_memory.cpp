#include "jit/code_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace lodge::jit {

// The second mapping is the first one, moved from nothing (mremap(2): an old size of 0 maps shared pages once more).
// perf looks names up in /tmp/perf-PID.map only for anonymous memory, which a memfd is not.
Result<std::unique_ptr<CodeMemory>> CodeMemory::create(u64 bytes) {
    std::unique_ptr<CodeMemory> memory(new CodeMemory);
    memory->size_ = bytes;
    void* writable = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    void* executable = MAP_FAILED;
    if (writable != MAP_FAILED) {
        memory->writable_ = static_cast<u8*>(writable);
        executable = mremap(writable, 0, bytes, MREMAP_MAYMOVE);
    }
    if (executable != MAP_FAILED) {
        memory->executable_ = static_cast<u8*>(executable);
        if (mprotect(executable, bytes, PROT_READ | PROT_EXEC) == 0) return memory;
    }
    return Error{ErrorKind::io, std::string("memory for translated code: ") + std::strerror(errno) +
                                    "; --engine interpreter needs none"};
}

CodeMemory::~CodeMemory() {
    if (writable_) munmap(writable_, size_);
    if (executable_) munmap(executable_, size_);
}

}  // namespace lodge::jit
