/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Segmentation: from segment and offset to linear address, segment register
 * loads, privilege (SDM vol. 3, chapters 3, 5).
 */
#ifndef SOFTKVM_CPU_SEGMENT_H
#define SOFTKVM_CPU_SEGMENT_H

#include "insn.h"

/* Checks that need more than a base: limits, types, canonical form.  #GP(0), #SS(0). */
enum cpu_status segment_check(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
                              enum cpu_access access);

static inline bool is_canonical(uint64_t addr)
{
    return (uint64_t)((int64_t)(addr << 16) >> 16) == addr;
}

/*
 * segment_linear - the linear address of size bytes at seg:offset.
 *
 * In 64-bit mode only FS and GS have a base and nothing has a limit; an address
 * that isn't canonical is caught here.  Elsewhere limits and types are checked
 * and the sum wraps at 4 GiB.
 */
static inline enum cpu_status segment_linear(struct cpu *cpu, unsigned seg, uint64_t offset,
                                             unsigned size, enum cpu_access access,
                                             uint64_t *linear)
{
    enum cpu_status status;

    if (cpu->code_size == 8) {
        uint64_t addr = seg >= SEG_FS ? cpu->seg[seg].base + offset : offset;

        if (__builtin_expect(is_canonical(addr) && is_canonical(addr + size - 1), 1)) {
            *linear = addr;
            return CPU_OK;
        }
    }
    status = segment_check(cpu, seg, offset, size, access);
    if (status == CPU_OK)
        *linear = (uint32_t)(cpu->seg[seg].base + offset);
    return status;
}

/* The linear address of the instruction's memory operand. */
static inline enum cpu_status insn_linear(struct cpu *cpu, const struct insn *insn, unsigned size,
                                          enum cpu_access access, uint64_t *linear)
{
    return segment_linear(cpu, insn->seg, insn_offset(cpu, insn), size, access, linear);
}

/* MOV to a segment register, POP, LDS...: all checks, commits only on CPU_OK. SEG_CS is #UD. */
enum cpu_status segment_load(struct cpu *cpu, unsigned seg, uint16_t selector);

/* Real mode and virtual-8086: base = selector << 4, the rest stays (or is set in VM86). */
void segment_load_real(struct cpu *cpu, unsigned seg, uint16_t selector);

/*
 * Read a descriptor, 8 bytes, from the GDT or LDT.  CPU_FAULT with vector
 * (code: selector without RPL) where it lies beyond the table's limit.
 */
enum cpu_status descriptor_read(struct cpu *cpu, uint16_t selector, uint8_t vector,
                                uint64_t *descriptor);
void descriptor_unpack(uint64_t descriptor, uint16_t selector, struct cpu_segment *segment);

/* code_size, stack_size, cpl, mmu_index, long_mode from segments, CR0, CR4, EFER, RFLAGS. */
void cpu_update_mode(struct cpu *cpu);

#endif
