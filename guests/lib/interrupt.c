/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* IDT, TSS, and the one place where every interrupt and exception arrives. */
#include "guest.h"

enum {
    SELECTOR_CODE = 0x18, SELECTOR_TSS = 0x38, VECTOR_RETURN = 0x80,
    GATE_INTERRUPT = 0x8e, GATE_RING3 = 0xee, EXCEPTIONS = 32, IST_STACKS = 3,
    RFLAGS_KEPT = 2,                    /* after a fault: no TF, IF, DF, AC */
};

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3], reserved1, ist[7], reserved2;
    uint16_t reserved3, io_map;
} __attribute__((packed));

struct gate idt[256];
struct fault last_fault;
extern uint64_t gdt[], try_rsp;
extern const char vector_table[], try_return[];

static handler_fn *handlers[256];
static struct tss tss;
static uint64_t stacks[1 + IST_STACKS][512] __attribute__((aligned(16)));

uint64_t *ist_stack(unsigned n)
{
    return stacks[n] + 512;
}

void set_handler(uint8_t vector, handler_fn *handler)
{
    handlers[vector] = handler;
}

static void resume_try(struct frame *frame, uint64_t rax)
{
    frame->rax = rax;
    frame->rip = (uint64_t)try_return;
    frame->cs = SELECTOR_CODE;
    frame->ss = SELECTOR_CODE + 8;
    frame->rflags = RFLAGS_KEPT;
    frame->rsp = try_rsp;
}

void interrupt_entry(struct frame *frame);

void interrupt_entry(struct frame *frame)
{
    uint64_t cr2;

    if (handlers[frame->vector]) {
        handlers[frame->vector](frame);
        return;
    }
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    if (frame->vector == VECTOR_RETURN && try_rsp) {
        resume_try(frame, frame->rax);
        return;
    }
    if (frame->vector < EXCEPTIONS && try_rsp) {
        last_fault = (struct fault) {
            .happened = true, .vector = (uint8_t)frame->vector, .error = frame->error,
            .cr2 = cr2, .rip = frame->rip, .rsp = frame->rsp,
        };
        resume_try(frame, 0);
        return;
    }
    print("unexpected vector %lu, error 0x%lx, rip 0x%lx, cr2 0x%lx\n", frame->vector,
          frame->error, frame->rip, cr2);
    check(false, "interrupts");
    finish();
}

static void fill_idt(void)
{
    for (unsigned n = 0; n < 256; n++) {
        uint64_t entry = (uint64_t)vector_table + 16 * n;

        idt[n] = (struct gate) {
            .offset_low = (uint16_t)entry, .selector = SELECTOR_CODE,
            .type = n == VECTOR_RETURN || n == 3 ? GATE_RING3 : GATE_INTERRUPT,
            .offset_middle = (uint16_t)(entry >> 16), .offset_high = (uint32_t)(entry >> 32),
        };
    }
}

static void load_tss(void)
{
    uint64_t base = (uint64_t)&tss, limit = sizeof(tss) - 1;

    tss.rsp[0] = (uint64_t)ist_stack(0);
    for (unsigned n = 1; n <= IST_STACKS; n++)
        tss.ist[n - 1] = (uint64_t)ist_stack(n);
    tss.io_map = sizeof(tss);
    gdt[SELECTOR_TSS / 8] = limit | (base & 0xffffff) << 16 | 0x89ULL << 40 |
                            (base >> 24 & 0xff) << 56;
    gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
    __asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS));
}

void interrupts_init(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint64_t)idt };

    if (!idt[0].type) {
        fill_idt();
        load_tss();
    }
    __asm__ volatile("lidt %0" : : "m"(pointer));
}
