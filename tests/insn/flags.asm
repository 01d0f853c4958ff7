; CLC STC CMC CLD STD LAHF SAHF SALC, PUSHF and POPF at CPL 3 with IOPL 0.
%include "test.inc"

TEST carry
;SET     eflags=0x8D6
;EXPECT  eflags=0x8D5 eax=0xFF ebx=1 ecx=0 edx=1
    stc
    setc bl
    clc
    setc cl
    cmc
    setc dl
    salc
END

TEST direction
;SET     eflags=0x202
;EXPECT  eflags=0x400 eax=0x402 ecx=2
    cld
    pushf
    pop ecx
    std
    pushf
    pop eax
    and eax, 0x402
    and ecx, 0x402
    push dword 0x602
    popf
END

TEST lahf_sets_bit_one
;SET     eflags=0xAD7 eax=0x11110011
;EXPECT  eax=0x1111D711 eflags=0x8D5
    lahf
END

TEST sahf_keeps_overflow
;SET     eflags=0xA02 eax=0xFF00
;EXPECT  eflags=0x8D5
    sahf
END

TEST salc_clear
;SET     eax=0xAAAAAAAA eflags=0x202
;EXPECT  eax=0xAAAAAA00
    salc
END

TEST popf_cannot_change_iopl_and_if
;SET     eflags=0x202
;EXPECT  eax&0x3200=0x200
    push dword 0x3002
    popf
    pushf
    pop eax
END

TEST id_flag_toggles
;SET     eflags=0x202
;EXPECT  eax=0x200000
    pushf
    pop ecx
    mov eax, ecx
    xor eax, 0x200000
    push eax
    popf
    pushf
    pop eax
    xor eax, ecx
    push ecx
    popf
END

TEST pushf_word
;SET     eflags=0xAD7 [STACK-4]=0xFFFFFFFF
;EXPECT  [STACK-4]=0x0AD7FFFF esp=STACK-2
    pushfw
END
