; ADD SUB ADC SBB AND OR XOR CMP TEST INC DEC NEG NOT XADD CMPXCHG and the widenings, by size and by kind of operand.
; Flags as in SDM vol. 1, 3.4.3.1; 0x8D5 is all of OF SF ZF AF PF CF.
%include "test.inc"

TEST add_dword_overflows
;SET     eax=0x7FFFFFFF ecx=1
;EXPECT  eax=0x80000000 eflags=0x894
    add eax, ecx
END

TEST add_dword_carries
;SET     eax=0xFFFFFFFF
;EXPECT  eax=0 eflags=0x55
    add eax, 1
END

TEST add_byte_keeps_the_rest
;SET     eax=0x123456FF
;EXPECT  eax=0x12345601 eflags=0x11
    add al, 2
END

TEST add_high_byte
;SET     eax=0x00007F00 ebx=0x00000100
;EXPECT  eax=0x00008000 eflags=0x890
    add ah, bh
END

TEST add_word_keeps_the_rest
;SET     edx=0xABCD8000 esi=0x8000
;EXPECT  edx=0xABCD0000 eflags=0x845
    add dx, si
END

TEST add_memory_register
;SET     [DATA]=0x10 ebx=DATA ecx=0x22
;EXPECT  [DATA]=0x32 eflags=0
    add [ebx], ecx
END

TEST add_register_memory_scaled
;SET     [DATA+0x28]=5 ebx=DATA esi=4 eax=7
;EXPECT  eax=12 eflags=0x4
    add eax, [ebx + esi*8 + 8]
END

TEST add_sign_extended_immediate
;SET     [DATA]=5
;EXPECT  [DATA]=4 eflags=0x11
    add dword [DATA], byte -1
END

TEST add_across_pages
;SET     [DATA+0xFFE]=0x0001FFFF
;EXPECT  [DATA+0xFFE]=0x00020000 eflags=0x14
    add dword [DATA + 0xFFE], 1
END

TEST add_to_read_only_faults_and_changes_nothing
;SET     [READONLY]=9 eax=5 eflags=0x246
;FAULT   #PF=7
;EXPECT  [READONLY]=9 eip=START eflags=0x44
    add [READONLY], eax
END

TEST add_from_nowhere_faults
;SET     eax=5 eflags=0x202
;FAULT   #PF=4
;EXPECT  eax=5 eip=START eflags=0
    add eax, [DATA + 0x2000]
END

TEST add_half_in_nowhere_changes_nothing
;SET     eax=-1 word[DATA+0x1FFE]=0x1234
;FAULT   #PF
;EXPECT  word[DATA+0x1FFE]=0x1234 eip=START
    add [DATA + 0x1FFE], eax
END

TEST sub_borrows
;SET     eax=0 ecx=1
;EXPECT  eax=0xFFFFFFFF eflags=0x95
    sub eax, ecx
END

TEST sub_overflows
;SET     eax=0x80000000
;EXPECT  eax=0x7FFFFFFF eflags=0x814
    sub eax, 1
END

TEST sub_same_register
;SET     edi=0x12345678
;EXPECT  edi=0 eflags=0x44
    sub edi, edi
END

TEST adc_takes_the_carry
;SET     eax=0xFFFFFFFF eflags=0x203
;EXPECT  eax=0 eflags=0x55
    adc eax, 0
END

TEST adc_byte_both_wrap
;SET     eax=0xFF ecx=0xFF eflags=0x203
;EXPECT  eax=0xFF eflags=0x95
    adc al, cl
END

TEST sbb_takes_the_borrow
;SET     eax=5 ebx=4 eflags=0x203
;EXPECT  eax=0 eflags=0x44
    sbb eax, ebx
END

TEST sbb_self_spreads_the_carry
;SET     ecx=0x1234 eflags=0x203
;EXPECT  ecx=0xFFFFFFFF eflags=0x95
    sbb ecx, ecx
END

TEST sbb_memory
;SET     qword[DATA]=0x0000000100000000 eax=1 edx=0
;EXPECT  qword[DATA]=0x00000000FFFFFFFF eflags=0x44
    sub [DATA], eax
    sbb [DATA + 4], edx
END

TEST and_clears_carry_and_overflow
;SET     eax=0xF0F0F0F0 eflags=0xAD7
;EXPECT  eax=0x80808080 eflags&0x8C5=0x80
    and eax, 0x8F8F8F8F
END

TEST or_memory
;SET     [DATA]=0x00FF00FF
;EXPECT  [DATA]=0x0FFF0FFF eflags&0x8C5=0x4
    or dword [DATA], 0x0F000F00
END

TEST xor_self
;SET     eax=0x55
;EXPECT  eax=0 eflags&0x8C5=0x44
    xor eax, eax
END

TEST test_immediate
;SET     eax=0x80
;EXPECT  eax=0x80 eflags&0x8C5=0x80
    test al, 0x80
END

TEST cmp_changes_only_flags
;SET     [DATA]=7 eax=8
;EXPECT  [DATA]=7 eax=8 eflags=0x95
    cmp [DATA], eax
END

TEST cmp_needs_only_reading
;SET     [READONLY]=3
;EXPECT  eflags=0x44
    cmp dword [READONLY], 3
END

TEST inc_keeps_carry
;SET     eax=0x7FFFFFFF eflags=0x203
;EXPECT  eax=0x80000000 eflags=0x895
    inc eax
END

TEST inc_wraps_without_carry
;SET     eax=0xFFFFFFFF
;EXPECT  eax=0 eflags=0x54
    inc eax
END

TEST dec_byte_memory
;SET     byte[DATA]=0x80 eflags=0x203
;EXPECT  byte[DATA]=0x7F eflags=0x811
    dec byte [DATA]
END

TEST neg_zero
;EXPECT  eax=0 eflags=0x44
    neg eax
END

TEST neg_smallest
;SET     eax=0x80000000
;EXPECT  eax=0x80000000 eflags=0x885
    neg eax
END

TEST not_keeps_flags
;SET     eax=0x0F0F0F0F eflags=0xAD7
;EXPECT  eax=0xF0F0F0F0 eflags=0x8D5
    not eax
END

TEST xadd_memory
;SET     [DATA]=10 ecx=5
;EXPECT  [DATA]=15 ecx=10 eflags=0x4
    lock xadd [DATA], ecx
END

TEST xadd_same_register
;SET     ecx=5
;EXPECT  ecx=10
    xadd ecx, ecx
END

TEST xadd_bytes
;SET     eax=0x01FF ; AH 01, AL FF
;EXPECT  eax=0x0000FF00 eflags=0x55
    xadd al, ah
    ; AL = FF + 01 = 00, AH = FF
END

TEST cmpxchg_equal
;SET     eax=7 ecx=9 [DATA]=7
;EXPECT  eax=7 [DATA]=9 eflags=0x44
    lock cmpxchg [DATA], ecx
END

TEST cmpxchg_different
;SET     eax=7 ecx=9 [DATA]=8
;EXPECT  eax=8 [DATA]=8 eflags=0x95
    cmpxchg [DATA], ecx
END

TEST cmpxchg_different_writes_even_so
;SET     eax=7 [READONLY]=8
;FAULT   #PF=7
;EXPECT  eax=7
    cmpxchg [READONLY], ecx
END

TEST cmpxchg8b_equal
;SET     qword[DATA]=0x1111111122222222 edx=0x11111111 eax=0x22222222 ecx=3 ebx=4 eflags=0x203
;EXPECT  qword[DATA]=0x0000000300000004 edx=0x11111111 eax=0x22222222 eflags=0x41
    lock cmpxchg8b [DATA]
END

TEST cmpxchg8b_different
;SET     qword[DATA]=0x1111111122222222 eax=0x22222222 ecx=3 ebx=4 eflags=0x8D7
;EXPECT  qword[DATA]=0x1111111122222222 edx=0x11111111 eax=0x22222222 eflags=0x895
    cmpxchg8b [DATA]
END

TEST cbw_cwde
;SET     eax=0x12345680
;EXPECT  eax=0xFFFFFF80
    cbw
    cwde
END

TEST cwd_cdq
;SET     eax=0x80008000 edx=0x55555555
;EXPECT  edx=0xFFFFFFFF ecx=0x5555FFFF
    cwd
    mov ecx, edx
    cdq
END

TEST movzx_movsx
;SET     eax=0x8180 ebx=0xFFFFFFFF
;EXPECT  ecx=0x80 edx=0xFFFFFF81 esi=0xFFFF8180 edi=0x8180 ebx=0xFFFFFF80
    movzx ecx, al
    movsx edx, ah
    movsx esi, ax
    movzx edi, ax
    movsx bx, al
END

TEST lea_wraps
;SET     eax=0xFFFFFFFF ebx=0x10
;EXPECT  ecx=0x0E edx=0x0000000E
    lea ecx, [eax + ebx - 1]
    lea dx, [eax + ebx - 1]
END

TEST lea_16_bit_address
;SET     ebx=0x1FFFF esi=0x10002
;EXPECT  ecx=0x0011
    lea ecx, [bx + si + 0x10]
END

TEST xlat_wraps_with_al
;SET     ebx=DATA eax=0xABCDEF80 byte[DATA+0x80]=0x5A
;EXPECT  eax=0xABCDEF5A
    xlatb
END

TEST xchg_registers_and_bytes
;SET     eax=0x11223344 ebx=0x55667788
;EXPECT  eax=0x55667788 ebx=0x11224433
    xchg eax, ebx
    xchg bl, bh
END

TEST xchg_memory
;SET     [DATA]=1 ecx=2
;EXPECT  [DATA]=2 ecx=1
    xchg [DATA], ecx
END

TEST bswap
;SET     eax=0x12345678
;EXPECT  eax=0x78563412
    bswap eax
END

TEST cmov_reads_whatever_the_condition
;SET     eax=1 eflags=0x202
;FAULT   #PF=4
;EXPECT  eax=1 eip=START
    cmovz eax, [DATA - 4]
END

TEST cmov_taken_and_not
;SET     eax=1 ebx=2 ecx=3 eflags=0x242
;EXPECT  eax=3 ebx=2
    cmovz eax, ecx
    cmovnz ebx, ecx
END

TEST setcc_memory_and_register
;SET     eflags=0x283 eax=0xFFFFFFFF
;EXPECT  eax=0xFFFF0001 byte[DATA]=1 byte[DATA+1]=0
    setl al
    setge ah
    setb [DATA]
    setz [DATA + 1]
END

