/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the command line asked for, checked as far as that goes without making
 * anything.  options.c fills it; main.c and the machine read it.
 */
#ifndef MACHINE_CONFIG_H
#define MACHINE_CONFIG_H

#include "monitor.h"
#include "object.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    MACHINE_MAX_CPUS = 64,
    MACHINE_MAX_SERIALS = 4,
};

/* One of -monitor, -qmp, -qmp-pretty, -mon. */
struct monitor_option {
    const char *option;         /* as typed, for messages */
    enum monitor_mode mode;
    char *chardev;              /* "chardev:ID" or a legacy form */
};

/* The properties of -machine; index of an enum in its names[]. */
struct machine_options {
    char *accel;                /* "kvm:soft" */
    int kvm_type;               /* index into machine_kvm_types */
    char *memory_backend;
    char *confidential_guest_support;
    char *debug;
    enum on_off_auto smm;
    int kernel_irqchip;
    bool usb, graphics, mem_merge, dump_guest_core;
    enum on_off_auto hpet, vmport;
    char *kernel, *initrd, *append, *firmware;
    char *pflash0, *pflash1;    /* nodes: what -blockdev or -drive if=pflash made */
};

/* The properties of -accel soft; index of an enum in its names[]. */
struct soft_options {
    int memory_attributes;
    char *pin, *sev_platform;
    GPtrArray *fails;           /* of char * */
};

enum kvm_type_memory {
    KVM_TYPE_PLAIN,
    KVM_TYPE_PRIVATE,           /* the guest's alone until it shares it */
    KVM_TYPE_ENCRYPTED,         /* SEV: in plain backends, encrypted in place */
};

/* Rows of -machine kvm-type=, which are KVM's VM types. */
struct kvm_type {
    const char *name;
    uint32_t vm_type;           /* KVM_X86_*_VM */
    enum kvm_type_memory memory;
};
/* What was asked for; a sev-guest object alone asks for "sev". */
const struct kvm_type *machine_kvm_type(const struct machine_options *options);

struct machine_config {
    struct machine_options machine;
    struct soft_options soft;
    GPtrArray *accels;          /* of char *: kvm, soft; empty: whatever can do it */
    GPtrArray *objects;         /* of char *: option strings */
    GPtrArray *chardevs;        /* of char * */
    GPtrArray *drives;          /* of char *: -drive */
    GPtrArray *blockdevs;       /* of char *: -blockdev */
    GPtrArray *devices;         /* of char *: -device */
    GPtrArray *serials;         /* of char *: legacy forms */
    GPtrArray *monitors;        /* of struct monitor_option * */
    GPtrArray *traces;          /* of char *: patterns */
    char *trace_file;
    uint64_t ram_size;          /* 0: not given */
    uint64_t max_ram_size;      /* 0: not given: no memory can come later */
    unsigned ram_slots;
    unsigned cpus;
    GPtrArray *fw_cfg;          /* of char *: -fw_cfg */
    char *kernel, *initrd, *append, *bios, *debugcon;
    uint32_t debugcon_port;
    enum on_off_auto smm_ranges;
    char *name, *uuid, *pidfile;
    char *gdb;                  /* -gdb: where debuggers are served */
    bool nographic, display_none, nodefaults, no_reboot, no_shutdown, stopped, daemonize;
    bool no_serial, no_monitor; /* given as "none" */
    /* -help and its like: this is all that there is to do. */
    char *print;
};

/* -accel soft,memory-attributes=: "vm", "vm2", "guest-memfd"; NULL: whatever fits. */
const char *soft_attributes(const struct machine_config *cfg);

/*
 * options_parse - the command line into a config.
 * False: one sentence that begins with the option's name.  Creates nothing and
 * opens nothing.
 */
bool options_parse(int argc, char **argv, struct machine_config *cfg, GError **error);
void config_init(struct machine_config *cfg);
void config_clear(struct machine_config *cfg);

/* The -help text; caller frees. */
char *options_help(void);

#endif
