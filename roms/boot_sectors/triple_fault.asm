; An interrupt table of no bytes: the exception cannot be delivered, neither can the double fault that follows
; (SDM volume 3, section 6.15, interrupt 8).
%include "boot_sector.inc"
        boot_sector_begin
        cli
        lidt [empty_table]
        ud2
        exit_with 1
empty_table:
        dw 0
        dd 0
        boot_sector_end
