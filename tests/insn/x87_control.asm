; x87: the stack, its faults, masked and unmasked errors, control and environment.
%include "test.inc"

TEST after_fninit
;SET     fcw=0x27F fsw=0x3841 ftw=0xFF
;EXPECT  fcw=0x37F fsw=0 ftw=0
    fninit
END

TEST stack_overflow
;EXPECT  fsw=0x3A41 ftw=0xFF st0=0xFFFFC000000000000000 st1=0x3FFF8000000000000000
    fninit
%rep 9
    fld1
%endrep
END

TEST stack_underflow_of_arithmetic
;EXPECT  fsw=0x3841 ftw=0x80 st0=0xFFFFC000000000000000
    fninit
    fld1
    fadd st0, st1
END

TEST stack_underflow_of_store
;EXPECT  fsw=0x0841 [DATA]=0xFFC00000
    fninit
    fstp dword [DATA]
END

TEST stack_underflow_of_integer_store
;EXPECT  fsw=0x0841 word[DATA]=0x8000
    fninit
    fistp word [DATA]
END

TEST stack_underflow_of_decimal_store
;EXPECT  fsw=0x0841 qword[DATA]=0xC000000000000000 word[DATA+8]=0xFFFF
    fninit
    fbstp [DATA]
END

TEST fxch_with_an_empty_register
;EXPECT  fsw=0x3841 ftw=0x81 st0=0xFFFFC000000000000000 st1=0x3FFF8000000000000000
    fninit
    fld1
    fxch st1
END

TEST fincstp_and_ffree
;EXPECT  fsw=0 ftw=0x40
    fninit
    fld1
    fld1
    ffree st1
    fincstp
    fincstp
END

TEST unmasked_underflow_of_the_stack_keeps_everything
;SET     word[DATA]=0x37E [DATA+4]=0x12345678
;EXPECT  fsw=0x80C1 ftw=0 [DATA+4]=0x12345678
    fninit
    fldcw [DATA]
    fstp dword [DATA+4]
    fnstsw [DATA+8]
END

TEST unmasked_division_by_zero_waits
;SET     word[DATA]=0x37B
;EXPECT  fsw=0xB884 st0=0x3FFF8000000000000000 ftw=0x80
    fninit
    fldcw [DATA]
    fld1
    fidiv dword [DATA+4]
    fnstsw [DATA+8]
END

TEST unmasked_error_reaches_the_next_instruction
;SET     word[DATA]=0x37B
;FAULT   #MF
;EXPECT  eip=START+17 fsw=0xB884
    fninit
    fldcw [DATA]
    fld1
    fidiv dword [DATA+4]
    nop
    fwait
END

TEST unmasked_precision_stores_first
;SET     word[DATA]=0x35F [DATA+4]=3
;EXPECT  fsw=0xBAA0 st0=0x3FFDAAAAAAAAAAAAAAAB
    fninit
    fldcw [DATA]
    fld1
    fidiv dword [DATA+4]
    fnstsw [DATA+8]
END

TEST unmasked_overflow_scales_the_exponent
;SET     word[DATA]=0x377 qword[DATA+8]=0x8000000000000000 word[DATA+16]=0x7FFE
;EXPECT  fsw=0xB888 st0=0x1FFF8000000000000000
    fninit
    fldcw [DATA]
    fld tword [DATA+8]
    fadd st0, st0
    fnstsw [DATA+8]
END

TEST fnclex_forgets
;SET     word[DATA]=0x37B
;EXPECT  fsw=0x3800 ftw=0x80
    fninit
    fldcw [DATA]
    fld1
    fidiv dword [DATA+4]
    fnclex
    fwait
END

TEST fnstenv_tags
;EXPECT  word[DATA]=0x37F word[DATA+4]=0x3000 word[DATA+8]=0x4FFF
    fninit
    fld1
    fldz
    fxch
    fnstenv [DATA]
END

TEST fnsave_and_frstor
;EXPECT  st0=0x0 st1=0x3FFF8000000000000000 fsw=0x3000 ftw=0xC0 word[DATA+200]=0
    fninit
    fld1
    fldz
    fnsave [DATA]
    fnstsw [DATA+200]
    frstor [DATA]
END

TEST fxsave_and_fxrstor
;EXPECT  st0=0x3FFF8000000000000000 ftw=0x80 fsw=0x3800 xmm0=0 byte[DATA+4]=0x80
    fninit
    fld1
    fxsave [DATA]
    pcmpeqd xmm0, xmm0
    fninit
    fxrstor [DATA]
END

TEST fxsave_must_be_aligned
;FAULT   #GP=0
    fxsave [DATA+8]
END
