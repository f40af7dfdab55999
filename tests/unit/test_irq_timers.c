/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The timer heap in order, and the thread: interrupts arrive without anyone
 * asking, several threads at once are safe, and everything ends.  Nothing here
 * asserts how long something takes.
 */
#include "irqchip_steps.h"

#include <pthread.h>
#include <stdlib.h>

/* Every APIC has its own count; they fire in the order of their deadlines. */
static void test_timers_fire_in_order(void **state)
{
    struct board *board = *state;

    for (unsigned round = 0; round < 50; round++) {
        uint32_t count[BOARD_CPUS], now = 0;

        for (unsigned n = 0; n < BOARD_CPUS; n++) {
            count[n] = 1000 + (uint32_t)random() % 1000 * BOARD_CPUS + n;
            RUN(board, ENABLE(n), APIC_W(n, 0x3e0, 0xb), APIC_W(n, 0x320, 0x40),
                APIC_W(n, 0x380, count[n]));
        }
        for (unsigned fired = 0; fired < BOARD_CPUS; fired++) {
            unsigned first = 0;

            for (unsigned n = 1; n < BOARD_CPUS; n++) {
                if (count[n] < count[first])
                    first = n;
            }
            RUN(board, ADVANCE(count[first] - now - 1), KICKED(0), ADVANCE(1), KICKED(1 << first),
                TAKE(first, 0x40), EOI(first));
            now = count[first];
            count[first] = UINT32_MAX;
        }
    }
}

struct live {
    pthread_mutex_t lock;
    pthread_cond_t kicked;
    unsigned kicks;
    struct irqchip *chip;
    struct lapic *cpu[2];
};

static void live_kick(void *opaque, uint32_t vcpu_id)
{
    struct live *live = opaque;

    pthread_mutex_lock(&live->lock);
    live->kicks++;
    pthread_cond_broadcast(&live->kicked);
    pthread_mutex_unlock(&live->lock);
}

static void write_apic(struct lapic *lapic, unsigned offset, uint32_t value)
{
    lapic_mmio(lapic, APIC_BASE + offset, &value, 4, true);
}

static void live_start(struct live *live)
{
    static const struct irqchip_ops ops = { .kick = live_kick };

    pthread_mutex_init(&live->lock, NULL);
    pthread_cond_init(&live->kicked, NULL);
    live->kicks = 0;
    live->chip = irqchip_new(&ops, live);
    assert_int_equal(irqchip_create(live->chip), 0);
    for (unsigned n = 0; n < 2; n++) {
        live->cpu[n] = lapic_new(live->chip, n);
        lapic_reset(live->cpu[n], n == 0);
        write_apic(live->cpu[n], 0xf0, 0x1ff);
        write_apic(live->cpu[n], 0x3e0, 0xb);
    }
}

static void live_end(struct live *live)
{
    for (unsigned n = 0; n < 2; n++)
        lapic_free(live->cpu[n]);
    irqchip_free(live->chip);
    pthread_cond_destroy(&live->kicked);
    pthread_mutex_destroy(&live->lock);
}

static void test_thread_fires(void **state)
{
    struct live live;

    live_start(&live);
    /* A later deadline first: the thread must wake for the earlier one. */
    write_apic(live.cpu[0], 0x320, 0x41);
    write_apic(live.cpu[0], 0x380, 0xffffffff);
    write_apic(live.cpu[1], 0x320, 0x42);
    write_apic(live.cpu[1], 0x380, 1000000);
    pthread_mutex_lock(&live.lock);
    while (!live.kicks)
        pthread_cond_wait(&live.kicked, &live.lock);
    pthread_mutex_unlock(&live.lock);
    assert_int_equal(lapic_take_interrupt(live.cpu[1]), 0x42);
    assert_int_equal(lapic_take_interrupt(live.cpu[0]), -1);
    live_end(&live);
}

/* A vCPU of sorts: a periodic timer, and an IPI to the other for each interrupt taken. */
static void *busy_vcpu(void *opaque)
{
    struct lapic *lapic = opaque;
    unsigned taken = 0;

    write_apic(lapic, 0x320, 0x20040);
    write_apic(lapic, 0x380, 200000);
    while (taken < 200) {
        if (lapic_take_interrupt(lapic) < 0)
            continue;
        taken++;
        write_apic(lapic, 0xb0, 0);
        write_apic(lapic, 0x300, 3 << 18 | 0x50);
    }
    return NULL;
}

static void test_threads_together(void **state)
{
    pthread_t thread[2];
    struct live live;

    live_start(&live);
    for (unsigned n = 0; n < 2; n++)
        assert_int_equal(pthread_create(&thread[n], NULL, busy_vcpu, live.cpu[n]), 0);
    for (unsigned n = 0; n < 1000; n++)
        irqchip_set_line(live.chip, 4, n & 1);
    for (unsigned n = 0; n < 2; n++)
        pthread_join(thread[n], NULL);
    live_end(&live);
}

static void test_end_with_timers_running(void **state)
{
    struct live live;

    for (unsigned n = 0; n < 20; n++) {
        live_start(&live);
        write_apic(live.cpu[1], 0x320, 0x20042);
        write_apic(live.cpu[1], 0x380, 200000);
        live_end(&live);
    }
    /* Never used at all. */
    irqchip_free(NULL);
    lapic_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_timers_fire_in_order, board_setup, board_teardown),
        cmocka_unit_test(test_thread_fires),
        cmocka_unit_test(test_threads_together),
        cmocka_unit_test(test_end_with_timers_running),
    };

    return cmocka_run_group_tests_name("irq_timers", tests, NULL, NULL);
}
