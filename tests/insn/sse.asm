; SSE and SSE2: a few of each kind, flags, unmasked exceptions, alignment. The unit test simd_test.cpp compares all.
%include "test.inc"

TEST addps
;SET     xmm0=0x4080000040400000400000003F800000 xmm1=0x3F8000003F8000003F8000003F800000
;EXPECT  xmm0=0x40A00000408000004040000040000000 mxcsr=0x1F80
    addps xmm0, xmm1
END

TEST addss_keeps_the_rest
;SET     xmm0=0x1111111122222222333333333F800000 xmm1=0x40000000
;EXPECT  xmm0=0x11111111222222223333333340400000 mxcsr=0x1F80
    addss xmm0, xmm1
END

TEST movss_from_memory_clears_the_rest
;SET     xmm0=-1 [DATA]=0x3F800000
;EXPECT  xmm0=0x3F800000
    movss xmm0, [DATA]
END

TEST movss_from_register_keeps_it
;SET     xmm0=-1 xmm1=0x3F800000
;EXPECT  xmm0=0xFFFFFFFFFFFFFFFFFFFFFFFF3F800000
    movss xmm0, xmm1
END

TEST divss_inexact
;SET     xmm0=0x3F800000 xmm1=0x40400000
;EXPECT  xmm0=0x3EAAAAAB mxcsr=0x1FA0
    divss xmm0, xmm1
END

TEST divss_rounds_down
;SET     xmm0=0x3F800000 xmm1=0x40400000 mxcsr=0x3F80
;EXPECT  xmm0=0x3EAAAAAA mxcsr=0x3FA0
    divss xmm0, xmm1
END

TEST flags_are_sticky
;SET     xmm0=0x3F800000 xmm1=0x3F800000 mxcsr=0x1F95
;EXPECT  xmm0=0x40000000 mxcsr=0x1F95
    addss xmm0, xmm1
END

TEST denormals_are_zeros
;SET     xmm0=0x00000001 xmm1=0x3F800000 mxcsr=0x1FC0
;EXPECT  xmm0=0 mxcsr=0x1FC0
    mulss xmm0, xmm1
END

TEST flush_to_zero
;SET     xmm0=0x00800000 xmm1=0x3F000000 mxcsr=0x9F80
;EXPECT  xmm0=0 mxcsr=0x9FB0
    mulss xmm0, xmm1
END

TEST exact_underflow_is_none_when_masked
;SET     xmm0=0x00800000 xmm1=0x3F000000
;EXPECT  xmm0=0x00400000 mxcsr=0x1F80
    mulss xmm0, xmm1
END

TEST exact_underflow_is_one_when_not
;SET     xmm0=0x00800000 xmm1=0x3F000000 mxcsr=0x1780
;FAULT   #XM
;EXPECT  xmm0=0x00800000 mxcsr=0x1790
    mulss xmm0, xmm1
END

TEST unmasked_division_by_zero
;SET     xmm0=0x3F800000 mxcsr=0x1D80
;FAULT   #XM
;EXPECT  xmm0=0x3F800000 mxcsr=0x1D84 eip=START
    divss xmm0, xmm1
END

TEST unmasked_early_error_hides_late_ones
;SET     xmm0=0x3F8000003F8000003F8000003F800000 oword[DATA]=0x3F8000003F8000004040000000000000 mxcsr=0x1D80
;FAULT   #XM
;EXPECT  mxcsr=0x1D84
    divps xmm0, [DATA]
END

TEST comiss_unordered
;SET     xmm0=0x7FC00000 xmm1=0x3F800000 eflags=0x8D7
;EXPECT  eflags&0x8D5=0x45 mxcsr=0x1F81
    comiss xmm0, xmm1
END

TEST ucomisd_less
;SET     xmm0=0x3FF0000000000000 xmm1=0x4000000000000000 eflags=0x8D7
;EXPECT  eflags&0x8D5=0x01 mxcsr=0x1F80
    ucomisd xmm0, xmm1
END

TEST cmpps_not_equal
;SET     xmm0=0x7FC000003F8000004000000040400000 xmm1=0x7FC000003F8000003F80000040400000
;EXPECT  xmm0=0xFFFFFFFF00000000FFFFFFFF00000000
    cmpneqps xmm0, xmm1
END

TEST cvtss2si_rounds_to_even
;SET     xmm0=0x40200000
;EXPECT  eax=2 ecx=2 mxcsr=0x1FA0
    cvtss2si eax, xmm0
    cvttss2si ecx, xmm0
END

TEST cvttsd2si_too_large
;SET     xmm0=0x41F0000000000000
;EXPECT  eax=0x80000000 mxcsr=0x1F81
    cvttsd2si eax, xmm0
END

TEST cvtpi2ps_uses_mmx
;SET     mm0=0x0000000200000001 xmm0=-1
;EXPECT  xmm0=0xFFFFFFFFFFFFFFFF400000003F800000 ftw=0xFF
    cvtpi2ps xmm0, mm0
END

TEST cvtdq2pd
;SET     xmm1=0xFFFFFFFF00000003
;EXPECT  xmm0=0xBFF00000000000004008000000000000
    cvtdq2pd xmm0, xmm1
END

TEST shufps
;SET     xmm0=0x00000003000000020000000100000000 xmm1=0x00000007000000060000000500000004
;EXPECT  xmm0=0x00000004000000070000000200000001
    shufps xmm0, xmm1, 00111001b
END

TEST pshufd
;SET     xmm1=0x00000003000000020000000100000000
;EXPECT  xmm0=0x00000000000000010000000200000003
    pshufd xmm0, xmm1, 00011011b
END

TEST pslldq_and_psrldq
;SET     xmm0=0x0F0E0D0C0B0A09080706050403020100 xmm1=0x0F0E0D0C0B0A09080706050403020100
;EXPECT  xmm0=0x0C0B0A09080706050403020100000000 xmm1=0
    psrldq xmm1, 16
    pslldq xmm0, 3
END

TEST pmuludq
;SET     xmm0=0x00000000FFFFFFFF00000000FFFFFFFF xmm1=0x11111111000000021111111110000000
;EXPECT  xmm0=0x00000001FFFFFFFE0FFFFFFFF0000000
    pmuludq xmm0, xmm1
END

TEST movhlps_and_movlhps
;SET     xmm0=0x11111111111111112222222222222222 xmm1=0x33333333333333334444444444444444
;EXPECT  xmm0=0x11111111111111113333333333333333 xmm2=0x44444444444444440000000000000000
    movhlps xmm0, xmm1
    movlhps xmm2, xmm1
END

TEST movq_clears_the_upper_half
;SET     xmm0=-1 xmm1=0x33333333333333334444444444444444
;EXPECT  xmm0=0x4444444444444444
    movq xmm0, xmm1
END

TEST movmskpd
;SET     xmm0=0x80000000000000007FFFFFFFFFFFFFFF
;EXPECT  eax=2
    movmskpd eax, xmm0
END

TEST unaligned_movaps
;SET     xmm0=5
;FAULT   #GP=0
;EXPECT  xmm0=5
    movaps xmm0, [DATA+4]
END

TEST unaligned_movups
;SET     qword[DATA+4]=0x1122334455667788 qword[DATA+12]=0x99AABBCCDDEEFF00
;EXPECT  xmm0=0x99AABBCCDDEEFF001122334455667788
    movups xmm0, [DATA+4]
END

TEST unaligned_scalar
;SET     qword[DATA+3]=0x3FF0000000000000
;EXPECT  xmm0=0x3FF0000000000000
    addsd xmm0, [DATA+3]
END

TEST ldmxcsr_and_stmxcsr
;SET     [DATA]=0x9FC0
;EXPECT  mxcsr=0x9FC0 [DATA+4]=0x9FC0
    ldmxcsr [DATA]
    stmxcsr [DATA+4]
END

TEST ldmxcsr_reserved_bits
;SET     [DATA]=0x11F80
;FAULT   #GP=0
;EXPECT  mxcsr=0x1F80
    ldmxcsr [DATA]
END

TEST movnti
;SET     eax=0x12345678
;EXPECT  [DATA]=0x12345678
    movnti [DATA], eax
END

TEST store_to_read_only_memory
;FAULT   #PF=7
    movdqu [READONLY], xmm0
END

; With an unmasked underflow, PE is that of the result with an unbounded exponent.
TEST unmasked_underflow_exact
;SET     xmm0=0x00800003 xmm1=0x3F000000 mxcsr=0x1780
;FAULT   #XM
;EXPECT  xmm0=0x00800003 mxcsr=0x1790
    mulss xmm0, xmm1
END

TEST unmasked_underflow_inexact
;SET     xmm0=0x00800003 xmm1=0x3F000003 mxcsr=0x1780
;FAULT   #XM
;EXPECT  xmm0=0x00800003 mxcsr=0x17B0
    mulss xmm0, xmm1
END

TEST unmasked_overflow_exact
;SET     xmm0=0x7F000000 xmm1=0x40000000 mxcsr=0x1B80
;FAULT   #XM
;EXPECT  xmm0=0x7F000000 mxcsr=0x1B88
    mulss xmm0, xmm1
END

TEST unmasked_underflow_narrowing
;SET     xmm1=0x3690000000000000 mxcsr=0x1780
;FAULT   #XM
;EXPECT  mxcsr=0x1790
    cvtsd2ss xmm0, xmm1
END

; The product is a denormal: an operand of the sum, whose exception is not masked.
TEST dpps_reports_the_steps_before_an_unmasked_exception
;SET     xmm0=0x00800003 xmm1=0x3F000000 mxcsr=0x1E80
;FAULT   #XM
;EXPECT  xmm0=0x00800003 mxcsr=0x1EB2
    dpps xmm0, xmm1, 0x1F
END
