// What a debugger is to a CPU (debug/). Without one nothing of this costs anything: engines ask only where code is
// found for the first time, and where there is attention to be paid anyway.
//
// All calls come on the CPU thread. Nobody but `CpuDebugger` may make an engine stop; observers look on.
#pragma once

#include <bitset>
#include <optional>

#include "core/base/types.h"
#include "core/cpu/exception.h"

namespace lodge {

// Offsets within a page at which marked instructions begin. A breakpoint is a linear address, code is found by where
// it lies in memory; the offset within the page is the part that both have in common, whatever is mapped where.
using CodeMarks = std::bitset<4096>;

class CpuDebugger {
  public:
    virtual ~CpuDebugger() = default;
    // A marked instruction is about to be executed: state.ip is its IP, `linear` its address. True: the engine returns
    // (ExitReason::debugger) and the instruction has not been executed.
    virtual bool stops_before(u64 linear) = 0;
    // At a boundary between instructions while kAttentionDebugger is set, before anything else happens there (an
    // interrupt, the next instruction). True: the engine returns.
    virtual bool stops_at_boundary() = 0;
    // Whether an access of data in the page of `linear` must be told.
    virtual bool watches_page(u64 linear) const = 0;
    // The instruction being executed has accessed such a page, and may yet fault. Before or after memory has changed.
    virtual void on_data_access(u64 linear, unsigned size, bool write) = 0;
};

// An interrupt or exception that has been delivered: the CPU is at the handler's first instruction.
struct InterruptEvent {
    u8 vector = 0;
    EventKind kind = EventKind::hardware;
    std::optional<u32> error;  // the error code that was pushed
    // Where the handler returns to, and in which code segment that is.
    u64 return_ip = 0;
    u64 return_linear = 0;
};

// Of what a CPU does besides executing instructions.
class CpuObserver {
  public:
    virtual ~CpuObserver() = default;
    virtual void on_interrupt(const InterruptEvent&) {}
    // IRET, in any mode, has ended well.
    virtual void on_interrupt_return() {}
    // CPL, code size, paging or protection may have changed; may also be told when nothing has.
    virtual void on_mode_change() {}
    // CR3 has been loaded, with the same value perhaps.
    virtual void on_page_table_change() {}
};

}  // namespace lodge
