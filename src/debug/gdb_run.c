/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Running and stopping for a debugger: c, s, vCont, and stop replies ("Debugging with
 * GDB", E.2, E.3).  vCPU n is thread n + 1 of process 1.
 */
#include "gdb_internal.h"

#include "error.h"
#include "gdb_registers.h"

#include <inttypes.h>
#include <string.h>

static unsigned cpu_count(const struct gdb *gdb)
{
    return gdb->host.cpu_count(gdb->host.opaque);
}

static bool is_running(const struct gdb *gdb)
{
    return strcmp(gdb->host.status(gdb->host.opaque), "running") == 0;
}

/* --- Threads --- */

void gdb_append_thread(struct gdb *gdb, GString *out, unsigned cpu)
{
    g_string_append_printf(out, gdb->client.multiprocess ? "p01.%02x" : "%02x", cpu + 1);
}

static uint64_t all_cpus(const struct gdb *gdb)
{
    unsigned n = cpu_count(gdb);

    return n < 64 ? (1ULL << n) - 1 : UINT64_MAX;
}

/* 0: there is no such thread. */
static uint64_t mask_of(const struct gdb *gdb, int thread)
{
    if (thread == GDB_THREAD_ALL)
        return all_cpus(gdb);
    if (thread == GDB_THREAD_ANY)
        return 1;
    return (unsigned)thread <= cpu_count(gdb) ? 1ULL << (thread - 1) : 0;
}

bool gdb_take_cpu(struct gdb *gdb, struct gdb_text *text, unsigned *ret)
{
    int thread;
    uint64_t mask;

    if (!gdb_take_thread(text, &thread) || text->p != text->end)
        return false;
    mask = mask_of(gdb, thread);
    if (!mask)
        return false;
    *ret = (unsigned)__builtin_ctzll(mask);
    return true;
}

/* --- Stop replies --- */

static enum gdb_hit_kind hit_of(const struct gdb *gdb, unsigned cpu)
{
    return (enum gdb_hit_kind)__atomic_load_n(&gdb->cpus[cpu].hit, __ATOMIC_ACQUIRE);
}

static void clear_hit(struct gdb *gdb, unsigned cpu)
{
    __atomic_store_n(&gdb->cpus[cpu].hit, GDB_HIT_NONE, __ATOMIC_RELEASE);
}

bool gdb_has_hit(const struct gdb *gdb)
{
    for (unsigned i = 0; i < cpu_count(gdb); i++) {
        if (hit_of(gdb, i) != GDB_HIT_NONE)
            return true;
    }
    return false;
}

/* What gdb knows the end of running by: signals' numbers. */
static unsigned signal_of(const char *status)
{
    static const struct {
        const char *status;
        unsigned signal;
    } rows[] = {
        { "debug", 5 }, { "prelaunch", 5 }, { "paused", 2 }, { "shutdown", 3 },
        { "internal-error", 6 }, { "guest-panicked", 6 }, { "watchdog", 14 }, { "io-error", 17 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (strcmp(rows[i].status, status) == 0)
            return rows[i].signal;
    }
    return 5;
}

static void append_hit(struct gdb *gdb, GString *out, unsigned cpu)
{
    const struct gdb_hard_breakpoint *bp = &gdb->hard[gdb->cpus[cpu].hit_register];

    switch (hit_of(gdb, cpu)) {
    case GDB_HIT_SOFTWARE:
        if (gdb->client.swbreak)
            g_string_append(out, "swbreak:;");
        break;
    case GDB_HIT_HARDWARE:
        if (gdb->client.hwbreak)
            g_string_append(out, "hwbreak:;");
        break;
    case GDB_HIT_WATCH:
        g_string_append_printf(out, "%s:%" PRIx64 ";",
                               bp->kind == GDB_ACCESS_WATCH ? "awatch" : "watch", bp->addr);
        break;
    case GDB_HIT_NONE:
    case GDB_HIT_STEP:
        break;
    }
}

void gdb_send_stop(struct gdb *gdb)
{
    unsigned signal = signal_of(gdb->host.status(gdb->host.opaque));
    g_autoptr(GString) out = g_string_new(NULL);

    for (unsigned i = 0; i < cpu_count(gdb); i++) {
        if (hit_of(gdb, i) != GDB_HIT_NONE) {
            gdb->stop_cpu = i;
            signal = 5;
            break;
        }
    }
    g_string_printf(out, "T%02xthread:", signal);
    gdb_append_thread(gdb, out, gdb->stop_cpu);
    g_string_append_c(out, ';');
    append_hit(gdb, out, gdb->stop_cpu);
    clear_hit(gdb, gdb->stop_cpu);
    /* Where a client without Hg looks next. */
    gdb->client.g_cpu = gdb->stop_cpu;
    gdb->client.waiting = false;
    gdb_reply(gdb, out);
}

/*
 * Others that came to a breakpoint in the same moment run into it again; what a watchpoint
 * saw is over, and is reported when the guest should run on.
 */
static void forget_hits(struct gdb *gdb)
{
    for (unsigned i = 0; i < cpu_count(gdb); i++) {
        if (hit_of(gdb, i) != GDB_HIT_WATCH)
            clear_hit(gdb, i);
    }
}

void gdb_stopped(struct gdb *gdb)
{
    for (unsigned i = 0; i < cpu_count(gdb); i++)
        gdb->cpus[i].stepping = false;
    if (gdb->connected && gdb->client.waiting)
        gdb_send_stop(gdb);
    forget_hits(gdb);
}

void gdb_was_reset(struct gdb *gdb)
{
    for (unsigned i = 0; i < cpu_count(gdb); i++)
        clear_hit(gdb, i);
    gdb_reinsert_breakpoints(gdb);
}

/* --- Running --- */

static void say_console(struct gdb *gdb)
{
    if (gdb->console->len)
        gdb_send_console(gdb, gdb->console->str);
    g_string_set_size(gdb->console, 0);
}

/* The answer is the next stop's reply; a machine that can't run stops at once. */
static void run(struct gdb *gdb, uint64_t cpus, uint64_t steps)
{
    g_autoptr(GError) error = NULL;

    gdb->client.waiting = true;
    say_console(gdb);
    if (is_running(gdb))
        return;
    if (gdb_has_hit(gdb)) {
        gdb_send_stop(gdb);
        return;
    }
    for (unsigned i = 0; i < cpu_count(gdb); i++)
        gdb->cpus[i].stepping = (steps >> i & 1) && (gdb->client.step_flags & GDB_STEP_ENABLE);
    if (gdb->host.resume(gdb->host.opaque, cpus, &error))
        return;
    g_string_printf(gdb->console, "cloister: %s\n", error->message);
    say_console(gdb);
    gdb_stopped(gdb);
}

/* [ADDR] of c and s: go on there. */
static bool take_address(struct gdb *gdb, struct gdb_text *text)
{
    struct kvm_vcpu *vcpu = gdb->host.cpu(gdb->host.opaque, gdb->client.g_cpu);
    struct gdb_registers regs;
    uint64_t addr;

    if (text->p == text->end)
        return true;
    if (!gdb_take_number(text, &addr) || text->p != text->end ||
        !gdb_registers_load(vcpu, &regs, NULL))
        return false;
    regs.regs.rip = addr;
    regs.regs_changed = true;
    return gdb_registers_store(vcpu, &regs, NULL);
}

/* SIG[;ADDR] of C and S: a signal means nothing to a machine. */
static bool take_signal(struct gdb_text *text)
{
    uint64_t signal;

    if (!gdb_take_number(text, &signal))
        return false;
    return text->p == text->end || gdb_take(text, ';');
}

static void run_at(struct gdb *gdb, struct gdb_text *text, bool step)
{
    bool with_signal = text->p[-1] == 'C' || text->p[-1] == 'S';
    uint64_t mask = mask_of(gdb, gdb->client.c_thread);

    if ((with_signal && !take_signal(text)) || !take_address(gdb, text)) {
        gdb_reply_error(gdb, GDB_E_INVALID, NULL);
        return;
    }
    /* Without vCont a step is the chosen thread's, and c is everybody's. */
    if (!step)
        run(gdb, all_cpus(gdb), 0);
    else if (gdb->client.c_thread == GDB_THREAD_ALL || gdb->client.c_thread == GDB_THREAD_ANY)
        run(gdb, all_cpus(gdb), 1ULL << gdb->client.g_cpu);
    else
        run(gdb, mask, mask);
}

void gdb_cmd_continue(struct gdb *gdb, struct gdb_text *text)
{
    run_at(gdb, text, false);
}

void gdb_cmd_step(struct gdb *gdb, struct gdb_text *text)
{
    run_at(gdb, text, true);
}

/* One ;ACTION[:THREAD] after the other: the first that names a thread is what it does. */
static bool take_action(struct gdb *gdb, struct gdb_text *text, uint64_t *decided, uint64_t *cpus,
                        uint64_t *steps)
{
    int thread = GDB_THREAD_ALL;
    uint64_t mask, signal;
    char action;

    if (!gdb_take(text, ';') || text->p == text->end)
        return false;
    action = *text->p++;
    if (!strchr("cCsSt", action) || !action ||
        ((action == 'C' || action == 'S') && !gdb_take_number(text, &signal)) ||
        (gdb_take(text, ':') && !gdb_take_thread(text, &thread)))
        return false;
    mask = mask_of(gdb, thread) & ~*decided;
    if (!mask_of(gdb, thread))
        return false;
    *decided |= mask;
    if (action != 't')
        *cpus |= mask;
    if (action == 's' || action == 'S')
        *steps |= mask;
    return true;
}

void gdb_cmd_vcont(struct gdb *gdb, struct gdb_text *text)
{
    uint64_t decided = 0, cpus = 0, steps = 0;

    if (gdb_take(text, '?') && text->p == text->end) {
        gdb_reply_text(gdb, "vCont;c;C;s;S;t");
        return;
    }
    while (text->p < text->end) {
        if (!take_action(gdb, text, &decided, &cpus, &steps)) {
            gdb_reply_error(gdb, GDB_E_INVALID, NULL);
            return;
        }
    }
    if (!cpus)
        gdb_reply_error(gdb, GDB_E_INVALID, "vCont: no thread would run");
    else
        run(gdb, cpus, steps);
}
