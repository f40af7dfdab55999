/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Instructions that KVM may have to read in order to carry them out: MMIO, HLT,
 * control registers.  A processor without decode assists and next-RIP saving leaves
 * that to KVM, which can't read private memory: it reads the shared copy, zeros.  The
 * same goes for the page tables that lead there.  So this page of the image and its
 * page tables are made shared before anything in them runs.
 * Source: AMD APM vol. 2, 15.7.1 and 15.8.4; Linux Documentation/virt/kvm/x86/hypercalls.rst.
 */
#include "registers.h"

#define CPUID_KVM               0x40000000
#define KVM_SIGNATURE           0x4b4d564b      /* "KVMK" */
#define FEATURE_MAP_GPA_RANGE   16
#define HC_MAP_GPA_RANGE        12
#define EXITS_PAGES             7               /* the code and its page tables */
#define VENDOR_AUTH             0x68747541      /* "Auth"enticAMD */
#define VENDOR_HYGO             0x6f677948      /* "Hygo"nGenuine */

    .section .exits, "ax"
    .code32
/* Returns in 32-bit compatibility mode: the caller's far jump makes it 64. */
    .globl enter_long_mode
enter_long_mode:
    movl $(CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT), %eax
    movl %eax, %cr4
    movl $page_pml4, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $(EFER_LME | EFER_NXE), %eax
    wrmsr
    movl $(CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_PE), %eax
    movl %eax, %cr0
    lgdt gdt_pointer
    ret

    .code64
    .globl mmio_read, mmio_write, read_cr0, write_cr0, wait_for_interrupt
mmio_read:
    movl (%rdi), %eax
    ret
mmio_write:
    movl %esi, (%rdi)
    ret
read_cr0:
    movq %cr0, %rax
    ret
write_cr0:
    movq %rdi, %cr0
    ret
wait_for_interrupt:
    sti
    hlt
    cli
    ret

    .align 4096
    .globl page_pml4, page_pdpt, page_directories
page_pml4:
    .skip 4096
page_pdpt:
    .skip 4096
page_directories:
    .skip 4 * 4096

/*
 * Shares the pages above where the VM has private memory; before page tables are
 * built.  Their contents are lost with two backings, so the code is put back.  32-bit
 * code in private memory: CPUID and the hypercall are written so that they work there
 * (see vmmcall() in hypercall.c).
 */
    .section .text.start, "ax"
    .code32
    .globl show_exits
show_exits:
    movl $CPUID_KVM, %eax
    cpuid
    cmpl $KVM_SIGNATURE, %ebx
    jne 3f
    movl $(CPUID_KVM + 1), %eax
    cpuid
    btl $FEATURE_MAP_GPA_RANGE, %eax
    jnc 3f

    movl $exits_page, %esi
    movl $exits_copy, %edi
    movl $1024, %ecx
    rep movsl

    xorl %eax, %eax
    cpuid
    movl %ebx, %edi
    movl $HC_MAP_GPA_RANGE, %eax
    movl $exits_page, %ebx
    movl $EXITS_PAGES, %ecx
    xorl %edx, %edx
    movl $(fpu_environment + 112), %esi
    cmpl $VENDOR_AUTH, %edi
    je 1f
    cmpl $VENDOR_HYGO, %edi
    je 1f
    vmcall
    jmp 2f
1:  .byte 0x0f, 0x01, 0xd9, 0x66, 0x90
2:
    movl $exits_copy, %esi
    movl $exits_page, %edi
    movl $1024, %ecx
    rep movsl
3:  ret

    .section .rodata
    .align 4
fpu_environment:
    .long 0x37f, 0, 0xffff, 0, 0, 0, 0

    .bss
    .align 4096
exits_copy:
    .skip 4096
    .section .note.GNU-stack, "", @progbits
