/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SEV: the launch and its errors, and what the guest, the host and the kernel on
 * its behalf see of a page.  The owner's side of the firmware's cryptography is in
 * test_kvm_sev_owner.c.
 */
#include "kvm_test.h"
#include "sev_launch.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    PAGE = 4096, RAM = 4 << 20, DATA = 0x100000, CLOCK = 0x200000,
    /* Where the guest sees the same addresses without the C-bit. */
    SHARED = 1 << 30,
    READ = 0, WRITE = 1,
};

static struct machine machine_of(uint32_t policy)
{
    struct machine m;

    sev_machine(&m, RAM);
    sev_launch(&m, policy);
    return m;
}

/* The guest does it, at its address. */
static uint64_t guest_does(struct machine *m, uint64_t operation, uint64_t address, uint64_t value)
{
    struct kvm_regs regs = machine_regs(m);

    regs.rcx = operation;
    regs.rdi = address;
    regs.rax = value;
    machine_set_regs(m, &regs);
    machine_run_to(m, KVM_EXIT_IO);
    return machine_regs(m).rax;
}

static uint64_t guest_read(struct machine *m, uint64_t address)
{
    return guest_does(m, READ, address, 0);
}

static void guest_write(struct machine *m, uint64_t address, uint64_t value)
{
    guest_does(m, WRITE, address, value);
}

static uint64_t host_read(const struct machine *m, uint64_t address)
{
    return __atomic_load_n((uint64_t *)(m->ram + address), __ATOMIC_RELAXED);
}

/* Does the kernel wait for pages as well?  Without privilege it answers EFAULT. */
static bool kernel_waits(void)
{
    return !geteuid() || !access("/dev/userfaultfd", R_OK | W_OK);
}

/*
 * By the kernel, as write(2) of a device's back end would.  Bare, as the thread sanitizer
 * takes the guest's races for the caller's.
 */
static uint64_t kernel_read(const struct machine *m, uint64_t address)
{
    uint64_t value = 0;
    int ends[2];

    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_EQ(syscall(SYS_write, ends[1], m->ram + address, sizeof(value)), sizeof(value));
    CHECK_EQ(read(ends[0], &value, sizeof(value)), sizeof(value));
    close(ends[0]);
    close(ends[1]);
    return value;
}

static void not_without_asking(void)
{
    struct kvm_sev_cmd cmd = { .id = KVM_SEV_INIT };
    int vm;

    if (!test_is_softkvm())
        test_skip("this KVM may have it");
    test_with_sev(false);
    vm = create_vm(KVM_X86_DEFAULT_VM);
    CHECK_EQ(check_extension(vm, KVM_CAP_VM_TYPES) & 1 << KVM_X86_SEV_VM, 0);
    CHECK_EQ(IOCTL(vm, KVM_MEMORY_ENCRYPT_OP, &cmd), -ENOTTY);
    CHECK_EQ(IOCTL(vm, KVM_MEMORY_ENCRYPT_OP, 0), -ENOTTY);
}

static void init_rules(void)
{
    struct kvm_enc_region region = { 0x1000, 0x1000 };
    struct kvm_sev_init init = { 0 };
    struct kvm_sev_cmd cmd = { 0 };
    int vm = create_vm(KVM_X86_SEV_VM), vcpu;

    CHECK_EQ(IOCTL(vm, KVM_MEMORY_ENCRYPT_OP, 0), 0);
    CHECK_EQ(IOCTL(vm, KVM_MEMORY_ENCRYPT_OP, 8), -EFAULT);
    cmd.id = 77;
    CHECK_EQ(IOCTL(vm, KVM_MEMORY_ENCRYPT_OP, &cmd), -EINVAL);
    CHECK_EQ(sev_command(vm, KVM_SEV_GUEST_STATUS, NULL, NULL), -ENOTTY);
    CHECK_EQ(IOCTL(vm, KVM_MEMORY_ENCRYPT_REG_REGION, &region), -ENOTTY);
    CHECK_EQ(sev_command(vm, KVM_SEV_INIT, NULL, NULL), -EINVAL);
    init.flags = 1;
    CHECK_EQ(sev_command(vm, KVM_SEV_INIT2, &init, NULL), -EINVAL);
    init = (struct kvm_sev_init){ .vmsa_features = 32 };
    CHECK_EQ(sev_command(vm, KVM_SEV_INIT2, &init, NULL), -EINVAL);
    init.vmsa_features = 0;
    sev_init2(vm, &init);
    CHECK_EQ(sev_command(vm, KVM_SEV_INIT2, &init, NULL), -EINVAL);
    CHECK_EQ(IOCTL(vm, KVM_MEMORY_ENCRYPT_REG_REGION, &region), 0);
    region.size = 0x2000;
    CHECK_EQ(IOCTL(vm, KVM_MEMORY_ENCRYPT_UNREG_REGION, &region), -EINVAL);
    region.size = 0x1000;
    CHECK_EQ(IOCTL(vm, KVM_MEMORY_ENCRYPT_UNREG_REGION, &region), 0);
    CHECK_EQ(IOCTL(vm, KVM_MEMORY_ENCRYPT_UNREG_REGION, &region), -EINVAL);
    region.size = 0;
    CHECK_EQ(IOCTL(vm, KVM_MEMORY_ENCRYPT_REG_REGION, &region), -EINVAL);

    vm = create_vm(KVM_X86_SEV_VM);
    vcpu = IOCTL(vm, KVM_CREATE_VCPU, 0);
    CHECK(vcpu >= 0);
    CHECK_EQ(sev_command(vm, KVM_SEV_INIT2, &init, NULL), -EINVAL);
    CHECK_EQ(IOCTL(vcpu, KVM_RUN, 0), -EINVAL);
    vm = create_vm(KVM_X86_DEFAULT_VM);
    CHECK_EQ(sev_command(vm, KVM_SEV_INIT2, &init, NULL), -EINVAL);
    if (test_is_softkvm())
        CHECK_EQ(sev_command(vm, KVM_SEV_ES_INIT, NULL, NULL), -ENOTTY);
    CHECK_EQ(sev_command(vm, KVM_SEV_INIT, NULL, NULL), 0);
}

/* Memory that can't be taken out of its mapping is refused. */
static void memory_rules(void)
{
    struct kvm_sev_init init = { 0 };
    int vm = create_vm(KVM_X86_SEV_VM), fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    void *file = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    uint8_t *shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (!test_is_softkvm())
        test_skip("the kernel's takes any memory");
    CHECK(file != MAP_FAILED && shared != MAP_FAILED);
    sev_init2(vm, &init);
    CHECK_EQ(set_region(vm, 0, 0, 0, PAGE, file), -EOPNOTSUPP);
    CHECK_EQ(set_region(vm, 0, 0, 0, 4 * PAGE, shared), 0);
    munmap(file, PAGE);
    CHECK_EQ(set_region(vm, 1, 0, 0x100000, PAGE, file), -EFAULT);
    CHECK_EQ(set_region(vm, 0, 0, 0, 0, shared), 0);
    munmap(shared, 4 * PAGE);
    close(fd);
}

static void launch_states(void)
{
    struct kvm_sev_launch_start start = { .policy = 1 };
    struct kvm_sev_launch_update_data update;
    struct kvm_sev_launch_measure measure = { 0 };
    struct kvm_sev_guest_status status;
    struct kvm_sev_cmd cmd = { .id = KVM_SEV_LAUNCH_START, .data = (uintptr_t)&start };
    uint8_t blob[64];
    struct machine m;
    uint32_t error;

    sev_machine(&m, RAM);
    update = (struct kvm_sev_launch_update_data){ (uintptr_t)m.ram, PAGE };
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_MEASURE, &measure, &error), -EIO);
    CHECK_EQ(error, 2);
    machine_run_to(&m, KVM_EXIT_FAIL_ENTRY);
    cmd.sev_fd = m.vm;
    CHECK_EQ(IOCTL(m.vm, KVM_MEMORY_ENCRYPT_OP, &cmd), -EBADF);
    start.policy = 255u << 24;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_START, &start, &error), -EIO);
    CHECK_EQ(error, 7);
    start.policy = 1;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_START, &start, &error), 0);
    CHECK(start.handle);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_START, &start, &error), -EIO);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_GUEST_STATUS, &status, NULL), 0);
    CHECK_EQ(status.handle, start.handle);
    CHECK_EQ(status.policy, 1);
    CHECK_EQ(status.state, 1);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_UPDATE_DATA, &update, &error), 0);
    update.uaddr += 8;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_UPDATE_DATA, &update, &error), -EIO);
    CHECK_EQ(error, 9);
    update.uaddr -= 8;
    update.len = 8;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_UPDATE_DATA, &update, &error), -EIO);
    CHECK_EQ(error, 4);
    update.len = 0;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_UPDATE_DATA, &update, &error), -EINVAL);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_UPDATE_VMSA, NULL, &error), -ENOTTY);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_MEASURE, &measure, &error), -EIO);
    CHECK_EQ(error, 4);
    CHECK_EQ(measure.len, 48);
    measure.uaddr = (uintptr_t)blob;
    measure.len = 47;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_MEASURE, &measure, &error), -EIO);
    CHECK_EQ(error, 4);
    measure.len = 16385;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_MEASURE, &measure, &error), -EINVAL);
    measure.len = sizeof(blob);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_MEASURE, &measure, &error), 0);
    CHECK_EQ(measure.len, 48);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_GUEST_STATUS, &status, NULL), 0);
    CHECK_EQ(status.state, 2);
    update.len = PAGE;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_UPDATE_DATA, &update, &error), -EIO);
    CHECK_EQ(error, 2);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_FINISH, NULL, &error), 0);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_FINISH, NULL, &error), -EIO);
    CHECK_EQ(error, 2);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_GUEST_STATUS, &status, NULL), 0);
    CHECK_EQ(status.state, 3);
}

/* The guest's C-bit decides which of the two it sees; so does who looks. */
static void two_views(void)
{
    struct machine m = machine_of(0);
    uint64_t secret = 0x5ec2e75ec2e7, cipher, other;

    machine_run_to(&m, KVM_EXIT_IO);
    guest_write(&m, DATA, secret);
    guest_write(&m, DATA + PAGE, secret);
    CHECK_EQ(guest_read(&m, DATA), secret);
    cipher = host_read(&m, DATA);
    other = host_read(&m, DATA + PAGE);
    CHECK(cipher != secret && other != secret && cipher != other);
    CHECK_EQ(host_read(&m, DATA), cipher);
    CHECK_EQ(guest_read(&m, DATA), secret);
    CHECK_EQ(guest_read(&m, SHARED + DATA), cipher);
    CHECK_EQ(guest_read(&m, DATA), secret);
    if (kernel_waits())
        CHECK_EQ(kernel_read(&m, DATA), cipher);
    /* Blocks of 16 bytes: a neighbour's change doesn't show, the block's own does. */
    guest_write(&m, DATA + 16, 1);
    CHECK_EQ(host_read(&m, DATA), cipher);
    guest_write(&m, DATA + 8, 1);
    CHECK(host_read(&m, DATA) != cipher);
    /* What comes without the C-bit both see, and the guest with it doesn't. */
    guest_write(&m, SHARED + DATA + 2 * PAGE, secret);
    CHECK_EQ(host_read(&m, DATA + 2 * PAGE), secret);
    *(uint64_t *)(m.ram + DATA + 2 * PAGE) = secret + 1;
    CHECK_EQ(guest_read(&m, SHARED + DATA + 2 * PAGE), secret + 1);
    CHECK(guest_read(&m, DATA + 2 * PAGE) != secret + 1);
    CHECK_EQ(host_read(&m, DATA + 2 * PAGE), secret + 1);
}

/* Cipher text that the host moves away is noise, and the guest's again where it was. */
static void host_writes(void)
{
    struct machine m = machine_of(0);
    uint8_t page[PAGE];

    machine_run_to(&m, KVM_EXIT_IO);
    guest_write(&m, DATA, 42);
    memcpy(page, m.ram + DATA, PAGE);
    memset(m.ram + DATA, 0, PAGE);
    CHECK(guest_read(&m, DATA) != 42);
    memcpy(m.ram + DATA, page, PAGE);
    CHECK_EQ(guest_read(&m, DATA), 42);
    memcpy(m.ram + DATA + PAGE, page, PAGE);
    CHECK(guest_read(&m, DATA + PAGE) != 42);
}

/* A slot goes and comes: the memory has its cipher text in between. */
static void slots_go(void)
{
    struct machine m = machine_of(0);
    uint8_t *more = host_memory(2 * PAGE);
    uint64_t at = RAM;

    CHECK_EQ(set_region(m.vm, 1, 0, at, 2 * PAGE, more), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    guest_write(&m, at, 42);
    CHECK_EQ(set_region(m.vm, 1, 0, at, 0, more), 0);
    CHECK(*(uint64_t *)more != 42);
    CHECK_EQ(set_region(m.vm, 1, 0, at + PAGE, 2 * PAGE, more), 0);
    CHECK_EQ(guest_read(&m, at + PAGE), 42);
}

static void debug_commands(void)
{
    struct machine m = machine_of(0);
    uint8_t plain[3 * PAGE], read_back[3 * PAGE];
    static const uint32_t sizes[] = { 1, 8, 15, 16, 17, 33, PAGE - 1, PAGE, PAGE + 1 };
    static const uint32_t offsets[] = { 0, 1, 8, 15, 16, 23, PAGE - 24, PAGE - 1 };
    struct kvm_sev_dbg dbg = { .src_uaddr = 8, .dst_uaddr = (uintptr_t)plain, .len = 16 };
    uint32_t error;

    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_DBG_DECRYPT, &dbg, &error), -EFAULT);
    dbg.len = 0;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_DBG_DECRYPT, &dbg, &error), -EINVAL);
    for (uint32_t i = 0; i < sizeof(plain); i++)
        plain[i] = i * 7 + i / PAGE;
    for (size_t o = 0; o < sizeof(offsets) / sizeof(offsets[0]); o++) {
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            uint64_t at = (uintptr_t)m.ram + DATA + offsets[o];

            guest_write(&m, DATA, 0x1122334455667788);
            dbg = (struct kvm_sev_dbg){ (uintptr_t)plain + 5, at, sizes[s] };
            CHECK_EQ(sev_command(m.vm, KVM_SEV_DBG_ENCRYPT, &dbg, &error), 0);
            dbg = (struct kvm_sev_dbg){ at, (uintptr_t)read_back + 3, sizes[s] };
            memset(read_back, 0, sizeof(read_back));
            CHECK_EQ(sev_command(m.vm, KVM_SEV_DBG_DECRYPT, &dbg, &error), 0);
            CHECK(!memcmp(read_back + 3, plain + 5, sizes[s]));
            CHECK_EQ(read_back[2], 0);
            CHECK_EQ(read_back[3 + sizes[s]], 0);
            if (offsets[o] >= 8)
                CHECK_EQ(guest_read(&m, DATA), 0x1122334455667788);
        }
    }
    m = machine_of(1);
    dbg.src_uaddr = (uintptr_t)m.ram;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_DBG_DECRYPT, &dbg, &error), -EIO);
    CHECK_EQ(error, 7);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_DBG_ENCRYPT, &dbg, &error), -EIO);
    CHECK_EQ(error, 7);
}

/* Many pages by one command, of which the guest has some: it keeps them. */
static void debug_in_bulk(void)
{
    struct machine m = machine_of(0);
    uint8_t *plain = host_memory(40 * PAGE), *read_back = host_memory(40 * PAGE);
    uint64_t at = (uintptr_t)m.ram + DATA;
    struct kvm_sev_dbg dbg = { (uintptr_t)plain, at, 40 * PAGE };
    uint32_t error;

    machine_run_to(&m, KVM_EXIT_IO);
    for (uint32_t i = 0; i < 40 * PAGE; i++)
        plain[i] = (uint8_t)(i * 11 + i / PAGE);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_DBG_ENCRYPT, &dbg, &error), 0);
    for (uint64_t page = 0; page < 40; page += page % 7 ? 3 : 1) {
        memcpy(plain + page * PAGE, &page, 8);
        guest_write(&m, DATA + page * PAGE, page);
    }
    for (unsigned skew = 0; skew < 48; skew += 47) {
        dbg = (struct kvm_sev_dbg){ at + skew, (uintptr_t)read_back, 40 * PAGE - 2 * skew };
        CHECK_EQ(sev_command(m.vm, KVM_SEV_DBG_DECRYPT, &dbg, &error), 0);
        CHECK(!memcmp(read_back, plain + skew, dbg.len));
    }
    CHECK_EQ(guest_read(&m, DATA + PAGE), 1);
    CHECK(memcmp((void *)(at + PAGE), plain + PAGE, PAGE));     /* cipher text, still */
}

/* KVM's own pages are shared ones, also where the guest had the page encrypted before. */
static void clock_page(void)
{
    struct machine m = machine_of(0);
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = { .head.nmsrs = 1, .entry = { .index = 0x4b564d01, .data = CLOCK | 1 } };

    machine_run_to(&m, KVM_EXIT_IO);
    guest_write(&m, CLOCK, 42);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_MSRS, &msrs), 1);
    guest_read(&m, DATA);
    CHECK(guest_read(&m, SHARED + CLOCK + 24) != 0);    /* the multiplier */
    CHECK_EQ(guest_read(&m, SHARED + CLOCK + 24), host_read(&m, CLOCK + 24));
}

/* Structures for KVM in memory that the guest has: no answer, and no waiting for ever. */
static void ioctl_from_guest_page(void)
{
    struct machine m = machine_of(0);

    machine_run_to(&m, KVM_EXIT_IO);
    guest_write(&m, DATA, 42);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_REGS, UINT64_MAX - 4095), -EFAULT);
    if (!test_is_softkvm())
        test_skip("the kernel reads cipher text");
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_REGS, m.ram + DATA), -EFAULT);
    CHECK_EQ(guest_read(&m, DATA), 42);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_REGS, m.ram + DATA + 4 * PAGE), 0);
}

static struct {
    struct machine *machine;
    bool stop;
    uint64_t looked;
} looker;

static void *look(void *opaque)
{
    while (!__atomic_load_n(&looker.stop, __ATOMIC_RELAXED)) {
        looker.looked ^= host_read(looker.machine, DATA + (looker.looked & 7) * PAGE);
        if (!kernel_waits())
            continue;
        /* A balloon's way of giving memory back, of shared and other pages. */
        madvise(looker.machine->ram + DATA + 8 * PAGE, PAGE, MADV_DONTNEED);
        looker.looked += kernel_read(looker.machine, DATA + 8 * PAGE) & 1;
    }
    return NULL;
}

/* Somebody looks all the time while the guest works in both views. */
static void touched_while_running(void)
{
    struct machine m = machine_of(0);
    pthread_t thread;

    looker.machine = &m;
    looker.stop = false;
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(pthread_create(&thread, NULL, look, NULL), 0);
    for (uint64_t i = 0; i < 300; i++) {
        uint64_t at = DATA + (i & 7) * PAGE + 64;

        guest_write(&m, at, i);
        guest_write(&m, SHARED + DATA + 8 * PAGE, i);
        guest_read(&m, DATA + 8 * PAGE);
        CHECK_EQ(guest_read(&m, at), i);
    }
    __atomic_store_n(&looker.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
}

static const struct test_case cases[] = {
    { "init_rules", init_rules },
    { "memory_rules", memory_rules },
    { "launch_states", launch_states },
    { "two_views", two_views },
    { "host_writes", host_writes },
    { "slots_go", slots_go },
    { "debug_commands", debug_commands },
    { "debug_in_bulk", debug_in_bulk },
    { "clock_page", clock_page },
    { "ioctl_from_guest_page", ioctl_from_guest_page },
    { "touched_while_running", touched_while_running },
    { "not_without_asking", not_without_asking },
};

int main(int argc, char **argv)
{
    test_with_sev(true);
    return test_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
