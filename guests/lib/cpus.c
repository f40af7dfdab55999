/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waking the other processors: INIT, then SIPI twice (SDM vol. 3, 9.4.4). */
#include "guest.h"

enum { TRAMPOLINE = 0x8000, ICR_INIT = 0x4500, ICR_STARTUP = 0x4600 };

extern const char trampoline[], trampoline_end[];

static void (*ap_function)(unsigned number);
static uint32_t online;

void ap_main(unsigned number);

void ap_main(unsigned number)
{
    interrupts_init();
    __atomic_add_fetch(&online, 1, __ATOMIC_SEQ_CST);
    ap_function(number);
}

unsigned start_cpus(const struct board_info *board, void (*fn)(unsigned number))
{
    uint32_t self = apic_id();
    unsigned others = 0;

    ap_function = fn;
    share_page(TRAMPOLINE);     /* it writes CR0 */
    memcpy((void *)(uintptr_t)TRAMPOLINE, trampoline, (size_t)(trampoline_end - trampoline));
    for (unsigned n = 0; n < board->cpu_count; n++) {
        if (board->apic_ids[n] == self)
            continue;
        apic_ipi(board->apic_ids[n], ICR_INIT);
        apic_ipi(board->apic_ids[n], ICR_STARTUP | TRAMPOLINE >> 12);
        apic_ipi(board->apic_ids[n], ICR_STARTUP | TRAMPOLINE >> 12);
        others++;
    }
    while (__atomic_load_n(&online, __ATOMIC_SEQ_CST) < others)
        cpu_pause();
    return others;
}
