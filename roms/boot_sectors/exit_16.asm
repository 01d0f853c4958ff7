%include "boot_sector.inc"
        boot_sector_begin
        exit_with 16
        boot_sector_end
