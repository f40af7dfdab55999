/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the command line to an exit status; the only caller of exit() is the end of main(). */
#include "config.h"
#include "error.h"
#include "trace.h"

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

static bool run(int argc, char **argv, struct machine_config *cfg, GError **error)
{
    if (!options_parse(argc, argv, cfg, error))
        return false;
    if (cfg->print) {
        fputs(cfg->print, stdout);
        return true;
    }
    if (!setup_trace(cfg, error))
        return false;
    error_set(error, "-machine: this build has no machine yet: -help, -version");
    return false;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    struct machine_config cfg;
    bool ok;

    config_init(&cfg);
    ok = run(argc, argv, &cfg, &error);
    config_clear(&cfg);
    if (!ok)
        fprintf(stderr, "cloister: %s\n", error->message);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
