#include "jit/code_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace lodge::jit {

namespace {

// At `where`, or anywhere. A file of -1: memory of its own.
u8* map(void* where, u64 bytes, int rights, int file) {
    const int flags = (file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | (where ? MAP_FIXED : 0);
    void* address = mmap(where, bytes, rights, flags, file, 0);
    return address == MAP_FAILED ? nullptr : static_cast<u8*>(address);
}

}  // namespace

Result<std::unique_ptr<CodeMemory>> CodeMemory::create(u64 bytes, u64 data_bytes) {
    std::unique_ptr<CodeMemory> memory(new CodeMemory);
    memory->size_ = bytes;
    memory->data_size_ = data_bytes;
    const int file = memfd_create("lodge-code", MFD_CLOEXEC);
    bool good = file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) == 0;
    if (good) {
        memory->writable_ = map(nullptr, bytes, PROT_READ | PROT_WRITE, file);
        memory->executable_ = map(nullptr, bytes + data_bytes, PROT_READ | PROT_WRITE, -1);
        good = memory->writable_ && memory->executable_ && map(memory->executable_, bytes, PROT_READ | PROT_EXEC, file);
    }
    const int error = errno;
    if (file >= 0) close(file);
    if (!good)
        return Error{ErrorKind::io, std::string("memory for translated code: ") + std::strerror(error) +
                                        "; --engine interpreter needs none"};
    return memory;
}

CodeMemory::~CodeMemory() {
    if (writable_) munmap(writable_, size_);
    if (executable_) munmap(executable_, size_ + data_size_);
}

}  // namespace lodge::jit
