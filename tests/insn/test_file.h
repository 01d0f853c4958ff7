// The format of the *.asm files.
//
//     %include "test.inc"
//
//     TEST add_overflows
//     ;SET     eax=0x7FFFFFFF ecx=1
//     ;EXPECT  eax=0x80000000 eflags=0x894
//         add eax, ecx
//     END
//
// Directives stand between TEST and END, as many as are needed, items separated by spaces:
//
//     ;SET     name=value         before the test; registers are 0 otherwise, ESP is STACK, EFLAGS 0x202, memory zeroed
//     ;EXPECT  name=value         after it, or at its fault; name&mask=value looks only at the bits of the mask
//     ;FAULT   #XX or #XX=error   the test ends in this exception (#DE #DB #UD #NM #GP #SS #PF #MF #AC #XM ...)
//
//     names    eax..edi, rax..r15 eip eflags xmm0..7 mm0..7 st0..7 (ten bytes) fcw fsw ftw (FXSAVE's abridged tag)
//     mxcsr
//              [address] a dword, byte[address] word[address] qword[address] oword[address]
//     values   hexadecimal or decimal up to 128 bits, with DATA, READONLY, STACK, CODE, START (the test's first byte)
//     and
//              + or -; a value is compared in the width of its name. EFLAGS without a mask: the status flags and DF.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/types.h"
#include "tests/insn/engine.h"

namespace lodge {

struct TestItem {
    std::string name;  // of a register; empty: memory
    u64 address = 0;
    unsigned size = 4;  // bytes
    u128 mask = ~u128{0};
    u128 value = 0;
    std::string text;  // as written
};

struct InsnTest {
    std::string file, name;
    unsigned line = 0;
    u64 start = 0, end = 0;  // addresses
    std::vector<TestItem> set, expect;
    std::optional<u8> fault_vector;
    std::optional<u32> fault_error;
};

struct TestFile {
    std::vector<u8> image;  // to be loaded at the start of kCodeRegion
    std::vector<InsnTest> tests;
};

// `binary` is what the assembler made of `source`.
Result<TestFile> load_test_file(const std::string& source, const std::string& binary);

// The state and memory before the test.
void prepare_test(const TestFile& file, const InsnTest& test, InsnEngine& engine, InsnState& state);
// One line per difference; empty: passed.
std::vector<std::string> differences(const InsnTest& test, const InsnOutcome& outcome, InsnEngine& engine);

// Zeroes every region and loads the image.
void fill_memory(InsnEngine& engine, std::span<const u8> image);

}  // namespace lodge
