; The handlers of the random programs' machine, read-only for the guest: they take whatever a program runs into, mend
; what can be mended (a page, FPU switches, a stack), leave out the instruction otherwise, and go back, so that the
; program goes on. Addresses are those of layout.h.
;
; Each section begins with one stub of 16 bytes per vector; other entries have fixed places behind them.

%define RANDOM      0x4000
%define PT_BASE     0x4004
%define PT_SHIFT    0x4008
%define ROOT_A      0x400C
%define ROOT_B      0x4010
%define USER_STACK  0x4014
%define KERNEL_STACK 0x4018
%define ALIAS       0x401C
%define CR0_TOGGLES 0x4020
%define CR4_TOGGLES 0x4024
%define FLAG_TOGGLES 0x4028
%define TABLE_B     0x402C      ; from the alias window's table of root A to that of root B
%define HOMES       0x4040
%define ENTRIES     0x4100
%define BREAKPOINTS 0x4200      ; 16 linear addresses
%define CONDITIONS  0x4240      ; 16 values of DR7
%define POINTERS    0x42C0      ; 16 offsets of data
%define COUNTS      0x4400
%define MXCSRS      0x4280      ; 4 values
%define RESUME      0x38000
%define VECTORS     0x50
%define OFFSETS     0x7FFF      ; of code

%macro has_error 1
  %assign error 0
  %if %1 == 8 || (%1 >= 10 && %1 <= 14) || %1 == 17
    %assign error 1
  %endif
%endmacro

; Advances RANDOM. ESI: 24 random bits.
%macro draw 0
    imul esi, [RANDOM], 1664525
    add esi, 1013904223
    mov [RANDOM], esi
    shr esi, 8
%endmacro

    org 0x8000

; ---------------------------------------------------------------------------------------------------- Real mode
    bits 16
%assign vector 0
%rep VECTORS
    align 16
    push word vector
    jmp near common16
  %assign vector vector + 1
%endrep

%define F_IP 38
%define F_CS 40
%define F_FLAGS 42
%define F_VECTOR 36
common16:
    pushad
    push ds
    push es
    xor ax, ax
    mov ds, ax
    cld
    movzx ebp, sp
    movzx ebx, word [bp + F_VECTOR]
    inc dword [COUNTS + ebx * 4]
    draw
    cmp bl, 0x40
    jae services16
    cmp bl, 0x20
    jae interrupt16
    cmp bl, 1
    je debug16
    cmp bl, 4
    jbe done16
    cmp bl, 7
    je no_fpu16
    cmp bl, 16
    je x87_error16
    cmp bl, 12
    jb skip16
    mov ebx, esi                    ; the registers that lead to data
    and ebx, 7
    mov eax, [POINTERS + ebx * 4]
    mov [bp + 20], eax
    mov eax, [POINTERS + ebx * 4 + 4]
    mov [bp + 8], eax
    mov eax, [POINTERS + ebx * 4 + 8]
    mov [bp + 4], eax
skip16:
    mov bx, [bp + F_IP]
    and bx, OFFSETS
    mov ax, RESUME >> 4
    mov es, ax
    movzx ax, [es:bx]
    test ax, ax
    jz redirect16
    add ax, bx
    and ax, OFFSETS
set_ip16:
    mov [bp + F_IP], ax
    mov word [bp + F_CS], 0x2000
done16:
    pop es
    pop ds
    popad
    add sp, 2
    iret

interrupt16:
    test esi, 7
    jnz done16
redirect16:
    mov ebx, esi
    shr ebx, 3
    and ebx, 63
    mov ax, [ENTRIES + ebx * 4]
    jmp set_ip16
debug16:
    test esi, 3
    jnz .flags
    mov eax, 0x400
    mov dr7, eax
.flags:
    test esi, 4
    jz done16
    and word [bp + F_FLAGS], ~0x100
    jmp done16
no_fpu16:
    mov eax, cr0
    and eax, ~0xC
    mov cr0, eax
    test esi, 3
    jz skip16
    jmp done16
x87_error16:
    fninit
    test esi, 3
    jz skip16
    jmp done16
services16:
    cmp bl, 0x43
    je .switches
    cmp bl, 0x44
    je .flags
    cmp bl, 0x45
    je .breakpoints
    cmp bl, 0x47
    jne done16
    fninit
    jmp done16
.switches:
    mov eax, cr0
    and esi, [CR0_TOGGLES]
    xor eax, esi
    mov cr0, eax
    jmp done16
.flags:
    and esi, [FLAG_TOGGLES]
    xor [bp + F_FLAGS], si
    jmp done16
.breakpoints:
    mov ebx, esi
    and ebx, 15
    mov eax, [BREAKPOINTS + ebx * 4]
    mov dr0, eax
    shr esi, 4
    mov ebx, esi
    and ebx, 15
    mov eax, [CONDITIONS + ebx * 4]
    mov dr7, eax
    jmp done16

; ---------------------------------------------------------------------------------------------------- 32 and 64 bits
; What both have; the names of registers and places in the frame are defined before.
%macro dispatch 0
    mov ebx, [rBP + F_VECTOR]
    and ebx, 0x7F
    inc dword [COUNTS + rBX * 4]
    draw
    cmp ebx, 0x40
    jae %%services
    cmp ebx, 0x20
    jae .interrupt
    cmp ebx, 1
    je .debug
    cmp ebx, 7
    je .no_fpu
    mov rAX, [rBP + F_IP]           ; a fault of a handler's: nothing to leave out
    cmp rAX, 0x8000
    jb %%outside
    cmp rAX, 0xE000
    jb .redirect
%%outside:
    test ebx, ebx
    jz .skip
    cmp ebx, 4
    jbe .done
    cmp ebx, 12
    je .stack
    cmp ebx, 13
    je .protection
    cmp ebx, 14
    je .page_fault
    cmp ebx, 16
    je .x87_error
    cmp ebx, 17
    je .alignment
    jmp .skip
%%services:
    and ebx, 15
    jmp [.table + rBX * WORD_SIZE]

.skip:
    mov eax, [rBP + F_IP]
    and eax, OFFSETS
    movzx ecx, byte [RESUME + rAX]
    test ecx, ecx
    jz .redirect
    add eax, ecx
    and eax, OFFSETS
.set_ip:                            ; EAX: offset in the code
    jump_in_code
    jmp .done
.interrupt:
    test esi, 7
    jnz .done
.redirect:
    mov ebx, esi
    shr ebx, 3
    and ebx, 63
    mov eax, [ENTRIES + rBX * 4]
    jmp .set_ip
.debug:
    mov eax, 0xFFFF0FF0
    mov dr6, rAX
    or dword [rBP + F_FLAGS], 0x10000
    test esi, 3
    jnz %%keep
    mov eax, 0x400
    mov dr7, rAX
%%keep:
    test esi, 4
    jz .done
    and dword [rBP + F_FLAGS], ~0x100
    jmp .done
.no_fpu:
    mov rAX, cr0
    and rAX, ~0xC
    mov cr0, rAX
    test esi, 3
    jnz .done
    mov rAX, [rBP + F_IP]
    cmp rAX, 0xE000
    jb .done
    jmp .skip
.x87_error:
    fninit
    test esi, 3
    jz .skip
    jmp .done
.alignment:
    and dword [rBP + F_FLAGS], ~0x40000
    test esi, 1
    jz .skip
    jmp .done
.page_fault:
    test esi, 1
    jz .protection
    cmp dword [PT_BASE], 0
    je .skip
    mov rAX, cr2
    and eax, 0x7FFFFFFF             ; the window at the top is the one at the bottom
    find_entry .protection
    or dword [rDX], 7
    cmp dword [PT_SHIFT], 3
    jne %%flush
    and dword [rDX + 4], 0x7FFFFFFF
%%flush:
    mov rAX, cr2
    invlpg [rAX]
    jmp .done

.service_table:                     ; a page of data gets other rights
    cmp dword [PT_BASE], 0
    je .done
    mov eax, esi
    and eax, 7
    shl eax, 12
    add eax, 0x28000
    test esi, 0x100
    jz %%low
    add eax, 0x400000
%%low:
    mov ebx, eax
    find_entry .done
    shr esi, 9
    and esi, 7
    xor [rDX], esi
    flush_aliases
    jmp .done
.service_root:
    cmp dword [PT_BASE], 0
    je .done
    mov eax, [ROOT_A]
    test esi, 1
    jz %%set
    mov eax, [ROOT_B]
%%set:
    mov cr3, rAX
    jmp .done
.service_switches:
    mov rAX, cr0
    and esi, [CR0_TOGGLES]
    xor rAX, rSI
    mov cr0, rAX
    jmp .done
.service_flags:
    mov eax, esi
    shl eax, 8
    xor eax, esi
    and eax, [FLAG_TOGGLES]
    xor [rBP + F_FLAGS], eax
    jmp .done
.service_breakpoints:
    mov ebx, esi
    and ebx, 15
    load_signed rAX, [BREAKPOINTS + rBX * 4]
    mov dr0, rAX
    mov ebx, esi
    shr ebx, 4
    and ebx, 15
    load_signed rAX, [BREAKPOINTS + rBX * 4]
    mov dr1, rAX
    mov ebx, esi
    shr ebx, 8
    and ebx, 15
    mov eax, [CONDITIONS + rBX * 4]
    mov dr7, rAX
    jmp .done
.service_features:
    mov rAX, cr4
    and esi, [CR4_TOGGLES]
    xor rAX, rSI
    mov cr4, rAX
    jmp .done
.service_fpu:
    fninit
    mov ebx, esi
    and ebx, 3
    mov rAX, cr4
    test eax, 0x200
    jz .done
    ldmxcsr [MXCSRS + rBX * 4]
    jmp .done
.service_flush:
    mov rAX, cr4
    xor eax, 0x80
    mov cr4, rAX
    xor eax, 0x80
    mov cr4, rAX
    jmp .done
%endmacro

; The registers that lead to data do so again.
%macro mend_pointers 0
    mov ebx, esi
    shr ebx, 4
    and ebx, 7
    load_signed rAX, [POINTERS + rBX * 4]
    mov [rBP + F_BX], rAX
    load_signed rAX, [POINTERS + rBX * 4 + 4]
    mov [rBP + F_SI], rAX
    load_signed rAX, [POINTERS + rBX * 4 + 8]
    mov [rBP + F_BP], rAX
    load_signed rDI, [POINTERS + rBX * 4 + 12]
%endmacro

; EAX: linear, below 2 GiB. rDX: the address of its page table entry, if it is in one of the two windows of the
; arena; else goes to %1. Changes ECX.
%macro find_entry 1
    mov ecx, eax
    and ecx, ~0x400000
    sub ecx, 0x20000
    cmp ecx, 0x18000
    jae %1
    mov edx, eax
    shr edx, 12
    mov ecx, [PT_SHIFT]
    shl edx, cl
    add edx, [PT_BASE]
    test eax, 0x400000
    jz %%found
    mov rAX, cr3
    cmp eax, [ROOT_B]
    jne %%found
    add edx, [TABLE_B]
%%found:
%endmacro

%macro service_table_of 1
    align 8
.table:
    %1 .service_ring, .service_table, .service_root, .service_switches
    %1 .service_flags, .service_breakpoints, .service_features, .service_fpu
    %1 .service_flush, .service_other, .redirect, .done
    %1 .service_ring, .service_table, .service_other, .done
%endmacro

; ---------------------------------------------------------------------------------------------------- Protected mode
    times 0x1000 - ($ - $$) db 0xCC
    bits 32
%assign vector 0
%rep VECTORS
    align 16
  has_error vector
  %if error == 0
    push dword 0
  %endif
    push dword vector
    jmp near common32
  %assign vector vector + 1
%endrep
    align 16
sysenter32:                         ; 0x9500. DS may be anything
    ss inc dword [RANDOM]
    ss mov edx, [RANDOM]
    and edx, 63
    ss mov edx, [ENTRIES + edx * 4]
    ss add edx, [HOMES + 3 * 4]
    ss mov ecx, [USER_STACK]
    sti
    sysexit
    times 0x1540 - ($ - $$) db 0xCC
double_fault32:                     ; 0x9540, a task of its own: gives the other one a stack and an entry
    mov esp, 0x5FF0
    inc dword [COUNTS + 8 * 4]
    draw
    mov ebx, esi
    and ebx, 63
    mov eax, [ENTRIES + ebx * 4]
    mov ecx, [USER_STACK]
    mov edx, 0x23
    mov edi, 0x1B
    test byte [0x3000 + 0x4C], 3
    jnz .user
    mov ecx, [KERNEL_STACK]
    mov edx, 0x10
    mov edi, 0x08
.user:
    mov [0x3000 + 0x38], ecx
    mov [0x3000 + 0x50], edx
    mov [0x3000 + 0x4C], edi
    shr edi, 3
    add eax, [HOMES + edi * 4]
    mov [0x3000 + 0x20], eax
    mov [0x3000 + 0x48], edx
    mov [0x3000 + 0x54], edx
    and dword [0x3000 + 0x24], ~0x24100
    iretd
    jmp double_fault32

%define rAX eax
%define rBX ebx
%define rCX ecx
%define rDX edx
%define rSI esi
%define rBP ebp
%define rDI edi
%define F_SI 8
%define F_BP 12
%define F_BX 16
%define WORD_SIZE 4
%define F_VECTOR 32
%define F_IP 40
%define F_CS 44
%define F_FLAGS 48
%define F_SP 52
%define F_SS 56
%macro jump_in_code 0
    test dword [ebp + F_FLAGS], 0x20000
    jz %%protected
    mov dword [ebp + F_CS], 0x2000
    jmp %%set
%%protected:
    mov ecx, [ebp + F_CS]
    shr ecx, 3
    and ecx, 31
    add eax, [HOMES + ecx * 4]
    mov ecx, [ebp + F_IP]
    and ecx, ~OFFSETS
    cmp ecx, [ALIAS]
    jne %%set
    and eax, OFFSETS
    add eax, ecx
%%set:
    mov [ebp + F_IP], eax
%endmacro
%macro flush_aliases 0
    invlpg [ebx]
%endmacro
%macro load_signed 2
    mov %1, %2
%endmacro

common32:
    push eax
    push ecx
    push edx
    push ebx
    push ebp
    push esi
    push ds
    push es
    mov eax, 0x10
    mov ds, ax
    mov es, ax
    cld
    mov ebp, esp
    mov ax, ss
    lar eax, ax
    test eax, 0x400000
    jnz .wide_stack
    movzx ebp, sp
.wide_stack:
    dispatch
.protection:
    mend_pointers
    test esi, 6
    jz .stack
    test esi, 2
    jz .skip
    mov ecx, 0x10
    test byte [ebp + F_CS], 3
    jz .load
    mov ecx, 0x23
.load:
    test dword [ebp + F_FLAGS], 0x20000
    jnz .skip
    mov [ebp], ecx
    mov [ebp + 4], ecx
    jmp .skip
.stack:
    test byte [ebp + F_CS], 3
    jz .skip
    mov ecx, [USER_STACK]
    mov [ebp + F_SP], ecx
    jmp .skip
.service_ring:
    mov eax, [ebp + F_IP]
    and eax, OFFSETS
    mov edx, [ebp + F_FLAGS]
    and edx, ~0x20000
    test dword [ebp + F_FLAGS], 0x20000
    jnz .outwards
    test byte [ebp + F_CS], 3
    jz .outwards
    mov ecx, 0x10
    mov ss, cx
    mov esp, [KERNEL_STACK]
    push edx
    push dword 0x08
    add eax, [HOMES + 4]
    push eax
    jmp .leave
.outwards:
    push dword 0x23
    push dword [USER_STACK]
    push edx
    push dword 0x1B
    add eax, [HOMES + 12]
    push eax
    mov ecx, 0x23
    mov ds, cx
    mov es, cx
.leave:
    mov ebx, [ebp + 16]
    mov esi, [ebp + 8]
    mov ebp, [ebp + 12]
    iretd
.service_other:                     ; to virtual 8086 mode
    mov eax, [ebp + F_IP]
    and eax, OFFSETS
    mov ecx, 0x2000
    push ecx
    push ecx
    push ecx
    push ecx
    push dword 0x3000
    push dword 0x3F00
    mov edx, [ebp + F_FLAGS]
    or edx, 0x23000
    push edx
    push ecx
    push eax
    jmp .leave
.done:
    lea esp, [ebp]
    pop es
    pop ds
    pop esi
    pop ebp
    pop ebx
    pop edx
    pop ecx
    pop eax
    add esp, 8
    iretd
    service_table_of dd

; ---------------------------------------------------------------------------------------------------- Long mode
    times 0x3000 - ($ - $$) db 0xCC
    bits 64
    default abs
%assign vector 0
%rep VECTORS
    align 16
  has_error vector
  %if error == 0
    push qword 0
  %endif
    push qword vector
    jmp near common64
  %assign vector vector + 1
%endrep
    align 16
syscall64:                          ; 0xB500
    o64 sysret
    align 16
syscall_compatibility:              ; 0xB510
    sysret
    align 16
sysenter64:                         ; 0xB520
    inc dword [RANDOM]
    mov edx, [RANDOM]
    and edx, 63
    mov edx, [ENTRIES + rdx * 4]
    mov ecx, [HOMES + 5 * 4]
    movsxd rcx, ecx
    add rdx, rcx
    mov ecx, [USER_STACK]
    sti
    o64 sysexit

%define rAX rax
%define rBX rbx
%define rCX rcx
%define rDX rdx
%define rSI rsi
%define rBP rbp
%define rDI rdi
%define F_SI 0
%define F_BP 8
%define F_BX 16
%define WORD_SIZE 8
%define F_VECTOR 48
%define F_IP 64
%define F_CS 72
%define F_FLAGS 80
%define F_SP 88
%define F_SS 96
%unmacro jump_in_code 0
%unmacro flush_aliases 0
%unmacro load_signed 2
%macro jump_in_code 0
    mov ecx, [rbp + F_CS]
    shr ecx, 3
    and ecx, 31
    movsxd rcx, dword [HOMES + rcx * 4]
    add rax, rcx
    mov rcx, [rbp + F_IP]
    and rcx, ~OFFSETS
    movsxd rdx, dword [ALIAS]
    cmp rcx, rdx
    jne %%set
    and eax, OFFSETS
    add rax, rcx
%%set:
    mov [rbp + F_IP], rax
%endmacro
%macro flush_aliases 0
    invlpg [rbx]
    mov eax, 0x80000000
    sub rbx, rax
    invlpg [rbx]
%endmacro
%macro load_signed 2
    movsxd %1, dword %2
%endmacro

common64:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    cld
    mov rbp, rsp
    dispatch
.stack:
    mov ecx, [USER_STACK]
    test byte [rbp + F_CS], 3
    jnz .set_stack
    mov ecx, [KERNEL_STACK]
.set_stack:
    mov [rbp + F_SP], rcx
    jmp .skip
.protection:
    mend_pointers
    load_signed r8, [POINTERS + rbx * 4 + 16]
    load_signed r9, [POINTERS + rbx * 4 + 20]
    load_signed r10, [POINTERS + rbx * 4 + 24]
    load_signed r12, [POINTERS + rbx * 4 + 28]
    mov r11, r8
    mov r13, r9
    mov r14, r10
    mov r15, r12
    test esi, 6
    jz .stack
    test esi, 2
    jz .skip
    mov ecx, 0x23
    mov ds, cx
    mov es, cx
    jmp .skip
.service_ring:
    mov eax, [rbp + F_IP]
    and eax, OFFSETS
    test byte [rbp + F_CS], 3
    jz .outwards
    mov dword [rbp + F_CS], 0x30
    mov dword [rbp + F_SS], 0x38
    mov ecx, [KERNEL_STACK]
    jmp .set_ring
.outwards:
    mov dword [rbp + F_CS], 0x2B
    mov dword [rbp + F_SS], 0x23
    mov ecx, [USER_STACK]
.set_ring:
    mov [rbp + F_SP], rcx
    jmp .set_ip
.service_other:                     ; between 64-bit code and compatibility mode
    mov eax, [rbp + F_IP]
    and eax, OFFSETS
    mov ecx, [rbp + F_CS]
    mov edx, 0x1B
    cmp ecx, 0x2B
    je .set_code
    mov edx, 0x2B
    cmp ecx, 0x1B
    je .set_code
    mov edx, 0x08
    cmp ecx, 0x30
    je .set_code
    cmp ecx, 0x08
    jne .done
    mov edx, 0x30
.set_code:
    mov [rbp + F_CS], edx
    jmp .set_ip
.done:
    mov rsp, rbp
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq
    service_table_of dq
    times 0x6000 - ($ - $$) db 0xCC
