/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bits of control registers, for assembly.  Source: SDM vol. 3, 2.5 and 2.2.1. */
#ifndef REGISTERS_H
#define REGISTERS_H

#define CR0_PE          0x1
#define CR0_MP          0x2
#define CR0_NE          0x20
#define CR0_WP          0x10000
#define CR0_PG          0x80000000
#define CR4_PAE         0x20
#define CR4_OSFXSR      0x200
#define CR4_OSXMMEXCPT  0x400
#define MSR_EFER        0xc0000080
#define EFER_LME        0x100
#define EFER_NXE        0x800

#endif
