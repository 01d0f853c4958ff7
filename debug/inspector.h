// Looks inside a machine without changing it, and changes it where asked. CPU thread, between two instructions.
//
// Reads have no side effects: memory is RAM, ROM and video memory only, what a device would answer reads as "no
// memory"; linear addresses are walked through the page tables without setting accessed bits and without permissions.
// What is written to memory goes through PhysicalMemory, so translated code is dropped.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/machine.h"

namespace lodge::debug {

enum class CpuMode : u8 { real, v86, protected16, protected32, compatibility16, compatibility32, long64 };
std::string_view name_of(CpuMode mode);
CpuMode mode_of(const Cpu& cpu);
// 16, 32, 64.
unsigned code_bits(CpuMode mode);

// --- Registers

enum class RegisterGroup : u8 { general, segment, control, debug, x87, sse, system };

struct RegisterName {
    std::string_view name;  // lower case: rax, rip, eflags, cs, cs_base, cr3, st0, xmm15, gdtr_base, ...
    RegisterGroup group = RegisterGroup::general;
    unsigned bits = 64;  // 8 to 128
    bool writable = true;
};
// Little-endian; the bytes behind bits / 8 are 0.
using RegisterBytes = std::array<u8, 16>;

// All of them, in the order in which they are shown. `rip` is the instruction pointer as the CPU has it, an offset into
// CS; `pc` is its linear address.
std::span<const RegisterName> register_names();
const RegisterName* find_register(std::string_view name);
RegisterBytes read_register(const Cpu& cpu, const RegisterName& which);
// ErrorKind::guest: the value cannot be in this register now (the reason is the context).
Result<void> write_register(Cpu& cpu, const RegisterName& which, const RegisterBytes& value);
u64 read_u64(const Cpu& cpu, std::string_view name);  // its low 64 bits; the name exists

// --- Memory

struct PageLevel {
    std::string_view name;  // PML4E, PDPTE, PDE, PTE
    u64 address = 0;        // physical, of the entry
    u64 entry = 0;
    bool readable = true;  // false: the entry does not lie in memory
};

struct PageWalk {
    std::vector<PageLevel> levels;  // from the top; none: paging is off
    bool mapped = false;
    bool canonical = true;
    u64 physical = 0;  // of the very byte, if mapped
    u64 page_size = kPageSize;
    bool writable = true, user = true, executable = true, global = false;  // all levels together
};
PageWalk walk(const Cpu& cpu, PhysicalMemory& memory, u64 linear);

class Inspector {
  public:
    explicit Inspector(Machine& machine) : machine_(machine), cpu_(machine.cpu()) {}

    Machine& machine() { return machine_; }
    Cpu& cpu() { return cpu_; }
    CpuMode mode() const { return mode_of(cpu_); }

    // How many bytes could be read from the first on.
    size_t read_linear(u64 linear, std::span<u8> into);
    size_t read_physical(u64 physical, std::span<u8> into);
    // Nothing is written unless all can be: not where there is no memory, and not to ROM.
    bool write_linear(u64 linear, std::span<const u8> from);
    bool write_physical(u64 physical, std::span<const u8> from);
    std::optional<u64> translate(u64 linear);
    // Limits checked, what real mode's SEGMENT:OFFSET means to this CPU now; for protected mode's selectors only those
    // that are loaded in a segment register or found in the GDT or LDT. Nothing: no such segment.
    std::optional<u64> linear_of(u16 selector, u64 offset);

    struct Instruction {
        u64 linear = 0;
        unsigned size = 1;
        std::string bytes, text;  // "(no memory)", "(bad)"
    };
    // As the CPU would take it in its current mode, or as code of `bits` (16, 32, 64).
    std::vector<Instruction> disassemble(u64 linear, unsigned count, unsigned bits = 0);

    // --- Text, in lines
    std::string registers_text(std::optional<RegisterGroup> group = {});
    std::string segments_text();
    std::string walk_text(u64 linear);
    std::string tlb_text(size_t most = 256);
    std::string disassembly_text(u64 linear, unsigned count, unsigned bits = 0);
    std::string memory_map_text();
    // Claims on both buses.
    std::string devices_text();

    // --- Devices by their register tables
    struct DeviceRegister {
        std::string device;  // name of the claim
        Bus* bus = nullptr;
        u64 address = 0;
        RegisterInfo info;
    };
    // Whose claim's name is `device` or begins with it and a space; in order of addresses. `device` empty: all.
    std::vector<DeviceRegister> device_registers(std::string_view device);
    // "DEVICE REGISTER" or "DEVICE.REGISTER", case-insensitive.
    std::optional<DeviceRegister> find_device_register(std::string_view text);
    // Reads a register as the guest would, effects included.
    u64 read_device_register(const DeviceRegister& which);
    // Values of the registers whose reading is harmless.
    std::string device_registers_text(std::string_view device);
    // The fields of a device's saved state, by name: what there is inside, without any effect. Nothing: no such device.
    std::optional<std::string> device_state_text(std::string_view device);
    std::vector<std::string_view> device_names();

  private:
    Machine& machine_;
    Cpu& cpu_;
};

}  // namespace lodge::debug
