// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Segment registers and descriptors: limits and types, loads in every mode,
 * LDT and TR (SDM vol. 3, chapters 3, 5; 20 for virtual-8086).
 */
#include "segment.h"
#include "exception.h"
#include "mmu.h"
#include "mode.h"

enum { SELECTOR_TI = 4, SELECTOR_RPL = 3 };

static bool is_null(uint16_t selector)
{
    return !(selector & ~SELECTOR_RPL);
}

static enum cpu_status selector_fault(struct cpu *cpu, uint8_t vector, uint16_t selector)
{
    return raise_fault_code(cpu, vector, selector & ~SELECTOR_RPL);
}

bool segment_limit_ok(const struct cpu_segment *segment, uint64_t offset, unsigned size)
{
    uint64_t last = offset + size - 1;
    bool down = (segment->ar & (SEG_AR_S | SEG_TYPE_CODE | SEG_TYPE_DOWN)) ==
                (SEG_AR_S | SEG_TYPE_DOWN);

    if (down)
        return offset > segment->limit && last <= (segment->ar & SEG_AR_DB ? UINT32_MAX : 0xffff);
    return last <= segment->limit;
}

static bool type_allows(const struct cpu_segment *segment, enum cpu_access access)
{
    bool code = segment->ar & SEG_TYPE_CODE;

    if (segment->ar & SEG_AR_UNUSABLE)
        return false;
    switch (access) {
    case ACCESS_EXEC:
        return true;
    case ACCESS_READ:
        return !code || (segment->ar & SEG_TYPE_READ);
    case ACCESS_WRITE:
        return !code && (segment->ar & SEG_TYPE_WRITE);
    }
    return false;
}

enum cpu_status segment_check(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
                              enum cpu_access access)
{
    const struct cpu_segment *s = &cpu->seg[seg];
    uint8_t vector = seg == SEG_SS ? VECTOR_SS : VECTOR_GP;

    /* In 64-bit mode only addresses that aren't canonical come here. */
    if (mode_64(cpu))
        return raise_fault_code(cpu, vector, 0);
    if (!mode_real_segments(cpu) && !type_allows(s, access))
        return raise_fault_code(cpu, s->ar & SEG_AR_UNUSABLE ? VECTOR_GP : vector, 0);
    if (!segment_limit_ok(s, offset, size))
        return raise_fault_code(cpu, vector, 0);
    return CPU_OK;
}

/* The linear address of a descriptor, or false beyond the table's limit. */
static bool descriptor_address(const struct cpu *cpu, uint16_t selector, unsigned size,
                               uint64_t *addr)
{
    uint32_t offset = selector & ~7u;
    const struct cpu_segment *ldt = &cpu->seg[SEG_LDTR];

    if (selector & SELECTOR_TI) {
        *addr = ldt->base + offset;
        return !(ldt->ar & SEG_AR_UNUSABLE) && offset + size - 1 <= ldt->limit;
    }
    *addr = cpu->gdt.base + offset;
    return offset + size - 1 <= cpu->gdt.limit;
}

enum cpu_status descriptor_read(struct cpu *cpu, uint16_t selector, uint8_t vector,
                                uint64_t *descriptor)
{
    uint64_t addr;

    if (!descriptor_address(cpu, selector, 8, &addr))
        return selector_fault(cpu, vector, selector);
    return mmu_read_system(cpu, addr, descriptor, 8);
}

enum cpu_status descriptor_read_upper(struct cpu *cpu, uint16_t selector, uint8_t vector,
                                      uint64_t *upper)
{
    uint64_t addr;

    if (!descriptor_address(cpu, selector, 16, &addr))
        return selector_fault(cpu, vector, selector);
    return mmu_read_system(cpu, addr + 8, upper, 8);
}

void descriptor_unpack(uint64_t descriptor, uint16_t selector, struct cpu_segment *segment)
{
    uint32_t low = (uint32_t)descriptor, high = (uint32_t)(descriptor >> 32);
    uint32_t limit = (low & 0xffff) | (high & 0xf0000);

    segment->selector = selector;
    segment->base = (low >> 16) | (high & 0xff) << 16 | (high & 0xff000000);
    segment->ar = high >> 8 & (0xf0ff);
    segment->limit = segment->ar & SEG_AR_G ? limit << 12 | 0xfff : limit;
}

/* Change the access byte of a descriptor; other processors may do the same. */
static enum cpu_status change_type(struct cpu *cpu, uint16_t selector, uint8_t set, uint8_t clear)
{
    enum cpu_status status;
    uint32_t *code;
    uint64_t addr;
    uint8_t type;
    void *host;

    if (!descriptor_address(cpu, selector, 8, &addr))
        return CPU_OK;
    addr += 5;
    status = mmu_rmw_system(cpu, addr, 1, &host, &code);
    if (status != CPU_OK)
        return status;
    if (host) {
        __atomic_fetch_or((uint8_t *)host, set, __ATOMIC_SEQ_CST);
        if (clear)
            __atomic_fetch_and((uint8_t *)host, (uint8_t)~clear, __ATOMIC_SEQ_CST);
        mmu_stored(cpu, code);
        return CPU_OK;
    }
    mmu_rmw_lock();
    status = mmu_read_system(cpu, addr, &type, 1);
    type = (type | set) & ~clear;
    if (status == CPU_OK)
        status = mmu_write_system(cpu, addr, &type, 1);
    mmu_rmw_unlock();
    return status;
}

enum cpu_status descriptor_set_type(struct cpu *cpu, struct cpu_segment *segment, uint32_t bits)
{
    enum cpu_status status = CPU_OK;

    if ((segment->ar & bits) != bits)
        status = change_type(cpu, segment->selector, bits, 0);
    if (status == CPU_OK)
        segment->ar |= bits;
    return status;
}

enum cpu_status descriptor_clear_type(struct cpu *cpu, uint16_t selector, uint32_t bits)
{
    return change_type(cpu, selector, 0, bits);
}

void segment_load_real(struct cpu *cpu, unsigned seg, uint16_t selector)
{
    struct cpu_segment *s = &cpu->seg[seg];

    s->selector = selector;
    s->base = (uint32_t)selector << 4;
    if (mode_vm86(cpu)) {
        s->limit = 0xffff;
        s->ar = SEG_AR_P | SEG_AR_S | SEG_AR_DPL | SEG_TYPE_WRITE | SEG_TYPE_ACCESSED;
    } else {
        s->ar &= ~(uint32_t)SEG_AR_UNUSABLE;
    }
}

void segment_load_null(struct cpu *cpu, unsigned seg, uint16_t selector, unsigned dpl)
{
    cpu->seg[seg] = (struct cpu_segment){
        .selector = selector, .ar = SEG_AR_UNUSABLE | dpl << SEG_AR_DPL_SHIFT,
    };
}

enum cpu_status segment_read_stack(struct cpu *cpu, uint16_t selector, unsigned dpl,
                                   uint8_t vector, uint32_t ext, struct cpu_segment *ss)
{
    struct cpu_segment loaded;
    enum cpu_status status;
    uint64_t descriptor;

    if (is_null(selector))
        return raise_fault_code(cpu, vector, ext);
    status = descriptor_read(cpu, selector, vector, &descriptor);
    if (status == CPU_FAULT && cpu->fault.vector == vector)
        cpu->fault.error |= ext;
    if (status != CPU_OK)
        return status;
    descriptor_unpack(descriptor, selector, &loaded);
    if ((selector & SELECTOR_RPL) != dpl || segment_dpl(&loaded) != dpl ||
        (loaded.ar & (SEG_AR_S | SEG_TYPE_CODE | SEG_TYPE_WRITE)) != (SEG_AR_S | SEG_TYPE_WRITE))
        return raise_fault_code(cpu, vector, (selector & ~SELECTOR_RPL) | ext);
    if (!(loaded.ar & SEG_AR_P))
        return raise_fault_code(cpu, VECTOR_SS, (selector & ~SELECTOR_RPL) | ext);
    status = descriptor_set_type(cpu, &loaded, SEG_TYPE_ACCESSED);
    if (status == CPU_OK)
        *ss = loaded;
    return status;
}

static enum cpu_status load_stack(struct cpu *cpu, uint16_t selector)
{
    enum cpu_status status;

    if (is_null(selector)) {
        if (!mode_64(cpu) || cpu->cpl == 3 || (selector & SELECTOR_RPL) != cpu->cpl)
            return raise_gp(cpu);
        segment_load_null(cpu, SEG_SS, selector, cpu->cpl);
        return CPU_OK;
    }
    status = segment_read_stack(cpu, selector, cpu->cpl, VECTOR_GP, 0, &cpu->seg[SEG_SS]);
    if (status == CPU_OK)
        cpu_update_mode(cpu);
    return status;
}

static enum cpu_status load_data(struct cpu *cpu, unsigned seg, uint16_t selector)
{
    struct cpu_segment loaded;
    enum cpu_status status;
    uint64_t descriptor;
    bool conforming;

    if (is_null(selector)) {
        segment_load_null(cpu, seg, selector, 0);
        return CPU_OK;
    }
    status = descriptor_read(cpu, selector, VECTOR_GP, &descriptor);
    if (status != CPU_OK)
        return status;
    descriptor_unpack(descriptor, selector, &loaded);
    if (!(loaded.ar & SEG_AR_S) ||
        (loaded.ar & (SEG_TYPE_CODE | SEG_TYPE_READ)) == SEG_TYPE_CODE)
        return selector_fault(cpu, VECTOR_GP, selector);
    conforming = (loaded.ar & SEG_TYPE_CODE) && (loaded.ar & SEG_TYPE_CONFORMING);
    if (!conforming && ((selector & SELECTOR_RPL) > segment_dpl(&loaded) ||
                        cpu->cpl > segment_dpl(&loaded)))
        return selector_fault(cpu, VECTOR_GP, selector);
    if (!(loaded.ar & SEG_AR_P))
        return selector_fault(cpu, VECTOR_NP, selector);
    status = descriptor_set_type(cpu, &loaded, SEG_TYPE_ACCESSED);
    if (status == CPU_OK)
        cpu->seg[seg] = loaded;
    return status;
}

enum cpu_status segment_load(struct cpu *cpu, unsigned seg, uint16_t selector)
{
    if (seg == SEG_CS || seg > SEG_GS)
        return raise_fault(cpu, VECTOR_UD);
    if (mode_real_segments(cpu)) {
        segment_load_real(cpu, seg, selector);
        return CPU_OK;
    }
    return seg == SEG_SS ? load_stack(cpu, selector) : load_data(cpu, seg, selector);
}

/* A system descriptor from the GDT, 16 bytes in long mode. */
static enum cpu_status read_system(struct cpu *cpu, uint16_t selector, struct cpu_segment *loaded)
{
    uint64_t descriptor, upper = 0;
    enum cpu_status status;

    if (selector & SELECTOR_TI)
        return selector_fault(cpu, VECTOR_GP, selector);
    status = descriptor_read(cpu, selector, VECTOR_GP, &descriptor);
    if (status == CPU_OK && cpu->long_mode)
        status = descriptor_read_upper(cpu, selector, VECTOR_GP, &upper);
    if (status != CPU_OK)
        return status;
    descriptor_unpack(descriptor, selector, loaded);
    loaded->base |= upper << 32;
    if (loaded->ar & SEG_AR_S || !is_canonical_base(cpu, loaded->base) || (upper >> 40 & 0x1f))
        return selector_fault(cpu, VECTOR_GP, selector);
    return CPU_OK;
}

enum cpu_status segment_load_ldt(struct cpu *cpu, uint16_t selector)
{
    struct cpu_segment loaded;
    enum cpu_status status;

    if (is_null(selector)) {
        segment_load_null(cpu, SEG_LDTR, selector, 0);
        return CPU_OK;
    }
    status = read_system(cpu, selector, &loaded);
    if (status != CPU_OK)
        return status;
    if ((loaded.ar & SEG_AR_TYPE) != DESC_LDT)
        return selector_fault(cpu, VECTOR_GP, selector);
    if (!(loaded.ar & SEG_AR_P))
        return selector_fault(cpu, VECTOR_NP, selector);
    cpu->seg[SEG_LDTR] = loaded;
    return CPU_OK;
}

enum cpu_status segment_load_tr(struct cpu *cpu, uint16_t selector)
{
    struct cpu_segment loaded;
    enum cpu_status status;
    unsigned type;

    if (is_null(selector))
        return raise_gp(cpu);
    status = read_system(cpu, selector, &loaded);
    if (status != CPU_OK)
        return status;
    type = loaded.ar & SEG_AR_TYPE;
    if (type != DESC_TSS && (cpu->long_mode || type != DESC_TSS16))
        return selector_fault(cpu, VECTOR_GP, selector);
    if (!(loaded.ar & SEG_AR_P))
        return selector_fault(cpu, VECTOR_NP, selector);
    status = descriptor_set_type(cpu, &loaded, 2);
    if (status == CPU_OK)
        cpu->seg[SEG_TR] = loaded;
    return status;
}

static uint8_t derive_cpl(const struct cpu *cpu)
{
    if (!mode_protected(cpu))
        return 0;
    return mode_vm86(cpu) ? 3 : segment_dpl(&cpu->seg[SEG_SS]);
}

void cpu_update_mode(struct cpu *cpu)
{
    cpu->long_mode = cpu->efer & EFER_LMA;
    cpu->cpl = derive_cpl(cpu);
    if (cpu->long_mode && (cpu->seg[SEG_CS].ar & SEG_AR_L)) {
        cpu->code_size = cpu->stack_size = 8;
    } else {
        cpu->code_size = cpu->seg[SEG_CS].ar & SEG_AR_DB ? 4 : 2;
        cpu->stack_size = cpu->seg[SEG_SS].ar & SEG_AR_DB ? 4 : 2;
    }
    cpu->mmu_index = mmu_index_for(cpu, cpu->cpl);
}
