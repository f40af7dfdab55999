/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What vCPUs leave the guest for, on their own threads: devices, conversions, and
 * the ends of the guest.
 */
#include "machine_internal.h"

#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* A page that stays wrong however often it is converted: no progress is possible. */
enum { MAX_FAULTS_ON_A_PAGE = 1000 };

static enum kvm_exit_action after_device(struct machine *m)
{
    return machine_has_request(m) ? KVM_STOP : KVM_RESUME;
}

static enum kvm_exit_action exit_pio(void *opaque, struct kvm_vcpu *vcpu, uint16_t port, void *data,
                                     unsigned size, unsigned count, bool write)
{
    struct machine_cpu *cpu = opaque;
    struct bus *bus = q35_bus(cpu->machine->board);
    bool smi;

    trace(TRACE_KVM_PIO, "cpu=%u %s port=0x%x size=%u count=%u", kvm_vcpu_index(vcpu),
          write ? "out" : "in", port, size, count);
    cpu->faults = 0;
    bus_lock(bus);
    for (unsigned i = 0; i < count; i++)
        bus_pio(bus, port, (char *)data + i * size, size, write);
    smi = q35_take_smi(cpu->machine->board);
    bus_unlock(bus);
    /* A board interrupts all processors; this one waits for it, and brings in the others. */
    if (smi)
        kvm_vcpu_ioctl(vcpu, KVM_SMI, NULL);
    return after_device(cpu->machine);
}

static enum kvm_exit_action exit_mmio(void *opaque, struct kvm_vcpu *vcpu, uint64_t gpa, void *data,
                                      unsigned size, bool write)
{
    struct machine_cpu *cpu = opaque;
    struct bus *bus = q35_bus(cpu->machine->board);

    trace(TRACE_KVM_MMIO, "cpu=%u %s gpa=0x%" PRIx64 " size=%u", kvm_vcpu_index(vcpu),
          write ? "write" : "read", gpa, size);
    cpu->faults = 0;
    bus_lock(bus);
    bus_mmio(bus, gpa, data, size, write);
    bus_unlock(bus);
    return after_device(cpu->machine);
}

/* The run state changes to internal-error; the reason goes to whoever started us. */
static enum kvm_exit_action internal_error(struct machine_cpu *cpu, const char *text)
{
    fprintf(stderr, "cloister: CPU %u: %s: stopped in state internal-error\n",
            kvm_vcpu_index(cpu->vcpu), text);
    machine_request(cpu->machine, REQUEST_INTERNAL_ERROR);
    return KVM_STOP;
}

/* Who asks for a conversion: this vCPU, on its own thread. */
static struct conversion_origin origin_of(struct kvm_vcpu *vcpu, enum conversion_cause cause)
{
    struct conversion_origin origin = { .cause = cause, .vcpu = (int)kvm_vcpu_index(vcpu) };
    struct kvm_regs regs;

    /* A protected guest's registers may be nobody's business. */
    origin.rip_known = kvm_vcpu_ioctl(vcpu, KVM_GET_REGS, &regs) == 0;
    if (origin.rip_known)
        origin.rip = regs.rip;
    return origin;
}

/*
 * The guest touched a page in the state that it isn't in: convert, try again.  KVM
 * also exits so for a page that it can't get at all, which converting doesn't help.
 */
static enum kvm_exit_action exit_memory_fault(void *opaque, struct kvm_vcpu *vcpu, uint64_t gpa,
                                              uint64_t size, bool private_)
{
    const struct conversion_origin origin = origin_of(vcpu, CONVERSION_MEMORY_FAULT);
    struct machine_cpu *cpu = opaque;
    char text[128];
    int ret;

    trace(TRACE_KVM_MEMORY_FAULT, "cpu=%u gpa=0x%" PRIx64 " size=0x%" PRIx64 " %s",
          kvm_vcpu_index(vcpu), gpa, size, private_ ? "private" : "shared");
    if (cpu->fault_gpa != gpa || cpu->fault_private != private_)
        cpu->faults = 0;
    cpu->fault_gpa = gpa;
    cpu->fault_private = private_;
    ret = -ELOOP;
    if (++cpu->faults <= MAX_FAULTS_ON_A_PAGE)
        ret = memory_convert_for(cpu->machine->mem, &origin, gpa, size, private_, NULL);
    if (ret == 0)
        return KVM_RESUME;
    g_snprintf(text, sizeof(text), "the page at 0x%" PRIx64 " can't be made %s: %s", gpa,
               private_ ? "private" : "shared", g_strerror(-ret));
    return internal_error(cpu, text);
}

/*
 * The guest is told with the negative errno that KVM's own hypercalls use, and goes
 * on.  To shared where there is no RAM is shared already: OVMF and TDX guests ask for
 * that, for the whole PCI hole.
 */
static enum kvm_exit_action exit_map_gpa_range(void *opaque, struct kvm_vcpu *vcpu, uint64_t gpa,
                                               uint64_t size, bool private_, uint64_t *ret)
{
    const struct conversion_origin origin = origin_of(vcpu, CONVERSION_HYPERCALL);
    struct machine_cpu *cpu = opaque;

    trace(TRACE_KVM_MAP_GPA_RANGE, "cpu=%u gpa=0x%" PRIx64 " size=0x%" PRIx64 " %s",
          kvm_vcpu_index(vcpu), gpa, size, private_ ? "private" : "shared");
    cpu->faults = 0;
    *ret = (uint64_t)(int64_t)memory_convert_for(cpu->machine->mem, &origin, gpa, size, private_,
                                                 NULL);
    return KVM_RESUME;
}

static enum kvm_exit_action system_event(struct machine_cpu *cpu, uint32_t type, const char *text)
{
    static const enum machine_request requests[] = {
        [KVM_SYSTEM_EVENT_SHUTDOWN] = REQUEST_SHUTDOWN,
        [KVM_SYSTEM_EVENT_RESET] = REQUEST_RESET,
        [KVM_SYSTEM_EVENT_CRASH] = REQUEST_PANIC,
    };

    if (type >= G_N_ELEMENTS(requests) || !requests[type])
        return internal_error(cpu, text);
    machine_request(cpu->machine, requests[type]);
    return KVM_STOP;
}

static enum kvm_exit_action exit_stopped(void *opaque, struct kvm_vcpu *vcpu, uint32_t exit_reason,
                                         int error, const char *exit_text)
{
    struct machine_cpu *cpu = opaque;

    trace(TRACE_KVM_RUN_EXIT, "cpu=%u %s error=%d: %s", kvm_vcpu_index(vcpu),
          kvm_exit_name(exit_reason), error, exit_text);
    if (error)
        return internal_error(cpu, exit_text);
    switch (exit_reason) {
    case KVM_EXIT_SHUTDOWN:     /* triple fault: a PC resets */
        machine_request(cpu->machine, REQUEST_RESET);
        return KVM_STOP;
    case KVM_EXIT_SYSTEM_EVENT:
        return system_event(cpu, kvm_vcpu_run_page(vcpu)->system_event.type, exit_text);
    default:
        return internal_error(cpu, exit_text);
    }
}

static enum kvm_exit_action exit_debug(void *opaque, struct kvm_vcpu *vcpu,
                                       const struct kvm_debug_exit_arch *exit)
{
    struct machine_cpu *cpu = opaque;
    bool stop = gdb_debug_exit(cpu->machine->gdb, kvm_vcpu_index(vcpu), exit);

    trace(TRACE_KVM_RUN_EXIT, "cpu=%u KVM_EXIT_DEBUG exception=%u pc=0x%" PRIx64 " dr6=0x%" PRIx64
          ": the %s's", kvm_vcpu_index(vcpu), exit->exception, (uint64_t)exit->pc,
          (uint64_t)exit->dr6, stop ? "debugger" : "guest");
    if (!stop)
        return KVM_RESUME;
    machine_request(cpu->machine, REQUEST_DEBUG);
    return KVM_STOP;
}

const struct kvm_exit_ops machine_exit_ops = {
    .pio = exit_pio,
    .mmio = exit_mmio,
    .memory_fault = exit_memory_fault,
    .map_gpa_range = exit_map_gpa_range,
    .debug = exit_debug,
    .stopped = exit_stopped,
};
