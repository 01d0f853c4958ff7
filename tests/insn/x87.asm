; x87: loads, stores, arithmetic, comparison, constants. Status words are those of FNINIT with TOP (bits 13..11), C1
; (bit 9) and PE (bit 5) where the result was rounded.
%include "test.inc"

TEST fld_single
;SET     [DATA]=0x40490FDB
;EXPECT  st0=0x4000C90FDB0000000000 ftw=0x80 fsw=0x3800
    fninit
    fld dword [DATA]
END

TEST fld_double_negative
;SET     qword[DATA]=0xC000000000000000
;EXPECT  st0=0xC0008000000000000000 fsw=0x3800
    fninit
    fld qword [DATA]
END

TEST fld_single_denormal_is_normalised
;SET     [DATA]=1
;EXPECT  st0=0x3F6A8000000000000000 fsw=0x3802
    fninit
    fld dword [DATA]
END

TEST fld_signalling_nan_is_quieted
;SET     [DATA]=0x7F800001
;EXPECT  st0=0x7FFFC000010000000000 fsw=0x3801
    fninit
    fld dword [DATA]
END

TEST fld_extended_takes_anything
;SET     qword[DATA]=0x8000000000000001 word[DATA+8]=0x7FFF
;EXPECT  st0=0x7FFF8000000000000001 fsw=0x3800
    fninit
    fld tword [DATA]
END

TEST fild_sizes
;SET     word[DATA]=-2 [DATA+4]=100000 qword[DATA+8]=0x7FFFFFFFFFFFFFFF
;EXPECT  st2=0xC0008000000000000000 st1=0x400FC350000000000000 st0=0x403DFFFFFFFFFFFFFFFE fsw=0x2800 ftw=0xE0
    fninit
    fild word [DATA]
    fild dword [DATA+4]
    fild qword [DATA+8]
END

TEST fbld_and_fbstp
;SET     qword[DATA]=0x0000000012345678 word[DATA+8]=0x8000
;EXPECT  qword[DATA+16]=0x0000000012345678 word[DATA+24]=0x8000 fsw=0 ftw=0
    fninit
    fbld [DATA]
    fbstp [DATA+16]
END

TEST fst_rounds
;SET     qword[DATA]=0x3FF0000000000001
;EXPECT  [DATA+8]=0x3F800000 fsw=0x3820 ftw=0x80
    fninit
    fld qword [DATA]
    fst dword [DATA+8]
END

TEST fst_rounds_up_sets_c1
;SET     qword[DATA]=0x3FF0000000000001 word[DATA+16]=0x0B7F
;EXPECT  [DATA+8]=0x3F800001 fsw=0x0220 ftw=0
    fninit
    fldcw [DATA+16]
    fld qword [DATA]
    fstp dword [DATA+8]
END

TEST fist_modes
;SET     qword[DATA]=0xC004000000000000 word[DATA+16]=0x077F word[DATA+18]=0x0B7F word[DATA+20]=0x0F7F
;EXPECT  [DATA+32]=-2 [DATA+36]=-3 [DATA+40]=-2 [DATA+44]=-2 fsw&0x3F=0x20
    fninit
    fld qword [DATA]            ; -2.5
    fist dword [DATA+32]
    fldcw [DATA+16]             ; down
    fist dword [DATA+36]
    fldcw [DATA+18]             ; up
    fist dword [DATA+40]
    fldcw [DATA+20]             ; towards zero
    fist dword [DATA+44]
END

TEST fistp_too_large
;SET     qword[DATA]=0x41F0000000000000
;EXPECT  [DATA+8]=0x80000000 qword[DATA+16]=0x100000000 fsw=1 ftw=0
    fninit
    fld qword [DATA]
    fist dword [DATA+8]
    fistp qword [DATA+16]
END

TEST fadd_exact
;SET     [DATA]=0x3FC00000
;EXPECT  st0=0x4000A000000000000000 fsw=0x3800
    fninit
    fld1
    fadd dword [DATA]
END

TEST fsub_and_fsubr
;SET     [DATA]=3
;EXPECT  st0=0x40008000000000000000 st1=0xC0008000000000000000 fsw=0x3000
    fninit
    fld1
    fisub dword [DATA]
    fld1
    fisubr dword [DATA]
END

TEST fsubp_and_fsubrp
;SET     [DATA]=5 [DATA+4]=2
;EXPECT  st0=0xC000C000000000000000 st1=0x4000C000000000000000 fsw=0x3000
    fninit
    fild dword [DATA]
    fild dword [DATA+4]
    fsubp st1, st0              ; 5 - 2
    fild dword [DATA]
    fild dword [DATA+4]
    fsubrp st1, st0             ; 2 - 5
END

TEST fdiv_inexact
;SET     [DATA]=3
;EXPECT  st0=0x3FFDAAAAAAAAAAAAAAAB fsw=0x3A20
    fninit
    fld1
    fidiv dword [DATA]
END

TEST fdiv_with_53_bits
;SET     [DATA]=3 word[DATA+4]=0x27F
;EXPECT  st0=0x3FFDAAAAAAAAAAAAA800 fsw=0x3820
    fninit
    fldcw [DATA+4]
    fld1
    fidiv dword [DATA]
END

TEST fdiv_with_24_bits
;SET     [DATA]=3 word[DATA+4]=0x07F
;EXPECT  st0=0x3FFDAAAAAB0000000000 fsw=0x3A20
    fninit
    fldcw [DATA+4]
    fld1
    fidiv dword [DATA]
END

TEST fdiv_by_zero
;EXPECT  st0=0x7FFF8000000000000000 fsw=0x3804
    fninit
    fld1
    fidiv word [DATA]
END

TEST zero_by_zero
;EXPECT  st0=0xFFFFC000000000000000 fsw=0x3801
    fninit
    fldz
    fidiv word [DATA]
END

TEST fsqrt_of_two
;SET     [DATA]=2
;EXPECT  st0=0x3FFFB504F333F9DE6484 fsw=0x3820
    fninit
    fild dword [DATA]
    fsqrt
END

TEST fsqrt_of_minus_one
;EXPECT  st0=0xFFFFC000000000000000 fsw=0x3801
    fninit
    fld1
    fchs
    fsqrt
END

TEST fprem_quotient_bits
;SET     [DATA]=17 [DATA+4]=3
;EXPECT  st0=0x40008000000000000000 fsw=0x3300
    fninit
    fild dword [DATA+4]
    fild dword [DATA]
    fprem                       ; 17 = 5 * 3 + 2: Q2 C0 = 1, Q1 C3 = 0, Q0 C1 = 1
END

TEST frndint_to_even
;SET     [DATA]=0x40200000
;EXPECT  st0=0x40008000000000000000 fsw=0x3820
    fninit
    fld dword [DATA]            ; 2.5
    frndint
END

TEST fscale_multiplies_by_a_power_of_two
;SET     [DATA]=10
;EXPECT  st0=0x40098000000000000000 st1=0x4002A000000000000000 fsw=0x3000
    fninit
    fild dword [DATA]
    fld1
    fscale
END

TEST fxtract_splits
;SET     [DATA]=0x44FA0000
;EXPECT  st0=0x3FFFFA00000000000000 st1=0x4002A000000000000000 fsw=0x3000
    fninit
    fld dword [DATA]            ; 2000 = 1.953125 * 2^10
    fxtract
END

TEST fcom_less
;SET     [DATA]=2
;EXPECT  eax=0x3900
    fninit
    fld1
    ficom dword [DATA]
    fnstsw ax
END

TEST fcom_greater
;SET     [DATA]=2
;EXPECT  eax=0x3000
    fninit
    fld1
    fild dword [DATA]
    fcom st1
    fnstsw ax
END

TEST fcompp_equal
;EXPECT  eax=0x4000 ftw=0
    fninit
    fld1
    fld1
    fcompp
    fnstsw ax
END

TEST fcom_with_quiet_nan_is_invalid
;SET     [DATA]=0x7FC00000
;EXPECT  eax=0x7D01
    fninit
    fld1
    fcom dword [DATA]
    fnstsw ax
END

TEST fucom_with_quiet_nan_is_not
;SET     [DATA]=0x7FC00000
;EXPECT  eax=0x7500
    fninit
    fld dword [DATA]
    fld1
    fucom st1
    fnstsw ax
END

TEST fucomi_and_fcmov
;SET     eflags=0x8D7 [DATA]=7
;EXPECT  eflags&0x8D5=1 st0=0x4001E000000000000000 ftw=0xC0
    fninit
    fild dword [DATA]
    fld1
    fucomi st0, st1             ; less: CF
    fcmovb st0, st1
END

TEST ftst_negative
;EXPECT  eax=0x3900
    fninit
    fld1
    fchs
    ftst
    fnstsw ax
END

TEST fxam_classes
;SET     [DATA]=0xFF800000
;EXPECT  eax=0x4100 ebx=0x7800 ecx=0x3F00
    fninit
    fxam                        ; empty: C3 C0
    fnstsw ax
    mov esi, eax
    fldz
    fxam                        ; zero: C3
    fnstsw ax
    mov ebx, eax
    fstp st0
    fld dword [DATA]
    fxam                        ; -infinity: C2 C0 C1
    fnstsw ax
    mov ecx, eax
    mov eax, esi
END

TEST constants
;EXPECT  st0=0x3FFEB17217F7D1CF79AC st1=0x3FFD9A209A84FBCFF799 st2=0x4000C90FDAA22168C235 st3=0x3FFFB8AA3B295C17F0BC st4=0x4000D49A784BCD1B8AFE
    fninit
    fldl2t
    fldl2e
    fldpi
    fldlg2
    fldln2
END

TEST constants_round_down
;SET     word[DATA]=0x77F
;EXPECT  st0=0x3FFEB17217F7D1CF79AB st1=0x3FFD9A209A84FBCFF798 st2=0x4000C90FDAA22168C234 st3=0x3FFFB8AA3B295C17F0BB st4=0x4000D49A784BCD1B8AFE
    fninit
    fldcw [DATA]
    fldl2t
    fldl2e
    fldpi
    fldlg2
    fldln2
END

TEST fxch_and_signs
;SET     [DATA]=2
;EXPECT  st0=0xBFFF8000000000000000 st1=0x40008000000000000000 fsw=0x3000
    fninit
    fld1
    fild dword [DATA]
    fxch
    fchs
    fxch
    fabs
    fxch
END
