; Interrupt, trap and call gates of 16 and 32 bits, conforming code, far returns and IRET in every direction. SDM vol. 3,
; 5.8 and 6.12; vol. 2, "CALL", "RET", "IRET", "INT n".
        %include "kernel.inc"

CODE1           equ FREE + 0x08 + 1
DATA1           equ FREE + 0x10 + 1
CONFORMING      equ FREE + 0x18
GATE            equ FREE + 0x20 + 3
OTHER           equ FREE + 0x28

; The saved frame of the last capture, dword by dword from its top.
%macro want_frame 1-*
%assign i 0
%rep %0
        want [captured.stack + i * 4], %1
%rotate 1
%assign i i + 1
%endrep
%endmacro

        kernel_begin
        descriptor CODE1, 0, 0xFFFFF, A_CODE | DPL1, F_BIG | F_PAGES
        descriptor DATA1, 0, 0xFFFFF, A_DATA | DPL1, F_BIG | F_PAGES
        descriptor CONFORMING, 0, 0xFFFFF, A_CODE_CONF, F_BIG | F_PAGES
        mov dword [tss_main + 0x10], DATA1

; --- Interrupt and trap gates
        idt_gate 0x31, CODE0, capture, A_INT
        subject "interrupt gate clears IF"
        catch .int_gate
        sti
.int_gate_at:
        int 0x31
.int_gate:
        mov eax, [captured.eflags]
        and eax, FLAG_IF
        want eax, 0
        subject "interrupt gate, same level: frame"
        mov eax, [captured.stack + 8]
        and eax, FLAG_IF
        want eax, FLAG_IF
        want_frame .int_gate_at + 2, CODE0
        subject "interrupt gate, same level: ESP"
        want [captured.esp], STACK0 - 4 - 12

        idt_gate 0x31, CODE0, capture, A_TRAP
        subject "trap gate keeps IF"
        catch .trap_gate
        sti
        int 0x31
.trap_gate:
        mov eax, [captured.eflags]
        and eax, FLAG_IF
        want eax, FLAG_IF

        idt_gate 0x31, CODE0, capture, A_INT | DPL3
        subject "interrupt gate from 3: frame"
        catch .from3
        enter_ring3 .from3_at
.from3_at:
        stc
        int 0x31
.from3: want_frame .from3_at + 3, CODE3, 3, STACK3, DATA3
        subject "interrupt gate from 3: ESP, CS, SS"
        want [captured.esp], STACK_INNER - 20
        want [captured.cs], CODE0
        want [captured.ss], DATA0

        idt_gate 0x31, CODE0, capture, A_INT16 | DPL3
        subject "16-bit gate from 3: frame"
        catch .from3_16
        enter_ring3 .from3_16_at
.from3_16_at:
        stc
        int 0x31
.from3_16:
        want [captured.esp], STACK_INNER - 10
        want_frame (CODE3 << 16) + .from3_16_at + 3, (STACK3 & 0xFFFF) << 16 | 3

        idt_gate 0x31, CODE0, capture, A_INT16
        subject "16-bit gate, same level: frame"
        catch .same_16
        stc
.same_16_at:
        int 0x31
.same_16:
        want [captured.esp], STACK0 - 4 - 6
        want [captured.stack], (CODE0 << 16) + .same_16_at + 2

        ; A conforming handler runs at the interrupted level, on its stack.
        idt_gate 0x31, CONFORMING, .conforming_handler, A_INT | DPL3
        subject "conforming handler from 3: level and stack"
        catch .conforming
        enter_ring3 .conforming_at
.conforming_at:
        int 0x31
.conforming_handler:
        mov eax, cs
        mov ebx, ss
        mov ecx, esp
        int LEAVE_VECTOR
.conforming:
        want eax, CONFORMING | 3
        want ebx, DATA3
        want ecx, STACK3 - 12

        ; To privilege 1.
        idt_gate 0x31, CODE1, .level1, A_INT | DPL3
        subject "interrupt gate from 3 to 1"
        catch .to1
        enter_ring3 .to1_at
.to1_at:
        int 0x31
.level1:
        mov eax, cs
        mov ebx, ss
        mov ecx, esp
        int LEAVE_VECTOR
.to1:   want eax, CODE1
        want ebx, DATA1
        want ecx, STACK1 - 20
        ; And back: IRET from 1 to 3.
        idt_gate 0x31, CODE1, .iret1, A_INT | DPL3
        subject "IRET from 1 to 3"
        catch .back3
        enter_ring3 .back3_at
.back3_at:
        stc
        int 0x31
.back3_here:
        int LEAVE_VECTOR
.iret1: clc
        iretd
.back3: want_fault LEAVE_VECTOR, NOERR, .back3_here + 2
        want [record.cs], CODE3
        want [record.esp], STACK3
        want [record.eflags], 3

        ; Bad stacks in the TSS.
        idt_gate 0x31, CODE1, .level1, A_INT | DPL3
        mov dword [tss_main + 0x10], 0
        ring3_faults "TS null SS1", TS, 0, int 0x31
        mov dword [tss_main + 0x10], DATA1 & ~3
        ring3_faults "TS RPL of SS1", TS, DATA1 & ~3, int 0x31
        mov dword [tss_main + 0x10], DATA0 + 1
        ring3_faults "TS DPL of SS1", TS, DATA0, int 0x31
        mov dword [tss_main + 0x10], CODE1
        ring3_faults "TS SS1 is code", TS, CODE1 & ~3, int 0x31
        mov dword [tss_main + 0x10], 0x7F9
        ring3_faults "TS SS1 outside GDT", TS, 0x7F8, int 0x31
        descriptor OTHER, 0, 0xFFFFF, (A_DATA | DPL1) & 0x7F, F_BIG | F_PAGES
        mov dword [tss_main + 0x10], OTHER + 1
        ring3_faults "SS SS1 not present", SS_, OTHER, int 0x31
        descriptor OTHER, SCRATCH, 0xFFF, A_DATA | DPL1, F_BIG
        mov dword [tss_main + 0x0C], 0x1014
        ring3_faults "SS no room on stack 1", SS_, OTHER, int 0x31
        mov dword [tss_main + 0x0C], STACK1
        mov dword [tss_main + 0x10], DATA1
        ; The TSS is too short for the stack.
        descriptor TSS_MAIN, tss_main, 0x10, A_TSS, 0
        mov ax, TSS_MAIN
        ltr ax
        ring3_faults "TS short TSS", TS, TSS_MAIN, int 0x31
        descriptor TSS_MAIN, tss_main, tss_main_end - tss_main - 1, A_TSS, 0
        ltr ax

; --- Call gates
        gate GATE, CODE0, capture, A_CALL | DPL3, 0
        subject "call gate from 3: frame"
        catch .gate3
        enter_ring3 .gate3_at
.gate3_at:
        call GATE:0xDEADBEEF
.gate3: want_frame .gate3_at + 7, CODE3, STACK3, DATA3
        want [captured.esp], STACK_INNER - 16
        want [captured.cs], CODE0
        subject "call gate keeps IF"
        mov dword [ring3_flags], FLAG_IF | 2
        catch .gate3_if
        enter_ring3 .gate3_if_at
.gate3_if_at:
        call GATE:0
.gate3_if:
        want [captured.eflags], FLAG_IF | 2
        mov dword [ring3_flags], 2

        gate GATE, CODE0, capture, A_CALL | DPL3, 3
        subject "call gate from 3 with parameters"
        catch .parameters
        enter_ring3 .parameters_at
.parameters_at:
        push dword 0x11111111
        push dword 0x22222222
        push dword 0x33333333
        call GATE:0
.parameters_end:
.parameters:
        want_frame .parameters_end, CODE3, 0x33333333, 0x22222222, 0x11111111, STACK3 - 12, DATA3
        want [captured.esp], STACK_INNER - 28

        gate GATE, CODE0, capture, A_CALL16 | DPL3, 2
        subject "16-bit call gate from 3 with parameters"
        catch .parameters_16
        enter_ring3 .parameters_16_at
.parameters_16_at:
        push word 0x1111
        push word 0x2222
        call GATE:0
.parameters_16_end:
.parameters_16:
        want_frame (CODE3 << 16) + .parameters_16_end, 0x11112222, DATA3 << 16 | ((STACK3 - 4) & 0xFFFF)
        want [captured.esp], STACK_INNER - 12

        gate GATE, CODE0, capture, A_CALL | DPL3, 5
        subject "call gate, same level: no parameters"
        catch .gate0
        call GATE:0
.gate0_end:
.gate0: want [captured.esp], STACK0 - 4 - 8
        want_frame .gate0_end, CODE0

        gate GATE, CODE0, .retf_gate, A_CALL | DPL3, 2
        subject "call gate and RETF 8"
        catch .retf_end
        enter_ring3 .retf_at
.retf_at:
        push dword 1
        push dword 2
        call GATE:0
        mov edx, esp
        mov ecx, ds
        int LEAVE_VECTOR
.retf_gate:
        mov ax, DATA0           ; must not survive the return
        mov ds, ax
        retf 8
.retf_end:
        want edx, STACK3
        want ecx, 0
        want [record.ss], DATA3

        gate GATE, CONFORMING, .gate_conforming, A_CALL | DPL3, 2
        subject "call gate to conforming code from 3"
        catch .conforming3
        enter_ring3 .conforming3_at
.conforming3_at:
        call GATE:0
.gate_conforming:
        mov eax, cs
        mov ebx, esp
        int LEAVE_VECTOR
.conforming3:
        want eax, CONFORMING | 3
        want ebx, STACK3 - 8

        subject "jump through a gate to conforming code from 3"
        catch .jump3
        enter_ring3 .jump3_at
.jump3_at:
        jmp GATE:0
.jump3: want eax, CONFORMING | 3
        want ebx, STACK3

        gate GATE, CODE0, capture, A_CALL | DPL3, 0
        ring3_faults "GP3 jump through a gate to DPL 0", GP, CODE0, jmp GATE:0
        gate GATE, CODE0, capture, A_CALL, 0
        ring3_faults "GP3 call gate DPL 0", GP, GATE & ~3, call GATE:0
        gate GATE, CODE0, capture, A_CALL | DPL1, 0
        faults "GP call gate RPL", GP, GATE & ~3, call GATE:0
        gate GATE, CODE0, capture, (A_CALL | DPL3) & 0x7F, 0
        ring3_faults "NP3 call gate", NP, GATE & ~3, call GATE:0
        gate GATE, 0, capture, A_CALL | DPL3, 0
        ring3_faults "GP3 call gate null CS", GP, 0, call GATE:0
        gate GATE, DATA0, capture, A_CALL | DPL3, 0
        ring3_faults "GP3 call gate to data", GP, DATA0, call GATE:0
        gate GATE, CODE3, capture, A_CALL | DPL3, 0
        faults "GP call gate to CPL 3", GP, CODE3 & ~3, call GATE:0
        descriptor OTHER, 0, 0xFFFFF, A_CODE & 0x7F, F_BIG | F_PAGES
        gate GATE, OTHER, capture, A_CALL | DPL3, 0
        ring3_faults "NP3 call gate CS", NP, OTHER, call GATE:0
        descriptor OTHER, 0, 0xFF, A_CODE, F_BIG
        ring3_faults "GP3 call gate beyond CS", GP, 0, call GATE:0
        descriptor GATE, 0, 0, A_INT | DPL3, 0
        ring3_faults "GP3 call interrupt gate", GP, GATE & ~3, call GATE:0
        descriptor GATE, 0, 0, A_LDT | DPL3, 0
        ring3_faults "GP3 call LDT", GP, GATE & ~3, call GATE:0

; --- Direct far transfers
        subject "far jump, same level"
        catch .far_jump
        jmp CODE0:.far_jump_to
.far_jump_to:
        int LEAVE_VECTOR
.far_jump:
        want_fault LEAVE_VECTOR, NOERR, .far_jump_to + 2
        subject "far call and RETF, same level"
        mov edx, esp
        call CODE0:.far_function
        sub edx, esp
        want edx, 0
        subject "far call from 3 to conforming code"
        catch .conforming_call
        enter_ring3 .conforming_call_at
.conforming_call_at:
        call CONFORMING:.conforming_function
        mov ebx, cs
        int LEAVE_VECTOR
.conforming_function:
        mov eax, cs
        retf
.conforming_call:
        want eax, CONFORMING | 3
        want ebx, CODE3
        subject "far call to 16-bit code"
        call CODE16:.function_16
        want ecx, 0x1234
        faults "GP far jump null", GP, 0, jmp 0:0
        faults "GP far jump to data", GP, DATA0, jmp DATA0:0
        faults "GP far jump outside GDT", GP, 0x7F8, jmp 0x7F8:0
        faults "GP far jump to DPL 3", GP, CODE3 & ~3, jmp CODE3:0
        faults "GP far jump beyond CS", GP, 0, jmp CODE16:0x10000
        descriptor OTHER, 0, 0xFFFFF, A_CODE & 0x7F, F_BIG | F_PAGES
        faults "NP far jump", NP, OTHER, jmp OTHER:0
        faults "NP far call", NP, OTHER, call OTHER:0

; --- Far returns
        subject "RETF to 3"
        catch .retf3
        push dword DATA3
        push dword STACK3
        push dword CODE3
        push dword .retf3_to
        retf
.retf3_to:
        mov eax, cs
        mov ebx, ds
        mov ecx, ss
        mov edx, esp
        int LEAVE_VECTOR
.retf3: want eax, CODE3
        want ebx, 0
        want ecx, DATA3
        want edx, STACK3

        subject "RETF 8 to 3"
        catch .retf3_8
        push dword DATA3
        push dword STACK3
        push dword 0
        push dword 0
        push dword CODE3
        push dword .retf3_to
        retf 8
.retf3_8:
        want edx, STACK3 + 8

        subject "16-bit RETF to 3 cuts SP"
        catch .retf3_16
        push word DATA3
        push word 0x8000
        push word CODE3
        push word .retf3_to
        o16 retf
.retf3_16:
        want edx, 0x8000

        subject "RETF to 3 on a 16-bit stack keeps the high half of ESP"
        descriptor OTHER, 0, 0xFFFF, A_DATA | DPL3, 0
        catch .retf3_small
        push dword OTHER + 3
        push dword 0x12346000
        push dword CODE3
        push dword .retf3_to
        mov edi, esp
        retf
.retf3_small:
        and edi, 0xFFFF0000
        or edi, 0x6000
        sub edx, edi
        want edx, 0

        mov edi, esp
        push dword CODE0
        push dword 0
        subject "GP RETF null"
        catch .retf_null
        mov dword [esp + 4], 0
.retf_null_at:
        retf
.retf_null:
        want_fault GP, 0, .retf_null_at
        catch .retf_data
        subject "GP RETF to data"
        mov dword [esp + 4], DATA0
.retf_data_at:
        retf
.retf_data:
        want_fault GP, DATA0, .retf_data_at
        catch .retf_rpl
        subject "GP RETF RPL 3 to DPL 0"
        mov dword [esp + 4], CODE0 + 3
.retf_rpl_at:
        retf
.retf_rpl:
        want_fault GP, CODE0, .retf_rpl_at
        mov esp, edi
        subject "GP3 RETF to 0"
        catch .retf_inner
        enter_ring3 .retf_inner_to
.retf_inner_to:
        push dword CODE0
        push dword 0
.retf_inner_at:
        retf
.retf_inner:
        want_fault GP, CODE0, .retf_inner_at

        subject "GP RETF null SS"
        mov edi, esp
        push dword 0
        push dword STACK3
        push dword CODE3
        push dword .retf3_to
        catch .retf_ss0
.retf_ss0_at:
        retf
.retf_ss0:
        want_fault GP, 0, .retf_ss0_at
        subject "GP RETF SS DPL"
        mov dword [esp + 12], DATA0 + 3
        catch .retf_ss1
.retf_ss1_at:
        retf
.retf_ss1:
        want_fault GP, DATA0, .retf_ss1_at
        subject "SS RETF SS not present"
        descriptor OTHER, 0, 0xFFFF, (A_DATA | DPL3) & 0x7F, 0
        mov dword [esp + 12], OTHER + 3
        catch .retf_ss2
.retf_ss2_at:
        retf
.retf_ss2:
        want_fault SS_, OTHER, .retf_ss2_at
        mov esp, edi

; --- IRET
        subject "IRET, same level"
        catch .iret0
        push dword 0x3ED7 & ~FLAG_TF
        push dword CODE0
        push dword .iret0_to
        iretd
.iret0_to:
        pushfd
        pop eax
        push dword 2
        popfd
        mov ebx, esp
        int LEAVE_VECTOR
.iret0: want eax, 0x3ED7 & ~FLAG_TF
        want ebx, STACK0 - 4
        subject "16-bit IRET keeps the upper flags"
        catch .iret0_16
        push dword 1 << 21 | 2  ; ID
        popfd
        push word 0x0003
        push word CODE0
        push word .iret0_to
        iretw
.iret0_16:
        want eax, 1 << 21 | 3
        subject "IRET from 3 keeps IF and IOPL"
        catch .iret3
        enter_ring3 .iret3_at
.iret3_at:
        push dword 0x3ED7 & ~FLAG_TF
        push dword CODE3
        push dword .iret3_to
        iretd
.iret3_to:
        int LEAVE_VECTOR
.iret3: want [record.eflags], 0x0CD7
        subject "IRET from 3 ignores VM"
        catch .iret3_vm
        enter_ring3 .iret3_vm_at
.iret3_vm_at:
        push dword FLAG_VM | 2
        push dword CODE3
        push dword .iret3_to
        iretd
.iret3_vm:
        want [record.eflags], 2
        want [record.cs], CODE3
        subject "IRET to V86: registers"
        catch .iretv
        push dword 0x1111
        push dword 0x2222
        push dword 0x3333
        push dword 0x4444
        push dword (STACK3 - 0x10000) >> 4
        push dword 0x1234FFF0
        push dword FLAG_VM | FLAG_IOPL3 | FLAG_IF | 0x8D7
        push dword V86_SEGMENT
        push dword .iretv_to - V86_BASE
        iretd
        bits 16
.iretv_to:
        int LEAVE_VECTOR
        bits 32
.iretv: want [record.gs], 0x1111
        want [record.fs], 0x2222
        want [record.ds], 0x3333
        want [record.es], 0x4444
        want [record.esp], 0x1234FFF0
        want [record.eflags], FLAG_VM | FLAG_IOPL3 | FLAG_IF | 0x8D7
        subject "after V86, data segments are null"
        catch .nullv
        idt_gate 0x31, CODE0, .look, A_INT | DPL3
        mov dword [v86_flags], FLAG_VM | FLAG_IOPL3 | 2
        enter_v86 .nullv_at
        bits 16
.nullv_at:
        int 0x31
        bits 32
.look:  mov eax, ds
        mov ebx, es
        mov ecx, fs
        mov edx, gs
        int LEAVE_VECTOR
.nullv: or eax, ebx
        or eax, ecx
        or eax, edx
        want eax, 0
        subject "GP IRET to V86 beyond 64K"
        mov edi, esp
        push dword 0
        push dword 0
        push dword 0
        push dword 0
        push dword 0x2000
        push dword 0xFFF0
        push dword FLAG_VM | 2
        push dword V86_SEGMENT
        push dword 0x10000
        catch .iretv_far
.iretv_far_at:
        iretd
.iretv_far:
        want_fault GP, 0, .iretv_far_at
        mov esp, edi

; --- SYSENTER and SYSEXIT
        xor eax, eax
        xor edx, edx
        mov ecx, 0x174
        wrmsr
        faults "GP SYSENTER without CS", GP, 0, sysenter
        faults "GP SYSEXIT without CS", GP, 0, sysexit
        mov eax, 0x10000        ; bits 15:2 count
        wrmsr
        faults "GP SYSENTER, CS bits 15:2", GP, 0, sysenter
        mov eax, CODE0 + 3      ; RPL is ignored
        wrmsr
        mov ecx, 0x175
        mov eax, STACK_INNER
        wrmsr
        mov ecx, 0x176
        mov eax, capture
        wrmsr
        subject "SYSENTER"
        mov dword [ring3_flags], FLAG_IF | 2
        catch .sysenter
        enter_ring3 .sysenter_at
.sysenter_at:
        sysenter
.sysenter:
        mov dword [ring3_flags], 2
        want [captured.cs], CODE0
        want [captured.ss], DATA0
        want [captured.esp], STACK_INNER
        want [captured.eflags], 2
        subject "SYSENTER from V86"
        catch .sysenterv
        enter_v86 .sysenterv_at
        bits 16
.sysenterv_at:
        sysenter
        bits 32
.sysenterv:
        want [captured.cs], CODE0
        want [captured.eflags], FLAG_IOPL3 | 2
        subject "SYSEXIT"
        catch .sysexit
        mov edx, .sysexit_to
        mov ecx, STACK3 - 64
        sysexit
.sysexit_to:
        mov eax, cs
        mov ebx, ss
        mov esi, esp
        int LEAVE_VECTOR
.sysexit:
        want eax, CODE3
        want ebx, DATA3
        want esi, STACK3 - 64
        ret

.far_function:
        retf
        bits 16
.function_16:
        mov ecx, 0x1234
        o32 retf
        bits 32
        kernel_end
