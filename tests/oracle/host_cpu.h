// Runs cases on the CPU that this program runs on.
#pragma once

#include <memory>
#include <span>

#include "tests/oracle/oracle_case.h"

namespace lodge::oracle {

class HostCpu {
  public:
    virtual ~HostCpu() = default;
    // kData and kReadOnly.
    virtual std::span<u8> data() = 0;
    virtual void set_read_only(std::span<const u8> contents) = 0;
    // kCode, for writing; the interpreter sees the same bytes when it was given the same file.
    virtual std::span<u8> code() = 0;
    // Base of the FS segment of 32-bit code.
    virtual u64 fs_base32() const = 0;
    virtual u16 fs_selector32() const = 0;
    virtual void run(const OracleCase& made, OracleOutcome& outcome) = 0;
};

// `code_file` at `code_offset` holds kCode. One at a time may exist. Null with a reason on stderr when this host
// cannot.
std::unique_ptr<HostCpu> make_host_cpu(int code_file, u64 code_offset);

}  // namespace lodge::oracle
