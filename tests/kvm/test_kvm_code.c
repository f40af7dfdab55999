/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Code that somebody outside the guest changes after it has run: a device's DMA,
 * read(2) into guest memory, a debugger.  Nobody tells KVM, and the new code runs.
 */
#include "kvm_test.h"

#include <pthread.h>
#include <unistd.h>

enum {
    FUNCTION_AT = 0x2000,       /* mov $n,%al; ret */
    FUNCTION_VALUE = 1,
    RESULT_AT = 0x3000,
    STACK_AT = 0x8000,
    PAGE = 4096,
    OPCODE_RET = 0xc3,
};

static void put_function(uint8_t *ram, uint64_t at)
{
    static const uint8_t function[] = { 0xb0, 1, OPCODE_RET };

    memcpy(ram + at, function, sizeof(function));
}

static void set_stack(const struct machine *m)
{
    struct kvm_regs regs = machine_regs(m);

    regs.rsp = STACK_AT;
    machine_set_regs(m, &regs);
}

/* Enough calls for every short cut between blocks to be taken, then out %al,$0x80; again. */
static void start_loop(struct machine *m, uint64_t function)
{
    uint8_t code[] = {
        0xb9, 0xe8, 0x03, 0, 0,         /* 0: mov $1000,%ecx */
        0xe8, 0, 0, 0, 0,               /* 5: call function */
        0xff, 0xc9, 0x75, 0xf7,         /* dec %ecx; jnz 5b */
        0xe6, 0x80,                     /* out %al,$0x80 */
        0xeb, 0xee,                     /* jmp 0b */
    };
    int32_t distance = function - (CODE_AT + 10);

    memcpy(code + 6, &distance, sizeof(distance));
    machine_long_mode(m, code, sizeof(code));
    put_function(m->ram, function);
    set_stack(m);
}

static void expect_out(const struct machine *m, uint8_t value)
{
    machine_run_to(m, KVM_EXIT_IO);
    CHECK_EQ(((uint8_t *)m->run)[m->run->io.data_offset], value);
}

static void changed_between_runs(void)
{
    struct machine m;

    machine_init(&m, 0, 0x100000);
    start_loop(&m, FUNCTION_AT);
    for (unsigned i = 1; i < 20; i++) {
        m.ram[FUNCTION_AT + FUNCTION_VALUE] = i;
        expect_out(&m, i);
    }
    /* Back to what it was before: what was decoded then may serve again, or not. */
    m.ram[FUNCTION_AT + FUNCTION_VALUE] = 1;
    expect_out(&m, 1);
}

/* The function lies in the caller's page, or over the end of a page. */
static void changed_near_and_across(void)
{
    struct machine m;

    machine_init(&m, 0, 0x100000);
    start_loop(&m, CODE_AT + 0x100);
    for (unsigned i = 1; i < 4; i++) {
        m.ram[CODE_AT + 0x100 + FUNCTION_VALUE] = i;
        expect_out(&m, i);
    }
    start_loop(&m, FUNCTION_AT + PAGE - 1);
    for (unsigned i = 1; i < 4; i++) {
        m.ram[FUNCTION_AT + PAGE - 1 + FUNCTION_VALUE] = i;
        expect_out(&m, i);
    }
}

/* The kernel writes: a disk image is read into guest memory. */
static void changed_by_read(void)
{
    struct machine m;
    int ends[2];

    machine_init(&m, 0, 0x100000);
    start_loop(&m, FUNCTION_AT);
    expect_out(&m, 1);
    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(write(ends[1], "\xb0\x42\xc3", 3), 3);
    CHECK_EQ(read(ends[0], m.ram + FUNCTION_AT, PAGE), 3);
    close(ends[0]);
    close(ends[1]);
    expect_out(&m, 0x42);
}

/* Another mapping of the same memory, as another process would have it. */
static void changed_through_alias(void)
{
    struct machine m = { .ram_size = 0x100000, .vm = create_vm(0) };
    int fd = memfd_create("ram", MFD_CLOEXEC);
    uint8_t *alias;

    CHECK_EQ(ftruncate(fd, m.ram_size), 0);
    m.ram = mmap(NULL, m.ram_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    alias = mmap(NULL, m.ram_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(m.ram != MAP_FAILED && alias != MAP_FAILED);
    CHECK_EQ(set_region(m.vm, 0, 0, 0, m.ram_size, m.ram), 0);
    machine_add_vcpu(&m);
    start_loop(&m, FUNCTION_AT);
    expect_out(&m, 1);
    alias[FUNCTION_AT + FUNCTION_VALUE] = 7;
    expect_out(&m, 7);
    kvm_close(m.vcpu);
    kvm_close(m.vm);
    munmap(m.ram, m.ram_size);
    munmap(alias, m.ram_size);
    close(fd);
}

/* An instruction that is out to user space is completed even if it isn't there any more. */
static void changed_under_an_exit(void)
{
    static const uint8_t code[] = {
        0x90, 0xe4, 0x10,               /* nop; in $0x10,%al */
        0x8b, 0x1d, 0xf7, 0xff, 0xff, 0x3f,     /* mov 0x40000000(%rip - 9),%ebx */
        0xf4, 0xf4, 0xf4, 0xf4,
    };
    static const uint8_t out[] = { 0xe6, 0x80 };
    struct machine m;

    machine_init(&m, 0, 0x100000);
    machine_long_mode(&m, code, sizeof(code));
    machine_run_to(&m, KVM_EXIT_IO);
    ((uint8_t *)m.run)[m.run->io.data_offset] = 0x5a;
    memset(m.ram + CODE_AT, 0xf4, 3);
    machine_run_to(&m, KVM_EXIT_MMIO);
    CHECK_EQ(machine_regs(&m).rax & 0xff, 0x5a);
    CHECK_EQ(m.run->mmio.phys_addr, CODE_AT + 0x40000000);
    memcpy(m.run->mmio.data, "\x04\x03\x02\x01", 4);
    memset(m.ram + CODE_AT, 0xf4, sizeof(code));
    memcpy(m.ram + CODE_AT + 9, out, sizeof(out));
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rbx, 0x01020304);
    machine_run_to(&m, KVM_EXIT_HLT);
}

static void *run_until_exit(void *opaque)
{
    return (void *)(intptr_t)machine_run(opaque);
}

/* What the guest stores at RESULT_AT. */
static bool has_result(const struct machine *m, uint8_t value)
{
    return __atomic_load_n(m->ram + RESULT_AT, __ATOMIC_ACQUIRE) == value;
}

static void set_value(const struct machine *m, uint8_t value)
{
    __atomic_store_n(m->ram + FUNCTION_AT + FUNCTION_VALUE, value, __ATOMIC_RELEASE);
}

/* The value was 0xff: it comes out. */
static void end_guest(const struct machine *m, pthread_t thread)
{
    void *result;

    pthread_join(thread, &result);
    CHECK_EQ((intptr_t)result, 0);
    CHECK_EQ(m->run->exit_reason, KVM_EXIT_IO);
}

/* The guest never comes out, and nobody interrupts it. */
static void changed_while_it_runs(void)
{
    static const uint8_t code[] = {
        0xe8, 0xfb, 0x0f, 0, 0,         /* 0: call FUNCTION_AT */
        0x88, 0x04, 0x25, 0, 0x30, 0, 0,        /* mov %al,RESULT_AT */
        0x3c, 0xff, 0x75, 0xf0,         /* cmp $0xff,%al; jne 0b */
        0xe6, 0x80,
    };
    struct machine m;
    pthread_t thread;

    machine_init(&m, 0, 0x100000);
    machine_long_mode(&m, code, sizeof(code));
    put_function(m.ram, FUNCTION_AT);
    set_stack(&m);
    CHECK_EQ(pthread_create(&thread, NULL, run_until_exit, &m), 0);
    for (unsigned i = 1; i < 10; i++) {
        set_value(&m, i);
        while (!has_result(&m, i)) {
            machine_give_up_if_late(&m, thread);
            usleep(100);
        }
    }
    set_value(&m, 0xff);
    end_guest(&m, thread);
}

static void pulse_line(const struct machine *m)
{
    struct kvm_irq_level level = { .irq = 1, .level = 1 };

    CHECK_EQ(IOCTL(m->vm, KVM_IRQ_LINE, &level), 0);
    level.level = 0;
    CHECK_EQ(IOCTL(m->vm, KVM_IRQ_LINE, &level), 0);
}

/* Each interrupt calls the function; the guest doesn't come out in between. */
static void changed_before_an_interrupt(void)
{
    static const uint8_t code[] = {
        0xb0, 0x11, 0xe6, 0x20,         /* the 8259A: base 0x20, only line 1 */
        0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21,
        0xb0, 0xfd, 0xe6, 0x21,
        0xfb, 0xf4, 0xeb, 0xfd,         /* sti; 1: hlt; jmp 1b */
    };
    static const uint8_t handler[] = {
        0xe8, 0xfd, 0x0e,               /* call FUNCTION_AT */
        0xa2, 0x00, 0x30,               /* mov %al,RESULT_AT */
        0x3c, 0xff, 0x75, 0x02, 0xe6, 0x80,     /* out, if it is the last */
        0xb0, 0x20, 0xe6, 0x20, 0xcf,   /* EOI; iret */
    };
    struct machine m = { .ram_size = 0x100000, .vm = create_vm(0) };
    pthread_t thread;

    IOCTL(m.vm, KVM_SET_TSS_ADDR, 0xfffbd000);
    CHECK_EQ(IOCTL(m.vm, KVM_CREATE_IRQCHIP, 0), 0);
    m.ram = host_memory(m.ram_size);
    CHECK_EQ(set_region(m.vm, 0, 0, 0, m.ram_size, m.ram), 0);
    machine_add_vcpu(&m);
    machine_real_mode(&m, code, sizeof(code));
    memcpy(m.ram + CODE_AT + 0x100, handler, sizeof(handler));
    memcpy(m.ram + 0x21 * 4, "\x00\x11\x00\x00", 4);
    put_function(m.ram, FUNCTION_AT);
    set_stack(&m);
    CHECK_EQ(pthread_create(&thread, NULL, run_until_exit, &m), 0);
    for (unsigned i = 1; i < 20; i++) {
        set_value(&m, i);
        while (!has_result(&m, i)) {
            machine_give_up_if_late(&m, thread);
            pulse_line(&m);
            usleep(1000);
        }
    }
    set_value(&m, 0xff);
    pulse_line(&m);
    end_guest(&m, thread);
}

static const struct test_case cases[] = {
    { "code changed between runs", changed_between_runs },
    { "in the caller's page, and across two pages", changed_near_and_across },
    { "changed by read(2)", changed_by_read },
    { "changed through another mapping", changed_through_alias },
    { "an instruction changed while it is out to user space", changed_under_an_exit },
    { "changed while the guest runs", changed_while_it_runs },
    { "changed before an interrupt", changed_before_an_interrupt },
};

TEST_MAIN(cases)
