// Runs tests on the bare host CPU. A signal handler may change the whole register state of what it interrupted, CS and
// the FPU included, and its return is then the far jump into 32-bit code; the fault or UD2 that ends the test is a
// signal again, whose context is the test's final state to the last flag. (Linux arch/x86 signal frame: struct
// sigcontext and the FXSAVE image at fpstate, followed by the XSAVE header when the kernel says so in its reserved
// bytes.)
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "tests/insn/engine.h"
#include "tests/insn/test_memory.h"

namespace lodge {
namespace {

constexpr u16 kUserCode32 = 0x23, kUserData = 0x2B, kUserCode64 = 0x33;  // Linux's GDT for user mode
constexpr int kBegin = SIGUSR1;
constexpr int kEndings[] = {SIGILL, SIGSEGV, SIGFPE, SIGTRAP, SIGBUS, SIGALRM};
constexpr u8 kUndefinedOpcode = 6;

// FXSAVE image (SDM vol. 1, table 10-2), as 64-bit signal frames hold it.
struct FxImage {
    u16 fcw, fsw;
    u8 valid, reserved;
    u16 opcode;
    u64 instruction, data;
    u32 mxcsr, mxcsr_mask;
    u8 st[8][16];
    u8 xmm[16][16];
    u8 rest[96];
};
static_assert(sizeof(FxImage) == 512);
constexpr u32 kXsaveMagic = 0x46505853;  // FP_XSTATE_MAGIC1
constexpr unsigned kMagicOffset = 464;   // sw_reserved
constexpr unsigned kHeaderOffset = 512;  // XSTATE_BV
constexpr u64 kX87AndSse = 3;

constexpr int kRegisterIndex[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

class HostEngine;
HostEngine* running_engine = nullptr;  // a signal handler has no other way to its object

class HostEngine final : public InsnEngine {
  public:
    bool prepare();
    ~HostEngine() override;
    u8* memory(u64 address) override { return reinterpret_cast<u8*>(address); }
    InsnOutcome run(const InsnState& state, u64 end, bool code64) override;

  private:
    static void on_begin(int, siginfo_t*, void* context);
    static void on_end(int signal, siginfo_t*, void* context);
    void begin(ucontext_t& context);
    void end(int signal, ucontext_t& context);

    const InsnState* initial_ = nullptr;
    u64 end_ = 0;
    bool code64_ = false;
    InsnOutcome outcome_;
    mcontext_t saved_{};
    FxImage saved_fpu_{};
    std::vector<u8> signal_stack_;
};

FxImage& fpu_image(ucontext_t& context) {
    return *reinterpret_cast<FxImage*>(context.uc_mcontext.fpregs);
}
void mark_fpu_used(ucontext_t& context) {
    u8* image = reinterpret_cast<u8*>(context.uc_mcontext.fpregs);
    if (load<u32>(image + kMagicOffset) != kXsaveMagic) return;
    store<u64>(image + kHeaderOffset, load<u64>(image + kHeaderOffset) | kX87AndSse);
}

void HostEngine::on_begin(int, siginfo_t*, void* context) {
    running_engine->begin(*static_cast<ucontext_t*>(context));
}

void HostEngine::on_end(int signal, siginfo_t*, void* context) {
    auto& interrupted = *static_cast<ucontext_t*>(context);
    if (!running_engine || !running_engine->initial_) {  // our own crash: let it happen
        ::signal(signal, SIG_DFL);
        return;
    }
    running_engine->end(signal, interrupted);
}

void HostEngine::begin(ucontext_t& context) {
    auto& registers = context.uc_mcontext.gregs;
    FxImage& fpu = fpu_image(context);
    saved_ = context.uc_mcontext;
    saved_fpu_ = fpu;
    for (unsigned i = 0; i < 16; ++i) registers[kRegisterIndex[i]] = static_cast<greg_t>(initial_->gpr[i]);
    registers[REG_RIP] = static_cast<greg_t>(initial_->ip);
    registers[REG_EFL] = initial_->eflags;
    // CS, GS, FS, SS from the lowest word up.
    const u64 selectors = u64{kUserData} << 48 | (code64_ ? kUserCode64 : kUserCode32);
    registers[REG_CSGSFS] = static_cast<greg_t>(selectors);
    fpu.fcw = initial_->fcw;
    fpu.fsw = initial_->fsw;
    fpu.valid = initial_->valid;
    fpu.mxcsr = initial_->mxcsr;
    for (unsigned i = 0; i < 8; ++i) {
        std::memcpy(fpu.st[i], initial_->st[i].data(), 10);
        std::memcpy(fpu.xmm[i], initial_->xmm[i].data(), 16);
    }
    mark_fpu_used(context);
}

void HostEngine::end(int signal, ucontext_t& context) {
    auto& registers = context.uc_mcontext.gregs;
    FxImage& fpu = fpu_image(context);
    InsnState& state = outcome_.state;
    for (unsigned i = 0; i < 16; ++i) state.gpr[i] = static_cast<u64>(registers[kRegisterIndex[i]]);
    state.ip = static_cast<u64>(registers[REG_RIP]);
    state.eflags = static_cast<u32>(registers[REG_EFL]);
    state.fcw = fpu.fcw;
    state.fsw = fpu.fsw;
    state.valid = fpu.valid;
    state.mxcsr = fpu.mxcsr;
    for (unsigned i = 0; i < 8; ++i) {
        std::memcpy(state.st[i].data(), fpu.st[i], 10);
        std::memcpy(state.xmm[i].data(), fpu.xmm[i], 16);
    }
    const auto vector = static_cast<u8>(registers[REG_TRAPNO]);
    outcome_.timed_out = signal == SIGALRM;
    if (!outcome_.timed_out && !(vector == kUndefinedOpcode && state.ip == end_))
        outcome_.fault = InsnFault{vector, static_cast<u32>(registers[REG_ERR])};
    initial_ = nullptr;
    // Only what begin() changed goes back; fpregs points into the frame of this signal.
    const fpregset_t here = context.uc_mcontext.fpregs;
    context.uc_mcontext = saved_;
    context.uc_mcontext.fpregs = here;
    fpu = saved_fpu_;
    mark_fpu_used(context);
}

bool HostEngine::prepare() {
    for (const TestRegion& region : kTestRegions) {
        const int protection = PROT_READ | PROT_WRITE | PROT_EXEC;
        void* at = mmap(reinterpret_cast<void*>(region.address), region.size, protection,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (at != reinterpret_cast<void*>(region.address)) {
            std::fprintf(stderr, "cannot map %#lx\n", static_cast<unsigned long>(region.address));
            return false;
        }
    }
    signal_stack_.resize(256 * kKiB);  // AVX-512 and AMX frames are large
    stack_t stack{};
    stack.ss_sp = signal_stack_.data();
    stack.ss_size = signal_stack_.size();
    sigaltstack(&stack, nullptr);
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    action.sa_sigaction = on_begin;
    sigaction(kBegin, &action, nullptr);
    action.sa_sigaction = on_end;
    for (const int signal : kEndings) sigaction(signal, &action, nullptr);
    // Null in 64-bit processes, where nobody asks; 32-bit code needs them.
    asm volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(u32{kUserData}));
    running_engine = this;
    return true;
}

HostEngine::~HostEngine() {
    for (const int signal : kEndings) ::signal(signal, SIG_DFL);
    ::signal(kBegin, SIG_DFL);
    running_engine = nullptr;
    for (const TestRegion& region : kTestRegions) munmap(reinterpret_cast<void*>(region.address), region.size);
    stack_t stack{};
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, nullptr);
}

InsnOutcome HostEngine::run(const InsnState& state, u64 end, bool code64) {
    outcome_ = InsnOutcome{};
    initial_ = &state;
    end_ = end;
    code64_ = code64;
    const auto protect = [](int protection) {
        mprotect(reinterpret_cast<void*>(kReadOnlyRegion.address), kReadOnlyRegion.size, protection);
    };
    protect(PROT_READ);
    itimerval timer{{0, 0}, {5, 0}};
    setitimer(ITIMER_REAL, &timer, nullptr);
    raise(kBegin);
    timer = {};
    setitimer(ITIMER_REAL, &timer, nullptr);
    protect(PROT_READ | PROT_WRITE);
    return outcome_;
}

}  // namespace

std::unique_ptr<InsnEngine> make_host_engine() {
    auto engine = std::make_unique<HostEngine>();
    if (!engine->prepare()) return nullptr;
    return engine;
}

}  // namespace lodge
