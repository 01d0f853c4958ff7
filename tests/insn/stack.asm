; PUSH POP PUSHA POPA ENTER LEAVE, and what happens to ESP when they fault.
%include "test.inc"

TEST push_pop_registers
;SET     eax=0x11111111 ebx=0x22222222
;EXPECT  eax=0x22222222 ebx=0x11111111 esp=STACK [STACK-4]=0x11111111 [STACK-8]=0x22222222
    push eax
    push ebx
    pop eax
    pop ebx
END

TEST push_esp_pushes_the_old_value
;EXPECT  [STACK-4]=STACK esp=STACK-4
    push esp
END

TEST pop_esp_loads
;SET     [STACK-4]=STACK-0x100
;EXPECT  esp=STACK-0x100
    sub esp, 4
    pop esp
END

TEST push_word_and_bytes
;SET     eax=0xABCD1234
;EXPECT  esp=STACK-6 word[STACK-2]=0x1234 [STACK-6]=0xFFFFFF80
    push ax
    push byte -128
END

TEST push_word_immediate
;EXPECT  esp=STACK-2 word[STACK-2]=0xFFFE
    push word -2
END

TEST push_memory_with_esp_is_the_old_esp
;SET     [STACK-8]=0x77
;EXPECT  [STACK-12]=0x77 esp=STACK-12
    sub esp, 8
    push dword [esp]
END

TEST pop_memory_with_esp_is_the_new_esp
;SET     [STACK-8]=0x55
;EXPECT  [STACK-4]=0x55 esp=STACK-4
    sub esp, 8
    pop dword [esp]
END

TEST pop_to_read_only_keeps_esp
;SET     [STACK-4]=0x55
;FAULT   #PF=7
;EXPECT  esp=STACK-4 [READONLY]=0
    sub esp, 4
    pop dword [READONLY]
END

TEST push_below_the_stack_keeps_esp
;SET     esp=STACK-0x4000 eax=1
;FAULT   #PF=6
;EXPECT  esp=STACK-0x4000 eip=START
    push eax
END

TEST pop_above_the_stack_keeps_esp
;FAULT   #PF=4
;EXPECT  esp=STACK eax=0
    pop eax
END

TEST pop_word
;SET     word[STACK-2]=0x1234 eax=0xFFFFFFFF
;EXPECT  eax=0xFFFF1234 esp=STACK
    sub esp, 2
    pop ax
END

TEST pusha_order
;SET     eax=1 ecx=2 edx=3 ebx=4 ebp=5 esi=6 edi=7
;EXPECT  esp=STACK-32 [STACK-4]=1 [STACK-8]=2 [STACK-12]=3 [STACK-16]=4 [STACK-20]=STACK [STACK-24]=5 [STACK-28]=6
;EXPECT  [STACK-32]=7
    pusha
END

TEST popa_skips_esp
;SET     [STACK-4]=1 [STACK-8]=2 [STACK-12]=3 [STACK-16]=4 [STACK-20]=0xDEAD [STACK-24]=5 [STACK-28]=6 [STACK-32]=7
;EXPECT  eax=1 ecx=2 edx=3 ebx=4 ebp=5 esi=6 edi=7 esp=STACK
    sub esp, 32
    popa
END

TEST pushaw_popaw
;SET     eax=0xFFFF0001 edi=0xFFFF0007
;EXPECT  esp=STACK word[STACK-2]=1 word[STACK-16]=7 eax=0xFFFF0001 edi=0xFFFF0007 word[STACK-10]&0xFFFF=0x4000
    pushaw
    popaw
END

TEST pusha_that_does_not_fit_changes_nothing
;SET     esp=STACK-0x4000+12 eax=5
;FAULT   #PF=6
;EXPECT  esp=STACK-0x4000+12
    pusha
END

TEST popa_that_does_not_fit_keeps_esp
;SET     esp=STACK-12 [STACK-12]=1
;FAULT   #PF=4
;EXPECT  esp=STACK-12
    popa
END

TEST enter_level_zero
;SET     ebp=0x1234
;EXPECT  ebp=STACK-4 esp=STACK-20 [STACK-4]=0x1234
    enter 16, 0
END

TEST enter_level_one
;SET     ebp=0x1234
;EXPECT  ebp=STACK-4 esp=STACK-8 [STACK-4]=0x1234 [STACK-8]=STACK-4
    enter 0, 1
END

TEST enter_level_three_copies_the_display
;SET     ebp=DATA+0x100 [DATA+0xFC]=0xAAAA [DATA+0xF8]=0xBBBB
;EXPECT  ebp=STACK-4 esp=STACK-24 [STACK-4]=DATA+0x100 [STACK-8]=0xAAAA [STACK-12]=0xBBBB [STACK-16]=STACK-4
    enter 8, 3
END

TEST enter_level_is_modulo_32
;SET     ebp=7
;EXPECT  ebp=STACK-4 esp=STACK-4
    enter 0, 32
END

TEST enter_word
;SET     ebp=0xABCD1234
;EXPECT  word[STACK-2]=0x1234 ebp=0xABCD3FFE esp=STACK-6
    o16 enter 4, 0
END

TEST enter_display_faults
;SET     ebp=0x100
;FAULT   #PF=4
;EXPECT  ebp=0x100 esp=STACK eip=START
    enter 0, 2
END

TEST enter_frame_faults_where_the_stack_ends
;SET     ebp=0x100
;FAULT   #PF=6
;EXPECT  ebp=0x100 esp=STACK eip=START
    enter 0x8000, 0
END

TEST leave
;SET     ebp=STACK-16 [STACK-16]=0x4321 esp=STACK-0x100
;EXPECT  esp=STACK-12 ebp=0x4321
    leave
END

TEST leave_faults_and_keeps_both
;SET     ebp=STACK+0x10 esp=STACK-8
;FAULT   #PF=4
;EXPECT  ebp=STACK+0x10 esp=STACK-8
    leave
END

TEST push_pop_segments
;EXPECT  esp=STACK eax=0x2B ecx=0x2B
    push ds
    pop es
    push es
    pop eax
    mov ecx, ds
    and eax, 0xFFFF
END

TEST push_segment_zero_extends
;SET     [STACK-4]=0xFFFFFFFF
;EXPECT  esp=STACK-4 word[STACK-4]=0x2B
    push ds
END

TEST mov_segment_to_register_zero_extends
;SET     eax=0xFFFFFFFF ecx=0xFFFFFFFF [DATA]=0xFFFFFFFF
;EXPECT  eax=0x2B ecx=0xFFFF002B [DATA]=0xFFFF002B
    mov eax, ss
    mov cx, ds
    mov [DATA], ds
END

TEST mov_ss_and_the_next_instruction
;SET     ecx=5
;EXPECT  esp=STACK-0x20 ecx=6
    mov eax, ss
    mov ss, eax
    mov esp, STACK - 0x20
    inc ecx
END

TEST mov_null_to_ss_faults
;FAULT   #GP=0
    xor eax, eax
    mov ss, eax
END

TEST null_data_segment_faults_when_used
;FAULT   #GP=0
    xor eax, eax
    mov es, eax
    mov eax, [es:DATA]
END

TEST lds_and_les
;SET     [DATA]=0x12345678 word[DATA+4]=0x2B
;EXPECT  ebx=0x12345678 ecx=0x12345678
    les ebx, [DATA]
    lds ecx, [es:DATA]
END

TEST lss_loads_both
;SET     [DATA]=STACK-0x40 word[DATA+4]=0x2B
;EXPECT  esp=STACK-0x40
    lss esp, [DATA]
END

; Nothing is written, so memory may be read-only, when the level stays.
TEST arpl_that_changes_nothing
;SET     eax=0
;EXPECT  eflags&0x40=0
    arpl [READONLY], ax
END

TEST arpl_that_raises
;SET     eax=3
;FAULT   #PF=7
    arpl [READONLY], ax
END
