/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Running the instruction on the host's processor, by way of signals: the handler
 * of one loads the registers into the frame that the kernel restores from, the
 * handler of the next (the exception that ended the run) finds them there.
 * The frame has everything: general registers, flags, FXSAVE image, and the
 * exception's vector, error code and address.
 */
#include "insn_test.h"

#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    FX_USABLE = 416,            /* the rest of the image is the kernel's own bookkeeping */
    XSTATE_BV = 512,
    HANG_MS = 500,
};

static const int greg_of[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static struct {
    gregset_t gregs;            /* the harness's own, while a run is under way */
    uint8_t fx[FX_USABLE];
    const struct state *in;
    struct outcome *out;
    volatile bool running;
} host;

static void enter(ucontext_t *uc)
{
    greg_t *g = uc->uc_mcontext.gregs;
    uint8_t *fx = (uint8_t *)uc->uc_mcontext.fpregs;

    memcpy(host.gregs, g, sizeof(host.gregs));
    memcpy(host.fx, fx, FX_USABLE);
    for (unsigned i = 0; i < 16; i++)
        g[greg_of[i]] = host.in->gpr[i];
    g[REG_RIP] = host.in->rip;
    g[REG_EFL] = host.in->rflags;
    memcpy(fx, &host.in->fx, FX_USABLE);
    fx[XSTATE_BV] |= 3;         /* x87 and SSE come from the image, not from their reset state */
    host.running = true;
}

static void leave(ucontext_t *uc, int sig)
{
    greg_t *g = uc->uc_mcontext.gregs;
    uint8_t *fx = (uint8_t *)uc->uc_mcontext.fpregs;
    struct outcome *out = host.out;

    for (unsigned i = 0; i < 16; i++)
        out->state.gpr[i] = g[greg_of[i]];
    out->state.rip = g[REG_RIP];
    out->state.rflags = g[REG_EFL];
    memcpy(&out->state.fx, fx, FX_USABLE);
    out->vector = sig == SIGPROF ? VECTOR_HANG : g[REG_TRAPNO];
    out->error = sig == SIGPROF ? 0 : g[REG_ERR];
    out->cr2 = out->vector == 14 ? g[REG_CR2] : 0;

    memcpy(g, host.gregs, sizeof(host.gregs));
    memcpy(fx, host.fx, FX_USABLE);
    fx[XSTATE_BV] |= 3;
    host.running = false;
}

void (*host_on_alarm)(void);

static void on_signal(int sig, siginfo_t *info, void *context)
{
    if (host.running) {
        leave(context, sig);
    } else if (sig == SIGUSR1) {
        enter(context);
    } else if (sig == SIGPROF) {
        if (host_on_alarm)
            host_on_alarm();
    } else {
        signal(sig, SIG_DFL);   /* a bug of the harness: die of it */
    }
}

int host_init(void)
{
    static const int signals[] = {
        SIGUSR1, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGPROF
    };
    struct sigaction sa = { .sa_sigaction = on_signal,
                            .sa_flags = SA_SIGINFO | SA_ONSTACK };
    static uint8_t handler_stack[256 * 1024];
    stack_t stack = { .ss_sp = handler_stack, .ss_size = sizeof(handler_stack) };

    if (sigaltstack(&stack, NULL) < 0)
        return -errno;
    sigfillset(&sa.sa_mask);
    for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        if (sigaction(signals[i], &sa, NULL) < 0)
            return -errno;
    return syscall(SYS_arch_prctl, ARCH_SET_GS, (unsigned long)GS_BASE) < 0 ? -errno : 0;
}

void host_run(const struct state *in, struct outcome *out)
{
    static const struct itimerval off, limit = { .it_value.tv_usec = HANG_MS * 1000 };

    memset(out, 0, sizeof(*out));
    host.in = in;
    host.out = out;
    setitimer(ITIMER_PROF, &limit, NULL);
    raise(SIGUSR1);
    setitimer(ITIMER_PROF, &off, NULL);
}
