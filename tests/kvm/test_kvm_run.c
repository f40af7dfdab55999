/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small guests: what KVM_RUN ends with, and what comes of going on. */
#include "kvm_test.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static void *pio_data(const struct machine *m)
{
    return (uint8_t *)m->run + m->run->io.data_offset;
}

static void real_mode_hlt(void)
{
    struct machine m;

    machine_init(&m, 0, 0x100000);
    machine_real_mode(&m, CODE(0xb8, 0x34, 0x12,        /* mov $0x1234,%ax */
                               0xf4));                  /* hlt */
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax & 0xffff, 0x1234);
    CHECK_EQ(machine_regs(&m).rip, CODE_AT + 4);
}

static void long_mode_hlt(void)
{
    struct machine m;

    machine_init(&m, 0, 0x100000);
    machine_long_mode(&m, CODE(0x48, 0xb8, 8, 7, 6, 5, 4, 3, 2, 1,      /* movabs $...,%rax */
                               0x48, 0xa3, 0, 0x20, 0, 0, 0, 0, 0, 0,   /* movabs %rax,0x2000 */
                               0xf4));
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, 0x0102030405060708);
    CHECK_EQ(*(uint64_t *)(m.ram + 0x2000), 0x0102030405060708);
}

static void port_io(void)
{
    struct machine m;

    machine_init(&m, 0, 0x100000);
    machine_real_mode(&m, CODE(0xba, 0xf8, 0x03,        /* mov $0x3f8,%dx */
                               0xb0, 'x', 0xee,         /* mov $'x',%al; out %al,%dx */
                               0x66, 0xed,              /* in %dx,%eax */
                               0xe6, 0x80,              /* out %al,$0x80 */
                               0xf4));
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.direction, KVM_EXIT_IO_OUT);
    CHECK_EQ(m.run->io.port, 0x3f8);
    CHECK_EQ(m.run->io.size, 1);
    CHECK_EQ(m.run->io.count, 1);
    CHECK_EQ(*(uint8_t *)pio_data(&m), 'x');
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.direction, KVM_EXIT_IO_IN);
    CHECK_EQ(m.run->io.size, 4);
    *(uint32_t *)pio_data(&m) = 0xcafe1234;
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x80);
    CHECK_EQ(*(uint8_t *)pio_data(&m), 0x34);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, 0xcafe1234);
}

/* String I/O may come in one exit or in several: what arrives is what counts. */
static void string_io(void)
{
    struct machine m;
    char got[16] = "";
    size_t n = 0;

    machine_init(&m, 0, 0x100000);
    memcpy(m.ram + 0x3000, "string", 6);
    machine_real_mode(&m, CODE(0xba, 0x00, 0x10,        /* mov $0x1000,%dx */
                               0xbe, 0x00, 0x30,        /* mov $0x3000,%si */
                               0xb9, 0x06, 0x00,        /* mov $6,%cx */
                               0xf3, 0x6e,              /* rep outsb */
                               0xbf, 0x00, 0x40,        /* mov $0x4000,%di */
                               0xb9, 0x03, 0x00,        /* mov $3,%cx */
                               0xf3, 0x6d,              /* rep insw */
                               0xf4));
    while (n < 6) {
        machine_run_to(&m, KVM_EXIT_IO);
        CHECK_EQ(m.run->io.direction, KVM_EXIT_IO_OUT);
        CHECK(n + m.run->io.count <= 6);
        memcpy(got + n, pio_data(&m), m.run->io.count);
        n += m.run->io.count;
    }
    CHECK(!memcmp(got, "string", 6));
    for (n = 0; n < 3;) {
        machine_run_to(&m, KVM_EXIT_IO);
        CHECK_EQ(m.run->io.direction, KVM_EXIT_IO_IN);
        CHECK_EQ(m.run->io.size, 2);
        for (uint32_t i = 0; i < m.run->io.count; i++)
            ((uint16_t *)pio_data(&m))[i] = 0x1111 * ++n;
    }
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK(!memcmp(m.ram + 0x4000, (uint16_t[]){ 0x1111, 0x2222, 0x3333 }, 6));
    CHECK_EQ(machine_regs(&m).rdi, 0x4006);
    CHECK_EQ(machine_regs(&m).rsi, 0x3006);
}

static void mmio_reads_and_writes(void)
{
    struct machine m;

    machine_init(&m, 0, 0x100000);
    machine_long_mode(&m, CODE(0xbb, 0, 0, 0, 0x40,     /* mov $0x40000000,%ebx */
                               0x48, 0x8b, 0x03,        /* mov (%rbx),%rax */
                               0x66, 0x89, 0x43, 8,     /* mov %ax,8(%rbx) */
                               0x01, 0x03,              /* add %eax,(%rbx): read, then write */
                               0xf4));
    machine_run_to(&m, KVM_EXIT_MMIO);
    CHECK_EQ(m.run->mmio.phys_addr, 0x40000000);
    CHECK_EQ(m.run->mmio.len, 8);
    CHECK_EQ(m.run->mmio.is_write, 0);
    memcpy(m.run->mmio.data, "\x88\x77\x66\x55\x44\x33\x22\x11", 8);
    machine_run_to(&m, KVM_EXIT_MMIO);
    CHECK_EQ(m.run->mmio.phys_addr, 0x40000008);
    CHECK_EQ(m.run->mmio.len, 2);
    CHECK_EQ(m.run->mmio.is_write, 1);
    CHECK_EQ(*(uint16_t *)m.run->mmio.data, 0x7788);
    machine_run_to(&m, KVM_EXIT_MMIO);
    CHECK_EQ(m.run->mmio.len, 4);
    CHECK_EQ(m.run->mmio.is_write, 0);
    memset(m.run->mmio.data, 1, 8);
    machine_run_to(&m, KVM_EXIT_MMIO);
    CHECK_EQ(m.run->mmio.is_write, 1);
    CHECK_EQ(*(uint32_t *)m.run->mmio.data, 0x55667788 + 0x01010101);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, 0x1122334455667788);
}

/* One instruction, two pages of MMIO: each part is asked and answered once. */
static void mmio_across_pages(void)
{
    struct machine m;

    machine_init(&m, 0, 0x100000);
    machine_long_mode(&m, CODE(0xbb, 0xfc, 0x0f, 0, 0x40,       /* mov $0x40000ffc,%ebx */
                               0x48, 0x8b, 0x03,                /* mov (%rbx),%rax */
                               0x48, 0x89, 0x03,                /* mov %rax,(%rbx) */
                               0xf4));
    machine_run_to(&m, KVM_EXIT_MMIO);
    CHECK_EQ(m.run->mmio.phys_addr, 0x40000ffc);
    CHECK_EQ(m.run->mmio.len, 4);
    memset(m.run->mmio.data, 0x11, 8);
    machine_run_to(&m, KVM_EXIT_MMIO);
    CHECK_EQ(m.run->mmio.phys_addr, 0x40001000);
    CHECK_EQ(m.run->mmio.len, 4);
    memset(m.run->mmio.data, 0x22, 8);
    machine_run_to(&m, KVM_EXIT_MMIO);
    CHECK_EQ(m.run->mmio.is_write, 1);
    CHECK_EQ(*(uint32_t *)m.run->mmio.data, 0x11111111);
    machine_run_to(&m, KVM_EXIT_MMIO);
    CHECK_EQ(m.run->mmio.is_write, 1);
    CHECK_EQ(m.run->mmio.phys_addr, 0x40001000);
    CHECK_EQ(*(uint32_t *)m.run->mmio.data, 0x22222222);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, 0x2222222211111111);
}

/* api.rst: immediate_exit completes the operation that was out and goes no further. */
static void immediate_exit_completes_io(void)
{
    struct machine m;

    machine_init(&m, 0, 0x100000);
    machine_long_mode(&m, CODE(0xbb, 0, 0, 0, 0x40,     /* mov $0x40000000,%ebx */
                               0x8b, 0x03,              /* mov (%rbx),%eax */
                               0xff, 0xc1,              /* inc %ecx */
                               0xf4));
    machine_run_to(&m, KVM_EXIT_MMIO);
    memset(m.run->mmio.data, 7, 8);
    m.run->immediate_exit = 1;
    CHECK_EQ(machine_run(&m), -EINTR);
    CHECK_EQ(machine_regs(&m).rax, 0x07070707);
    CHECK_EQ(machine_regs(&m).rip, CODE_AT + 7);
    CHECK_EQ(machine_regs(&m).rcx, 0);
    CHECK_EQ(machine_run(&m), -EINTR);
    m.run->immediate_exit = 0;
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rcx, 1);
}

static void shutdown_on_triple_fault(void)
{
    struct machine m;
    struct kvm_sregs sregs;

    machine_init(&m, 0, 0x100000);
    machine_long_mode(&m, CODE(0x0f, 0x0b));            /* ud2 */
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.idt.limit = 0;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &sregs), 0);
    machine_run_to(&m, KVM_EXIT_SHUTDOWN);
}

static void no_memory_is_internal_error(void)
{
    struct machine m = { .vm = create_vm(0) };

    IOCTL(m.vm, KVM_SET_TSS_ADDR, 0xfffbd000);
    CHECK_EQ(IOCTL(m.vm, KVM_SET_NR_MMU_PAGES, 64), 0);
    machine_add_vcpu(&m);
    machine_run_to(&m, KVM_EXIT_INTERNAL_ERROR);
    CHECK_EQ(m.run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
}

static void unmapped_host_memory_is_efault(void)
{
    struct machine m;

    if (test_is_pvm())
        test_skip("kvm_pvm takes such an access for MMIO");
    machine_init(&m, 0, 0x100000);
    CHECK_EQ(set_region(m.vm, 1, 0, 0x40000000, 0x1000, host_memory(0x1000)), 0);
    machine_long_mode(&m, CODE(0xbb, 0, 0, 0, 0x40, 0x8b, 0x03, 0xf4));
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, 0);
    /* Nothing is mapped there at all. */
    CHECK_EQ(set_region(m.vm, 1, 0, 0x40000000, 0, NULL), 0);
    CHECK_EQ(set_region(m.vm, 1, 0, 0x40000000, 0x1000, (void *)0x10000), 0);
    machine_long_mode(&m, CODE(0xbb, 0, 0, 0, 0x40, 0x8b, 0x03, 0xf4));
    CHECK_EQ(machine_run(&m), -EFAULT);
    CHECK_EQ(machine_regs(&m).rip, CODE_AT + 5);
    /* And once more with memory there. */
    CHECK_EQ(set_region(m.vm, 1, 0, 0x40000000, 0, NULL), 0);
    CHECK_EQ(set_region(m.vm, 1, 0, 0x40000000, 0x1000, host_memory(0x1000)), 0);
    machine_run_to(&m, KVM_EXIT_HLT);
}

static void readonly_slot_write_is_mmio(void)
{
    struct machine m;
    uint8_t *rom;

    machine_init(&m, 0, 0x100000);
    rom = host_memory(0x1000);
    memset(rom, 0x5a, 0x1000);
    CHECK_EQ(set_region(m.vm, 1, KVM_MEM_READONLY, 0x40000000, 0x1000, rom), 0);
    machine_long_mode(&m, CODE(0xbb, 0, 0, 0, 0x40,     /* mov $0x40000000,%ebx */
                               0x8b, 0x03,              /* mov (%rbx),%eax */
                               0x89, 0x0b,              /* mov %ecx,(%rbx) */
                               0x8b, 0x13,              /* mov (%rbx),%edx */
                               0xf4));
    machine_run_to(&m, KVM_EXIT_MMIO);
    CHECK_EQ(m.run->mmio.is_write, 1);
    CHECK_EQ(m.run->mmio.phys_addr, 0x40000000);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, 0x5a5a5a5a);
    CHECK_EQ(machine_regs(&m).rdx, 0x5a5a5a5a);
}

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000ULL + now.tv_nsec / 1000;
}

static volatile sig_atomic_t signals_taken;

static void on_signal(int signal)
{
    signals_taken++;
}

static pthread_t vcpu_thread;

static void *send_signal_soon(void *opaque)
{
    usleep(20000);
    pthread_kill(vcpu_thread, SIGUSR1);
    return NULL;
}

/* A signal ends KVM_RUN inside a loop of the guest, and its handler has run. */
static void signal_ends_run(void)
{
    const struct sigaction action = { .sa_handler = on_signal };
    struct machine m;
    pthread_t sender;
    uint64_t start;

    machine_init(&m, 0, 0x100000);
    machine_real_mode(&m, CODE(0xeb, 0xfe));            /* 1: jmp 1b */
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    signals_taken = 0;
    vcpu_thread = pthread_self();
    start = now_us();
    CHECK_EQ(pthread_create(&sender, NULL, send_signal_soon, NULL), 0);
    CHECK_EQ(machine_run(&m), -EINTR);
    CHECK_EQ(m.run->exit_reason, KVM_EXIT_INTR);
    CHECK_EQ(signals_taken, 1);
    CHECK(now_us() - start >= 15000);
    pthread_join(sender, NULL);
}

/* KVM_SET_SIGNAL_MASK: a blocked signal stays blocked outside and ends KVM_RUN. */
static void signal_mask(void)
{
    union {
        struct kvm_signal_mask head;
        uint8_t space[sizeof(struct kvm_signal_mask) + 8];
    } mask = { .head.len = 8 };
    struct machine m;
    sigset_t block, pending;

    machine_init(&m, 0, 0x100000);
    machine_real_mode(&m, CODE(0xeb, 0xfe));
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &block, NULL);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SIGNAL_MASK, &mask), 0);
    signals_taken = 0;
    pthread_kill(pthread_self(), SIGUSR1);
    CHECK_EQ(machine_run(&m), -EINTR);
    CHECK_EQ(signals_taken, 0);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGUSR1));
    CHECK_EQ(sigtimedwait(&block, NULL, &(struct timespec){ 0 }), SIGUSR1);
    mask.head.len = 7;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SIGNAL_MASK, &mask), -EINVAL);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SIGNAL_MASK, 8), -EFAULT);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SIGNAL_MASK, 0), 0);
    pthread_sigmask(SIG_UNBLOCK, &block, NULL);
}

static void *set_immediate_exit_soon(void *opaque)
{
    struct machine *m = opaque;

    usleep(20000);
    __atomic_store_n(&m->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    /* The kernel looks at it on entry only: it needs a signal as well. */
    if (!test_is_softkvm())
        pthread_kill(vcpu_thread, SIGUSR1);
    return NULL;
}

static void immediate_exit_in_loop(void)
{
    const struct sigaction action = { .sa_handler = on_signal };
    struct machine m;
    pthread_t setter;
    uint64_t start;

    machine_init(&m, 0, 0x100000);
    machine_real_mode(&m, CODE(0xeb, 0xfe));
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    vcpu_thread = pthread_self();
    start = now_us();
    CHECK_EQ(pthread_create(&setter, NULL, set_immediate_exit_soon, &m), 0);
    CHECK_EQ(machine_run(&m), -EINTR);
    CHECK(now_us() - start < 1000000);
    pthread_join(setter, NULL);
}

static void hypercall_exit(void)
{
    const uint8_t modrm = hypercall_modrm(true);
    struct machine m;
    struct kvm_enable_cap cap = { .cap = KVM_CAP_EXIT_HYPERCALL };

    if (test_is_pvm())
        test_skip("kvm_pvm never leaves the guest for a hypercall");

    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_EXIT_HYPERCALL);
    CHECK_EQ(check_extension(m.vm, KVM_CAP_EXIT_HYPERCALL), 1 << KVM_HC_MAP_GPA_RANGE);
    cap.args[0] = 1;
    CHECK_EQ(IOCTL(m.vm, KVM_ENABLE_CAP, &cap), -EINVAL);
    cap.args[0] = 1 << KVM_HC_MAP_GPA_RANGE;
    CHECK_EQ(IOCTL(m.vm, KVM_ENABLE_CAP, &cap), 0);
    machine_long_mode(&m, CODE(0xb8, 12, 0, 0, 0,       /* mov $12,%eax */
                               0xbb, 0, 0x20, 0, 0,     /* mov $0x2000,%ebx */
                               0xb9, 3, 0, 0, 0,        /* mov $3,%ecx */
                               0xba, 0x17, 0, 0, 0,     /* mov $0x17,%edx */
                               0x0f, 0x01, modrm,
                               0xf4,
                               0xff, 0xc3,              /* inc %ebx: unaligned */
                               0xb8, 12, 0, 0, 0, 0x0f, 0x01, modrm, 0xf4,
                               0xb8, 99, 0, 0, 0, 0x0f, 0x01, modrm, 0xf4));
    machine_run_to(&m, KVM_EXIT_HYPERCALL);
    CHECK_EQ(m.run->hypercall.nr, KVM_HC_MAP_GPA_RANGE);
    CHECK_EQ(m.run->hypercall.args[0], 0x2000);
    CHECK_EQ(m.run->hypercall.args[1], 3);
    CHECK_EQ(m.run->hypercall.args[2], 0x17);
    CHECK_EQ(m.run->hypercall.longmode, 1);
    m.run->hypercall.ret = 0x123456789;
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, 0x123456789);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, -EINVAL);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, -1000);
    /* Not enabled: the guest is told that it doesn't exist. */
    cap.args[0] = 0;
    CHECK_EQ(IOCTL(m.vm, KVM_ENABLE_CAP, &cap), 0);
    machine_long_mode(&m, CODE(0xb8, 12, 0, 0, 0, 0xb9, 1, 0, 0, 0, 0x0f, 0x01, modrm, 0xf4));
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, -1000);
}

/* Time passes for the guest, and kvm-clock agrees with KVM_GET_CLOCK. */
static void clock_page(void)
{
    struct machine m;
    struct kvm_clock_data clock;
    struct {
        uint32_t version, pad;
        uint64_t tsc, ns;
        uint32_t mul;
        int8_t shift;
        uint8_t flags;
    } *page;

    machine_init(&m, 0, 0x100000);
    machine_long_mode(&m, CODE(0xb9, 1, 0x4d, 0x56, 0x4b,       /* mov $0x4b564d01,%ecx */
                               0xb8, 1, 0x30, 0, 0,             /* mov $0x3001,%eax */
                               0x31, 0xd2,                      /* xor %edx,%edx */
                               0x0f, 0x30,                      /* wrmsr */
                               0x0f, 0x31,                      /* rdtsc */
                               0xf4));
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(IOCTL(m.vm, KVM_GET_CLOCK, &clock), 0);
    page = (void *)(m.ram + 0x3000);
    CHECK(page->version && page->version % 2 == 0);
    CHECK(page->mul);
    CHECK(page->ns <= clock.clock);
    CHECK(clock.clock - page->ns < 1000000000);
    CHECK((machine_regs(&m).rdx << 32 | machine_regs(&m).rax) >= page->tsc);
}

static const struct test_case cases[] = {
    { "real mode: registers, HLT", real_mode_hlt },
    { "long mode: registers, memory, HLT", long_mode_hlt },
    { "port I/O of all kinds", port_io },
    { "string I/O", string_io },
    { "MMIO: reads, writes, read-modify-write", mmio_reads_and_writes },
    { "MMIO across pages", mmio_across_pages },
    { "immediate_exit completes the operation that was out", immediate_exit_completes_io },
    { "triple fault is a shutdown", shutdown_on_triple_fault },
    { "no memory at the reset vector is an internal error", no_memory_is_internal_error },
    { "a slot over unmapped host memory is EFAULT", unmapped_host_memory_is_efault },
    { "a write to a read-only slot is MMIO", readonly_slot_write_is_mmio },
    { "a signal ends KVM_RUN", signal_ends_run },
    { "KVM_SET_SIGNAL_MASK", signal_mask },
    { "immediate_exit during a loop", immediate_exit_in_loop },
    { "KVM_HC_MAP_GPA_RANGE", hypercall_exit },
    { "kvm-clock", clock_page },
};

TEST_MAIN(cases)
