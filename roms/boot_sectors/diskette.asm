; A boot diskette of 1.44 MB: reads all of it by INT 13h, a track at a time, and looks whether every sector has its
; number; writes a mark to the last sector, reads it back, and ends with 16. A failure ends with where it was.
%include "boot_sector.inc"

sectors equ 18
heads equ 2
cylinders equ 80
buffer equ 0x1000

        boot_sector_begin
        cld
        mov ax, buffer >> 4
        mov es, ax
track:
        mov ax, 0x0200 | sectors
        mov cx, 0x0001
        mov ch, [cylinder]
        mov dh, [head]
        xor dl, dl
        xor bx, bx
        int 0x13
        jc read_failed
        xor di, di
        mov cx, sectors
check:
        mov ax, [es:di]
        cmp word [number], 0
        je next                 ; this sector has no room for its number
        cmp ax, [number]
        jne wrong_data
next:
        inc word [number]
        add di, 512
        loop check
        xor byte [head], 1
        jnz track
        inc byte [cylinder]
        cmp byte [cylinder], cylinders
        jb track

        mov word [es:0], 0x4C4F ; the mark
        mov ax, 0x0301
        call last_sector
        jc write_failed
        mov word [es:0], 0
        mov ax, 0x0201
        call last_sector
        jc read_failed
        cmp word [es:0], 0x4C4F
        jne wrong_data
        exit_with 16

last_sector:
        mov cx, (cylinders - 1) << 8 | sectors
        mov dx, (heads - 1) << 8
        xor bx, bx
        int 0x13
        ret

read_failed:
        exit_with 1
wrong_data:
        exit_with 2
write_failed:
        exit_with 3

cylinder: db 0
head:   db 0
number: dw 0

        times 510 - ($ - $$) db 0
        dw 0xAA55
%assign sector 1
%rep cylinders * heads * sectors - 1
        times 256 dw sector
%assign sector sector + 1
%endrep
