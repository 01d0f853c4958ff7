#include "jit/jit_dump.h"

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>

namespace lodge::jit {

namespace {

constexpr u64 kMarkerSize = 4096;

struct FileHeader {
    u32 magic = 0x4A695444;  // "JiTD"
    u32 version = 1;
    u32 size = sizeof(FileHeader);
    u32 machine = EM_X86_64;
    u32 reserved = 0;
    u32 process = 0;
    u64 time = 0;
    u64 flags = 0;
};
static_assert(sizeof(FileHeader) == 40);

struct LoadRecord {
    u32 kind = 0;  // JIT_CODE_LOAD
    u32 size = 0;  // with name and code
    u64 time = 0;
    u32 process = 0, thread = 0;
    u64 address = 0;
    u64 code_address = 0;
    u64 code_size = 0;
    u64 index = 0;
};
static_assert(sizeof(LoadRecord) == 56);

// perf record -k mono has the same clock.
u64 now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

}  // namespace

Result<std::unique_ptr<JitDump>> JitDump::create(const std::string& folder) {
    const std::string path = folder + "/jit-" + std::to_string(getpid()) + ".dump";
    const auto failure = [&] { return Error{ErrorKind::io, path + ": " + std::strerror(errno)}; };
    std::FILE* file = std::fopen(path.c_str(), "w+");
    if (!file) return failure();
    std::unique_ptr<JitDump> dump(new JitDump(file));
    FileHeader header;
    header.process = static_cast<u32>(getpid());
    header.time = now();
    if (std::fwrite(&header, sizeof header, 1, file) != 1 || std::fflush(file) != 0) return failure();
    void* marker = mmap(nullptr, kMarkerSize, PROT_READ | PROT_EXEC, MAP_PRIVATE, fileno(file), 0);
    if (marker == MAP_FAILED) return failure();
    dump->marker_ = marker;
    return dump;
}

JitDump::~JitDump() {
    if (marker_) munmap(marker_, kMarkerSize);
}

void JitDump::add(const std::string& name, u64 address, std::span<const u8> code) {
    LoadRecord record;
    record.size = static_cast<u32>(sizeof record + name.size() + 1 + code.size());
    record.time = now();
    record.process = static_cast<u32>(getpid());
    record.thread = static_cast<u32>(gettid());
    record.address = record.code_address = address;
    record.code_size = code.size();
    record.index = added_++;
    std::fwrite(&record, sizeof record, 1, file_.get());
    std::fwrite(name.c_str(), name.size() + 1, 1, file_.get());
    std::fwrite(code.data(), code.size(), 1, file_.get());
}

}  // namespace lodge::jit
