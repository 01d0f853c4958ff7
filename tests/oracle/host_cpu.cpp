// The way into a case and out of it, without a system call: everything that the case starts from lies at a fixed
// address below 2 GiB (`Control`), so that it can be loaded and stored without a register for the address. Behind the
// case's bytes lies a jump to lodge_oracle_exit. 32-bit code is entered by a far jump to the compatibility-mode segment
// that Linux has for 32-bit programs, and left by one back.
//
// A fault is a signal; its handler takes the state from the context (Linux arch/x86 signal frame: struct sigcontext and
// the FXSAVE image at fpstate) and goes on at lodge_oracle_leave. While a case runs, FS is the case's: the handler must
// not use thread-local storage before it has put FS back.
#include "tests/oracle/host_cpu.h"

#include <asm/ldt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <vector>

namespace lodge::oracle {
namespace {

constexpr u16 kCode32 = 0x23, kDataSelector = 0x2B, kCode64 = 0x33;  // Linux's GDT for user mode
constexpr u8 kStub[] = {0xFF, 0x24, 0x25, 0x98, 0x00, 0x6B, 0x1A};   // jmp *CONTROL+0x98
constexpr unsigned kWayOutSize = sizeof kStub;
constexpr int kSignals[] = {SIGILL, SIGSEGV, SIGFPE, SIGTRAP, SIGBUS};

// The offsets are known to the assembly below.
struct Control {
    u64 gpr[16];           // 000
    u64 flags;             // 080
    u64 target;            // 088
    u32 far_offset;        // 090
    u32 far_selector;      // 094
    u64 exit;              // 098
    u64 out_gpr[16];       // 0A0
    u64 out_flags;         // 120
    u64 host_rsp;          // 128
    u64 host_fs;           // 130
    u64 host_gs;           // 138
    u64 fs_base;           // 140
    u64 gs_base;           // 148
    u16 selectors[4];      // 150
    u32 code32;            // 158
    u32 host_mxcsr;        // 15C
    u16 out_selectors[4];  // 160
    u64 out_fs_base;       // 168
    u64 out_gs_base;       // 170
    u8 room[0x200 - 0x178];
    FxImage fpu;      // 200
    FxImage out_fpu;  // 400
    u8 stub[0x20];    // 600: the way out of 32-bit code
};
static_assert(offsetof(Control, out_gs_base) == 0x170 && offsetof(Control, stub) == 0x600);

Control& control() {
    return *reinterpret_cast<Control*>(kControl);
}

}  // namespace
}  // namespace lodge::oracle

extern "C" {
void lodge_oracle_enter();
void lodge_oracle_exit();
void lodge_oracle_leave();
}

asm(R"(
    .text
    .set CONTROL, 0x1A6B0000
    .set STACK, CONTROL + 0x1FF0
    .globl lodge_oracle_enter, lodge_oracle_exit, lodge_oracle_leave
lodge_oracle_enter:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, CONTROL+0x128
    rdfsbase %rax
    movq %rax, CONTROL+0x130
    rdgsbase %rax
    movq %rax, CONTROL+0x138
    fxrstor64 CONTROL+0x200
    movq $STACK, %rsp
    cmpl $0, CONTROL+0x158
    jne 1f
    movq CONTROL+0x140, %rax
    wrfsbase %rax
    movq CONTROL+0x148, %rax
    wrgsbase %rax
    call 2f
    movq CONTROL+0x20, %rsp
    jmp *CONTROL+0x88
1:  movl $0x2B, %eax
    movl %eax, %ss
    movzwl CONTROL+0x154, %eax
    movl %eax, %fs
    movzwl CONTROL+0x156, %eax
    movl %eax, %gs
    call 2f
    movq CONTROL+0x20, %rsp
    ljmpl *CONTROL+0x90
2:  movq CONTROL+0x00, %rax
    movq CONTROL+0x08, %rcx
    movq CONTROL+0x10, %rdx
    movq CONTROL+0x18, %rbx
    movq CONTROL+0x28, %rbp
    movq CONTROL+0x30, %rsi
    movq CONTROL+0x38, %rdi
    movq CONTROL+0x40, %r8
    movq CONTROL+0x48, %r9
    movq CONTROL+0x50, %r10
    movq CONTROL+0x58, %r11
    movq CONTROL+0x60, %r12
    movq CONTROL+0x68, %r13
    movq CONTROL+0x70, %r14
    movq CONTROL+0x78, %r15
    pushq CONTROL+0x80
    popfq
    ret
lodge_oracle_exit:
    movq %rax, CONTROL+0xA0
    movq %rcx, CONTROL+0xA8
    movq %rdx, CONTROL+0xB0
    movq %rbx, CONTROL+0xB8
    movq %rsp, CONTROL+0xC0
    movq %rbp, CONTROL+0xC8
    movq %rsi, CONTROL+0xD0
    movq %rdi, CONTROL+0xD8
    movq %r8, CONTROL+0xE0
    movq %r9, CONTROL+0xE8
    movq %r10, CONTROL+0xF0
    movq %r11, CONTROL+0xF8
    movq %r12, CONTROL+0x100
    movq %r13, CONTROL+0x108
    movq %r14, CONTROL+0x110
    movq %r15, CONTROL+0x118
    movq $STACK, %rsp
    pushfq
    popq CONTROL+0x120
    pushq $0x202
    popfq
    fxsave64 CONTROL+0x400
lodge_oracle_leave:
    rdfsbase %rax
    movq %rax, CONTROL+0x168
    rdgsbase %rax
    movq %rax, CONTROL+0x170
    movw %ds, CONTROL+0x160
    movw %es, CONTROL+0x162
    movw %fs, CONTROL+0x164
    movw %gs, CONTROL+0x166
    movl CONTROL+0x164, %eax
    testl %eax, %eax
    jz 3f
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
3:  cmpl $0x002B002B, CONTROL+0x160
    je 4f
    movl $0x2B, %eax
    movl %eax, %ds
    movl %eax, %es
4:  movq CONTROL+0x130, %rax
    wrfsbase %rax
    movq CONTROL+0x138, %rax
    wrgsbase %rax
    fninit
    ldmxcsr CONTROL+0x15C
    movq CONTROL+0x128, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
)");

namespace lodge::oracle {
namespace {

constexpr int kRegisterIndex[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
constexpr unsigned kCsSelectorShift = 0, kSsSelectorShift = 48;

// What a signal handler tells: it has no way to an object.
struct Ending {
    bool running = false;
    bool faulted = false;
    OracleFault fault;
    u64 ip = 0;
    u16 code_selector = 0;
};
Ending ending;

u64 read_fs_base() {
    u64 base;
    asm volatile("rdfsbase %0" : "=r"(base));
    return base;
}
void write_fs_base(u64 base) {
    asm volatile("wrfsbase %0" : : "r"(base));
}

void on_fault(int signal, siginfo_t*, void* raw) {
    const u64 case_fs_base = read_fs_base();
    if (ending.running) write_fs_base(control().host_fs);
    if (!ending.running) {  // our own crash: let it happen
        ::signal(signal, SIG_DFL);
        return;
    }
    auto& context = *static_cast<ucontext_t*>(raw);
    auto& registers = context.uc_mcontext.gregs;
    Control& to = control();
    for (unsigned i = 0; i < 16; ++i) to.out_gpr[i] = static_cast<u64>(registers[kRegisterIndex[i]]);
    to.out_flags = static_cast<u64>(registers[REG_EFL]);
    std::memcpy(&to.out_fpu, context.uc_mcontext.fpregs, sizeof to.out_fpu);
    ending.faulted = true;
    ending.ip = static_cast<u64>(registers[REG_RIP]);
    ending.code_selector = static_cast<u16>(registers[REG_CSGSFS]);
    ending.fault.vector = static_cast<u8>(registers[REG_TRAPNO]);
    ending.fault.error = static_cast<u32>(registers[REG_ERR]);
    ending.fault.address = static_cast<u64>(registers[REG_CR2]);
    registers[REG_RIP] = static_cast<greg_t>(reinterpret_cast<u64>(&lodge_oracle_leave));
    registers[REG_EFL] = 0x202;
    registers[REG_CSGSFS] =
        static_cast<greg_t>(u64{kDataSelector} << kSsSelectorShift | u64{kCode64} << kCsSelectorShift);
    ending.running = false;
    write_fs_base(case_fs_base);
}

class HostCpuOnLinux final : public HostCpu {
  public:
    bool prepare(int code_file, u64 code_offset);
    ~HostCpuOnLinux() override;
    std::span<u8> data() override { return {reinterpret_cast<u8*>(kData), kDataSize + kReadOnlySize}; }
    void set_read_only(std::span<const u8> contents) override;
    std::span<u8> code() override { return {code_, kCodeSize}; }
    u64 fs_base32() const override { return fs_base32_; }
    u16 fs_selector32() const override { return fs_selector32_; }
    void run(const OracleCase& made, OracleOutcome& outcome) override;

  private:
    void write_way_out(const OracleCase& made, u8* at);

    u8* code_ = nullptr;
    u64 fs_base32_ = 0;
    u16 fs_selector32_ = kDataSelector;
    std::vector<u8> signal_stack_;
};

bool map_at(u64 address, u64 size, int protection, int flags, int file, u64 offset) {
    void* wanted = reinterpret_cast<void*>(address);
    void* at = mmap(wanted, size, protection, flags | MAP_FIXED_NOREPLACE, file, static_cast<off_t>(offset));
    if (at == wanted) return true;
    std::fprintf(stderr, "cannot map %#lx\n", static_cast<unsigned long>(address));
    return false;
}

bool HostCpuOnLinux::prepare(int code_file, u64 code_offset) {
    constexpr int kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    constexpr int kReadWrite = PROT_READ | PROT_WRITE;
    if (!map_at(kData, kDataSize + kReadOnlySize, kReadWrite, kAnonymous, -1, 0) ||
        !map_at(kControl, kControlSize, kReadWrite | PROT_EXEC, kAnonymous, -1, 0) ||
        !map_at(kCode, kCodeSize, PROT_READ | PROT_EXEC, MAP_SHARED, code_file, code_offset))
        return false;
    void* alias = mmap(nullptr, kCodeSize, kReadWrite, MAP_SHARED, code_file, static_cast<off_t>(code_offset));
    if (alias == MAP_FAILED) return false;
    code_ = static_cast<u8*>(alias);
    std::memset(code_, kFiller, kCodeSize);
    signal_stack_.resize(256 * 1024);  // AVX-512 and AMX frames are large
    stack_t stack{};
    stack.ss_sp = signal_stack_.data();
    stack.ss_size = signal_stack_.size();
    sigaltstack(&stack, nullptr);
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    action.sa_sigaction = on_fault;
    for (const int signal : kSignals) sigaction(signal, &action, nullptr);

    user_desc window{};
    window.base_addr = kWindow;
    window.limit = 0xFFFFF;
    window.limit_in_pages = 1;
    window.seg_32bit = 1;
    window.useable = 1;
    if (syscall(SYS_modify_ldt, 1, &window, sizeof window) == 0) {
        fs_base32_ = kWindow;
        fs_selector32_ = 0x07;
    }
    // Null in 64-bit processes, where nobody asks; 32-bit code needs them.
    asm volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(u32{kDataSelector}));
    return true;
}

HostCpuOnLinux::~HostCpuOnLinux() {
    for (const int signal : kSignals) ::signal(signal, SIG_DFL);
    stack_t stack{};
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, nullptr);
    munmap(reinterpret_cast<void*>(kData), kDataSize + kReadOnlySize);
    munmap(reinterpret_cast<void*>(kControl), kControlSize);
    munmap(reinterpret_cast<void*>(kCode), kCodeSize);
    if (code_) munmap(code_, kCodeSize);
}

void HostCpuOnLinux::set_read_only(std::span<const u8> contents) {
    void* page = reinterpret_cast<void*>(kReadOnly);
    mprotect(page, kReadOnlySize, PROT_READ | PROT_WRITE);
    std::memcpy(page, contents.data(), kReadOnlySize);
    mprotect(page, kReadOnlySize, PROT_READ);
}

void HostCpuOnLinux::write_way_out(const OracleCase& made, u8* at) {
    if (made.code64) {
        std::memcpy(at, kStub, kWayOutSize);
        return;
    }
    at[0] = 0xEA;  // JMP far
    store<u32>(at + 1, static_cast<u32>(kControl + offsetof(Control, stub)));
    store<u16>(at + 5, kCode64);
}

void HostCpuOnLinux::run(const OracleCase& made, OracleOutcome& outcome) {
    std::memcpy(control().stub, kStub, sizeof kStub);
    u8* code = code_ + (made.before.ip - kCode);
    std::memcpy(code, made.bytes.data(), made.bytes.size());
    // Where there is no room for the way out, the case ends with a fault.
    const bool has_way_out = made.end() + kWayOutSize <= kCode + kCodeSize;
    if (has_way_out) write_way_out(made, code + made.bytes.size());
    Control& to = control();
    to.exit = reinterpret_cast<u64>(&lodge_oracle_exit);
    to.host_mxcsr = 0x1F80;
    const OracleState& before = made.before;
    std::memcpy(to.gpr, before.gpr.data(), sizeof to.gpr);
    to.flags = before.flags;
    to.target = before.ip;
    to.far_offset = static_cast<u32>(before.ip);
    to.far_selector = kCode32;
    to.fs_base = before.fs_base;
    to.gs_base = before.gs_base;
    std::memcpy(to.selectors, before.selectors.data(), sizeof to.selectors);
    to.code32 = !made.code64;
    to.fpu = before.fpu;
    ending = Ending{};
    asm volatile("" ::: "memory");
    ending.running = true;
    lodge_oracle_enter();
    ending.running = false;
    asm volatile("" ::: "memory");
    std::memset(code, kFiller, made.bytes.size() + (has_way_out ? kWayOutSize : 0));
    OracleState& after = outcome.state;
    std::memcpy(after.gpr.data(), to.out_gpr, sizeof to.out_gpr);
    after.ip = ending.faulted ? ending.ip : made.end();
    after.code_selector = ending.faulted ? ending.code_selector : made.code64 ? kCode64 : kCode32;
    after.flags = static_cast<u32>(to.out_flags);
    std::memcpy(after.selectors.data(), to.out_selectors, sizeof to.out_selectors);
    after.fs_base = to.out_fs_base;
    after.gs_base = to.out_gs_base;
    after.fpu = to.out_fpu;
    outcome.fault.reset();
    if (ending.faulted) outcome.fault = ending.fault;
}

}  // namespace

std::unique_ptr<HostCpu> make_host_cpu(int code_file, u64 code_offset) {
    auto host = std::make_unique<HostCpuOnLinux>();
    if (!host->prepare(code_file, code_offset)) return nullptr;
    return host;
}

}  // namespace lodge::oracle
