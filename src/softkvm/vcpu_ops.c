/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the processor asks of the machine around it: pages, ports, MMIO, MSRs,
 * CPUID, time.  Runs on the vCPU's thread, with its run_lock.
 *
 * An access that is user space's ends the run.  The processor forgets the
 * instruction and starts it anew on re-entry; vcpu->log then gives the accesses
 * that were done the same answers, and does no write twice.
 */
#include "soft_vcpu.h"

#include "coalesced.h"
#include "eventfds.h"
#include "guest_clock.h"
#include "guest_page.h"
#include "irqchip.h"
#include "msr.h"
#include "msr_filter.h"
#include "soft_vm.h"
#include "vapic.h"

#include <errno.h>
#include <string.h>

static enum cpu_status exit_memory_fault(struct vcpu *vcpu, uint64_t gpa, bool is_private,
                                         int result)
{
    struct kvm_exit_memory_fault *fault = kvm_run_memory_fault(vcpu->run);

    vcpu->run->exit_reason = KVM_EXIT_MEMORY_FAULT;
    fault->flags = is_private ? KVM_MEMORY_EXIT_FLAG_PRIVATE : 0;
    fault->gpa = gpa;
    fault->size = CPU_PAGE_SIZE;
    vcpu->exit_result = result;
    return CPU_EXIT_ACCESS;
}

/* rip isn't on the instruction yet: vcpu_run.c goes on when it is. */
static enum cpu_status emulation_failed(struct vcpu *vcpu)
{
    vcpu->exit_result = RUN_EMULATION_FAILED;
    return CPU_EXIT_ACCESS;
}

/* Between two rounds in the guest the page changes hands; then the access is tried again. */
static enum cpu_status leave_for_page(struct vcpu *vcpu, uint64_t gpa)
{
    vcpu->wants_page = true;
    vcpu->wanted_page = gpa;
    vcpu->exit_result = RUN_ON;
    return CPU_EXIT_ACCESS;
}

static enum cpu_status op_map_page(void *opaque, uint64_t gpa, enum cpu_access access,
                                   struct cpu_page *page)
{
    struct vcpu *vcpu = opaque;
    bool is_private;

    switch (guest_page_find(vcpu->vm, vcpu->cpu->in_smm, gpa, access, page, &is_private)) {
    case GUEST_PAGE_RAM:
        return CPU_OK;
    case GUEST_PAGE_WRONG_STATE:
        return exit_memory_fault(vcpu, gpa, is_private, -EFAULT);
    case GUEST_PAGE_NO_MEMORY:
        return exit_memory_fault(vcpu, gpa, is_private, -ENOMEM);
    case GUEST_PAGE_BAD:
        vcpu->exit_result = -EFAULT;
        return CPU_EXIT_ACCESS;
    case GUEST_PAGE_WRONG_VIEW:
        return leave_for_page(vcpu, gpa);
    case GUEST_PAGE_NONE:
        break;
    }
    if (access != ACCESS_EXEC)
        return CPU_BREAK;
    /* As KVM's emulator: instructions come from memory only. */
    return emulation_failed(vcpu);
}

/* What instructions would have to do to have more than this pending isn't x86. */
static enum cpu_status log_full(struct vcpu *vcpu)
{
    return emulation_failed(vcpu);
}

/*
 * The answer of the log.  CPU_OK: data is filled (or the write was done before).
 * CPU_BREAK: a new access; its entry is at log->entry[log->count].
 */
static enum cpu_status replay(struct vcpu *vcpu, const struct logged_access *access, void *data)
{
    struct access_log *log = &vcpu->log;

    if (log->next < log->count) {
        const struct logged_access *done = &log->entry[log->next];

        if (done->address == access->address && done->size == access->size &&
            done->kind == access->kind && done->write == access->write) {
            log->next++;
            if (!done->write)
                memcpy(data, done->data, done->size);
            return CPU_OK;
        }
        /* Another instruction stands there now. */
        log->count = log->next;
    }
    if (log->count == ACCESS_LOG_MAX)
        return log_full(vcpu);
    log->entry[log->count] = *access;
    return CPU_BREAK;
}

/* The new access was done here: a restart of the instruction must not do it again. */
static enum cpu_status done_here(struct vcpu *vcpu, const void *data)
{
    struct access_log *log = &vcpu->log;

    memcpy(log->entry[log->count].data, data, log->entry[log->count].size);
    log->next = ++log->count;
    return CPU_OK;
}

static enum cpu_status exit_to_user(struct vcpu *vcpu)
{
    vcpu->log.waiting = true;
    vcpu->exit_result = 0;
    return CPU_EXIT_ACCESS;
}

static bool lapic_here(struct vcpu *vcpu, uint64_t gpa, void *data, unsigned size, bool write)
{
    bool here;

    vapic_to_apic(vcpu);
    here = lapic_mmio(vcpu->lapic, gpa, data, size, write);
    vapic_from_apic(vcpu);
    return here;
}

/*
 * Is this an access to the task priority of which user space wants to know?
 * Then the processor comes out before the instruction, which tells its address.
 */
static bool reports_tpr(struct vcpu *vcpu, uint64_t gpa, bool write)
{
    if (!vcpu->report_tpr || vcpu->tpr_access || !vcpu->lapic ||
        !lapic_is_tpr(vcpu->lapic, gpa))
        return false;
    vcpu->tpr_access = write ? TPR_WRITE : TPR_READ;
    return true;
}

static bool mmio_here(struct vcpu *vcpu, uint64_t gpa, void *data, unsigned size, bool write)
{
    if (vcpu->lapic && (lapic_here(vcpu, gpa, data, size, write) ||
                        irqchip_mmio(vcpu->vm->irqchip, gpa, data, size, write)))
        return true;
    return write && (eventfds_write(vcpu->vm->eventfds, false, gpa, data, size) ||
                     coalesced_write(vcpu->vm->coalesced, false, gpa, data, size));
}

static enum cpu_status op_mmio(void *opaque, uint64_t gpa, void *data, unsigned size, bool write)
{
    struct vcpu *vcpu = opaque;
    struct kvm_run *run = vcpu->run;
    struct logged_access access = { .address = gpa, .size = size, .write = write };
    enum cpu_status status;

    /* KVM splits larger accesses too. */
    while (size > 8) {
        status = op_mmio(opaque, gpa, data, 8, write);
        if (status != CPU_OK)
            return status;
        gpa += 8;
        data = (uint8_t *)data + 8;
        size -= 8;
        access.address = gpa;
        access.size = size;
    }
    status = replay(vcpu, &access, data);
    if (status != CPU_BREAK)
        return status;
    if (reports_tpr(vcpu, gpa, write))
        return CPU_EXIT_ACCESS;
    /* KVM's emulator knows nothing of the x87 but FNSTCW and FNSTSW. */
    if (vcpu->cpu->x87_operand)
        return emulation_failed(vcpu);
    if (mmio_here(vcpu, gpa, data, size, write))
        return done_here(vcpu, data);
    run->exit_reason = KVM_EXIT_MMIO;
    run->mmio.phys_addr = gpa;
    run->mmio.len = size;
    run->mmio.is_write = write;
    memset(run->mmio.data, 0, sizeof(run->mmio.data));
    if (write)
        memcpy(run->mmio.data, data, size);
    return exit_to_user(vcpu);
}

static void *pio_page(struct vcpu *vcpu)
{
    return (uint8_t *)vcpu->run + VCPU_PIO_OFFSET;
}

static bool pio_here(struct vcpu *vcpu, uint16_t port, void *data, unsigned size, bool write)
{
    return (vcpu->lapic && irqchip_pio(vcpu->vm->irqchip, port, data, size, write)) ||
           (write && (eventfds_write(vcpu->vm->eventfds, true, port, data, size) ||
                      coalesced_write(vcpu->vm->coalesced, true, port, data, size)));
}

static enum cpu_status exit_io(struct vcpu *vcpu, uint16_t port, unsigned size, unsigned count,
                               bool write)
{
    struct kvm_run *run = vcpu->run;

    run->exit_reason = KVM_EXIT_IO;
    run->io.direction = write ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
    run->io.size = size;
    run->io.port = port;
    run->io.count = count;
    run->io.data_offset = VCPU_PIO_OFFSET;
    return exit_to_user(vcpu);
}

static enum cpu_status op_pio(void *opaque, uint16_t port, void *data, unsigned size, bool write)
{
    struct vcpu *vcpu = opaque;
    struct logged_access access = { .address = port, .size = size, .kind = KIND_PORT,
                                    .write = write, .count = 1 };
    enum cpu_status status = replay(vcpu, &access, data);

    if (status != CPU_BREAK)
        return status;
    if (pio_here(vcpu, port, data, size, write))
        return done_here(vcpu, data);
    if (write)
        memcpy(pio_page(vcpu), data, size);
    return exit_io(vcpu, port, size, 1, write);
}

/* What user space doesn't see comes one by one. */
static enum cpu_status op_pio_run(void *opaque, uint16_t port, void *data, unsigned size,
                                  unsigned *count)
{
    struct vcpu *vcpu = opaque;
    struct logged_access access = { .address = port, .size = size, .kind = KIND_PORT,
                                    .count = *count };
    enum cpu_status status = replay(vcpu, &access, data);

    if (status == CPU_OK) {
        unsigned got = vcpu->log.entry[vcpu->log.next - 1].count;

        *count = got < *count ? got : *count;
        if (*count > 1)
            memcpy(data, vcpu->pio_run, *count * size);
        return CPU_OK;
    }
    if (status != CPU_BREAK)
        return status;
    if (pio_here(vcpu, port, data, size, false)) {
        vcpu->log.entry[vcpu->log.count].count = *count = 1;
        return done_here(vcpu, data);
    }
    return exit_io(vcpu, port, size, *count, false);
}

/* User space refuses the MSR: #GP on the instruction, which isn't started anew. */
static void refuse_msr(struct vcpu *vcpu)
{
    vcpu->log.count = 0;
    vcpu_inject_fault(vcpu, VECTOR_GP);
    vcpu->cpu->event.has_error = true;
}

static const void *answer_of_user(struct vcpu *vcpu, uint8_t kind)
{
    switch (kind) {
    case KIND_PORT:
        return pio_page(vcpu);
    case KIND_MSR:
        return &vcpu->run->msr.data;
    default:
        return vcpu->run->mmio.data;
    }
}

void vcpu_complete_access(struct vcpu *vcpu)
{
    struct access_log *log = &vcpu->log;
    struct logged_access *access = &log->entry[log->count];

    log->next = 0;
    if (!log->waiting)
        return;
    log->waiting = false;
    if (access->kind == KIND_MSR && vcpu->run->msr.error) {
        refuse_msr(vcpu);
        return;
    }
    log->count++;
    if (!access->write)
        memcpy(access->data, answer_of_user(vcpu, access->kind), access->size);
    if (access->count > 1)
        memcpy(vcpu->pio_run, pio_page(vcpu), access->count * access->size);
}

static void op_access_done(void *opaque)
{
    struct vcpu *vcpu = opaque;

    vcpu->log.count = vcpu->log.next = 0;
}

/* An access that failed: for user space if it wants this kind, else #GP. */
static enum cpu_status exit_msr(struct vcpu *vcpu, uint32_t index, uint64_t value, bool write,
                                uint32_t reason)
{
    struct kvm_run *run = vcpu->run;

    if (!(__atomic_load_n(&vcpu->vm->msr_exits, __ATOMIC_RELAXED) & reason))
        return CPU_FAULT;
    run->exit_reason = write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;
    memset(&run->msr, 0, sizeof(run->msr));
    run->msr.reason = reason;
    run->msr.index = index;
    run->msr.data = value;
    return exit_to_user(vcpu);
}

static uint32_t failed_reason(const struct vcpu *vcpu, uint32_t index)
{
    return msr_known(vcpu, index) ? KVM_MSR_EXIT_REASON_INVAL : KVM_MSR_EXIT_REASON_UNKNOWN;
}

/* CPU_OK: user space has answered already.  CPU_BREAK: not asked yet. */
static enum cpu_status replay_msr(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool write)
{
    struct logged_access access = { .address = index, .size = 8, .kind = KIND_MSR,
                                    .write = write };
    enum cpu_status status = replay(vcpu, &access, value);

    if (status == CPU_OK)       /* the one access of the instruction: it is complete */
        op_access_done(vcpu);
    return status;
}

static enum cpu_status op_rdmsr(void *opaque, uint32_t index, uint64_t *value)
{
    struct vcpu *vcpu = opaque;
    enum cpu_status status = replay_msr(vcpu, index, value, false);

    if (status != CPU_BREAK)
        return status;
    if (!msr_filter_allows(vcpu->vm, index, KVM_MSR_FILTER_READ))
        return exit_msr(vcpu, index, 0, false, KVM_MSR_EXIT_REASON_FILTER);
    if (msr_read(vcpu, index, value, false))
        return CPU_OK;
    return exit_msr(vcpu, index, 0, false, failed_reason(vcpu, index));
}

static enum cpu_status op_wrmsr(void *opaque, uint32_t index, uint64_t value)
{
    struct vcpu *vcpu = opaque;
    enum cpu_status status = replay_msr(vcpu, index, &value, true);

    if (status != CPU_BREAK)
        return status;
    if (!msr_filter_allows(vcpu->vm, index, KVM_MSR_FILTER_WRITE))
        return exit_msr(vcpu, index, value, true, KVM_MSR_EXIT_REASON_FILTER);
    if (msr_write(vcpu, index, value, false))
        return CPU_OK;
    return exit_msr(vcpu, index, value, true, failed_reason(vcpu, index));
}

static void op_cpuid(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    cpuid_query(opaque, leaf, subleaf, regs);
}

static uint64_t op_read_tsc(void *opaque)
{
    return tsc_read(opaque);
}

static uint64_t op_read_tpr(void *opaque)
{
    struct vcpu *vcpu = opaque;

    if (!vcpu->lapic)
        return vcpu->tpr;
    vapic_to_apic(vcpu);
    return lapic_get_tpr(vcpu->lapic);
}

static void op_write_tpr(void *opaque, uint64_t value)
{
    struct vcpu *vcpu = opaque;

    vcpu->tpr = value & 0xf;
    if (!vcpu->lapic)
        return;
    lapic_set_tpr(vcpu->lapic, value & 0xf);
    vapic_from_apic(vcpu);
}

const struct cpu_ops vcpu_cpu_ops = {
    .map_page = op_map_page,
    .mmio = op_mmio,
    .pio = op_pio,
    .pio_run = op_pio_run,
    .access_done = op_access_done,
    .rdmsr = op_rdmsr,
    .wrmsr = op_wrmsr,
    .cpuid = op_cpuid,
    .read_tsc = op_read_tsc,
    .read_tpr = op_read_tpr,
    .write_tpr = op_write_tpr,
};
