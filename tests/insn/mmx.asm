; MMX: a few of each kind, and what they do to the x87 state. The unit test simd_test.cpp compares all of them.
%include "test.inc"

TEST movd_makes_every_register_valid
;SET     eax=0x12345678 fsw=0x1800
;EXPECT  mm1=0x12345678 ftw=0xFF fsw=0
    movd mm1, eax
END

TEST exponent_reads_as_ones
;SET     eax=5
;EXPECT  st2=0xFFFF0000000000000005
    movd mm2, eax
END

TEST emms
;SET     ftw=0xFF
;EXPECT  ftw=0
    emms
END

TEST paddb_wraps
;SET     mm0=0xFF01FF01FF01FF01 mm1=0x0101010101010101
;EXPECT  mm0=0x0002000200020002
    paddb mm0, mm1
END

TEST paddsw_saturates
;SET     mm0=0x7FFF800000010002 mm1=0x0001FFFF00010001
;EXPECT  mm0=0x7FFF800000020003
    paddsw mm0, mm1
END

TEST psubusb_saturates
;SET     mm0=0x1020304050607080 mm1=0x2020202020202020
;EXPECT  mm0=0x0000102030405060
    psubusb mm0, mm1
END

TEST pmaddwd
;SET     mm0=0x0001000200030004 qword[DATA]=0x0005000600070008
;EXPECT  mm0=0x0000001100000035
    pmaddwd mm0, [DATA]
END

TEST punpcklbw_from_memory
;SET     mm0=0x8877665544332211 [DATA]=0xDDCCBBAA
;EXPECT  mm0=0xDD44CC33BB22AA11
    punpcklbw mm0, [DATA]
END

TEST packssdw
;SET     mm0=0x0001000000007FFF mm1=0xFFFF7FFFFFFFFFFF
;EXPECT  mm0=0x8000FFFF7FFF7FFF
    packssdw mm0, mm1
END

TEST psrad_by_too_much
;SET     mm0=0x8000000040000000
;EXPECT  mm0=0xFFFFFFFF00000000
    psrad mm0, 40
END

TEST psllq_by_register
;SET     mm0=1 mm1=36
;EXPECT  mm0=0x1000000000
    psllq mm0, mm1
END

TEST pshufw_pextrw_pinsrw
;SET     mm0=0x0004000300020001 eax=0xFFFF00AA
;EXPECT  mm1=0x0001000200AA0004 ecx=3
    pshufw mm1, mm0, 00011011b
    pinsrw mm1, eax, 1
    pextrw ecx, mm0, 2
END

TEST pmovmskb
;SET     mm0=0x80FF007F80000080
;EXPECT  eax=0xC9
    pmovmskb eax, mm0
END

TEST maskmovq
;SET     edi=DATA mm0=0x8877665544332211 mm1=0x8000800080008000
;EXPECT  qword[DATA]=0x8800660044002200
    maskmovq mm0, mm1
END

TEST pending_x87_error
;SET     word[DATA]=0x37B
;FAULT   #MF
    fninit
    fldcw [DATA]
    fld1
    fidiv dword [DATA+4]
    movd mm0, eax
END
