; Code that changes under the CPU: the next instruction, the same block, another page, another alias, by REP, by stack
; pushes, by DMA; and code at page ends. SDM vol. 3, 8.1.3 "Handling Self- and Cross-Modifying Code" (a store to code
; takes effect at the latest at the next jump; on the CPUs modelled here, at once).
        %include "kernel.inc"

ALIAS           equ 0x800000
IDE_FUNCTION    equ 0x80000900          ; bus 0, device 1, function 1

        kernel_begin
        subject "the next instruction"
        mov ecx, 3
        xor ebx, ebx
.again: mov byte [.next + 1], cl
.next:  mov al, 0x55
        movzx eax, al
        shl ebx, 4
        or ebx, eax
        loop .again
        want ebx, 0x321

        subject "an instruction later in the block"
        mov ecx, 3
        xor ebx, ebx
.later_again:
        mov dword [.later + 1], ecx
        nop
        nop
.later: mov eax, 0x55555555
        shl ebx, 4
        or ebx, eax
        loop .later_again
        want ebx, 0x321

        subject "an instruction becomes another one"
        mov byte [.becomes], 0x90
        mov eax, 1
        call .becomes
        want eax, 1
        mov byte [.becomes], 0x40       ; INC EAX
        call .becomes
        want eax, 2

        subject "a jump behind changes direction"
        mov byte [.jump + 1], .jump_b - .jump - 2
        call .jump
        want eax, 2
        mov byte [.jump + 1], 0
        call .jump
        want eax, 1

        subject "another page"
        mov edi, SCRATCH
        mov dword [edi], 0x00C301B0     ; MOV AL, 1; RET
        call edi
        mov bl, al
        mov byte [edi + 1], 2
        call edi
        mov bh, al
        movzx ebx, bx
        want ebx, 0x0201

        subject "a loop in another page that changes itself"
        mov esi, .self
        mov edi, SCRATCH + 0x1000
        mov ecx, .self_end - .self
        cld
        rep movsb
        mov ecx, 100
        xor eax, eax
        mov edi, SCRATCH + 0x1000
        call edi
        want eax, 5050

        subject "REP MOVS over code"
        mov ebx, 0
        mov edx, 4
.movs_again:
        mov esi, .image_1
        test dl, 1
        jz .movs
        mov esi, .image_2
.movs:  mov edi, SCRATCH + 0x2000
        mov ecx, 6
        rep movsb
        mov edi, SCRATCH + 0x2000
        call edi
        add ebx, eax
        dec edx
        jnz .movs_again
        want ebx, 6

        subject "REP STOS over itself"
        ; The bytes behind become NOPs while it runs.
        mov edi, .over
        mov ecx, 5
        mov al, 0x90
        mov ebx, 7
        rep stosb
.over:  mov ebx, 0x12345678
        want ebx, 7

        subject "a push over the next instruction"
        mov [saved_esp], esp
        xor ebx, ebx
        mov esp, .pushed + 4
        push dword 0x904343B3   ; MOV BL, 43h; INC EBX; NOP
.pushed:
        times 4 inc ecx
        mov esp, [saved_esp]
        want ebx, 0x44

        subject "an instruction over a page boundary, second half changes"
        mov edi, SCRATCH + 0x3FFE
        mov byte [edi], 0xB8            ; MOV EAX, imm32; RET
        mov dword [edi + 1], 0x11111111
        mov byte [edi + 5], 0xC3
        call edi
        mov ebx, eax
        mov dword [edi + 2], 0xC3222222
        call edi
        add ebx, eax
        want ebx, 0x33333322
        mov byte [edi + 1], 0x44
        call edi
        want eax, 0x22222244

        subject "many versions of one place"
        mov ecx, 3000
        xor ebx, ebx
        mov edi, SCRATCH + 0x5000
        mov byte [edi], 0xB8
        mov byte [edi + 5], 0xC3
.many:  mov [edi + 1], ecx
        call edi
        add ebx, eax
        loop .many
        want ebx, 3000 * 3001 / 2

        subject "code reached at two offsets"
        ; A jump into the middle of an instruction.
        mov edi, SCRATCH + 0x6000
        mov dword [edi], 0xC34040B0     ; B0 40: MOV AL, 40h; 40: INC EAX; C3: RET
        xor eax, eax
        call edi
        want eax, 0x41
        lea edx, [edi + 1]
        xor eax, eax
        call edx
        want eax, 2
        mov byte [edi + 1], 0x48        ; MOV AL, 48h | DEC EAX
        xor eax, eax
        call edx
        want eax, 0
        xor eax, eax
        call edi
        want eax, 0x49

        subject "16- and 32-bit code at one address"
        mov edi, 0x500
        mov dword [edi], 0x661234B8
        mov byte [edi + 4], 0xCB        ; 16-bit: MOV AX, 1234h; 66 CB: RETF of 32 bits
        mov byte [edi + 5], 0xC3        ; 32-bit: MOV EAX, CB661234h; RET
        xor eax, eax
        call edi
        want eax, 0xCB661234
        xor eax, eax
        call CODE16:0x500
        want eax, 0x1234
        xor eax, eax
        call edi
        want eax, 0xCB661234

        subject "by another linear address"
        mov dword [TABLES], 0x83        ; 4 MiB pages: 0, and again at 8 MiB
        mov dword [TABLES + 4], 0
        mov dword [TABLES + 8], 0x83
        mov eax, cr4
        or eax, 0x10
        mov cr4, eax
        mov eax, TABLES
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        mov ebx, 0
        mov ecx, 3
        mov esi, SCRATCH + 0x8000
        lea edi, [esi + ALIAS]
        mov byte [esi], 0xB8
        mov byte [esi + 5], 0xC3
.alias: mov [edi + 1], ecx
        call esi
        shl ebx, 4
        or ebx, eax
        lea eax, [ecx + 4]
        mov [esi + 1], eax
        call edi
        shl ebx, 4
        or ebx, eax
        loop .alias
        want ebx, 0x372615
        subject "the next instruction, by another linear address"
        xor eax, eax
        mov byte [.alias_next + 1 + ALIAS], 0x77
.alias_next:
        mov al, 0x55
        want eax, 0x77
        mov eax, cr0
        and eax, 0x7FFFFFFF
        mov cr0, eax

        subject "by bus-master DMA"
        mov dx, 0x3F6
        mov al, 2                       ; no interrupts
        out dx, al
        mov eax, IDE_FUNCTION | 4
        call read_pci
        or eax, 5                       ; I/O space, bus master
        out dx, eax
        mov eax, IDE_FUNCTION | 0x20
        call read_pci
        and eax, 0xFFF0
        mov [bus_master], eax
        xor ebx, ebx
        mov ecx, 4
.dma:   mov eax, (dma_image_1 - $$) / 512
        test cl, 1
        jz .dma_which
        inc eax
.dma_which:
        call read_sector
        call SCRATCH + 0xA000
        shl ebx, 4
        or ebx, eax
        loop .dma
        want ebx, 0x1212
        ret

.becomes:
        nop
        ret
.jump:  jmp short .jump_b
        mov eax, 1
        ret
.jump_b:
        mov eax, 2
        ret
.self:  add eax, 1                      ; 83 C0 ib: the byte grows
        inc byte [edi + 2]
        loop .self
        ret
.self_end:
.image_1:
        mov eax, 1
        ret
.image_2:
        mov eax, 2
        ret

; EAX: the function and register. Leaves EDX at the data port.
read_pci:
        mov dx, 0xCF8
        out dx, eax
        mov dx, 0xCFC
        in eax, dx
        ret

; Sector EAX of the boot disk, by READ DMA, to SCRATCH + A000h.
read_sector:
        pushad
        mov esi, eax
        mov dword [SCRATCH + 0xB000], SCRATCH + 0xA000
        mov dword [SCRATCH + 0xB004], 0x80000000 | 512
        mov edi, [bus_master]
        lea edx, [edi + 4]
        mov eax, SCRATCH + 0xB000
        out dx, eax
        lea edx, [edi + 2]
        mov al, 6                       ; clears "interrupt" and "error"
        out dx, al
        mov dx, 0x1F6
        mov al, 0xE0
        out dx, al
        mov dx, 0x1F2
        mov al, 1
        out dx, al
        inc edx
        mov eax, esi
        out dx, al
        inc edx
        shr eax, 8
        out dx, al
        inc edx
        xor eax, eax
        out dx, al
        mov dx, 0x1F7
        mov al, 0xC8
        out dx, al
        mov edx, edi
        mov al, 9                       ; start, to memory
        out dx, al
        lea edx, [edi + 2]
.wait:  in al, dx
        test al, 1                      ; active
        jnz .wait
        mov edx, edi
        xor eax, eax
        out dx, al
        mov dx, 0x1F7
        in al, dx
        popad
        ret

        align 4
saved_esp: dd 0
bus_master: dd 0
        times (512 - ($ - $$) % 512) % 512 db 0
dma_image_1:
        mov eax, 1
        ret
        times (512 - ($ - $$) % 512) % 512 db 0
        mov eax, 2
        ret
        kernel_end
