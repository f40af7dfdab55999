/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line: QEMU's spelling, one table.  A row is what the parser, -help
 * and the manual's test read.
 */
#include "options.h"

#include "debugcon.h"
#include "error.h"

#include <string.h>

#define FIELD(member_) .offset = offsetof(struct machine_config, member_)

static const struct option_row option_rows[] = {
    { "machine", OPTION_CALL, "[type=]q35[,PROP=VALUE,...]",
      "the board; -machine q35,help lists its properties", .set = option_set_machine },
    { "M", OPTION_CALL, "[type=]q35[,PROP=VALUE,...]", "as -machine", .set = option_set_machine },
    { "accel", OPTION_CALL, "kvm|soft[,memory-attributes=vm|vm2|guest-memfd]",
      "which KVM: the system's or softkvm; of several the first that can do what was asked",
      .set = option_set_accel },
    { "enable-kvm", OPTION_CALL, NULL, "as -accel kvm", .set = option_set_accel },
    { "m", OPTION_CALL, "[size=]SIZE[,maxmem=SIZE][,slots=N]",
      "RAM, in MiB without a suffix (default 128M); with memory devices up to maxmem",
      .set = option_set_memory },
    { "smp", OPTION_CALL, "[cpus=]N[,maxcpus=N][,sockets=N][,dies=N][,cores=N][,threads=N]",
      "virtual CPUs, up to 64, cores of one socket", .set = option_set_smp },
    { "cpu", OPTION_CALL, "host|max", "all that this KVM offers, which is the default",
      .set = option_set_cpu },
    { "object", OPTION_CALL, "TYPE,id=ID[,PROP=VALUE,...]",
      "make an object (memory-backend-*, ...); -object help lists types",
      .set = option_set_object },
    { "kernel", OPTION_STRING, "FILE", "Linux bzImage, or an ELF file with a PVH entry",
      FIELD(kernel) },
    { "initrd", OPTION_STRING, "FILE", "initial RAM disk for the kernel", FIELD(initrd) },
    { "append", OPTION_STRING, "TEXT", "the kernel's command line", FIELD(append) },
    { "bios", OPTION_STRING, "FILE",
      "firmware, which then boots the disk or the kernel: bios-256k.bin, OVMF.fd", FIELD(bios) },
    { "pflash", OPTION_CALL, "FILE", "as -drive if=pflash,format=raw,file=FILE",
      .set = option_set_pflash },
    { "fw_cfg", OPTION_CALL, "[name=]NAME,string=TEXT|file=FILE",
      "an item for firmware and guest to read; opt/... are the user's names",
      .set = option_set_fw_cfg },
    { "debugcon", OPTION_STRING, "DEV", "firmware's debug port leads there, as -serial",
      FIELD(debugcon) },
    { "global", OPTION_CALL, "isa-debugcon.iobase=PORT|q35-pcihost.smm-ranges=on|off",
      "the port of -debugcon: 0x402 for SeaBIOS and OVMF (default 0xe9); memory for SMM alone",
      .set = option_set_global },
    { "chardev", OPTION_CALL, "BACKEND,id=ID[,PROP=VALUE,...]",
      "a byte stream: stdio, socket, file, null, pty; -chardev help lists properties",
      .set = option_set_chardev },
    { "drive", OPTION_CALL, "file=FILE,format=raw,if=none|virtio|pflash[,id=ID][,readonly=on|off]",
      "a disk image; if=virtio also makes the disk; if=pflash[,unit=0|1]: it is flash memory",
      .set = option_set_drive },
    { "blockdev", OPTION_CALL, "driver=file|raw,node-name=NAME[,PROP=VALUE,...]",
      "a disk image in QEMU's newer spelling, JSON too", .set = option_set_blockdev },
    { "device", OPTION_CALL, "TYPE[,id=ID][,bus=BUS][,PROP=VALUE,...]",
      "add a device; -device help lists types", .set = option_set_device },
    { "serial", OPTION_CALL, "DEV",
      "where the next serial port goes: stdio, unix:PATH, tcp:HOST:PORT, file:PATH, null, "
      "chardev:ID, none; mon: before it adds the monitor", .set = option_set_serial },
    { "monitor", OPTION_CALL, "DEV", "a monitor for people there; none: none by default",
      .set = option_set_monitor },
    { "qmp", OPTION_CALL, "DEV", "a monitor for programs there", .set = option_set_monitor },
    { "qmp-pretty", OPTION_CALL, "DEV", "as -qmp, with indented replies",
      .set = option_set_monitor },
    { "mon", OPTION_CALL, "[chardev=]ID[,mode=readline|control][,pretty=on|off]",
      "a monitor on a -chardev", .set = option_set_mon },
    { "nographic", OPTION_FLAG, NULL,
      "first serial port and monitor on stdio, which is the default", FIELD(nographic) },
    { "display", OPTION_CALL, "none", "no display (there is none anyway), nothing on stdio",
      .set = option_set_display },
    { "nodefaults", OPTION_FLAG, NULL, "no serial port and no monitor that isn't asked for",
      FIELD(nodefaults) },
    { "no-user-config", OPTION_ONLY, NULL, "nothing: there are no configuration files" },
    { "vga", OPTION_ONLY, "none", "nothing: there is no display adapter", .only = "none" },
    { "net", OPTION_ONLY, "none", "nothing: there is no network card", .only = "none" },
    { "nic", OPTION_ONLY, "none", "nothing: there is no network card", .only = "none" },
    { "name", OPTION_CALL, "[guest=]NAME", "the VM's name", .set = option_set_name },
    { "uuid", OPTION_CALL, "UUID", "the VM's UUID", .set = option_set_uuid },
    { "pidfile", OPTION_STRING, "FILE", "write the process id there", FIELD(pidfile) },
    { "daemonize", OPTION_FLAG, NULL, "go to the background once the VM is ready",
      FIELD(daemonize) },
    { "S", OPTION_FLAG, NULL, "don't start the CPUs: cont does", FIELD(stopped) },
    { "gdb", OPTION_CALL, "DEV",
      "serve debuggers there: tcp:[HOST]:PORT (loopback without a host), unix:PATH, none",
      .set = option_set_gdb },
    { "s", OPTION_CALL, NULL, "as -gdb tcp::1234", .set = option_set_gdb },
    { "no-reboot", OPTION_FLAG, NULL, "end when the guest reboots", FIELD(no_reboot) },
    { "no-shutdown", OPTION_FLAG, NULL, "stay, stopped, when the guest powers off",
      FIELD(no_shutdown) },
    { "trace", OPTION_CALL, "[enable=]PATTERN[,file=FILE]",
      "trace events; -trace help lists them", .set = option_set_trace },
    { "d", OPTION_CALL, "trace:PATTERN[,...]", "as -trace, in QEMU's other spelling",
      .set = option_set_log },
    { "D", OPTION_STRING, "FILE", "where trace lines go instead of stderr", FIELD(trace_file) },
    { "help", OPTION_CALL, NULL, "this text", .set = option_set_help },
    { "h", OPTION_CALL, NULL, "as -help", .set = option_set_help },
    { "version", OPTION_CALL, NULL, "the version", .set = option_set_version },

    { "hda", OPTION_REFUSED, "FILE", "there are no IDE disks: -drive file=FILE,format=raw,if=virtio" },
    { "cdrom", OPTION_REFUSED, "FILE",
      "there are no CD drives: -drive file=FILE,format=raw,if=virtio,readonly=on" },
    { "netdev", OPTION_REFUSED, "...", "there are no network cards yet: leave it out" },
    { "vnc", OPTION_REFUSED, "...", "there is no display: use -serial" },
    { "incoming", OPTION_REFUSED, "...", "there is no migration: start the guest anew" },
    { "loadvm", OPTION_REFUSED, "...", "there are no snapshots: start the guest anew" },
    { "numa", OPTION_REFUSED, "...", "there is one NUMA node: leave it out" },
};

static const struct option_row *find_row(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(option_rows); i++) {
        if (strcmp(option_rows[i].name, name) == 0)
            return &option_rows[i];
    }
    return NULL;
}

char *options_help(void)
{
    GString *text = g_string_new("usage: cloister [OPTION]...\n\n"
                                 "Run a virtual machine whose memory may be private.\n\n");

    for (size_t i = 0; i < G_N_ELEMENTS(option_rows); i++) {
        const struct option_row *row = &option_rows[i];

        if (row->kind == OPTION_REFUSED)
            continue;
        g_string_append_printf(text, "-%s%s%s\n        %s\n", row->name, row->arg ? " " : "",
                               row->arg ? row->arg : "", row->help);
    }
    return g_string_free(text, FALSE);
}

static bool apply(struct machine_config *cfg, const struct option_row *row, const char *value,
                  GError **error)
{
    void *field = (char *)cfg + row->offset;

    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return true;
    case OPTION_STRING:
        g_free(*(char **)field);
        *(char **)field = g_strdup(value);
        return true;
    case OPTION_CALL:
        return row->set(cfg, row, value, error);
    case OPTION_ONLY:
        if (row->only && strcmp(value, row->only) != 0) {
            error_set(error, "'%s' is not there: %s", value, row->only);
            return false;
        }
        return true;
    case OPTION_REFUSED:
        break;
    }
    error_set(error, "%s", row->help);
    return false;
}

/* argv[*i], and its argument where it takes one. */
static bool parse_one(int argc, char **argv, int *i, struct machine_config *cfg, GError **error)
{
    const char *text = argv[*i], *value = NULL;
    const struct option_row *row;

    if (text[0] != '-' || !text[1]) {
        error_set(error, "'%s': what this file is has to be said: -kernel, or -drive file=...,format=raw,if=virtio", text);
        return false;
    }
    row = find_row(text[1] == '-' ? text + 2 : text + 1);
    if (!row) {
        error_set(error, "%s: invalid option: -help lists those that there are", text);
        return false;
    }
    if (row->arg) {
        if (*i + 1 >= argc) {
            /* An option that can't be had anyway is better explained than completed. */
            if (row->kind == OPTION_REFUSED)
                error_set(error, "-%s: %s", row->name, row->help);
            else
                error_set(error, "-%s: requires an argument: %s", row->name, row->arg);
            return false;
        }
        value = argv[++*i];
    }
    if (!apply(cfg, row, value, error)) {
        g_prefix_error(error, "-%s: ", row->name);
        return false;
    }
    return true;
}

/* What -machine says once more in another place, and what needs two options to judge. */
static bool check_together(struct machine_config *cfg, GError **error)
{
    struct machine_options *m = &cfg->machine;
    char **moved[][2] = {
        { &m->kernel, &cfg->kernel }, { &m->initrd, &cfg->initrd }, { &m->append, &cfg->append },
        { &m->firmware, &cfg->bios },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(moved); i++) {
        if (*moved[i][0]) {
            g_free(*moved[i][1]);
            *moved[i][1] = g_steal_pointer(moved[i][0]);
        }
    }
    if (cfg->initrd && !cfg->kernel) {
        error_set(error, "-initrd: only with a kernel: add -kernel FILE");
        return false;
    }
    if (cfg->append && !cfg->kernel) {
        error_set(error, "-append: only with a kernel: add -kernel FILE");
        return false;
    }
    if (cfg->serials->len > MACHINE_MAX_SERIALS) {
        error_set(error, "-serial: %u ports: the board has %d", cfg->serials->len,
                  MACHINE_MAX_SERIALS);
        return false;
    }
    if (cfg->daemonize && cfg->nographic) {
        error_set(error, "-daemonize: not together with -nographic: use -display none");
        return false;
    }
    return true;
}

static bool serial_on_stdio(const struct machine_config *cfg)
{
    for (guint i = 0; i < cfg->serials->len; i++) {
        if (g_str_has_suffix(g_ptr_array_index(cfg->serials, i), "stdio"))
            return true;
    }
    return false;
}

/* Serial port and monitor where nothing was said, as QEMU: -nographic means stdio for both. */
static void add_defaults(struct machine_config *cfg)
{
    bool want_serial = !cfg->serials->len && !cfg->no_serial && !cfg->nodefaults;
    bool want_monitor = !cfg->monitors->len && !cfg->no_monitor && !cfg->nodefaults;

    if (cfg->display_none || cfg->daemonize)
        return;
    if (want_serial) {
        g_ptr_array_add(cfg->serials, g_strdup(want_monitor ? "mon:stdio" : "stdio"));
    } else if (want_monitor && cfg->nographic && !serial_on_stdio(cfg)) {
        struct monitor_option *mon = g_new0(struct monitor_option, 1);

        mon->option = "-nographic";
        mon->mode = MONITOR_HMP;
        mon->chardev = g_strdup("stdio");
        g_ptr_array_add(cfg->monitors, mon);
    }
}

bool options_parse(int argc, char **argv, struct machine_config *cfg, GError **error)
{
    for (int i = 1; i < argc; i++) {
        if (!parse_one(argc, argv, &i, cfg, error))
            return false;
        if (cfg->print)
            return true;
    }
    if (!check_together(cfg, error))
        return false;
    add_defaults(cfg);
    return true;
}

static void monitor_option_free(gpointer data)
{
    struct monitor_option *mon = data;

    g_free(mon->chardev);
    g_free(mon);
}

void config_init(struct machine_config *cfg)
{
    memset(cfg, 0, sizeof(*cfg));
    cfg->accels = g_ptr_array_new_with_free_func(g_free);
    cfg->soft.fails = g_ptr_array_new_with_free_func(g_free);
    cfg->objects = g_ptr_array_new_with_free_func(g_free);
    cfg->chardevs = g_ptr_array_new_with_free_func(g_free);
    cfg->drives = g_ptr_array_new_with_free_func(g_free);
    cfg->blockdevs = g_ptr_array_new_with_free_func(g_free);
    cfg->devices = g_ptr_array_new_with_free_func(g_free);
    cfg->serials = g_ptr_array_new_with_free_func(g_free);
    cfg->fw_cfg = g_ptr_array_new_with_free_func(g_free);
    cfg->traces = g_ptr_array_new_with_free_func(g_free);
    cfg->monitors = g_ptr_array_new_with_free_func(monitor_option_free);
    cfg->cpus = 1;
    cfg->debugcon_port = DEBUGCON_PORT;
    cfg->machine.mem_merge = cfg->machine.dump_guest_core = true;
}

void config_clear(struct machine_config *cfg)
{
    struct machine_options *m = &cfg->machine;
    char *strings[] = {
        cfg->trace_file, cfg->kernel, cfg->initrd, cfg->append, cfg->bios, cfg->debugcon,
        cfg->name, cfg->uuid, cfg->gdb, cfg->pidfile, cfg->print, m->accel, m->memory_backend,
        m->confidential_guest_support, m->debug, m->kernel, m->initrd, m->append, m->firmware,
        m->pflash0, m->pflash1, cfg->soft.pin, cfg->soft.sev_platform,
    };
    GPtrArray *lists[] = {
        cfg->accels, cfg->soft.fails, cfg->objects, cfg->chardevs, cfg->drives, cfg->blockdevs,
        cfg->devices, cfg->serials, cfg->traces, cfg->monitors, cfg->fw_cfg,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
        g_free(strings[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
        g_ptr_array_free(lists[i], TRUE);
}
