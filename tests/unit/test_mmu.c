/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Page walks in every paging mode, rights, accessed and dirty bits, reserved
 * bits, page crossings, MMIO, and what flushes do and don't drop.
 */
#include "mmu.h"
#include "control.h"
#include "debug.h"
#include "flat_machine.h"
#include "mode.h"
#include "segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum {
    RAM = 16 << 20,
    P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100,
    ROOT = 0x10000, LEVEL3 = 0x11000, LEVEL2 = 0x12000, LEVEL1 = 0x13000,
    DATA = 0x200000,            /* where the tests' pages are */
};
#define NX (1ull << 63)

static int setup(void **state)
{
    *state = flat_machine_new(RAM);
    return 0;
}

static int teardown(void **state)
{
    flat_machine_free(*state);
    return 0;
}

static void use_cpl(struct cpu *cpu, unsigned cpl)
{
    cpu->seg[SEG_SS].ar = (cpu->seg[SEG_SS].ar & ~(uint32_t)SEG_AR_DPL) | cpl << 5;
    cpu_update_mode(cpu);
}

/*
 * Four levels of tables that map linear 0x400000 + i pages; leaf i holds
 * DATA + i pages with the given bits.
 */
static void map_long(struct flat_machine *m, unsigned i, uint64_t bits)
{
    flat_write64(m, ROOT, LEVEL3 | P | W | U);
    flat_write64(m, LEVEL3, LEVEL2 | P | W | U);
    flat_write64(m, LEVEL2 + 2 * 8, LEVEL1 | P | W | U);
    flat_write64(m, LEVEL1 + i * 8, (DATA + i * CPU_PAGE_SIZE) | bits);
}

static void enter_long(struct flat_machine *m)
{
    flat_enter(m, FLAT_64, 0, ROOT);
    m->cpu->efer |= EFER_NXE;
    memset(m->ram + ROOT, 0, 4 * CPU_PAGE_SIZE);
    cpu_state_replaced(m->cpu);
}

static void assert_page_fault(struct cpu *cpu, enum cpu_status status, uint64_t addr,
                              uint32_t error)
{
    assert_int_equal(status, CPU_FAULT);
    assert_int_equal(cpu->fault.vector, VECTOR_PF);
    assert_true(cpu->fault.has_error);
    assert_int_equal(cpu->fault.address, addr);
    assert_int_equal(cpu->fault.error, error);
}

static void test_no_paging(void **state)
{
    struct flat_machine *m = *state;
    uint64_t value;

    flat_enter(m, FLAT_32, 0, 0);
    flat_write64(m, 0x3000, 0x1122334455667788);
    assert_int_equal(mmu_read64(m->cpu, 0x3000, &value), CPU_OK);
    assert_int_equal(value, 0x1122334455667788);
    assert_int_equal(mmu_write16(m->cpu, 0x3001, 0xaabb), CPU_OK);
    assert_int_equal(flat_read64(m, 0x3000), 0x1122334455aabb88);
}

/* Every combination of U and W in the tables, who asks, and the switches that matter. */
static void test_rights(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter_long(m);
    for (unsigned n = 0; n < 256; n++) {
        bool w = n & 1, u = n & 2, nx = n & 4, user = n & 8, wp = n & 16, smep = n & 32;
        bool smap = n & 64, ac = n & 128;
        uint32_t error = P | (user ? PF_U : 0);
        uint64_t addr = 0x400000, value, gpa;
        struct cpu_page page;
        bool read, write, exec;

        map_long(m, 0, P | (w ? W : 0) | (u ? U : 0) | (nx ? NX : 0));
        cpu->cr0 = (cpu->cr0 & ~(uint64_t)CR0_WP) | (wp ? CR0_WP : 0);
        cpu->cr4 = (cpu->cr4 & ~(uint64_t)(CR4_SMEP | CR4_SMAP)) | (smep ? CR4_SMEP : 0) |
                   (smap ? CR4_SMAP : 0);
        cpu->flags = FLAG_ONE | (ac ? FLAG_AC : 0);
        use_cpl(cpu, user ? 3 : 0);
        cpu_state_replaced(cpu);

        read = user ? u : !(u && smap && !ac);
        write = user ? u && w : read && (w || !wp);
        exec = !nx && (user ? u : !(u && smep));
        /* The write first, then after the read: the tags must not let more through. */
        for (unsigned round = 0; round < 2; round++) {
            enum cpu_status status = mmu_write64(cpu, addr, n);

            if (write)
                assert_int_equal(status, CPU_OK);
            else
                assert_page_fault(cpu, status, addr, error | PF_W);
            status = mmu_fetch_page(cpu, addr + 5, &page, &gpa);
            if (exec)
                assert_int_equal(status, CPU_OK);
            else
                assert_page_fault(cpu, status, addr + 5, error | PF_I);
            status = mmu_read64(cpu, addr, &value);
            if (read)
                assert_int_equal(status, CPU_OK);
            else
                assert_page_fault(cpu, status, addr, error);
        }
    }
}

/* A right that one level withholds is withheld; the error says that the page was there. */
static void test_rights_add_up(void **state)
{
    static const uint64_t entries[] = { ROOT, LEVEL3, LEVEL2 + 16, LEVEL1 };
    struct flat_machine *m = *state;
    uint64_t value;

    for (unsigned level = 0; level < 4; level++) {
        enter_long(m);
        map_long(m, 0, P | W | U);
        use_cpl(m->cpu, 3);
        flat_write64(m, entries[level], flat_read64(m, entries[level]) & ~(uint64_t)W);
        assert_int_equal(mmu_read64(m->cpu, 0x400000, &value), CPU_OK);
        assert_page_fault(m->cpu, mmu_write64(m->cpu, 0x400000, 1), 0x400000, P | W | U);
        flat_write64(m, entries[level], flat_read64(m, entries[level]) & ~(uint64_t)U);
        tlb_flush_all(m->cpu);
        assert_page_fault(m->cpu, mmu_read64(m->cpu, 0x400008, &value), 0x400008, P | U);
        flat_write64(m, entries[level], 0);
        tlb_flush_all(m->cpu);
        assert_page_fault(m->cpu, mmu_read64(m->cpu, 0x400008, &value), 0x400008, U);
    }
}

static void test_accessed_and_dirty(void **state)
{
    struct flat_machine *m = *state;
    uint64_t value;

    enter_long(m);
    map_long(m, 0, P | W);
    assert_int_equal(mmu_read64(m->cpu, 0x400000, &value), CPU_OK);
    assert_int_equal(flat_read64(m, ROOT) & (A | D), A);
    assert_int_equal(flat_read64(m, LEVEL3) & (A | D), A);
    assert_int_equal(flat_read64(m, LEVEL2 + 16) & (A | D), A);
    assert_int_equal(flat_read64(m, LEVEL1) & (A | D), A);
    assert_int_equal(mmu_write64(m->cpu, 0x400000, 1), CPU_OK);
    assert_int_equal(flat_read64(m, LEVEL1) & (A | D), A | D);
    assert_int_equal(flat_read64(m, LEVEL2 + 16) & (A | D), A);

    /* An access that faults leaves them alone. */
    map_long(m, 1, P);
    flat_write64(m, LEVEL3, LEVEL2 | P | W | U);
    assert_page_fault(m->cpu, mmu_write64(m->cpu, 0x401000, 1), 0x401000, P | W);
    assert_int_equal(flat_read64(m, LEVEL1 + 8) & (A | D), 0);
    assert_int_equal(flat_read64(m, LEVEL3) & A, 0);

    /* The debugger's look leaves them alone, too. */
    bool writable, user;
    assert_true(cpu_translate(m->cpu, 0x401234, &value, &writable, &user));
    assert_int_equal(value, DATA + 0x1234);
    assert_false(writable);
    assert_false(user);
    assert_int_equal(flat_read64(m, LEVEL1 + 8) & (A | D), 0);
    assert_false(cpu_translate(m->cpu, 0x402000, &value, &writable, &user));
}

static void test_tables_in_rom(void **state)
{
    struct flat_machine *m = *state;
    uint64_t value;

    enter_long(m);
    map_long(m, 0, P | W);
    m->rom = LEVEL1;
    assert_int_equal(mmu_read64(m->cpu, 0x400000, &value), CPU_OK);
    assert_int_equal(mmu_write64(m->cpu, 0x400000, 1), CPU_OK);
    assert_int_equal(flat_read64(m, LEVEL1) & (A | D), 0);
}

struct reserved_case {
    uint64_t entry_gpa, bits;
};

static void test_reserved_bits_long(void **state)
{
    static const struct reserved_case cases[] = {
        { ROOT, 1ull << 51 }, { LEVEL3, 1ull << 47 }, { LEVEL2 + 16, 1ull << 46 },
        { LEVEL1, 1ull << 50 }, { ROOT, PS }, { LEVEL2 + 16, PS | 1 << 13 },
        { LEVEL3, PS | 1 << 29 },
    };
    struct flat_machine *m = *state;
    uint64_t value;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enter_long(m);
        map_long(m, 0, P | W | U);
        flat_write64(m, cases[i].entry_gpa, flat_read64(m, cases[i].entry_gpa) | cases[i].bits);
        assert_page_fault(m->cpu, mmu_read64(m->cpu, 0x400000, &value), 0x400000, P | PF_RSVD);
    }
    /* NX without EFER.NXE is one of them; fetches then don't say that they are. */
    enter_long(m);
    map_long(m, 0, P | W | U | NX);
    m->cpu->efer &= ~(uint64_t)EFER_NXE;
    assert_page_fault(m->cpu, mmu_read64(m->cpu, 0x400000, &value), 0x400000, P | PF_RSVD);
    assert_page_fault(m->cpu, mmu_fetch_slow(m->cpu, 0x400000, &value, 1), 0x400000, P | PF_RSVD);
    /* Bits that software may use aren't. */
    map_long(m, 0, P | W | U | 0x7ffull << 52 | 0xe00);
    assert_int_equal(mmu_read64(m->cpu, 0x400000, &value), CPU_OK);
}

static void test_large_pages(void **state)
{
    struct flat_machine *m = *state;
    uint64_t value;

    enter_long(m);
    map_long(m, 0, 0);
    flat_write64(m, LEVEL2 + 16, DATA | P | W | PS);
    flat_write64(m, DATA + 0x12345, 77);
    assert_int_equal(mmu_read64(m->cpu, 0x412345, &value), CPU_OK);
    assert_int_equal(value, 77);
    assert_int_equal(mmu_write64(m->cpu, 0x412345, 78), CPU_OK);
    assert_int_equal(flat_read64(m, LEVEL2 + 16), DATA | P | W | PS | A | D);
    flat_write64(m, LEVEL3 + 8, 0 | P | W | PS);
    assert_int_equal(mmu_read64(m->cpu, (1 << 30) + DATA + 0x12345, &value), CPU_OK);
    assert_int_equal(value, 78);

    /* Invalidating one address drops all of its page. */
    flat_write64(m, LEVEL2 + 16, (DATA + 0x200000) | P | W | PS);
    flat_write64(m, DATA + 0x212345, 79);
    tlb_flush_page(m->cpu, 0x400000);
    assert_int_equal(mmu_read64(m->cpu, 0x412345, &value), CPU_OK);
    assert_int_equal(value, 79);
}

static void test_pae(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    uint64_t value;

    flat_enter(m, FLAT_32, 0, 0);
    flat_write64(m, ROOT + 0x20 + 24, LEVEL2 | P);
    flat_write64(m, LEVEL2 + 8, LEVEL1 | P | W | U);
    flat_write64(m, LEVEL1 + 16, DATA | P | W | U);
    flat_write64(m, LEVEL2 + 16, DATA | P | W | PS);
    flat_write64(m, DATA + 0x123, 42);
    assert_int_equal(control_write_cr3(cpu, ROOT + 0x20), CPU_OK);
    assert_int_equal(control_write_cr4(cpu, CR4_PAE), CPU_OK);
    assert_int_equal(control_write_cr0(cpu, CR0_PE | CR0_PG | CR0_WP), CPU_OK);
    assert_int_equal(cpu->pdptr[3], LEVEL2 | P);
    assert_false(cpu->long_mode);
    assert_int_equal(mmu_read64(cpu, 0xc0202123, &value), CPU_OK);
    assert_int_equal(value, 42);
    assert_int_equal(mmu_read64(cpu, 0xc0400123, &value), CPU_OK);
    assert_int_equal(value, 42);
    assert_page_fault(cpu, mmu_read64(cpu, 0x80202123, &value), 0x80202123, 0);

    /* Bits 52-62 are reserved here. */
    flat_write64(m, LEVEL1 + 16, DATA | P | W | U | 1ull << 55);
    tlb_flush_all(cpu);
    assert_page_fault(cpu, mmu_read64(cpu, 0xc0202123, &value), 0xc0202123, P | PF_RSVD);

    /* The four entries are read with CR3, and checked then. */
    flat_write64(m, ROOT + 0x20 + 24, 0);
    tlb_flush_all(cpu);
    assert_int_equal(mmu_read64(cpu, 0xc0400123, &value), CPU_OK);
    flat_write64(m, ROOT + 0x20 + 8, LEVEL2 | P | W);
    assert_int_equal(control_write_cr3(cpu, ROOT + 0x20), CPU_FAULT);
    assert_int_equal(cpu->fault.vector, VECTOR_GP);
    assert_int_equal(cpu->pdptr[3], LEVEL2 | P);
    flat_write64(m, ROOT + 0x20 + 8, 0);
    assert_int_equal(control_write_cr3(cpu, ROOT + 0x20), CPU_OK);
    assert_page_fault(cpu, mmu_read64(cpu, 0xc0400123, &value), 0xc0400123, 0);
}

static void test_32bit(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    uint64_t value;

    flat_enter(m, FLAT_32, 0, 0);
    flat_write32(m, ROOT + 4 * 0x301, LEVEL1 | P | W | U);
    flat_write32(m, LEVEL1 + 4 * 5, DATA | P | U);
    flat_write32(m, ROOT + 4 * 0x302, 0x400000 | P | W | PS);
    flat_write64(m, DATA + 0x123, 42);
    flat_write64(m, 0x523456, 43);
    assert_int_equal(control_write_cr3(cpu, ROOT), CPU_OK);
    assert_int_equal(control_write_cr4(cpu, CR4_PSE), CPU_OK);
    assert_int_equal(control_write_cr0(cpu, CR0_PE | CR0_PG | CR0_WP), CPU_OK);
    assert_int_equal(mmu_read64(cpu, 0xc0405123, &value), CPU_OK);
    assert_int_equal(value, 42);
    assert_int_equal(flat_read32(m, LEVEL1 + 20) & (A | D), A);
    assert_page_fault(cpu, mmu_write64(cpu, 0xc0405123, 1), 0xc0405123, P | W);
    assert_int_equal(mmu_read64(cpu, 0xc0923456, &value), CPU_OK);
    assert_int_equal(value, 43);
    assert_int_equal(mmu_write64(cpu, 0xc0923456, 1), CPU_OK);
    assert_int_equal(flat_read32(m, ROOT + 4 * 0x302), 0x400000 | P | W | PS | A | D);

    /* PSE-36: bits 13-20 are address bits 32-39; bit 21 is reserved. */
    flat_write32(m, ROOT + 4 * 0x303, 0x2000 | P | W | PS);
    assert_int_equal(mmu_read64(cpu, 0xc0c00010, &value), CPU_OK);
    assert_int_equal(m->mmio.address, 0x100000010);
    flat_write32(m, ROOT + 4 * 0x304, 1 << 21 | P | W | PS);
    assert_page_fault(cpu, mmu_read64(cpu, 0xc1000000, &value), 0xc1000000, P | PF_RSVD);
    /* Without CR4.PSE the bit means nothing. */
    assert_int_equal(control_write_cr4(cpu, 0), CPU_OK);
    flat_write32(m, 0x400000 + 4 * 0x123, DATA | P);
    flat_write64(m, DATA + 0x456, 44);
    assert_int_equal(mmu_read64(cpu, 0xc0923456, &value), CPU_OK);
    assert_int_equal(value, 44);
}

/* RAM, then a device that can't answer yet: the instruction starts anew, on unchanged RAM. */
static void test_crossing_into_a_device(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    enum cpu_status status = CPU_EXIT_ACCESS;

    enter_long(m);
    map_long(m, 0, P | W);
    flat_write64(m, LEVEL1 + 8, 0xfee00000 | P | W);
    flat_write64(m, DATA + 0xff8, 0);
    /* Wherever it is: the tables, the two pages, the device itself. */
    for (unsigned after = 0; status != CPU_OK; after++) {
        cpu_flush_gpa(cpu, 0, UINT64_MAX);
        m->refuse_after = after;
        m->refuse = 1;
        status = mmu_write64(cpu, 0x400ffb, 0x1122334455667788);
        assert_true(status == CPU_OK || status == CPU_EXIT_ACCESS);
        if (status != CPU_OK)
            assert_int_equal(flat_read64(m, DATA + 0xff8), 0);
    }
    assert_int_equal(flat_read64(m, DATA + 0xff8), 0x4455667788000000);
    assert_int_equal(m->mmio.data, 0x112233);
}

static void test_page_crossing(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    uint64_t value;
    uint8_t wide[100];
    uint32_t *code;
    void *host;

    enter_long(m);
    map_long(m, 0, P | W);
    /* The second page isn't where the first one's neighbour is. */
    map_long(m, 1, 0);
    flat_write64(m, LEVEL1 + 8, (DATA + 0x10000) | P | W);
    assert_int_equal(mmu_write64(cpu, 0x400ffb, 0x1122334455667788), CPU_OK);
    assert_int_equal(flat_read64(m, DATA + 0xffb) & 0xffffffffff, 0x4455667788);
    assert_int_equal(flat_read64(m, DATA + 0x10000) & 0xffffff, 0x112233);
    assert_int_equal(mmu_read64(cpu, 0x400ffb, &value), CPU_OK);
    assert_int_equal(value, 0x1122334455667788);
    assert_int_equal(mmu_read(cpu, 0x400fc0, wide, sizeof(wide)), CPU_OK);
    assert_int_equal(wide[0x3b], 0x88);
    assert_int_equal(wide[0x42], 0x11);

    /* The second page faults: its address, and nothing written to the first. */
    map_long(m, 2, P | W);
    map_long(m, 3, P);
    assert_page_fault(cpu, mmu_write32(cpu, 0x402ffe, UINT32_MAX), 0x403000, P | W);
    assert_int_equal(flat_read32(m, DATA + 0x2ffe), 0);
    assert_page_fault(cpu, mmu_probe(cpu, 0x402ffe, 4, ACCESS_WRITE), 0x403000, P | W);
    assert_page_fault(cpu, mmu_rmw(cpu, 0x402ffe, 4, &host, &code), 0x403000, P | W);
    assert_int_equal(mmu_rmw(cpu, 0x400ffe, 4, &host, &code), CPU_OK);
    assert_null(host);
    assert_int_equal(mmu_rmw(cpu, 0x400ffc, 4, &host, &code), CPU_OK);
    assert_ptr_equal(host, m->ram + DATA + 0xffc);

    /* Half RAM, half MMIO. */
    flat_write64(m, LEVEL1 + 8 * 4, 0x80000000 | P | W);
    map_long(m, 3, P | W);
    m->mmio_value = 0xeeff;
    flat_write64(m, DATA + 0x3ff8, 0xccdd000000000000);
    assert_int_equal(mmu_read32(cpu, 0x403ffe, (uint32_t *)&value), CPU_OK);
    assert_int_equal((uint32_t)value, 0xeeffccdd);
    assert_int_equal(m->mmio.size, 2);
}

static void test_mmio(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    uint64_t value, gpa;
    struct cpu_page page;
    uint32_t *code;
    uint8_t wide[16];
    void *host;

    enter_long(m);
    map_long(m, 0, 0);
    flat_write64(m, LEVEL1, 0xfee00000 | P | W);
    m->mmio_value = 0x1234;
    assert_int_equal(mmu_read64(cpu, 0x400020, &value), CPU_OK);
    assert_int_equal(value, 0x1234);
    assert_int_equal(m->mmio.address, 0xfee00020);
    assert_true(cpu->attention & ATTENTION_ACCESS);
    assert_int_equal(mmu_write32(cpu, 0x4000b0, 7), CPU_OK);
    assert_int_equal(m->mmio.address, 0xfee000b0);
    assert_int_equal(m->mmio.data, 7);
    assert_int_equal(m->mmio.size, 4);
    assert_true(m->mmio.write);
    assert_int_equal(mmu_read(cpu, 0x400000, wide, 16), CPU_OK);
    assert_int_equal(m->mmio.address, 0xfee00008);
    assert_int_equal(m->nr_mmio, 4);
    assert_int_equal(mmu_probe(cpu, 0x400000, 8, ACCESS_WRITE), CPU_OK);
    assert_int_equal(mmu_rmw(cpu, 0x400000, 4, &host, &code), CPU_OK);
    assert_null(host);
    assert_int_equal(mmu_fetch_page(cpu, 0x400000, &page, &gpa), CPU_BREAK);
    assert_int_equal(gpa, 0xfee00000);
    m->refuse = 1;
    assert_int_equal(mmu_read64(cpu, 0x400020, &value), CPU_EXIT_ACCESS);
    assert_int_equal(mmu_read64(cpu, 0x400020, &value), CPU_OK);

    /* ROM is read directly, writes go out. */
    map_long(m, 1, P | W);
    m->rom = DATA + 0x1000;
    assert_int_equal(mmu_read64(cpu, 0x401000, &value), CPU_OK);
    assert_int_equal(m->mmio.address, 0xfee00020);
    assert_int_equal(mmu_write64(cpu, 0x401000, 5), CPU_OK);
    assert_int_equal(m->mmio.address, DATA + 0x1000);
    assert_int_equal(flat_read64(m, DATA + 0x1000), 0);
}

static void test_flushes(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    uint64_t value, generation;

    enter_long(m);
    assert_int_equal(control_write_cr4(cpu, cpu->cr4 | CR4_PGE), CPU_OK);
    map_long(m, 0, P | W | G);
    map_long(m, 1, P | W);
    map_long(m, 2, P | W);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(mmu_read64(cpu, 0x400000 + i * 0x1000, &value), CPU_OK);
    for (unsigned i = 0; i < 3; i++)
        flat_write64(m, LEVEL1 + i * 8, 0);

    generation = cpu->tlb->generation;
    assert_int_equal(mmu_read64(cpu, 0x401000, &value), CPU_OK);
    tlb_flush_page(cpu, 0x401234);
    assert_true(cpu->tlb->generation != generation);
    assert_int_equal(mmu_read64(cpu, 0x401000, &value), CPU_FAULT);
    assert_int_equal(mmu_read64(cpu, 0x402000, &value), CPU_OK);
    generation = cpu->tlb->generation;
    assert_int_equal(control_write_cr3(cpu, ROOT), CPU_OK);
    assert_true(cpu->tlb->generation != generation);
    assert_int_equal(mmu_read64(cpu, 0x402000, &value), CPU_FAULT);
    assert_int_equal(mmu_read64(cpu, 0x400000, &value), CPU_OK);
    tlb_flush_page(cpu, 0x400000);
    assert_int_equal(mmu_read64(cpu, 0x400000, &value), CPU_FAULT);

    /* An entry that was global, then is not, then is again, is flushed as what it is. */
    map_long(m, 0, P | W | G);
    assert_int_equal(mmu_read64(cpu, 0x400000, &value), CPU_OK);
    tlb_flush_page(cpu, 0x400000);
    map_long(m, 0, P | W);
    assert_int_equal(mmu_read64(cpu, 0x400000, &value), CPU_OK);
    map_long(m, 0, 0);
    tlb_flush_nonglobal(cpu);
    assert_int_equal(mmu_read64(cpu, 0x400000, &value), CPU_FAULT);
    map_long(m, 0, P | W | G);
    assert_int_equal(mmu_read64(cpu, 0x400000, &value), CPU_OK);
    map_long(m, 0, 0);
    assert_int_equal(control_write_cr4(cpu, cpu->cr4 & ~(uint64_t)CR4_PGE), CPU_OK);
    assert_int_equal(mmu_read64(cpu, 0x400000, &value), CPU_FAULT);
}

static void test_flush_gpa_only_that_range(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    unsigned mapped;
    uint64_t value;

    enter_long(m);
    for (unsigned i = 0; i < 3; i++) {
        map_long(m, i, P | W);
        assert_int_equal(mmu_read64(cpu, 0x400000 + i * 0x1000, &value), CPU_OK);
    }
    mapped = m->nr_mapped;
    cpu_flush_gpa(cpu, DATA + 0x1000, 0x1000);
    assert_int_equal(mmu_read64(cpu, 0x400000, &value), CPU_OK);
    assert_int_equal(mmu_read64(cpu, 0x402000, &value), CPU_OK);
    assert_int_equal(m->nr_mapped, mapped);
    assert_int_equal(mmu_read64(cpu, 0x401000, &value), CPU_OK);
    assert_int_equal(m->nr_mapped, mapped + 1);
    cpu_flush_gpa(cpu, 0, UINT64_MAX);
    assert_int_equal(mmu_read64(cpu, 0x400000, &value), CPU_OK);
    assert_int_equal(m->nr_mapped, mapped + 1 + 5);
}

/* The walk's pages can be refused: nothing is remembered of it. */
static void test_refused_map_page(void **state)
{
    struct flat_machine *m = *state;
    uint64_t value;

    enter_long(m);
    map_long(m, 0, P | W);
    for (unsigned i = 0; i < 5; i++) {
        tlb_reset(m->cpu);
        m->refuse = 1;
        assert_int_equal(mmu_write64(m->cpu, 0x400000, 1), CPU_EXIT_ACCESS);
        assert_int_equal(mmu_write64(m->cpu, 0x400000, 1), CPU_OK);
        assert_int_equal(mmu_read64(m->cpu, 0x400000, &value), CPU_OK);
        assert_int_equal(value, 1);
    }
}

static void test_system_accesses_ignore_ac(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    uint64_t value;

    enter_long(m);
    map_long(m, 0, P | W);
    map_long(m, 1, P | W | U);
    cpu->cr4 |= CR4_SMAP;
    cpu->flags |= FLAG_AC;
    use_cpl(cpu, 3);
    cpu_state_replaced(cpu);
    assert_int_equal(mmu_read_system(cpu, 0x400000, &value, 8), CPU_OK);
    assert_page_fault(cpu, mmu_read_system(cpu, 0x401000, &value, 8), 0x401000, P);
    assert_page_fault(cpu, mmu_read64(cpu, 0x400000, &value), 0x400000, P | U);
    assert_int_equal(mmu_read64(cpu, 0x401000, &value), CPU_OK);
}

static void test_data_breakpoints(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    uint64_t value;

    enter_long(m);
    map_long(m, 0, P | W);
    map_long(m, 1, P | W);
    assert_int_equal(mmu_write64(cpu, 0x400108, 1), CPU_OK);
    cpu->dr[0] = 0x400108;
    cpu->dr[7] = DR7_FIXED | 1 | 1 << 16 | 3 << 18;     /* write, four bytes */
    cpu->dr[1] = 0x400210;
    cpu->dr[7] |= 1 << 3 | 3 << 20;                     /* access, one byte */
    debug_update(cpu);
    assert_int_equal(mmu_read64(cpu, 0x400108, &value), CPU_OK);
    assert_int_equal(mmu_write64(cpu, 0x400100, 1), CPU_OK);
    assert_int_equal(mmu_write64(cpu, 0x40010c, 1), CPU_OK);
    assert_int_equal(cpu->debug_hits, 0);
    assert_int_equal(mmu_write8(cpu, 0x40010b, 1), CPU_OK);
    assert_int_equal(cpu->debug_hits, 1);
    assert_true(cpu->attention & ATTENTION_DEBUG);
    assert_int_equal(mmu_read64(cpu, 0x400209, &value), CPU_OK);
    assert_int_equal(cpu->debug_hits, 3);
    cpu->debug_hits = 0;
    assert_int_equal(mmu_write64(cpu, 0x401108, 1), CPU_OK);
    cpu->dr[7] = DR7_FIXED;
    debug_update(cpu);
    assert_int_equal(mmu_write8(cpu, 0x40010b, 1), CPU_OK);
    assert_int_equal(cpu->debug_hits, 0);
}

static void test_alignment_checks(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    uint64_t value;
    uint32_t *code;
    uint8_t wide[16];
    void *host;

    enter_long(m);
    map_long(m, 0, P | W | U);
    cpu->cr0 |= CR0_AM;
    cpu->flags |= FLAG_AC;
    for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
        use_cpl(cpu, cpl);
        for (unsigned offset = 0; offset < 8; offset++) {
            bool aligned = cpl == 0 || offset % 4 == 0;

            assert_int_equal(mmu_write32(cpu, 0x400000 + offset, 1), aligned ? CPU_OK : CPU_FAULT);
            if (!aligned) {
                assert_int_equal(cpu->fault.vector, VECTOR_AC);
                assert_true(cpu->fault.has_error);
            }
            assert_int_equal(mmu_rmw(cpu, 0x400000 + offset, 4, &host, &code),
                             aligned ? CPU_OK : CPU_FAULT);
            assert_int_equal(mmu_write8(cpu, 0x400000 + offset, 1), CPU_OK);
            assert_int_equal(mmu_read(cpu, 0x400000 + offset, wide, 16), CPU_OK);
        }
    }
    /* A page fault comes first. */
    assert_page_fault(cpu, mmu_read64(cpu, 0x400ffc, &value), 0x401000, U);
    cpu->cr0 &= ~(uint64_t)CR0_AM;
    use_cpl(cpu, 3);
    assert_int_equal(mmu_read64(cpu, 0x400001, &value), CPU_OK);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_paging),
        TEST(test_rights),
        TEST(test_rights_add_up),
        TEST(test_accessed_and_dirty),
        TEST(test_tables_in_rom),
        TEST(test_reserved_bits_long),
        TEST(test_large_pages),
        TEST(test_pae),
        TEST(test_32bit),
        TEST(test_page_crossing),
        TEST(test_crossing_into_a_device),
        TEST(test_mmio),
        TEST(test_flushes),
        TEST(test_flush_gpa_only_that_range),
        TEST(test_refused_map_page),
        TEST(test_system_accesses_ignore_ac),
        TEST(test_data_breakpoints),
        TEST(test_alignment_checks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
