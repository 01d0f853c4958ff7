#include "core/decode/decoder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "core/decode/disasm.h"
#include "core/decode/encoding.h"

using namespace lodge;

namespace {

constexpr CodeSize k16 = CodeSize::bits16, k32 = CodeSize::bits32, k64 = CodeSize::bits64;

std::vector<u8> bytes_of(const std::string& text) {
    std::vector<u8> bytes;
    for (size_t i = 0; i + 1 < text.size(); i += 2) {
        if (text[i] == ' ') ++i;
        bytes.push_back(static_cast<u8>(std::stoul(text.substr(i, 2), nullptr, 16)));
    }
    return bytes;
}

DecodeStatus status_of(const std::string& text, CodeSize code_size) {
    Insn insn;
    return decode(bytes_of(text), code_size, insn);
}

// Decodes all of `text` as one instruction.
Insn insn_of(const std::string& text, CodeSize code_size) {
    CAPTURE(text);
    const auto bytes = bytes_of(text);
    Insn insn;
    REQUIRE(decode(bytes, code_size, insn) == DecodeStatus::ok);
    CHECK(insn.length == bytes.size());
    return insn;
}

// What the disassembler makes of it, at address 0x1000.
std::string text_of(const std::string& text, CodeSize code_size) {
    return disassemble(insn_of(text, code_size), 0x1000);
}

bool is_invalid(const std::string& text, CodeSize code_size) {
    return status_of(text, code_size) == DecodeStatus::invalid;
}

}  // namespace

TEST_CASE("operand and address size") {
    CHECK(text_of("89 d8", k16) == "mov ax, bx");
    CHECK(text_of("66 89 d8", k16) == "mov eax, ebx");
    CHECK(text_of("89 d8", k32) == "mov eax, ebx");
    CHECK(text_of("66 89 d8", k32) == "mov ax, bx");
    CHECK(text_of("66 48 89 d8", k64) == "mov rax, rbx");  // REX.W outranks 66
    CHECK(text_of("88 47 10", k16) == "mov byte ptr [bx+0x10], al");
    CHECK(text_of("67 88 47 10", k16) == "mov byte ptr [edi+0x10], al");
    CHECK(text_of("67 88 47 10", k32) == "mov byte ptr [bx+0x10], al");
    CHECK(text_of("67 88 47 10", k64) == "mov byte ptr [edi+0x10], al");
    CHECK(text_of("98", k16) == "cbw");
    CHECK(text_of("98", k32) == "cwde");
    CHECK(text_of("48 98", k64) == "cdqe");
    CHECK(text_of("66 99", k32) == "cwd");
    CHECK(text_of("48 99", k64) == "cqo");
    CHECK(text_of("67 e3 00", k64) == "jecxz 0x1003");
}

TEST_CASE("16-bit addressing") {
    CHECK(text_of("8b 00", k16) == "mov ax, word ptr [bx+si]");
    CHECK(text_of("8b 06 34 12", k16) == "mov ax, word ptr [0x1234]");
    CHECK(text_of("8b 46 fe", k16) == "mov ax, word ptr [bp-0x2]");
    CHECK(text_of("8b 82 00 80", k16) == "mov ax, word ptr [bp+si-0x8000]");
    CHECK(insn_of("8b 02", k16).segment == Segment::ss);
    CHECK(insn_of("8b 46 00", k16).segment == Segment::ss);
    CHECK(insn_of("8b 06 00 00", k16).segment == Segment::ds);
    CHECK(insn_of("8b 07", k16).segment == Segment::ds);
    CHECK(insn_of("26 8b 46 00", k16).segment == Segment::es);
}

TEST_CASE("32- and 64-bit addressing") {
    CHECK(text_of("8b 05 78 56 34 12", k32) == "mov eax, dword ptr [0x12345678]");
    CHECK(text_of("8b 04 24", k32) == "mov eax, dword ptr [esp]");
    CHECK(text_of("8b 04 65 04 00 00 00", k32) == "mov eax, dword ptr [0x4]");  // index 4 is none
    CHECK(text_of("8b 44 8d 08", k32) == "mov eax, dword ptr [ebp+ecx*4+0x8]");
    CHECK(text_of("8b 04 cd 00 00 00 80", k64) == "mov eax, dword ptr [rcx*8-0x80000000]");
    CHECK(text_of("42 8b 04 20", k64) == "mov eax, dword ptr [rax+r12]");  // with REX.X 4 is r12
    CHECK(text_of("41 8b 04 24", k64) == "mov eax, dword ptr [r12]");
    CHECK(text_of("41 8b 45 00", k64) == "mov eax, dword ptr [r13]");
    CHECK(insn_of("8b 04 24", k32).segment == Segment::ss);
    CHECK(insn_of("8b 45 00", k32).segment == Segment::ss);
    CHECK(insn_of("8b 04 2b", k32).segment == Segment::ds);  // ebp as index
    CHECK(insn_of("8b 04 6d 00 00 00 00", k32).segment == Segment::ds);
    CHECK(insn_of("41 8b 45 00", k64).segment == Segment::ds);  // r13 is not rbp
}

TEST_CASE("RIP-relative") {
    const Insn insn = insn_of("8b 05 f0 ff ff ff", k64);
    CHECK(insn.base == kBlockIp);
    CHECK(insn.displacement == -16);
    CHECK(insn.address_size == 8);
    CHECK(insn_of("67 8b 05 f0 ff ff ff", k64).address_size == 4);
    CHECK(insn_of("41 8b 05 00 00 00 00", k64).base == kBlockIp);  // REX.B is not looked at
    CHECK(insn_of("8b 04 25 00 00 00 00", k64).base == kNoRegister);
    CHECK(insn_of("8b 05 00 00 00 00", k32).base == kNoRegister);
}

TEST_CASE("byte registers") {
    CHECK(text_of("88 e0", k32) == "mov al, ah");
    CHECK(text_of("88 e0", k64) == "mov al, ah");
    CHECK(text_of("40 88 e0", k64) == "mov al, spl");
    CHECK(text_of("44 88 e0", k64) == "mov al, r12b");
    CHECK(text_of("b7 01", k64) == "mov bh, 0x1");
    CHECK(text_of("40 b7 01", k64) == "mov dil, 0x1");
    CHECK(text_of("0f b6 cc", k32) == "movzx ecx, ah");
}

TEST_CASE("prefix order, repetition, precedence") {
    CHECK(insn_of("26 36 8b 00", k32).segment == Segment::ss);  // the last one
    CHECK(insn_of("64 3e 8b 00", k64).segment == Segment::fs);  // DS is no override in 64-bit code
    CHECK(insn_of("3e 8b 00", k64).prefixes == 0);
    CHECK(text_of("48 66 89 d8", k64) == "mov ax, bx");  // REX not directly before the opcode
    CHECK(text_of("48 41 89 c0", k64) == "mov r8d, eax");
    CHECK(insn_of("f3 f2 a4", k32).prefixes == kPrefixRepne);
    CHECK(insn_of("f2 f3 a4", k32).prefixes == kPrefixRep);
    CHECK(text_of("66 f2 0f 58 c1", k32) == "addsd xmm0, xmm1");
    CHECK(text_of("f2 66 0f 58 c1", k32) == "addsd xmm0, xmm1");
    CHECK(text_of("f2 f3 0f 58 c1", k32) == "addss xmm0, xmm1");
    CHECK(text_of("f3 f2 0f 58 c1", k32) == "addsd xmm0, xmm1");
    CHECK(text_of("66 2e 0f 58 c1", k32) == "addpd xmm0, xmm1");
    CHECK(text_of("66 f2 0f 38 f1 c1", k32) == "crc32 eax, cx");
    CHECK(text_of("66 f3 0f b8 c1", k32) == "popcnt ax, cx");
    CHECK(text_of("f2 0f bd c1", k32) == "repne bsr eax, ecx");
    CHECK(text_of("f3 0f bd c1", k32) == "lzcnt eax, ecx");
    CHECK(is_invalid("f3 0f fc c1", k32));  // no PADDB with F3
    CHECK(is_invalid("f2 0f 54 c1", k32));
    CHECK(is_invalid("66 0f 77", k32));
}

TEST_CASE("a prefix that is part of the opcode is no prefix") {
    CHECK(insn_of("f3 0f 58 c1", k32).prefixes == 0);
    const Insn movdqa = insn_of("66 0f 6f c1", k32);
    CHECK(movdqa.prefixes == kPrefixOperandSize);  // seen
    CHECK(movdqa.operand_size == 4);               // without effect
    CHECK(insn_of("66 0f bc c1", k32).operand_size == 2);
}

TEST_CASE("LOCK") {
    for (const char* good : {"f0 01 08", "f0 83 00 01", "f0 87 08", "f0 0f b1 08", "f0 0f c1 08", "f0 0f ba 28 01",
                             "f0 0f c7 08", "f0 ff 00", "f0 f7 10", "f0 f7 18"})
        CHECK(insn_of(good, k32).prefixes == kPrefixLock);
    for (const char* bad : {"f0 01 c8", "f0 03 08", "f0 38 08", "f0 0f a3 08", "f0 0f ba 20 01", "f0 8b 08", "f0 89 08",
                            "f0 90", "f0 f7 20", "f0 d1 20", "f0 a4", "f0 0f 20 c0", "f0 84 08"})
        CHECK(is_invalid(bad, k32));
}

TEST_CASE("NOP, PAUSE, XCHG") {
    CHECK(text_of("90", k32) == "nop");
    CHECK(text_of("48 90", k64) == "nop");
    CHECK(text_of("41 90", k64) == "xchg eax, r8d");
    CHECK(text_of("f3 90", k32) == "pause");
    CHECK(text_of("87 c0", k32) == "xchg eax, eax");
    CHECK(text_of("0f 1f 44 00 00", k64) == "nop dword ptr [rax+rax]");
    CHECK(text_of("f3 0f 1e fa", k64) == "rep nop edx");  // ENDBR64 where there is no CET
}

TEST_CASE("immediates") {
    CHECK(insn_of("83 c0 ff", k32).immediate == ~u64{0});
    CHECK(insn_of("81 c0 ff ff ff ff", k32).immediate == 0xffffffff);
    CHECK(insn_of("48 81 c0 ff ff ff ff", k64).immediate == ~u64{0});
    CHECK(insn_of("66 81 c0 ff ff", k64).immediate == 0xffff);
    CHECK(insn_of("04 ff", k32).immediate == 0xff);
    CHECK(insn_of("6a 80", k32).immediate == 0xffffffffffffff80);
    CHECK(insn_of("68 00 00 00 80", k64).immediate == 0xffffffff80000000);
    CHECK(insn_of("68 00 00 00 80", k32).immediate == 0x80000000);
    CHECK(insn_of("48 b8 88 77 66 55 44 33 22 11", k64).immediate == 0x1122334455667788);
    CHECK(insn_of("48 c7 c0 ff ff ff ff", k64).immediate == ~u64{0});
    CHECK(insn_of("d1 e0", k32).immediate == 1);
    CHECK(text_of("83 c0 ff", k32) == "add eax, 0xffffffff");
    const Insn enter = insn_of("c8 34 12 05", k32);
    CHECK(enter.immediate == 0x1234);
    CHECK(enter.immediate2 == 5);
    const Insn extrq = insn_of("66 0f 78 c1 08 10", k32);
    CHECK(extrq.immediate == 8);
    CHECK(extrq.immediate2 == 16);
}

TEST_CASE("moffs, far pointers, string and port operands") {
    CHECK(text_of("a0 34 12", k16) == "mov al, byte ptr [0x1234]");
    CHECK(text_of("67 a1 78 56 34 12", k16) == "mov ax, word ptr [0x12345678]");
    CHECK(text_of("a3 78 56 34 12", k32) == "mov dword ptr [0x12345678], eax");
    CHECK(text_of("48 a1 88 77 66 55 44 33 22 11", k64) == "mov rax, qword ptr [0x1122334455667788]");
    const Insn far = insn_of("ea 5b e0 00 f0", k16);
    CHECK(far.opcode == Opcode::JMPF);
    CHECK(far.immediate == 0xe05b);
    CHECK(far.immediate2 == 0xf000);
    CHECK(text_of("66 9a 78 56 34 12 08 00", k16) == "call far 0x8:0x12345678");
    CHECK(insn_of("ff 2f", k16).operands[0].size == 4);
    CHECK(insn_of("ff 2f", k32).operands[0].size == 6);
    CHECK(insn_of("48 ff 2f", k64).operands[0].size == 10);
    CHECK(element_size(insn_of("a4", k32)) == 1);
    CHECK(element_size(insn_of("66 a5", k32)) == 2);
    CHECK(element_size(insn_of("48 a5", k64)) == 8);
    CHECK(element_size(insn_of("48 6d", k64)) == 4);  // there are no 8-byte ports
    CHECK(insn_of("26 a4", k32).segment == Segment::es);
    CHECK(text_of("a5", k32) == "movsd");
    CHECK(text_of("f2 0f 10 c1", k32) == "movsd xmm0, xmm1");
    CHECK(text_of("66 ed", k32) == "in ax, dx");
    CHECK(text_of("48 ed", k64) == "in eax, dx");
}

TEST_CASE("branches") {
    CHECK(text_of("eb fe", k16) == "jmp 0x1000");
    CHECK(text_of("e8 00 80", k16) == "call 0x9003");
    CHECK(text_of("e9 00 f0", k16) == "jmp 0x3");  // wraps
    CHECK(text_of("66 e8 00 00 01 00", k16) == "call 0x11006");
    CHECK(text_of("66 e9 fc ff", k32) == "jmp 0x1000");
    CHECK(text_of("0f 84 00 00 00 00", k32) == "jz 0x1006");
    CHECK(insn_of("74 80", k32).immediate == 0xffffffffffffff80);
    // In 64-bit code near branches are 64-bit and 66 does nothing, as on Intel's CPUs. AMD's take 16-bit displacements.
    CHECK(insn_of("66 e9 00 00 00 00", k64).operand_size == 8);
    CHECK(insn_of("66 0f 84 00 00 00 00", k64).operand_size == 8);
    CHECK(insn_of("66 c3", k64).operand_size == 8);
    CHECK(insn_of("ff d0", k64).operands[0].size == 8);
    CHECK(insn_of("c3", k32).operand_size == 4);
    CHECK(insn_of("66 c3", k32).operand_size == 2);
}

TEST_CASE("stack operand size in 64-bit code") {
    CHECK(text_of("50", k64) == "push rax");
    CHECK(text_of("66 50", k64) == "push ax");
    CHECK(text_of("41 57", k64) == "push r15");
    CHECK(text_of("ff 30", k64) == "push qword ptr [rax]");
    CHECK(text_of("8f 00", k64) == "pop qword ptr [rax]");
    CHECK(insn_of("9c", k64).operand_size == 8);
    CHECK(insn_of("66 9d", k64).operand_size == 2);
    CHECK(insn_of("c9", k64).operand_size == 8);
    CHECK(insn_of("0f a0", k64).operand_size == 8);
    CHECK(insn_of("cf", k64).operand_size == 4);
    CHECK(insn_of("48 cf", k64).operand_size == 8);
    CHECK(insn_of("cb", k64).operand_size == 4);
}

TEST_CASE("what 64-bit code has not") {
    for (const char* text : {"06",
                             "07",
                             "0e",
                             "16",
                             "17",
                             "1e",
                             "1f",
                             "27",
                             "2f",
                             "37",
                             "3f",
                             "60",
                             "61",
                             "62 00",
                             "82 c0 01",
                             "9a 00 00 00 00 00 00",
                             "ce",
                             "d4 0a",
                             "d5 0a",
                             "d6",
                             "ea 00 00 00 00 00 00"}) {
        CHECK(status_of(text, k32) == DecodeStatus::ok);
        CHECK(is_invalid(text, k64));
    }
    CHECK(text_of("40", k32) == "inc eax");
    CHECK(text_of("63 c8", k32) == "arpl ax, cx");
    CHECK(text_of("48 63 c8", k64) == "movsxd rcx, eax");
    CHECK(is_invalid("0f 01 f8", k32));
    CHECK(text_of("0f 01 f8", k64) == "swapgs");
    CHECK(is_invalid("f3 0f ae c0", k32));
    CHECK(text_of("f3 48 0f ae c0", k64) == "rdfsbase rax");
    CHECK(text_of("48 0f c7 08", k64) == "cmpxchg16b xmmword ptr [rax]");
}

TEST_CASE("system registers") {
    CHECK(text_of("0f 20 c0", k32) == "mov eax, cr0");
    CHECK(text_of("0f 20 00", k32) == "mov eax, cr0");  // mod does not matter
    CHECK(text_of("0f 22 5c", k32) == "mov cr3, esp");  // and no SIB byte follows
    CHECK(text_of("66 0f 20 d8", k16) == "mov eax, cr3");
    CHECK(text_of("44 0f 20 c0", k64) == "mov rax, cr8");
    CHECK(text_of("0f 21 f8", k64) == "mov rax, dr7");
    CHECK(text_of("0f 26 f0", k32) == "mov tr6, eax");
    for (const char* text : {"0f 20 c8", "0f 22 e8", "0f 20 f0", "0f 20 f8", "0f 24 c0"}) CHECK(is_invalid(text, k32));
    CHECK(is_invalid("44 0f 21 c0", k64));
    CHECK(is_invalid("44 0f 20 c8", k64));
    CHECK(is_invalid("0f 24 f0", k64));
    CHECK(text_of("8c d8", k16) == "mov ax, ds");
    CHECK(text_of("8c d8", k32) == "mov eax, ds");
    CHECK(text_of("8c 18", k32) == "mov word ptr [eax], ds");
    CHECK(text_of("44 8e d8", k64) == "mov ds, ax");  // REX.R does not matter
    CHECK(is_invalid("8e c8", k32));                  // MOV CS
    CHECK(is_invalid("8e f0", k32));
    CHECK(is_invalid("8c f8", k32));
    CHECK(insn_of("0f 01 18", k32).operands[0].size == 6);
    CHECK(insn_of("0f 01 18", k64).operands[0].size == 10);
}

TEST_CASE("register and memory forms") {
    CHECK(is_invalid("8d c0", k32));
    CHECK(is_invalid("62 c0", k32));
    CHECK(is_invalid("0f c7 c8", k32));
    CHECK(is_invalid("0f b2 c0", k32));
    CHECK(is_invalid("0f 50 00", k32));
    CHECK(is_invalid("0f 0d c0", k32));
    CHECK(text_of("0f ae e8", k32) == "lfence");
    CHECK(text_of("0f ae ed", k32) == "lfence");
    CHECK(text_of("0f ae 28", k32) == "xrstor [eax]");
    CHECK(text_of("0f 12 c1", k32) == "movhlps xmm0, xmm1");
    CHECK(text_of("0f 12 01", k32) == "movlps xmm0, qword ptr [ecx]");
    CHECK(is_invalid("fe 10", k32));
    CHECK(is_invalid("ff 38", k32));
    CHECK(is_invalid("8f c8", k32));
    CHECK(is_invalid("f1", k32) == false);
}

TEST_CASE("x87") {
    CHECK(text_of("d8 c1", k32) == "fadd st(0), st(1)");
    CHECK(text_of("dc c1", k32) == "fadd st(1), st(0)");
    CHECK(text_of("dc e1", k32) == "fsubr st(1), st(0)");
    CHECK(text_of("de e9", k32) == "fsubp st(1), st(0)");
    CHECK(text_of("db 28", k32) == "fld tbyte ptr [eax]");
    CHECK(text_of("df 28", k32) == "fild qword ptr [eax]");
    CHECK(text_of("df e0", k32) == "fnstsw ax");
    CHECK(text_of("db e3", k32) == "fninit");
    CHECK(text_of("dd d1", k32) == "fst st(1)");
    CHECK(text_of("df c1", k32) == "ffreep st(1)");
    CHECK(text_of("dc d1", k32) == "fcom st(1)");
    CHECK(text_of("df d9", k32) == "fstp st(1)");
    CHECK(insn_of("d9 30", k16).operands[0].size == 14);
    CHECK(insn_of("d9 30", k32).operands[0].size == 28);
    CHECK(insn_of("dd 30", k16).operands[0].size == 94);
    CHECK(insn_of("dd 30", k64).operands[0].size == 108);
    for (const char* text :
         {"d9 d1", "d9 e2", "d9 ef", "da e0", "da e8", "db e5", "db f8", "de d8", "df e1", "df f8", "dd f0"})
        CHECK(is_invalid(text, k32));
    CHECK(is_invalid("d9 08", k32));
    CHECK(is_invalid("db 20", k32));
}

TEST_CASE("VEX") {
    CHECK(text_of("c5 f0 58 c2", k64) == "vaddps xmm0, xmm1, xmm2");
    CHECK(text_of("c5 f4 58 c2", k64) == "vaddps ymm0, ymm1, ymm2");
    CHECK(text_of("c4 41 70 58 c2", k64) == "vaddps xmm8, xmm1, xmm10");
    CHECK(text_of("c4 e2 71 90 04 95 00 00 00 00", k64) == "vpgatherdd xmm0, dword ptr [xmm2*4], xmm1");
    CHECK(text_of("c4 e3 71 4a c2 30", k64) == "vblendvps xmm0, xmm1, xmm2, xmm3");
    CHECK(text_of("c4 e2 f0 f2 c2", k64) == "andn rax, rcx, rdx");
    CHECK(text_of("c4 e2 f0 f2 c2", k32) == "andn eax, ecx, edx");  // W only counts in 64-bit code
    CHECK(text_of("c4 e1 f9 6e c0", k64) == "vmovq xmm0, rax");
    CHECK(text_of("c4 e1 f9 6e c0", k32) == "vmovd xmm0, eax");
    CHECK(insn_of("c5 f4 58 c2", k64).vector_size == 32);
    CHECK(insn_of("c5 f4 58 c2", k64).vvvv == 1);
    CHECK(insn_of("0f 58 c2", k64).vector_size == 0);
    CHECK(text_of("c5 f0 58 c2", k16) == "vaddps xmm0, xmm1, xmm2");
    CHECK(text_of("c5 10", k32) == "lds edx, fword ptr [eax]");
    CHECK(text_of("c4 10", k16) == "les dx, dword ptr [bx+si]");
    CHECK(is_invalid("c5 e8 28 c1", k64));     // vvvv without use
    CHECK(is_invalid("c4 e2 79 f2 c2", k64));  // ANDN has no 66
    CHECK(is_invalid("c4 e2 74 f2 c2", k64));  // nor L
    CHECK(is_invalid("c4 e4 70 58 c2", k64));  // map 4
    CHECK(is_invalid("c4 e2 71 90 04 15 00 00 00 00 00", k64) == false);
    CHECK(is_invalid("c4 e2 71 90 04 0d 00 00 00 00", k64));  // index and mask the same
    CHECK(is_invalid("c4 e2 71 90 00", k64));                 // no SIB
    for (const char* prefix : {"66", "f2", "f3", "f0", "48"})
        CHECK(is_invalid(std::string(prefix) + " c5 f0 58 c2", k64));
    CHECK(text_of("64 67 c5 f0 58 00", k64) == "vaddps xmm0, xmm1, xmmword ptr fs:[eax]");
}

TEST_CASE("length limit and truncation") {
    const std::string prefixes14 = "26 26 26 26 26 26 26 26 26 26 26 26 26 26";
    CHECK(insn_of(prefixes14 + " 90", k32).length == 15);
    CHECK(status_of(prefixes14 + " 26 90", k32) == DecodeStatus::too_long);
    CHECK(status_of(prefixes14 + " 83 c0 01", k32) == DecodeStatus::too_long);
    CHECK(status_of(prefixes14, k32) == DecodeStatus::truncated);
    CHECK(status_of("", k32) == DecodeStatus::truncated);
    const std::string whole = "f0 64 48 81 84 c8 78 56 34 12 44 33 22 11";
    const auto bytes = bytes_of(whole);
    Insn insn;
    for (size_t length = 0; length < bytes.size(); ++length)
        CHECK(decode(std::span(bytes).first(length), k64, insn) == DecodeStatus::truncated);
    CHECK(text_of(whole, k64) == "lock add qword ptr fs:[rax+rcx*8+0x12345678], 0x11223344");
    CHECK(status_of("c4", k32) == DecodeStatus::truncated);
    CHECK(status_of("c5", k64) == DecodeStatus::truncated);
    CHECK(status_of("0f", k32) == DecodeStatus::truncated);
    CHECK(status_of("0f 38", k32) == DecodeStatus::truncated);
}

TEST_CASE("what is decoded from fewer bytes is decoded the same from more") {
    std::mt19937_64 random(7);
    for (int i = 0; i < 20'000; ++i) {
        u8 bytes[kLongestInsn];
        for (u8& byte : bytes) byte = static_cast<u8>(random());
        for (CodeSize code_size : {k16, k32, k64}) {
            Insn whole, part;
            const DecodeStatus status = decode(bytes, code_size, whole);
            if (status != DecodeStatus::ok) continue;
            REQUIRE(decode(std::span(bytes).first(whole.length), code_size, part) == DecodeStatus::ok);
            CHECK(disassemble(part, 0) == disassemble(whole, 0));
            REQUIRE(decode(std::span(bytes).first(whole.length - 1u), code_size, part) == DecodeStatus::truncated);
        }
    }
}

TEST_CASE("facts") {
    CHECK(name_of(Opcode::MOV_CR) == "MOV");
    CHECK(name_of(Opcode::INVALID) == "INVALID");
    CHECK(facts(Opcode::ADC).flags_read == kFlagCarry);
    CHECK(facts(Opcode::ADD).flags_written == kArithmeticFlags);
    CHECK(facts(Opcode::INC).flags_written == (kArithmeticFlags & ~kFlagCarry));
    CHECK(facts(Opcode::SHL).may_keep_flags);
    CHECK(facts(Opcode::JNBE).flags_read == (kFlagCarry | kFlagZero));
    CHECK(facts(Opcode::DIV).can_fault);
    CHECK(facts(Opcode::HLT).privileged);
    CHECK(facts(Opcode::STI).ends_block);
    CHECK_FALSE(facts(Opcode::CLI).ends_block);
    CHECK(ends_block(insn_of("8e d0", k32)));
    CHECK_FALSE(ends_block(insn_of("8e d8", k32)));
    CHECK_FALSE(ends_block(insn_of("8c d0", k32)));
    CHECK(ends_block(insn_of("17", k32)));
    CHECK(ends_block(insn_of("0f b2 00", k32)));
    CHECK(ends_block(insn_of("0f 22 c0", k32)));
    CHECK_FALSE(ends_block(insn_of("89 d8", k32)));
}

TEST_CASE("operand access and required feature") {
    CHECK(operand_access(insn_of("f7 e8", k32), 0) == Access::read);  // IMUL eax
    CHECK(operand_access(insn_of("0f af c1", k32), 0) == Access::read_write);
    CHECK(operand_access(insn_of("6b c1 02", k32), 0) == Access::write);
    CHECK(operand_access(insn_of("d8 00", k32), 0) == Access::read);
    CHECK(operand_access(insn_of("d8 c1", k32), 0) == Access::read_write);
    CHECK(operand_access(insn_of("f3 0f 10 c1", k32), 0) == Access::read_write);
    CHECK(operand_access(insn_of("f3 0f 10 01", k32), 0) == Access::write);
    CHECK(operand_access(insn_of("f3 0f 11 01", k32), 0) == Access::write);
    CHECK(operand_access(insn_of("0f 13 01", k32), 0) == Access::write);
    CHECK(operand_access(insn_of("8d 00", k32), 1) == Access::none);
    CHECK(operand_access(insn_of("39 c8", k32), 0) == Access::read);
    CHECK(required_feature(insn_of("0f fc c1", k32)) == CpuFeature::mmx);
    CHECK(required_feature(insn_of("66 0f fc c1", k32)) == CpuFeature::sse2);
    CHECK(required_feature(insn_of("66 0f 6e c1", k32)) == CpuFeature::sse2);
    CHECK(required_feature(insn_of("0f c4 c1 00", k32)) == CpuFeature::sse);
    CHECK(required_feature(insn_of("66 0f c4 c1 00", k32)) == CpuFeature::sse2);
    CHECK(required_feature(insn_of("66 0f 38 00 c1", k32)) == CpuFeature::ssse3);
    CHECK(required_feature(insn_of("c5 f1 fc c2", k32)) == CpuFeature::avx);
    CHECK(required_feature(insn_of("c5 f5 fc c2", k32)) == CpuFeature::avx2);
    CHECK(required_feature(insn_of("c4 e2 79 18 c2", k32)) == CpuFeature::avx2);
    CHECK(required_feature(insn_of("c4 e2 79 18 02", k32)) == CpuFeature::avx);
}

TEST_CASE("mnemonics.inc says of as many operands as the rows of opcodes.inc have") {
    std::vector<size_t> most(kOpcodeCount);
    for (const Encoding& row : kEncodings) {
        size_t count = 0;
        while (count < 4 && row.operands[count].place != OperandPlace::none) ++count;
        if (row.operands[0].place == OperandPlace::string) count = 0;
        size_t& known = most[static_cast<size_t>(row.opcode)];
        known = std::max(known, count);
    }
    for (size_t i = 1; i < kOpcodeCount; ++i) {
        const auto opcode = static_cast<Opcode>(i);
        CAPTURE(std::string(name_of(opcode)));
        CHECK(facts(opcode).operand_count == most[i]);
    }
}
