/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exits of KVM_RUN: one row for each reason, with its name, who handles it and
 * whether the next entry completes it.  Layouts: struct
 * kvm_run in <linux/kvm.h>.
 */
#include "exits.h"

#include "sev_client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static enum kvm_exit_action exit_resume(const struct kvm_exit *exit)
{
    return KVM_RESUME;
}

static enum kvm_exit_action exit_io(const struct kvm_exit *exit)
{
    struct kvm_run *run = exit->run;

    return exit->ops->pio(exit->opaque, exit->vcpu, run->io.port,
                          (char *)run + run->io.data_offset, run->io.size, run->io.count,
                          run->io.direction == KVM_EXIT_IO_OUT);
}

static enum kvm_exit_action exit_mmio(const struct kvm_exit *exit)
{
    struct kvm_run *run = exit->run;

    return exit->ops->mmio(exit->opaque, exit->vcpu, run->mmio.phys_addr, run->mmio.data,
                           run->mmio.len, run->mmio.is_write);
}

/* KVM has checked that the range is aligned, not empty and doesn't wrap; others might not. */
static enum kvm_exit_action exit_hypercall(const struct kvm_exit *exit)
{
    struct kvm_run *run = exit->run;
    uint64_t gpa = run->hypercall.args[0], pages = run->hypercall.args[1];
    uint64_t ret = (uint64_t)-EINVAL;
    enum kvm_exit_action action = KVM_RESUME;

    if (run->hypercall.nr != KVM_HC_MAP_GPA_RANGE)
        ret = (uint64_t)-1000;  /* KVM_ENOSYS */
    else if (pages > 0 && pages <= UINT64_MAX / 4096)
        action = exit->ops->map_gpa_range(exit->opaque, exit->vcpu, gpa, pages * 4096,
                                          run->hypercall.args[2] & KVM_MAP_GPA_RANGE_ENCRYPTED_BIT,
                                          &ret);
    run->hypercall.ret = ret;
    return action;
}

static enum kvm_exit_action stopped(const struct kvm_exit *exit, const char *text)
{
    return exit->ops->stopped(exit->opaque, exit->vcpu, exit->run->exit_reason, exit->error, text);
}

static enum kvm_exit_action exit_stopped(const struct kvm_exit *exit)
{
    return stopped(exit, kvm_exit_name(exit->run->exit_reason));
}

static enum kvm_exit_action exit_debug(const struct kvm_exit *exit)
{
    if (!exit->ops->debug)
        return exit_stopped(exit);
    return exit->ops->debug(exit->opaque, exit->vcpu, &exit->run->debug.arch);
}

static enum kvm_exit_action exit_fail_entry(const struct kvm_exit *exit)
{
    char text[96];

    snprintf(text, sizeof(text), "KVM_EXIT_FAIL_ENTRY: hardware error 0x%" PRIx64,
             (uint64_t)exit->run->fail_entry.hardware_entry_failure_reason);
    return stopped(exit, text);
}

/* Suberror 1 is "can't emulate this instruction"; its bytes may follow. */
static enum kvm_exit_action exit_internal_error(const struct kvm_exit *exit)
{
    const struct kvm_run *run = exit->run;
    char text[160];
    int n = snprintf(text, sizeof(text), "KVM_EXIT_INTERNAL_ERROR: suberror %" PRIu32,
                     run->internal.suberror);

    if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, " (emulation failed)");
        if (run->emulation_failure.ndata >= 3 &&
            (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) {
            n += snprintf(text + n, sizeof(text) - (size_t)n, ", instruction");
            for (unsigned i = 0; i < run->emulation_failure.insn_size && i < 15; i++)
                n += snprintf(text + n, sizeof(text) - (size_t)n, " %02x",
                              run->emulation_failure.insn_bytes[i]);
        }
    }
    return stopped(exit, text);
}

static enum kvm_exit_action exit_system_event(const struct kvm_exit *exit)
{
    static const char *const names[] = { "0", "shutdown", "reset", "crash" };
    uint32_t type = exit->run->system_event.type;
    char text[64];

    if (type < sizeof(names) / sizeof(names[0]))
        snprintf(text, sizeof(text), "KVM_EXIT_SYSTEM_EVENT: %s", names[type]);
    else
        snprintf(text, sizeof(text), "KVM_EXIT_SYSTEM_EVENT: %" PRIu32, type);
    return stopped(exit, text);
}

/*
 * An MSR that KVM doesn't know, which is none to the guest (#GP) but for the one by which it
 * says that it tells what it shares: KVM leaves that to whoever announces it.
 */
static enum kvm_exit_action exit_msr(const struct kvm_exit *exit)
{
    enum { MSR_KVM_MIGRATION_CONTROL = 0x4b564d08 };
    struct kvm_sev *sev = kvm_vcpu_vm(exit->vcpu)->sev;
    struct kvm_run *run = exit->run;
    bool write = run->exit_reason == KVM_EXIT_X86_WRMSR;

    run->msr.error = !sev || run->msr.index != MSR_KVM_MIGRATION_CONTROL ||
                     (write && run->msr.data > 1);
    if (run->msr.error)
        return KVM_RESUME;
    if (write)
        __atomic_store_n(&sev->migration_control, run->msr.data, __ATOMIC_RELAXED);
    else
        run->msr.data = __atomic_load_n(&sev->migration_control, __ATOMIC_RELAXED);
    return KVM_RESUME;
}

/* Comes with -EFAULT (or -EHWPOISON, which is fatal); re-entry runs the instruction again. */
static enum kvm_exit_action exit_memory_fault(const struct kvm_exit *exit)
{
    const struct kvm_exit_memory_fault *fault = kvm_run_memory_fault(exit->run);

    if (exit->error != -EFAULT)
        return exit_stopped(exit);
    if (fault->flags & ~KVM_MEMORY_EXIT_FLAG_PRIVATE)
        return stopped(exit, "KVM_EXIT_MEMORY_FAULT with an unknown flag");
    return exit->ops->memory_fault(exit->opaque, exit->vcpu, fault->gpa, fault->size,
                                   fault->flags & KVM_MEMORY_EXIT_FLAG_PRIVATE);
}

#define EXIT(name_, handle_) [KVM_EXIT_##name_] = { "KVM_EXIT_" #name_, handle_, false }
#define EXIT_PENDING(name_, handle_) [KVM_EXIT_##name_] = { "KVM_EXIT_" #name_, handle_, true }

static const struct exit_row {
    const char *name;
    enum kvm_exit_action (*handle)(const struct kvm_exit *exit);
    bool pending;
} exits[] = {
    EXIT(UNKNOWN, exit_stopped),
    EXIT(EXCEPTION, exit_stopped),
    EXIT_PENDING(IO, exit_io),
    EXIT_PENDING(HYPERCALL, exit_hypercall),
    EXIT(DEBUG, exit_debug),
    EXIT(HLT, exit_stopped),
    EXIT_PENDING(MMIO, exit_mmio),
    EXIT(IRQ_WINDOW_OPEN, exit_resume),
    EXIT(SHUTDOWN, exit_stopped),
    EXIT(FAIL_ENTRY, exit_fail_entry),
    EXIT(INTR, exit_resume),
    EXIT(SET_TPR, exit_resume),
    EXIT(NMI, exit_resume),
    EXIT(INTERNAL_ERROR, exit_internal_error),
    EXIT(SYSTEM_EVENT, exit_system_event),
    EXIT(IOAPIC_EOI, exit_resume),
    EXIT_PENDING(X86_RDMSR, exit_msr),
    EXIT_PENDING(X86_WRMSR, exit_msr),
    EXIT(MEMORY_FAULT, exit_memory_fault),
};

static const struct exit_row *find_exit(uint32_t reason)
{
    if (reason < sizeof(exits) / sizeof(exits[0]) && exits[reason].name)
        return &exits[reason];
    return NULL;
}

const char *kvm_exit_name(uint32_t exit_reason)
{
    const struct exit_row *row = find_exit(exit_reason);

    return row ? row->name : "an unknown KVM exit";
}

bool kvm_exit_is_pending(uint32_t exit_reason)
{
    const struct exit_row *row = find_exit(exit_reason);

    return row && row->pending;
}

enum kvm_exit_action kvm_exit_handle(const struct kvm_exit *exit)
{
    const struct exit_row *row = find_exit(exit->run->exit_reason);
    bool fault = exit->run->exit_reason == KVM_EXIT_MEMORY_FAULT;
    char text[80];

    /* Only with these errnos is the exit reason of this entry, not of an earlier one. */
    if (exit->error && !(fault && (exit->error == -EFAULT || exit->error == -EHWPOISON))) {
        snprintf(text, sizeof(text), "KVM_RUN: %s", strerrordesc_np(-exit->error));
        return stopped(exit, text);
    }
    if (!row) {
        snprintf(text, sizeof(text), "KVM exit %" PRIu32 ", which nobody handles",
                 exit->run->exit_reason);
        return stopped(exit, text);
    }
    return row->handle(exit);
}
