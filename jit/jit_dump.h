// A file by which `perf inject --jit` gives the samples in translated code names and code: the format of Linux's
// tools/perf/Documentation/jitdump-specification.txt, version 1. Unlike a line of /tmp/perf-PID.map, a record of it
// holds from one instant on, so code memory may be used again.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge::jit {

class JitDump {
  public:
    // Makes FOLDER/jit-PID.dump. perf knows of the file because a page of it is mapped executable.
    static Result<std::unique_ptr<JitDump>> create(const std::string& folder);
    ~JitDump();
    JitDump(const JitDump&) = delete;

    // From now on `code` lies at `address`, under this name. Called on the thread that runs it.
    void add(const std::string& name, u64 address, std::span<const u8> code);

  private:
    explicit JitDump(std::FILE* file) : file_(file, &std::fclose) {}

    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
    void* marker_ = nullptr;
    u64 added_ = 0;
};

}  // namespace lodge::jit
