; Real mode: exceptions and where they return to, limits, wraps of addresses and stack, the A20 gate, "unreal" segments,
; returning to real mode, near branches that wrap. SDM vol. 3, chapter 20.
%define REAL_MODE_FIRST
        %include "kernel.inc"

; In real mode the handler at the vector leaves the vector, the saved IP and the frame's SP, and goes on at [resume].
%macro real_catch 1
        mov word [real_resume], %1
        mov [real_sp], sp
%endmacro
%macro real_faults 3+ ; NUMBER of the result, VECTOR, INSTRUCTION
        real_catch %%resume
%%at:   %3
        mov byte [real_vector], 0xFF
%%resume:
        mov byte [real_wanted_vector + %1], %2
        mov al, [real_vector]
        mov [real_got_vector + %1], al
        mov word [real_wanted_ip + 2 * (%1)], %%at
        mov ax, [real_ip]
        mov [real_got_ip + 2 * (%1)], ax
%endmacro
REAL_TESTS equ 12

        kernel_begin
        ; The results of real mode, and then the way back to it.
        xor edi, edi
.next:  subject "real mode exception: vector"
        movzx eax, byte [real_got_vector + edi]
        movzx ebx, byte [real_wanted_vector + edi]
        want eax, ebx
        subject "real mode exception: IP"
        movzx eax, word [real_got_ip + edi * 2]
        movzx ebx, word [real_wanted_ip + edi * 2]
        want eax, ebx
        inc edi
        cmp edi, REAL_TESTS
        jb .next
        subject "real mode: INT 60h frame"
        want [real_int_frame], (2 << 16) + 0
        subject "real mode: stack wraps"
        want [wrap_result], 0x0000FFFE
        subject "real mode: address wraps"
        want [wrap_value], 0x5A
        subject "real mode: FFFF:0010 with A20 off is 0"
        want [a20_off], 1
        subject "real mode: FFFF:0010 with A20 on is 100000h"
        want [a20_on], 1
        subject "A20 off in the middle of a block"
        want [a20_flip], 0x2211
        subject "unreal: 4 GiB DS in real mode"
        want [unreal_value], 0xC0DEC0DE
        subject "unreal: limit survives a load of DS"
        want [unreal_after_load], 0xC0DEC0DE
        subject "real mode: PE and back"
        want [back_result], 0x1234
        subject "real mode: MOV CR0 keeps CS until the jump"
        want [kept_cs], 0
        subject "real mode: POPF changes IOPL and NT"
        want [real_flags], 0x7002
        subject "real mode: LAR is undefined"
        want [real_lar], 6
        ret

        bits 16
real_mode_tests:
        ; (called near, with a 16-bit stack)
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov word [real_frame_ss], ss
        mov di, 0               ; own vectors 0..7, 60h; 0Dh is also IRQ 5's
        mov si, real_vectors
        mov cx, 32
        mov di, saved_vectors
        push si
        xor si, si
        cld
        rep movsd
        pop si
        mov word [0 * 4], real_stub_0
        mov word [5 * 4], real_stub_5
        mov word [6 * 4], real_stub_6
        mov word [12 * 4], real_stub_12
        mov word [13 * 4], real_stub_13
        mov word [3 * 4], real_stub_3
        mov word [4 * 4], real_stub_4
        mov word [0 * 4 + 2], 0
        mov word [5 * 4 + 2], 0
        mov word [6 * 4 + 2], 0
        mov word [12 * 4 + 2], 0
        mov word [13 * 4 + 2], 0
        mov word [3 * 4 + 2], 0
        mov word [4 * 4 + 2], 0
        xor bx, bx
        real_faults 0, 0, div bx
        real_faults 1, 6, ud2
        real_faults 2, 13, mov ax, [0xFFFF]
        mov bp, 0xFFFF
        real_faults 3, 12, mov ax, [bp]
        real_faults 4, 13, mov eax, [dword 0x10000]
        real_faults 5, 6, lar ax, bx
        real_faults 6, 6, sldt ax
        real_faults 7, 13, jmp dword 0x10000
        mov ax, 12
        real_faults 8, 5, bound ax, [real_bounds]
        real_faults 9, 6, db 0xF0, 0x90
        real_faults 10, 13, push dword [dword 0xFFFFFFFC]
        real_faults 11, 6, db 0x8E, 0xC8
        mov dword [real_lar], 6

        ; INT: three words, no error code.
        mov word [0x60 * 4], real_int_60
        mov word [0x60 * 4 + 2], 0
        push word 2
        popf
        int 0x60
        ; The stack wraps within its segment.
        mov [real_sp], sp
        mov ax, SCRATCH >> 4
        mov ss, ax
        xor sp, sp
        push word 0x7777
        mov [wrap_result], sp
        pop ax
        xor ax, ax
        mov ss, ax
        mov sp, [real_sp]
        ; 16-bit effective addresses wrap.
        mov byte [0x502], 0x5A
        mov bx, 0xFFFF
        mov al, [bx + 0x503]
        mov [wrap_value], al

        ; A20: port 92h.
        mov ax, 0xFFFF
        mov fs, ax
        mov dword [0x500], 0x11111111
        mov dword [fs:0x510], 0x22222222        ; 100500h
        mov eax, [0x500]
        cmp eax, 0x11111111
        sete byte [a20_on]
        mov bl, 0xDD            ; the keyboard controller's gate and port 92h's: both must be off
        call keyboard_a20
        in al, 0x92
        mov bl, al
        and al, 0xFC
        out 0x92, al
        mov eax, [fs:0x510]
        cmp eax, [0x500]
        sete byte [a20_off]
        mov cl, [fs:0x510]
        mov al, bl
        or al, 2
        and al, 0xFE
        out 0x92, al
        mov ch, [fs:0x510]
        mov [a20_flip], cx
        mov bl, 0xDF
        call keyboard_a20

        ; Unreal mode.
        mov dword [0x500], 0
        lgdt [gdt_pointer]
        cli
        mov eax, cr0
        or al, 1
        mov cr0, eax
        mov ax, cs
        mov [kept_cs], ax
        mov bx, DATA0
        mov ds, bx
        mov eax, cr0
        and al, 0xFE
        mov cr0, eax
        mov dword [dword 0x180000], 0xC0DEC0DE
        mov eax, [dword 0x180000]
        xor bx, bx
        mov ds, bx
        mov [unreal_value], eax
        mov eax, [dword 0x180000]
        mov [unreal_after_load], eax

        ; Through 16-bit protected mode and back, limits of 64 KiB again.
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp CODE16:.protected
.protected:
        mov ax, DATA16
        mov ds, ax
        mov es, ax
        mov fs, ax
        mov gs, ax
        mov eax, cr0
        and al, 0xFE
        mov cr0, eax
        jmp 0:.real
.real:  xor ax, ax
        mov ds, ax
        mov es, ax
        mov word [back_result], 0x1234
        push word 0x7002
        popf
        pushf
        pop word [real_flags]
        push word 2
        popf
        cli
        ; The BIOS's vectors again.
        mov si, saved_vectors
        xor di, di
        mov cx, 32
        cld
        rep movsd
        ret

; BL: the keyboard controller's output port.
keyboard_a20:
.wait:  in al, 0x64
        test al, 2
        jnz .wait
        mov al, 0xD1
        out 0x64, al
.wait2: in al, 0x64
        test al, 2
        jnz .wait2
        mov al, bl
        out 0x60, al
.wait3: in al, 0x64
        test al, 2
        jnz .wait3
        ret

%macro real_stub 1
real_stub_%1:
        mov byte [cs:real_vector], %1
        jmp real_handler
%endmacro
        real_stub 0
        real_stub 3
        real_stub 4
        real_stub 5
        real_stub 6
        real_stub 12
        real_stub 13
real_handler:
        push bp
        mov bp, sp
        push word [bp + 2]
        pop word [cs:real_ip]
        pop bp
        mov sp, [cs:real_sp]
        jmp [cs:real_resume]
real_int_60:
        push bp
        mov bp, sp
        mov ax, [bp + 6]
        mov word [real_int_frame + 2], ax
        mov ax, [bp + 4]
        mov word [real_int_frame], ax
        pop bp
        iret

        align 4
real_vectors:
saved_vectors: times 32 dd 0
real_frame_ss: dw 0
real_resume: dw 0
real_sp: dw 0
real_ip: dw 0
real_vector: db 0
        align 4
real_bounds: dw 0, 11
real_wanted_vector: times REAL_TESTS db 0
real_got_vector: times REAL_TESTS db 0
real_wanted_ip: times REAL_TESTS dw 0
real_got_ip: times REAL_TESTS dw 0
        align 4
real_int_frame: dd 0
wrap_result: dd 0
wrap_value: dd 0
a20_on: dd 0
a20_off: dd 0
a20_flip: dd 0
unreal_value: dd 0
unreal_after_load: dd 0
back_result: dd 0
kept_cs: dd 0
real_flags: dd 0
real_lar: dd 0
        kernel_end
