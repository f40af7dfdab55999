/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interrupt entries, and calls that survive an exception. */
    .text
    .code64
    .globl vector_table
    .align 16
/* 256 entries of 16 bytes: push the vector (after a zero where there's no error code). */
vector_table:
    .set n, 0
    .rept 256
    .align 16
    .if (n == 8) || (n >= 10 && n <= 14) || (n == 17) || (n == 21) || (n == 29) || (n == 30)
    .else
    pushq $0
    .endif
    pushq $n
    jmp common_entry
    .set n, n + 1
    .endr

common_entry:
    cld
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    movq %rsp, %rbp
    andq $-16, %rsp
    call interrupt_entry
    movq %rbp, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq

/*
 * uint64_t try_call(uint64_t (*fn)(uint64_t), uint64_t arg): fn's result.  When fn
 * raises an exception, interrupt_entry() brings us to try_return.
 */
    .globl try_call, try_return
try_call:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    movq %rsp, try_rsp
    movq %rdi, %rax
    movq %rsi, %rdi
    call *%rax
try_return:
    movq try_rsp, %rsp
    movq $0, try_rsp
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

/* uint64_t ring3_call(fn, arg): the same at CPL 3; the way back is INT 0x80. */
    .globl ring3_call
ring3_call:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    movq %rsp, try_rsp
    pushq $0x2b
    leaq ring3_stack_top(%rip), %rax
    pushq %rax
    pushq $2
    pushq $0x33
    leaq 1f(%rip), %rax
    pushq %rax
    movq %rdi, %rax
    movq %rsi, %rdi
    iretq
1:  call *%rax
    int $0x80

    .bss
    .align 16
    .skip 4096
ring3_stack_top:
    .globl try_rsp
try_rsp:
    .skip 8
    .section .note.GNU-stack, "", @progbits
