; Command FEh of the keyboard controller pulses output line 0, the processor's reset.
%include "boot_sector.inc"
        boot_sector_begin
        mov al, 0xFE
        out 0x64, al
stay:   hlt
        jmp stay
        boot_sector_end
