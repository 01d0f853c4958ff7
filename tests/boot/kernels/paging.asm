; Paging: rights by P, R/W and U/S at both levels, CR0.WP, 4 MiB pages, PAE, NX, reserved bits, accessed and dirty bits,
; global pages, INVLPG, error codes and CR2. SDM vol. 3, chapter 4.
        %include "kernel.inc"

; The page under test: linear WINDOW, in a table of its own. Elsewhere the first 4 MiB are identity-mapped, for user too.
WINDOW          equ 0x00800000
DIRECTORY       equ TABLES
IDENTITY        equ TABLES + 0x1000     ; the table of the first 4 MiB
TABLE           equ TABLES + 0x2000     ; of WINDOW
POINTERS        equ TABLES + 0x4000     ; PAE: PDPTEs
PAE_DIRECTORY   equ TABLES + 0x5000
PAE_TABLE       equ TABLES + 0x6000
PAGE_A          equ 0x300000
PAGE_B          equ 0x301000

WINDOW_PDE      equ DIRECTORY + (WINDOW >> 22) * 4
WINDOW_PTE      equ TABLE
P equ 1
W equ 2
U equ 4
ACCESSED equ 0x20
DIRTY equ 0x40
LARGE equ 0x80
GLOBAL_ equ 0x100

%macro map 2 ; rights of the directory entry, of the table entry
        mov dword [WINDOW_PDE], TABLE | (%1)
        mov dword [WINDOW_PTE], PAGE_A | (%2)
        mov eax, cr3
        mov cr3, eax
%endmacro

; page_faults NAME, ERROR, ADDRESS, INSTRUCTION: at 0; and at 3.
%macro page_faults 4+
        faults %1, PF, %2, %4
        want [record.cr2], %3
%endmacro
%macro page_faults3 4+
        ring3_faults %1, PF, %2, %4
        want [record.cr2], %3
%endmacro

%macro set_wp 0
        mov eax, cr0
        or eax, 1 << 16
        mov cr0, eax
%endmacro
%macro clear_wp 0
        mov eax, cr0
        and eax, ~(1 << 16)
        mov cr0, eax
%endmacro

        kernel_begin
        call build_page_tables
        mov eax, DIRECTORY
        mov cr3, eax
        mov eax, cr0
        or eax, 1 << 31
        mov cr0, eax
        mov dword [PAGE_A], 0x0A0A0A0A
        mov dword [PAGE_B], 0x0B0B0B0B
        mov byte [PAGE_A + 8], 0xC3     ; RET
        mov byte [PAGE_B + 8], 0xC3

; --- Rights: every combination of W and U at both levels
        ; Bits of a result, from the least: reads at 0, writes at 0 without WP, writes at 0 with WP, reads at 3, writes
        ; at 3, fetches at 3.
%macro rights 4 ; NAME, PDE, PTE, expected
        subject %1
        map P | %2, P | %3
        call try_rights
        want ebx, %4
%endmacro
        rights "rights 0, 0", 0, 0, 0x03
        rights "rights 0, W", 0, W, 0x03
        rights "rights 0, U", 0, U, 0x03
        rights "rights 0, WU", 0, W | U, 0x03
        rights "rights W, 0", W, 0, 0x03
        rights "rights W, W", W, W, 0x07
        rights "rights W, U", W, U, 0x03
        rights "rights W, WU", W, W | U, 0x07
        rights "rights U, 0", U, 0, 0x03
        rights "rights U, W", U, W, 0x03
        rights "rights U, U", U, U, 0x2B
        rights "rights U, WU", U, W | U, 0x2B
        rights "rights WU, 0", W | U, 0, 0x03
        rights "rights WU, W", W | U, W, 0x07
        rights "rights WU, U", W | U, U, 0x2B
        rights "rights WU, WU", W | U, W | U, 0x3F

; --- Error codes and CR2
        map P | W | U, 0
        page_faults "PF read, not present", 0, WINDOW + 5, mov al, [WINDOW + 5]
        page_faults "PF write, not present", 2, WINDOW + 6, mov [WINDOW + 6], al
        page_faults "PF modify, not present", 2, WINDOW + 8, inc dword [WINDOW + 8]
        page_faults3 "PF3 read, not present", 4, WINDOW, mov al, [WINDOW]
        page_faults3 "PF3 write, not present", 6, WINDOW, mov [WINDOW], al
        map 0, P | W | U
        page_faults "PF read, no table", 0, WINDOW, mov al, [WINDOW]
        page_faults3 "PF3 write, no table", 6, WINDOW, mov [WINDOW], al
        map P | W, P | W
        page_faults3 "PF3 read, supervisor", 5, WINDOW, mov al, [WINDOW]
        page_faults3 "PF3 write, supervisor", 7, WINDOW, mov [WINDOW], al
        map P | U, P | U
        page_faults3 "PF3 write, read-only", 7, WINDOW, mov [WINDOW], al
        set_wp
        page_faults "PF write, read-only, WP", 3, WINDOW, mov [WINDOW], al
        page_faults "PF cmpxchg that fails, read-only, WP", 3, WINDOW, cmpxchg [WINDOW], ah
        clear_wp
        succeeds "write, read-only, no WP", mov [WINDOW], al
        subject "PF fetch, not present"
        map P | W | U, 0
        catch .fetch
        mov eax, WINDOW
        jmp eax
.fetch: want_fault PF, 0, WINDOW
        want [record.cr2], WINDOW
        subject "PF3 fetch, supervisor"
        map P | W, P | W
        catch .fetch3
        enter_ring3 WINDOW + 8
.fetch3:
        want_fault PF, 5, WINDOW + 8
        ; Crossing into the page: CR2 is where it begins.
        map P | W | U, 0
        page_faults "PF crossing read", 0, WINDOW, mov eax, [WINDOW - 2]
        page_faults "PF crossing write", 2, WINDOW, mov [WINDOW - 2], eax
        subject "crossing write changes nothing"
        mov dword [WINDOW - 4], 0x77777777
        catch .half
        mov dword [WINDOW - 2], 0
.half:  want [WINDOW - 4], 0x77777777
        subject "PF instruction crossing into the page"
        mov byte [WINDOW - 2], 0xB8     ; MOV EAX, imm32
        catch .cross
        mov eax, WINDOW - 2
        jmp eax
.cross: want_fault PF, 0, WINDOW - 2
        want [record.cr2], WINDOW
        subject "instruction that ends before the page"
        mov byte [WINDOW - 2], 0x90
        mov byte [WINDOW - 1], 0xC3
        mov eax, WINDOW - 2
        call eax
        want 1, 1
        subject "PF REP MOVS stops at the page"
        mov esi, SCRATCH
        mov edi, WINDOW - 8
        mov ecx, 4
        catch .movs
.movs_at:
        rep movsd
.movs:  want_fault PF, 2, .movs_at
        want ecx, 2
        want edi, WINDOW
        want esi, SCRATCH + 8

; --- A fault while the frame of an exception is pushed on the inner stack; a task takes it
        descriptor FREE, stack_task, 0x67, A_TSS, 0
        mov dword [tss_main + 0x1C], DIRECTORY
        map P | W | U, 0
%macro stack_faults 5+ ; NAME, VECTOR that the task takes, its ERROR, CR2, INSTRUCTION at 3
        subject %1
        idt_gate %2, FREE, 0, A_TASK
        mov dword [record.vector], %2
        call prepare_stack_task
        catch %%resume
        enter_ring3 %%at
%%at:   %5
%%resume:
        call leave_stack_task
        idt_default %2
        want_fault %2, %3, %%at
        want [record.cr2], %4
%endmacro
        stack_faults "PF while UD is delivered", PF, 2, WINDOW + 0xFC, ud2
        xor ebx, ebx
        stack_faults "PF while DE is delivered", PF, 2, WINDOW + 0xFC, div ebx
        stack_faults "DF: PF while PF is delivered", DF, 0, WINDOW + 0xFC, mov al, [WINDOW]
        mov dword [tss_main + 8], DATA3         ; a bad SS0: #TS
        stack_faults "DF: TS while PF is delivered", DF, 0, WINDOW + 4, mov al, [WINDOW + 4]
        stack_faults "TS while UD is delivered", TS, (DATA3 & ~3) | 1, WINDOW + 4, ud2
        stack_faults "DF: TS while GP is delivered", DF, 0, WINDOW + 4, hlt
        mov dword [tss_main + 4], STACK_INNER
        mov dword [tss_main + 8], DATA0

; --- Accessed and dirty bits
        subject "reading sets A in both"
        map P | W | U, P | W | U
        mov al, [WINDOW]
        mov eax, [WINDOW_PDE]
        and eax, 0xFFF
        want eax, P | W | U | ACCESSED
        mov eax, [WINDOW_PTE]
        and eax, 0xFFF
        want eax, P | W | U | ACCESSED
        subject "writing sets D"
        mov [WINDOW], al
        mov eax, [WINDOW_PDE]
        and eax, 0xFFF
        want eax, P | W | U | ACCESSED
        mov eax, [WINDOW_PTE]
        and eax, 0xFFF
        want eax, P | W | U | ACCESSED | DIRTY
        subject "first access is a write"
        map P | W | U, P | W | U
        or dword [WINDOW], 0
        mov eax, [WINDOW_PTE]
        and eax, 0xFFF
        want eax, P | W | U | ACCESSED | DIRTY
        subject "no D after a fault"
        map P | U, P | U
        catch .no_dirty
        enter_ring3 .no_dirty_at
.no_dirty_at:
        mov [WINDOW], al
.no_dirty:
        mov eax, [WINDOW_PTE]
        and eax, DIRTY
        want eax, 0

; --- TLB
        subject "CR3 load forgets"
        map P | W | U, P | W | U
        mov dword [PAGE_A], 0x0A0A0A0A
        want [WINDOW], 0x0A0A0A0A
        mov dword [WINDOW_PTE], PAGE_B | P | W | U
        mov eax, cr3
        mov cr3, eax
        want [WINDOW], 0x0B0B0B0B
        subject "INVLPG forgets"
        mov dword [WINDOW_PTE], PAGE_A | P | W | U
        invlpg [WINDOW + 0x123]
        want [WINDOW], 0x0A0A0A0A
        subject "a fault needs no INVLPG"
        mov dword [WINDOW_PTE], 0
        invlpg [WINDOW]
        catch .none
        mov al, [WINDOW]
.none:  mov dword [WINDOW_PTE], PAGE_A | P
        want [WINDOW], 0x0A0A0A0A
        mov dword [WINDOW_PTE], PAGE_A | P | W | U
        ring3_succeeds "raised rights need no INVLPG", mov [WINDOW + 16], al
        ; Global pages.
        mov eax, cr4
        or eax, 0x80            ; PGE
        mov cr4, eax
        subject "global page survives a CR3 load"
        mov dword [WINDOW_PTE], PAGE_A | P | W | U | GLOBAL_
        invlpg [WINDOW]
        want [WINDOW], 0x0A0A0A0A
        mov dword [WINDOW_PTE], PAGE_B | P | W | U | GLOBAL_
        mov eax, cr3
        mov cr3, eax
        want [WINDOW], 0x0A0A0A0A       ; (a CPU may forget it; this one and QEMU keep it)
        subject "INVLPG forgets a global page"
        invlpg [WINDOW]
        want [WINDOW], 0x0B0B0B0B
        subject "changing PGE forgets global pages"
        mov dword [WINDOW_PTE], PAGE_A | P | W | U
        mov eax, cr4
        and eax, ~0x80
        mov cr4, eax
        want [WINDOW], 0x0A0A0A0A
        ; The same code at another place after a CR3 load.
        subject "code of another page after a CR3 load"
        map P | W | U, P | W | U
        mov dword [PAGE_A + 16], 0xC301B0       ; MOV AL, 1; RET
        mov dword [PAGE_B + 16], 0xC302B0
        xor ebx, ebx
        mov ecx, 20
.alternate:
        mov edx, WINDOW + 16
        call edx
        movzx eax, al
        add ebx, eax
        xor dword [WINDOW_PTE], PAGE_A ^ PAGE_B
        mov eax, cr3
        mov cr3, eax
        loop .alternate
        want ebx, 30

; --- 4 MiB pages
        mov eax, cr4
        or eax, 0x10            ; PSE
        mov cr4, eax
        subject "4 MiB page"
        mov dword [WINDOW_PDE], LARGE | P | W | U
        mov eax, cr3
        mov cr3, eax
        want [WINDOW + PAGE_A], 0x0A0A0A0A
        mov [WINDOW + PAGE_A + 4], eax
        mov eax, [WINDOW_PDE]
        and eax, 0xFFF
        want eax, LARGE | P | W | U | ACCESSED | DIRTY
        subject "INVLPG forgets all of a 4 MiB page"
        mov al, [WINDOW]
        mov dword [WINDOW_PDE], 0
        invlpg [WINDOW]
        catch .large_gone
.large_at:
        mov al, [WINDOW + PAGE_A]
.large_gone:
        want_fault PF, 0, .large_at
        mov dword [WINDOW_PDE], LARGE | P | W | U | (1 << 21)
        page_faults "PF 4 MiB page, bit 21", 9, WINDOW, mov al, [WINDOW]
        mov dword [WINDOW_PDE], LARGE | P | W
        mov eax, cr3
        mov cr3, eax
        page_faults3 "PF3 4 MiB page, supervisor", 5, WINDOW, mov al, [WINDOW]
        subject "without PSE it is a table"
        mov dword [WINDOW_PDE], TABLE | LARGE | P | W | U
        mov dword [WINDOW_PTE], PAGE_B | P | W | U
        mov eax, cr4
        and eax, ~0x10
        mov cr4, eax
        want [WINDOW], 0x0B0B0B0B

; --- PAE
        mov eax, cr0
        and eax, ~(1 << 31)
        mov cr0, eax
        call build_pae_tables
        mov eax, cr4
        or eax, 0x20
        mov cr4, eax
        mov dword [POINTERS], PAE_DIRECTORY | P | 2     ; bit 1 is reserved
        mov eax, POINTERS
        mov cr3, eax
        mov eax, cr0
        or eax, 1 << 31
        faults "GP PDPTE reserved bit", GP, 0, mov cr0, eax
        mov dword [POINTERS], PAE_DIRECTORY | P
        mov eax, cr0
        or eax, 1 << 31
        mov cr0, eax
        subject "PAE: table"
        want [WINDOW], 0x0A0A0A0A
        subject "PAE: 2 MiB page"
        want [PAGE_B], 0x0B0B0B0B
        page_faults "PF PAE: no directory", 0, 0x40000000, mov al, [0x40000000]
        mov dword [PAE_TABLE + 4], 1 << 20              ; bit 52
        invlpg [WINDOW]
        page_faults "PF PAE: reserved bit", 9, WINDOW, mov al, [WINDOW]
        page_faults3 "PF3 PAE: reserved bit, write", 0xF, WINDOW, mov [WINDOW], al
        mov dword [PAE_TABLE + 4], 1 << 4               ; bit 36: beyond MAXPHYADDR
        invlpg [WINDOW]
        page_faults "PF PAE: beyond 36 bits", 9, WINDOW, mov al, [WINDOW]
        mov dword [PAE_TABLE + 4], 1 << 31              ; XD without EFER.NXE
        invlpg [WINDOW]
        page_faults "PF PAE: XD without NXE", 9, WINDOW, mov al, [WINDOW]
        mov dword [PAE_TABLE + 4], 0
        mov dword [PAE_DIRECTORY + (WINDOW >> 21) * 8], LARGE | P | W | U | 0x4000
        invlpg [WINDOW]
        page_faults "PF PAE: 2 MiB page, bit 14", 9, WINDOW, mov al, [WINDOW]
        mov dword [PAE_DIRECTORY + (WINDOW >> 21) * 8], PAE_TABLE | P | W | U
        invlpg [WINDOW]
        succeeds "PAE: again", mov al, [WINDOW]
        ; The PDPTEs are registers.
        subject "PDPTEs are registers"
        mov dword [POINTERS], 0
        invlpg [WINDOW]
        want [WINDOW], 0x0A0A0A0A
        mov dword [POINTERS], PAE_DIRECTORY | P
        mov dword [POINTERS + 8], 0x1E6 | P
        mov eax, cr3
        faults "GP mov cr3 PDPTE reserved bits", GP, 0, mov cr3, eax
        mov dword [POINTERS + 8], 0
        ; NX
        mov eax, 0x80000000
        cpuid
        cmp eax, 0x80000001
        jb .no_nx
        mov eax, 0x80000001
        cpuid
        bt edx, 20
        jnc .no_nx
        mov ecx, 0xC0000080
        rdmsr
        or eax, 0x800
        wrmsr
        mov dword [PAE_TABLE + 4], 1 << 31
        invlpg [WINDOW]
        succeeds "NX: read", mov al, [WINDOW]
        succeeds "NX: write", mov [WINDOW], al
        subject "PF NX: fetch"
        catch .nx
        mov eax, WINDOW
        jmp eax
.nx:    want_fault PF, 0x11, WINDOW
        want [record.cr2], WINDOW
        subject "PF3 NX: fetch"
        catch .nx3
        enter_ring3 WINDOW + 8
.nx3:   want_fault PF, 0x15, WINDOW + 8
        subject "PF NX: fetch, not present"
        and dword [PAE_TABLE], ~P
        invlpg [WINDOW]
        catch .nx_none
        mov eax, WINDOW
        jmp eax
.nx_none:
        want_fault PF, 0x10, WINDOW
        mov ecx, 0xC0000080
        mov eax, 1
        xor edx, edx
        faults "GP EFER without long mode", GP, 0, wrmsr
.no_nx:
        mov eax, cr0
        and eax, ~(1 << 31)
        mov cr0, eax
        ret


; EBX: which accesses to WINDOW succeed.
try_rights:
        xor ebx, ebx
        clear_wp
        mov edi, .read
        call .try0
        mov edi, .write
        call .try0
        set_wp
        mov edi, .write
        call .try0
        clear_wp
        mov edi, .read
        call .try3
        mov edi, .write
        call .try3
        mov edi, WINDOW + 8
        call .try3
        shr ebx, 26
        ret
.read:  mov al, [WINDOW]
        ret
.write: mov [WINDOW + 0x100], al
        ret
; Runs EDI; shifts 1 into EBX if it returned.
.try0:  catch .caught
        call edi
        int LEAVE_VECTOR
.try3:  catch .caught
        mov dword [STACK3 - 4], .leave3
        push dword DATA3
        push dword STACK3 - 4
        push dword 2
        push dword CODE3
        push edi
        mov eax, DATA3
        mov ds, ax
        iretd
.leave3:
        int LEAVE_VECTOR
.caught:
        shr ebx, 1
        cmp dword [record.vector], LEAVE_VECTOR
        jne .denied
        or ebx, 1 << 31
.denied:
        ret

; Makes the task ready; the main task's inner stack is where no page is.
prepare_stack_task:
        mov dword [tss_main + 4], WINDOW + 0x100
        mov dword [stack_task + 0x1C], DIRECTORY
        mov dword [stack_task + 0x20], stack_task_entry
        mov dword [stack_task + 0x24], 2
        mov dword [stack_task + 0x38], STACK_DF
        mov dword [stack_task + 0x48], DATA0
        mov dword [stack_task + 0x4C], CODE0
        mov dword [stack_task + 0x50], DATA0
        mov dword [stack_task + 0x54], DATA0
        mov byte [gdt + FREE + 5], A_TSS
        ret
stack_task_entry:
        pop dword [record.error]
        mov eax, [tss_main + 0x20]
        mov [record.eip], eax
        mov eax, cr2
        mov [record.cr2], eax
        jmp resume_test
leave_stack_task:
        mov byte [gdt + TSS_MAIN + 5], A_TSS
        mov ax, TSS_MAIN
        ltr ax
        clts
        ret

build_page_tables:
        cld
        mov edi, DIRECTORY
        mov ecx, 0x7000 / 4
        xor eax, eax
        rep stosd
        mov dword [DIRECTORY], IDENTITY | P | W | U
        mov dword [DIRECTORY + (WINDOW >> 22) * 4 - 4], TABLES + 0x3000 + (P | W | U)
        mov dword [TABLES + 0x3000 + 0xFFC], SCRATCH | P | W | U       ; the page before WINDOW
        mov edi, IDENTITY
        mov eax, P | W | U
        mov ecx, 1024
.page:  stosd
        add eax, 0x1000
        loop .page
        ret

build_pae_tables:
        mov edi, PAE_DIRECTORY
        mov ecx, 0x2000 / 4
        xor eax, eax
        rep stosd
        mov edi, POINTERS
        mov ecx, 8
        rep stosd
        mov dword [PAE_DIRECTORY], LARGE | P | W | U
        mov dword [PAE_DIRECTORY + 8], 0x200000 | LARGE | P | W | U
        mov dword [PAE_DIRECTORY + (WINDOW >> 21) * 8], PAE_TABLE | P | W | U
        mov dword [PAE_TABLE], PAGE_A | P | W | U
        ret

        align 4
stack_task: times 0x68 db 0
        kernel_end
