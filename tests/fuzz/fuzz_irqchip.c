/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interrupt controllers under any sequence of guest accesses and ioctls, on a
 * clock that the input moves.  Beside not crashing: when all lines are down and
 * time stands still, the interrupts come to an end.
 */
#include "fuzz.h"

#include "irqchip.h"

#include <stdlib.h>
#include <string.h>

enum { CPUS = 3, MAX_RECORDS = 400, DRAIN = 2000, MAX_ADVANCE = 100 * 1000 * 1000 };

struct record {
    uint8_t kind, cpu;
    uint16_t where;
    uint32_t low, high;
};

struct board {
    struct irqchip *chip;
    struct lapic *cpu[CPUS];
};

static void ignore(void *opaque, uint32_t number)
{
}

static const struct irqchip_ops ops = { .kick = ignore, .eoi = ignore };

static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43, 0x61 };

static void board_make(struct board *board)
{
    const struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };

    board->chip = irqchip_new(&ops, NULL);
    if (!board->chip)
        abort();
    irqchip_set_manual_clock(board->chip);
    if (irqchip_create(board->chip) || irqchip_create_pit(board->chip, &config))
        abort();
    for (unsigned n = 0; n < CPUS; n++) {
        board->cpu[n] = lapic_new(board->chip, n);
        if (!board->cpu[n])
            abort();
        lapic_reset(board->cpu[n], n == 0);
        lapic_set_tsc_scale(board->cpu[n], 0, 1000000 + n);
    }
}

static void board_end(struct board *board)
{
    for (unsigned n = 0; n < CPUS; n++)
        lapic_free(board->cpu[n]);
    irqchip_free(board->chip);
}

static void port(struct board *board, const struct record *r)
{
    static const unsigned sizes[] = { 1, 2, 4, 1 };
    uint32_t value = r->low;

    irqchip_pio(board->chip, ports[r->where % (sizeof(ports) / sizeof(ports[0]))], &value,
                sizes[r->cpu >> 6], r->high & 1);
}

static void mmio(struct board *board, const struct record *r)
{
    static const unsigned sizes[] = { 4, 1, 8, 2 };
    unsigned size = sizes[r->cpu >> 6];
    uint64_t value = (uint64_t)r->high << 32 | r->low;
    struct lapic *lapic = board->cpu[r->cpu % CPUS];
    uint64_t base = lapic_get_base(lapic) & ~0xfffULL;

    if (r->where & 0x8000)
        irqchip_mmio(board->chip, 0xfec00000 + (r->where & 0x10), &value, size, true);
    else if (r->where & 0x4000)
        irqchip_mmio(board->chip, 0xfec00000 + (r->where & 0xff), &value, size, false);
    else
        lapic_mmio(lapic, base + (r->where & 0xfff), &value, size, r->where & 0x1000);
}

static void msr(struct board *board, const struct record *r)
{
    static const uint32_t others[] = { 0x1b, 0x6e0, 0x1b, 0x6e0 };
    uint32_t index = r->where & 0x8000 ? others[r->where & 3] : 0x800u + (r->where & 0xff);
    uint64_t value = (uint64_t)r->high << 32 | r->low;

    if (r->where & 0x4000)
        lapic_rdmsr(board->cpu[r->cpu % CPUS], index, &value);
    else
        lapic_wrmsr(board->cpu[r->cpu % CPUS], index, value, r->where & 0x2000);
}

static void eoi(struct board *board, unsigned cpu)
{
    uint32_t zero = 0;
    uint8_t command = 0x20;

    if (!lapic_wrmsr(board->cpu[cpu], 0x80b, 0, false))
        lapic_mmio(board->cpu[cpu], (lapic_get_base(board->cpu[cpu]) & ~0xfffULL) + 0xb0, &zero, 4,
                   true);
    irqchip_pio(board->chip, 0xa0, &command, 1, true);
    irqchip_pio(board->chip, 0x20, &command, 1, true);
}

static void lines(struct board *board, const struct record *r)
{
    struct kvm_msi msi = { .address_lo = r->low, .data = r->high };

    if (r->where & 0x8000)
        irqchip_send_msi(board->chip, &msi);
    else if (r->where & 0x4000)
        irqchip_set_resample_line(board->chip, r->where & 0x1f, r->low & 1);
    else
        irqchip_set_line(board->chip, r->where & 0x1f, r->low & 1);
}

static void routing(struct board *board, const struct record *r)
{
    struct kvm_irq_routing_entry entries[2] = {
        { .gsi = r->cpu & 0x1f, .type = 1 + (r->cpu >> 6), .flags = r->where & 1 },
        { .gsi = r->where >> 11, .type = 1 },
    };

    entries[0].u.msi.address_lo = r->low & 3;
    entries[0].u.msi.address_hi = r->high & 0x1f;
    entries[1].u.irqchip.irqchip = r->low >> 30;
    entries[1].u.irqchip.pin = r->high >> 27;
    irqchip_set_routing(board->chip, entries, 2);
}

/* States as user space may set them: what was there, with some bytes replaced. */
static void states(struct board *board, const struct record *r)
{
    struct lapic *lapic = board->cpu[r->cpu % CPUS];
    struct kvm_irqchip chip = { .chip_id = r->cpu >> 6 };
    struct kvm_lapic_state apic;
    struct kvm_pit_state2 pit;

    if (r->where & 0x8000) {
        lapic_get_state(lapic, &apic);
        memcpy(apic.regs + (r->where & 0x3f0), &r->low, 4);
        lapic_set_state(lapic, &apic);
    } else if (r->where & 0x4000) {
        irqchip_get_pit(board->chip, &pit);
        memcpy((char *)&pit + r->where % (sizeof(pit) - 8), &r->low, 8);
        irqchip_set_pit(board->chip, &pit);
    } else {
        irqchip_get_state(board->chip, &chip);
        memcpy((char *)&chip.chip + r->where % (sizeof(chip.chip.ioapic) - 8), &r->low, 8);
        /* The window stays where the other records look for it. */
        if (chip.chip_id == KVM_IRQCHIP_IOAPIC)
            chip.chip.ioapic.base_address = 0xfec00000;
        irqchip_set_state(board->chip, &chip);
    }
}

static void others(struct board *board, const struct record *r)
{
    struct lapic *lapic = board->cpu[r->cpu % CPUS];
    struct lapic_pending pending;

    switch (r->where & 7) {
    case 0:
        lapic_set_tpr(lapic, r->low);
        break;
    case 1:
        lapic_get_pending(lapic, &pending);
        lapic_clear_pending(lapic, &pending);
        break;
    case 2:
        lapic_init(lapic);
        break;
    case 3:
        lapic_set_base(lapic, (uint64_t)r->high << 32 | r->low);
        break;
    case 4:
        lapic_set_tsc_scale(lapic, r->low, r->high);
        break;
    case 5:
        irqchip_set_pit_reinject(board->chip, r->low & 1);
        break;
    default:
        eoi(board, r->cpu % CPUS);
        break;
    }
}

static void step(struct board *board, const struct record *r)
{
    switch (r->kind & 7) {
    case 0:
        port(board, r);
        break;
    case 1:
        mmio(board, r);
        break;
    case 2:
        msr(board, r);
        break;
    case 3:
        lines(board, r);
        break;
    case 4:
        irqchip_advance_clock(board->chip, r->low % MAX_ADVANCE);
        break;
    case 5:
        if (lapic_take_interrupt(board->cpu[r->cpu % CPUS]) > 255)
            abort();
        break;
    case 6:
        if (r->where & 1)
            states(board, r);
        else
            routing(board, r);
        break;
    default:
        others(board, r);
        break;
    }
}

/* Quiet lines and a clock that stands still: each EOI leads on to the end. */
static void drain(struct board *board)
{
    const struct kvm_irqchip quiet[] = { { .chip_id = 0 }, { .chip_id = 1 }, { .chip_id = 2 } };

    irqchip_set_pit_reinject(board->chip, false);
    for (unsigned gsi = 0; gsi < 24; gsi++) {
        irqchip_set_line(board->chip, gsi, false);
        irqchip_set_resample_line(board->chip, gsi, false);
    }
    /* State that was set may hold level requests without a line. */
    for (unsigned n = 0; n < 3; n++)
        irqchip_set_state(board->chip, &quiet[n]);
    for (unsigned n = 0; n < CPUS; n++) {
        unsigned taken = 0;

        while (lapic_take_interrupt(board->cpu[n]) >= 0) {
            if (++taken > DRAIN)
                abort();
            eoi(board, n);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct board board;
    struct record record;

    board_make(&board);
    for (unsigned n = 0; n < MAX_RECORDS && size >= sizeof(record); n++) {
        memcpy(&record, data, sizeof(record));
        data += sizeof(record);
        size -= sizeof(record);
        step(&board, &record);
    }
    drain(&board);
    board_end(&board);
    return 0;
}

/* Controllers set up as a kernel does, timers running, some interrupts. */
static const struct record seed[] = {
    { 0, 0, 0, 0x11, 1 }, { 0, 0, 1, 0x20, 1 }, { 0, 0, 1, 4, 1 }, { 0, 0, 1, 1, 1 },
    { 0, 0, 9, 0x34, 1 }, { 0, 0, 6, 0xa9, 1 }, { 0, 0, 6, 4, 1 }, { 4, 0, 0, 2000000, 0 },
    { 5, 0, 0, 0, 0 }, { 7, 0, 7, 0, 0 }, { 1, 0, 0x10f0, 0x1ff, 0 }, { 1, 1, 0x10f0, 0x1ff, 0 },
    { 1, 0, 0x8000, 0x38, 0 }, { 1, 0, 0x8010, 0x8055, 0 }, { 3, 0, 20, 1, 0 }, { 5, 0, 0, 0, 0 },
    { 1, 0, 0x10b0, 0, 0 }, { 5, 0, 0, 0, 0 }, { 3, 0, 20, 0, 0 }, { 7, 0, 7, 0, 0 },
    { 2, 1, 0x8000, 0xfee00c00, 0 }, { 2, 1, 0x0f, 0x1ff, 0 }, { 2, 1, 0x30, 0x41, 1 },
    { 1, 0, 0x13e0, 0xb, 0 }, { 1, 0, 0x1320, 0x20070, 0 }, { 1, 0, 0x1380, 1000000, 0 },
    { 4, 0, 0, 3000000, 0 }, { 5, 0, 0, 0, 0 }, { 2, 1, 0x32, 0x40071, 0 },
    { 2, 1, 0x8001, 99999999, 0 }, { 4, 0, 0, 99000000, 0 }, { 5, 1, 0, 0, 0 },
    { 6, 0, 0x8001, 0x55, 0 }, { 6, 0x80, 0x11, 0x8055, 0 }, { 6, 0, 0x4001, 7, 0 },
    { 6, 0x45, 0x2800, 2, 5 }, { 3, 0, 0x8000, 0xfee00000, 0x442 }, { 5, 0, 0, 0, 0 },
};

const uint8_t *fuzz_seed(unsigned n, size_t *size)
{
    *size = sizeof(seed);
    return n == 0 ? (const uint8_t *)seed : NULL;
}
