/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How options.c reads one option: rows of a table. */
#ifndef MACHINE_OPTIONS_H
#define MACHINE_OPTIONS_H

#include "config.h"

enum option_kind {
    OPTION_FLAG,                /* sets a bool */
    OPTION_STRING,              /* char *, the last one counts */
    OPTION_CALL,                /* set() */
    OPTION_ONLY,                /* nothing to do, and only the value in `only` is right */
    OPTION_REFUSED,             /* help says why and what to do instead */
};

struct option_row {
    const char *name;           /* without dashes */
    enum option_kind kind;
    const char *arg;            /* NULL: takes none */
    const char *help;
    size_t offset;              /* into struct machine_config */
    bool (*set)(struct machine_config *cfg, const struct option_row *row, const char *value,
                GError **error);
    const char *only;
};

/* The -machine property table (struct machine_options), ending with name NULL. */
extern const struct property machine_properties[];

/* Rows of OPTION_CALL in option_values.c. */
#define OPTION_SETTER(name_)                                                                   \
    bool name_(struct machine_config *cfg, const struct option_row *row, const char *value,    \
               GError **error)
OPTION_SETTER(option_set_machine);
OPTION_SETTER(option_set_accel);
OPTION_SETTER(option_set_memory);
OPTION_SETTER(option_set_smp);
OPTION_SETTER(option_set_cpu);
OPTION_SETTER(option_set_object);
OPTION_SETTER(option_set_chardev);
OPTION_SETTER(option_set_device);
OPTION_SETTER(option_set_drive);
OPTION_SETTER(option_set_pflash);
OPTION_SETTER(option_set_blockdev);
OPTION_SETTER(option_set_fw_cfg);
OPTION_SETTER(option_set_global);
OPTION_SETTER(option_set_serial);
OPTION_SETTER(option_set_monitor);
OPTION_SETTER(option_set_mon);
OPTION_SETTER(option_set_gdb);
OPTION_SETTER(option_set_name);
OPTION_SETTER(option_set_uuid);
OPTION_SETTER(option_set_trace);
OPTION_SETTER(option_set_log);
OPTION_SETTER(option_set_display);
OPTION_SETTER(option_set_help);
OPTION_SETTER(option_set_version);

#endif
