/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs the steps of irqchip_steps.h. */
#include "irqchip_steps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void record_kick(void *opaque, uint32_t vcpu_id)
{
    struct board *board = opaque;

    board->kicked |= 1u << vcpu_id % 32;        /* one of them is 257 */
}

static void record_eoi(void *opaque, uint32_t gsi)
{
    struct board *board = opaque;

    board->ended |= 1u << gsi;
}

static const struct irqchip_ops ops = { .kick = record_kick, .eoi = record_eoi };

struct board *board_new(void)
{
    const struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
    struct board *board = calloc(1, sizeof(*board));

    assert_non_null(board);
    board->chip = irqchip_new(&ops, board);
    assert_non_null(board->chip);
    irqchip_set_manual_clock(board->chip);
    assert_int_equal(irqchip_create(board->chip), 0);
    assert_int_equal(irqchip_create_pit(board->chip, &config), 0);
    for (unsigned n = 0; n < BOARD_CPUS; n++) {
        board->cpu[n] = lapic_new(board->chip, n);
        assert_non_null(board->cpu[n]);
        lapic_reset(board->cpu[n], n == 0);
    }
    return board;
}

void board_free(struct board *board)
{
    for (unsigned n = 0; n < BOARD_CPUS; n++)
        lapic_free(board->cpu[n]);
    irqchip_free(board->chip);
    free(board);
}

int board_setup(void **state)
{
    *state = board_new();
    return 0;
}

int board_teardown(void **state)
{
    board_free(*state);
    return 0;
}

static int64_t port_io(struct board *board, const struct step *step, bool write)
{
    uint8_t value = (uint8_t)step->value;

    assert_true(irqchip_pio(board->chip, (uint16_t)step->where, &value, 1, write));
    return value;
}

static int64_t apic_io(struct board *board, const struct step *step, bool write)
{
    uint32_t value = (uint32_t)step->value;

    assert_true(lapic_mmio(board->cpu[step->cpu], APIC_BASE + step->where, &value, 4, write));
    return value;
}

static int64_t ioapic_io(struct board *board, const struct step *step, bool write)
{
    uint32_t value = (uint32_t)step->where;

    assert_true(irqchip_mmio(board->chip, IOAPIC_BASE, &value, 4, true));
    value = (uint32_t)step->value;
    assert_true(irqchip_mmio(board->chip, IOAPIC_BASE + 0x10, &value, 4, write));
    return value;
}

static int64_t take_record(unsigned *record)
{
    unsigned value = *record;

    *record = 0;
    return value;
}

static int64_t pending(struct lapic *lapic)
{
    struct lapic_pending p;

    lapic_get_pending(lapic, &p);
    return (p.interrupt ? P_IRQ : 0) | (p.nmis ? P_NMI : 0) | (p.init ? P_INIT : 0) |
           (p.sipi ? P_SIPI : 0);
}

static int64_t send_msi(struct board *board, const struct step *step)
{
    const struct kvm_msi msi = {
        .address_lo = (uint32_t)step->where,
        .address_hi = (uint32_t)(step->where >> 32),
        .data = (uint32_t)step->value,
    };

    return irqchip_send_msi(board->chip, &msi);
}

static int64_t msr_io(struct board *board, const struct step *step)
{
    struct lapic *lapic = board->cpu[step->cpu];
    uint32_t index = (uint32_t)step->where;
    uint64_t value = step->value;

    switch (step->kind) {
    case STEP_WRMSR:
        assert_true(lapic_wrmsr(lapic, index, value, false));
        return 0;
    case STEP_WRMSR_GP:
        return lapic_wrmsr(lapic, index, value, false);
    case STEP_RDMSR:
        assert_true(lapic_rdmsr(lapic, index, &value));
        return (int64_t)value;
    default:
        return lapic_rdmsr(lapic, index, &value);
    }
}

static int64_t clear_all(struct lapic *lapic)
{
    const struct lapic_pending all = { .nmis = 1, .smi = true, .init = true, .sipi = true };

    lapic_clear_pending(lapic, &all);
    return 0;
}

/* What the step answers; steps that answer nothing expect 0. */
static int64_t run_step(struct board *board, const struct step *step)
{
    struct lapic *lapic = board->cpu[step->cpu];

    switch (step->kind) {
    case STEP_OUT:
        port_io(board, step, true);
        return 0;
    case STEP_IN:
        return port_io(board, step, false);
    case STEP_LINE:
        return irqchip_set_line(board->chip, (uint32_t)step->where, step->value);
    case STEP_RESAMPLE:
        irqchip_set_resample_line(board->chip, (uint32_t)step->where, true);
        return 0;
    case STEP_TAKE:
        return lapic_take_interrupt(lapic);
    case STEP_ADVANCE:
        irqchip_advance_clock(board->chip, step->value);
        return 0;
    case STEP_KICKED:
        return take_record(&board->kicked);
    case STEP_ENDED:
        return take_record(&board->ended);
    case STEP_APIC_W:
        apic_io(board, step, true);
        return 0;
    case STEP_APIC_R:
        return apic_io(board, step, false);
    case STEP_IOAPIC_W:
        ioapic_io(board, step, true);
        return 0;
    case STEP_IOAPIC_R:
        return ioapic_io(board, step, false);
    case STEP_MSI:
        return send_msi(board, step);
    case STEP_PENDING:
        return pending(lapic);
    case STEP_CLEAR:
        return clear_all(lapic);
    case STEP_TPR:
        lapic_set_tpr(lapic, (uint8_t)step->value);
        return 0;
    default:
        return msr_io(board, step);
    }
}

void board_run(struct board *board, const struct step *steps, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        int64_t got = run_step(board, &steps[n]);

        if (got != steps[n].expect)
            fail_msg("step %zu of those at line %u: got %" PRIi64 " (0x%" PRIx64 "), expected %" PRIi64
                     " (0x%" PRIx64 ")", n, steps[n].line, got, (uint64_t)got, steps[n].expect,
                     (uint64_t)steps[n].expect);
    }
}
