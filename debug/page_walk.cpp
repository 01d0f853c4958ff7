// Page tables as the CPU would walk them, entry by entry and without touching them: SDM vol. 3, chapter 4.
#include "debug/inspector.h"

namespace lodge::debug {

namespace {

constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kLarge = 0x80, kGlobal = 0x100;
constexpr u64 kNoExecute = u64{1} << 63;
constexpr u64 kAddress = 0x000FFFFFFFFFF000;

class Walker {
  public:
    Walker(const Cpu& cpu, PhysicalMemory& memory, u64 linear) : cpu_(cpu), memory_(memory), linear_(linear) {}

    PageWalk walk() {
        const CpuState& state = cpu_.state;
        if (!cpu_.long_mode()) linear_ &= 0xFFFFFFFF;
        result_.canonical = !cpu_.long_mode() || Cpu::canonical(linear_);
        if (!result_.canonical) return result_;
        if (!(state.cr0 & kCr0Pg)) {
            map(linear_ & ~kPageMask, kPageSize);
            return result_;
        }
        if (!(state.cr4 & kCr4Pae))
            legacy();
        else if (cpu_.long_mode())
            wide(4, state.cr3 & kAddress);
        else
            with_pointers();
        return result_;
    }

  private:
    void map(u64 page, u64 page_size) {
        result_.mapped = true;
        result_.page_size = page_size;
        result_.physical = cpu_.physical_address((page & ~(page_size - 1)) | (linear_ & (page_size - 1)));
    }

    // False: not present, or not in memory.
    bool enter(const char* name, u64 address, unsigned size, u64& entry) {
        PageLevel level;
        level.name = name;
        level.address = cpu_.physical_address(address);
        const u8* page = memory_.read_pointer(level.address);
        level.readable = page != nullptr;
        if (page) {
            const u8* at = page + (level.address & kPageMask);
            level.entry = size == 4 ? load<u32>(at) : load<u64>(at);
        }
        entry = level.entry;
        result_.levels.push_back(level);
        if (!(entry & kPresent)) return false;
        result_.writable = result_.writable && (entry & kWritable);
        result_.user = result_.user && (entry & kUser);
        result_.global = entry & kGlobal;
        if (size == 8 && (cpu_.state.efer & kEferNxe) && (entry & kNoExecute)) result_.executable = false;
        return true;
    }

    void legacy() {
        u64 entry = 0;
        if (!enter("PDE", (cpu_.state.cr3 & 0xFFFFF000) + (linear_ >> 22) * 4, 4, entry)) return;
        if ((entry & kLarge) && (cpu_.state.cr4 & kCr4Pse))
            return map(bits(entry, 13, 8) << 32 | (entry & 0xFFC00000), u64{1} << 22);  // PSE-36
        if (!enter("PTE", (entry & 0xFFFFF000) + ((linear_ >> 12) & 0x3FF) * 4, 4, entry)) return;
        map(entry & 0xFFFFF000, kPageSize);
    }

    // PAE's four pointers are registers: what lies in memory now may be another thing.
    void with_pointers() {
        const unsigned index = static_cast<unsigned>(bits(linear_, 30, 2));
        PageLevel level;
        level.name = "PDPTE";
        level.address = cpu_.physical_address((cpu_.state.cr3 & 0xFFFFFFE0) + index * 8);
        level.entry = cpu_.pdptr(index);
        result_.levels.push_back(level);
        if (level.entry & kPresent) wide(2, level.entry & kAddress);
    }

    void wide(unsigned level, u64 table) {
        static constexpr const char* kNames[] = {"", "PTE", "PDE", "PDPTE", "PML4E"};
        for (;; --level) {
            const unsigned shift = 12 + 9 * (level - 1);
            u64 entry = 0;
            if (!enter(kNames[level], table + bits(linear_, shift, 9) * 8, 8, entry)) return;
            if (level == 1 || ((entry & kLarge) && level < 4)) return map(entry & kAddress, u64{1} << shift);
            table = entry & kAddress;
        }
    }

    const Cpu& cpu_;
    PhysicalMemory& memory_;
    u64 linear_;
    PageWalk result_;
};

}  // namespace

PageWalk walk(const Cpu& cpu, PhysicalMemory& memory, u64 linear) {
    return Walker(cpu, memory, linear).walk();
}

}  // namespace lodge::debug
