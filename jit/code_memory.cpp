#include "jit/code_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace lodge::jit {

namespace {

u8* map_shared(int file, u64 bytes, int rights) {
    void* address = mmap(nullptr, bytes, rights, MAP_SHARED, file, 0);
    return address == MAP_FAILED ? nullptr : static_cast<u8*>(address);
}

}  // namespace

Result<std::unique_ptr<CodeMemory>> CodeMemory::create(u64 bytes) {
    std::unique_ptr<CodeMemory> memory(new CodeMemory);
    memory->size_ = bytes;
    const int file = memfd_create("lodge-code", MFD_CLOEXEC);
    bool good = file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) == 0;
    if (good) {
        memory->writable_ = map_shared(file, bytes, PROT_READ | PROT_WRITE);
        memory->executable_ = map_shared(file, bytes, PROT_READ | PROT_EXEC);
        good = memory->writable_ && memory->executable_;
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
    if (executable_) munmap(executable_, size_);
}

}  // namespace lodge::jit
