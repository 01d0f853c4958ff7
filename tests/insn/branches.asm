; Near branches.
%include "test.inc"

%macro JUMP_TEST 3  ; condition, EFLAGS that take it, EFLAGS that do not: ESI counts the right decisions
    push dword %2
    popf
    j%1 %%taken
    jmp %%second
%%taken:
    inc esi
%%second:
    push dword %3
    popf
    j%1 near %%wrong
    inc esi
%%wrong:
%endmacro

TEST every_condition
;EXPECT  esi=32
    JUMP_TEST o,  0xA02, 0x2D7
    JUMP_TEST no, 0x2D7, 0xA02
    JUMP_TEST b,  0x203, 0xAD6
    JUMP_TEST nb, 0xAD6, 0x203
    JUMP_TEST z,  0x242, 0xA97
    JUMP_TEST nz, 0xA97, 0x242
    JUMP_TEST be, 0x243, 0xA96
    JUMP_TEST nbe, 0xA96, 0x203
    JUMP_TEST s,  0x282, 0xA57
    JUMP_TEST ns, 0xA57, 0x282
    JUMP_TEST p,  0x206, 0xAD3
    JUMP_TEST np, 0xAD3, 0x206
    JUMP_TEST l,  0x282, 0xA82
    JUMP_TEST nl, 0xA82, 0xA02
    JUMP_TEST le, 0x242, 0xA82
    JUMP_TEST nle, 0x202, 0xA02
END

TEST call_and_ret
;EXPECT  esp=STACK eax=3
    call .subroutine
    add eax, 1
    jmp .done
.subroutine:
    mov eax, 2
    ret
.done:
END

TEST call_indirect_register_and_memory
;EXPECT  esp=STACK eax=12
    mov ecx, .subroutine
    mov [DATA], ecx
    call ecx
    call [DATA]
    jmp .done
.subroutine:
    add eax, 6
    ret
.done:
END

TEST call_through_the_stack_uses_the_old_esp
;EXPECT  esp=STACK-4 eax=1
    push dword .subroutine
    call [esp]
    jmp .done
.subroutine:
    inc eax
    ret
.done:
END

TEST call_pushes_the_next_address
;EXPECT  eax=5
    call .next
.next:
    pop eax
    sub eax, .next - 5
END

TEST ret_immediate
;EXPECT  esp=STACK eax=1
    push dword 1
    push dword 2
    call .subroutine
    jmp .done
.subroutine:
    inc eax
    ret 8
.done:
END

TEST call_that_cannot_push_changes_nothing
;SET     esp=STACK-0x4000
;FAULT   #PF=6
;EXPECT  esp=STACK-0x4000 eip=START
    call .next
.next:
END

TEST jump_to_memory
;EXPECT  eax=7
    mov dword [DATA + 8], .target
    mov ecx, 2
    jmp [DATA + ecx * 4]
    mov eax, 1
.target:
    add eax, 7
END

TEST jump_register_16_bits_cuts_the_target
;SET     ecx=0xFFFF0010
;FAULT   #PF
;EXPECT  eip=0x10
    jmp cx
END

TEST ret_16_bits_cuts_the_target
;SET     word[STACK-2]=0x0020
;FAULT   #PF
;EXPECT  eip=0x20 esp=STACK
    sub esp, 2
    o16 ret
END

TEST loop_counts
;SET     ecx=5 eflags=0x8D7
;EXPECT  ecx=0 eax=5
.again:
    inc eax
    loop .again
END

TEST loop_with_zero_wraps
;SET     eflags=0x8D7
;EXPECT  ecx=0xFFFFFFFF
    loop .taken
    mov ecx, 1
.taken:
END

TEST loop_word_counter
;SET     ecx=0x00010001
;EXPECT  ecx=0x00010000 eax=0
    a16 loop .taken
    jmp .done
.taken:
    mov eax, 1
.done:
END

TEST loopz_and_loopnz
;SET     ecx=10 eflags=0x202
;EXPECT  ecx=6 ebx=3
.again:
    inc ebx
    cmp ebx, 3
    loopnz .again
    loopz .equal
.equal:
END

TEST jecxz_and_jcxz
;SET     ecx=0x00010000
;EXPECT  eax=2
    jecxz .wrong
    inc eax
    jcxz .right
    jmp .wrong
.right:
    inc eax
.wrong:
END

TEST backward_jump_over_a_page
;EXPECT  eax=1
    jmp .far
.back:
    inc eax
    jmp .done
    times 5000 nop
.far:
    jmp .back
.done:
END
