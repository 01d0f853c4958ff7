; Long mode from the 32-bit tests' environment: the way in and out, exceptions from 64-bit, compatibility and user code,
; IST, IRET, SYSCALL, paging rights, SMEP and SMAP. The 64-bit code notes what it finds in a table; the 32-bit code
; states it at the end, which also proves the way back.
;
; The first 2 MiB are mapped twice: for the supervisor at 0, for the user at USER_ALIAS.
%include "kernel.inc"

PML4            equ TABLES
PDPT            equ TABLES + 0x1000
DIRECTORY       equ TABLES + 0x2000
ALIAS_DIRECTORY equ TABLES + 0x3000
IDT64           equ SCRATCH
TSS64           equ SCRATCH + 0x1000
FOUND           equ SCRATCH + 0x2000    ; six dwords each: vector, error, RIP as found, then as wanted
NAMES           equ SCRATCH + 0x4000
STACK64         equ SCRATCH + 0x8000
STACK_IST       equ SCRATCH + 0x9000
STACK_RSP0      equ SCRATCH + 0xA000
STACK64_USER    equ SCRATCH + 0xB000
USER_ALIAS      equ 0x40000000
NOT_MAPPED      equ 0x80000000
NO_EXECUTE      equ 0xC0000000          ; the first 2 MiB again, for data

CODE64          equ FREE
COMPAT3         equ (FREE + 8) | 3      ; SYSRET's order: 32-bit code, data, 64-bit code
USER_DATA       equ (FREE + 16) | 3
USER64          equ (FREE + 24) | 3
KERNEL_DATA     equ FREE + 32
TSS64_SELECTOR  equ FREE + 40
LDT64_SELECTOR  equ FREE + 56
SYSCALL_CODE    equ FREE + 72           ; SYSCALL's order: 64-bit code, data
CALL_GATE       equ FREE + 88

MSR_EFER        equ 0xC0000080
MSR_STAR        equ 0xC0000081
MSR_GS_BASE     equ 0xC0000101
MSR_LSTAR       equ 0xC0000082
MSR_FMASK       equ 0xC0000084
CAUGHT          equ 0x100               ; noted "vector" of a place that was reached

; catch64 LABEL: where the next exception, or note, leads.
%macro catch64 1
        mov qword [resume64], %1
        mov [resume_rsp], rsp
%endmacro

; note64 NAME, VECTOR, ERROR, RIP: what was recorded last, and what was wanted. Registers stay.
%macro note64 4
        push rax
        push rcx
        mov eax, [found.count]
        mov dword [NAMES + rax * 4], %%name
        imul eax, 24
        mov ecx, [record64.vector]
        mov [FOUND + rax], ecx
        mov ecx, [record64.error]
        mov [FOUND + rax + 4], ecx
        mov ecx, [record64.rip]
        mov [FOUND + rax + 8], ecx
        mov dword [FOUND + rax + 12], %2
        mov dword [FOUND + rax + 16], %3
        mov dword [FOUND + rax + 20], %4
        inc dword [found.count]
        mov dword [record64.vector], 0
        pop rcx
        pop rax
        jmp %%over
%%name: db %1, 0
%%over:
%endmacro

; faults64 NAME, VECTOR, ERROR, INSTRUCTION: at privilege 0.
%macro faults64 4+
        catch64 %%resume
%%at:   %4
        call reached
%%resume:
        note64 %1, %2, %3, %%at
%endmacro

; works64 NAME, INSTRUCTION
%macro works64 2+
        catch64 %%resume
        %2
        call reached
%%resume:
        note64 %1, CAUGHT, 0, 0
%endmacro

; user_faults64 NAME, SELECTOR, VECTOR, ERROR, INSTRUCTION: in ring 3, through the user's mapping.
%macro user_faults64 5+
        catch64 %%resume
        push qword USER_DATA
        push qword STACK64_USER + USER_ALIAS
        push qword 0x3002
        push qword %2
        push qword %%at + USER_ALIAS
        iretq
%%at:   %5
        ud2
%%resume:
        note64 %1, %3, %4, %%at + USER_ALIAS
%endmacro

kernel_begin
        mov eax, 0x80000001
        cpuid
        bt edx, 29
        jnc no_long_mode

        ; Page tables.
        mov edi, TABLES
        xor eax, eax
        mov ecx, 0x4000 / 4
        rep stosd
        mov dword [PML4], PDPT | 7
        mov dword [PDPT], DIRECTORY | 7
        mov dword [PDPT + 8], ALIAS_DIRECTORY | 7
        mov dword [PDPT + 24], DIRECTORY | 7
        mov dword [PDPT + 28], 0x80000000
        mov dword [DIRECTORY], 0x83
        mov dword [DIRECTORY + 8], 0x200083
        mov dword [ALIAS_DIRECTORY], 0x87

        ; Descriptors.
        descriptor CODE64, 0, 0, A_CODE, 0x20
        descriptor COMPAT3, 0, 0xFFFFF, A_CODE | DPL3, F_BIG | F_PAGES
        descriptor USER_DATA, 0, 0xFFFFF, A_DATA | DPL3, F_BIG | F_PAGES
        descriptor USER64, 0, 0, A_CODE | DPL3, 0x20
        descriptor KERNEL_DATA, 0, 0xFFFFF, A_DATA, F_BIG | F_PAGES
        descriptor TSS64_SELECTOR, TSS64, 0x67, A_TSS, 0
        descriptor LDT64_SELECTOR, 0, 0xFF, A_LDT, 0
        mov dword [gdt + LDT64_SELECTOR + 8], 0x8000    ; its base is not canonical
        descriptor SYSCALL_CODE, 0, 0, A_CODE, 0x20
        descriptor SYSCALL_CODE + 8, 0, 0xFFFFF, A_DATA, F_BIG | F_PAGES
        gate CALL_GATE, CODE64, gate_target, A_CALL | DPL3, 0
        mov dword [TSS64 + 4], STACK_RSP0
        mov dword [TSS64 + 0x24], STACK_IST

        ; Gates of 16 bytes.
        xor ebx, ebx
.gates: mov edi, ebx
        shl edi, 4
        add edi, IDT64
        imul eax, ebx, STUB64_BYTES
        add eax, stubs64
        mov ecx, CODE64
        mov edx, A_INT << 8
        call write_gate
        inc ebx
        cmp ebx, STUBS64
        jb .gates

        ; In: CR3, EFER.LME, PAE, paging. (What comes of a missing step is in tests/unit/control_test.cpp.)
        mov eax, PML4
        mov cr3, eax
        mov ecx, MSR_EFER
        rdmsr
        or eax, 0x901           ; SCE, LME, NXE
        wrmsr
        mov eax, cr4
        or eax, 0x20
        mov cr4, eax
        mov eax, cr0
        bts eax, 31
        mov cr0, eax
        lidt [idt64_pointer]
        jmp CODE64:tests64

back_in_32:
        mov ax, DATA0
        mov ds, ax
        mov es, ax
        mov eax, cr0
        btr eax, 31
        mov cr0, eax
        mov ecx, MSR_EFER
        rdmsr
        subject "EFER.LMA follows paging"
        and eax, 0x500
        want eax, 0x100
        xor eax, eax
        xor edx, edx
        wrmsr
        mov eax, cr4
        and eax, ~0x20
        mov cr4, eax
        lidt [idt_pointer]
        mov ax, DATA0
        mov ss, ax
        mov esp, [saved_esp]
        xor ebx, ebx
.state: cmp ebx, [found.count]
        je no_long_mode
        mov eax, [NAMES + ebx * 4]
        mov [test_name], eax
        imul esi, ebx, 24
        mov eax, [FOUND + esi]
        mov [record.vector], eax
        mov eax, [FOUND + esi + 4]
        mov [record.error], eax
        mov eax, [FOUND + esi + 8]
        mov [record.eip], eax
        push dword [FOUND + esi + 12]
        push dword [FOUND + esi + 16]
        push dword [FOUND + esi + 20]
        call check_fault
        inc ebx
        jmp .state
no_long_mode:
        ret

        bits 64
tests64:
        mov [saved_esp], esp
        mov esp, STACK64
        xor eax, eax
        mov ss, ax
        mov ds, ax
        mov es, ax
        mov ax, TSS64_SELECTOR
        ltr ax

        faults64 "64-bit UD2", UD, 0, ud2
        mov rax, 0x0000800000000000
        faults64 "load of an address that is not canonical", GP, 0, mov rbx, [rax]
        mov rbp, rax
        faults64 "the same by RBP", SS_, 0, mov rbx, [rbp]
        faults64 "jump to it", GP, 0, jmp rax
        mov rdx, rax
        shr rdx, 32
        xor eax, eax
        mov ecx, MSR_LSTAR
        faults64 "LSTAR that is not canonical", GP, 0, wrmsr
        mov eax, 16
        faults64 "CR8 has four bits", GP, 0, mov cr8, rax
        mov eax, LDT64_SELECTOR
        faults64 "LLDT with a base that is not canonical", GP, LDT64_SELECTOR, lldt ax
        mov eax, 3
        faults64 "null SS with RPL 3 in ring 0", GP, 0, mov ss, ax
        faults64 "INT through an empty gate", GP, 0x3F * 8 + 2, int 0x3F
        mov eax, NOT_MAPPED
        faults64 "page fault: read", PF, 0, mov rbx, [rax]
        faults64 "page fault: write", PF, 2, mov [rax], rbx
        mov eax, NO_EXECUTE
        works64 "a page that is not for execution can be read", mov rbx, [rax]
        catch64 .not_executed
        mov eax, NO_EXECUTE + 0x7C00
        call rax
.not_executed:
        note64 "fetch from it", PF, 0x11, NO_EXECUTE + 0x7C00

        ; The stack that a gate uses.
        mov byte [IDT64 + 6 * 16 + 4], 1
        catch64 .ist
        ud2
.ist:   mov eax, [record64.at]
        mov [record64.rip], eax
        note64 "IST1", UD, 0, STACK_IST - 40
        mov byte [IDT64 + 6 * 16 + 4], 0
        catch64 .aligned
        mov rbx, rsp
        sub rsp, 5
        ud2
.aligned:
        mov eax, [record64.at]
        sub rax, rbx
        mov [record64.rip], eax
        note64 "the stack is aligned to 16 bytes", UD, 0, -56

        ; IRET.
        catch64 .null_ss
        mov rax, rsp
        push qword 0
        push rax
        push qword 2
        push qword CODE64
        push qword .with_null_ss
        iretq
.with_null_ss:
        call reached
.null_ss:
        note64 "IRETQ to ring 0 with a null SS", CAUGHT, 0, 0
        catch64 .user_null_ss
        push qword 3
        push qword STACK64_USER + USER_ALIAS
        push qword 2
        push qword USER64
        push qword 0
.iret:  iretq
.user_null_ss:
        note64 "IRETQ to ring 3 with a null SS", GP, 0, .iret

        ; Ring 3.
        user_faults64 "user: UD2", USER64, UD, 0, ud2
        user_faults64 "compatibility: UD2", COMPAT3, UD, 0, ud2
        user_faults64 "user: a page of the supervisor", USER64, PF, 5, mov eax, [abs 0x1000]
        user_faults64 "user: writes to it", USER64, PF, 7, mov [abs 0x1000], eax
        user_faults64 "user: HLT", USER64, GP, 0, hlt
        user_faults64 "user: SWAPGS", USER64, GP, 0, swapgs
        user_faults64 "user: SYSRET", USER64, GP, 0, o64 sysret
        user_faults64 "user: INT n with a gate of DPL 0", USER64, GP, 0x20 * 8 + 2, int 0x20
        ; GS holds a descriptor of DPL 0: IRET makes the selector null, but the base stays.
        mov eax, KERNEL_DATA
        mov gs, eax
        mov ecx, MSR_GS_BASE
        mov eax, USER_ALIAS
        xor edx, edx
        wrmsr
        catch64 .after_gs
        push qword USER_DATA
        push qword STACK64_USER + USER_ALIAS
        push qword 0x3002
        push qword USER64
        push qword .reads_gs + USER_ALIAS
        iretq
.reads_gs:
        mov eax, [gs:.reads_gs]
        mov ebx, gs
        ud2
.after_gs:
        cmp eax, [.reads_gs]
        sete al
        movzx eax, al
        shl ebx, 16
        or eax, ebx
        mov [record64.error], eax
        note64 "IRETQ that takes GS away keeps its base", UD, 1, .reads_gs + USER_ALIAS + 10
        user_faults64 "compatibility: SWAPGS does not exist", COMPAT3, UD, 0, swapgs

        ; SYSCALL and SYSRET: the test goes through ring 3 twice.
        mov ecx, MSR_STAR
        xor eax, eax
        mov edx, (FREE + 8) << 16 | SYSCALL_CODE
        wrmsr
        mov ecx, MSR_LSTAR
        mov eax, syscall_target
        xor edx, edx
        wrmsr
        mov ecx, MSR_FMASK
        mov eax, 0x3000
        xor edx, edx
        wrmsr
        catch64 .after_syscall
        mov ecx, .user_part + USER_ALIAS
        mov r11d, 0x3006
        mov [syscall_rsp], rsp
        mov rsp, STACK64_USER + USER_ALIAS
        o64 sysret
.user_part:
        syscall
.syscall_returns:
.after_syscall:
        note64 "SYSCALL: RCX", CAUGHT, 0x3006, .syscall_returns + USER_ALIAS
        mov dword [record64.vector], CAUGHT
        mov eax, [syscall_selectors]
        mov [record64.error], eax
        mov eax, [syscall_flags]
        mov [record64.rip], eax
        note64 "SYSCALL: CS, SS, masked flags", CAUGHT, (SYSCALL_CODE + 8) << 16 | SYSCALL_CODE, 0x06

        ; A call gate from ring 3: CS:RIP and SS:RSP on the TSS's stack, SS null.
        catch64 .after_gate
        push qword USER_DATA
        push qword STACK64_USER + USER_ALIAS
        push qword 0x2
        push qword USER64
        push qword .calls + USER_ALIAS
        iretq
.calls: call dword far [rel .gate_pointer]
.after_gate:
        note64 "call gate: stack and SS", CAUGHT, 0, STACK_RSP0 - 32
        jmp .smep
.gate_pointer:
        dd 0
        dw CALL_GATE

        ; SMEP and SMAP, where they are.
.smep:  xor eax, eax
        cpuid
        cmp eax, 7
        jb .done
        mov eax, 7
        xor ecx, ecx
        cpuid
        mov r8d, ebx
        bt r8d, 7
        jnc .smap
        mov rax, cr4
        bts rax, 20
        mov cr4, rax
        catch64 .no_user_code
        mov eax, .no_user_code + USER_ALIAS
        jmp rax
.no_user_code:
        note64 "SMEP: fetch of a user page", PF, 0x11, .no_user_code + USER_ALIAS
        mov rax, cr4
        btr rax, 20
        mov cr4, rax
.smap:  bt r8d, 20
        jnc .done
        mov rax, cr4
        bts rax, 21
        mov cr4, rax
        mov esi, USER_ALIAS + SCRATCH
        faults64 "SMAP: read of a user page", PF, 1, mov ebx, [rsi]
        stac
        works64 "SMAP: the same with AC", mov ebx, [rsi]
        clac
        faults64 "SMAP: and again without", PF, 1, mov ebx, [rsi]
        user_faults64 "SMAP: STAC is not the user's", USER64, UD, 0, stac
        mov rax, cr4
        btr rax, 21
        mov cr4, rax
.done:
        ; Out, through compatibility mode.
        mov eax, KERNEL_DATA
        mov ss, ax
        push qword CODE0
        push qword back_in_32
        o64 retf

syscall_target:
        mov rsp, [syscall_rsp]
        pushfq
        pop qword [syscall_flags]
        mov eax, ss
        shl eax, 16
        mov ax, cs
        mov [syscall_selectors], eax
        mov [record64.error], r11d
        mov [record64.rip], ecx
        mov dword [record64.vector], CAUGHT
        jmp resume_64
gate_target:
        mov [record64.rip], esp
        xor eax, eax
        mov ax, ss
        mov [record64.error], eax
        mov dword [record64.vector], CAUGHT
        jmp resume_64
; Called by a test that went well.
reached:
        mov dword [record64.vector], CAUGHT
        mov dword [record64.error], 0
        mov dword [record64.rip], 0
resume_64:
        mov rsp, [resume_rsp]
        jmp [resume64]

; Entered with vector and error code (or zero) pushed. Registers stay but for RSP.
record_64:
        pop qword [record64.vector]
        pop qword [record64.error]
        mov [record64.at], rsp
        pop qword [record64.rip]
        jmp resume_64

STUB64_BYTES equ 16
STUBS64 equ 0x3F
        align 16
stubs64:
%assign v 0
%rep STUBS64
%if !(v == 8 || (v >= 10 && v <= 14) || v == 17)
        push qword 0
%endif
        push qword v
        jmp near record_64
        align 16
%assign v v + 1
%endrep

        align 8
idt64_pointer:
        dw 0x40 * 16 - 1
        dd IDT64
        dd 0
        align 8
resume64: dq 0
resume_rsp: dq 0
record64:
.vector: dq 0
.error: dq 0
.rip:   dq 0
.at:    dq 0
syscall_rsp: dq 0
syscall_flags: dq 0
syscall_selectors: dd 0
saved_esp: dd 0
found:
.count: dd 0

kernel_end
