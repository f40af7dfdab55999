/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The notes of a core file: per vCPU what gdb reads (NT_PRSTATUS, as Linux lays it
 * out for x86-64), then per vCPU what crash and QEMU's readers want (note "QEMU",
 * type 0, version 1), then what memory is missing.
 */
#include "core_dump_internal.h"

#include "error.h"

#include <elf.h>
#include <string.h>

enum { MSR_KERNEL_GS_BASE = 0xc0000102, NOTE_QEMU = 0, NOTE_MISSING = 1 };

void core_notes_add(GByteArray *notes, const char *name, uint32_t type, const void *desc,
                    size_t size)
{
    static const uint8_t zeroes[4];
    const Elf64_Nhdr head = {
        .n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = (uint32_t)size, .n_type = type,
    };

    g_byte_array_append(notes, (const uint8_t *)&head, sizeof(head));
    g_byte_array_append(notes, (const uint8_t *)name, head.n_namesz);
    g_byte_array_append(notes, zeroes, -head.n_namesz & 3);
    g_byte_array_append(notes, desc, (guint)size);
    g_byte_array_append(notes, zeroes, -(guint)size & 3);
}

/* --- What gdb reads --- */

struct prstatus {
    int32_t signal[3];
    int16_t current_signal, pad;
    uint64_t pending, held;
    int32_t pid, ppid, pgrp, sid;
    uint64_t times[8];
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax,
             rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
    int32_t fp_valid, pad2;
};
G_STATIC_ASSERT(sizeof(struct prstatus) == 0x150);

static void add_prstatus(GByteArray *notes, unsigned cpu, const struct debug_registers *all)
{
    const struct kvm_regs *r = &all->regs;
    const struct kvm_sregs *s = &all->sregs;
    const struct prstatus status = {
        .pid = (int32_t)cpu + 1,
        .r15 = r->r15, .r14 = r->r14, .r13 = r->r13, .r12 = r->r12, .rbp = r->rbp, .rbx = r->rbx,
        .r11 = r->r11, .r10 = r->r10, .r9 = r->r9, .r8 = r->r8, .rax = r->rax, .rcx = r->rcx,
        .rdx = r->rdx, .rsi = r->rsi, .rdi = r->rdi, .orig_rax = UINT64_MAX, .rip = r->rip,
        .cs = s->cs.selector, .eflags = r->rflags, .rsp = r->rsp, .ss = s->ss.selector,
        .fs_base = s->fs.base, .gs_base = s->gs.base, .ds = s->ds.selector, .es = s->es.selector,
        .fs = s->fs.selector, .gs = s->gs.selector,
    };

    core_notes_add(notes, "CORE", NT_PRSTATUS, &status, sizeof(status));
}

/* --- What crash reads --- */

struct qemu_segment {
    uint32_t selector, limit, flags, pad;
    uint64_t base;
};

struct qemu_cpu {
    uint32_t version, size;
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip,
             rflags;
    struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
    uint64_t cr[5];
    uint64_t kernel_gs_base;
};
G_STATIC_ASSERT(sizeof(struct qemu_cpu) == 0x1b8);

static struct qemu_segment segment(const struct kvm_segment *seg)
{
    return (struct qemu_segment){
        .selector = seg->selector, .limit = seg->limit, .flags = debug_segment_flags(seg),
        .base = seg->base,
    };
}

static struct qemu_segment table(const struct kvm_dtable *table)
{
    return (struct qemu_segment){ .limit = table->limit, .base = table->base };
}

static void add_qemu(GByteArray *notes, const struct debug_registers *all, uint64_t kernel_gs_base)
{
    const struct kvm_regs *r = &all->regs;
    const struct kvm_sregs *s = &all->sregs;
    const struct qemu_cpu cpu = {
        .version = 1, .size = sizeof(cpu),
        .rax = r->rax, .rbx = r->rbx, .rcx = r->rcx, .rdx = r->rdx, .rsi = r->rsi, .rdi = r->rdi,
        .rsp = r->rsp, .rbp = r->rbp, .r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11,
        .r12 = r->r12, .r13 = r->r13, .r14 = r->r14, .r15 = r->r15, .rip = r->rip,
        .rflags = r->rflags,
        .cs = segment(&s->cs), .ds = segment(&s->ds), .es = segment(&s->es),
        .fs = segment(&s->fs), .gs = segment(&s->gs), .ss = segment(&s->ss),
        .ldt = segment(&s->ldt), .tr = segment(&s->tr), .gdt = table(&s->gdt),
        .idt = table(&s->idt),
        .cr = { s->cr0, 0, s->cr2, s->cr3, s->cr4 }, .kernel_gs_base = kernel_gs_base,
    };

    core_notes_add(notes, "QEMU", NOTE_QEMU, &cpu, sizeof(cpu));
}

bool core_notes_add_cpus(struct debug *dbg, GByteArray *notes, GError **error)
{
    const struct debug_machine *machine = debug_machine(dbg);
    unsigned count = machine->cpu_count(machine->opaque);
    g_autofree struct debug_registers *all = g_new0(struct debug_registers, count);

    for (unsigned i = 0; i < count; i++) {
        if (!debug_registers(dbg, i, &all[i], error))
            return false;
        add_prstatus(notes, i, &all[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        uint64_t kernel_gs_base = 0;

        debug_read_msr(dbg, i, MSR_KERNEL_GS_BASE, &kernel_gs_base);
        add_qemu(notes, &all[i], kernel_gs_base);
    }
    return true;
}

/* --- What isn't there --- */

void core_notes_add_missing(GByteArray *notes, const GArray *runs)
{
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(uint64_t[2]));

    for (guint i = 0; i < runs->len; i++) {
        const struct dump_run *run = &g_array_index(runs, struct dump_run, i);
        const uint64_t range[2] = { run->gpa, run->size };

        if (!run->readable)
            g_array_append_val(ranges, range);
    }
    if (ranges->len)
        core_notes_add(notes, "CLOISTER", NOTE_MISSING, ranges->data,
                       ranges->len * sizeof(uint64_t[2]));
}
