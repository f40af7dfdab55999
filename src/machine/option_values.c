/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options whose values have a form of their own. */
#include "options.h"

#include "chardev.h"
#include "device.h"
#include "error.h"
#include "kvm_uapi.h"
#include "range.h"
#include "trace.h"
#include "property.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- -machine --- */

static const struct kvm_type kvm_types[] = {
    { "default", KVM_X86_DEFAULT_VM, KVM_TYPE_PLAIN },
    { "sw-protected-vm", KVM_X86_SW_PROTECTED_VM, KVM_TYPE_PRIVATE },
    { "sev", KVM_X86_SEV_VM, KVM_TYPE_ENCRYPTED },
};
static const char *const kvm_type_names[] = { "default", "sw-protected-vm", "sev", NULL };
enum { KVM_TYPE_ROW_DEFAULT, KVM_TYPE_ROW_SEV = 2 };
static const char *const irqchip_names[] = { "on", "off", "split", NULL };

const struct kvm_type *machine_kvm_type(const struct machine_options *options)
{
    /* As in QEMU the object alone says it, too. */
    if (options->kvm_type == KVM_TYPE_ROW_DEFAULT && options->confidential_guest_support)
        return &kvm_types[KVM_TYPE_ROW_SEV];
    return &kvm_types[options->kvm_type];
}

#define PROP(name_, kind_, member_, help_, ...)                                                \
    { .name = (name_), .kind = (kind_), .offset = offsetof(struct machine_options, member_),   \
      .help = (help_), ##__VA_ARGS__ }

const struct property machine_properties[] = {
    PROP("accel", PROP_STRING, accel, "kvm, soft, or a list: kvm:soft"),
    PROP("kvm-type", PROP_ENUM, kvm_type, "KVM's VM type; sw-protected-vm has private memory, sev encrypts it",
         .names = kvm_type_names),
    PROP("memory-backend", PROP_STRING, memory_backend, "id of the object that is the RAM"),
    PROP("confidential-guest-support", PROP_STRING, confidential_guest_support,
         "id of a sev-guest object"),
    PROP("debug", PROP_STRING, debug, "id of a debug object"),
    PROP("smm", PROP_ON_OFF_AUTO, smm, "system management mode for firmware; off in protected VMs"),
    PROP("kernel-irqchip", PROP_ENUM, kernel_irqchip, "interrupt controllers in KVM: on",
         .names = irqchip_names),
    PROP("kernel_irqchip", PROP_ENUM, kernel_irqchip, "as kernel-irqchip",
         .names = irqchip_names),
    PROP("usb", PROP_BOOL, usb, "USB: there is none"),
    PROP("graphics", PROP_BOOL, graphics, "graphics: there is none"),
    PROP("hpet", PROP_ON_OFF_AUTO, hpet, "HPET: there is none"),
    PROP("vmport", PROP_ON_OFF_AUTO, vmport, "VMware's I/O port: there is none"),
    PROP("mem-merge", PROP_BOOL, mem_merge, "may the host merge equal pages of RAM"),
    PROP("dump-guest-core", PROP_BOOL, dump_guest_core, "RAM in a core dump of this process"),
    PROP("kernel", PROP_STRING, kernel, "as -kernel"),
    PROP("initrd", PROP_STRING, initrd, "as -initrd"),
    PROP("append", PROP_STRING, append, "as -append"),
    PROP("firmware", PROP_STRING, firmware, "as -bios"),
    PROP("pflash0", PROP_STRING, pflash0, "node-name of firmware in flash memory"),
    PROP("pflash1", PROP_STRING, pflash1, "node-name of a second one, for its variables"),
    { .name = NULL },
};

static bool accel_known(const char *name)
{
    return strcmp(name, "kvm") == 0 || strcmp(name, "soft") == 0;
}

/* "kvm:soft" appended to the list of accelerators. */
static bool add_accels(struct machine_config *cfg, const char *text, GError **error)
{
    g_auto(GStrv) names = g_strsplit(text, ":", -1);

    if (!*names) {
        error_set(error, "invalid accelerator '': kvm or soft");
        return false;
    }
    for (char **name = names; *name; name++) {
        if (!accel_known(*name)) {
            error_set(error, "invalid accelerator '%s': kvm or soft", *name);
            return false;
        }
        g_ptr_array_add(cfg->accels, g_strdup(*name));
    }
    return true;
}

/* Parts of the board that are not there; asking for them is an error, not a surprise later. */
static bool machine_check(const struct machine_options *m, GError **error)
{
    const struct {
        bool asked;
        const char *what;
    } absent[] = {
        { m->kernel_irqchip != 0,
          "kernel-irqchip: the interrupt controllers are KVM's: kernel-irqchip=on" },
        { m->usb, "usb=on: there is no USB: usb=off" },
        { m->graphics, "graphics=on: there is no display: graphics=off" },
        { m->hpet == OOA_ON, "hpet=on: there is no HPET: hpet=off" },
        { m->vmport == OOA_ON, "vmport=on: there is no such port: vmport=off" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(absent); i++) {
        if (absent[i].asked) {
            error_set(error, "%s", absent[i].what);
            return false;
        }
    }
    return true;
}

static char *machine_list(void)
{
    return g_strdup("Supported machines are:\n"
                    "q35                  PC with Q35 host bridge, RAM of any kind (default)\n");
}

static char *machine_property_list(void)
{
    GString *text = g_string_new("q35 options:\n");

    for (const struct property *prop = machine_properties; prop->name; prop++) {
        g_autofree char *values = prop->kind == PROP_ENUM
            ? g_strjoinv("|", (char **)prop->names) : g_strdup(property_kind_name(prop->kind));

        g_string_append_printf(text, "  %s=<%s> - %s\n", prop->name, values, prop->help);
    }
    return g_string_free(text, FALSE);
}

static bool machine_set_one(struct machine_config *cfg, const struct option *opt, GError **error)
{
    bool found;

    if (strcmp(opt->key, "type") == 0) {
        if (strcmp(opt->value, "help") == 0) {
            cfg->print = machine_list();
            return true;
        }
        if (strcmp(opt->value, "q35") == 0)
            return true;
        error_set(error, "unsupported machine type '%s': q35", opt->value);
        return false;
    }
    if (strcmp(opt->key, "help") == 0) {
        cfg->print = machine_property_list();
        return true;
    }
    if (!property_set_text(machine_properties, &cfg->machine, opt->key, opt->value, &found,
                           error)) {
        if (!found) {
            g_clear_error(error);
            error_set(error, "Property 'q35-machine.%s' not found: -machine q35,help lists those "
                      "that there are", opt->key);
        } else {
            error_hint(error, "-machine q35,help lists what it takes");
        }
        return false;
    }
    if (strcmp(opt->key, "accel") == 0)
        return add_accels(cfg, opt->value, error);
    return true;
}

OPTION_SETTER(option_set_machine)
{
    g_autoptr(GPtrArray) list = option_parse(value, "type", error);

    if (!list)
        return false;
    for (guint i = 0; i < list->len; i++) {
        if (!machine_set_one(cfg, g_ptr_array_index(list, i), error))
            return false;
    }
    return machine_check(&cfg->machine, error);
}

/* --- -accel, -cpu, -m, -smp --- */

static const char *const soft_attributes_names[] = { "auto", "vm", "vm2", "guest-memfd", NULL };

const char *soft_attributes(const struct machine_config *cfg)
{
    int index = cfg->soft.memory_attributes;

    return index ? soft_attributes_names[index] : NULL;
}

static const struct property soft_properties[] = {
    { .name = "memory-attributes", .kind = PROP_ENUM, .names = soft_attributes_names,
      .offset = offsetof(struct soft_options, memory_attributes),
      .help = "which ioctl sets them: auto, vm, vm2 (the draft), guest-memfd" },
    { .name = "pin", .kind = PROP_STRING, .offset = offsetof(struct soft_options, pin),
      .help = "for tests: OFFSET[+SIZE][:TRIES] of each guest_memfd can't become private" },
    { .name = "sev-platform", .kind = PROP_STRING,
      .offset = offsetof(struct soft_options, sev_platform),
      .help = "a file of 32 bytes or more that SEV's platform has its keys from" },
    { .name = NULL },
};

/* "soft" with properties. */
static bool set_soft(struct machine_config *cfg, const char *value, GError **error)
{
    g_autoptr(GPtrArray) list = option_parse(value, "accel", error);

    for (guint i = 0; list && i < list->len; i++) {
        const struct option *opt = g_ptr_array_index(list, i);
        bool found = true;

        if (strcmp(opt->key, "accel") == 0) {
            if (!add_accels(cfg, opt->value, error))
                return false;
        } else if (strcmp(opt->key, "fail") == 0) {
            g_ptr_array_add(cfg->soft.fails, g_strdup(opt->value));
        } else if (!property_set_text(soft_properties, &cfg->soft, opt->key, opt->value, &found,
                                      error)) {
            if (!found) {
                g_clear_error(error);
                error_set(error, "Property 'soft-accel.%s' not found: memory-attributes, "
                          "sev-platform, fail, pin", opt->key);
            }
            return false;
        }
    }
    return list != NULL;
}

OPTION_SETTER(option_set_accel)
{
    if (!value)
        return add_accels(cfg, "kvm", error);
    if (strcmp(value, "help") == 0) {
        cfg->print = g_strdup("Accelerators supported:\n"
                              "kvm     the system's KVM, /dev/kvm\n"
                              "soft    softkvm, the same API in software: anywhere, slower;\n"
                              "        memory-attributes=auto|vm|vm2|guest-memfd\n"
                              "        sev-platform=FILE: what SEV has its keys from\n"
                              "        for tests: fail=WHAT:FIRST[-[LAST]][:ERRNO], "
                              "pin=OFFSET[+SIZE][:TRIES]\n");
        return true;
    }
    if (g_str_has_prefix(value, "soft,"))
        return set_soft(cfg, value, error);
    if (strchr(value, ',')) {
        error_set(error, "'%s': only soft has properties: -accel kvm or -accel soft,...", value);
        return false;
    }
    return add_accels(cfg, value, error);
}

OPTION_SETTER(option_set_cpu)
{
    if (strcmp(value, "help") == 0) {
        cfg->print = g_strdup("Available CPUs:\n"
                              "host    all that this KVM offers (default)\n"
                              "max     the same\n");
        return true;
    }
    if (strcmp(value, "host") == 0 || strcmp(value, "max") == 0)
        return true;
    error_set(error, "unable to find CPU model '%s': host or max, without features", value);
    return false;
}

/* A size whose bare number is in MiB. */
static bool parse_mib(const char *text, uint64_t *ret)
{
    uint64_t value;

    if (!size_parse(text, &value))
        return false;
    if (*text && g_ascii_isdigit(text[strlen(text) - 1]) && !g_str_has_prefix(text, "0x")) {
        if (value > UINT64_MAX / MIB)
            return false;
        value *= MIB;
    }
    *ret = value;
    return true;
}

static bool memory_size(const struct option *opt, uint64_t *ret, GError **error)
{
    if (!parse_mib(opt->value, ret)) {
        error_set(error, "'%s' is not a size: 512M, 4G or a number of MiB", opt->value);
        return false;
    }
    if (*ret == 0 || !is_aligned(*ret, GUEST_PAGE_SIZE)) {
        error_set(error, "'%s' is not a multiple of 4096 bytes above 0: 512M", opt->value);
        return false;
    }
    return true;
}

/* A number from least to 1024. */
static bool parse_number(const struct option *opt, unsigned least, unsigned *ret, GError **error)
{
    char *end;
    unsigned long number;

    errno = 0;
    number = strtoul(opt->value, &end, 10);
    if (!g_ascii_isdigit(*opt->value) || *end || errno || number < least || number > 1024) {
        error_set(error, "%s='%s' is not a number from %u: %s=1", opt->key, opt->value, least,
                  opt->key);
        return false;
    }
    *ret = number;
    return true;
}

/* What maxmem and slots say together, with QEMU's limit of slots. */
static bool check_max_memory(const struct machine_config *cfg, GError **error)
{
    enum { MAX_SLOTS = 256 };

    if (cfg->ram_slots > MAX_SLOTS) {
        error_set(error, "invalid number of memory slots: %u: up to %d", cfg->ram_slots,
                  MAX_SLOTS);
        return false;
    }
    if (cfg->ram_slots && !cfg->max_ram_size) {
        error_set(error, "missing 'maxmem' option value: slots= goes with maxmem=SIZE");
        return false;
    }
    if (cfg->ram_size && cfg->max_ram_size && cfg->max_ram_size < cfg->ram_size) {
        error_set(error, "invalid value of maxmem: maximum memory size (0x%" PRIx64 ") must be at "
                  "least the initial memory size (0x%" PRIx64 ")", cfg->max_ram_size,
                  cfg->ram_size);
        return false;
    }
    return true;
}

OPTION_SETTER(option_set_memory)
{
    g_autoptr(GPtrArray) list = option_parse(value, "size", error);
    bool ok = list != NULL;

    for (guint i = 0; ok && i < list->len; i++) {
        const struct option *opt = g_ptr_array_index(list, i);

        if (strcmp(opt->key, "size") == 0) {
            ok = memory_size(opt, &cfg->ram_size, error);
        } else if (strcmp(opt->key, "maxmem") == 0) {
            ok = memory_size(opt, &cfg->max_ram_size, error);
        } else if (strcmp(opt->key, "slots") == 0) {
            ok = parse_number(opt, 0, &cfg->ram_slots, error);
        } else {
            error_set(error, "Invalid parameter '%s': size, maxmem, slots", opt->key);
            ok = false;
        }
    }
    return ok && check_max_memory(cfg, error);
}

static bool parse_count(const struct option *opt, unsigned *ret, GError **error)
{
    return parse_number(opt, 1, ret, error);
}

struct smp_request {
    unsigned cpus, maxcpus, sockets, dies, cores, threads;
};

/* What is not given follows from the rest; cores take up what is left, as in QEMU since 6.2. */
static bool smp_resolve(struct machine_config *cfg, struct smp_request *r, GError **error)
{
    unsigned sockets = r->sockets ? r->sockets : 1, dies = r->dies ? r->dies : 1;
    unsigned threads = r->threads ? r->threads : 1;
    unsigned total = r->cpus ? r->cpus : r->maxcpus;
    unsigned cores = r->cores;

    if (!total)
        total = sockets * dies * (cores ? cores : 1) * threads;
    if (!cores)
        cores = MAX(total / (sockets * dies * threads), 1);
    if (!r->sockets && r->cores)
        sockets = MAX(total / (dies * cores * threads), 1);
    if ((uint64_t)sockets * dies * cores * threads != total) {
        error_set(error, "sockets (%u) * dies (%u) * cores (%u) * threads (%u) is not the number "
                  "of CPUs (%u): leave all but cpus= out", sockets, dies, cores, threads, total);
        return false;
    }
    if (r->maxcpus && r->maxcpus != total) {
        error_set(error, "maxcpus=%u: CPUs can't be added later: maxcpus=%u", r->maxcpus, total);
        return false;
    }
    if (sockets != 1 || dies != 1 || threads != 1) {
        error_set(error, "all CPUs sit in one socket, one thread each: sockets=1,cores=%u,"
                  "threads=1", total);
        return false;
    }
    if (total > MACHINE_MAX_CPUS) {
        error_set(error, "%u CPUs are too many: up to %d", total, MACHINE_MAX_CPUS);
        return false;
    }
    cfg->cpus = total;
    return true;
}

OPTION_SETTER(option_set_smp)
{
    g_autoptr(GPtrArray) list = option_parse(value, "cpus", error);
    struct smp_request request = { 0 };
    const struct {
        const char *key;
        unsigned *field;
    } keys[] = {
        { "cpus", &request.cpus }, { "maxcpus", &request.maxcpus },
        { "sockets", &request.sockets }, { "dies", &request.dies },
        { "cores", &request.cores }, { "threads", &request.threads },
    };

    if (!list)
        return false;
    for (guint i = 0; i < list->len; i++) {
        const struct option *opt = g_ptr_array_index(list, i);
        size_t k = 0;

        while (k < G_N_ELEMENTS(keys) && strcmp(keys[k].key, opt->key) != 0)
            k++;
        if (k == G_N_ELEMENTS(keys)) {
            error_set(error, "Invalid parameter '%s': cpus, sockets, dies, cores, threads",
                      opt->key);
            return false;
        }
        if (!parse_count(opt, keys[k].field, error))
            return false;
    }
    return smp_resolve(cfg, &request, error);
}

/* --- -object, -serial and monitors --- */

OPTION_SETTER(option_set_object)
{
    g_auto(GStrv) words = g_strsplit(value, ",", 3);

    if (words[0] && strcmp(words[0], "help") == 0)
        cfg->print = object_help(NULL);
    else if (words[0] && words[1] && strcmp(words[1], "help") == 0)
        cfg->print = object_help(words[0]);
    if (words[0] && words[1] && strcmp(words[1], "help") == 0 && !cfg->print) {
        error_set(error, "invalid object type: %s: -object help lists those that there are",
                  words[0]);
        return false;
    }
    g_ptr_array_add(cfg->objects, g_strdup(value));
    return true;
}

OPTION_SETTER(option_set_chardev)
{
    if (strcmp(value, "help") == 0)
        cfg->print = chardev_help();
    else
        g_ptr_array_add(cfg->chardevs, g_strdup(value));
    return true;
}

OPTION_SETTER(option_set_device)
{
    g_auto(GStrv) words = g_strsplit(value, ",", 3);

    if (words[0] && strcmp(words[0], "help") == 0)
        cfg->print = device_help(NULL);
    else if (words[0] && words[1] && strcmp(words[1], "help") == 0 && device_type_find(words[0]))
        cfg->print = device_help(words[0]);
    g_ptr_array_add(cfg->devices, g_strdup(value));
    return true;
}

OPTION_SETTER(option_set_drive)
{
    g_ptr_array_add(cfg->drives, g_strdup(value));
    return true;
}

/* A comma in an option's value is written twice. */
OPTION_SETTER(option_set_pflash)
{
    g_auto(GStrv) parts = g_strsplit(value, ",", -1);
    g_autofree char *file = g_strjoinv(",,", parts);

    g_ptr_array_add(cfg->drives, g_strconcat("if=pflash,format=raw,file=", file, NULL));
    return true;
}

OPTION_SETTER(option_set_blockdev)
{
    g_ptr_array_add(cfg->blockdevs, g_strdup(value));
    return true;
}

/* The properties of what the board makes itself, as -global spells them. */
static const struct property globals[] = {
    { "isa-debugcon.iobase", PROP_UINT32, offsetof(struct machine_config, debugcon_port) },
    { "q35-pcihost.smm-ranges", PROP_ON_OFF_AUTO, offsetof(struct machine_config, smm_ranges) },
    { NULL },
};

OPTION_SETTER(option_set_global)
{
    g_auto(GStrv) words = g_strsplit(value, "=", 2);
    bool found = true, ok = words[0] && words[1];

    if (ok)
        ok = property_set_text(globals, cfg, words[0], words[1], &found, error);
    if (!ok && (!words[0] || !words[1] || !found))
        error_set(error, "'%s': only isa-debugcon.iobase=PORT and q35-pcihost.smm-ranges=on|off: "
                  "properties of other devices go to their -device", value);
    return ok;
}

OPTION_SETTER(option_set_fw_cfg)
{
    g_ptr_array_add(cfg->fw_cfg, g_strdup(value));
    return true;
}

OPTION_SETTER(option_set_serial)
{
    if (strcmp(value, "none") == 0)
        cfg->no_serial = true;
    else
        g_ptr_array_add(cfg->serials, g_strdup(value));
    return true;
}

static void add_monitor(struct machine_config *cfg, const char *option, enum monitor_mode mode,
                        char *chardev)
{
    struct monitor_option *mon = g_new0(struct monitor_option, 1);

    mon->option = option;
    mon->mode = mode;
    mon->chardev = chardev;
    g_ptr_array_add(cfg->monitors, mon);
}

OPTION_SETTER(option_set_monitor)
{
    static const struct {
        const char *name, *option;
        enum monitor_mode mode;
    } modes[] = {
        { "monitor", "-monitor", MONITOR_HMP },
        { "qmp", "-qmp", MONITOR_QMP },
        { "qmp-pretty", "-qmp-pretty", MONITOR_QMP_PRETTY },
    };

    if (strcmp(value, "none") == 0) {
        cfg->no_monitor = true;
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        if (strcmp(modes[i].name, row->name) == 0)
            add_monitor(cfg, modes[i].option, modes[i].mode, g_strdup(value));
    }
    return true;
}

OPTION_SETTER(option_set_mon)
{
    static const char *const modes[] = { "readline", "control", NULL };
    struct mon_values {
        char *chardev;
        int mode;
        bool pretty;
    } values = { 0 };
    static const struct property table[] = {
        { "chardev", PROP_STRING, offsetof(struct mon_values, chardev), NULL, "", true },
        { "mode", PROP_ENUM, offsetof(struct mon_values, mode), modes, "", false },
        { "pretty", PROP_BOOL, offsetof(struct mon_values, pretty), NULL, "", false },
        { .name = NULL },
    };
    g_autoptr(GPtrArray) list = option_parse(value, "chardev", error);
    bool ok = list != NULL, found;

    for (guint i = 0; ok && i < list->len; i++) {
        const struct option *opt = g_ptr_array_index(list, i);

        ok = property_set_text(table, &values, opt->key, opt->value, &found, error);
        if (!ok && !found) {
            g_clear_error(error);
            error_set(error, "Invalid parameter '%s': chardev, mode, pretty", opt->key);
        }
    }
    if (ok && !values.chardev) {
        error_set(error, "Parameter 'chardev' is missing: chardev=ID of a -chardev");
        ok = false;
    }
    if (ok && values.pretty && values.mode == 0) {
        error_set(error, "pretty=on is not for people's monitors: add mode=control");
        ok = false;
    }
    if (ok) {
        add_monitor(cfg, "-mon", values.mode == 0 ? MONITOR_HMP
                    : values.pretty ? MONITOR_QMP_PRETTY : MONITOR_QMP,
                    g_strdup_printf("chardev:%s", values.chardev));
    }
    g_free(values.chardev);
    return ok;
}

OPTION_SETTER(option_set_display)
{
    if (strcmp(value, "none") != 0) {
        error_set(error, "'%s' is not there: none", value);
        return false;
    }
    cfg->display_none = true;
    return true;
}

/* --- -name, -uuid, -trace and the rest --- */

/* -s has no value. */
OPTION_SETTER(option_set_gdb)
{
    g_free(cfg->gdb);
    cfg->gdb = g_strdup(value ? value : "tcp::1234");
    return true;
}

OPTION_SETTER(option_set_name)
{
    g_autoptr(GPtrArray) list = option_parse(value, "guest", error);

    if (!list)
        return false;
    for (guint i = 0; i < list->len; i++) {
        const struct option *opt = g_ptr_array_index(list, i);

        /* QEMU's debug-threads: our threads always have names. */
        if (strcmp(opt->key, "debug-threads") == 0)
            continue;
        if (strcmp(opt->key, "guest") != 0) {
            error_set(error, "Invalid parameter '%s': guest=NAME", opt->key);
            return false;
        }
        g_free(cfg->name);
        cfg->name = g_strdup(opt->value);
    }
    return true;
}

OPTION_SETTER(option_set_uuid)
{
    if (!g_uuid_string_is_valid(value)) {
        error_set(error, "'%s' is not a UUID: 01234567-89ab-cdef-0123-456789abcdef", value);
        return false;
    }
    g_free(cfg->uuid);
    cfg->uuid = g_strdup(value);
    return true;
}

static char *trace_list(void)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; trace_event_name(i); i++)
        g_string_append_printf(text, "%-20s %s\n", trace_event_name(i), trace_event_help(i));
    return g_string_free(text, FALSE);
}

OPTION_SETTER(option_set_trace)
{
    g_autoptr(GPtrArray) list = option_parse(value, "enable", error);

    if (!list)
        return false;
    for (guint i = 0; i < list->len; i++) {
        const struct option *opt = g_ptr_array_index(list, i);

        if (strcmp(opt->key, "enable") == 0) {
            if (strcmp(opt->value, "help") == 0)
                cfg->print = trace_list();
            g_ptr_array_add(cfg->traces, g_strdup(opt->value));
        } else if (strcmp(opt->key, "file") == 0) {
            g_free(cfg->trace_file);
            cfg->trace_file = g_strdup(opt->value);
        } else {
            error_set(error, "Invalid parameter '%s': [enable=]PATTERN, file=FILE", opt->key);
            return false;
        }
    }
    return true;
}

OPTION_SETTER(option_set_log)
{
    g_auto(GStrv) items = g_strsplit(value, ",", -1);

    for (char **item = items; *item; item++) {
        if (strcmp(*item, "help") == 0) {
            cfg->print = g_strdup("Log items (comma separated):\n"
                                  "trace:PATTERN   enable trace events\n");
            return true;
        }
        if (!g_str_has_prefix(*item, "trace:")) {
            error_set(error, "'%s' is not a log item: trace:PATTERN, see -trace help", *item);
            return false;
        }
        g_ptr_array_add(cfg->traces, g_strdup(*item + strlen("trace:")));
    }
    return true;
}

OPTION_SETTER(option_set_help)
{
    cfg->print = options_help();
    return true;
}

OPTION_SETTER(option_set_version)
{
    cfg->print = g_strdup("cloister version " CLOISTER_VERSION "\n");
    return true;
}
