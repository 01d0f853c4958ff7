; BT BTS BTR BTC BSF BSR: only CF of the bit tests and only ZF of the scans is defined.
%include "test.inc"

TEST bt_register_modulo_width
;SET     eax=0x80000000 ecx=63
;EXPECT  eflags&1=1
    bt eax, ecx
END

TEST bt_word_immediate
;SET     eax=0x00010000
;EXPECT  eflags&1=0
    bt ax, 16
END

TEST bt_memory_reaches_upwards
;SET     byte[DATA+0x105]=0x10 ebx=DATA+0x100 ecx=44
;EXPECT  eflags&1=1
    bt [ebx], ecx
END

TEST bts_memory_reaches_downwards
;SET     ebx=DATA+0x100 ecx=-1 eflags=0x203
;EXPECT  [DATA+0xFC]=0x80000000 eflags&1=0
    bts [ebx], ecx
END

TEST btr_word_memory_reaches_downwards
;SET     ebx=DATA+0x100 ecx=0xFFFFFFEF word[DATA+0xFC]=0xFFFF
;EXPECT  word[DATA+0xFC]=0x7FFF eflags&1=1
    btr [ebx], cx
END

TEST btc_memory_immediate_stays
;SET     [DATA]=0 [DATA+4]=0
;EXPECT  [DATA]=2 [DATA+4]=0 eflags&1=0
    btc dword [DATA], 33
END

TEST btc_register
;SET     eax=3 ecx=1
;EXPECT  eax=1 eflags&1=1
    btc eax, ecx
END

TEST bts_of_read_only_faults
;SET     [READONLY]=0 eflags=0x202
;FAULT   #PF=7
;EXPECT  eflags=0
    bts dword [READONLY], 3
END

TEST bt_of_read_only
;SET     [READONLY]=8
;EXPECT  eflags&1=1
    bt dword [READONLY], 3
END

TEST bsf
;SET     ecx=0x00010100
;EXPECT  eax=8 eflags&0x40=0
    bsf eax, ecx
END

TEST bsr_word
;SET     ecx=0xFFFF0101 eax=0xAAAAAAAA
;EXPECT  eax=0xAAAA0008 eflags&0x40=0
    bsr ax, cx
END

TEST bsf_of_zero_keeps_the_destination
;SET     eax=0x1234
;EXPECT  eax=0x1234 eflags&0x40=0x40
    bsf eax, ecx
END

TEST bsr_memory
;SET     [DATA]=0x80000000
;EXPECT  eax=31
    bsr eax, [DATA]
END
