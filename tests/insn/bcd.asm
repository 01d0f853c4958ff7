; AAA AAS AAM AAD DAA DAS: defined flags only (SDM vol. 2).
%include "test.inc"

TEST aaa_adjusts
;SET     eax=0x0A
;EXPECT  eax=0x0100 eflags&0x11=0x11
    aaa
END

TEST aaa_by_the_adjust_flag
;SET     eax=0x05 eflags=0x212
;EXPECT  eax=0x010B eflags&0x11=0x11
    aaa
END

TEST aaa_carries_into_ah_from_al
;SET     eax=0x00FA
;EXPECT  eax=0x0200 eflags&0x11=0x11
    aaa
END

TEST aaa_leaves
;SET     eax=0x1234_0255 eflags=0x203
;EXPECT  eax=0x12340205 eflags&0x11=0
    aaa
END

TEST aas_adjusts
;SET     eax=0x020C
;EXPECT  eax=0x0106 eflags&0x11=0x11
    aas
END

TEST aas_borrows_from_ah
;SET     eax=0x0203 eflags=0x212
;EXPECT  eax=0x000D eflags&0x11=0x11
    aas
END

TEST aam_ten
;SET     eax=0xFF3F
;EXPECT  eax=0x0603 eflags&0xC4=0x4
    aam
END

TEST aam_other_base
;SET     eax=0xFF
;EXPECT  eax=0x0F0F eflags&0xC4=0x4
    aam 16
END

TEST aam_base_zero
;SET     eax=0x1234 eflags=0x202
;FAULT   #DE
;EXPECT  eax=0x1234
    aam 0
END

TEST aad_ten
;SET     eax=0x0603
;EXPECT  eax=0x003F eflags&0xC4=0x4
    aad
END

TEST aad_wraps
;SET     eax=0xFFFF
;EXPECT  eax=0x00F5 eflags&0xC4=0x84
    aad
END

TEST daa_both_digits
;SET     eax=0x79 ecx=0x35
;EXPECT  eax=0x14 eflags&0xD5=0x15
    add al, cl
    daa
END

TEST daa_carry_alone
;SET     eax=0x05 eflags=0x203
;EXPECT  eax=0x65 eflags&0xD5=0x5
    daa
END

TEST daa_nothing
;SET     eax=0x42
;EXPECT  eax=0x42 eflags&0xD5=0x4
    daa
END

TEST das_example
;SET     eax=0x35 ecx=0x47
;EXPECT  eax=0x88 eflags&0xD5=0x95
    sub al, cl
    das
END

TEST das_low_borrow_below_six
;SET     eax=0x05 eflags=0x212
;EXPECT  eax=0xFF eflags&0xD5=0x95
    das
END
