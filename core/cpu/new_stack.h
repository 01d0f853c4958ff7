// A stack that is being written or read before it becomes the current one: the frames of gates, task switches and far
// returns. Nothing of the CPU changes until the caller commits the pointer.
#pragma once

#include "core/cpu/cpu.h"

namespace lodge {

struct Cpu::NewStack {
    Cpu& cpu;
    SegmentState segment;
    u64 pointer;  // rSP, cut to the stack's size
    bool user;    // with whose rights
    Exception vector = Exception::SS;
    u32 error = 0;      // of the fault when the frame does not fit
    bool wide = false;  // a stack of 64-bit mode: no segment

    u64 mask() const {
        if (wide) return ~u64{0};
        return segment.attributes & kSegmentBig ? 0xFFFFFFFF : 0xFFFF;
    }

    bool push(u64 value, unsigned size) {
        const u64 at = (pointer - size) & mask();
        if (!access(at, &value, size, true)) return false;
        pointer = at;
        return true;
    }
    bool pop(u64& value, unsigned size) {
        value = 0;
        if (!access(pointer & mask(), &value, size, false)) return false;
        pointer = (pointer + size) & mask();
        return true;
    }

  private:
    bool access_linear(u64 linear, u64* value, unsigned size, bool write) {
        if (user && !cpu.check_alignment(linear, size)) return false;
        if (!cpu.access_linear(linear, value, size, write, user)) return false;
        cpu.check_data_breakpoint(linear, size, write);
        return true;
    }
    bool access(u64 offset, u64* value, unsigned size, bool write) {
        if (wide) {
            if (!canonical(offset)) return cpu.raise(vector, error);
            return access_linear(offset, value, size, write);
        }
        const u64 last = offset + size - 1;
        const bool down = !(segment.attributes & kSegmentCode) && (segment.attributes & kSegmentExpandDown);
        const bool fits = down ? offset > segment.limit && last <= mask() : last <= segment.limit;
        if (!fits || (segment.attributes & kSegmentUnusable)) return cpu.raise(vector, error);
        return access_linear((segment.base + offset) & 0xFFFFFFFF, value, size, write);
    }
};

}  // namespace lodge
