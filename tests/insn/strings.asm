; MOVS STOS LODS SCAS CMPS and their repetition: counts, direction, overlap, faults in the middle.
%include "test.inc"

TEST movsb_once
;SET     esi=DATA edi=DATA+0x10 byte[DATA]=0x7E ecx=5
;EXPECT  esi=DATA+1 edi=DATA+0x11 byte[DATA+0x10]=0x7E ecx=5
    movsb
END

TEST movsd_downwards
;SET     esi=DATA+4 edi=DATA+0x10 [DATA+4]=0x12345678 eflags=0x602
;EXPECT  esi=DATA edi=DATA+0xC [DATA+0x10]=0x12345678
    movsd
END

TEST rep_movsd
;SET     esi=DATA edi=DATA+0x100 ecx=4 oword[DATA]=0x0123456789ABCDEF0F1E2D3C4B5A6978
;EXPECT  esi=DATA+0x10 edi=DATA+0x110 ecx=0 oword[DATA+0x100]=0x0123456789ABCDEF0F1E2D3C4B5A6978 [DATA+0x110]=0
    rep movsd
END

TEST rep_movsb_across_pages_unaligned
;SET     esi=DATA+0xFFA edi=DATA+0x10 ecx=12 qword[DATA+0xFFA]=0x8877665544332211 [DATA+0x1002]=0xCCBBAA99
;EXPECT  qword[DATA+0x10]=0x8877665544332211 [DATA+0x18]=0xCCBBAA99 esi=DATA+0x1006 edi=DATA+0x1C ecx=0
    rep movsb
END

TEST rep_movsd_elements_across_pages
;SET     esi=DATA+0xFFA edi=DATA+0x13 ecx=3 qword[DATA+0xFFA]=0x8877665544332211 [DATA+0x1002]=0xCCBBAA99
;EXPECT  qword[DATA+0x13]=0x8877665544332211 [DATA+0x1B]=0xCCBBAA99 ecx=0
    rep movsd
END

TEST rep_movsb_upwards_overlap_repeats
;SET     esi=DATA edi=DATA+1 ecx=7 byte[DATA]=0x5A
;EXPECT  qword[DATA]=0x5A5A5A5A5A5A5A5A ecx=0
    rep movsb
END

TEST rep_movsw_upwards_overlap_of_three
;SET     esi=DATA edi=DATA+3 ecx=4 [DATA]=0x00332211
;EXPECT  oword[DATA]=0x2211332211332211332211
    rep movsw
END

TEST rep_movsd_upwards_to_below
;SET     esi=DATA+1 edi=DATA ecx=2 qword[DATA]=0x8877665544332211 byte[DATA+8]=0x99
;EXPECT  qword[DATA]=0x9988776655443322
    rep movsd
END

TEST rep_movsb_downwards_overlap
;SET     esi=DATA+6 edi=DATA+7 ecx=7 qword[DATA]=0x8877665544332211 eflags=0x602
;EXPECT  qword[DATA]=0x7766554433221111 esi=DATA-1 edi=DATA ecx=0
    rep movsb
END

TEST rep_movsd_count_zero
;SET     esi=1 edi=2 ecx=0
;EXPECT  esi=1 edi=2 ecx=0
    rep movsd
END

TEST rep_movsd_source_ends
;SET     esi=DATA+0x1FF8 edi=DATA ecx=5 qword[DATA+0x1FF8]=0x1122334455667788
;FAULT   #PF=4
;EXPECT  esi=DATA+0x2000 edi=DATA+8 ecx=3 qword[DATA]=0x1122334455667788 eip=START
    rep movsd
END

TEST rep_movsb_destination_read_only
;SET     esi=DATA edi=READONLY ecx=5
;FAULT   #PF=7
;EXPECT  esi=DATA edi=READONLY ecx=5 eip=START
    rep movsb
END

TEST rep_movsw_destination_ends_within_an_element
;SET     esi=DATA edi=DATA+0x1FFD ecx=5 [DATA]=0x44332211
;FAULT   #PF=6
;EXPECT  esi=DATA+2 edi=DATA+0x1FFF ecx=4 byte[DATA+0x1FFF]=0 word[DATA+0x1FFD]=0x2211
    rep movsw
END

TEST rep_movsb_address_size_16
;SET     esi=0x20000 edi=0x30000 ecx=0x10000
;EXPECT  esi=0x20000 edi=0x30000 ecx=0x10000
    a16 rep movsb
END

TEST movsb_from_cs
;SET     edi=DATA
;EXPECT  byte[DATA]=0xF8
    mov esi, .byte
    cs movsb
    jmp .done
.byte:
    db 0xF8
.done:
END

TEST rep_stosd_page_and_more
;SET     edi=DATA+0x20 ecx=0x500 eax=0xA5A5A5A5
;EXPECT  edi=DATA+0x1420 ecx=0 [DATA+0x20]=0xA5A5A5A5 [DATA+0x1000]=0xA5A5A5A5 [DATA+0x141C]=0xA5A5A5A5 [DATA+0x1420]=0
;EXPECT  [DATA+0x1C]=0
    rep stosd
END

TEST rep_stosb_faults_at_the_end
;SET     edi=DATA+0x1FFD ecx=10 eax=0x33
;FAULT   #PF=6
;EXPECT  edi=DATA+0x2000 ecx=7 [DATA+0x1FFC]=0x33333300 eip=START
    rep stosb
END

TEST rep_stosw_downwards
;SET     edi=DATA+4 ecx=2 eax=0x1234 eflags=0x602
;EXPECT  edi=DATA ecx=0 qword[DATA]=0x0000123412340000
    rep stosw
END

TEST stosb_of_repne
;SET     edi=DATA ecx=3 eax=0x41
;EXPECT  [DATA]=0x00414141 ecx=0
    repne stosb
END

TEST lodsw_keeps_the_upper_half
;SET     esi=DATA eax=0xABCD1234 word[DATA]=0x5678
;EXPECT  eax=0xABCD5678 esi=DATA+2
    lodsw
END

TEST rep_lodsd_last_stays
;SET     esi=DATA ecx=3 [DATA+8]=0xCAFE0001
;EXPECT  eax=0xCAFE0001 esi=DATA+12 ecx=0
    rep lodsd
END

TEST repne_scasb_finds
;SET     edi=DATA ecx=-1 eax=0 qword[DATA]=0x0000636261 eflags=0x202
;EXPECT  edi=DATA+4 ecx=-5 eflags=0x44
    repne scasb
END

TEST repe_scasd_stops_at_the_difference
;SET     edi=DATA ecx=10 eax=0 [DATA+8]=1
;EXPECT  edi=DATA+12 ecx=7 eflags=0x95
    repe scasd
END

TEST repne_scasb_runs_out
;SET     edi=DATA ecx=4 eax=0x10
;EXPECT  edi=DATA+4 ecx=0 eflags=0
    repne scasb
END

TEST repe_scasb_count_zero_keeps_flags
;SET     edi=1 ecx=0 eflags=0x8D7
;EXPECT  eflags=0x8D5 edi=1
    repe scasb
END

TEST scasw_downwards
;SET     edi=DATA+2 eax=5 word[DATA+2]=5 eflags=0x602
;EXPECT  edi=DATA eflags=0x444
    scasw
END

TEST repe_cmpsb_finds_the_difference
;SET     esi=DATA edi=DATA+0x10 ecx=8 qword[DATA]=0x8877665544332211 qword[DATA+0x10]=0x8877665500332211
;EXPECT  esi=DATA+4 edi=DATA+0x14 ecx=4 eflags=0x4
    repe cmpsb
END

TEST repe_cmpsd_equal
;SET     esi=DATA edi=DATA+0x800 ecx=0x100
;EXPECT  ecx=0 eflags=0x44 esi=DATA+0x400
    repe cmpsd
END

TEST repne_cmpsw_finds_equal
;SET     esi=DATA edi=DATA+0x10 ecx=8 [DATA]=0x11112222 [DATA+0x10]=0x11113333
;EXPECT  esi=DATA+4 edi=DATA+0x14 ecx=6 eflags=0x44
    repne cmpsw
END

TEST cmpsb_reads_its_source_first
;SET     esi=DATA-1 edi=DATA-2
;FAULT   #PF=4
;EXPECT  esi=DATA-1
    cmpsb
END

TEST repe_cmpsb_fault_in_the_middle
;SET     esi=DATA edi=DATA+0x1FFC ecx=8
;FAULT   #PF=4
;EXPECT  esi=DATA+4 edi=DATA+0x2000 ecx=4 eip=START
    repe cmpsb
END

TEST insb_needs_privilege
;SET     edi=DATA edx=0x80 ecx=1
;FAULT   #GP=0
;EXPECT  edi=DATA ecx=1
    rep insb
END

TEST outsd_needs_privilege
;SET     esi=DATA edx=0x80
;FAULT   #GP=0
;EXPECT  esi=DATA
    outsd
END

TEST code_overwritten_by_rep_stos
;SET     ecx=2 eax=0x90
;EXPECT  ebx=0
    mov edi, .overwritten
    rep stosb
    jmp .overwritten
.overwritten:
    mov bl, 1
    nop
END
