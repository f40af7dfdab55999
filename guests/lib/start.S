/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the PVH entry (32-bit protected mode without paging, EBX: start info) and
 * from a startup IPI (real mode) to C in long mode.
 * Source: Xen docs/misc/pvh.pandoc for the entry; SDM vol. 3, 10.8.5 for IA-32e mode.
 */
#include "registers.h"

#define PT_ENTRY        0x7             /* present, writable, user */
#define PT_LARGE        0x80
#define TRAMPOLINE      0x8000
#define STACK_SIZE      0x4000

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 4, 18                      /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long pvh_entry

    .section .text.start, "ax"
    .code32
    .globl pvh_entry
pvh_entry:
    cld
    movl %ebx, start_info_address
    movl $boot_stack_top, %esp
    call show_exits

    /* Identity map of 4 GiB in pages of 2 MiB. */
    movl $(page_pdpt + PT_ENTRY), page_pml4
    movl $page_pdpt, %edi
    movl $(page_directories + PT_ENTRY), %eax
    movl $4, %ecx
1:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    loop 1b
    movl $page_directories, %edi
    movl $(PT_ENTRY | PT_LARGE), %eax
    movl $2048, %ecx
2:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 2b

    call enter_long_mode
    ljmp $0x18, $start64

ap_start32:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %ss
    /* CPUs come up together: each takes a number, and the stack of that number. */
    movl $1, %ebx
    lock xaddl %ebx, ap_next
    movl %ebx, %eax
    imull $STACK_SIZE, %eax
    leal ap_stacks(%eax), %esp
    call enter_long_mode
    ljmp $0x18, $ap_start64

    .code64
start64:
    call load_segments
    xorl %ebp, %ebp
    call guest_start
3:  pause
    jmp 3b

ap_start64:
    call load_segments
    movl %ebx, %edi
    xorl %ebp, %ebp
    call ap_main
4:  pause
    jmp 4b

load_segments:
    movl $0x20, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    ret

/* Copied to TRAMPOLINE; entered in real mode with CS = TRAMPOLINE >> 4. */
    .globl trampoline, trampoline_end
    .code16
trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl trampoline_gdt_pointer - trampoline
    movl %cr0, %eax
    orl $CR0_PE, %eax
    movl %eax, %cr0
    ljmpl $0x08, $ap_start32
    .align 4
trampoline_gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
trampoline_end:

    .code64
    .data
    .align 16
    .globl gdt
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff            /* 0x08 code, 32 bits */
    .quad 0x00cf93000000ffff            /* 0x10 data, 32 bits */
    .quad 0x00af9b000000ffff            /* 0x18 code, 64 bits */
    .quad 0x00cf93000000ffff            /* 0x20 data */
    .quad 0x00cff3000000ffff            /* 0x28 data, ring 3 */
    .quad 0x00affb000000ffff            /* 0x30 code, 64 bits, ring 3 */
    .quad 0, 0                          /* 0x38 TSS, filled in C */
    .quad 0x00cf13000000ffff            /* 0x48 data, not present */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt

    .globl start_info_address, gdt_pointer
start_info_address:
    .long 0
ap_next:
    .long 1

    .bss
    .align 16
    .skip STACK_SIZE
boot_stack_top:
ap_stacks:                              /* stack n ends at ap_stacks + n * STACK_SIZE */
    .skip 64 * STACK_SIZE
    .section .note.GNU-stack, "", @progbits
