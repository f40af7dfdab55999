/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The run states and what moves between them, with QMP's events in QEMU's order: an
 * event comes before the reply to the command that caused it.
 */
#include "machine_internal.h"

#include "error.h"
#include "sev_client.h"
#include "trace.h"

#include <json-c/json.h>
#include <stdio.h>

static const char *const state_names[] = {
    [STATE_PRELAUNCH] = "prelaunch", [STATE_RUNNING] = "running", [STATE_PAUSED] = "paused",
    [STATE_SHUTDOWN] = "shutdown", [STATE_INTERNAL_ERROR] = "internal-error",
    [STATE_GUEST_PANICKED] = "guest-panicked", [STATE_DEBUG] = "debug",
};

static void set_state(struct machine *m, enum run_state state)
{
    trace(TRACE_RUNSTATE_SET, "%s -> %s", state_names[m->state], state_names[state]);
    m->state = state;
}

/* SHUTDOWN and RESET say who wanted it. */
static void emit_cause(const char *event, bool guest, const char *reason)
{
    struct json_object *data = json_object_new_object();

    json_object_object_add(data, "guest", json_object_new_boolean(guest));
    json_object_object_add(data, "reason", json_object_new_string(reason));
    monitor_event(event, data);
}

void run_state_park_all(struct machine *m)
{
    for (unsigned i = 0; i < m->nr_cpus; i++)
        kvm_vcpu_park(m->cpus[i].vcpu);
    for (unsigned i = 0; i < m->nr_cpus; i++)
        kvm_vcpu_wait_parked(m->cpus[i].vcpu);
}

static void resume_some(struct machine *m, uint64_t cpus)
{
    for (unsigned i = 0; i < m->nr_cpus; i++) {
        if (cpus >> i & 1)
            kvm_vcpu_resume(m->cpus[i].vcpu);
    }
}

static void resume_all(struct machine *m)
{
    resume_some(m, UINT64_MAX);
}

static void stop_in(struct machine *m, enum run_state state)
{
    bool was_running = m->state == STATE_RUNNING;

    run_state_park_all(m);
    /* What is stopped looks the same however often one looks: requests end first. */
    devices_pause(m->devices);
    gdb_disarm(m->gdb);
    set_state(m, state);
    if (was_running)
        monitor_event("STOP", NULL);
    gdb_stopped(m->gdb);
}

bool run_state_start_some(struct machine *m, uint64_t cpus, GError **error)
{
    if (m->state == STATE_RUNNING)
        return true;
    if (!m->boot && !m->firmware) {
        error_set(error, "There is nothing to boot: start with -kernel or -bios");
        return false;
    }
    if (m->state == STATE_SHUTDOWN || m->state == STATE_INTERNAL_ERROR) {
        error_set(error, "Resetting the Virtual Machine is required");
        return false;
    }
    if ((m->sev && !sev_object_finish(m->vm, error)) || !gdb_arm(m->gdb, error))
        return false;
    set_state(m, STATE_RUNNING);
    monitor_event("RESUME", NULL);
    devices_resume(m->devices);
    resume_some(m, cpus);
    return true;
}

bool run_state_start(struct machine *m, GError **error)
{
    return run_state_start_some(m, UINT64_MAX, error);
}

/* --- The guest or somebody outside ends or restarts it --- */

static void end(struct machine *m)
{
    run_state_park_all(m);
    g_main_loop_quit(m->loop);
}

static void shut_down(struct machine *m, bool guest, const char *reason)
{
    emit_cause("SHUTDOWN", guest, reason);
    if (m->cfg->no_shutdown)
        stop_in(m, STATE_SHUTDOWN);
    else
        end(m);
}

/* Whoever quits the program means it, -no-shutdown or not. */
void machine_end(struct machine *m, const char *reason)
{
    emit_cause("SHUTDOWN", false, reason);
    end(m);
}

/*
 * As switched on: vCPUs, controllers and devices, memory emptied, loaded and launched again; that
 * of a SEV guest stays, which its firmware has to reckon with.
 */
static bool rebuild(struct machine *m, GError **error)
{
    enum run_state state = m->state;
    int ret = 0;

    q35_reset(m->board);
    for (unsigned i = 0; i < m->nr_cpus && ret == 0; i++)
        ret = vcpu_state_restore(m->cpus[i].vcpu, m->cpus[i].power_on);
    if (ret == 0)
        ret = irqchip_state_restore(m->vm, m->irqchip_power_on);
    if (ret < 0) {
        error_set_errno(error, ret, "cannot reset the processors");
        return false;
    }
    if (m->sev ? !memory_relaunch(m->mem, error)
               : !memory_reset(m->mem, error) || !machine_load(m, error))
        return false;
    /* Nothing runs yet, and so memory may be touched. */
    m->state = STATE_PRELAUNCH;
    gdb_was_reset(m->gdb);
    m->state = state;
    return true;
}

static void reset(struct machine *m, bool guest, const char *reason)
{
    g_autoptr(GError) error = NULL;
    bool was_running = m->state == STATE_RUNNING;
    /* Firmware is still what was measured, as nobody could write there; SEV-ES's registers aren't. */
    bool only_once = m->sev && (!m->firmware || m->vm->sev->policy & KVM_SEV_POLICY_ES);

    if (only_once && !m->cfg->no_reboot)
        fprintf(stderr, "cloister: a SEV guest can't be %s again, and so not reset: it ends\n",
                m->firmware ? "given its first registers" : "loaded and launched");
    if (m->cfg->no_reboot || only_once) {
        shut_down(m, guest, reason);
        return;
    }
    trace(TRACE_SYSTEM_RESET, "%s", reason);
    run_state_park_all(m);
    /* What a vCPU asked for on its way to being parked was before the reset. */
    __atomic_store_n(&m->requests, 0, __ATOMIC_RELEASE);
    devices_pause(m->devices);
    gdb_disarm(m->gdb);
    if (!rebuild(m, &error) || (was_running && !gdb_arm(m->gdb, &error))) {
        fprintf(stderr, "cloister: system_reset: %s\n", error->message);
        stop_in(m, STATE_INTERNAL_ERROR);
        return;
    }
    emit_cause("RESET", guest, reason);
    if (was_running) {
        devices_resume(m->devices);
        resume_all(m);
    } else {
        set_state(m, STATE_PRELAUNCH);
    }
}

static void panicked(struct machine *m)
{
    struct json_object *data = json_object_new_object();

    json_object_object_add(data, "action", json_object_new_string("pause"));
    monitor_event("GUEST_PANICKED", data);
    stop_in(m, STATE_GUEST_PANICKED);
}

/* --- Requests of vCPUs --- */

void machine_request(struct machine *m, enum machine_request request)
{
    __atomic_or_fetch(&m->requests, request, __ATOMIC_ACQ_REL);
    main_timer_arm(m->request_timer, 0);
}

/* Every path parks all vCPUs, as the one that asked has parked itself: run_state_start() sees all. */
static void carry_out_requests(void *opaque)
{
    struct machine *m = opaque;
    unsigned requests = __atomic_exchange_n(&m->requests, 0, __ATOMIC_ACQ_REL);

    if (requests & REQUEST_SHUTDOWN)
        shut_down(m, true, "guest-shutdown");
    else if (requests & REQUEST_RESET)
        reset(m, true, "guest-reset");
    else if (requests & REQUEST_PANIC)
        panicked(m);
    else if (requests & REQUEST_INTERNAL_ERROR)
        stop_in(m, STATE_INTERNAL_ERROR);
    else if ((requests & REQUEST_DEBUG) && m->state == STATE_RUNNING && gdb_has_hit(m->gdb))
        stop_in(m, STATE_DEBUG);
}

/* --- What monitors ask --- */

const char *run_state_name(const struct machine *m)
{
    return state_names[m->state];
}

void run_state_pause(struct machine *m)
{
    if (m->state == STATE_RUNNING)
        stop_in(m, STATE_PAUSED);
}

static const char *vm_status(void *opaque)
{
    return run_state_name(opaque);
}

static void vm_stop(void *opaque)
{
    run_state_pause(opaque);
}

static bool vm_cont(void *opaque, GError **error)
{
    return run_state_start(opaque, error);
}

static void vm_reset(void *opaque)
{
    reset(opaque, false, "host-qmp-system-reset");
}

static void vm_powerdown(void *opaque)
{
    struct machine *m = opaque;

    monitor_event("POWERDOWN", NULL);
    q35_power_button(m->board);
}

static bool vm_gdbserver(void *opaque, const char *device, GError **error)
{
    return machine_serve_gdb(opaque, device, error);
}

static void vm_quit(void *opaque)
{
    machine_end(opaque, "host-qmp-quit");
}

unsigned machine_cpu_count(void *opaque)
{
    return ((struct machine *)opaque)->nr_cpus;
}

struct kvm_vcpu *machine_cpu(void *opaque, unsigned index)
{
    struct machine *m = opaque;

    return index < m->nr_cpus ? m->cpus[index].vcpu : NULL;
}

static bool vm_secret_area(void *opaque, uint64_t *ret_gpa)
{
    struct machine *m = opaque;

    return m->firmware && firmware_secret_area(m->firmware, ret_gpa);
}

void run_state_init(struct machine *m)
{
    m->state = STATE_PRELAUNCH;
    m->request_timer = main_timer_new(carry_out_requests, m);
    m->monitor_vm = (struct monitor_vm){
        .opaque = m, .memory = m->mem, .kvm = m->vm, .status = vm_status, .stop = vm_stop,
        .cont = vm_cont, .reset = vm_reset, .powerdown = vm_powerdown, .quit = vm_quit,
        .gdbserver = vm_gdbserver, .secret_area = vm_secret_area,
        .cpu_count = machine_cpu_count, .cpu = machine_cpu, .name = m->cfg->name, .uuid = m->cfg->uuid,
        .devices = m->devices, .debug = m->debug,
    };
}
