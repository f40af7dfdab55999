/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One vCPU: its descriptor, its thread and the loop around KVM_RUN.
 *
 * Parking without lost wakeups: who wants the vCPU out of the guest changes
 * `running` first, then sets immediate_exit, then sends the signal.  The loop
 * clears immediate_exit first and then looks at `running`.  So either the loop
 * sees the change, or KVM sees immediate_exit, or the signal breaks into KVM_RUN.
 */
#include "exits.h"
#include "vm.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KICK_SIGNAL = SIGUSR1 };     /* as QEMU's SIG_IPI */

struct kvm_vcpu {
    struct kvm_vm *vm;
    unsigned index;
    int fd;
    struct kvm_run *run;
    const struct kvm_exit_ops *ops;
    void *opaque;

    pthread_t thread;
    bool started;               /* there is a thread; changed by its maker only */
    int tid;                    /* atomic */

    pthread_mutex_t lock;       /* of what follows; the innermost lock */
    pthread_cond_t changed;
    bool running;               /* wanted; also read without the lock, hence atomic */
    unsigned holds;             /* who keeps it out of the guest meanwhile; likewise */
    bool quit;                  /* wanted */
    bool parked;                /* so it is */
};

/* Its arrival is all that is needed: KVM_RUN returns -EINTR. */
static void kick_arrived(int sig)
{
}

static void install_kick_signal(void)
{
    struct sigaction action = { .sa_handler = kick_arrived };

    sigemptyset(&action.sa_mask);
    sigaction(KICK_SIGNAL, &action, NULL);
}

int kvm_vcpu_new(struct kvm_vm *vm, unsigned index, const struct kvm_exit_ops *ops, void *opaque,
                 struct kvm_vcpu **ret_vcpu)
{
    struct kvm_vcpu *vcpu = calloc(1, sizeof(*vcpu));
    void *run;
    int ret;

    if (!vcpu)
        return -ENOMEM;
    vcpu->vm = vm;
    vcpu->index = index;
    vcpu->ops = ops;
    vcpu->opaque = opaque;
    vcpu->parked = true;
    pthread_mutex_init(&vcpu->lock, NULL);
    pthread_cond_init(&vcpu->changed, NULL);
    vcpu->fd = ret = vm->driver->ioctl(vm->vm_fd, KVM_CREATE_VCPU, index);
    if (ret >= 0)
        ret = vm->driver->mmap(vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0, &run);
    if (ret < 0) {
        kvm_vcpu_free(vcpu);
        return ret;
    }
    vcpu->run = run;
    *ret_vcpu = vcpu;
    return 0;
}

static void stop_thread(struct kvm_vcpu *vcpu)
{
    pthread_mutex_lock(&vcpu->lock);
    vcpu->quit = true;
    pthread_cond_broadcast(&vcpu->changed);
    pthread_mutex_unlock(&vcpu->lock);
    kvm_vcpu_park(vcpu);
    pthread_join(vcpu->thread, NULL);
    vcpu->started = false;
}

void kvm_vcpu_free(struct kvm_vcpu *vcpu)
{
    if (!vcpu)
        return;
    if (vcpu->started)
        stop_thread(vcpu);
    if (vcpu->run)
        vcpu->vm->driver->munmap(vcpu->run, vcpu->vm->run_size);
    if (vcpu->fd >= 0)
        vcpu->vm->driver->close(vcpu->fd);
    pthread_cond_destroy(&vcpu->changed);
    pthread_mutex_destroy(&vcpu->lock);
    free(vcpu);
}

unsigned kvm_vcpu_index(const struct kvm_vcpu *vcpu)
{
    return vcpu->index;
}

int kvm_vcpu_thread_id(const struct kvm_vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->tid, __ATOMIC_RELAXED);
}

int kvm_vcpu_ioctl(struct kvm_vcpu *vcpu, unsigned long request, void *arg)
{
    return vcpu->vm->driver->ioctl(vcpu->fd, request, (unsigned long)arg);
}

struct kvm_vm *kvm_vcpu_vm(const struct kvm_vcpu *vcpu)
{
    return vcpu->vm;
}

struct kvm_run *kvm_vcpu_run_page(struct kvm_vcpu *vcpu)
{
    return vcpu->run;
}

bool kvm_vcpu_is_self(const struct kvm_vcpu *vcpu)
{
    return vcpu->started && pthread_equal(vcpu->thread, pthread_self());
}

static bool wants_to_run(const struct kvm_vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->running, __ATOMIC_SEQ_CST) &&
           __atomic_load_n(&vcpu->holds, __ATOMIC_SEQ_CST) == 0;
}

static void set_immediate_exit(struct kvm_vcpu *vcpu, uint8_t value)
{
    __atomic_store_n(&vcpu->run->immediate_exit, value, __ATOMIC_SEQ_CST);
}

/* One KVM_RUN; true: the guest may be entered again. */
static bool run_once(struct kvm_vcpu *vcpu, bool *ret_pending)
{
    struct kvm_exit exit = {
        .vcpu = vcpu, .run = vcpu->run, .ops = vcpu->ops, .opaque = vcpu->opaque,
    };

    exit.error = kvm_vcpu_ioctl(vcpu, KVM_RUN, NULL);
    *ret_pending = false;
    /* -EAGAIN: an AP that waited for its SIPI was woken by something else. */
    if (exit.error == -EINTR || exit.error == -EAGAIN)
        return true;
    if (exit.error >= 0) {
        exit.error = 0;
        *ret_pending = kvm_exit_is_pending(vcpu->run->exit_reason);
    }
    return kvm_exit_handle(&exit) == KVM_RESUME;
}

/*
 * The data of an IN or a load reaches the registers at the next KVM_RUN; with
 * immediate_exit it does that and no more.  An access that KVM splits (a load
 * over two pages) exits again for its next part first.
 */
static void complete_exit(struct kvm_vcpu *vcpu)
{
    bool pending = true;

    while (pending) {
        set_immediate_exit(vcpu, 1);
        run_once(vcpu, &pending);
    }
}

static void run_until_parked(struct kvm_vcpu *vcpu)
{
    bool resume = true, pending = false;

    while (resume) {
        set_immediate_exit(vcpu, 0);
        if (!wants_to_run(vcpu))
            break;
        resume = run_once(vcpu, &pending);
    }
    if (pending)
        complete_exit(vcpu);
    if (!resume) {
        pthread_mutex_lock(&vcpu->lock);
        __atomic_store_n(&vcpu->running, false, __ATOMIC_SEQ_CST);
        pthread_mutex_unlock(&vcpu->lock);
    }
}

static void *vcpu_thread(void *arg)
{
    struct kvm_vcpu *vcpu = arg;
    char name[16];

    snprintf(name, sizeof(name), "CPU %u/KVM", vcpu->index);
    pthread_setname_np(pthread_self(), name);
    __atomic_store_n(&vcpu->tid, (int)syscall(SYS_gettid), __ATOMIC_RELAXED);

    pthread_mutex_lock(&vcpu->lock);
    while (!vcpu->quit) {
        if (!wants_to_run(vcpu)) {
            pthread_cond_wait(&vcpu->changed, &vcpu->lock);
            continue;
        }
        vcpu->parked = false;
        pthread_mutex_unlock(&vcpu->lock);
        run_until_parked(vcpu);
        pthread_mutex_lock(&vcpu->lock);
        vcpu->parked = true;
        pthread_cond_broadcast(&vcpu->changed);
    }
    pthread_mutex_unlock(&vcpu->lock);
    return NULL;
}

/* Signals of the process are the main thread's; what a thread does to itself stays its own. */
static void vcpu_signal_mask(sigset_t *set)
{
    static const int own[] = { KICK_SIGNAL, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT };

    sigfillset(set);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        sigdelset(set, own[i]);
}

int kvm_vcpu_start(struct kvm_vcpu *vcpu)
{
    sigset_t set, old;
    int ret;

    if (vcpu->started)
        return -EBUSY;
    install_kick_signal();
    vcpu_signal_mask(&set);
    pthread_sigmask(SIG_SETMASK, &set, &old);
    ret = -pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    vcpu->started = ret == 0;
    return ret;
}

void kvm_vcpu_resume(struct kvm_vcpu *vcpu)
{
    pthread_mutex_lock(&vcpu->lock);
    if (!vcpu->quit)
        __atomic_store_n(&vcpu->running, true, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&vcpu->changed);
    pthread_mutex_unlock(&vcpu->lock);
}

/* Out of the guest; the lock is held and what makes it stay out is set. */
static void kick_out(struct kvm_vcpu *vcpu)
{
    if (!vcpu->parked) {
        set_immediate_exit(vcpu, 1);
        pthread_kill(vcpu->thread, KICK_SIGNAL);
    }
}

void kvm_vcpu_park(struct kvm_vcpu *vcpu)
{
    pthread_mutex_lock(&vcpu->lock);
    __atomic_store_n(&vcpu->running, false, __ATOMIC_SEQ_CST);
    kick_out(vcpu);
    pthread_mutex_unlock(&vcpu->lock);
}

void kvm_vcpu_hold(struct kvm_vcpu *vcpu)
{
    pthread_mutex_lock(&vcpu->lock);
    __atomic_add_fetch(&vcpu->holds, 1, __ATOMIC_SEQ_CST);
    kick_out(vcpu);
    pthread_mutex_unlock(&vcpu->lock);
    kvm_vcpu_wait_parked(vcpu);
}

void kvm_vcpu_release(struct kvm_vcpu *vcpu)
{
    pthread_mutex_lock(&vcpu->lock);
    __atomic_sub_fetch(&vcpu->holds, 1, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&vcpu->changed);
    pthread_mutex_unlock(&vcpu->lock);
}

void kvm_vcpu_wait_parked(struct kvm_vcpu *vcpu)
{
    pthread_mutex_lock(&vcpu->lock);
    while (!vcpu->parked)
        pthread_cond_wait(&vcpu->changed, &vcpu->lock);
    pthread_mutex_unlock(&vcpu->lock);
}
