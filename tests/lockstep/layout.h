// Where things lie in the machine of the random programs. handlers.asm has the same numbers.
#pragma once

#include "core/base/types.h"

namespace lodge::lockstep {

// Physical memory: 2 MiB, above them devices. Up to kArena everything is the supervisor's.
constexpr u64 kMemorySize = 2 * kMiB;
constexpr u64 kIvt = 0, kGdt = 0x1000, kLdt = 0x1400, kIdt = 0x2000, kTss = 0x3000, kDoubleFaultTss = 0x3800;
constexpr u64 kVariables = 0x4000;
constexpr u64 kDoubleFaultStack = 0x5FF0, kHandlerStack = 0x7FF0;
constexpr u64 kHandlers = 0x8000, kHandlersSize = 0x6000;  // read-only
constexpr u64 kHandlers16 = 0x8000, kHandlers32 = 0x9000, kHandlers64 = 0xB000;
constexpr u64 kSysenter32 = 0x9500, kDoubleFault32 = 0x9540, kSyscall64 = 0xB500, kSyscallCompatibility = 0xB510,
              kSysenter64 = 0xB520;
constexpr unsigned kVectors = 0x50, kStubSize = 16;
// Page tables: two roots, whose tables differ in the alias window.
constexpr u64 kRootA = 0x10000, kRootB = 0x11000, kPdptA = 0x12000, kPdptB = 0x13000, kDirectoryA = 0x14000,
              kDirectoryB = 0x15000;
constexpr u64 kTables = 0x16000;       // of linear addresses 0 to 8 MiB, up to four pages
constexpr u64 kAliasTableB = 0x1A000;  // of the alias window under root B, up to two pages

// The arena, which programs live in: code, data, stacks.
constexpr u64 kArena = 0x20000, kArenaSize = 0x18000;
constexpr u64 kCode = kArena, kCodeSize = 0x8000;
constexpr u64 kData = kCode + kCodeSize, kDataSize = 0x8000;
constexpr u64 kUserStack = 0x33F00, kKernelStack = 0x37F00;
constexpr u64 kResume = 0x38000;  // per byte of code: how far the next instruction is
constexpr u64 kLowSize = kResume + kCodeSize;
constexpr u64 kHighArena = 0x100000 + kArena;  // what the arena's addresses mean with and without A20
// Windows of linear addresses: the arena again, other pages at other places; one large page over everything; in long
// mode all of it once more.
constexpr u64 kAliasWindow = 0x400000, kLargeWindow = 0x800000, kUpperWindow = 0xFFFFFFFF80000000;
constexpr u64 kDevices = 0x300000;  // physical: nothing but devices

constexpr u16 kKernelCode32 = 0x08, kKernelData = 0x10, kUserCode32 = 0x1B, kUserData = 0x23, kUserCode64 = 0x2B,
              kKernelCode64 = 0x30, kKernelData64 = 0x38, kTssSelector = 0x40, kLdtSelector = 0x50,
              kKernelCode16 = 0x60, kUserCode16 = 0x6B, kKernelData16 = 0x70, kUserData16 = 0x7B,
              kKernelCodeBased = 0x80, kUserCodeBased = 0x8B, kKernelDataBased = 0x90, kUserDataBased = 0x9B,
              kExpandDown = 0xA3, kReadOnlyData = 0xAB, kConformingCode = 0xB3, kExecuteOnly = 0xBB, kCallGate = 0xC3,
              kDoubleFaultTask = 0xD0, kNotPresent = 0xDB, kUserStack16 = 0xE3, kByteLimit = 0xEB,
              kLdtData = 0x07;      // the LDT's first
constexpr u64 kBased = 0xFFF00000;  // base of the "based" segments: offsets are 1 MiB above linear addresses
constexpr u64 kBase16 = kArena;     // of 16-bit code and data
constexpr u64 kStackBase16 = 0x30000;

// Variables of the handlers.
constexpr u64 kRandom = 0x4000, kPageTableBase = 0x4004, kEntryShift = 0x4008, kRoots = 0x400C, kUserStackTop = 0x4014,
              kKernelStackTop = 0x4018, kAliasHome = 0x401C, kCr0Toggles = 0x4020, kCr4Toggles = 0x4024,
              kFlagToggles = 0x4028, kTableBDistance = 0x402C, kHomes = 0x4040, kEntries = 0x4100,
              kBreakpoints = 0x4200, kConditions = 0x4240, kMxcsrs = 0x4280, kPointers = 0x42C0, kCounts = 0x4400;
constexpr unsigned kEntryCount = 64;

// 0F 0F and anything: #UD wherever one begins to read.
constexpr u8 kNoInstruction = 0x0F;

// Software interrupts from kServices on are the handlers' services.
constexpr u8 kInterrupts = 0x20, kServices = 0x40;

}  // namespace lodge::lockstep
