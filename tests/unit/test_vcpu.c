/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loop around KVM_RUN, against a KVM_RUN that plays a script. */
#include "exits.h"
#include "fake_kvm.h"
#include "sev_client.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* What the handlers were called with, as text; and what they answer. */
static char log_text[512];
static enum kvm_exit_action answer;

static void say(const char *format, ...)
{
    size_t at = strlen(log_text);
    va_list args;

    va_start(args, format);
    vsnprintf(log_text + at, sizeof(log_text) - at, format, args);
    va_end(args);
}

static enum kvm_exit_action on_pio(void *opaque, struct kvm_vcpu *vcpu, uint16_t port, void *data,
                                   unsigned size, unsigned count, bool write)
{
    say("pio %x %u*%u %d;", port, size, count, write);
    return answer;
}

static enum kvm_exit_action on_mmio(void *opaque, struct kvm_vcpu *vcpu, uint64_t gpa, void *data,
                                    unsigned size, bool write)
{
    say("mmio %llx %u %d;", (unsigned long long)gpa, size, write);
    return answer;
}

static enum kvm_exit_action on_fault(void *opaque, struct kvm_vcpu *vcpu, uint64_t gpa,
                                     uint64_t size, bool private_)
{
    say("fault %llx %llx %d;", (unsigned long long)gpa, (unsigned long long)size, private_);
    return answer;
}

static enum kvm_exit_action on_map(void *opaque, struct kvm_vcpu *vcpu, uint64_t gpa,
                                   uint64_t size, bool private_, uint64_t *ret)
{
    say("map %llx %llx %d;", (unsigned long long)gpa, (unsigned long long)size, private_);
    *ret = 5;
    return answer;
}

static enum kvm_exit_action on_stopped(void *opaque, struct kvm_vcpu *vcpu, uint32_t reason,
                                       int error, const char *text)
{
    say("stopped %u %d %s;", reason, error, text);
    return KVM_STOP;
}

static const struct kvm_exit_ops ops = { on_pio, on_mmio, on_fault, on_map, on_stopped };

static struct kvm_vm *vm;
static struct kvm_vcpu *vcpu;

static int set_up(void **state)
{
    const struct kvm_needs needs = { .vm_type = KVM_X86_SW_PROTECTED_VM };

    fake_reset(KVM_ATTRIBUTES_VM);
    log_text[0] = 0;
    answer = KVM_RESUME;
    return kvm_vm_new(&fake_driver, &needs, &vm) ||
           kvm_vcpu_new(vm, 1, &ops, NULL, &vcpu);
}

static int tear_down(void **state)
{
    kvm_vcpu_free(vcpu);
    kvm_vm_free(vm);
    return fake.open_fds != 0 || fake.open_maps != 0;
}

/* One exit handed to the table. */
static enum kvm_exit_action handle(struct kvm_run *run, int error)
{
    struct kvm_exit exit = { .vcpu = vcpu, .run = run, .ops = &ops, .error = error };

    return kvm_exit_handle(&exit);
}

static void test_exits_reach_their_handlers(void **state)
{
    struct kvm_run run = { .exit_reason = KVM_EXIT_IO };

    run.io.port = 0x3f8;
    run.io.size = 1;
    run.io.count = 3;
    run.io.direction = KVM_EXIT_IO_OUT;
    assert_int_equal(handle(&run, 0), KVM_RESUME);
    run = (struct kvm_run){ .exit_reason = KVM_EXIT_MMIO };
    run.mmio.phys_addr = 0xfec00000;
    run.mmio.len = 4;
    handle(&run, 0);
    run = (struct kvm_run){ .exit_reason = KVM_EXIT_MEMORY_FAULT };
    *kvm_run_memory_fault(&run) = (struct kvm_exit_memory_fault){
        .flags = KVM_MEMORY_EXIT_FLAG_PRIVATE, .gpa = 0x5000, .size = 0x1000,
    };
    handle(&run, -EFAULT);
    assert_string_equal(log_text, "pio 3f8 1*3 1;mmio fec00000 4 0;fault 5000 1000 1;");

    log_text[0] = 0;
    kvm_run_memory_fault(&run)->flags = 1;
    assert_int_equal(handle(&run, -EFAULT), KVM_STOP);
    assert_int_equal(handle(&run, -EHWPOISON), KVM_STOP);
    /* An -EFAULT whose exit reason is an older one's. */
    run.exit_reason = KVM_EXIT_IO;
    assert_int_equal(handle(&run, -EFAULT), KVM_STOP);
    assert_int_equal(handle(&run, -ENOMEM), KVM_STOP);
    run = (struct kvm_run){ .exit_reason = KVM_EXIT_SHUTDOWN };
    assert_int_equal(handle(&run, 0), KVM_STOP);
    run.exit_reason = 12345;
    assert_int_equal(handle(&run, 0), KVM_STOP);
    run.exit_reason = KVM_EXIT_INTR;
    assert_int_equal(handle(&run, 0), KVM_RESUME);
    assert_string_equal(log_text,
                        "stopped 39 -14 KVM_EXIT_MEMORY_FAULT with an unknown flag;"
                        "stopped 39 -133 KVM_EXIT_MEMORY_FAULT;"
                        "stopped 2 -14 KVM_RUN: Bad address;"
                        "stopped 2 -12 KVM_RUN: Cannot allocate memory;"
                        "stopped 8 0 KVM_EXIT_SHUTDOWN;"
                        "stopped 12345 0 KVM exit 12345, which nobody handles;");
}

static void test_internal_errors_are_explained(void **state)
{
    struct kvm_run run = { .exit_reason = KVM_EXIT_INTERNAL_ERROR };

    run.internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
    run.emulation_failure.ndata = 4;
    run.emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    run.emulation_failure.insn_size = 2;
    run.emulation_failure.insn_bytes[0] = 0x0f;
    run.emulation_failure.insn_bytes[1] = 0xff;
    handle(&run, 0);
    run.emulation_failure.insn_size = 255;      /* no more than the array has */
    handle(&run, 0);
    assert_non_null(strstr(log_text, "suberror 1 (emulation failed), instruction 0f ff;"));
}

static void test_hypercall_arguments(void **state)
{
    static const struct {
        uint64_t nr, gpa, pages, attributes, ret;
        const char *log;
    } rows[] = {
        { 12, 0x4000, 2, 1 << 4, 5, "map 4000 2000 1;" },
        { 12, 0x4000, 2, 0, 5, "map 4000 2000 0;" },
        { 12, 0x4000, 0, 0, -22, "" },
        { 12, 0x4000, 1ULL << 52, 0, -22, "" },
        { 12, 0x4000, UINT64_MAX, 0, -22, "" },
        { 11, 0x4000, 1, 0, -1000, "" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kvm_run run = { .exit_reason = KVM_EXIT_HYPERCALL };

        log_text[0] = 0;
        run.hypercall.nr = rows[i].nr;
        run.hypercall.args[0] = rows[i].gpa;
        run.hypercall.args[1] = rows[i].pages;
        run.hypercall.args[2] = rows[i].attributes;
        assert_int_equal(handle(&run, 0), KVM_RESUME);
        assert_true(run.hypercall.ret == rows[i].ret);
        assert_string_equal(log_text, rows[i].log);
    }
}

/* MSRs that KVM doesn't know: none, but one of a SEV guest's. */
static void test_msrs(void **state)
{
    enum { MIGRATION_CONTROL = 0x4b564d08, OTHER = 0x4b564d09 };
    static const struct {
        bool sev;
        uint32_t reason, index;
        uint64_t data, error;
    } rows[] = {
        { false, KVM_EXIT_X86_WRMSR, MIGRATION_CONTROL, 1, 1 },
        { true, KVM_EXIT_X86_WRMSR, OTHER, 1, 1 },
        { true, KVM_EXIT_X86_RDMSR, OTHER, 0, 1 },
        { true, KVM_EXIT_X86_WRMSR, MIGRATION_CONTROL, 2, 1 },
        { true, KVM_EXIT_X86_RDMSR, MIGRATION_CONTROL, 0, 0 },
        { true, KVM_EXIT_X86_WRMSR, MIGRATION_CONTROL, 1, 0 },
        { true, KVM_EXIT_X86_RDMSR, MIGRATION_CONTROL, 1, 0 },
    };
    struct kvm_sev sev = { .device = -1 };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kvm_run run = { .exit_reason = rows[i].reason };

        run.msr.index = rows[i].index;
        run.msr.data = rows[i].reason == KVM_EXIT_X86_WRMSR ? rows[i].data : 77;
        vm->sev = rows[i].sev ? &sev : NULL;
        assert_int_equal(handle(&run, 0), KVM_RESUME);
        vm->sev = NULL;
        assert_int_equal(run.msr.error, rows[i].error);
        if (!run.msr.error)
            assert_int_equal(run.msr.data, rows[i].data);
    }
}

/* --- The thread --- */

static unsigned runs, completed;        /* atomic */
static bool pending;                    /* an exit waits to be completed; atomic */
static unsigned run_mode;               /* of run_script: atomic */

enum { MODE_SPIN, MODE_IO, MODE_ERROR };

static int completes_when_asked(struct kvm_run *run)
{
    if (__atomic_exchange_n(&pending, false, __ATOMIC_SEQ_CST)) {
        __atomic_fetch_add(&completed, 1, __ATOMIC_SEQ_CST);
    }
    return __atomic_load_n(&run->immediate_exit, __ATOMIC_SEQ_CST) ? -EINTR : 0;
}

/*
 * A KVM_RUN like the kernel's: completes what is pending, returns at once with
 * immediate_exit, else runs for a while.  The fake's blocking part is a sleep
 * that the kick interrupts.
 */
static int run_script(struct kvm_run *run)
{
    struct timespec while_running = { 0, 20000 };
    int ret = completes_when_asked(run);

    __atomic_fetch_add(&runs, 1, __ATOMIC_SEQ_CST);
    if (ret)
        return ret;
    switch (__atomic_load_n(&run_mode, __ATOMIC_SEQ_CST)) {
    case MODE_IO:
        run->exit_reason = KVM_EXIT_IO;
        run->io.port = 0x60;
        __atomic_store_n(&pending, true, __ATOMIC_SEQ_CST);
        return 0;
    case MODE_ERROR:
        return -EIO;
    default:
        return nanosleep(&while_running, NULL) ? -EINTR : -EAGAIN;
    }
}

static unsigned overslept;

/*
 * Blocks until kicked.  As in KVM, a signal that comes after the look at
 * immediate_exit isn't lost: it is let in by the system call that sleeps.
 */
static int run_until_kicked(struct kvm_run *run)
{
    const struct timespec long_time = { 30, 0 };
    sigset_t all, before;
    int ret = -EINTR;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (!__atomic_load_n(&run->immediate_exit, __ATOMIC_SEQ_CST)) {
        __atomic_fetch_add(&runs, 1, __ATOMIC_SEQ_CST);
        if (ppoll(NULL, 0, &long_time, &before) == 0) {
            __atomic_fetch_add(&overslept, 1, __ATOMIC_SEQ_CST);
            ret = 0;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ret;
}

static void wait_for_runs(unsigned n)
{
    while (__atomic_load_n(&runs, __ATOMIC_SEQ_CST) < n)
        usleep(50);
}

static void start(int (*run)(struct kvm_run *), unsigned mode)
{
    runs = completed = 0;
    __atomic_store_n(&run_mode, mode, __ATOMIC_SEQ_CST);
    fake.run = run;
    assert_int_equal(kvm_vcpu_start(vcpu), 0);
    assert_int_equal(kvm_vcpu_start(vcpu), -EBUSY);
}

static void test_starts_parked_and_resumes(void **state)
{
    start(run_script, MODE_SPIN);
    kvm_vcpu_wait_parked(vcpu);
    usleep(2000);
    assert_int_equal(__atomic_load_n(&runs, __ATOMIC_SEQ_CST), 0);
    kvm_vcpu_resume(vcpu);
    kvm_vcpu_resume(vcpu);
    wait_for_runs(3);
    assert_true(kvm_vcpu_thread_id(vcpu) > 0);
    assert_false(kvm_vcpu_is_self(vcpu));
    kvm_vcpu_park(vcpu);
    kvm_vcpu_wait_parked(vcpu);
    unsigned at = __atomic_load_n(&runs, __ATOMIC_SEQ_CST);
    usleep(2000);
    assert_int_equal(__atomic_load_n(&runs, __ATOMIC_SEQ_CST), at);
}

static void test_no_wakeup_is_lost(void **state)
{
    start(run_until_kicked, 0);
    for (unsigned i = 0; i < 2000; i++) {
        kvm_vcpu_resume(vcpu);
        if (i % 3)
            sched_yield();
        kvm_vcpu_park(vcpu);
        kvm_vcpu_wait_parked(vcpu);
    }
    assert_int_equal(__atomic_load_n(&overslept, __ATOMIC_SEQ_CST), 0);
}

static void test_last_exit_is_completed_before_parking(void **state)
{
    start(run_script, MODE_IO);
    for (unsigned i = 0; i < 50; i++) {
        kvm_vcpu_resume(vcpu);
        wait_for_runs(__atomic_load_n(&runs, __ATOMIC_SEQ_CST) + 2);
        kvm_vcpu_park(vcpu);
        kvm_vcpu_wait_parked(vcpu);
        log_text[0] = 0;
        assert_false(__atomic_load_n(&pending, __ATOMIC_SEQ_CST));
    }
    assert_true(completed >= 50);
}

static void test_stop_parks_after_completing(void **state)
{
    answer = KVM_STOP;
    start(run_script, MODE_IO);
    kvm_vcpu_resume(vcpu);
    wait_for_runs(2);
    kvm_vcpu_park(vcpu);
    kvm_vcpu_wait_parked(vcpu);
    assert_int_equal(completed, 1);
    assert_string_equal(log_text, "pio 60 0*0 0;");
}

static void test_error_of_kvm_run_stops(void **state)
{
    start(run_script, MODE_ERROR);
    kvm_vcpu_resume(vcpu);
    wait_for_runs(1);
    kvm_vcpu_park(vcpu);
    kvm_vcpu_wait_parked(vcpu);
    assert_string_equal(log_text, "stopped 0 -5 KVM_RUN: Input/output error;");
}

static void test_new_fails_whole(void **state)
{
    struct kvm_vcpu *other = NULL;

    fake_fail(KVM_CREATE_VCPU, 1, 0, -EEXIST);
    assert_int_equal(kvm_vcpu_new(vm, 2, &ops, NULL, &other), -EEXIST);
    assert_null(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_exits_reach_their_handlers),
        TEST(test_internal_errors_are_explained),
        TEST(test_hypercall_arguments),
        TEST(test_msrs),
        TEST(test_starts_parked_and_resumes),
        TEST(test_no_wakeup_is_lost),
        TEST(test_last_exit_is_completed_before_parking),
        TEST(test_stop_parks_after_completing),
        TEST(test_error_of_kvm_run_stops),
        TEST(test_new_fails_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
