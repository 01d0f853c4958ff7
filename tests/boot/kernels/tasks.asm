; Hardware task switches: JMP, CALL, IRET, task gates, exceptions through task gates, 16-bit TSSs, busy bits, NT, LDT, V86
; tasks, the T bit, faults on the way. SDM vol. 3, chapter 7.
        %include "kernel.inc"

TASK            equ FREE + 0x00         ; the other task's TSS
TASK16          equ FREE + 0x08
TASK_GATE       equ FREE + 0x10 + 3
LDT1            equ FREE + 0x18
LDT2            equ FREE + 0x20
TASK_DF         equ FREE + 0x28
OTHER           equ FREE + 0x30
TASK_TS         equ FREE + 0x38
STACK_TASK      equ 0x38000

; Fields of a 32-bit TSS.
T_LINK equ 0
T_ESP0 equ 4
T_SS0 equ 8
T_CR3 equ 0x1C
T_EIP equ 0x20
T_EFLAGS equ 0x24
T_EAX equ 0x28
T_ECX equ 0x2C
T_ESP equ 0x38
T_ES equ 0x48
T_CS equ 0x4C
T_SS equ 0x50
T_DS equ 0x54
T_FS equ 0x58
T_GS equ 0x5C
T_LDT equ 0x60
T_TRAP equ 0x64

; new_task ENTRY: fills `task` anew, available.
%macro new_task 1
        mov dword [task + T_EIP], %1
        call reset_task
%endmacro

; The type nibble of a descriptor.
%macro want_type 2
        movzx eax, byte [gdt + (%1) + 5]
        and eax, 0x1F
        want eax, %2
%endmacro

; From within the other task: back to privilege 0 and the main task's stack and TSS, without a switch. The tests look at
; the state first and then leave by `back`.
%macro back 0
        jmp leave_task
%endmacro

        kernel_begin
        descriptor TASK, task, 0x67, A_TSS, 0
        descriptor TASK16, task16, 0x2B, A_TSS16, 0
        descriptor_at ldt1, 0x1000, 0xFFF, A_DATA, F_BIG
        descriptor LDT1, ldt1, 7, A_LDT, 0
        descriptor LDT2, ldt2, 7, A_LDT, 0

        subject "LTR sets busy"
        want_type TSS_MAIN, 0x0B
        mov ax, TSS_MAIN
        faults "GP LTR busy", GP, TSS_MAIN, ltr ax
        xor eax, eax
        faults "GP LTR null", GP, 0, ltr ax
        mov ax, DATA0
        faults "GP LTR data", GP, DATA0, ltr ax
        mov ax, 0x7F8
        faults "GP LTR outside GDT", GP, 0x7F8, ltr ax
        descriptor OTHER, task, 0x67, A_TSS & 0x7F, 0
        mov ax, OTHER
        faults "NP LTR", NP, OTHER, ltr ax
        mov ax, 4
        faults "GP LTR local", GP, 4, ltr ax
        mov ax, CODE0
        faults "GP LLDT code", GP, CODE0, lldt ax
        descriptor OTHER, ldt1, 7, A_LDT & 0x7F, 0
        mov ax, OTHER
        faults "NP LLDT", NP, OTHER, lldt ax

        subject "LDT"
        mov ax, LDT1
        lldt ax
        mov dword [0x1010], 0x12345678
        mov ax, 4
        mov fs, ax
        want [fs:0x10], 0x12345678
        mov ax, 0x0C
        faults "GP outside LDT", GP, 0x0C, mov gs, ax
        mov ax, DATA0           ; the switches below leave the LDT behind
        mov fs, ax

; --- JMP
        subject "JMP to a TSS: registers"
        new_task .jmp_to
        mov dword [task + T_EAX], 0x11112222
        mov dword [task + T_ECX], 0x33334444
        mov dword [task + T_EFLAGS], 0x0CD7
        mov dword [task + T_LDT], LDT1
        mov dword [task + T_GS], 4
        mov edx, 0xAAAA5555
        stc
        jmp TASK:0xDEAD
.jmp_back:
        jmp .jmp_end
.jmp_to:
        pushfd
        pop ebx
        mov [seen.flags], ebx
        mov [seen.eax], eax
        mov [seen.ecx], ecx
        mov [seen.esp], esp
        mov eax, gs
        mov [seen.gs], eax
        mov eax, cr0
        mov [seen.cr0], eax
        str eax
        mov [seen.tr], eax
        sldt eax
        mov [seen.ldt], eax
        want [seen.flags], 0x0CD7
        cld
        want [seen.eax], 0x11112222
        want [seen.ecx], 0x33334444
        want [seen.esp], STACK_TASK
        want [seen.gs], 4
        want [seen.tr], TASK
        want [seen.ldt], LDT1
        mov eax, [seen.cr0]
        and eax, 8
        want eax, 8             ; TS
        clts
        subject "JMP to a TSS: busy bits, link, saved state"
        want_type TASK, 0x0B
        want_type TSS_MAIN, 0x09
        want [task + T_LINK], 0xBEEF
        want [tss_main + T_EIP], .jmp_back
        want [tss_main + 0x30], 0xAAAA5555
        mov eax, [tss_main + T_EFLAGS]
        and eax, 0x4001
        want eax, 1
        movzx eax, word [tss_main + T_CS]
        want eax, CODE0
        want [tss_main + T_ESP], STACK0 - 4
        jmp TSS_MAIN:0
.jmp_again:
        int3
.jmp_end:
        subject "JMP back to the first task"
        want edx, 0xAAAA5555
        want esp, STACK0 - 4
        want_type TASK, 0x09
        want_type TSS_MAIN, 0x0B
        want [task + T_EIP], .jmp_again
        faults "GP JMP to the busy TSS", GP, TSS_MAIN, jmp TSS_MAIN:0
        faults "GP CALL to the busy TSS", GP, TSS_MAIN, call TSS_MAIN:0

; --- CALL and IRET
        subject "CALL to a TSS"
        new_task .call_to
        call TASK:0
.call_back:
        jmp .call_end
.call_to:
        pushfd
        pop eax
        want eax, FLAG_NT | 2
        want_type TASK, 0x0B
        want_type TSS_MAIN, 0x0B
        movzx eax, word [task + T_LINK]
        want eax, TSS_MAIN
        want [tss_main + T_EIP], .call_back
        faults "GP CALL to itself", GP, TASK, call TASK:0
        push dword FLAG_NT | 2
        popfd
        iretd
.call_resumed:
        subject "CALL again goes on after IRET"
        pushfd
        pop eax
        and eax, FLAG_NT
        want eax, FLAG_NT
        iretd
.call_end:
        subject "IRET to the calling task"
        pushfd
        pop eax
        and eax, FLAG_NT
        want eax, 0
        want_type TASK, 0x09
        want_type TSS_MAIN, 0x0B
        want [task + T_EIP], .call_resumed
        mov eax, [task + T_EFLAGS]
        and eax, FLAG_NT
        want eax, 0             ; IRET clears it in the image that it leaves
        call TASK:0

        ; IRET with NT and a bad link.
        mov word [tss_main + T_LINK], TASK
        push dword FLAG_NT | 2
        popfd
        faults "TS IRET to a task that is not busy", TS, TASK, iretd
        mov word [tss_main + T_LINK], 0
        push dword FLAG_NT | 2
        popfd
        faults "TS IRET null link", TS, 0, iretd
        mov word [tss_main + T_LINK], DATA0
        push dword FLAG_NT | 2
        popfd
        faults "TS IRET link is data", TS, DATA0, iretd
        mov word [tss_main + T_LINK], 0x7F8
        push dword FLAG_NT | 2
        popfd
        faults "TS IRET link outside GDT", TS, 0x7F8, iretd

; --- Task gates
        subject "CALL through a task gate from 3"
        gate TASK_GATE, TASK, 0, A_TASK | DPL3, 0
        new_task .gate_to
        catch .gate_end
        enter_ring3 .gate_from
.gate_from:
        call TASK_GATE:0
.gate_returned:
        int LEAVE_VECTOR
.gate_to:
        mov eax, cs
        want eax, CODE0
        movzx eax, word [task + T_LINK]
        want eax, TSS_MAIN
        movzx eax, word [tss_main + T_CS]
        want eax, CODE3
        iretd
.gate_end:
        want_fault LEAVE_VECTOR, NOERR, .gate_returned + 2
        want [record.cs], CODE3
        gate TASK_GATE, TASK, 0, A_TASK, 0
        ring3_faults "GP3 task gate DPL 0", GP, TASK_GATE & ~3, call TASK_GATE:0
        gate TASK_GATE, TASK, 0, (A_TASK | DPL3) & 0x7F, 0
        faults "NP task gate", NP, TASK_GATE & ~3, call TASK_GATE:0
        gate TASK_GATE, TSS_MAIN, 0, A_TASK | DPL3, 0
        faults "GP task gate to a busy TSS", GP, TSS_MAIN, call TASK_GATE:0
        gate TASK_GATE, DATA0, 0, A_TASK | DPL3, 0
        faults "GP task gate to data", GP, DATA0, jmp TASK_GATE:0
        gate TASK_GATE, 0x7F8, 0, A_TASK | DPL3, 0
        faults "GP task gate outside GDT", GP, 0x7F8, jmp TASK_GATE:0
        gate TASK_GATE, 4, 0, A_TASK | DPL3, 0
        faults "GP task gate to an LDT selector", GP, 4, jmp TASK_GATE:0
        descriptor TASK, task, 0x67, A_TSS & 0x7F, 0
        faults "NP TSS", NP, TASK, jmp TASK:0
        descriptor TASK, task, 0x66, A_TSS, 0
        faults "TS short TSS", TS, TASK, jmp TASK:0
        descriptor TASK, task, 0x67, A_TSS, 0
        ring3_faults "GP3 TSS DPL 0", GP, TASK, jmp TASK + 3:0

        subject "exception with error code through a task gate"
        idt_gate GP, TASK, 0, A_TASK
        new_task .gp_task
        xor eax, eax
        mov ax, 0x7F8
.gp_at: mov es, ax
        mov ecx, 77
        jmp .gp_end
.gp_task:
        pop eax
        want eax, 0x7F8
        want esp, STACK_TASK
        want [tss_main + T_EIP], .gp_at
        mov eax, [tss_main + T_EFLAGS]
        and eax, FLAG_RF
        want eax, FLAG_RF
        pushfd
        pop eax
        and eax, FLAG_NT | FLAG_IF | FLAG_RF
        want eax, FLAG_NT
        mov dword [tss_main + T_EAX], DATA0
        iretd
        int3
.gp_end:
        want ecx, 77
        idt_default GP
        subject "INT n through a task gate"
        idt_gate 0x31, TASK, 0, A_TASK
        new_task .int_task
.int_at:
        int 0x31
        jmp .int_end
.int_task:
        want esp, STACK_TASK
        want [tss_main + T_EIP], .int_at + 2
        mov eax, [tss_main + T_EFLAGS]
        and eax, FLAG_RF
        want eax, 0
        iretd
.int_end:
        ; From V86 to a task and back.
        subject "V86 to a task gate and back"
        idt_gate UD, TASK, 0, A_TASK
        mov dword [v86_flags], FLAG_VM | FLAG_IOPL3 | 2
        new_task .v86_task
        catch .v86_end
        enter_v86 .v86_from
        bits 16
.v86_from:
        ud2
.v86_after:
        int LEAVE_VECTOR
        bits 32
.v86_task:
        mov eax, [tss_main + T_EFLAGS]
        and eax, FLAG_VM | FLAG_RF
        want eax, FLAG_VM | FLAG_RF
        want [tss_main + T_EIP], .v86_from - V86_BASE
        add dword [tss_main + T_EIP], 2
        iretd
.v86_end:
        want_fault LEAVE_VECTOR, NOERR, .v86_after + 2 - V86_BASE
        want_same_line_cs V86_SEGMENT
        want [record.ds], V86_SEGMENT
        ; Bad TSSs on the way of an exception: EXT.
        descriptor TASK, task, 0x67, A_TSS & 0x7F, 0
        faults "NP TSS of UD", NP, TASK + 1, ud2
        descriptor TASK, task, 0x67, A_TSS | 2, 0
        faults "GP busy TSS of UD", GP, TASK + 1, ud2
        descriptor TASK, task, 0x10, A_TSS, 0
        faults "TS short TSS of UD", TS, TASK + 1, ud2
        descriptor TASK, task, 0x67, A_TSS, 0
        idt_default UD
        idt_gate 0x31, TSS_MAIN, 0, A_TASK
        faults "GP INT n to a busy TSS", GP, TSS_MAIN, int 0x31
        idt_default 0x31

; --- Double fault through a task gate
        subject "DF by a task gate: bad stack"
        descriptor TASK_DF, task, 0x67, A_TSS, 0
        idt_gate DF, TASK_DF, 0, A_TASK
        descriptor OTHER, SCRATCH, 0xFFF, A_DATA, F_BIG
        new_task .df_task
        mov [seen.esp], esp
        mov ax, OTHER
        mov ss, ax
        mov esp, 0x1004         ; beyond the limit: PUSH faults, so does the #SS frame
.df_at: push eax
        int3
.df_task:
        pop eax
        want eax, 0
        want [tss_main + T_EIP], .df_at
        movzx eax, word [tss_main + T_SS]
        want eax, OTHER
        mov dword [tss_main + T_EIP], .df_end
        mov dword [tss_main + T_SS], DATA0
        mov eax, [seen.esp]
        mov [tss_main + T_ESP], eax
        iretd
.df_end:
        idt_default DF

; --- 16-bit TSS
        subject "CALL to a 16-bit TSS and IRET"
        mov ecx, 0x5A5A0001
        mov dword [saved_esp], esp
        call TASK16:0
.back_from_16:
        jmp .after_16
.task16_code:
        ; 32-bit code, entered with 16 bits of EIP and ESP; the upper halves of the registers are ones.
        and esp, 0xFFFF
        or esp, STACK_TASK & 0xFFFF0000
        want eax, 0xFFFF1234
        pushfd
        pop eax
        shr eax, 16
        want eax, 0
        mov eax, ds
        want eax, DATA0
        mov eax, fs
        want eax, 0
        str eax
        want eax, TASK16
        want_type TASK16, 0x03
        movzx eax, word [task16]
        want eax, TSS_MAIN
        iretd
        ; From V86.
        and esp, 0xFFFF
        or esp, STACK_TASK & 0xFFFF0000
        pushfd
        pop eax
        shr eax, 16
        want eax, 0
        mov word [record.cs], 0
        iretd
.after_16:
        want ecx, 0x5A5A0001
        want esp, [saved_esp]
        want_type TASK16, 0x01
        idt_gate 0x34, TASK16, 0, A_TASK | DPL3
        v86_succeeds "a 16-bit task out of V86", int 0x34
        want_type TASK16, 0x01

; --- Faults of the new task
        ; Until CS and SS are loaded there is no stack for a handler: so #TS has a task.
        descriptor TASK_TS, task_ts, 0x67, A_TSS, 0
        idt_gate TS, TASK_TS, 0, A_TASK
%macro ts_task_faults 4 ; NAME, ERROR, FIELD, its VALUE
        subject %1
        new_task 0x1234
        mov dword [task + %3], %4
        catch %%resume
        call prepare_ts_task
        jmp TASK:0
%%resume:
        want_fault TS, %2, 0x1234
        str eax
        want eax, TASK_TS
        want_type TASK, 0x0B
        call to_main
%endmacro
        ts_task_faults "TS new CS is null", 0, T_CS, 0
        ts_task_faults "TS new CS outside GDT", 0x7F8, T_CS, 0x7F8
        ts_task_faults "TS new CS is data", DATA0, T_CS, DATA0
        ts_task_faults "TS new CS RPL", CODE0, T_CS, CODE0 + 3
        ts_task_faults "TS new SS is null", 0, T_SS, 0
        ts_task_faults "TS new SS DPL", DATA3 & ~3, T_SS, DATA3
        ts_task_faults "TS new SS is code", CODE0, T_SS, CODE0
        ts_task_faults "TS new LDT is data", DATA0, T_LDT, DATA0
        ts_task_faults "TS new LDT is local", 4, T_LDT, 4
        idt_default TS
        subject "NP new DS"
        new_task 0x1234
        descriptor OTHER, 0, 0xFFFFF, A_DATA & 0x7F, F_BIG | F_PAGES
        mov dword [task + T_DS], OTHER
        catch .np_ds
        jmp TASK:0
.np_ds: want_fault NP, OTHER, 0x1234
        str eax
        want eax, TASK
        call to_main
        subject "TS new DS is a system segment"
        new_task 0x1234
        mov dword [task + T_DS], LDT1
        catch .ts_ds
        jmp TASK:0
.ts_ds: want_fault TS, LDT1, 0x1234
        call to_main
        subject "GP new EIP"
        new_task 0x10000
        mov dword [task + T_CS], CODE16
        catch .gp_eip
        jmp TASK:0
.gp_eip:
        want_fault GP, 0, 0x10000
        call to_main

; --- The T bit
        subject "DB T bit"
        xor eax, eax
        mov dr6, eax
        new_task .t_bit_to
        mov word [task + T_TRAP], 1
        catch .t_bit
        jmp TASK:0
.t_bit_to:
        nop
.t_bit: want_fault DB_, NOERR, .t_bit_to
        mov eax, [record.dr6]
        and eax, 0xE00F
        want eax, 0x8000
        mov word [task + T_TRAP], 0
        call to_main
        ; Local breakpoints end with the task.
        subject "task switch clears L0..L3"
        new_task .local
        mov eax, 0x5FF
        mov dr7, eax
        jmp TASK:0
        jmp .local_end
.local: mov eax, dr7
        want eax, 0x4AA
        mov eax, 0x400
        mov dr7, eax
        jmp TSS_MAIN:0
.local_end:

; --- A task at privilege 3, and back by an interrupt
        subject "JMP to a task of privilege 3"
        new_task .ring3
        mov dword [task + T_CS], CODE3
        mov dword [task + T_SS], DATA3
        mov dword [task + T_DS], DATA3
        mov dword [task + T_ES], DATA3
        mov dword [task + T_ESP], STACK3
        catch .ring3_end
        jmp TASK:0
.ring3: mov eax, cs
        int LEAVE_VECTOR
.ring3_end:
        want eax, CODE3
        want [record.ss], DATA3
        want [record.handler_esp], STACK_TASK - 0x1000 - 20
        call to_main
        ret

ts_task_entry:
        mov dword [record.vector], TS
        pop dword [record.error]
        mov eax, [task + T_EIP]
        mov [record.eip], eax
        jmp resume_test

prepare_ts_task:
        mov dword [task_ts + T_EIP], ts_task_entry
        mov dword [task_ts + T_EFLAGS], 2
        mov dword [task_ts + T_ESP], STACK_TASK - 0x2000
        mov dword [task_ts + T_CS], CODE0
        mov dword [task_ts + T_SS], DATA0
        mov dword [task_ts + T_DS], DATA0
        mov dword [task_ts + T_ES], DATA0
        mov byte [gdt + TASK_TS + 5], A_TSS
        ret

; Makes the main task the running one again, whatever runs; keeps the stack.
to_main:
        pop dword [return_to]
        mov [saved_esp], esp
        mov ax, DATA0
        mov ds, ax
        mov es, ax
        mov fs, ax
        mov gs, ax
        mov byte [gdt + TASK + 5], A_TSS
        mov byte [gdt + TSS_MAIN + 5], A_TSS
        mov ax, TSS_MAIN
        ltr ax
        xor eax, eax
        lldt ax
        push dword 2
        popfd
        clts
        jmp [return_to]

reset_task:
        pushad
        mov eax, [task + T_EIP]
        mov edi, task
        mov ecx, 0x68 / 4
        push eax
        xor eax, eax
        rep stosd
        pop dword [task + T_EIP]
        mov word [task + T_LINK], 0xBEEF
        mov dword [task + T_ESP0], STACK_TASK - 0x1000
        mov dword [task + T_SS0], DATA0
        mov dword [task + T_EFLAGS], 2
        mov dword [task + T_ESP], STACK_TASK
        mov dword [task + T_CS], CODE0
        mov eax, DATA0
        mov [task + T_SS], eax
        mov [task + T_DS], eax
        mov [task + T_ES], eax
        mov byte [gdt + TASK + 5], A_TSS
        mov byte [gdt + TASK_DF + 5], A_TSS
        popad
        ret

        align 4
task:   times 0x68 db 0
        dd 0
task_ts: times 0x68 db 0
task16: dw 0
        dw 0, 0, 0, 0, 0, 0
        dw kernel_tests.task16_code     ; IP
        dw 2                            ; FLAGS
        dw 0x1234, 0, 0, 0              ; AX CX DX BX
        dw STACK_TASK & 0xFFFF, 0, 0, 0 ; SP BP SI DI
        dw DATA0, CODE0, DATA0, DATA0, 0
ldt1:   dq 0
ldt2:   dq 0
return_to: dd 0
saved_esp: dd 0
seen:
.flags: dd 0
.eax:   dd 0
.ecx:   dd 0
.esp:   dd 0
.gs:    dd 0
.cr0:   dd 0
.tr:    dd 0
.ldt:   dd 0
        kernel_end
