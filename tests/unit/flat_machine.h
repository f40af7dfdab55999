/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A processor with flat RAM from address 0, for tests of src/softkvm/cpu.
 *
 * Above the RAM everything is MMIO: reads come from mmio_value, accesses are
 * recorded.  Ports likewise.  One page can be made read-only (rom), and the next
 * op can be made to return CPU_EXIT_ACCESS (refuse).
 */
#ifndef TESTS_FLAT_MACHINE_H
#define TESTS_FLAT_MACHINE_H

#include "cpu.h"

#include <stdlib.h>
#include <string.h>

struct flat_access {
    uint64_t address, data;
    unsigned size;
    bool write;
};

struct flat_machine {
    struct cpu *cpu;
    uint8_t *ram;
    size_t size;
    uint32_t *code;             /* a word a page */
    uint64_t rom;               /* gpa of a read-only page, or 0 */
    unsigned refuse;            /* so many mmio(), pio() and map_page() calls leave cpu_run() */
    unsigned refuse_after;      /* ... once so many went well */
    uint64_t mmio_value, pio_value, tsc, tpr;
    struct flat_access mmio, pio;       /* the last one of each */
    unsigned nr_mmio, nr_pio, nr_done, nr_mapped;
};

static inline bool flat_refuses(struct flat_machine *m)
{
    if (!m->refuse)
        return false;
    if (m->refuse_after) {
        m->refuse_after--;
        return false;
    }
    m->refuse--;
    return true;
}

static inline enum cpu_status flat_map_page(void *opaque, uint64_t gpa, enum cpu_access access,
                                            struct cpu_page *page)
{
    struct flat_machine *m = opaque;
    bool rom = m->rom && gpa == m->rom;

    if (flat_refuses(m))
        return CPU_EXIT_ACCESS;
    if (gpa >= m->size || (rom && access == ACCESS_WRITE))
        return CPU_BREAK;
    m->nr_mapped++;
    *page = (struct cpu_page){ m->ram + gpa, &m->code[gpa / CPU_PAGE_SIZE], !rom };
    return CPU_OK;
}

static inline enum cpu_status flat_io(struct flat_machine *m, struct flat_access *last,
                                      unsigned *count, uint64_t value, uint64_t address,
                                      void *data, unsigned size, bool write)
{
    if (flat_refuses(m))
        return CPU_EXIT_ACCESS;
    *last = (struct flat_access){ .address = address, .size = size, .write = write };
    if (write)
        memcpy(&last->data, data, size);
    else
        memcpy(data, &value, size);
    ++*count;
    return CPU_OK;
}

static inline enum cpu_status flat_mmio(void *opaque, uint64_t gpa, void *data, unsigned size,
                                        bool write)
{
    struct flat_machine *m = opaque;

    return flat_io(m, &m->mmio, &m->nr_mmio, m->mmio_value, gpa, data, size, write);
}

static inline enum cpu_status flat_pio(void *opaque, uint16_t port, void *data, unsigned size,
                                       bool write)
{
    struct flat_machine *m = opaque;

    return flat_io(m, &m->pio, &m->nr_pio, m->pio_value, port, data, size, write);
}

static inline void flat_access_done(void *opaque)
{
    ((struct flat_machine *)opaque)->nr_done++;
}

static inline enum cpu_status flat_rdmsr(void *opaque, uint32_t index, uint64_t *value)
{
    return CPU_BREAK;
}

static inline enum cpu_status flat_wrmsr(void *opaque, uint32_t index, uint64_t value)
{
    return CPU_BREAK;
}

static inline void flat_cpuid(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    struct cpuid_entry entries[64];
    size_t n = cpu_supported_cpuid(entries, 64);

    memset(regs, 0, 4 * sizeof(regs[0]));
    for (size_t i = 0; i < n; i++) {
        const struct cpuid_entry *e = &entries[i];

        if (e->leaf == leaf && (!e->indexed || e->subleaf == subleaf)) {
            regs[0] = e->eax;
            regs[1] = e->ebx;
            regs[2] = e->ecx;
            regs[3] = e->edx;
        }
    }
}

static inline uint64_t flat_read_tsc(void *opaque)
{
    return ((struct flat_machine *)opaque)->tsc++;
}

static inline uint64_t flat_read_tpr(void *opaque)
{
    return ((struct flat_machine *)opaque)->tpr;
}

static inline void flat_write_tpr(void *opaque, uint64_t value)
{
    ((struct flat_machine *)opaque)->tpr = value;
}

static const struct cpu_ops flat_ops = {
    .map_page = flat_map_page,
    .mmio = flat_mmio,
    .pio = flat_pio,
    .access_done = flat_access_done,
    .rdmsr = flat_rdmsr,
    .wrmsr = flat_wrmsr,
    .cpuid = flat_cpuid,
    .read_tsc = flat_read_tsc,
    .read_tpr = flat_read_tpr,
    .write_tpr = flat_write_tpr,
};

/* size: bytes of RAM, a multiple of the page size.  The processor is in its reset state. */
static inline struct flat_machine *flat_machine_new(size_t size)
{
    struct flat_machine *m = calloc(1, sizeof(*m));

    if (!m)
        abort();
    m->size = size;
    m->ram = aligned_alloc(CPU_PAGE_SIZE, size);
    m->code = calloc(size / CPU_PAGE_SIZE, sizeof(*m->code));
    m->cpu = cpu_new(&flat_ops, m);
    if (!m->ram || !m->code || !m->cpu)
        abort();
    memset(m->ram, 0, size);
    return m;
}

static inline void flat_machine_free(struct flat_machine *m)
{
    cpu_free(m->cpu);
    free(m->code);
    free(m->ram);
    free(m);
}

static inline void flat_write64(struct flat_machine *m, uint64_t gpa, uint64_t value)
{
    memcpy(m->ram + gpa, &value, 8);
}

static inline void flat_write32(struct flat_machine *m, uint64_t gpa, uint32_t value)
{
    memcpy(m->ram + gpa, &value, 4);
}

static inline uint64_t flat_read64(const struct flat_machine *m, uint64_t gpa)
{
    uint64_t value;

    memcpy(&value, m->ram + gpa, 8);
    return value;
}

static inline uint32_t flat_read32(const struct flat_machine *m, uint64_t gpa)
{
    uint32_t value;

    memcpy(&value, m->ram + gpa, 4);
    return value;
}

enum flat_mode { FLAT_REAL, FLAT_16, FLAT_32, FLAT_64, FLAT_COMPAT };

/*
 * Put the processor into a mode with flat segments at privilege level cpl.
 * FLAT_64 and FLAT_COMPAT identity-map the first GiB with 2 MiB pages that user
 * code may use; their tables take the first three pages of tables (a gpa).
 */
static inline void flat_enter(struct flat_machine *m, enum flat_mode mode, unsigned cpl,
                              uint64_t tables)
{
    struct cpu *cpu = m->cpu;
    uint32_t ar = SEG_AR_P | SEG_AR_S | cpl << SEG_AR_DPL_SHIFT | 3;
    uint32_t width = mode == FLAT_16 ? 0 : SEG_AR_DB;

    cpu->cr0 = 0x10;            /* ET */
    cpu->cr3 = cpu->cr4 = cpu->efer = 0;
    if (mode == FLAT_REAL) {
        for (unsigned i = SEG_ES; i <= SEG_GS; i++)
            cpu->seg[i] = (struct cpu_segment){ .limit = 0xffff, .ar = SEG_AR_P | SEG_AR_S | 3 };
        cpu_state_replaced(cpu);
        return;
    }
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        cpu->seg[i] = (struct cpu_segment){ .limit = UINT32_MAX, .ar = ar | SEG_AR_G | width,
                                            .selector = 0x10 | cpl };
    cpu->seg[SEG_CS].ar = ar | 8 | SEG_AR_G | (mode == FLAT_64 ? SEG_AR_L : width);
    cpu->seg[SEG_CS].selector = 0x8 | cpl;
    cpu->cr0 = 0x11;            /* PE, ET */
    if (mode == FLAT_64 || mode == FLAT_COMPAT) {
        flat_write64(m, tables, (tables + 0x1000) | 7);
        flat_write64(m, tables + 0x1000, (tables + 0x2000) | 7);
        for (uint64_t i = 0; i < 512; i++)
            flat_write64(m, tables + 0x2000 + i * 8, i << 21 | 0x87);
        cpu->cr0 |= 0x80010000;         /* PG, WP */
        cpu->cr4 = 0x620;               /* PAE, OSFXSR, OSXMMEXCPT */
        cpu->cr3 = tables;
        cpu->efer = 0x501;              /* SCE, LME, LMA */
    }
    cpu_state_replaced(cpu);
}

#endif
