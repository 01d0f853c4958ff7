// One CPU: its state, its pins, and everything instructions have in common: memory access through segments and paging,
// faults, interrupts, segment loads. Engines (core/interp, jit) run it.
//
// Access functions return false when the access faulted; the fault is then recorded (`fault()`), nothing has changed,
// and the caller returns false at once.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/log.h"
#include "core/base/state_io.h"
#include "core/clock.h"
#include "core/cpu/cpu_model.h"
#include "core/cpu/debugger.h"
#include "core/cpu/exception.h"
#include "core/cpu/fetched_pages.h"
#include "core/cpu/machine_check.h"
#include "core/cpu/state.h"
#include "core/cpu/tlb.h"
#include "core/device.h"
#include "core/memory/physical_memory.h"

namespace lodge {

// Reasons to leave the chain of blocks; Cpu::attention holds them, engines look at it between blocks.
constexpr u32 kAttentionInterrupt = 0x01;  // INTR is high and EFLAGS.IF is set
constexpr u32 kAttentionNmi = 0x02;
constexpr u32 kAttentionInit = 0x04;
constexpr u32 kAttentionShadow = 0x08;     // STI or MOV SS: one instruction without interrupts
constexpr u32 kAttentionSingle = 0x10;     // TF, RF or code breakpoints: instruction by instruction
constexpr u32 kAttentionTrap = 0x20;       // a debug trap is to be delivered before the next instruction
constexpr u32 kAttentionHalted = 0x40;     // HLT, or waiting for SIPI
constexpr u32 kAttentionShutdown = 0x80;   // triple fault
constexpr u32 kAttentionKick = 0x100;      // somebody wants the engine to return (any thread)
constexpr u32 kAttentionNewStack = 0x200;  // beside kAttentionShadow: SS was loaded, no debug exceptions either
constexpr u32 kAttentionDebugger = 0x400;  // CpuDebugger::stops_at_boundary is to be asked, as long as this is set

// Whoever keeps decoded or translated code.
class CodeCache {
  public:
    virtual ~CodeCache() = default;
    // Bytes [offset, offset+length) of this backing page have been overwritten.
    virtual void drop_code(u64 backing_page, unsigned offset, unsigned length) = 0;
};

class Cpu final : public CpuPins, private MemoryListener {
  public:
    // `seed`: of the numbers that RDRAND and RDSEED give.
    Cpu(Log& log, PhysicalMemory& memory, AddressSpace& ports, GuestClock& clock, const CpuModel& model,
        u64 seed = 0x6C6F646765);
    ~Cpu() override;

    // Before the first instruction.
    void connect(InterruptController& controller, ApicRegisters* apic);
    void set_code_cache(CodeCache* cache) { code_cache_ = cache; }

    CpuState state;  // engines, tests and debuggers read and write it; see also the *_changed functions

    const CpuModel& model() const { return model_; }
    PhysicalMemory& memory() { return memory_; }
    Log& log() { return log_; }
    GuestClock& clock() { return clock_; }
    ApicRegisters* apic() { return apic_; }

    // Power-on values (SDM vol. 3, table 9-1); `init` is the INIT pin's subset.
    void reset();

    // --- CpuPins
    void set_interrupt(bool level) override;
    void nmi() override;
    void init() override;
    void startup(u8 vector) override;
    void set_a20(bool enabled) override;

    // --- Attention
    std::atomic<u32> attention{0};
    void request_attention(u32 why) { attention.fetch_or(why, std::memory_order_release); }
    // Only what is seen: another thread may kick at any time.
    void clear_attention(u32 why) {
        if (attention.load(std::memory_order_relaxed) & why) attention.fetch_and(~why, std::memory_order_relaxed);
    }
    // Set when the engine must return to its loop after the current instruction: a device was touched, code changed.
    bool stop = false;
    // With `stop`: decoded or translated code may no longer be what lies in memory. Otherwise a device was touched, and
    // the engine may go on unless there is attention.
    bool code_changed = false;

    // --- Faults
    // Records the fault; returns false, so that handlers can `return cpu.raise(...)`.
    bool raise(Exception vector, u32 error = 0);
    bool raise_gp(u32 error = 0) { return raise(Exception::GP, error); }
    bool raise_ud() { return raise(Exception::UD); }
    const std::optional<PendingFault>& fault() const { return fault_; }
    // For a debugger, whose mistakes are not the guest's: between two instructions.
    void forget_fault() { fault_.reset(); }
    // Delivers the recorded fault with state.ip at the faulting instruction; double faults and shutdown included.
    void deliver_fault();
    // Whether the fault came up after a task switch had replaced the context: state.ip is then right as it is.
    bool take_fault_in_new_context() { return std::exchange(fault_in_new_context_, false); }
    // Delivers a vector from outside (state.ip: the next instruction), or INT n (`return_ip`: after it).
    void deliver_interrupt(u8 vector);
    // INT n, INT3, INTO, INT1 from the instruction that ends at `return_ip`. False: faulted.
    bool software_interrupt(u8 vector, u64 return_ip, EventKind kind);
    // Takes the vector from the interrupt controller and delivers it, if there is one.
    void take_interrupt();
    // False: NMIs are blocked until the next IRET.
    bool take_nmi();
    void take_init();

    // --- Flags
    u32 eflags() const { return state.system_flags | state.status.eflags(); }
    // Every bit that exists in this model; tells whoever needs to know of IF, TF, VM, AC, RF.
    void set_eflags(u32 value);
    void set_system_flags(u32 value);
    bool flag(u32 mask) const { return state.system_flags & mask; }
    unsigned iopl() const { return (state.system_flags >> 12) & 3; }

    // --- Mode
    bool protected_mode() const { return state.cr0 & kCr0Pe; }
    bool v86() const { return state.system_flags & kFlagVirtual8086; }
    bool real_or_v86() const { return !protected_mode() || v86(); }
    bool long_mode() const { return state.efer & kEferLma; }
    bool code64() const { return long_mode() && (state.segment(Segment::cs).attributes & kSegmentLong); }
    CodeSize code_size() const {
        if (code64()) return CodeSize::bits64;
        return state.segment(Segment::cs).attributes & kSegmentBig ? CodeSize::bits32 : CodeSize::bits16;
    }
    // 2, 4 or 8: how much of rSP the stack uses.
    unsigned stack_size() const {
        if (code64()) return 8;
        return state.segment(Segment::ss).attributes & kSegmentBig ? 4 : 2;
    }
    u64 stack_mask() const { return ~u64{0} >> (64 - 8 * stack_size()); }
    // Protected mode with flat 32-bit segments, as a boot protocol wants it: CS `code`, the others `data`.
    void enter_flat_protected(u16 code, u16 data);
    // After CR0, CR3, CR4, EFER, CPL, EFLAGS.VM/AC, CS have changed: recomputes what is derived from them.
    void mode_changed();

    // --- Memory through segments. Offsets are effective addresses, already cut to the address size.
    template <class T>
    bool read(Segment segment, u64 offset, T& value) {
        const SegmentState& s = state.segment(segment);
        if (static_cast<i64>(offset + sizeof(T) - 1) > s.readable_span) [[unlikely]]
            if (!check_segment(segment, offset, sizeof(T), false)) return false;
        return read_linear((s.base + offset) & state.linear_mask, value);
    }
    template <class T>
    bool write(Segment segment, u64 offset, const T& value) {
        const SegmentState& s = state.segment(segment);
        if (static_cast<i64>(offset + sizeof(T) - 1) > s.writable_span) [[unlikely]]
            if (!check_segment(segment, offset, sizeof(T), true)) return false;
        return write_linear((s.base + offset) & state.linear_mask, value);
    }
    // Read-modify-write: `change(T old) -> T` runs once, after every check for both has passed, so it may set flags.
    template <class T, class Change>
    bool modify(Segment segment, u64 offset, Change change) {
        const SegmentState& s = state.segment(segment);
        if (static_cast<i64>(offset + sizeof(T) - 1) > s.writable_span) [[unlikely]]
            if (!check_segment(segment, offset, sizeof(T), true)) return false;
        const u64 linear = (s.base + offset) & state.linear_mask;
        const TlbEntry& entry = tlb_->entry(linear);
        if (linear - entry.write_tag <= kPageSize - sizeof(T)) [[likely]] {
            u8* host = reinterpret_cast<u8*>(entry.host_page + (linear - entry.write_tag));
            store<T>(host, change(load<T>(host)));
            return true;
        }
        Translation translation;
        if (!translate_for_modify(linear, sizeof(T), translation)) return false;
        T value;
        read_translated(translation, &value);
        value = change(value);
        write_translated(translation, &value);
        return true;
    }
    // Checks an access of `size` bytes (any size) as a write without making it: for instructions that must know before
    // they change anything. The same for reading.
    bool probe_write(Segment segment, u64 offset, unsigned size) { return probe(segment, offset, size, true); }
    bool probe_read(Segment segment, u64 offset, unsigned size) { return probe(segment, offset, size, false); }

    // --- Memory by linear address with the rights of the current privilege.
    template <class T>
    bool read_linear(u64 linear, T& value) {
        const TlbEntry& entry = tlb_->entry(linear);
        if (linear - entry.read_tag <= kPageSize - sizeof(T)) [[likely]] {
            value = load<T>(reinterpret_cast<const u8*>(entry.host_page + (linear - entry.read_tag)));
            return true;
        }
        return read_slow(linear, &value, sizeof(T));
    }
    template <class T>
    bool write_linear(u64 linear, const T& value) {
        const TlbEntry& entry = tlb_->entry(linear);
        if (linear - entry.write_tag <= kPageSize - sizeof(T)) [[likely]] {
            store<T>(reinterpret_cast<u8*>(entry.host_page + (linear - entry.write_tag)), value);
            return true;
        }
        return write_slow(linear, &value, sizeof(T));
    }
    // The table for the current rights, as long as the mode does not change (mode_changed).
    const Tlb& tlb() const { return *tlb_; }
    Tlb& tlb() { return *tlb_; }
    // In every table: before cells, or host addresses given by set_alias(), go away.
    void forget_cells();
    // The table in use is that of a supervisor who may touch the user's pages although CR4.SMAP is set.
    bool user_pages_are_open() const { return tlb_ == &open_tlb_; }
    // Alignment is checked: no access may go through the table.
    bool checks_every_access() const { return tlb_ == &empty_tlb_; }

    // A host pointer for direct access to bytes within one page, or null when the slow way must be taken (or fault).
    u8* direct_read(u64 linear, u64 size) {
        const TlbEntry& entry = tlb_->entry(linear);
        return size <= kPageSize && linear - entry.read_tag <= kPageSize - size
                   ? reinterpret_cast<u8*>(entry.host_page + (linear - entry.read_tag))
                   : nullptr;
    }
    u8* direct_write(u64 linear, u64 size) {
        const TlbEntry& entry = tlb_->entry(linear);
        return size <= kPageSize && linear - entry.write_tag <= kPageSize - size
                   ? reinterpret_cast<u8*>(entry.host_page + (linear - entry.write_tag))
                   : nullptr;
    }
    // With the rights of the supervisor, whatever CPL is: descriptor tables, TSS.
    template <class T>
    bool read_system(u64 linear, T& value) {
        return access_system(linear, &value, sizeof(T), false);
    }
    template <class T>
    bool write_system(u64 linear, T value) {
        return access_system(linear, &value, sizeof(T), true);
    }

    // Where code is fetched from: the host address of the byte at `linear`, with the rights of the current privilege;
    // null after recording a fault, or (not backed by memory) with no fault recorded.
    const u8* fetch_pointer(u64 linear);
    // The same as far as the TLB knows: nothing that a guest can see changes. Null: it does not.
    const u8* known_fetch_pointer(u64 linear);
    // Fetches up to `size` bytes of code at state.ip, for instructions that cross a page or are not in memory.
    // Returns how many could be read before a fault, which is then recorded.
    unsigned fetch_bytes(u64 ip, u8* into, unsigned size);

    // --- Stack: pushes and pops of `size` 2, 4, 8 bytes; rSP changes only when the access succeeded.
    bool push(u64 value, unsigned size);
    bool pop(u64& value, unsigned size);
    // Reads from SS without moving rSP; the pointer is cut to the stack size.
    bool read_stack(u64 pointer, u64& value, unsigned size);
    u64 stack_pointer() const { return state.gpr[kRsp] & stack_mask(); }
    void set_stack_pointer(u64 value) {
        const u64 mask = stack_mask();
        const u64 kept = mask == 0xFFFF ? state.gpr[kRsp] & ~mask : 0;
        state.gpr[kRsp] = kept | (value & mask);
    }

    // --- Ports. Checks IOPL and the TSS's permission map.
    bool port_read(u16 port, unsigned size, u32& value);
    bool port_write(u16 port, unsigned size, u32 value);
    bool check_port(u16 port, unsigned size);
    // Before anything that a device may see: tells the clock the exact position and asks for a stop afterwards.
    void begin_device_access();
    // The instruction being executed, in a block whose first is number state.retired; null between instructions.
    const Insn* current = nullptr;
    // Linear addresses lead to the same code, by the same rights, for as long as this number stays the same.
    u64 fetch_epoch = 0;
    // The part of it that does not depend on CPL and code size: counts what may change where code is found. The user
    // has a count of its own, for loads of CR3: a supervisor whose code lies in global pages finds it where it was.
    u64 generation() const { return state.cpl == 3 ? user_generation_ : supervisor_generation_; }

    // --- Segments (segments.cpp)
    // MOV/POP/LDS... to a segment register other than CS.
    bool load_segment(Segment segment, u16 selector);
    void set_real_mode_segment(Segment segment, u16 selector);
    bool load_ldtr(u16 selector);
    bool load_tr(u16 selector);
    // LAR, LSL, VERR, VERW. False: the answer is no (ZF = 0), or, with fault(), it faulted.
    bool load_access_rights(u16 selector, u32& rights);
    bool load_segment_limit(u16 selector, u32& limit);
    bool verify_segment(u16 selector, bool write);
    // SYSENTER, SYSEXIT (fast_call.cpp)
    bool sysenter();
    bool sysexit(unsigned operand_size);
    // SYSCALL, SYSRET, SWAPGS and the bases of FS and GS (long_mode.cpp)
    bool syscall(u64 next_ip);
    bool sysret(unsigned operand_size);
    bool swapgs();
    bool set_segment_base(Segment segment, u64 base);
    // RDFSBASE and its like: #UD where they are not enabled.
    bool fs_gs_base_allowed();
    u64 tsc_aux() const { return tsc_aux_; }
    static bool canonical(u64 linear);
    // Far transfers (far_transfer.cpp): on success state.ip and CS are new.
    bool far_jump(u16 selector, u64 offset, unsigned operand_size, u64 next_ip);
    bool far_call(u16 selector, u64 offset, unsigned operand_size, u64 next_ip);
    bool far_return(unsigned operand_size, u16 extra_bytes);
    bool interrupt_return(unsigned operand_size, u64 next_ip);
    // Tasks (task_switch.cpp)
    enum class TaskSwitch : u8 { jump, call, iret, interrupt };
    // `external`: the error codes' EXT bit.
    bool switch_task(u16 selector, TaskSwitch how, u64 return_ip, std::optional<u32> error_code, u32 external = 0);

    // Sets the instruction pointer for a near branch; #GP when it is outside CS.
    bool branch_to(u64 target) {
        if (!code64()) {
            if (target > state.segment(Segment::cs).limit) [[unlikely]]
                return raise_gp(0);
        } else if (static_cast<u64>(static_cast<i64>(target << 16) >> 16) != target) [[unlikely]] {
            return raise_gp(0);
        }
        state.ip = target;
        return true;
    }

    // --- Control registers and paging (control.cpp, paging.cpp)
    bool set_cr0(u64 value);
    bool set_cr3(u64 value);
    bool set_cr4(u64 value);
    bool set_efer(u64 value);
    // XCR0, the state components that XSAVE may handle (SDM vol. 1, 13.3). False: #GP, recorded.
    u64 xcr0() const { return xcr0_; }
    bool set_xcr0(u64 value);
    bool read_msr(u32 index, u64& value);
    bool write_msr(u32 index, u64 value);
    bool read_dr(unsigned index, u64& value);
    bool write_dr(unsigned index, u64 value);
    void invalidate_page(u64 linear);
    // INVPCID (SDM vol. 2): `type` 0 to 3, the descriptor's two halves.
    bool invalidate_pcid(u64 type, u64 pcid, u64 linear);
    void flush_tlb(bool global_too);
    u64 tsc();
    // With the A20 gate.
    u64 physical_address(u64 physical) const { return a20_ ? physical : physical & ~(u64{1} << 20); }
    u64 pdptr(unsigned index) const { return pdptr_[index]; }  // PAE's page directory pointers
    // The next number of the machine's seeded source.
    u64 random();

    // Debug traps (debug.cpp): notes DR6 conditions, delivered after the instruction.
    void trap_after(u64 dr6_bits);
    bool code_breakpoint_at(u64 linear) const;
    void check_data_breakpoint(u64 linear, unsigned size, bool write);
    void check_port_breakpoint(u16 port, unsigned size);
    // Raises #DB (a fault) for the code breakpoint there; returns false.
    bool take_code_breakpoint(u64 linear);
    // TF was set before the instruction that has just completed.
    void single_step_trap();
    // Delivers the noted traps.
    void take_trap();
    // The noted traps, if any, are told by a #DB that is being delivered anyway.
    void merge_pending_trap();
    u64 pending_dr6 = 0;

    // --- A debugger (debugger.h, debug.cpp). Between two runs of the engine only; null: none.
    void set_debugger(CpuDebugger* debugger);
    void add_observer(CpuObserver& observer) { observers_.push_back(&observer); }
    void remove_observer(CpuObserver& observer) { std::erase(observers_, &observer); }
    // Instructions that begin at these offsets within a page are executed one by one, outside any block, and not before
    // CpuDebugger::stops_before has been asked. Code that was made without these marks is dropped.
    void mark_code(const CodeMarks& marks);
    bool code_is_marked(u64 page_offset) const { return code_marks_ && code_marks_->test(page_offset & kPageMask); }
    // The answers of CpuDebugger::watches_page have changed. `any`: some are true.
    void watch_data(bool any);
    bool watches_data() const { return watches_data_ || (state.dr[7] & 0xFF); }
    // The instruction at state.ip is not to be executed now: the debugger wants to stop, and has been noted.
    bool stops_here() {
        if (!code_marks_) [[likely]]
            return false;
        return ask_debugger_before();
    }
    bool stops_at_boundary() { return debugger_->stops_at_boundary(); }
    // INTR is not looked at while this is set: for stepping without interrupts.
    void hold_interrupts(bool held);

    // A debugger's view: linear to physical without side effects; nothing when not mapped.
    std::optional<u64> debug_translate(u64 linear) const;
    // The linear address of the next instruction.
    u64 linear_ip() const { return (state.segment(Segment::cs).base + state.ip) & state.linear_mask; }

    void save_or_load(StateIo& io);

    // What translated code reads or changes by itself beside `state` (jit/): where it lies.
    struct Places {
        const void* attention;       // u32
        const void* interrupt_line;  // u8: INTR
        const void* kernel_gs_base;  // u64
        const void* tsc_offset;      // u64: from GuestClock::tsc()
        const void* tsc_aux;         // u64
        const void* tlb;             // the address of the table in use: one of the two behind it, or another
        const void* supervisor_tlb;
        const void* open_tlb;  // user_pages_are_open
    };
    Places places() const {
        return {&attention, &interrupt_line_, &kernel_gs_base_, &tsc_offset_, &tsc_aux_,
                &tlb_,      &supervisor_tlb_, &open_tlb_};
    }

    // Statistics for --stats.
    u64 tlb_misses = 0;

  private:
    enum class AccessKind : u8 { read, write, fetch };
    // An access that has passed every check: one or two pieces of physical memory.
    struct Translation {
        u64 physical[2];
        unsigned size[2];
    };

    // --- MemoryListener
    void on_code_written(u64 backing_page, unsigned offset, unsigned length) override;
    void on_write_watched(u64 backing_page) override;
    void on_map_changed() override;

    bool probe(Segment segment, u64 offset, unsigned size, bool write);
    bool check_segment(Segment segment, u64 offset, unsigned size, bool write);
    bool read_slow(u64 linear, void* value, unsigned size);
    bool write_slow(u64 linear, const void* value, unsigned size);
    bool translate_for_modify(u64 linear, unsigned size, Translation& translation);
    bool translate_range(u64 linear, unsigned size, AccessKind access, bool user, Translation& translation);
    void read_translated(const Translation& translation, void* value);
    void write_translated(const Translation& translation, const void* value);
    bool access_system(u64 linear, void* value, unsigned size, bool write);
    bool check_alignment(u64 linear, unsigned size);

    // Page walk: physical address, filling the TLB. False: #PF recorded.
    bool translate(u64 linear, AccessKind access, bool user, u64& physical);
    struct WalkResult {
        u64 physical = 0;
        u64 page_size = kPageSize;
        bool writable = false, user = false, executable = true, global = false, dirty = false;
    };
    // 0: ok; else the #PF error code's bits P and RSVD (present bit set when a permission could be at fault).
    bool walk(u64 linear, AccessKind access, bool user, WalkResult& result, u32& error);
    bool walk_legacy(u64 linear, AccessKind access, bool user, WalkResult& result, u32& error);
    bool walk_wide(u64 linear, AccessKind access, bool user, WalkResult& result, u32& error);
    bool permitted(const WalkResult& result, AccessKind access, bool user) const;
    // Whether the supervisor may touch pages of the user now although CR4.SMAP is set.
    bool user_pages_open() const { return flag(kFlagAlignmentCheck) && !implicit_access_; }
    Tlb& table_for(bool user);
    void fill_tlb(u64 linear, bool user, const WalkResult& result, AccessKind access);
    bool page_fault(u64 linear, AccessKind access, bool user, u32 error);
    bool load_pdptrs(u64 cr3);
    // With `user` rights or the supervisor's: for stacks of an inner or outer level.
    bool access_linear(u64 linear, void* value, unsigned size, bool write, bool user);

    struct NewStack;  // a stack being written before it becomes the current one (new_stack.h)

    // --- Descriptors (segments.cpp)
    struct Descriptor {
        u32 low = 0, high = 0;
        u32 attributes() const { return ((high >> 8) & 0xFF) | ((high >> 8) & 0xF000); }
        u64 base() const { return (low >> 16) | (high & 0xFF) << 16 | (high & 0xFF000000); }
        u32 limit() const {
            const u32 raw = (low & 0xFFFF) | (high & 0xF0000);
            return high & 0x800000 ? raw << 12 | 0xFFF : raw;
        }
        bool system() const { return !(high & 0x1000); }
        bool present() const { return high & 0x8000; }
        unsigned type() const { return (high >> 8) & 0x0F; }
        unsigned dpl() const { return (high >> 13) & 3; }
        bool code() const { return !system() && (high & 0x800); }
        bool conforming() const { return high & 0x400; }
        bool data_writable() const { return !system() && !(high & 0x800) && (high & 0x200); }
        bool readable() const { return !(high & 0x800) || (high & 0x200); }
        u16 gate_selector() const { return static_cast<u16>(low >> 16); }
        unsigned ist() const { return high & 7; }  // of a 64-bit gate
        u32 gate_offset() const { return (low & 0xFFFF) | (high & 0xFFFF0000); }
    };
    // The descriptor's linear address; raises `vector` with the selector when it is outside its table.
    bool descriptor_address(u16 selector, Exception vector, u64& linear, u32 external = 0);
    bool read_descriptor(u16 selector, Exception vector, Descriptor& descriptor, u32 external = 0);
    // A descriptor of 16 bytes, in long mode: `upper` is its third dword.
    bool read_wide_descriptor(u16 selector, Exception vector, Descriptor& descriptor, u32& upper);
    // #GP(0) when an IP is outside the code segment, or not canonical in 64-bit code.
    bool check_target_offset(const Descriptor& code, u64 offset);
    bool set_accessed(u16 selector, Descriptor& descriptor);
    void set_segment(Segment segment, u16 selector, const Descriptor& descriptor);
    void update_spans(SegmentState& segment);
    void set_system_segment(SegmentState& segment, u16 selector, const Descriptor& descriptor);
    bool read_system_base(u16 selector, const Descriptor& descriptor, u64& base);
    bool set_busy(u16 selector, Descriptor& descriptor, bool busy);
    bool inspect_descriptor(u16 selector, Descriptor& descriptor);
    void load_code_segment(u16 selector, const Descriptor& descriptor, unsigned cpl);
    void load_null(Segment segment, u16 selector);
    void invalidate_data_segments_for(unsigned cpl);
    bool check_code_target(u16 selector, const Descriptor& code);
    bool inner_stack(unsigned cpl, u16& ss, u64& esp, u32 external);
    bool open_inner_stack(unsigned cpl, u32 external, NewStack& stack, u16& selector);
    void commit_stack(u16 selector, const NewStack& stack);
    bool check_stack_segment(u16 selector, unsigned cpl, Exception vector, Descriptor& descriptor, u32 external);
    bool call_gate(const Descriptor& gate, bool call, u64 next_ip);
    bool call_gate_inner(u16 selector, const Descriptor& code, const Descriptor& gate, u64 next_ip);
    bool far_to_system(u16 selector, const Descriptor& descriptor, bool call, u64 next_ip);
    bool read_returned_code(u16 selector, Descriptor& code);
    bool return_to_outer(u16 selector, const Descriptor& code, u64 ip, unsigned operand_size, u64 frame,
                         u16 extra_bytes);
    bool leave_handler(unsigned operand_size, u64 next_ip);
    bool iret_real(unsigned operand_size);
    bool iret_to_v86(u64 ip, u64 cs, u64 flags, u64 stack);
    bool iret_protected(unsigned operand_size);
    void set_returned_flags(u64 flags, unsigned operand_size, unsigned old_cpl, unsigned old_iopl);

    void set_flat_segments(u16 code, u16 stack, unsigned cpl, u32 code_width = kSegmentBig);
    void set_long_segments(u16 code, u16 stack, unsigned cpl);
    bool tss_stack(unsigned offset, u32 error, u64& pointer);
    bool enter_long(u8 vector, EventKind kind, u64 return_ip, std::optional<u32> error_code);
    bool iret_long(unsigned operand_size);
    bool load_outer_context(u16 selector, const Descriptor& code, u64 ip, u16 ss, u64 pointer);
    bool call_gate_long(u16 gate_selector, bool call, u64 next_ip);
    void adjust_tsc(u64 by);
    bool read_long_msr(u32 index, u64& value, bool& known);
    bool write_long_msr(u32 index, u64 value, bool& known);
    bool noncanonical(u64 linear);
    bool touches_memory_operand(u64 linear) const;

    // --- Task switches (task_switch.cpp)
    struct TaskImage;
    bool read_task_field(u64 address, unsigned size, u64& value);
    bool read_task(u64 base, bool wide, TaskImage& image);
    bool save_task(bool wide, u64 return_ip, u32 flags);
    bool enter_task(const TaskImage& image, bool wide, std::optional<u32> error_code, u32 external);
    bool load_task_ldt(u16 selector, u32 external);
    bool load_task_segments(const TaskImage& image, bool wide, u32 external);

    // --- Interrupts (interrupt.cpp)
    bool enter_interrupt(u8 vector, EventKind kind, u64 return_ip, std::optional<u32> error_code);
    bool enter_handler(u8 vector, EventKind kind, u64 return_ip, std::optional<u32> error_code);
    bool int_ignores_iopl(u8 vector) const;
    bool enter_real(u8 vector, u64 return_ip);
    bool enter_protected(u8 vector, EventKind kind, u64 return_ip, std::optional<u32> error_code);
    bool enter_gate(const Descriptor& gate, u64 return_ip, std::optional<u32> error_code, u32 external);
    void deliver_fault_as(bool trap);
    void shutdown();
    void update_interrupt_attention();
    void update_single_attention();
    bool debug_register_index(unsigned& index);
    bool data_breakpoint_in_page(u64 linear) const;
    bool ask_debugger_before();
    void tell_interrupt(u8 vector, EventKind kind, u64 return_ip, std::optional<u32> error, u64 return_linear);
    // Of fetch_epoch.
    u64 user_generation_ = 0, supervisor_generation_ = 0;
    // The supervisor has fetched code from a page that is not global.
    bool local_supervisor_code_ = false;
    void next_user_generation() {
        ++user_generation_;
        user_fetched_.clear();
    }
    void next_supervisor_generation() {
        ++supervisor_generation_;
        supervisor_fetched_.clear();
        local_supervisor_code_ = false;
    }
    void next_generation() {
        next_user_generation();
        next_supervisor_generation();
    }
    void note_fetch(u64 linear);
    u64 code_base_ = 0;  // CS base and limit that fetch_epoch stands for
    u32 code_limit_ = 0;
    bool was_code64_ = false;

    Log& log_;
    PhysicalMemory& memory_;
    AddressSpace& ports_;
    GuestClock& clock_;
    CpuModel model_;
    InterruptController* controller_ = nullptr;
    ApicRegisters* apic_ = nullptr;
    CodeCache* code_cache_ = nullptr;
    CpuDebugger* debugger_ = nullptr;
    std::vector<CpuObserver*> observers_;
    std::unique_ptr<CodeMarks> code_marks_;  // null: none
    bool watches_data_ = false;
    bool holds_interrupts_ = false;

    std::optional<PendingFault> fault_;
    bool fault_in_new_context_ = false;
    u32 saved_flags_ = 0;  // EFLAGS as an interrupt being delivered pushes them
    bool interrupt_line_ = false;
    bool nmi_blocked_ = false;
    bool a20_ = true;
    bool waiting_for_startup_ = false;
    u64 pdptr_[4] = {};
    u64 tsc_offset_ = 0;
    u64 tsc_adjust_ = 0;  // IA32_TSC_ADJUST: what has been added to the TSC since reset
    u64 sysenter_cs_ = 0, sysenter_esp_ = 0, sysenter_eip_ = 0;
    u64 star_ = 0, lstar_ = 0, cstar_ = 0, flag_mask_ = 0, kernel_gs_base_ = 0, tsc_aux_ = 0;
    u64 pat_ = 0x0007040600070406;
    u64 mtrr_def_type_ = 0;
    u64 mtrr_fixed_[11] = {};
    u64 mtrr_variable_[16] = {};
    u64 misc_enable_ = 1;
    MachineCheck machine_check_;
    u64 xcr0_ = kXcr0X87;
    u64 random_ = 0;
    // While the CPU looks at its own structures (descriptor tables, TSS), whatever CPL is: SDM vol. 3, 4.6.1.
    bool implicit_access_ = false;

    // One table per set of rights, so that a change of CPL or (with SMAP) of AC costs nothing: supervisor, supervisor
    // with the user's pages open (CR4.SMAP and EFLAGS.AC), user; and one that is always empty, for when every access
    // must be looked at (alignment checks).
    Tlb* tlb_ = nullptr;
    // Near `state`: the translator reaches both by one register. Where the displacement of a table's stack cell has the
    // same low 11 bits as that of a field that was just stored to (EngineState::remaining), Zen 5 takes the one for the
    // other at first: 60 cycles for each access to the stack.
    Tlb supervisor_tlb_, open_tlb_, user_tlb_, empty_tlb_;
    // Pages that code was fetched from in each generation.
    FetchedPages user_fetched_, supervisor_fetched_;
};

}  // namespace lodge
