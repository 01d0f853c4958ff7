; INT 13h function 43h: extended write of the sector at LBA 1.
%include "boot_sector.inc"
        boot_sector_begin
        mov si, packet
        mov ax, 0x4300
        mov dl, 0x80
        int 0x13
        jc failed
        exit_with 0
failed:
        exit_with 1

        align 4
packet:
        db 16, 0
        dw 1                    ; sectors
        dw mark, 0              ; offset, segment
        dq 1                    ; LBA
mark:
        db "LODGE-MARK"
        boot_sector_end
