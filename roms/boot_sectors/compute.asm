; The benchmark's compute loop: flat 32-bit code without paging, a mix like compiled code: arithmetic,
; loads and stores over 64 KiB, a taken and a not always taken branch, a call. Each of ITERATIONS is 14 or 18 instructions.
%include "boot_sector.inc"
%ifndef ITERATIONS
%define ITERATIONS 20000000
%endif
table equ 0x100000

        boot_sector_begin
        cli
        in al, 0x92             ; A20
        or al, 2
        out 0x92, al
        lgdt [gdt_pointer]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp 0x08:protected

        bits 32
protected:
        mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, 0x7C00
        mov ebx, 0x2545F491     ; state of a xorshift generator
        mov ecx, ITERATIONS
        xor esi, esi
        align 16
iteration:
        mov eax, ebx
        shl eax, 13
        xor ebx, eax
        mov eax, ebx
        shr eax, 17
        xor ebx, eax
        movzx edx, bx
        and edx, 0xFFFC
        add esi, [table + edx]
        mov [table + edx], ebx
        test bl, 1
        jz even
        call rotate
even:
        dec ecx
        jnz iteration
        exit_with 16

rotate:
        rol esi, 5
        add esi, ebx
        ret

        align 8
gdt:
        dq 0
        dq 0x00CF9A000000FFFF   ; code, base 0, limit 4 GiB
        dq 0x00CF92000000FFFF   ; data
gdt_pointer:
        dw gdt_pointer - gdt - 1
        dd gdt
        boot_sector_end
