; Shifts and rotates: masked counts, flags, and what a count of 0 leaves (SDM vol. 2, "SAL/SAR/SHL/SHR",
; "RCL/RCR/ROL/ROR", "SHLD", "SHRD").
%include "test.inc"

TEST shl_by_one_overflow_is_a_changed_sign
;SET     eax=0x40000000
;EXPECT  eax=0x80000000 eflags&0x8C5=0x884
    shl eax, 1
END

TEST shl_last_bit_out_is_the_carry
;SET     eax=0x01000000
;EXPECT  eax=0 eflags&0xC5=0x45
    shl eax, 8
END

TEST shl_count_is_masked_to_five_bits
;SET     eax=1 ecx=0x21
;EXPECT  eax=2
    shl eax, cl
END

TEST shl_count_zero_keeps_flags
;SET     eax=0 ecx=0x20 eflags=0x897
;EXPECT  eax=0 eflags=0x895
    shl eax, cl
END

TEST shl_byte_beyond_its_width
;SET     eax=0xFF ecx=9
;EXPECT  eax=0 eflags&0xC4=0x44
    shl al, cl
END

TEST shr_by_one_overflow_is_the_old_sign
;SET     eax=0x80000001
;EXPECT  eax=0x40000000 eflags&0x8C5=0x805
    shr eax, 1
END

TEST shr_word
;SET     eax=0xABCD8000 ecx=15
;EXPECT  eax=0xABCD0001 eflags&0xC5=0
    shr ax, cl
END

TEST sar_fills_with_the_sign
;SET     eax=0x80000000
;EXPECT  eax=0xFFFFFFF8 eflags&0xC5=0x80
    sar eax, 28
END

TEST sar_byte_beyond_its_width
;SET     eax=0x80 ecx=31
;EXPECT  eax=0xFF eflags&0xC5=0x85
    sar al, cl
END

TEST sar_memory_by_one
;SET     [DATA]=3
;EXPECT  [DATA]=1 eflags&0x8C5=0x1
    sar dword [DATA], 1
END

TEST rol_keeps_sign_zero_parity
;SET     eax=0x80000000 eflags=0x8D6
;EXPECT  eax=1 eflags=0x8D5
    rol eax, 1
END

TEST rol_byte_modulo_eight
;SET     eax=0x81 ecx=9
;EXPECT  eax=0x03 eflags&1=1
    rol al, cl
END

TEST rol_byte_by_eight_sets_carry
;SET     eax=0x81 ecx=8 eflags=0x202
;EXPECT  eax=0x81 eflags&1=1
    rol al, cl
END

TEST ror_word
;SET     eax=0x0001
;EXPECT  eax=0x8000 eflags&0x801=0x801
    ror ax, 1
END

TEST ror_dword_memory
;SET     [DATA]=0x12345678
;EXPECT  [DATA]=0x78123456 eflags&1=0
    ror dword [DATA], 8
END

TEST rcl_byte_modulo_nine
;SET     eax=0x5A ecx=9 eflags=0x203
;EXPECT  eax=0x5A eflags&1=1
    rcl al, cl
END

TEST rcl_word_modulo_seventeen
;SET     eax=0x8001 ecx=18 eflags=0x202
;EXPECT  eax=0x0002 eflags&1=1
    rcl ax, cl
END

TEST rcl_dword
;SET     eax=0x80000000 eflags=0x203
;EXPECT  eax=1 eflags&0x801=0x801
    rcl eax, 1
END

TEST rcr_dword
;SET     eax=1 eflags=0x203
;EXPECT  eax=0x80000000 eflags&0x801=0x801
    rcr eax, 1
END

TEST rcr_by_zero_keeps_flags
;SET     eax=5 ecx=0 eflags=0x8D7
;EXPECT  eax=5 eflags=0x8D5
    rcr eax, cl
END

TEST shld_immediate
;SET     eax=0x12345678 edx=0x9ABCDEF0
;EXPECT  eax=0x3456789A edx=0x9ABCDEF0 eflags&0xC5=0x4
    shld eax, edx, 8
END

TEST shld_by_cl_memory
;SET     [DATA]=0x80000000 edx=0x80000000 ecx=1
;EXPECT  [DATA]=1 eflags&0x8C5=0x801
    shld [DATA], edx, cl
END

TEST shrd_word
;SET     eax=0x1234 edx=0x5678
;EXPECT  eax=0x8123 eflags&0xC1=0x80
    shrd ax, dx, 4
END

TEST shrd_count_zero_keeps_flags
;SET     eax=1 ecx=32 eflags=0x8D7
;EXPECT  eax=1 eflags=0x8D5
    shrd eax, edx, cl
END

TEST shift_of_read_only_faults
;SET     [READONLY]=1 eflags=0x8D7
;FAULT   #PF=7
;EXPECT  [READONLY]=1 eflags=0x8D5
    shl dword [READONLY], 1
END
