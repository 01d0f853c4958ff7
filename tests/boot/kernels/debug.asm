; Debug exceptions: single steps, code, data and I/O breakpoints, RF, GD, the shadows of STI and MOV SS, HLT. SDM vol. 3,
; chapter 17 (debug), 6.8.3 (shadows).
        %include "kernel.inc"

; DR6 without its fixed bits; cleared afterwards.
%macro want_dr6 1
        mov eax, [record.dr6]
        and eax, 0xE00F
        want eax, %1
        xor eax, eax
        mov dr6, eax
%endmacro

%macro set_tf 0
        push dword FLAG_TF | 2
        popfd                   ; the instruction after this one is the first that traps
%endmacro

        kernel_begin
        mov eax, cr4
        or eax, 8               ; DE
        mov cr4, eax
        xor eax, eax
        mov dr6, eax

        subject "DR6, DR7 fixed bits"
        mov eax, dr6
        want eax, 0xFFFF0FF0
        mov eax, dr7
        want eax, 0x400
        mov eax, 0xD800
        mov dr7, eax
        mov eax, dr7
        want eax, 0x400
        faults "UD dr4 with DE", UD, NOERR, mov eax, dr4
        mov eax, cr4
        and eax, ~8
        mov cr4, eax
        subject "DR4 without DE is DR6"
        db 0x0F, 0x21, 0xE0     ; mov eax, dr4
        want eax, 0xFFFF0FF0
        mov eax, cr4
        or eax, 8
        mov cr4, eax

; --- Single step
        subject "TF"
        catch .tf
        set_tf
        nop
.tf_at: nop
.tf:    want_fault DB_, NOERR, .tf_at
        want_dr6 0x4000
        subject "TF: saved flags"
        want [record.eflags], FLAG_TF | 2
        subject "TF on a taken jump"
        catch .tf_jump
        set_tf
        jmp .tf_jump_to
        nop
.tf_jump_to:
        nop
.tf_jump:
        want_fault DB_, NOERR, .tf_jump_to
        subject "TF on POPF that clears it"
        catch .tf_popf
        push dword 2
        set_tf
        popfd
.tf_popf_at:
        nop
.tf_popf:
        want_fault DB_, NOERR, .tf_popf_at
        subject "TF on an instruction that faults"
        xor eax, eax
        mov dr6, eax
        catch .tf_fault
        set_tf
.tf_fault_at:
        ud2
.tf_fault:
        want_fault UD, NOERR, .tf_fault_at
        want_dr6 0
        ; INT n clears TF: its handler is not stepped.
        subject "TF on INT n"
        idt_gate 0x31, CODE0, capture, A_INT
        catch .tf_int
        set_tf
.tf_int_at:
        int 0x31
.tf_int:
        want [record.vector], CAPTURED
        want [captured.stack], .tf_int_at + 2
        want [captured.stack + 8], FLAG_TF | 2
        subject "TF on INTO not taken"
        catch .tf_into
        set_tf
        into
.tf_into_at:
        nop
.tf_into:
        want_fault DB_, NOERR, .tf_into_at
        subject "TF on MOV SS: after the next instruction"
        mov bx, ss
        catch .tf_ss
        set_tf
        mov ss, bx
        nop
.tf_ss_at:
        nop
.tf_ss: want_fault DB_, NOERR, .tf_ss_at
        subject "TF on STI: at once"
        catch .tf_sti
        set_tf
        sti
.tf_sti_at:
        nop
        nop
.tf_sti:
        want_fault DB_, NOERR, .tf_sti_at
        subject "TF on IRET that sets it: after the next instruction"
        catch .tf_iret
        push dword FLAG_TF | 2
        push dword CODE0
        push dword .tf_iret_to
        iretd
.tf_iret_to:
        nop
.tf_iret_at:
        nop
.tf_iret:
        want_fault DB_, NOERR, .tf_iret_at
        subject "TF on a repeated instruction: after each element"
        mov ecx, 5
        mov edi, SCRATCH
        catch .tf_rep
        set_tf
.tf_rep_at:
        rep stosb
.tf_rep:
        want_fault DB_, NOERR, .tf_rep_at
        want ecx, 4
        want edi, SCRATCH + 1
        subject "TF on the last element"
        mov ecx, 1
        mov edi, SCRATCH
        catch .tf_last
        set_tf
        rep stosb
.tf_last_at:
        nop
.tf_last:
        want_fault DB_, NOERR, .tf_last_at
        want ecx, 0
        subject "TF in ring 3"
        mov dword [ring3_flags], FLAG_TF | 2
        catch .tf3
        enter_ring3 .tf3_to
.tf3_to:
        nop
.tf3_at:
        nop
.tf3:   want_fault DB_, NOERR, .tf3_at
        mov dword [ring3_flags], 2
        subject "TF in V86"
        mov dword [v86_flags], FLAG_VM | FLAG_TF | 2
        catch .tfv
        enter_v86 .tfv_to
        bits 16
.tfv_to:
        nop
.tfv_at:
        nop
        bits 32
.tfv:   want_fault DB_, NOERR, .tfv_at - V86_BASE
        want_dr6 0x4000

; --- Code breakpoints
        subject "code breakpoint"
        mov eax, .code_at
        mov dr0, eax
        mov eax, 0x402          ; G0
        mov dr7, eax
        xor edx, edx
        catch .code
        nop
.code_at:
        inc edx
.code:  want_fault DB_, NOERR, .code_at
        want edx, 0
        want_dr6 1
        subject "code breakpoint: RF is not saved"
        mov eax, [record.eflags]
        and eax, FLAG_RF
        want eax, 0
        subject "RF passes a code breakpoint once"
        xor edx, edx
        catch .rf
        push dword FLAG_RF | 2
        push dword CODE0
        push dword .code_at
        ; The instruction there is executed and goes on to the checks above; so another breakpoint stands behind it.
        mov eax, .code
        mov dr1, eax
        mov eax, 0x40A
        mov dr7, eax
        iretd
.rf:    want_fault DB_, NOERR, .code
        want edx, 1
        want_dr6 2
        subject "code breakpoint, linear address of another base"
        descriptor FREE, 0x1000, 0xFFFFF, A_CODE, F_BIG | F_PAGES
        mov eax, .based_at
        mov dr3, eax
        mov eax, 0x480          ; G3
        mov dr7, eax
        catch .based
        push dword FREE
        push dword .based_at - 0x1000
        retf
.based_at:
        nop
.based: want_fault DB_, NOERR, .based_at - 0x1000
        want_dr6 8

; --- Data breakpoints
%macro data_breakpoint 2 ; address, DR7
        mov eax, %1
        mov dr0, eax
        mov eax, %2
        mov dr7, eax
%endmacro
        subject "write breakpoint, byte"
        data_breakpoint SCRATCH + 2, 0x00010402
        catch .write
        mov [SCRATCH], eax      ; covers it
.write_at:
        nop
.write: want_fault DB_, NOERR, .write_at
        want_dr6 1
        data_breakpoint SCRATCH + 2, 0x00010402
        succeeds "write breakpoint: read", mov eax, [SCRATCH]
        data_breakpoint SCRATCH + 2, 0x00010402
        succeeds "write breakpoint: neighbours", mov [SCRATCH], ax
        data_breakpoint SCRATCH + 2, 0x00010402
        succeeds "write breakpoint: other neighbours", mov [SCRATCH + 3], eax
        subject "access breakpoint, dword: read of a byte"
        data_breakpoint SCRATCH + 4, 0x000F0402
        catch .read
        mov al, [SCRATCH + 7]
.read_at:
        nop
.read:  want_fault DB_, NOERR, .read_at
        want_dr6 1
        subject "access breakpoint: push"
        lea ebx, [esp - 4]
        data_breakpoint ebx, 0x000F0402
        catch .push
        push eax
.push_at:
        nop
.push:  want_fault DB_, NOERR, .push_at
        want_dr6 1
        subject "write breakpoint: read-modify-write"
        data_breakpoint SCRATCH + 4, 0x000D0402
        catch .modify
        inc dword [SCRATCH + 4]
.modify_at:
        nop
.modify:
        want_fault DB_, NOERR, .modify_at
        want_dr6 1
        subject "write breakpoint in a repeated instruction"
        mov ecx, 8
        mov edi, SCRATCH
        data_breakpoint SCRATCH + 4, 0x00010402
        catch .rep
        mov al, 1
.rep_at:
        rep stosb
.rep:   want_fault DB_, NOERR, .rep_at
        want ecx, 3
        want edi, SCRATCH + 5
        want_dr6 1
        subject "disabled breakpoint"
        data_breakpoint SCRATCH + 4, 0x000D0400
        succeeds "disabled breakpoint", mov [SCRATCH + 4], eax
        subject "data breakpoint on MOV SS: after the next instruction"
        mov word [SCRATCH + 8], DATA0
        data_breakpoint SCRATCH + 8, 0x00070402
        catch .ss
        mov ss, [SCRATCH + 8]
        nop
.ss_at: nop
.ss:    want_fault DB_, NOERR, .ss_at
        want_dr6 1
        subject "single step and data breakpoint together"
        data_breakpoint SCRATCH + 8, 0x00070402
        catch .both
        set_tf
        mov al, [SCRATCH + 8]
.both_at:
        nop
.both:  want_fault DB_, NOERR, .both_at
        want_dr6 0x4001

; --- I/O breakpoints, with CR4.DE
        subject "I/O breakpoint"
        data_breakpoint 0x61, 0x00020402
        catch .io
        in al, 0x61
.io_at: nop
.io:    want_fault DB_, NOERR, .io_at
        want_dr6 1
        data_breakpoint 0x61, 0x00020402
        succeeds "I/O breakpoint: other port", in al, 0x64
        xor eax, eax
        mov dr7, eax

; --- General detection
        subject "GD"
        mov eax, 0x2400
        mov dr7, eax
        catch .gd
.gd_at: mov eax, dr0
.gd:    want_fault DB_, NOERR, .gd_at
        want_dr6 0x2000
        subject "GD is cleared"
        want [record.dr7], 0x400
        subject "INT1 sets nothing in DR6"
        catch .icebp
        db 0xF1
.icebp: want_dr6 0
        subject "a new #DB clears B0..B3 of the last, nothing else"
        data_breakpoint SCRATCH + 8, 0x00070402
        mov eax, 0x800E
        mov dr6, eax
        catch .sticky
        mov [SCRATCH + 8], al
.sticky:
        want_dr6 0x8001

; --- After a load of SS
        subject "code breakpoint after MOV SS: none"
        mov eax, .quiet
        mov dr0, eax
        mov eax, 0x402
        mov dr7, eax
        mov bx, ss
        catch .loud
        mov ss, bx
.quiet: nop
        int LEAVE_VECTOR
.loud:  want_fault LEAVE_VECTOR, NOERR, .quiet + 3
        xor eax, eax
        mov dr7, eax
        mov dr6, eax
        subject "TF on MOV SS, then INT1: no single step"
        catch .tf_int1
        set_tf
        mov ss, bx
        db 0xF1
.tf_int1_at:
        nop
.tf_int1:
        want_fault DB_, NOERR, .tf_int1_at
        want_dr6 0
        subject "TF on MOV SS, then GD"
        mov eax, 0x2400
        mov dr7, eax
        catch .tf_gd
        set_tf
        mov ss, bx
.tf_gd_at:
        mov eax, dr0
.tf_gd: want_fault DB_, NOERR, .tf_gd_at
        want_dr6 0x2000
        subject "data breakpoint on MOV SS, then INT1: one #DB"
        mov word [SCRATCH + 8], DATA0
        data_breakpoint SCRATCH + 8, 0x00070402
        catch .ss_int1
        mov ss, [SCRATCH + 8]
        db 0xF1
.ss_int1_at:
        nop
.ss_int1:
        want_fault DB_, NOERR, .ss_int1_at
        want_dr6 1
        xor eax, eax
        mov dr7, eax
        subject "TF on HLT"
        catch .tf_hlt
        set_tf
        hlt
.tf_hlt_at:
        nop
.tf_hlt:
        want_fault DB_, NOERR, .tf_hlt_at
        ret
        kernel_end
