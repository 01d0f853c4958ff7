; MUL IMUL DIV IDIV. Only CF and OF are defined after a multiplication, nothing after a division.
%include "test.inc"

TEST mul_byte
;SET     eax=0x12345680 ecx=2
;EXPECT  eax=0x12340100 eflags&0x801=0x801
    mul cl
END

TEST mul_byte_small
;SET     eax=0x10 ecx=2 eflags=0xA03
;EXPECT  eax=0x20 eflags&0x801=0
    mul cl
END

TEST mul_word
;SET     eax=0xFFFF8000 edx=0xAAAAAAAA ecx=4
;EXPECT  eax=0xFFFF0000 edx=0xAAAA0002 eflags&0x801=0x801
    mul cx
END

TEST mul_dword
;SET     eax=0xFFFFFFFF ecx=0xFFFFFFFF
;EXPECT  eax=1 edx=0xFFFFFFFE eflags&0x801=0x801
    mul ecx
END

TEST mul_memory
;SET     eax=3 edx=9 [DATA]=5
;EXPECT  eax=15 edx=0 eflags&0x801=0
    mul dword [DATA]
END

TEST mul_high_byte_of_itself
;SET     eax=0x0304
;EXPECT  eax=0x000C
    mul ah
END

TEST imul_byte
;SET     eax=0xFF ecx=0x80
;EXPECT  eax=0x0080 eflags&0x801=0x801
    imul cl
END

TEST imul_dword_fits
;SET     eax=-3 ecx=7
;EXPECT  eax=-21 edx=-1 eflags&0x801=0
    imul ecx
END

TEST imul_two_operands
;SET     eax=0x10000 ecx=0x10000
;EXPECT  eax=0 eflags&0x801=0x801
    imul eax, ecx
END

TEST imul_three_operands_byte_immediate
;SET     [DATA]=-5
;EXPECT  eax=50 eflags&0x801=0
    imul eax, [DATA], byte -10
END

TEST imul_three_operands_word
;SET     ecx=0x4000 eax=0x12340000
;EXPECT  eax=0x12344000 eflags&0x801=0x801
    imul ax, cx, 0x101
END

TEST div_byte
;SET     eax=0x01FE ecx=2
;EXPECT  eax=0x00FF
    div cl
END

TEST div_byte_overflows
;SET     eax=0x0200 ecx=2 eflags=0x8D7
;FAULT   #DE
;EXPECT  eax=0x0200 eip=START eflags=0x8D5
    div cl
END

TEST div_by_zero
;SET     eax=5
;FAULT   #DE
;EXPECT  eax=5 edx=0
    div ecx
END

TEST div_word
;SET     edx=0xFFFF0001 eax=0xFFFF0007 ecx=0x10
;EXPECT  eax=0xFFFF1000 edx=0xFFFF0007
    div cx
END

TEST div_dword
;SET     edx=1 eax=5 ecx=2
;EXPECT  eax=0x80000002 edx=1
    div ecx
END

TEST div_dword_overflows
;SET     edx=2 eax=0 ecx=2
;FAULT   #DE
;EXPECT  eax=0 edx=2
    div ecx
END

TEST div_memory_fault_comes_first
;SET     edx=2
;FAULT   #PF=4
    div dword [DATA - 4]
END

TEST idiv_byte_negative
;SET     eax=0xFFF9 ecx=2
;EXPECT  eax=0xFFFD
    idiv cl
END

TEST idiv_byte_smallest_quotient
;SET     eax=0xFF80 ecx=1
;EXPECT  eax=0x0080
    idiv cl
END

TEST idiv_byte_overflows_upwards
;SET     eax=0x0080 ecx=1
;FAULT   #DE
;EXPECT  eax=0x0080
    idiv cl
END

TEST idiv_dword_signs
;SET     edx=-1 eax=-7 ecx=2
;EXPECT  eax=-3 edx=-1
    idiv ecx
END

TEST idiv_smallest_by_minus_one
;SET     edx=-1 eax=0x80000000 ecx=-1
;FAULT   #DE
;EXPECT  eax=0x80000000 edx=-1
    idiv ecx
END

TEST idiv_smallest_of_all_by_minus_one
;SET     edx=0x80000000 eax=0 ecx=-1
;FAULT   #DE
    idiv ecx
END

TEST idiv_gives_the_smallest
;SET     edx=0xC0000000 eax=0 ecx=0x80000000
;FAULT   #DE
    idiv ecx
END

TEST idiv_gives_the_smallest_exactly
;SET     edx=0xFFFFFFFF eax=0 ecx=2
;EXPECT  eax=0x80000000 edx=0
    idiv ecx
END
