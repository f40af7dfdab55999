/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Segmentation: from segment and offset to linear address, segment register
 * loads, privilege (SDM vol. 3, chapters 3, 5).
 */
#ifndef SOFTKVM_CPU_SEGMENT_H
#define SOFTKVM_CPU_SEGMENT_H

#include "insn.h"
#include "mode.h"

/* Checks that need more than a base: limits, types, canonical form.  #GP(0), #SS(0). */
enum cpu_status segment_check(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
                              enum cpu_access access);

/* All bits from the sign bit up are equal: bit 47, with 5-level paging bit 56. */
static inline bool is_canonical_by(uint64_t addr, unsigned sign_bit)
{
    return (uint64_t)((int64_t)addr >> sign_bit) + 1 < 2;
}

static inline bool is_canonical(const struct cpu *cpu, uint64_t addr)
{
    return is_canonical_by(addr, cpu->cr4 & CR4_LA57 ? 56 : 47);
}

/* Of a base in a register: as far as the processor can, whatever its paging is now. */
static inline bool is_canonical_base(const struct cpu *cpu, uint64_t addr)
{
    return is_canonical_by(addr, cpu->la57 ? 56 : 47);
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

        if (__builtin_expect(is_canonical(cpu, addr) && is_canonical(cpu, addr + size - 1), 1)) {
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

/* The upper 8 bytes of a system descriptor in long mode.  Faults like descriptor_read(). */
enum cpu_status descriptor_read_upper(struct cpu *cpu, uint16_t selector, uint8_t vector,
                                      uint64_t *upper);

/*
 * Set bits of the access byte (SEG_TYPE_ACCESSED; 2 for a TSS's busy bit), or
 * clear them, in the table and in *segment.  Atomic.
 */
enum cpu_status descriptor_set_type(struct cpu *cpu, struct cpu_segment *segment, uint32_t bits);
enum cpu_status descriptor_clear_type(struct cpu *cpu, uint16_t selector, uint32_t bits);

/*
 * The stack segment for privilege level dpl: read and checked, not loaded.
 * Faults with vector (#TS, #GP), and #SS where it isn't present; ext is or-ed
 * to the error code.
 */
enum cpu_status segment_read_stack(struct cpu *cpu, uint16_t selector, unsigned dpl,
                                   uint8_t vector, uint32_t ext, struct cpu_segment *ss);

/* Does size bytes at offset lie within the segment's limit (both kinds)? */
bool segment_limit_ok(const struct cpu_segment *segment, uint64_t offset, unsigned size);

/* A segment register without a segment; in 64-bit code a usable SS of the given privilege. */
void segment_load_null(struct cpu *cpu, unsigned seg, uint16_t selector, unsigned dpl);

/* LLDT, LTR. */
enum cpu_status segment_load_ldt(struct cpu *cpu, uint16_t selector);
enum cpu_status segment_load_tr(struct cpu *cpu, uint16_t selector);

/*
 * After a change of segments, CR0, CR4, EFER or RFLAGS: what follows from them,
 * which is code_size, stack_size, cpl, mmu_index, long_mode.
 */
void cpu_update_mode(struct cpu *cpu);

#endif
