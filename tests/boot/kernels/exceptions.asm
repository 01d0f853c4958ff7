; Every exception that can be had without paging, from privilege 0, 3 and V86 mode: vector, error code, saved CS:EIP.
; SDM vol. 3, chapter 6; the instructions' own exceptions: vol. 2.
        %include "kernel.inc"
        kernel_begin

; --- Privilege 0
        xor ebx, ebx
        faults "DE div by 0", DE, NOERR, div ebx
        mov eax, 0x80000000
        cdq
        mov ebx, -1
        faults "DE idiv overflow", DE, NOERR, idiv ebx
        faults "DE aam 0", DE, NOERR, aam 0

        subject "BP int3"
        catch .int3
.int3_at:
        int3
.int3:  want_fault BP_, NOERR, .int3_at + 1
        subject "BP cd 03"
        catch .cd03
.cd03_at:
        db 0xCD, 3
.cd03:  want_fault BP_, NOERR, .cd03_at + 2
        subject "OF into"
        catch .into
        mov al, 0x7F
        inc al
.into_at:
        into
.into:  want_fault OF_, NOERR, .into_at + 1
        xor eax, eax
        succeeds "into without overflow", into
        subject "DB int1"
        catch .int1
.int1_at:
        db 0xF1
.int1:  want_fault DB_, NOERR, .int1_at + 1

        mov eax, 5
        succeeds "bound inside", bound eax, [bounds]
        mov eax, 11
        succeeds "bound at the limit", bound eax, [bounds]
        mov eax, 12
        faults "BR bound above", BR, NOERR, bound eax, [bounds]
        mov eax, -1
        faults "BR bound below", BR, NOERR, bound eax, [bounds]

        faults "UD ud2", UD, NOERR, ud2
        faults "UD mov cs", UD, NOERR, db 0x8E, 0xC8
        faults "UD lock nop", UD, NOERR, db 0xF0, 0x90
        faults "UD lock add register", UD, NOERR, db 0xF0, 0x01, 0xC0
        faults "UD lock cmp memory", UD, NOERR, db 0xF0, 0x39, 0x05, 0, 0, 4, 0
        faults "UD bound register", UD, NOERR, db 0x62, 0xC0
        faults "UD lds register", UD, NOERR, db 0xC5, 0xC0
        faults "UD lgdt register", UD, NOERR, db 0x0F, 0x01, 0xD0
        faults "UD far jump register", UD, NOERR, db 0xFF, 0xE8
        faults "UD mov cr1", UD, NOERR, db 0x0F, 0x22, 0xC8
        faults "UD FF /7", UD, NOERR, db 0xFF, 0xF8
        faults "GP 16 bytes", GP, 0, db 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90
        succeeds "15 bytes", db 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90

        subject "fault saves RF"
        catch .rf
        ud2
.rf:    mov eax, [record.eflags]
        and eax, FLAG_RF
        want eax, FLAG_RF
        subject "trap does not save RF"
        catch .no_rf
        int3
.no_rf: mov eax, [record.eflags]
        and eax, FLAG_RF
        want eax, 0

        mov eax, cr0
        or eax, 8               ; TS
        mov cr0, eax
        faults "NM fld1 with TS", NM, NOERR, fld1
        succeeds "wait with TS", wait
        mov eax, cr0
        or eax, 2               ; MP
        mov cr0, eax
        faults "NM wait with TS MP", NM, NOERR, wait
        clts
        mov eax, cr0
        or eax, 4               ; EM
        and eax, ~2
        mov cr0, eax
        faults "NM fld1 with EM", NM, NOERR, fld1
        succeeds "wait with EM", wait
        mov eax, cr0
        and eax, ~4
        mov cr0, eax
        succeeds "fninit", fninit

        xor eax, eax
        mov es, ax
        faults "GP null segment", GP, 0, mov eax, [es:0]
        mov ax, DATA0
        mov es, ax
        mov ax, 0x7F8
        faults "GP selector outside GDT", GP, 0x7F8, mov es, ax
        mov ax, 0x0C
        faults "GP no LDT", GP, 0x0C, mov es, ax
        mov ax, 0x0F
        faults "GP no LDT, RPL stripped", GP, 0x0C, mov fs, ax
        xor eax, eax
        faults "GP mov ss null", GP, 0, mov ss, ax
        mov ax, CODE0
        faults "GP mov ss code", GP, CODE0, mov ss, ax
        mov ax, DATA3
        faults "GP mov ss other DPL", GP, DATA3 & ~3, mov ss, ax
        mov ax, DATA0 + 1
        faults "GP mov ss other RPL", GP, DATA0, mov ss, ax
        mov ax, TSS_MAIN
        faults "GP mov ds system", GP, TSS_MAIN, mov ds, ax
        descriptor FREE, 0, 0xFFFFF, A_CODE_XO, F_BIG | F_PAGES
        mov ax, FREE
        faults "GP mov ds execute-only", GP, FREE, mov ds, ax
        descriptor FREE, 0, 0xFFFFF, A_DATA & 0x7F, F_BIG | F_PAGES
        faults "NP mov ds", NP, FREE, mov ds, ax
        faults "SS mov ss", SS_, FREE, mov ss, ax
        descriptor FREE, 0, 0xFFFFF, A_DATA_RO, F_BIG | F_PAGES
        faults "GP mov ss read-only", GP, FREE, mov ss, ax

        faults "GP int beyond IDT", GP, 0x50 * 8 + 2, int 0x50
        idt_gate 0x31, CODE0, capture, A_INT & 0x7F
        faults "NP int gate", NP, 0x31 * 8 + 2, int 0x31
        idt_gate 0x31, CODE0, capture, A_DATA
        faults "GP int not a gate", GP, 0x31 * 8 + 2, int 0x31
        idt_gate 0x31, CODE0, capture, A_CALL
        faults "GP int call gate", GP, 0x31 * 8 + 2, int 0x31
        idt_gate 0x31, 0, capture, A_INT
        faults "GP int null CS", GP, 0, int 0x31
        idt_gate 0x31, DATA0, capture, A_INT
        faults "GP int CS is data", GP, DATA0, int 0x31
        idt_gate 0x31, 0x7F8, capture, A_INT
        faults "GP int CS outside GDT", GP, 0x7F8, int 0x31
        idt_gate 0x31, CODE3, capture, A_INT
        faults "GP int CS less privileged", GP, CODE3 & ~3, int 0x31
        descriptor FREE, 0, 0xFFFFF, A_CODE & 0x7F, F_BIG | F_PAGES
        idt_gate 0x31, FREE, capture, A_INT
        faults "NP int CS", NP, FREE, int 0x31
        descriptor FREE, 0, 0xFF, A_CODE, F_BIG
        faults "GP int beyond CS", GP, 0, int 0x31
        ; An exception on the way of an exception: EXT; two contributory ones: #DF.
        idt_gate DE, CODE0, capture, A_INT & 0x7F
        xor ebx, ebx
        faults "DF DE gate", DF, 0, div ebx
        idt_gate UD, CODE0, capture, A_DATA
        faults "GP UD gate", GP, UD * 8 + 3, ud2
        idt_gate UD, FREE, capture, A_INT
        faults "GP beyond CS of UD gate", GP, 1, ud2
        idt_gate UD, DATA0, capture, A_INT
        faults "GP CS of UD gate is data", GP, DATA0 + 1, ud2
        idt_default UD
        idt_default DE
        ; UD is benign: the second one is handled.
        idt_gate UD, CODE0, capture, A_INT & 0x7F
        faults "NP UD gate", NP, UD * 8 + 3, ud2
        idt_default UD


; --- Privilege 3
        mov dword [ring3_flags], 2
        ring3_faults "GP3 cli", GP, 0, cli
        ring3_faults "GP3 sti", GP, 0, sti
        ring3_faults "GP3 hlt", GP, 0, hlt
        ring3_faults "GP3 in", GP, 0, in al, 0x60
        ring3_faults "GP3 out dx", GP, 0, out dx, eax
        ring3_faults "GP3 insb", GP, 0, insb
        ring3_faults "GP3 outsb", GP, 0, outsb
        ring3_faults "GP3 mov cr0", GP, 0, mov cr0, eax
        ring3_faults "GP3 mov from cr0", GP, 0, mov eax, cr0
        ring3_faults "GP3 mov dr7", GP, 0, mov dr7, eax
        ring3_faults "GP3 lgdt", GP, 0, lgdt [gdt_pointer]
        ring3_faults "GP3 lidt", GP, 0, lidt [idt_pointer]
        ring3_faults "GP3 lldt", GP, 0, lldt ax
        ring3_faults "GP3 ltr", GP, 0, ltr ax
        ring3_faults "GP3 lmsw", GP, 0, lmsw ax
        ring3_faults "GP3 clts", GP, 0, clts
        ring3_faults "GP3 invd", GP, 0, invd
        ring3_faults "GP3 wbinvd", GP, 0, wbinvd
        ring3_faults "GP3 invlpg", GP, 0, invlpg [0]
        ring3_faults "GP3 rdmsr", GP, 0, rdmsr
        ring3_faults "GP3 wrmsr", GP, 0, wrmsr
        ring3_faults "GP3 sysexit", GP, 0, sysexit
        ring3_succeeds "3 smsw", smsw eax
        ring3_succeeds "3 sgdt", sgdt [SCRATCH]
        ring3_succeeds "3 sidt", sidt [SCRATCH]
        ring3_succeeds "3 sldt", sldt eax
        ring3_succeeds "3 str", str eax
        ring3_succeeds "3 rdtsc", rdtsc
        ring3_succeeds "3 cpuid", cpuid
        xor ebx, ebx
        ring3_faults "DE3", DE, NOERR, div ebx
        ring3_faults "UD3", UD, NOERR, ud2
        ring3_faults "GP3 int of DPL 0", GP, UD * 8 + 2, int UD
        ring3_faults "GP3 int 13", GP, GP * 8 + 2, int GP
        mov ax, DATA0
        ring3_faults "GP3 mov ds DPL 0", GP, DATA0, mov ds, ax
        mov ax, DATA0 + 3
        ring3_faults "GP3 mov ss DPL 0", GP, DATA0, mov ss, ax
        ring3_faults "GP3 far jump DPL 0", GP, CODE0, jmp CODE0:0
        ring3_faults "GP3 far call DPL 0", GP, CODE0, call CODE0 + 3:0
        ring3_faults "GP3 far jump TSS", GP, TSS_MAIN, jmp TSS_MAIN:0

        subject "BP3"
        catch .bp3
        enter_ring3 .bp3_at
.bp3_at:
        int3
.bp3:   want_fault BP_, NOERR, .bp3_at + 1
        subject "BP3 saved SS"
        want dword [record.ss], DATA3
        subject "BP3 saved ESP"
        want dword [record.esp], STACK3
        subject "BP3 handler's ESP"
        want dword [record.handler_esp], STACK_INNER - 20
        subject "DB3 int1 ignores DPL"
        catch .icebp3
        enter_ring3 .icebp3_at
.icebp3_at:
        db 0xF1
.icebp3:
        want_fault DB_, NOERR, .icebp3_at + 1

        ; IOPL 3
        mov dword [ring3_flags], FLAG_IOPL3 | 2
        ring3_succeeds "3 cli with IOPL 3", cli
        ring3_succeeds "3 in with IOPL 3", in al, 0x61
        ring3_faults "GP3 hlt with IOPL 3", GP, 0, hlt
        subject "3 sti with IOPL 3"
        catch .sti3
        enter_ring3 .sti3_at
.sti3_at:
        sti
        int LEAVE_VECTOR
.sti3:  mov eax, [record.eflags]
        and eax, FLAG_IF
        want eax, FLAG_IF
        mov dword [ring3_flags], 2
        ; POPF at privilege 3, IOPL 0: neither IF nor IOPL change, and it does not fault.
        subject "3 popf"
        catch .popf3
        enter_ring3 .popf3_at
.popf3_at:
        push dword 0x3ED7 & ~FLAG_TF
        popfd
        int LEAVE_VECTOR
.popf3: mov eax, [record.eflags]
        want eax, 0x0CD7

        ; #AC: CR0.AM, EFLAGS.AC, privilege 3 only.
        mov eax, cr0
        or eax, 1 << 18
        mov cr0, eax
        mov dword [ring3_flags], FLAG_AC | 2
        ring3_faults "AC3 dword", AC, 0, mov eax, [SCRATCH + 1]
        ring3_faults "AC3 word", AC, 0, mov ax, [SCRATCH + 1]
        ring3_faults "AC3 write", AC, 0, mov [SCRATCH + 2], eax
        ring3_faults "AC3 modify", AC, 0, inc dword [SCRATCH + 2]
        ring3_succeeds "3 aligned", mov eax, [SCRATCH + 4]
        ring3_succeeds "3 byte", mov al, [SCRATCH + 1]
        push dword FLAG_AC | 2
        popfd
        succeeds "0 unaligned with AC", mov eax, [SCRATCH + 1]
        mov eax, cr0
        and eax, ~(1 << 18)
        mov cr0, eax
        ring3_succeeds "3 unaligned without AM", mov eax, [SCRATCH + 1]
        mov dword [ring3_flags], 2

; --- V86
        mov dword [v86_flags], FLAG_VM | 2
        v86_faults "GPv cli", GP, 0, cli
        v86_faults "GPv sti", GP, 0, sti
        v86_faults "GPv pushf", GP, 0, pushf
        v86_faults "GPv popf", GP, 0, popf
        v86_faults "GPv iret", GP, 0, iret
        v86_faults "GPv int", GP, 0, int LEAVE_VECTOR
        v86_faults "GPv int 3 by CD", GP, 0, db 0xCD, 3
        v86_faults "GPv hlt", GP, 0, hlt
        v86_faults "GPv in", GP, 0, in al, 0x60
        v86_faults "GPv mov cr0", GP, 0, mov eax, cr0
        v86_faults "GPv lgdt", GP, 0, lgdt [0]
        v86_faults "GPv clts", GP, 0, clts
        v86_faults "GPv lmsw", GP, 0, lmsw ax
        v86_faults "GPv rdmsr", GP, 0, rdmsr
        v86_faults "UDv arpl", UD, NOERR, arpl ax, ax
        v86_faults "UDv lar", UD, NOERR, lar ax, ax
        v86_faults "UDv lsl", UD, NOERR, lsl ax, ax
        v86_faults "UDv verr", UD, NOERR, verr ax
        v86_faults "UDv sldt", UD, NOERR, sldt ax
        v86_faults "UDv str", UD, NOERR, str ax
        v86_faults "UDv lldt", UD, NOERR, lldt ax
        v86_faults "UDv ltr", UD, NOERR, ltr ax
        v86_faults "UDv ud2", UD, NOERR, ud2
        xor ebx, ebx
        v86_faults "DEv", DE, NOERR, div bx
        v86_faults "GPv word at FFFF", GP, 0, mov ax, [0xFFFF]
        v86_faults "GPv dword at FFFD", GP, 0, mov eax, [0xFFFD]
        v86_faults "GPv beyond 64K", GP, 0, mov al, [dword 0x10000]
        mov ebp, 0xFFFF
        v86_faults "SSv word at FFFF", SS_, 0, mov ax, [bp]
        v86_faults "GPv jump beyond 64K", GP, 0, jmp dword 0x10000 + V86_BASE

        subject "BPv int3"
        catch .bpv
        enter_v86 .bpv_at
        bits 16
.bpv_at:
        int3
        bits 32
.bpv:   want_fault BP_, NOERR, .bpv_at + 1 - V86_BASE
        subject "BPv saved segments"
        want dword [record.es], V86_SEGMENT
        want dword [record.gs], V86_SEGMENT
        want dword [record.ss], (STACK3 - 0x10000) >> 4
        subject "BPv saved ESP"
        want dword [record.esp], 0xFFF0
        subject "BPv saved VM"
        mov eax, [record.eflags]
        and eax, FLAG_VM
        want eax, FLAG_VM
        subject "BPv handler's ESP"
        want dword [record.handler_esp], STACK_INNER - 36

        mov dword [v86_flags], FLAG_VM | FLAG_IOPL3 | 2
        v86_succeeds "v cli with IOPL 3", cli
        v86_succeeds "v pushf with IOPL 3", pushf
        v86_faults "GPv in with IOPL 3", GP, 0, in al, 0x61
        v86_faults "GPv int of DPL 0", GP, UD * 8 + 2, int UD
        v86_faults "GPv hlt with IOPL 3", GP, 0, hlt
        subject "v pushf with IOPL 3: value"
        catch .pushfv
        enter_v86 .pushfv_at
        bits 16
.pushfv_at:
        pushfd
        pop eax
        int LEAVE_VECTOR
        bits 32
.pushfv:
        want dword [record.eax], FLAG_IOPL3 | 2
        ; POPF and IRET in V86: IOPL and VM stay.
        subject "v popf with IOPL 3"
        catch .popfv
        enter_v86 .popfv_at
        bits 16
.popfv_at:
        push dword 0xED7 & ~FLAG_TF
        popfd
        int LEAVE_VECTOR
        bits 32
.popfv: mov eax, [record.eflags]
        want eax, FLAG_VM | FLAG_IOPL3 | (0xED7 & ~FLAG_TF)
        subject "v iret with IOPL 3"
        catch .iretv
        enter_v86 .iretv_at
        bits 16
.iretv_at:
        push word 0x0202
        push word V86_SEGMENT
        push word .iretv_to - V86_BASE
        iret
.iretv_to:
        int LEAVE_VECTOR
        bits 32
.iretv: want_fault LEAVE_VECTOR, NOERR, .iretv_to + 2 - V86_BASE
        mov eax, [record.eflags]
        want eax, FLAG_VM | FLAG_IOPL3 | 0x0202
        ; The gate must lead to privilege 0.
        idt_gate 0x31, CODE3, capture, A_INT | DPL3
        v86_faults "GPv int to CPL 3", GP, CODE3 & ~3, int 0x31
        descriptor FREE, 0, 0xFFFFF, A_CODE_CONF, F_BIG | F_PAGES
        idt_gate 0x31, FREE, capture, A_INT | DPL3
        v86_faults "GPv int to conforming", GP, FREE, int 0x31
        idt_default 0x31

        ; SYSENTER's MSRs, unknown MSRs.
        mov ecx, 0x12345678
        faults "GP rdmsr unknown", GP, 0, rdmsr
        faults "GP wrmsr unknown", GP, 0, wrmsr
        ret

bounds: dd 0, 11
        kernel_end
