/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tests of the interrupt controllers are tables of steps: what the guest or user
 * space does, and what it must see.  Time stands still except in ADVANCE.
 */
#ifndef TESTS_IRQCHIP_STEPS_H
#define TESTS_IRQCHIP_STEPS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "irqchip.h"

#define APIC_BASE 0xfee00000ULL
#define IOAPIC_BASE 0xfec00000ULL
#define US 1000ULL
#define MS (1000 * US)

enum { BOARD_CPUS = 4 };

/* A board with an irqchip, a PIT with speaker, and four vCPUs; vCPU 0 is the boot processor. */
struct board {
    struct irqchip *chip;
    struct lapic *cpu[BOARD_CPUS];
    unsigned kicked;            /* bit n: vCPU n was kicked since the last KICKED step */
    unsigned ended;             /* bit n: GSI n was acknowledged since the last ENDED step */
};

struct board *board_new(void);
void board_free(struct board *board);

enum step_kind {
    STEP_OUT, STEP_IN, STEP_LINE, STEP_RESAMPLE, STEP_TAKE, STEP_ADVANCE, STEP_KICKED, STEP_ENDED,
    STEP_APIC_W, STEP_APIC_R, STEP_IOAPIC_W, STEP_IOAPIC_R, STEP_WRMSR, STEP_WRMSR_GP,
    STEP_RDMSR, STEP_RDMSR_GP, STEP_MSI, STEP_PENDING, STEP_CLEAR, STEP_TPR,
};

struct step {
    enum step_kind kind;
    unsigned line;              /* of the source, for messages */
    uint64_t where, value;
    int64_t expect;
    unsigned cpu;
};

#define STEP(kind_, ...) { .kind = (kind_), .line = __LINE__, __VA_ARGS__ }
#define OUT(port, value_)          STEP(STEP_OUT, .where = (port), .value = (value_))
#define IN(port, expect_)          STEP(STEP_IN, .where = (port), .expect = (expect_))
/* KVM_IRQ_LINE, with its status; as in KVM lowering counts 1 for each chip that it reaches. */
#define LINE(gsi, level, status)   STEP(STEP_LINE, .where = (gsi), .value = (level), .expect = (status))
#define RESAMPLE(gsi)              STEP(STEP_RESAMPLE, .where = (gsi))
/* The vCPU takes an interrupt: its vector, or NONE. */
#define TAKE(cpu_, vector)         STEP(STEP_TAKE, .cpu = (cpu_), .expect = (vector))
#define NONE (-1)
#define ADVANCE(ns)                STEP(STEP_ADVANCE, .value = (ns))
#define KICKED(cpus)               STEP(STEP_KICKED, .expect = (cpus))
#define ENDED(gsis)                STEP(STEP_ENDED, .expect = (gsis))
/* xAPIC registers by offset, of a vCPU. */
#define APIC_W(cpu_, offset, value_)   STEP(STEP_APIC_W, .cpu = (cpu_), .where = (offset), .value = (value_))
#define APIC_R(cpu_, offset, expect_)  STEP(STEP_APIC_R, .cpu = (cpu_), .where = (offset), .expect = (expect_))
#define EOI(cpu_)                  APIC_W(cpu_, 0xb0, 0)
#define ENABLE(cpu_)               APIC_W(cpu_, 0xf0, 0x1ff)
#define IOAPIC_W(index, value_)    STEP(STEP_IOAPIC_W, .where = (index), .value = (value_))
#define IOAPIC_R(index, expect_)   STEP(STEP_IOAPIC_R, .where = (index), .expect = (expect_))
#define PIN(pin, low, high)        IOAPIC_W(0x11 + 2 * (pin), high), IOAPIC_W(0x10 + 2 * (pin), low)
#define WRMSR(cpu_, index, value_) STEP(STEP_WRMSR, .cpu = (cpu_), .where = (index), .value = (value_))
#define WRMSR_GP(cpu_, index, value_) \
    STEP(STEP_WRMSR_GP, .cpu = (cpu_), .where = (index), .value = (value_))
#define RDMSR(cpu_, index, expect_) \
    STEP(STEP_RDMSR, .cpu = (cpu_), .where = (index), .expect = (int64_t)(expect_))
#define RDMSR_GP(cpu_, index)      STEP(STEP_RDMSR_GP, .cpu = (cpu_), .where = (index))
#define MSI(address, data, status) STEP(STEP_MSI, .where = (address), .value = (data), .expect = (status))
/* What lapic_get_pending() shows. */
enum { P_IRQ = 1, P_NMI = 2, P_INIT = 4, P_SIPI = 8 };
#define PENDING(cpu_, bits)        STEP(STEP_PENDING, .cpu = (cpu_), .expect = (bits))
#define CLEAR(cpu_)                STEP(STEP_CLEAR, .cpu = (cpu_))
#define TPR(cpu_, cr8)             STEP(STEP_TPR, .cpu = (cpu_), .value = (cr8))

void board_run(struct board *board, const struct step *steps, size_t count);

#define RUN(board, ...)                                                       \
    do {                                                                      \
        const struct step steps_[] = { __VA_ARGS__ };                         \
        board_run(board, steps_, sizeof(steps_) / sizeof(steps_[0]));         \
    } while (0)

/* cmocka setup and teardown: *state is a struct board. */
int board_setup(void **state);
int board_teardown(void **state);

#endif
