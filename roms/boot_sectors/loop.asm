%include "boot_sector.inc"
        boot_sector_begin
        cli
forever:
        jmp forever
        boot_sector_end
