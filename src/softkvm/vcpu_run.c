/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM_RUN: the loop around cpu_run(), interrupts and signals between its
 * rounds, and what its endings become for user space.
 *
 * Source: Linux 6.12 Documentation/virt/kvm/api.rst (4.10 and chapter 5) and
 * arch/x86/kvm/x86.c, kvm_arch_vcpu_ioctl_run() and vcpu_enter_guest(), for the
 * order in which things are looked at.
 */
#include "cancel.h"
#include "guest_access.h"
#include "guest_clock.h"
#include "guest_page.h"
#include "hypercall.h"
#include "irqchip.h"
#include "sev.h"
#include "signals.h"
#include "soft_vcpu.h"
#include "soft_vm.h"
#include "steal_time.h"
#include "sync_regs.h"
#include "ticker.h"
#include "vapic.h"
#include "vcpu_state.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { SIPI_SHIFT = 12, MAX_INSN_BYTES = 15 };

void vcpu_kick(struct vcpu *vcpu)
{
    uint64_t one = 1;

    __atomic_or_fetch(&vcpu->cpu->request, CPU_REQ_EXIT, __ATOMIC_SEQ_CST);
    /* EAGAIN: the counter is full, which wakes as well. */
    if (__atomic_load_n(&vcpu->asleep, __ATOMIC_SEQ_CST) &&
        write(__atomic_load_n(&vcpu->wake_fd, __ATOMIC_RELAXED), &one, sizeof(one)) < 0)
        return;
}

static void enter_guest(struct vcpu *vcpu)
{
    pthread_mutex_lock(&vcpu->run_lock);
    while (__atomic_load_n(&vcpu->vm->paused, __ATOMIC_SEQ_CST)) {
        pthread_mutex_unlock(&vcpu->run_lock);
        /* Who paused the VM holds this until it is done. */
        pthread_mutex_lock(&vcpu->vm->lock);
        pthread_mutex_unlock(&vcpu->vm->lock);
        pthread_mutex_lock(&vcpu->run_lock);
    }
    __atomic_store_n(&vcpu->in_guest, true, __ATOMIC_SEQ_CST);
}

static void leave_guest(struct vcpu *vcpu)
{
    __atomic_store_n(&vcpu->in_guest, false, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&vcpu->run_lock);
}

/* Does user space have the PICs, and would the processor take what they send? */
static bool takes_users_interrupts(struct vcpu *vcpu)
{
    return !vcpu->lapic || (vcpu->split_irqchip && lapic_takes_extint(vcpu->lapic));
}

static void get_pending(struct vcpu *vcpu, struct lapic_pending *pending)
{
    memset(pending, 0, sizeof(*pending));
    if (vcpu->lapic) {
        lapic_get_pending(vcpu->lapic, pending);
        if (vcpu->interrupt >= 0)
            pending->interrupt |= takes_users_interrupts(vcpu);
    } else {
        pending->nmis = vcpu->nmis;
        pending->smi = vcpu->smi;
        pending->interrupt = vcpu->interrupt >= 0;
    }
}

static bool nmi_allowed(const struct cpu *cpu)
{
    return !cpu->nmi_masked && !cpu->interrupt_shadow && !cpu->event.pending;
}

/* The APIC's INIT and SIPI (SDM vol. 3, 8.4). */
static void take_init_and_sipi(struct vcpu *vcpu, const struct lapic_pending *pending)
{
    struct cpu *cpu = vcpu->cpu;
    struct lapic_pending taken = { .init = pending->init };
    bool is_bsp = vcpu->id == vcpu->vm->boot_cpu_id;

    if (pending->init) {
        cpu_init(cpu);
        lapic_init(vcpu->lapic);
        memset(&vcpu->log, 0, sizeof(vcpu->log));
        vcpu->mp_state = is_bsp ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_INIT_RECEIVED;
    }
    if (pending->sipi) {
        /* Only a processor that waits for it sees it. */
        taken.sipi = true;
        if (vcpu->mp_state == KVM_MP_STATE_INIT_RECEIVED) {
            cpu->seg[SEG_CS].selector = pending->sipi_vector << (SIPI_SHIFT - 4);
            cpu->seg[SEG_CS].base = (uint64_t)pending->sipi_vector << SIPI_SHIFT;
            cpu->regs[REG_RIP] = 0;
            cpu_state_replaced(cpu);
            vcpu->mp_state = KVM_MP_STATE_RUNNABLE;
        }
    }
    lapic_clear_pending(vcpu->lapic, &taken);
}

static void inject(struct vcpu *vcpu, uint8_t vector, bool external)
{
    /* It may be a device's that wrote to memory before. */
    cpu_doubt_code(vcpu->cpu);
    memset(&vcpu->cpu->event, 0, sizeof(vcpu->cpu->event));
    vcpu->cpu->event.pending = true;
    vcpu->cpu->event.external = external;
    vcpu->cpu->event.vector = vector;
}

static void drop_nmis(struct vcpu *vcpu, uint8_t count)
{
    if (vcpu->lapic) {
        lapic_clear_pending(vcpu->lapic, &(struct lapic_pending){ .nmis = count });
    } else {
        vcpu->nmis -= count;
    }
}

/* What is left waits until it is over. */
static void inject_nmi(struct vcpu *vcpu, struct lapic_pending *pending)
{
    drop_nmis(vcpu, 1);
    pending->nmis--;
    vcpu->cpu->nmi_masked = true;
    inject(vcpu, VECTOR_NMI, false);
}

static bool smi_allowed(const struct cpu *cpu)
{
    return !cpu->in_smm && !cpu->event.pending;
}

/* -EIO: there is no memory at SMBASE, and what Linux does is end the VM. */
static int take_smi(struct vcpu *vcpu)
{
    struct lapic_pending pending;

    get_pending(vcpu, &pending);
    if (!pending.smi || vcpu->block_irq || vcpu->mp_state != KVM_MP_STATE_RUNNABLE ||
        !smi_allowed(vcpu->cpu))
        return 0;
    if (!cpu_enter_smm(vcpu->cpu))
        return vcpu->wants_page ? RUN_ON : -EIO;
    if (vcpu->lapic)
        lapic_clear_pending(vcpu->lapic, &(struct lapic_pending){ .smi = true });
    vcpu->smi = false;
    vcpu->smi_count++;
    return 0;
}

static void inject_interrupt(struct vcpu *vcpu)
{
    int vector = -1;

    if (vcpu->interrupt >= 0 && takes_users_interrupts(vcpu)) {
        vector = vcpu->interrupt;
        vcpu->interrupt = -1;
    } else if (vcpu->lapic) {
        vector = lapic_take_interrupt(vcpu->lapic);
    }
    if (vector >= 0)
        inject(vcpu, vector, true);
}

/*
 * Hand the processor what waits for it, or ask it to come out as soon as that
 * can be taken.  False: something could be injected but for an instruction that
 * is half done.
 */
static bool inject_events(struct vcpu *vcpu)
{
    struct cpu *cpu = vcpu->cpu;
    struct lapic_pending pending;
    uint32_t request = 0;

    get_pending(vcpu, &pending);
    if (vcpu->block_irq)
        pending.nmis = pending.smi = pending.interrupt = false;
    pending.init &= !cpu->in_smm;       /* it stays latched */
    if (vcpu->log.count &&
        ((pending.nmis && nmi_allowed(cpu)) || (pending.interrupt && cpu_interrupt_allowed(cpu)) ||
         (pending.smi && smi_allowed(cpu)) || pending.init))
        return false;
    if (pending.init || pending.sipi)
        take_init_and_sipi(vcpu, &pending);
    if (vcpu->mp_state == KVM_MP_STATE_INIT_RECEIVED)
        return true;
    if (pending.nmis && nmi_allowed(cpu))
        inject_nmi(vcpu, &pending);
    else if (pending.nmis > 1 && cpu->nmi_masked)       /* it latches one */
        drop_nmis(vcpu, pending.nmis - 1);
    if (pending.nmis)
        request |= CPU_REQ_NMI;
    if (pending.interrupt && cpu_interrupt_allowed(cpu))
        inject_interrupt(vcpu);
    else if (pending.interrupt)
        request |= CPU_REQ_IRQ;
    /* It comes after the event that is being delivered. */
    if (pending.smi && !cpu->in_smm)
        request |= CPU_REQ_EXIT;
    /* User space wants to know when it may use KVM_INTERRUPT. */
    if (vcpu->run->request_interrupt_window && takes_users_interrupts(vcpu))
        request |= CPU_REQ_IRQ;
    if (request)
        __atomic_or_fetch(&cpu->request, request, __ATOMIC_SEQ_CST);
    return true;
}

static int finish(struct vcpu *vcpu, uint32_t exit_reason)
{
    vcpu->run->exit_reason = exit_reason;
    return 0;
}

/* The bytes of the instruction at rip, as far as its first page has them. */
static unsigned fetch_instruction(struct vcpu *vcpu, uint8_t bytes[MAX_INSN_BYTES])
{
    struct cpu *cpu = vcpu->cpu;
    uint64_t linear = cpu->regs[REG_RIP], gpa, offset;
    bool writable, user, is_private;
    struct cpu_page page;
    unsigned size;

    if (cpu->code_size != 8)
        linear = (uint32_t)(linear + cpu->seg[SEG_CS].base);
    if (!cpu_translate(cpu, linear, &gpa, &writable, &user))
        return 0;
    offset = gpa % CPU_PAGE_SIZE;
    if (guest_page_find(vcpu->vm, cpu->in_smm, gpa - offset, ACCESS_EXEC, &page, &is_private) != GUEST_PAGE_RAM)
        return 0;
    size = CPU_PAGE_SIZE - offset < MAX_INSN_BYTES ? CPU_PAGE_SIZE - offset : MAX_INSN_BYTES;
    guest_copy(bytes, page.host + offset, size);
    return size;
}

static void exit_emulation_error(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;

    run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    memset(&run->emulation_failure, 0, sizeof(run->emulation_failure));
    run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
    run->emulation_failure.insn_size = fetch_instruction(vcpu, run->emulation_failure.insn_bytes);
    if (run->emulation_failure.insn_size) {
        /* In words of 64 bits: flags, then the size and the bytes. */
        run->emulation_failure.ndata = 3;
        run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    }
}

void vcpu_inject_fault(struct vcpu *vcpu, uint8_t vector)
{
    inject(vcpu, vector, false);
}

/*
 * What the instruction at rip asks for is not to be had.  As with KVM's emulator:
 * #UD for a user program; for a kernel the exit, and #UD should it be started
 * again; with KVM_CAP_EXIT_ON_EMULATION_FAILURE the exit for both.
 */
static int emulation_failed(struct vcpu *vcpu)
{
    bool always = __atomic_load_n(&vcpu->vm->exit_on_emulation_failure, __ATOMIC_RELAXED);

    if (!always) {
        vcpu->log.count = 0;
        vcpu_inject_fault(vcpu, VECTOR_UD);
    }
    if (!always && vcpu->cpu->cpl > 0)
        return RUN_ON;
    exit_emulation_error(vcpu);
    return 0;
}

static int exit_debug(struct vcpu *vcpu)
{
    struct kvm_debug_exit_arch *arch = &vcpu->run->debug.arch;

    arch->exception = vcpu->cpu->debug.vector;
    arch->pc = vcpu->cpu->debug.pc;
    arch->dr6 = vcpu->cpu->debug.dr6;
    arch->dr7 = vcpu->cpu->debug.dr7;
    return finish(vcpu, KVM_EXIT_DEBUG);
}

static bool hlt_in_guest(const struct vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->vm->hlt_in_guest, __ATOMIC_RELAXED);
}

static int halted(struct vcpu *vcpu)
{
    if (!vcpu->lapic && !hlt_in_guest(vcpu))
        return finish(vcpu, KVM_EXIT_HLT);
    vcpu->mp_state = KVM_MP_STATE_HALTED;
    return RUN_ON;
}

/* cpu_run() came back: what now? */
static int settle(struct vcpu *vcpu, enum cpu_status status)
{
    switch (status) {
    case CPU_EXIT_REQUEST:
        return RUN_ON;
    case CPU_EXIT_ACCESS:
        return vcpu->exit_result == RUN_EMULATION_FAILED ? emulation_failed(vcpu)
                                                         : vcpu->exit_result;
    case CPU_EXIT_HLT:
        return halted(vcpu);
    case CPU_EXIT_HYPERCALL:
        return hypercall(vcpu) ? 0 : RUN_ON;
    case CPU_EXIT_SHUTDOWN:
        return finish(vcpu, KVM_EXIT_SHUTDOWN);
    case CPU_EXIT_DEBUG:
        return exit_debug(vcpu);
    default:
        return emulation_failed(vcpu);
    }
}

/* Does what waits end HLT, or the wait for INIT and SIPI? */
static bool may_wake(struct vcpu *vcpu)
{
    struct lapic_pending pending;
    bool wake;

    pthread_mutex_lock(&vcpu->run_lock);
    get_pending(vcpu, &pending);
    if (vcpu->mp_state == KVM_MP_STATE_HALTED)
        wake = (pending.nmis && nmi_allowed(vcpu->cpu)) || pending.init || pending.sipi ||
               (pending.smi && smi_allowed(vcpu->cpu)) ||
               (pending.interrupt && cpu_interrupt_allowed(vcpu->cpu)) ||
               vcpu->cpu->event.pending;
    else
        wake = pending.init || pending.sipi;
    pthread_mutex_unlock(&vcpu->run_lock);
    return wake;
}

/*
 * Processors that never halt, of which a big VM may have many, need no descriptor.
 * Where there is none left to the process, a sleeper looks every now and then.
 */
static const struct timespec *prepare_sleep(struct vcpu *vcpu)
{
    static const struct timespec without_descriptor = { .tv_nsec = 1000 * 1000 };

    if (vcpu->wake_fd < 0)
        __atomic_store_n(&vcpu->wake_fd, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                         __ATOMIC_RELAXED);
    return vcpu->wake_fd < 0 ? &without_descriptor : NULL;
}

/*
 * Wait with the caller's signal mask.  0: something has come; -EINTR.
 * asleep is set before looking, as who brings something looks at it afterwards.
 */
static int sleep_in_library(struct vcpu *vcpu, const struct run_signals *signals)
{
    const struct timespec *look_again = prepare_sleep(vcpu);
    struct pollfd poll = { .fd = vcpu->wake_fd, .events = POLLIN };
    int ret = 0;
    uint64_t n;

    __atomic_store_n(&vcpu->asleep, true, __ATOMIC_SEQ_CST);
    while (!ret && !may_wake(vcpu)) {
        int n_events = cancel_ppoll(&poll, look_again, &signals->allowed);

        if (n_events < 0)
            ret = -errno;
        else if (n_events > 0 && read(vcpu->wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
            ret = -errno;
    }
    __atomic_store_n(&vcpu->asleep, false, __ATOMIC_SEQ_CST);
    return ret;
}

/*
 * A processor that waits for INIT and SIPI: KVM_RUN ends with EAGAIN when they
 * came, and the caller enters again.
 */
static int wait_for_sipi(struct vcpu *vcpu, const struct run_signals *signals)
{
    struct lapic_pending pending;
    int ret;

    if (vcpu->run->immediate_exit)
        return -EINTR;
    ret = sleep_in_library(vcpu, signals);
    if (ret) {
        vcpu->run->exit_reason = KVM_EXIT_INTR;
        return ret;
    }
    pthread_mutex_lock(&vcpu->run_lock);
    get_pending(vcpu, &pending);
    take_init_and_sipi(vcpu, &pending);
    pthread_mutex_unlock(&vcpu->run_lock);
    return -EAGAIN;
}

/*
 * Finish the instruction that was out to user space, and nothing after it:
 * interrupts, signals and immediate_exit come between instructions only.
 */
static int finish_instruction(struct vcpu *vcpu)
{
    struct cpu *cpu = vcpu->cpu;
    __typeof__(cpu->guest_debug) wishes = cpu->guest_debug;
    enum cpu_status status;

    cpu->guest_debug.enabled = cpu->guest_debug.single_step = true;
    do {
        __atomic_store_n(&cpu->request, 0, __ATOMIC_SEQ_CST);
        vcpu->log.next = 0;
        cpu->restart = vcpu->log.count > 0;
        status = cpu_run(cpu);
    } while (status == CPU_EXIT_REQUEST && !__atomic_load_n(&vcpu->vm->paused, __ATOMIC_SEQ_CST));
    cpu->guest_debug = wishes;
    if (status == CPU_EXIT_DEBUG && !(wishes.enabled && wishes.single_step)) {
        vcpu->log.count = vcpu->log.next = 0;
        return RUN_ON;
    }
    return settle(vcpu, status);
}

/* The processor stands before the instruction that uses the task priority: do it, and say so. */
static int report_tpr_access(struct vcpu *vcpu)
{
    uint64_t rip = vcpu->cpu->regs[REG_RIP];
    uint8_t is_write = vcpu->tpr_access == TPR_WRITE;
    int ret = finish_instruction(vcpu);

    vcpu->tpr_access = TPR_UNUSED;
    if (ret != RUN_ON)
        return ret;
    vcpu->run->tpr_access.rip = rip;
    vcpu->run->tpr_access.is_write = is_write;
    return finish(vcpu, KVM_EXIT_TPR_ACCESS);
}

/* KVM_CAP_DISABLE_QUIRKS2 pauses the VM: what it changed is seen here. */
static void set_quirks(struct vcpu *vcpu)
{
    uint64_t disabled = vcpu->vm->disabled_quirks;

    vcpu->cpu->no_foreign_hypercall = disabled & KVM_X86_QUIRK_FIX_HYPERCALL_INSN;
    vcpu->cpu->no_mwait = disabled & KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS &&
                          !cpuid_has_mwait(vcpu);
}

static bool ready_for_injection(struct vcpu *vcpu)
{
    return vcpu->interrupt < 0 && cpu_interrupt_allowed(vcpu->cpu) &&
           takes_users_interrupts(vcpu);
}

/* User space's I/O APIC waits for the end of a level-triggered interrupt. */
static bool exit_ioapic_eoi(struct vcpu *vcpu)
{
    int vector = -1;

    if (vcpu->split_irqchip && !vcpu->log.count)
        vector = lapic_take_eoi(vcpu->lapic);
    if (vector < 0)
        return false;
    vcpu->run->exit_reason = KVM_EXIT_IOAPIC_EOI;
    vcpu->run->eoi.vector = vector;
    return true;
}

/* In the guest, from the checks that come first to cpu_run(). */
static int one_round(struct vcpu *vcpu, const struct run_signals *signals, bool *interrupted)
{
    struct cpu *cpu = vcpu->cpu;
    enum cpu_status status;

    /* What is asked from here on is found in there. */
    __atomic_store_n(&cpu->request, 0, __ATOMIC_SEQ_CST);
    *interrupted = signals_pending(signals) ||
                   __atomic_load_n(&vcpu->run->immediate_exit, __ATOMIC_RELAXED);
    if (__atomic_load_n(&vcpu->vm->paused, __ATOMIC_SEQ_CST))
        return RUN_ON;
    kvmclock_refresh(vcpu);
    steal_time_refresh(vcpu);
    if (vcpu->wants_page)
        return RUN_ON;
    set_quirks(vcpu);
    if (*interrupted && !vcpu->log.count)
        return -EINTR;
    if (vcpu->triple_fault && !vcpu->log.count) {
        vcpu->triple_fault = false;
        return finish(vcpu, KVM_EXIT_SHUTDOWN);
    }
    vcpu_record_exception(vcpu);
    if (!*interrupted && !vcpu->log.count) {
        int ret = take_smi(vcpu);

        if (ret)
            return ret;
    }
    if (*interrupted || vcpu->triple_fault || !inject_events(vcpu))
        return finish_instruction(vcpu);
    if (exit_ioapic_eoi(vcpu))
        return 0;
    if (vcpu->mp_state != KVM_MP_STATE_RUNNABLE)
        return RUN_ON;
    if (vcpu->run->request_interrupt_window && ready_for_injection(vcpu))
        return finish(vcpu, KVM_EXIT_IRQ_WINDOW_OPEN);
    vcpu->log.next = 0;
    cpu->restart = vcpu->log.count > 0;
    vapic_from_apic(vcpu);
    status = cpu_run(cpu);
    vapic_to_apic(vcpu);
    return vcpu->tpr_access ? report_tpr_access(vcpu) : settle(vcpu, status);
}

static int run_loop(struct vcpu *vcpu, const struct run_signals *signals)
{
    int ret = RUN_ON;

    while (ret == RUN_ON) {
        bool interrupted;

        cancel_point();
        enter_guest(vcpu);
        ret = ticker_wake(vcpu->vm->ticker);
        if (!ret)
            ret = one_round(vcpu, signals, &interrupted);
        if (ret == -EINTR || (ret == RUN_ON && vcpu->mp_state != KVM_MP_STATE_RUNNABLE))
            steal_time_preempted(vcpu);
        leave_guest(vcpu);
        if (ret == RUN_ON && vcpu->wants_page) {
            ret = sev_switch_page(vcpu);
            if (!ret)
                ret = RUN_ON;
            continue;
        }
        if (ret == RUN_ON && exit_ioapic_eoi(vcpu))
            ret = 0;            /* before it sleeps: what it waits for may depend on it */
        if (ret == RUN_ON && vcpu->mp_state != KVM_MP_STATE_RUNNABLE) {
            ret = sleep_in_library(vcpu, signals);
            /* A HLT that isn't KVM's is over with the signal, which the processor saw too. */
            if (vcpu->mp_state == KVM_MP_STATE_HALTED && (!ret || hlt_in_guest(vcpu)))
                vcpu->mp_state = KVM_MP_STATE_RUNNABLE;
            if (!ret)
                ret = RUN_ON;
        }
    }
    if (ret == -EINTR && !vcpu->run->immediate_exit)
        vcpu->run->exit_reason = KVM_EXIT_INTR;
    return ret;
}

/* struct kvm_run's fields that tell of the vCPU between runs. */
static void save_to_run(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;

    run->if_flag = !!(cpu_rflags(vcpu->cpu) & FLAG_IF);
    run->flags = vcpu->cpu->in_smm ? KVM_RUN_X86_SMM : 0;
    if (vcpu->lapic) {
        run->cr8 = lapic_get_tpr(vcpu->lapic);
        run->apic_base = lapic_get_base(vcpu->lapic);
        run->ready_for_interrupt_injection = !vcpu->split_irqchip || ready_for_injection(vcpu);
    } else {
        run->cr8 = vcpu->tpr;
        run->apic_base = vcpu->apic_base;
        run->ready_for_interrupt_injection = ready_for_injection(vcpu);
    }
}

static int run_to_exit(struct vcpu *vcpu, const struct run_signals *signals)
{
    struct kvm_run *run = vcpu->run;
    int ret = sync_regs_load(vcpu);

    if (ret)
        return ret;
    switch (sev_may_run(vcpu->vm)) {
    case SEV_RUN_NEVER:
        return -EINVAL;
    case SEV_RUN_NO_KEY:        /* as VMRUN with an address space id that isn't active */
        run->fail_entry.hardware_entry_failure_reason = UINT64_MAX;
        run->fail_entry.cpu = vcpu->index;
        return finish(vcpu, KVM_EXIT_FAIL_ENTRY);
    case SEV_RUN_ON:
        break;
    }
    if (vcpu->mp_state == KVM_MP_STATE_UNINITIALIZED)
        return wait_for_sipi(vcpu, signals);
    if (!vcpu->lapic)
        vcpu->tpr = run->cr8 & 0xf;
    if (vcpu->hypercall_waiting)
        hypercall_complete(vcpu);
    vcpu_complete_access(vcpu);
    /* As in Linux, what only finishes an instruction leaves the last reason. */
    if (!run->immediate_exit) {
        run->exit_reason = KVM_EXIT_UNKNOWN;
        vcpu->has_run = true;
    }
    cpu_doubt_code(vcpu->cpu);
    return run_loop(vcpu, signals);
}

struct run_call {
    struct vcpu *vcpu;
    struct run_signals signals;
};

/* KVM_RUN is over, also for a thread that is cancelled. */
static void run_ended(void *opaque)
{
    struct run_call *call = opaque;

    __atomic_store_n(&call->vcpu->asleep, false, __ATOMIC_SEQ_CST);
    save_to_run(call->vcpu);
    sync_regs_store(call->vcpu);
    signals_restore(&call->signals);
}

int vcpu_run(struct vcpu *vcpu)
{
    struct run_call call = { .vcpu = vcpu };
    int ret;

    signals_block(&call.signals, vcpu->has_sigmask ? &vcpu->sigmask : NULL);
    pthread_cleanup_push(run_ended, &call);
    ret = run_to_exit(vcpu, &call.signals);
    pthread_cleanup_pop(1);
    if (!ret || ret == -EFAULT)
        __atomic_add_fetch(&vcpu->exits[vcpu->run->exit_reason % 64], 1, __ATOMIC_RELAXED);
    return ret;
}
