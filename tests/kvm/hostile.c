/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hostile [--softkvm|--vm2|--in-place|--sev|--kernel] [--seconds N] [--seed S] [--threads N]
 *
 * Several threads call KVM at random: every ioctl that there is and some that aren't, on
 * descriptors of every kind, with arguments of hostile_args.c; descriptors are made,
 * duplicated, mapped and closed meanwhile, and guests run whatever comes of it.  KVM may
 * refuse everything; it may not crash its caller, hang, or keep anything for itself: after
 * each round all is closed, and the process has as many descriptors and mappings as before.
 */
#include "hostile.h"

#include "kvm_names.h"
#include "kvm_uapi.h"
#include "softkvm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 16, MAPPINGS = 16, SKIPPED = 77, ROUND_MS = 1000, HANG_SECONDS = 60,
       SLACK_MAPPINGS = 64, SLACK_RSS = 96 << 20 };

/* What the kernel's stable headers have; and numbers that nothing has. */
static const unsigned long unknown_requests[] = {
    0, ~0UL, _IO(KVMIO, 0xff), _IOWR(KVMIO, 0x7f, char[64]), _IOW(KVMIO, 0x46, char[16]),
    _IOR(KVMIO, 0xd2, char[32]), _IO('T', 0x13), 0xffffffff0000ae80,
};

static const struct {
    const char *option;
    const struct kvm_driver *driver;
} drivers[] = {
    { "--softkvm", &kvm_driver_soft }, { "--vm2", &kvm_driver_soft_vm2 },
    { "--in-place", &kvm_driver_soft_in_place }, { "--sev", &kvm_driver_soft_sev },
    { "--kernel", &kvm_driver_kernel },
};

static const struct kvm_driver *driver = &kvm_driver_soft;
static unsigned long seed, seconds = 2;
static unsigned nr_threads = 4;

struct thread {
    pthread_t id;
    struct rng rng;
    uint8_t *memory;
    struct {
        void *at;
        size_t size;
    } mappings[MAPPINGS];
    uint64_t calls, good;
    const char *doing;          /* for a report of a hang */
    bool done;
};

static bool stop;
static struct thread threads[MAX_THREADS];

static bool is_soft(void)
{
    return driver != &kvm_driver_kernel;
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#ifdef __SANITIZE_THREAD__
/* Descriptors are closed and made while other threads use their numbers: that is the point. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:close_any\nrace:class_mmap\n";
}
#endif

/* Some are eventfds. */
static void close_any(int fd)
{
    if (driver->close(fd) == -EBADF)
        close(fd);
}

static void close_one(struct thread *t)
{
    int fd = descriptors_take(&t->rng);

    if (fd >= 0)
        close_any(fd);
}

static void set_doing(struct thread *t, const char *what)
{
    __atomic_store_n(&t->doing, what, __ATOMIC_RELAXED);
    __atomic_add_fetch(&t->calls, 1, __ATOMIC_RELAXED);
}

/* A descriptor that an ioctl returned, in its result or in its structure. */
static void after_ioctl(unsigned long request, unsigned long arg, int ret)
{
    if (request == KVM_CREATE_VM || request == KVM_CREATE_VCPU ||
        request == KVM_CREATE_GUEST_MEMFD || request == KVM_GET_STATS_FD)
        descriptors_add(ret);
    if (request == KVM_CREATE_DEVICE && !(((struct kvm_create_device *)arg)->flags & 1))
        descriptors_add((int)((struct kvm_create_device *)arg)->fd);
}

static void do_ioctl(struct thread *t)
{
    const struct kvm_name *row = &kvm_ioctl_names[rng_below(&t->rng, (unsigned)nr_kvm_ioctl_names)];
    unsigned long request = row->number, arg;
    int ret;

    if (rng_one_in(&t->rng, 40)) {
        request = unknown_requests[rng_below(&t->rng, sizeof(unknown_requests) / sizeof(long))];
        set_doing(t, "an unknown ioctl");
    } else {
        if (rng_one_in(&t->rng, 40))
            request ^= 1UL << rng_below(&t->rng, 32);
        set_doing(t, row->name);
    }
    arg = make_argument(&t->rng, request, t->memory);
    ret = driver->ioctl(descriptors_any(&t->rng), request, arg);
    if (ret >= 0) {
        t->good++;
        after_ioctl(request, arg, ret);
    }
}

static int sev_command(int vm, int sev_fd, uint32_t id, void *data)
{
    struct kvm_sev_cmd cmd = { .id = id, .data = (uintptr_t)data, .sev_fd = (uint32_t)sev_fd };

    return driver->ioctl(vm, KVM_MEMORY_ENCRYPT_OP, (unsigned long)&cmd);
}

/* To any stage of a launch, or into nothing where there is no SEV. */
static void launch(struct thread *t, int vm)
{
    int sev_fd = driver == &kvm_driver_soft_sev ? softkvm_open_sev() : -1;
    struct kvm_sev_init init = { 0 };
    struct kvm_sev_launch_start start = { .policy = rng_below(&t->rng, 2) };
    struct kvm_sev_launch_update_data update = { (uintptr_t)guest_memory, 1 << 16 };
    uint8_t blob[48];
    struct kvm_sev_launch_measure measure = { (uintptr_t)blob, sizeof(blob) };
    unsigned stages = rng_below(&t->rng, 5);

    if (sev_fd < 0)
        return;
    descriptors_add(sev_fd);
    if (sev_command(vm, sev_fd, KVM_SEV_INIT2, &init) || !stages ||
        sev_command(vm, sev_fd, KVM_SEV_LAUNCH_START, &start) || stages < 2 ||
        sev_command(vm, sev_fd, KVM_SEV_LAUNCH_UPDATE_DATA, &update) || stages < 3 ||
        sev_command(vm, sev_fd, KVM_SEV_LAUNCH_MEASURE, &measure) || stages < 4)
        return;
    sev_command(vm, sev_fd, KVM_SEV_LAUNCH_FINISH, NULL);
}

/* A VM with a vCPU that could run: what random calls would seldom come to. */
static void do_make_vm(struct thread *t)
{
    struct kvm_userspace_memory_region slot = {
        .memory_size = GUEST_SIZE, .userspace_addr = (uintptr_t)guest_memory,
        .guest_phys_addr = rng_one_in(&t->rng, 2) ? 0 : 0xffc00000,
    };
    struct kvm_create_guest_memfd gmem = { .size = 1 << 20, .flags = rng_below(&t->rng, 4) };
    bool is_sev = driver == &kvm_driver_soft_sev && !rng_one_in(&t->rng, 4);
    unsigned long type;
    int kvm, vm, fd;

    set_doing(t, "a whole VM");
    kvm = driver->open();
    if (kvm < 0)
        return;
    type = is_sev ? KVM_X86_SEV_VM : rng_below(&t->rng, 2);
    vm = driver->ioctl(kvm, KVM_CREATE_VM, type);
    descriptors_add(kvm);
    if (vm < 0)
        return;
    driver->ioctl(vm, KVM_SET_USER_MEMORY_REGION, (unsigned long)&slot);
    if (is_sev)
        launch(t, vm);
    if (rng_one_in(&t->rng, 2))
        driver->ioctl(vm, KVM_CREATE_IRQCHIP, 0);
    for (unsigned long n = 0; n < 2; n++) {
        fd = driver->ioctl(vm, KVM_CREATE_VCPU, n);
        if (fd >= 0)
            descriptors_add(fd);
    }
    fd = driver->ioctl(vm, KVM_CREATE_GUEST_MEMFD, (unsigned long)&gmem);
    if (fd >= 0)
        descriptors_add(fd);
    descriptors_add(vm);
}

static void do_unmap(struct thread *t, unsigned i)
{
    if (t->mappings[i].at)
        driver->munmap(t->mappings[i].at, t->mappings[i].size);
    t->mappings[i].at = NULL;
}

static void do_map(struct thread *t)
{
    unsigned i = rng_below(&t->rng, MAPPINGS);
    size_t size = rng_one_in(&t->rng, 8) ? rng_below(&t->rng, 1 << 22)
                                         : (size_t)(1 + rng_below(&t->rng, 8)) * 4096;
    off_t offset = rng_one_in(&t->rng, 2) ? 0 : (off_t)rng_below(&t->rng, 16) * 4096;
    int prot = rng_one_in(&t->rng, 4) ? (int)rng_below(&t->rng, 8) : PROT_READ | PROT_WRITE;
    void *at;

    set_doing(t, "mmap");
    do_unmap(t, i);
    if (driver->mmap(size, prot, rng_one_in(&t->rng, 4) ? MAP_PRIVATE : MAP_SHARED,
                     descriptors_any(&t->rng), offset, &at) == 0) {
        t->mappings[i].at = at;
        t->mappings[i].size = size;
        t->good++;
    }
}

static void do_file_call(struct thread *t)
{
    static const int modes[] = { FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
                                 0, FALLOC_FL_PUNCH_HOLE, -1 };
    int fd = descriptors_any(&t->rng), mode = modes[rng_below(&t->rng, 5)];
    off_t offset = (off_t)rng_below(&t->rng, 300) * 4096, size = 4096;
    char buffer[64];
    int ret;

    if (rng_one_in(&t->rng, 4))
        offset = (off_t)rng_next(&t->rng);
    switch (rng_below(&t->rng, 4)) {
    case 0:
        set_doing(t, "fallocate");
        is_soft() ? softkvm_fallocate(fd, mode, offset, size) : fallocate(fd, mode, offset, size);
        break;
    case 1:
        set_doing(t, "pread");
        if (fd == 0)
            break;
        if (is_soft())
            softkvm_pread(fd, buffer, sizeof(buffer), offset);
        else if (pread(fd, buffer, sizeof(buffer), offset) < 0)
            break;
        break;
    case 2:
        set_doing(t, "read");
        if (is_soft())
            softkvm_read(fd, (void *)(uintptr_t)make_argument(&t->rng, ~0UL, t->memory), 64);
        break;
    default:
        set_doing(t, "dup");
        ret = is_soft() ? softkvm_dup(fd, 3, O_CLOEXEC) : fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (ret >= 0)
            descriptors_add(ret);
    }
}

static void do_eventfd(struct thread *t)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    set_doing(t, "eventfd");
    if (fd >= 0)
        descriptors_add(fd);
}

static void do_run(struct thread *t)
{
    set_doing(t, "KVM_RUN");
    if (driver->ioctl(descriptors_any(&t->rng), KVM_RUN, 0) == 0)
        t->good++;
}

static void step(struct thread *t)
{
    unsigned what = rng_below(&t->rng, 100);

    if (descriptors_count() > MAX_DESCRIPTORS - 8 * nr_threads)
        close_one(t);
    else if (what < 2)
        do_make_vm(t);
    else if (what < 4)
        close_one(t);
    else if (what < 10)
        do_map(t);
    else if (what < 16)
        do_file_call(t);
    else if (what < 17)
        do_eventfd(t);
    else if (what < 22)
        do_run(t);
    else
        do_ioctl(t);
}

static void *run_thread(void *opaque)
{
    struct thread *t = opaque;

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        step(t);
    for (unsigned i = 0; i < MAPPINGS; i++)
        do_unmap(t, i);
    __atomic_store_n(&t->done, true, __ATOMIC_RELEASE);
    return NULL;
}

/* Ends a KVM_RUN. */
static void on_signal(int signal)
{
}

/* Wakes all threads until ms have passed and, when told to stop, they have ended. */
static void watch(uint64_t ms)
{
    uint64_t start = now_ms(), calls[MAX_THREADS] = { 0 }, progress[MAX_THREADS];
    unsigned live = nr_threads;

    for (unsigned i = 0; i < nr_threads; i++)
        progress[i] = start;
    while (live) {
        if (now_ms() - start >= ms)
            __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
        usleep(2000);
        live = 0;
        for (unsigned i = 0; i < nr_threads; i++) {
            struct thread *t = &threads[i];
            uint64_t n = __atomic_load_n(&t->calls, __ATOMIC_RELAXED);

            if (__atomic_load_n(&t->done, __ATOMIC_ACQUIRE))
                continue;
            live++;
            pthread_kill(t->id, SIGUSR1);
            if (n != calls[i])
                progress[i] = now_ms();
            calls[i] = n;
            if (now_ms() - progress[i] > HANG_SECONDS * 1000) {
                printf("hostile: seed %lu: thread %u hangs in %s\n", seed, i,
                       __atomic_load_n(&t->doing, __ATOMIC_RELAXED));
                abort();
            }
        }
    }
}

static unsigned count_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned n = 0;

    while (folder && readdir(folder))
        n++;
    if (folder)
        closedir(folder);
    return n;
}

struct usage {
    unsigned files, mappings;
    uint64_t rss;
};

static struct usage measure(void)
{
    struct usage usage = { .files = count_files() };
    FILE *maps = fopen("/proc/self/maps", "re"), *statm = fopen("/proc/self/statm", "re");
    uint64_t total, resident = 0;
    int c;

    while (maps && (c = fgetc(maps)) != EOF)
        usage.mappings += c == '\n';
    if (statm && fscanf(statm, "%" SCNu64 " %" SCNu64, &total, &resident) == 2)
        usage.rss = resident * 4096;
    if (maps)
        fclose(maps);
    if (statm)
        fclose(statm);
    return usage;
}

/* False, and said: the process has more than before. */
static bool same_usage(const struct usage *before, const struct usage *after)
{
    bool ok = after->files == before->files;

/* Address sanitizer keeps what was freed, thread sanitizer maps its shadow piece by piece. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    ok = ok && after->mappings <= before->mappings + SLACK_MAPPINGS &&
         after->rss <= before->rss + SLACK_RSS;
#endif
    if (!ok)
        printf("hostile: seed %lu: left over: %u files (%u before), %u mappings (%u), %" PRIu64
               " KiB (%" PRIu64 ")\n", seed, after->files, before->files, after->mappings,
               before->mappings, after->rss >> 10, before->rss >> 10);
    return ok;
}

static bool run_round(unsigned long number)
{
    struct rng rng = { seed + number };
    int fd;

    __atomic_store_n(&stop, false, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < nr_threads; i++) {
        threads[i].rng.state = rng_next(&rng);
        threads[i].done = false;
        if (pthread_create(&threads[i].id, NULL, run_thread, &threads[i]))
            return false;
    }
    watch(ROUND_MS);
    for (unsigned i = 0; i < nr_threads; i++)
        pthread_join(threads[i].id, NULL);
    while ((fd = descriptors_take(&rng)) >= 0)
        close_any(fd);
    return true;
}

static bool parse(int argc, char **argv)
{
    seed = (unsigned long)time(NULL) ^ (unsigned long)getpid() << 16;
    for (int i = 1; i < argc; i++) {
        unsigned long value = i + 1 < argc ? strtoul(argv[i + 1], NULL, 0) : 0;
        bool found = true;

        if (!strcmp(argv[i], "--seconds"))
            seconds = value;
        else if (!strcmp(argv[i], "--seed"))
            seed = value;
        else if (!strcmp(argv[i], "--threads"))
            nr_threads = value && value < MAX_THREADS / 2 ? (unsigned)value : 4;
        else
            found = false;
        if (found) {
            i++;
            continue;
        }
        for (size_t n = 0; n < sizeof(drivers) / sizeof(drivers[0]); n++) {
            if (!strcmp(argv[i], drivers[n].option)) {
                driver = drivers[n].driver;
                found = true;
            }
        }
        if (!found) {
            printf("hostile: no option %s\n", argv[i]);
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct usage before = { 0 }, after;
    uint64_t calls = 0, good = 0, end;
    unsigned long rounds = 0;
    int fd;

    if (!parse(argc, argv))
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    fd = driver->open();
    if (fd < 0) {
        printf("skipped: cannot open this KVM: %s\n", strerror(-fd));
        return SKIPPED;
    }
    driver->close(fd);
    printf("hostile: %s, seed %lu, %u threads\n", driver->description, seed, nr_threads);
    sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = on_signal }, NULL);
    if (!hostile_memory_init())
        return 2;
    for (unsigned i = 0; i < nr_threads; i++) {
        threads[i].memory = new_argument_memory();
        if (!threads[i].memory)
            return 2;
    }
    end = now_ms() + seconds * 1000;
    do {
        if (!run_round(rounds))
            return 2;
        after = measure();
        if (rounds++ == 0)
            before = after;
        if (!same_usage(&before, &after))
            return 1;
    } while (now_ms() < end);
    for (unsigned i = 0; i < nr_threads; i++) {
        calls += threads[i].calls;
        good += threads[i].good;
    }
    printf("hostile: %lu rounds, %" PRIu64 " calls, %" PRIu64 " of them succeeded; %u files, "
           "%u mappings, %" PRIu64 " KiB\n", rounds, calls, good, after.files, after.mappings,
           after.rss >> 10);
    return 0;
}
