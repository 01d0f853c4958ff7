; The local APIC: IPIs to itself, priorities, TPR, IRR and ISR, EOI, errors, the timer, LINT0, the MSR; and interrupts
; between the elements of a repeated instruction. SDM vol. 3, chapter 10 (APIC), and vol. 2, "REP".
        %include "kernel.inc"

APIC            equ 0xFEE00000
ID              equ APIC + 0x20
VERSION         equ APIC + 0x30
TPR             equ APIC + 0x80
PPR             equ APIC + 0xA0
EOI             equ APIC + 0xB0
LDR             equ APIC + 0xD0
DFR             equ APIC + 0xE0
SVR             equ APIC + 0xF0
ISR             equ APIC + 0x100
IRR             equ APIC + 0x200
ESR             equ APIC + 0x280
ICR             equ APIC + 0x300
ICR_HIGH        equ APIC + 0x310
LVT_TIMER       equ APIC + 0x320
LVT_LINT0       equ APIC + 0x350
LVT_ERROR       equ APIC + 0x370
INITIAL         equ APIC + 0x380
CURRENT         equ APIC + 0x390
DIVIDE          equ APIC + 0x3E0

MASKED          equ 0x10000
PERIODIC        equ 0x20000
TO_SELF         equ 0x40000     ; ICR: shorthands
TO_ALL          equ 0x80000
MSR_APIC_BASE   equ 0x1B

WIDE_IDT        equ SCRATCH + 0x10000   ; 256 gates
HANDLERS        equ SCRATCH + 0x11000   ; PUSH imm32; JMP rel32
HANDLER_BYTES   equ 16
BLOCK           equ 0x400000            ; for the long repetition
BLOCK_BYTES     equ 0x1000000

%macro apic_write 2
        mov dword [%1], %2
%endmacro
; Forgets what has come.
%macro forget 0
        mov dword [came.count], 0
%endmacro
; Lets through what waits.
%macro let 0
        sti
        nop
        nop
        cli
%endmacro
; want_came COUNT, VECTORS: the last four, the oldest in the upper bits.
%macro want_came 2
        want [came.count], %1
        want [came.vectors], %2
        mov dword [came.vectors], 0
        forget
%endmacro

        kernel_begin
        ; An IDT for every vector.
        mov esi, idt
        mov edi, WIDE_IDT
        mov ecx, 0x30 * 8 / 4
        rep movsd
        mov ebx, 0x30
.each:  imul edi, ebx, HANDLER_BYTES
        add edi, HANDLERS
        mov byte [edi], 0x68
        mov [edi + 1], ebx
        mov byte [edi + 5], 0xE9
        mov eax, note
        sub eax, edi
        sub eax, 10
        mov [edi + 6], eax
        mov eax, edi
        lea edi, [WIDE_IDT + ebx * 8]
        mov ecx, CODE0
        mov edx, A_INT << 8
        call write_gate
        inc ebx
        cmp ebx, 0x100
        jb .each
        lidt [wide_idt_pointer]

        subject "version, number of LVT entries"
        mov eax, [VERSION]
        want eax, 0x00050014
        apic_write SVR, 0x1FF
        apic_write TPR, 0

; --- IPIs to itself
        subject "IPI: shorthand self"
        apic_write ICR, TO_SELF | 0x51
        let
        want_came 1, 0x51
        subject "IPI: shorthand all"
        apic_write ICR, TO_ALL | 0x52
        let
        want_came 1, 0x52
        subject "IPI: physical destination"
        mov eax, [ID]
        mov [ICR_HIGH], eax
        apic_write ICR, 0x53
        let
        want_came 1, 0x53
        subject "IPI: physical destination that nobody has"
        apic_write ICR_HIGH, 0x0E000000
        apic_write ICR, 0x54
        let
        want_came 0, 0
        subject "IPI: logical destination, flat"
        apic_write DFR, 0xFFFFFFFF
        apic_write LDR, 0x02000000
        apic_write ICR_HIGH, 0x03000000
        apic_write ICR, 0x800 | 0x55
        let
        want_came 1, 0x55
        subject "IPI: another logical destination"
        apic_write ICR_HIGH, 0x04000000
        apic_write ICR, 0x800 | 0x56
        let
        want_came 0, 0
        subject "IPI: lowest priority among one"
        apic_write ICR_HIGH, 0x02000000
        apic_write ICR, 0x900 | 0x57
        let
        want_came 1, 0x57
        subject "IPI: NMI"
        catch .nmi
        apic_write ICR, TO_SELF | 0x400
        nop
        nop
        int LEAVE_VECTOR
.nmi:   want [record.vector], 2
        push dword 2
        push dword CODE0
        push dword .unblocked
        iretd
.unblocked:

; --- Waiting, in service, done
        subject "IRR while IF is clear"
        apic_write ICR, TO_SELF | 0x61
        nop
        want [IRR + 0x30], 2
        want [ISR + 0x30], 0
        subject "two of one vector are one"
        apic_write ICR, TO_SELF | 0x61
        let
        want_came 1, 0x61
        subject "IRR and ISR afterwards"
        want [IRR + 0x30], 0
        want [ISR + 0x30], 0
        subject "the highest vector first"
        apic_write ICR, TO_SELF | 0x51
        apic_write ICR, TO_SELF | 0x71
        apic_write ICR, TO_SELF | 0x62
        let
        let
        let
        want_came 3, 0x716251
        subject "in service: ISR, PPR"
        mov dword [keep], 1
        apic_write ICR, TO_SELF | 0x63
        let
        want_came 1, 0x63
        want [ISR + 0x30], 8
        want [PPR], 0x60
        subject "in service: the same class waits"
        apic_write ICR, TO_SELF | 0x6F
        apic_write ICR, TO_SELF | 0x51
        apic_write ICR, TO_SELF | 0x63
        let
        want_came 0, 0
        subject "in service: a higher class comes"
        mov dword [keep], 0
        apic_write ICR, TO_SELF | 0x81
        let
        want_came 1, 0x81
        subject "EOI lets the others through"
        apic_write EOI, 0
        let
        let
        let
        want_came 3, 0x6F6351
        subject "EOI with nothing in service"
        apic_write EOI, 0
        want [PPR], 0

; --- TPR
        subject "TPR holds its class and lower ones back"
        apic_write TPR, 0x65
        apic_write ICR, TO_SELF | 0x51
        apic_write ICR, TO_SELF | 0x6F
        apic_write ICR, TO_SELF | 0x70
        let
        want [PPR], 0x65
        want_came 1, 0x70
        subject "a lower TPR lets them through"
        apic_write TPR, 0x50
        let
        want_came 1, 0x6F
        apic_write TPR, 0
        let
        want_came 1, 0x51

; --- Errors
        subject "ESR: an illegal vector sent"
        apic_write ESR, 0
        apic_write LVT_ERROR, 0x45
        apic_write ICR, TO_SELF | 0x0F
        let
        want_came 1, 0x45
        apic_write ESR, 0
        want [ESR], 0x20
        subject "ESR: cleared by the next write"
        apic_write ESR, 0
        want [ESR], 0
        subject "ESR: a register that does not exist"
        mov eax, [APIC + 0x40]
        apic_write ESR, 0
        mov eax, [ESR]
        and eax, 0x80
        want eax, 0x80
        let
        forget
        mov dword [came.vectors], 0
        apic_write LVT_ERROR, MASKED | 0x45
        apic_write ESR, 0

; --- The timer
        subject "timer: no TSC deadline where CPUID has none"
        mov eax, 1
        cpuid
        and ecx, 1 << 24
        want ecx, 0
        apic_write LVT_TIMER, 0x40000 | MASKED
        mov eax, [LVT_TIMER]
        and eax, 0x40000
        want eax, 0
        apic_write DIVIDE, 0xB          ; by 1
        subject "timer: one shot"
        apic_write LVT_TIMER, 0x50
        apic_write INITIAL, 200000
        mov eax, [CURRENT]
        dec eax
        cmp eax, 200000
        sbb eax, eax
        want eax, -1                    ; 1 to 200000
        sti
        hlt
        cli
        want_came 1, 0x50
        want [CURRENT], 0
        mov ecx, 200000
        sti
        loop $
        cli
        want_came 0, 0
        subject "timer: masked"
        apic_write LVT_TIMER, MASKED | 0x50
        apic_write INITIAL, 1000
.counts_down:
        cmp dword [CURRENT], 0
        jne .counts_down
        let
        want_came 0, 0
        want [IRR + 0x20], 0
        subject "timer: periodic"
        apic_write LVT_TIMER, PERIODIC | 0x50
        apic_write INITIAL, 50000
        sti
.periods:
        hlt
        cmp dword [came.count], 5
        jb .periods
        cli
        mov eax, [CURRENT]
        dec eax
        cmp eax, 50000
        sbb eax, eax
        want eax, -1
        subject "timer: an initial count of 0 stops it"
        apic_write INITIAL, 0
        let                             ; what may still wait
        forget
        want [CURRENT], 0
        mov ecx, 200000
        sti
        loop $
        cli
        want [came.count], 0
        mov dword [came.vectors], 0
        subject "timer: DIVIDE by 128"
        apic_write LVT_TIMER, MASKED | 0x50
        apic_write INITIAL, 0xFFFFFFFF
        mov ecx, 100000
        loop $
        mov ebx, [CURRENT]
        apic_write DIVIDE, 0xA
        mov eax, [CURRENT]
        mov ecx, eax
        sub ebx, eax                    ; goes on from where it was
        cmp ebx, 10000000
        sbb edx, edx
        want edx, -1
        want [DIVIDE], 0xA
        apic_write INITIAL, 0
        apic_write DIVIDE, 0xB

; --- Between the elements of a repetition
        subject "an interrupt within REP STOSB"
        mov dword [came.eip], 0
        apic_write LVT_TIMER, 0x50
        mov edi, BLOCK + BLOCK_BYTES - 1
        mov ecx, BLOCK_BYTES
        mov al, 0x5A
        std
        apic_write INITIAL, 100000
        sti
.rep_at:
        rep stosb
        cli
        cld
        mov ebx, ecx
        mov esi, edi
        want [came.eip], .rep_at
        want ebx, 0
        want esi, BLOCK - 1
        mov eax, [came.ecx]
        dec eax
        cmp eax, BLOCK_BYTES - 1
        sbb eax, eax
        want eax, -1                    ; some elements done, some left
        mov edi, BLOCK
        mov ecx, BLOCK_BYTES
        mov al, 0x5A
        repe scasb
        sete al
        movzx eax, al
        want eax, 1
        forget
        mov dword [came.vectors], 0

; --- LINT0: the 8259's interrupts as ExtINT
        subject "LINT0: ExtINT"
        mov al, 0x11
        out 0x20, al
        mov al, 0x90
        out 0x21, al
        mov al, 4
        out 0x21, al
        mov al, 1
        out 0x21, al
        mov al, 0xFE
        out 0x21, al
        apic_write LVT_LINT0, 0x700
        call raise_irq0
        let
        want_came 1, 0x90
        want [ISR + 0x40], 0            ; nothing of the APIC's own is in service
        mov al, 0x20
        out 0x20, al
        subject "LINT0: masked"
        apic_write LVT_LINT0, MASKED | 0x700
        call raise_irq0
        let
        want_came 0, 0
        subject "LINT0: unmasked again"
        apic_write LVT_LINT0, 0x700
        let
        want_came 1, 0x90
        mov al, 0x20
        out 0x20, al
        mov al, 0xFF
        out 0x21, al

; --- Disabled
        subject "software disable masks the LVT"
        apic_write LVT_TIMER, 0x50
        apic_write SVR, 0xFF
        mov eax, [LVT_TIMER]
        want eax, MASKED | 0x50
        apic_write LVT_TIMER, 0x50
        mov eax, [LVT_TIMER]
        want eax, MASKED | 0x50
        apic_write ICR, TO_SELF | 0x51
        let
        want_came 0, 0
        apic_write SVR, 0x1FF
        subject "IA32_APIC_BASE: disable"
        mov eax, 1
        cpuid
        and edx, 0x200
        want edx, 0x200
        mov ecx, MSR_APIC_BASE
        rdmsr
        want eax, APIC | 0x900
        and eax, ~0x800
        wrmsr
        mov eax, 1
        cpuid
        and edx, 0x200
        want edx, 0
        mov ecx, MSR_APIC_BASE
        rdmsr
        or eax, 0x800
        wrmsr
        subject "IA32_APIC_BASE: enabled again, as after reset"
        want [SVR], 0xFF
        want [LVT_TIMER], MASKED
        mov ecx, MSR_APIC_BASE
        rdmsr
        or eax, 1
        faults "GP IA32_APIC_BASE: reserved bit", GP, 0, wrmsr
        lidt [idt_pointer]
        ret

; Makes the 8254's channel 0 raise IRQ 0, once, and waits until the 8259 has it.
raise_irq0:
        mov al, 0x30                    ; mode 0
        out 0x43, al
        mov al, 100
        out 0x40, al
        mov al, 0
        out 0x40, al
        mov al, 0x0A                    ; read IRR
        out 0x20, al
.wait:  in al, 0x20
        test al, 1
        jz .wait
        ret

; Notes the vector, EIP and ECX; EOI unless `keep`, or it is the 8259's.
note:
        push eax
        mov eax, [esp + 4]
        shl dword [came.vectors], 8
        or [came.vectors], eax
        inc dword [came.count]
        mov [came.ecx], ecx
        cmp eax, 0x90
        je .done
        mov eax, [esp + 8]
        mov [came.eip], eax
        cmp dword [keep], 0
        jne .done
        apic_write EOI, 0
.done:  pop eax
        add esp, 4
        iretd

        align 4
came:
.count: dd 0
.vectors: dd 0
.eip:   dd 0
.ecx:   dd 0
keep:   dd 0
        align 8
        dw 0
wide_idt_pointer:
        dw 256 * 8 - 1
        dd WIDE_IDT
        kernel_end
