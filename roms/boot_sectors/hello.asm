; Sends a line to the first serial port (16550 at 3F8h) at 115200 baud, polling.
%include "boot_sector.inc"
data_register equ 0x3F8
line_control equ 0x3FB
line_status equ 0x3FD

        boot_sector_begin
        mov dx, line_control
        mov al, 0x83            ; divisor access, 8 data bits
        out dx, al
        mov dx, data_register
        mov ax, 1               ; divisor 1: 115200 baud
        out dx, ax
        mov dx, line_control
        mov al, 0x03
        out dx, al

        mov si, text
next:
        lodsb
        test al, al
        jz done
        mov ah, al
        mov dx, line_status
wait_until_empty:
        in al, dx
        test al, 0x20
        jz wait_until_empty
        mov dx, data_register
        mov al, ah
        out dx, al
        jmp next
done:
        mov dx, line_status
wait_until_sent:
        in al, dx
        test al, 0x40
        jz wait_until_sent
        exit_with 16

text:   db "hello from the boot sector", 13, 10, 0
        boot_sector_end
