/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --trace: a row for each ioctl and each exit whose argument says more than its name. */
#include "preload_decode.h"

#include "kvm_names.h"
#include "kvm_uapi.h"
#include "usercopy.h"

#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>

enum { MAX_ARGUMENT = 256 };

struct text {
    char *at;
    size_t room;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *text, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text->at, text->room, format, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n >= text->room)
        n = text->room - 1;
    text->at += n;
    text->room -= n;
}

/* First and last byte: how people write ranges of memory. */
static void add_range(struct text *text, const char *what, unsigned long long at,
                      unsigned long long size)
{
    if (size)
        add(text, " %s 0x%llx-0x%llx", what, at, at + size - 1);
    else
        add(text, " %s 0x%llx, nothing", what, at);
}

static void add_number(struct text *text, unsigned long value)
{
    add(text, " %lu", value);
}

static void add_hex(struct text *text, unsigned long value)
{
    add(text, " 0x%lx", value);
}

static void add_cap(struct text *text, unsigned long value)
{
    const char *name = kvm_name(kvm_cap_names, value);

    if (name)
        add(text, " %s", name);
    else
        add_number(text, value);
}

static void enable_cap(struct text *text, const void *arg)
{
    const struct kvm_enable_cap *cap = arg;

    add_cap(text, cap->cap);
    add(text, " 0x%llx", cap->args[0]);
}

static void add_slot(struct text *text, const struct kvm_userspace_memory_region2 *region)
{
    add(text, " slot %u", region->slot & 0xffff);
    if (region->slot >> 16)
        add(text, " of space %u", region->slot >> 16);
    if (!region->memory_size) {
        add(text, " deleted");
        return;
    }
    add_range(text, "at", region->guest_phys_addr, region->memory_size);
    add(text, " from 0x%llx", region->userspace_addr);
    if (region->flags & KVM_MEM_LOG_DIRTY_PAGES)
        add(text, " dirty-log");
    if (region->flags & KVM_MEM_READONLY)
        add(text, " readonly");
    if (region->flags & KVM_MEM_GUEST_MEMFD)
        add(text, " guest_memfd %u + 0x%llx", region->guest_memfd, region->guest_memfd_offset);
}

static void region(struct text *text, const void *arg)
{
    const struct kvm_userspace_memory_region *old = arg;
    const struct kvm_userspace_memory_region2 all = {
        .slot = old->slot, .flags = old->flags & ~KVM_MEM_GUEST_MEMFD,
        .guest_phys_addr = old->guest_phys_addr, .memory_size = old->memory_size,
        .userspace_addr = old->userspace_addr,
    };

    add_slot(text, &all);
}

static void region2(struct text *text, const void *arg)
{
    add_slot(text, arg);
}

static void add_attributes(struct text *text, unsigned long long attributes)
{
    if (attributes & ~KVM_MEMORY_ATTRIBUTE_PRIVATE)
        add(text, " to 0x%llx", attributes);
    else
        add(text, attributes ? " to private" : " to shared");
}

static void attributes(struct text *text, const void *arg)
{
    const struct kvm_memory_attributes *set = arg;

    add_range(text, "at", set->address, set->size);
    add_attributes(text, set->attributes);
}

static void attributes2(struct text *text, const void *arg)
{
    const struct kvm_memory_attributes2 *set = arg;

    add_range(text, "at", set->offset, set->size);
    add_attributes(text, set->attributes);
    if (set->error_offset)
        add(text, " error_offset 0x%llx", set->error_offset);
}

static void guest_memfd(struct text *text, const void *arg)
{
    const struct kvm_create_guest_memfd *create = arg;

    add(text, " size 0x%llx%s%s", create->size,
        create->flags & GUEST_MEMFD_FLAG_MMAP ? " mmap" : "",
        create->flags & GUEST_MEMFD_FLAG_INIT_SHARED ? " init-shared" : "");
}

static void irq_line(struct text *text, const void *arg)
{
    const struct kvm_irq_level *level = arg;

    add(text, " irq %u %s", level->irq, level->level ? "up" : "down");
}

static void irqfd(struct text *text, const void *arg)
{
    const struct kvm_irqfd *fd = arg;

    add(text, " fd %u gsi %u%s%s", fd->fd, fd->gsi,
        fd->flags & KVM_IRQFD_FLAG_DEASSIGN ? " removed" : "",
        fd->flags & KVM_IRQFD_FLAG_RESAMPLE ? " resample" : "");
}

static void ioeventfd(struct text *text, const void *arg)
{
    const struct kvm_ioeventfd *fd = arg;

    add(text, " fd %d %s 0x%llx size %u%s", fd->fd,
        fd->flags & KVM_IOEVENTFD_FLAG_PIO ? "port" : "at", fd->addr, fd->len,
        fd->flags & KVM_IOEVENTFD_FLAG_DEASSIGN ? " removed" : "");
}

static void msi(struct text *text, const void *arg)
{
    const struct kvm_msi *msi = arg;

    add(text, " address 0x%x data 0x%x", msi->address_lo, msi->data);
}

static void count(struct text *text, const void *arg)
{
    add(text, " of %u", *(const __u32 *)arg);
}

static void msrs(struct text *text, const void *arg)
{
    const struct kvm_msrs *list = arg;
    const struct kvm_msr_entry *first = list->entries;

    if (list->nmsrs == 1)
        add(text, " 0x%x 0x%llx", first->index, first->data);
    else
        count(text, arg);
}

static void regs(struct text *text, const void *arg)
{
    const struct kvm_regs *regs = arg;

    add(text, " rip 0x%llx", regs->rip);
}

static void mp_state(struct text *text, const void *arg)
{
    count(text, arg);
}

static void pre_fault(struct text *text, const void *arg)
{
    const struct kvm_pre_fault_memory *range = arg;

    add_range(text, "left", range->gpa, range->size);
}

static void debug(struct text *text, const void *arg)
{
    add(text, " control 0x%x", ((const struct kvm_guest_debug *)arg)->control);
}

static const struct {
    unsigned long request;
    void (*value)(struct text *text, unsigned long value);      /* the argument itself */
    void (*structure)(struct text *text, const void *arg);      /* what it points to */
    size_t size;
} arguments[] = {
    { KVM_CHECK_EXTENSION, .value = add_cap },
    { KVM_CREATE_VM, .value = add_number },
    { KVM_CREATE_VCPU, .value = add_number },
    { KVM_SET_TSC_KHZ, .value = add_number },
    { KVM_SET_TSS_ADDR, .value = add_hex },
    { KVM_ENABLE_CAP, .structure = enable_cap, .size = sizeof(struct kvm_enable_cap) },
    { KVM_SET_USER_MEMORY_REGION, .structure = region,
      .size = sizeof(struct kvm_userspace_memory_region) },
    { KVM_SET_USER_MEMORY_REGION2, .structure = region2,
      .size = sizeof(struct kvm_userspace_memory_region2) },
    { KVM_SET_MEMORY_ATTRIBUTES, .structure = attributes,
      .size = sizeof(struct kvm_memory_attributes) },
    { KVM_SET_MEMORY_ATTRIBUTES2, .structure = attributes2,
      .size = sizeof(struct kvm_memory_attributes2) },
    { KVM_CREATE_GUEST_MEMFD, .structure = guest_memfd,
      .size = sizeof(struct kvm_create_guest_memfd) },
    { KVM_IRQ_LINE, .structure = irq_line, .size = sizeof(struct kvm_irq_level) },
    { KVM_IRQ_LINE_STATUS, .structure = irq_line, .size = sizeof(struct kvm_irq_level) },
    { KVM_IRQFD, .structure = irqfd, .size = sizeof(struct kvm_irqfd) },
    { KVM_IOEVENTFD, .structure = ioeventfd, .size = sizeof(struct kvm_ioeventfd) },
    { KVM_SIGNAL_MSI, .structure = msi, .size = sizeof(struct kvm_msi) },
    { KVM_SET_GSI_ROUTING, .structure = count, .size = sizeof(__u32) },
    { KVM_SET_CPUID2, .structure = count, .size = sizeof(__u32) },
    { KVM_GET_MSRS, .structure = msrs,
      .size = sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry) },
    { KVM_SET_MSRS, .structure = msrs,
      .size = sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry) },
    { KVM_GET_REGS, .structure = regs, .size = sizeof(struct kvm_regs) },
    { KVM_SET_REGS, .structure = regs, .size = sizeof(struct kvm_regs) },
    { KVM_GET_MP_STATE, .structure = mp_state, .size = sizeof(struct kvm_mp_state) },
    { KVM_SET_MP_STATE, .structure = mp_state, .size = sizeof(struct kvm_mp_state) },
    { KVM_PRE_FAULT_MEMORY, .structure = pre_fault, .size = sizeof(struct kvm_pre_fault_memory) },
    { KVM_SET_GUEST_DEBUG, .structure = debug, .size = sizeof(struct kvm_guest_debug) },
};

static void add_structure(struct text *text, size_t row, unsigned long arg)
{
    union {
        char bytes[MAX_ARGUMENT];
        __u64 aligned;
    } copy;

    if (copy_from_user(copy.bytes, arg, arguments[row].size))
        add(text, " (bad address 0x%lx)", arg);
    else
        arguments[row].structure(text, copy.bytes);
}

void decode_argument(unsigned long request, unsigned long arg, char *buffer, size_t size)
{
    struct text text = { buffer, size };

    *buffer = 0;
    for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
        _Static_assert(sizeof(struct kvm_guest_debug) <= MAX_ARGUMENT, "the largest of them");
        if (arguments[i].request != (unsigned)request)
            continue;
        if (arguments[i].value)
            arguments[i].value(&text, arg);
        else
            add_structure(&text, i, arg);
        return;
    }
}

static void exit_io(struct text *text, const struct kvm_run *run)
{
    add(text, " %s 0x%x size %u", run->io.direction == KVM_EXIT_IO_IN ? "in" : "out",
        run->io.port, run->io.size);
    if (run->io.count != 1)
        add(text, " times %u", run->io.count);
}

static void exit_mmio(struct text *text, const struct kvm_run *run)
{
    add(text, " %s 0x%llx size %u", run->mmio.is_write ? "write" : "read", run->mmio.phys_addr,
        run->mmio.len);
}

static void exit_memory_fault(struct text *text, const struct kvm_run *run)
{
    const struct kvm_exit_memory_fault *fault = kvm_run_memory_fault((struct kvm_run *)run);

    add_range(text, fault->flags & KVM_MEMORY_EXIT_FLAG_PRIVATE ? "wants private" : "wants shared",
              fault->gpa, fault->size);
}

static void exit_hypercall(struct text *text, const struct kvm_run *run)
{
    add(text, " %llu(0x%llx, 0x%llx, 0x%llx)", run->hypercall.nr, run->hypercall.args[0],
        run->hypercall.args[1], run->hypercall.args[2]);
}

static void exit_internal_error(struct text *text, const struct kvm_run *run)
{
    add(text, " suberror %u", run->internal.suberror);
}

static void exit_msr(struct text *text, const struct kvm_run *run)
{
    add(text, " 0x%x", run->msr.index);
}

static void exit_debug(struct text *text, const struct kvm_run *run)
{
    add(text, " at 0x%llx", run->debug.arch.pc);
}

static const struct {
    __u32 reason;
    void (*add)(struct text *text, const struct kvm_run *run);
} exits[] = {
    { KVM_EXIT_IO, exit_io },
    { KVM_EXIT_MMIO, exit_mmio },
    { KVM_EXIT_MEMORY_FAULT, exit_memory_fault },
    { KVM_EXIT_HYPERCALL, exit_hypercall },
    { KVM_EXIT_INTERNAL_ERROR, exit_internal_error },
    { KVM_EXIT_X86_RDMSR, exit_msr },
    { KVM_EXIT_X86_WRMSR, exit_msr },
    { KVM_EXIT_DEBUG, exit_debug },
};

void decode_exit(const struct kvm_run *run, char *buffer, size_t size)
{
    struct text text = { buffer, size };

    *buffer = 0;
    for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++) {
        if (exits[i].reason == run->exit_reason)
            exits[i].add(&text, run);
    }
}
