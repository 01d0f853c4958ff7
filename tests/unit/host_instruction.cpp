#include "tests/unit/host_instruction.h"

#include <sys/mman.h>
#include <ucontext.h>

#include "core/decode/decoder.h"
#include "core/interp/bind.h"

namespace lodge {

namespace {

thread_local sigjmp_buf host_escape;
thread_local volatile int host_signal;
thread_local FxImage host_fx;

void on_signal(int number, siginfo_t*, void* context) {
    const auto* user = static_cast<ucontext_t*>(context);
    std::memcpy(static_cast<void*>(&host_fx), user->uc_mcontext.fpregs, sizeof host_fx);
    host_signal = number;
    siglongjmp(host_escape, 1);
}

// Writes code byte by byte.
class CodeWriter {
  public:
    explicit CodeWriter(u8* at) : at_(at) {}
    void put(std::initializer_list<u8> bytes) { put(std::span<const u8>(bytes.begin(), bytes.size())); }
    void put(std::span<const u8> bytes) {
        for (u8 byte : bytes) *at_++ = byte;
    }

  private:
    u8* at_;
};

// In: RDI the state, RSI the memory operand.
constexpr u8 kState = offsetof(MachineState, fx);
constexpr u32 kGpr = offsetof(MachineState, gpr);
constexpr u32 kFlags = offsetof(MachineState, flags);
static_assert(kState == 0 && kGpr == 512 && kFlags == 544);

void write_code(u8* at, std::span<const u8> instruction) {
    CodeWriter code(at);
    code.put({0x53, 0x57});                          // push rbx; push rdi
    code.put({0x0F, 0xAE, 0x0F});                    // fxrstor [rdi]
    code.put({0xFF, 0xB7, 0x20, 0x02, 0, 0, 0x9D});  // push qword [rdi+544]; popfq
    code.put({0x48, 0x8B, 0x87, 0x00, 0x02, 0, 0});  // mov rax, [rdi+512]
    code.put({0x48, 0x8B, 0x8F, 0x08, 0x02, 0, 0});  // mov rcx, [rdi+520]
    code.put({0x48, 0x8B, 0x97, 0x10, 0x02, 0, 0});  // mov rdx, [rdi+528]
    code.put({0x48, 0x8B, 0x9F, 0x18, 0x02, 0, 0});  // mov rbx, [rdi+536]
    code.put(instruction);
    code.put({0x48, 0x8B, 0x3C, 0x24});              // mov rdi, [rsp]
    code.put({0x0F, 0xAE, 0x07});                    // fxsave [rdi]
    code.put({0x48, 0x89, 0x87, 0x00, 0x02, 0, 0});  // mov [rdi+512], rax
    code.put({0x48, 0x89, 0x8F, 0x08, 0x02, 0, 0});  // mov [rdi+520], rcx
    code.put({0x48, 0x89, 0x97, 0x10, 0x02, 0, 0});  // mov [rdi+528], rdx
    code.put({0x48, 0x89, 0x9F, 0x18, 0x02, 0, 0});  // mov [rdi+536], rbx
    code.put({0x9C, 0x8F, 0x87, 0x20, 0x02, 0, 0});  // pushfq; pop qword [rdi+544]
    code.put({0xDB, 0xE3});                          // fninit
    code.put({0x5F, 0x5B, 0xC3});                    // pop rdi; pop rbx; ret
}

void restore_host_float() {
    const u32 mxcsr = 0x1F80;
    asm volatile("fninit\n\tldmxcsr %0" : : "m"(mxcsr));
}

}  // namespace

HostInstruction::HostInstruction() {
    void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    code_ = page == MAP_FAILED ? nullptr : static_cast<u8*>(page);
}

HostInstruction::~HostInstruction() {
    if (code_) munmap(code_, 4096);
}

Outcome HostInstruction::run(std::span<const u8> instruction, MachineState& state) {
    write_code(code_, instruction);
    struct sigaction action = {}, old_fpe, old_segv, old_ill;
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGFPE, &action, &old_fpe);
    sigaction(SIGSEGV, &action, &old_segv);
    sigaction(SIGILL, &action, &old_ill);
    host_signal = 0;
    if (sigsetjmp(host_escape, 1) == 0) {
        u64 rdi = reinterpret_cast<u64>(&state), rsi = reinterpret_cast<u64>(state.memory + MachineState::kOperand);
        asm volatile("subq $256, %%rsp\n\tcall *%[code]\n\taddq $256, %%rsp"
                     : "+D"(rdi), "+S"(rsi)
                     : [code] "r"(code_)
                     : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3",
                       "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                       "xmm15");
    }
    restore_host_float();
    sigaction(SIGFPE, &old_fpe, nullptr);
    sigaction(SIGSEGV, &old_segv, nullptr);
    sigaction(SIGILL, &old_ill, nullptr);
    state.flags &= kArithmeticFlags;
    if (!host_signal) return Outcome::completed;
    state.fx = host_fx;
    if (host_signal == SIGFPE) return Outcome::float_error;
    return host_signal == SIGSEGV ? Outcome::protection : Outcome::undefined;
}

// --- Guest

namespace {

class NoDevices final : public AddressSpace {
  public:
    u64 read(u64, unsigned) override { return ~u64{0}; }
    void write(u64, unsigned, u64) override {}
};

constexpr u64 kMemorySize = 0x10000;

void stop_here(Cpu& cpu, const Insn* insn) {
    stop_before(cpu, insn);
}

}  // namespace

struct GuestInstruction::Parts {
    Log log;
    NoDevices nothing;
    GuestClock clock{ClockMode::virtual_time};
    std::unique_ptr<PhysicalMemory> memory;
    std::unique_ptr<Cpu> cpu;
};

GuestInstruction::GuestInstruction() : parts_(std::make_unique<Parts>()) {
    parts_->memory = std::move(*PhysicalMemory::create(kMemorySize, parts_->nothing));
    parts_->memory->map(0, kMemorySize, 0, true);
    parts_->cpu = std::make_unique<Cpu>(parts_->log, *parts_->memory, parts_->nothing, parts_->clock, cpu_models()[0]);
    reset();
}

GuestInstruction::~GuestInstruction() = default;

Cpu& GuestInstruction::cpu() {
    return *parts_->cpu;
}
const Cpu& GuestInstruction::cpu() const {
    return *parts_->cpu;
}
u8* GuestInstruction::memory() {
    return parts_->memory->backing().data();
}

void GuestInstruction::reset() {
    Cpu& cpu = *parts_->cpu;
    cpu.reset();
    CpuState& state = cpu.state;
    state.cr0 = kCr0Pe | kCr0Mp | kCr0Et | kCr0Ne;
    state.cr4 = kCr4Osfxsr | kCr4Osxmmexcpt;
    for (SegmentState& segment : state.segments) {
        segment.base = 0;
        segment.limit = 0xFFFFFFFF;
        segment.readable_span = segment.writable_span = 0xFFFFFFFF;
        segment.attributes = kSegmentPresent | kSegmentNotSystem | kSegmentWritable | kSegmentAccessed | kSegmentBig;
        segment.selector = 0x10;
    }
    state.segment(Segment::cs).attributes |= kSegmentCode;
    state.segment(Segment::cs).selector = 0x08;
    state.ip = state.gpr[kBlockIp] = 0x1000;
    state.gpr[kRsi] = kOperandAddress;
    cpu.mode_changed();
}

bool GuestInstruction::execute(std::span<const u8> instruction) {
    if (fault()) reset();
    Insn insns[2];
    if (decode(instruction, cpu().code_size(), insns[0]) != DecodeStatus::ok) return false;
    insns[0].run = bind_x87(insns[0]);
    if (!insns[0].run) insns[0].run = bind_simd(insns[0]);
    if (!insns[0].run) return false;
    insns[1].run = stop_here;
    insns[1].block_index = 1;
    insns[1].block_offset = insns[0].length;
    insns[0].run(cpu(), insns);
    return true;
}

bool GuestInstruction::run(std::span<const u8> instruction, MachineState& state) {
    if (fault()) reset();
    CpuState& guest = cpu().state;
    FpuState& fpu = guest.fpu;
    const unsigned top = state.fx.status >> 11 & 7;
    fpu.control = state.fx.control;
    fpu.status = state.fx.status;
    fpu.valid = state.fx.valid;
    fpu.mxcsr = state.fx.mxcsr;
    for (unsigned i = 0; i < 8; ++i) std::memcpy(fpu.st[(top + i) & 7], state.fx.st[i], 16);
    std::memcpy(fpu.xmm, state.fx.xmm, sizeof fpu.xmm);
    std::memcpy(guest.gpr, state.gpr, sizeof state.gpr);
    guest.status.set_eflags(static_cast<u32>(state.flags));
    std::memcpy(memory() + kMemory, state.memory, sizeof state.memory);

    if (!execute(instruction)) return false;

    const unsigned new_top = fpu.status >> 11 & 7;
    state.fx.control = fpu.control;
    state.fx.status = fpu.status;
    state.fx.valid = fpu.valid;
    state.fx.mxcsr = fpu.mxcsr;
    for (unsigned i = 0; i < 8; ++i) std::memcpy(state.fx.st[i], fpu.st[(new_top + i) & 7], 10);
    std::memcpy(state.fx.xmm, fpu.xmm, sizeof fpu.xmm);
    std::memcpy(state.gpr, guest.gpr, sizeof state.gpr);
    state.flags = guest.status.eflags() & kArithmeticFlags;
    std::memcpy(state.memory, memory() + kMemory, sizeof state.memory);
    return true;
}

}  // namespace lodge
