; Segmentation checks: limits, expand-down, types, rights when loading, LAR, LSL, VERR, VERW, ARPL, stack sizes and wraps,
; accessed bits, the I/O permission map, CPUID and MSRs, STI and MOV SS shadows. SDM vol. 3, 3.4 and chapter 5; vol. 1, 18.5.
        %include "kernel.inc"

PLAIN             equ FREE
OUTER           equ FREE + 0x08 + 3     ; data, DPL 3
CONFORMING      equ FREE + 0x10
LDT1            equ FREE + 0x18
CALL_GATE       equ FREE + 0x20
TASK_GATE       equ FREE + 0x28
INT_GATE        equ FREE + 0x30
TSS16           equ FREE + 0x38
READ_ONLY       equ FREE + 0x40
EXECUTE_ONLY    equ FREE + 0x48
NOT_PRESENT     equ FREE + 0x50
SMALL           equ FREE + 0x58

%macro load_es 5 ; SELECTOR, BASE, LIMIT, ACCESS, FLAGS
        descriptor %1, %2, %3, %4, %5
        mov ax, %1
        mov es, ax
%endmacro

        kernel_begin
; --- Limits
        load_es PLAIN, SCRATCH, 0x0FFF, A_DATA, F_BIG
        succeeds "last byte", mov al, [es:0xFFF]
        succeeds "last dword", mov eax, [es:0xFFC]
        faults "GP byte beyond", GP, 0, mov al, [es:0x1000]
        faults "GP word over the limit", GP, 0, mov ax, [es:0xFFF]
        faults "GP dword over the limit", GP, 0, mov eax, [es:0xFFD]
        faults "GP write over the limit", GP, 0, mov [es:0xFFD], eax
        faults "GP modify over the limit", GP, 0, inc dword [es:0xFFD]
        faults "GP offset 4G-1", GP, 0, mov al, [es:0xFFFFFFFF]
        faults "GP quadword over the limit", GP, 0, fld qword [es:0xFF9]
        faults "GP bound over the limit", GP, 0, bound eax, [es:0xFFC]
        mov edi, 0xFFE
        mov ecx, 4
        cld
        faults "GP REP STOS over the limit", GP, 0, rep es stosb
        subject "REP STOS stops at the limit"
        want edi, 0x1000
        want ecx, 2
        load_es PLAIN, 0, 0x00001, A_DATA, F_BIG | F_PAGES
        succeeds "pages: last byte", mov al, [es:0x1FFF]
        faults "GP pages: beyond", GP, 0, mov al, [es:0x2000]
        load_es PLAIN, 0, 0x0FFF, A_DATA_RO, F_BIG
        succeeds "read-only: read", mov al, [es:0]
        faults "GP read-only: write", GP, 0, mov [es:0], al
        faults "GP read-only: modify", GP, 0, inc byte [es:0]
        xor ecx, ecx
        succeeds "read-only: ARPL that changes nothing", arpl [es:0], cx
        faults "GP read-only: cmpxchg that fails", GP, 0, cmpxchg [es:0], ah
        load_es PLAIN, 0, 0x0FFF, A_CODE, F_BIG
        succeeds "code: read", mov al, [es:0]
        faults "GP code: write", GP, 0, mov [es:0], al
        faults "GP CS: write", GP, 0, mov [cs:0x500], al
        ; Expand-down: offsets above the limit.
        load_es PLAIN, SCRATCH, 0x0FFF, A_DATA_DOWN, F_BIG
        succeeds "down: first byte", mov al, [es:0x1000]
        faults "GP down: at the limit", GP, 0, mov al, [es:0x0FFF]
        faults "GP down: 0", GP, 0, mov al, [es:0]
        succeeds "down: beyond 64K", mov al, [es:0x10000]
        load_es PLAIN, SCRATCH, 0x0FFF, A_DATA_DOWN, 0
        succeeds "down 16: top", mov al, [es:0xFFFF]
        faults "GP down 16: word at the top", GP, 0, mov ax, [es:0xFFFF]
        faults "GP down 16: beyond 64K", GP, 0, mov al, [es:0x10000]
        load_es PLAIN, 0, 0xFFFFF, A_DATA_DOWN, F_BIG | F_PAGES
        faults "GP down with limit 4G: nothing", GP, 0, mov al, [es:0x12345678]
        ; Through SS: #SS, from 3, where the handler has a stack of its own.
        descriptor PLAIN + 3, SCRATCH, 0x0FFF, A_DATA | DPL3, F_BIG
%macro small_stack 4+ ; NAME, ESP, ERROR, INSTRUCTION
        subject %1
        catch %%resume
        push dword PLAIN + 3
        push dword %2
        push dword 2
        push dword CODE3
        push dword %%at
        iretd
%%at:   %4
        int LEAVE_VECTOR
%%resume:
        want_fault SS_, %3, %%at
        want [record.esp], %2
%endmacro
        small_stack "SS3 push below 0", 2, 0, push eax
        small_stack "SS3 push beyond", 0x1004, 0, push eax
        small_stack "SS3 pop beyond", 0xFFE, 0, pop eax
        small_stack "SS3 call", 0x1004, 0, call kernel_done
        small_stack "SS3 ret", 0xFFE, 0, ret
        small_stack "SS3 far ret", 0xFFA, 0, retf
        small_stack "SS3 iret", 0xFF6, 0, iretd
        small_stack "SS3 pushad", 0x10, 0, pushad
        small_stack "SS3 popad", 0xFF0, 0, popad
        small_stack "SS3 enter", 0x1008, 0, enter 4, 0
        mov ebp, 0xFFE
        small_stack "SS3 by EBP", 0x800, 0, mov eax, [ebp]

; --- Accessed bits
        subject "loading sets the accessed bit"
        descriptor PLAIN, 0, 0xFFFF, A_DATA, 0
        movzx eax, byte [gdt + PLAIN + 5]
        want eax, A_DATA
        mov ax, PLAIN
        mov es, ax
        movzx eax, byte [gdt + PLAIN + 5]
        want eax, A_DATA | 1
        descriptor PLAIN, 0, 0xFFFF, A_DATA, 0
        lar eax, [selector_seg]
        movzx eax, byte [gdt + PLAIN + 5]
        want eax, A_DATA

; --- LAR, LSL, VERR, VERW
        descriptor PLAIN, 0x12345678, 0xABCDE, A_DATA, F_BIG | F_PAGES
        descriptor OUTER, 0, 0x1234, A_DATA | DPL3, 0
        descriptor CONFORMING, 0, 0xFFFF, A_CODE_CONF, 0
        descriptor LDT1, 0, 0x77, A_LDT, 0
        gate CALL_GATE, CODE0, 0, A_CALL | DPL3, 0
        gate TASK_GATE, TSS_MAIN, 0, A_TASK | DPL3, 0
        gate INT_GATE, CODE0, 0, A_INT | DPL3, 0
        descriptor TSS16, 0, 0x2B, A_TSS16, 0
        descriptor READ_ONLY, 0, 0xFFFF, A_DATA_RO | DPL3, 0
        descriptor EXECUTE_ONLY, 0, 0xFFFF, A_CODE_XO | DPL3, 0
        descriptor NOT_PRESENT, 0, 0xFFFF, (A_DATA | DPL3) & 0x7F, 0
%macro try_lar 3 ; NAME, SELECTOR, RESULT (0: ZF clear)
        subject %1
        mov ecx, %2
        xor eax, eax
        lar eax, cx
        call zero_unless_visible
        and eax, 0x00F0FF00
        want eax, %3
%endmacro
%macro try_lsl 3 ; RESULT: -1 for ZF clear
        subject %1
        mov ecx, %2
        mov eax, -1
        lsl eax, cx
        want eax, %3
%endmacro
%macro try_verify 3 ; NAME, SELECTOR, 1 readable | 2 writable
        subject %1
        mov ecx, %2
        xor eax, eax
        verr cx
        setz al
        verw cx
        setz ah
        shl ah, 1
        or al, ah
        and eax, 0xFF
        want eax, %3
%endmacro
        try_lar "LAR data", PLAIN, 0x00C09200
        try_lar "LAR null", 0, 0
        try_lar "LAR outside", 0x7F8, 0
        try_lar "LAR no LDT", 0x0C, 0
        try_lar "LAR RPL 3", PLAIN + 3, 0
        try_lar "LAR conforming RPL 3", CONFORMING + 3, A_CODE_CONF << 8
        try_lar "LAR LDT", LDT1, A_LDT << 8
        try_lar "LAR call gate", CALL_GATE, (A_CALL | DPL3) << 8
        try_lar "LAR task gate", TASK_GATE, (A_TASK | DPL3) << 8
        try_lar "LAR interrupt gate", INT_GATE, 0
        try_lar "LAR 16-bit TSS", TSS16, A_TSS16 << 8
        try_lar "LAR busy TSS", TSS_MAIN, (A_TSS | 2) << 8
        try_lar "LAR not present", NOT_PRESENT, ((A_DATA | DPL3) & 0x7F) << 8
        subject "16-bit LAR"
        mov eax, 0xFFFFFFFF
        mov ecx, PLAIN
        o16 lar ax, cx
        want eax, 0xFFFF0000 | (A_DATA << 8)
        try_lsl "LSL pages", PLAIN, 0xABCDEFFF
        try_lsl "LSL bytes", OUTER, 0x1234
        try_lsl "LSL null", 0, -1
        try_lsl "LSL RPL 3", PLAIN + 3, -1
        try_lsl "LSL LDT", LDT1, 0x77
        try_lsl "LSL 16-bit TSS", TSS16, 0x2B
        try_lsl "LSL call gate", CALL_GATE, -1
        try_lsl "LSL task gate", TASK_GATE, -1
        try_verify "VERR VERW data", PLAIN, 3
        try_verify "VERR VERW null", 0, 0
        try_verify "VERR VERW RPL 3", PLAIN + 3, 0
        try_verify "VERR VERW outer", OUTER, 3
        try_verify "VERR VERW read-only", READ_ONLY, 1
        try_verify "VERR VERW code", CODE0, 1
        try_verify "VERR VERW execute-only", EXECUTE_ONLY, 0
        try_verify "VERR VERW conforming RPL 3", CONFORMING + 3, 1
        try_verify "VERR VERW LDT", LDT1, 0
        try_verify "VERR VERW gate", CALL_GATE, 0
        try_verify "VERR VERW not present", NOT_PRESENT, 3
        subject "3 LAR of DPL 0"
        mov eax, 77
        mov ecx, PLAIN
        catch .lar3
        enter_ring3 .lar3_at
.lar3_at:
        lar eax, cx
        setz dl
        int LEAVE_VECTOR
.lar3:  want eax, 77
        movzx edx, dl
        want edx, 0

        subject "ARPL raises"
        mov eax, 0xFFFF1230
        mov ecx, 0xFFFF0003
        arpl ax, cx
        setz dl
        movzx edx, dl
        want edx, 1
        want eax, 0xFFFF1233
        subject "ARPL keeps"
        mov eax, 0x1233
        mov ecx, 2
        arpl ax, cx
        setz dl
        movzx edx, dl
        want edx, 0
        want eax, 0x1233

; --- Loading with RPL and DPL
        mov ax, PLAIN + 3
        faults "GP mov es RPL 3, DPL 0", GP, PLAIN, mov es, ax
        mov ax, CONFORMING + 3
        succeeds "mov es conforming RPL 3", mov es, ax
        mov ax, OUTER
        succeeds "mov es DPL 3", mov es, ax
        mov ax, EXECUTE_ONLY
        faults "GP mov es execute-only", GP, EXECUTE_ONLY, mov es, ax
        mov ax, NOT_PRESENT
        faults "NP mov es", NP, NOT_PRESENT, mov es, ax
        mov ax, 3
        succeeds "mov es null RPL 3", mov es, ax
        mov ax, 3
        mov es, ax
        faults "GP use of null RPL 3", GP, 0, mov al, [es:0]
        subject "failing load keeps the register"
        mov ax, DATA0
        mov es, ax
        mov ax, CODE0
        mov fs, ax
        catch .keeps
        mov ax, 0x7F8
        mov fs, ax
.keeps: mov eax, fs
        want eax, CODE0
        subject "POP of a bad segment keeps ESP"
        push dword 0x7F8
        mov ebx, esp
        catch .pop_bad
        pop es
.pop_bad:
        sub ebx, esp
        want ebx, 0
        pop eax
        mov ax, DATA0
        mov es, ax
        subject "32-bit push of a segment writes 16 bits or clears"
        push dword 0
        pop eax
        push ds
        pop eax
        movzx eax, ax
        want eax, DATA0

; --- Stacks of 16 bits in 32-bit code, and wraps
        descriptor SMALL, SCRATCH, 0xFFFF, A_DATA, 0
        subject "16-bit stack: ESP's high half stays"
        mov ebx, esp
        mov ax, SMALL
        mov ss, ax
        mov esp, 0x12340002
        push word 0x5678
        mov edx, esp
        push word 0x9ABC        ; wraps to FFFEh
        mov ecx, esp
        mov ax, DATA0
        mov ss, ax
        mov esp, ebx
        want edx, 0x12340000
        want ecx, 0x1234FFFE
        movzx eax, word [SCRATCH + 0xFFFE]
        want eax, 0x9ABC
        movzx eax, word [SCRATCH]
        want eax, 0x5678
        subject "16-bit stack: 32-bit ENTER"
        mov ax, SMALL
        mov ss, ax
        mov esp, 0x12340010
        enter 4, 1
        mov ecx, ebp
        mov edx, esp
        mov ax, DATA0
        mov ss, ax
        mov esp, ebx
        want ecx, 0x1234000C
        want edx, 0x12340004
        subject "16-bit stack: pop wraps"
        mov ax, SMALL
        mov ss, ax
        mov esp, 0x1234FFFE
        pop dx
        mov ecx, esp
        mov ax, DATA0
        mov ss, ax
        mov esp, ebx
        want ecx, 0x12340000
        movzx edx, dx
        want edx, 0x9ABC
        subject "16-bit addresses wrap"
        mov dword [0x500], 0x11223344
        mov bx, 0xFFFF
        mov si, 0x0501
        a16 mov eax, [bx + si]
        want eax, 0x11223344
        a16 lea eax, [bx + si]
        want eax, 0x500
        subject "32-bit addresses wrap"
        mov ebx, 0xFFFFFFFF
        mov eax, [ebx + 0x501]
        want eax, 0x11223344

; --- I/O permission map
        and byte [tss_main_map + 0x61 / 8], ~(1 << (0x61 % 8))
        ring3_succeeds "3 port 61h permitted", in al, 0x61
        ring3_faults "GP3 port 60h", GP, 0, in al, 0x60
        ring3_faults "GP3 word at 61h", GP, 0, in ax, 0x61
        and byte [tss_main_map + 0x62 / 8], ~(1 << (0x62 % 8))
        ring3_succeeds "3 word at 61h permitted", in ax, 0x61
        ring3_faults "GP3 dword at 61h", GP, 0, in eax, 0x61
        mov dword [v86_flags], FLAG_VM | 2
        v86_faults "GPv port 60h", GP, 0, in al, 0x60
        mov dword [v86_flags], FLAG_VM | FLAG_IOPL3 | 2
        v86_succeeds "v port 61h permitted", in al, 0x61
        ; The last byte of the map must lie within the limit, and one more.
        descriptor TSS_MAIN, tss_main, 0x68 + 0x61 / 8, A_TSS, 0
        mov ax, TSS_MAIN
        ltr ax
        ring3_faults "GP3 map ends with the port's byte", GP, 0, in al, 0x61
        descriptor TSS_MAIN, tss_main, 0x68 + 0x61 / 8 + 1, A_TSS, 0
        mov ax, TSS_MAIN
        ltr ax
        ring3_succeeds "3 map ends one byte later", in al, 0x61
        descriptor TSS_MAIN, tss_main, tss_main_end - tss_main - 1, A_TSS, 0
        mov ax, TSS_MAIN
        ltr ax
        mov word [tss_main + 0x66], 0xFFFF
        ring3_faults "GP3 no map", GP, 0, in al, 0x61
        mov word [tss_main + 0x66], 0x68

; --- Descriptor tables
        subject "SGDT, SIDT"
        sgdt [SCRATCH]
        movzx eax, word [SCRATCH]
        want eax, GDT_BYTES - 1
        want [SCRATCH + 2], gdt
        sidt [SCRATCH]
        want [SCRATCH + 2], idt
        subject "16-bit LGDT takes 24 bits"
        mov word [SCRATCH + 8], 0x7FF
        mov dword [SCRATCH + 10], 0xAB123456
        o16 lgdt [SCRATCH + 8]
        sgdt [SCRATCH]
        lgdt [gdt_pointer]
        want [SCRATCH + 2], 0x00123456
        subject "SMSW, LMSW"
        mov eax, cr0
        smsw ecx
        and eax, 0xFFFF
        and ecx, 0xFFFF
        sub eax, ecx
        want eax, 0
        mov ax, 8
        lmsw ax                 ; sets TS, cannot clear PE
        smsw eax
        and eax, 0xF
        want eax, 9
        clts

; --- CPUID and MSRs
        subject "CPUID leaf 0"
        xor eax, eax
        cpuid
        want ebx, 'Genu'
        want edx, 'ineI'
        want ecx, 'ntel'
        subject "EFLAGS.ID"
        push dword 1 << 21 | 2
        popfd
        pushfd
        pop eax
        want eax, 1 << 21 | 2
        push dword 2
        popfd
        subject "SYSENTER's MSRs"
        mov ecx, 0x174
        mov eax, 0x12345678
        xor edx, edx
        wrmsr
        xor eax, eax
        rdmsr
        want eax, 0x12345678
        mov ecx, 0x277
        mov eax, 0x02020202     ; no such memory type
        mov edx, eax
        faults "GP PAT", GP, 0, wrmsr
        mov eax, cr4
        or eax, 1 << 31
        faults "GP CR4 reserved bit", GP, 0, mov cr4, eax
        mov eax, 0x80000000
        faults "GP CR0 PG without PE", GP, 0, mov cr0, eax
        mov eax, cr0
        and eax, ~(1 << 30)
        or eax, 1 << 29
        faults "GP CR0 NW without CD", GP, 0, mov cr0, eax
        mov eax, cr4
        or eax, 4               ; TSD
        mov cr4, eax
        ring3_faults "GP3 RDTSC with TSD", GP, 0, rdtsc
        succeeds "RDTSC with TSD at 0", rdtsc
        mov eax, cr4
        and eax, ~4
        mov cr4, eax

; --- Interrupts: shadows, HLT
        ; The PIT's channel 0 through IRQ 0 at vector 20h.
        mov al, 0x11
        out 0x20, al
        mov al, 0x20
        out 0x21, al
        mov al, 4
        out 0x21, al
        mov al, 1
        out 0x21, al
        mov al, 0xFE
        out 0x21, al
        mov al, 0x34
        out 0x43, al
        mov al, 0xA9            ; 1193: a millisecond
        out 0x40, al
        mov al, 0x04
        out 0x40, al
        idt_gate 0x20, CODE0, timer, A_INT
        subject "STI; HLT waits for an interrupt"
        call wait_pending
        mov dword [timer_eip], 0
        sti
.hlt_at:
        hlt
.hlt_after:
        cli
        want [timer_eip], .hlt_after
        subject "STI's shadow: the interrupt comes one instruction later"
        call wait_pending
        sti
.sti_next:
        inc eax
.sti_then:
        nop
        cli
        want [timer_eip], .sti_then
        subject "STI; CLI lets nothing through"
        call wait_pending
        sti
        cli
        nop
        want [timer_eip], 0
        subject "second STI has no shadow"
        call wait_pending
        sti
        sti
.second_sti:
        nop
        cli
        want [timer_eip], .second_sti
        subject "MOV SS's shadow"
        call wait_pending
        mov ebx, ss
        push dword FLAG_IF | 2
        push dword CODE0
        push dword .iret_to
        iretd                   ; no shadow
.iret_to:
        nop
        cli
        want [timer_eip], .iret_to
        call wait_pending
        sti
        mov ss, bx
        nop
.mov_ss_then:
        nop
        cli
        want [timer_eip], .mov_ss_then
        subject "POPF has no shadow"
        call wait_pending
        push dword FLAG_IF | 2
        popfd
.popf_then:
        nop
        cli
        want [timer_eip], .popf_then
        mov al, 0xFF
        out 0x21, al
        ret

zero_unless_visible:
        jz .visible
        xor eax, eax
.visible:
        ret

; Waits until IRQ 0 is requested, with IF clear.
wait_pending:
        mov dword [timer_eip], 0
        mov al, 0x0A            ; read IRR
        out 0x20, al
.look:  in al, 0x20
        test al, 1
        jz .look
        ret

timer:  push eax
        mov eax, [esp + 4]
        mov [timer_eip], eax
        and dword [esp + 12], ~FLAG_IF
        mov al, 0x20
        out 0x20, al
        pop eax
        iretd

        align 4
timer_eip: dd 0
selector_seg: dw PLAIN
        kernel_end
