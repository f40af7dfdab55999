/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the command line to an exit status; the only caller of exit() is the end of
 * main().  What is started here is taken down again in reverse order, whether the
 * guest ended or something couldn't be had.
 */
#include "accel.h"
#include "chardev.h"
#include "config.h"
#include "debug_object.h"
#include "debugcon.h"
#include "disk.h"
#include "error.h"
#include "machine.h"
#include "process.h"
#include "sev_object.h"
#include "trace.h"
#include "vfio_container.h"
#include "virtio_devices.h"
#include "vmcoreinfo.h"

#include <stdio.h>
#include <stdlib.h>

static bool setup_trace(const struct machine_config *cfg, GError **error)
{
    int ret;

    if (cfg->trace_file && (ret = trace_open(cfg->trace_file)) < 0) {
        error_set_errno(error, ret, "-D: %s", cfg->trace_file);
        return false;
    }
    for (guint i = 0; i < cfg->traces->len; i++) {
        const char *pattern = g_ptr_array_index(cfg->traces, i);

        if (!trace_enable(pattern)) {
            error_set(error, "-trace: no event matches '%s': -trace help lists them", pattern);
            return false;
        }
    }
    return true;
}

/* QMP has these words of QEMU's as they are; a person is told what would work as well. */
static void hint_object(GError **error)
{
    static const struct {
        const char *start, *hint;
    } hints[] = {
        { "Parameter 'qom-type'", "-object help lists the types" },
        { "Parameter 'id' is missing", "add id=NAME" },
        { "Parameter 'id'", "a letter, then letters, digits, '-', '.' and '_'" },
        { "Duplicate ID", "another id=" },
        { "Parameter 'size'", "size=512M or the like; in JSON a number of bytes" },
        { "Parameter '", "-object TYPE,help lists what it takes" },
        { "Invalid parameter", "-object TYPE,help lists what it takes" },
        { "JSON parse error", "-object '{\"qom-type\": TYPE, \"id\": ID, ...}'" },
    };

    for (size_t i = 0; error && i < G_N_ELEMENTS(hints); i++) {
        if (g_str_has_prefix((*error)->message, hints[i].start)) {
            error_hint(error, hints[i].hint);
            return;
        }
    }
}

static bool make_objects(const struct machine_config *cfg, GError **error)
{
    for (guint i = 0; i < cfg->objects->len; i++) {
        if (!object_add_option(g_ptr_array_index(cfg->objects, i), error)) {
            hint_object(error);
            g_prefix_error(error, "-object: ");
            return false;
        }
    }
    return true;
}

/* *ret_reason: which KVM it runs on and why; caller frees. */
static bool make_machine(const struct machine_config *cfg, struct machine **ret,
                         char **ret_reason, GError **error)
{
    const struct kvm_driver *driver;
    struct kvm_needs needs;

    if (!machine_needs(cfg, &needs, error) ||
        !accel_choose(cfg, &needs, &driver, ret_reason, error))
        return false;
    *ret = machine_new(cfg, driver, &needs, error);
    return *ret != NULL;
}

/* --- Character devices, and what is connected to them --- */

static bool make_monitor(struct machine *m, struct chardev *chr, enum monitor_mode mode,
                         const char *option, GError **error)
{
    if (monitor_new(chr, mode, machine_monitor_vm(m), error))
        return true;
    g_prefix_error(error, "%s: ", option);
    return false;
}

/* "mon:" wants a person's monitor beside what it was given for. */
static bool make_wanted_monitor(struct machine *m, struct chardev *chr, const char *option,
                                GError **error)
{
    return !chardev_wants_monitor(chr) || make_monitor(m, chr, MONITOR_HMP, option, error);
}

static bool connect_serials(const struct machine_config *cfg, struct machine *m, GError **error)
{
    for (guint i = 0; i < cfg->serials->len; i++) {
        g_autofree char *label = g_strdup_printf("serial%u", i);
        struct chardev *chr = chardev_new(label, g_ptr_array_index(cfg->serials, i), error);

        if (!chr || !machine_connect_serial(m, i, chr, error)) {
            g_prefix_error(error, "-serial: ");
            return false;
        }
        if (!make_wanted_monitor(m, chr, "-serial", error))
            return false;
    }
    return true;
}

static bool make_monitors(const struct machine_config *cfg, struct machine *m, GError **error)
{
    for (guint i = 0; i < cfg->monitors->len; i++) {
        const struct monitor_option *mon = g_ptr_array_index(cfg->monitors, i);
        g_autofree char *label = g_strdup_printf("compat_monitor%u", i);
        struct chardev *chr = chardev_new(label, mon->chardev, error);

        if (!chr) {
            g_prefix_error(error, "%s: ", mon->option);
            return false;
        }
        /* This one is it. */
        chardev_wants_monitor(chr);
        if (!make_monitor(m, chr, mon->mode, mon->option, error))
            return false;
    }
    return true;
}

static bool make_chardevs(const struct machine_config *cfg, struct machine *m, GError **error)
{
    for (guint i = 0; i < cfg->chardevs->len; i++) {
        if (!chardev_new_option(g_ptr_array_index(cfg->chardevs, i), error)) {
            g_prefix_error(error, "-chardev: ");
            return false;
        }
    }
    return connect_serials(cfg, m, error) && make_monitors(cfg, m, error);
}

/* --- Disks and devices --- */

/* -drive if=pflash is -machine pflash0= or pflash1=. */
static bool use_flash(struct machine_options *options, const struct drive_use *use, GError **error)
{
    char **units[] = { &options->pflash0, &options->pflash1 };
    int unit = use->unit >= 0 ? use->unit : *units[0] ? 1 : 0;

    if (*units[unit]) {
        error_set(error, "if=pflash: unit %d is there already; there are two", unit);
        return false;
    }
    *units[unit] = g_strdup(use->node);
    return true;
}

/* The images, before the machine, which may start in one. virtio: names of those to be disks. */
static bool make_images(struct machine_config *cfg, GPtrArray *virtio, GError **error)
{
    for (guint i = 0; i < cfg->blockdevs->len; i++) {
        const char *option = g_ptr_array_index(cfg->blockdevs, i);

        if (!disk_add_option(option, error)) {
            g_prefix_error(error, "-blockdev: ");
            return false;
        }
    }
    for (guint i = 0; i < cfg->drives->len; i++) {
        struct drive_use use;

        if (!disk_add_drive(g_ptr_array_index(cfg->drives, i), &use, error) ||
            (use.flash && !use_flash(&cfg->machine, &use, error))) {
            g_prefix_error(error, "-drive: ");
            return false;
        }
        if (use.virtio)
            g_ptr_array_add(virtio, g_strdup(use.node));
    }
    return true;
}

/* -debugcon: an isa-debugcon on a character device of its own. */
static bool make_debugcon(const struct machine_config *cfg, struct machine *m, GError **error)
{
    struct chardev *chr = chardev_new("debugcon", cfg->debugcon, error);
    g_autofree char *device = NULL;

    if (!chr)
        return false;
    device = g_strdup_printf("isa-debugcon,chardev=%s,iobase=%u", chardev_label(chr),
                             cfg->debugcon_port);
    return machine_add_device(m, device, error) &&
           make_wanted_monitor(m, chr, "-debugcon", error);
}

static bool make_devices(const struct machine_config *cfg, struct machine *m,
                         const GPtrArray *virtio, GError **error)
{
    for (guint i = 0; i < virtio->len; i++) {
        g_autofree char *device = g_strdup_printf("virtio-blk-pci,drive=%s",
                                                  (char *)g_ptr_array_index(virtio, i));

        if (!machine_add_device(m, device, error)) {
            g_prefix_error(error, "-drive: ");
            return false;
        }
    }
    if (cfg->debugcon && !make_debugcon(cfg, m, error)) {
        g_prefix_error(error, "-debugcon: ");
        return false;
    }
    for (guint i = 0; i < cfg->devices->len; i++) {
        const char *option = g_ptr_array_index(cfg->devices, i);

        if (!machine_add_device(m, option, error)) {
            g_prefix_error(error, "-device %s: ", option);
            return false;
        }
    }
    return true;
}

/* --- Running --- */

static void end_by_signal(void *opaque)
{
    machine_end(opaque, "host-signal");
}

static void end_by_key(void *opaque)
{
    machine_end(opaque, "host-ui");
}

/* Not by accident: whoever starts a VM that can be looked into is told. */
static void say_debugging(const struct debug *dbg)
{
    g_autofree char *notice = debug_notice(dbg);

    if (notice)
        fprintf(stderr, "cloister: %s\n", notice);
}

static bool serve_gdb(const struct machine_config *cfg, struct machine *m, GError **error)
{
    if (!cfg->gdb || machine_serve_gdb(m, cfg->gdb, error))
        return true;
    g_prefix_error(error, "-gdb: ");
    return false;
}

static bool run_machine(struct machine_config *cfg, GError **error)
{
    g_autoptr(GPtrArray) virtio = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *reason = NULL;
    struct machine *m = NULL;
    bool ok;

    ok = make_objects(cfg, error) && make_images(cfg, virtio, error) &&
         make_machine(cfg, &m, &reason, error) && make_chardevs(cfg, m, error) &&
         make_devices(cfg, m, virtio, error);
    if (ok) {
        signals_watch(end_by_signal, m);
        /* Only now: what fails before says one line, its own. */
        fprintf(stderr, "cloister: %s\n", reason);
        say_debugging(machine_monitor_vm(m)->debug);
        chardev_set_quit(end_by_key, m);
        ok = serve_gdb(cfg, m, error) && daemonize_ready(error) && machine_run(m, error);
    }
    monitor_free_all();
    machine_free(m);
    disk_free_all();
    chardev_free_all();
    object_delete_all();
    return ok;
}

/* What happens before there is anything to take down but the pid file. */
static bool run(int argc, char **argv, struct machine_config *cfg, int *status, GError **error)
{
    bool parent = false, ok;

    if (!options_parse(argc, argv, cfg, error))
        return false;
    if (cfg->print) {
        fputs(cfg->print, stdout);
        return true;
    }
    if (cfg->daemonize && !daemonize_start(&parent, status, error))
        return false;
    if (parent)
        return true;
    if (!setup_trace(cfg, error) || !signals_catch(error))
        return false;
    chardev_set_give_up(signals_fd());
    if (cfg->pidfile && !pidfile_create(cfg->pidfile, error))
        return false;
    ok = run_machine(cfg, error);
    pidfile_remove();
    /* What a signal cut short isn't a failure. */
    if (!ok && signals_came()) {
        g_clear_error(error);
        ok = true;
    }
    return ok;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    struct machine_config cfg;
    int status = EXIT_SUCCESS;

    memory_register_backends();
    memory_register_vfio_container();
    debug_register_objects();
    sev_register_object();
    virtio_register_devices();
    device_type_register(&debugcon_type);
    device_type_register(&vmcoreinfo_type);
    config_init(&cfg);
    if (!run(argc, argv, &cfg, &status, &error)) {
        fprintf(stderr, "cloister: %s\n", error->message);
        status = EXIT_FAILURE;
    }
    config_clear(&cfg);
    return status;
}
