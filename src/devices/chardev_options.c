/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a user types for a chardev: QEMU's legacy forms ("unix:PATH,server=on")
 * and -chardev's "BACKEND,id=ID,...", both to a back end and its options.
 */
#include "chardev_internal.h"

#include "error.h"
#include "property.h"

#include <string.h>

static const struct chardev_backend *const backends[] = {
    &chardev_socket, &chardev_stdio, &chardev_file, &chardev_null, &chardev_pty,
};

static const struct legacy_form {
    const char *prefix;         /* with a colon: what follows is address */
    const struct chardev_backend *backend;
    const char *address;        /* the option that the address is; "host:port" is two; NULL: none */
} legacy_forms[] = {
    { "unix:", &chardev_socket, "path" },
    { "tcp:",  &chardev_socket, "host:port" },
    { "file:", &chardev_file,   "path" },
    { "stdio", &chardev_stdio,  NULL },
    { "null",  &chardev_null,   NULL },
    { "pty",   &chardev_pty,    NULL },
};

static const struct property common_properties[] = {
    { "id", PROP_STRING, offsetof(struct chardev_options, id) },
    { "mux", PROP_BOOL, offsetof(struct chardev_options, mux) },
    { NULL },
};

static void help_row(GString *text, const char *name, const struct property *properties)
{
    g_string_append_printf(text, "  %s%s", name, properties ? ":" : "");
    for (const struct property *p = properties; p && p->name; p++)
        g_string_append_printf(text, " %s=<%s>", p->name, p->kind == PROP_BOOL ? "bool" : "string");
    g_string_append_c(text, '\n');
}

char *chardev_help(void)
{
    GString *text = g_string_new("Available chardev backends:\n");

    for (size_t i = 0; i < G_N_ELEMENTS(backends); i++)
        help_row(text, backends[i]->name, backends[i]->properties);
    help_row(text, "each of them", common_properties);
    return g_string_free(text, FALSE);
}

void chardev_options_clear(struct chardev_options *options)
{
    g_free(options->id);
    g_free(options->path);
    g_free(options->host);
    g_free(options->port);
    g_free(options->fd);
    *options = (struct chardev_options){ 0 };
}

static bool set_options(const struct chardev_backend *backend, GPtrArray *list,
                        struct chardev_options *options, GError **error)
{
    for (guint i = 0; i < list->len; i++) {
        const struct option *opt = g_ptr_array_index(list, i);
        bool found = false;
        bool ok = property_set_text(common_properties, options, opt->key, opt->value, &found,
                                    error);

        if (!found && backend->properties)
            ok = property_set_text(backend->properties, options, opt->key, opt->value, &found,
                                   error);
        if (!found)
            error_set(error, "Invalid parameter '%s'", opt->key);
        if (!ok)
            return false;
    }
    if (options->nowait)
        options->wait = false;
    return true;
}

static void set_defaults(struct chardev_options *options)
{
    *options = (struct chardev_options){ .wait = true, .signal = true };
}

/* HOST:PORT, with [v6 address]:PORT, to two options. */
static bool split_host_port(struct chardev_options *options, GError **error)
{
    char *address = options->host;
    char *colon = address ? strrchr(address, ':') : NULL;

    if (!colon || !colon[1]) {
        error_set(error, "'%s': a TCP address is [HOST]:PORT", address ? address : "");
        return false;
    }
    options->port = g_strdup(colon + 1);
    *colon = '\0';
    if (address[0] == '[' && colon > address && colon[-1] == ']') {
        colon[-1] = '\0';
        memmove(address, address + 1, strlen(address));
    }
    return true;
}

static const struct legacy_form *legacy_find(const char *text, const char **rest)
{
    for (size_t i = 0; i < G_N_ELEMENTS(legacy_forms); i++) {
        const struct legacy_form *form = &legacy_forms[i];
        size_t len = strlen(form->prefix);

        *rest = text + len;
        if (strncmp(text, form->prefix, len) == 0 &&
            (form->address || **rest == '\0' || **rest == ','))
            return form;
    }
    return NULL;
}

bool chardev_parse_legacy(const char *text, const struct chardev_backend **backend,
                          struct chardev_options *options, GError **error)
{
    const char *rest;
    const struct legacy_form *form = legacy_find(text, &rest);
    bool tcp = form && form->address && strcmp(form->address, "host:port") == 0;
    g_autofree char *keyed = NULL;
    g_autoptr(GPtrArray) list = NULL;

    if (!form) {
        error_set(error, "'%s' is not a valid char driver: stdio, unix:PATH, tcp:[HOST]:PORT, "
                  "file:PATH, pty, null, chardev:ID", text);
        return false;
    }
    /* Spelt out as the first option, an address may hold a '='. */
    if (form->address)
        keyed = g_strconcat(tcp ? "host" : form->address, "=", rest, NULL);
    else
        keyed = g_strdup(*rest ? rest + 1 : rest);
    list = option_parse(keyed, NULL, error);
    if (!list)
        return false;
    set_defaults(options);
    if (!set_options(form->backend, list, options, error) ||
        (tcp && !split_host_port(options, error))) {
        chardev_options_clear(options);
        return false;
    }
    *backend = form->backend;
    return true;
}

bool chardev_parse_option(const char *text, const struct chardev_backend **backend,
                          struct chardev_options *options, GError **error)
{
    g_autoptr(GPtrArray) list = option_parse(text, "backend", error);
    const struct option *first;

    if (!list)
        return false;
    first = list->len ? g_ptr_array_index(list, 0) : NULL;
    if (!first || strcmp(first->key, "backend") != 0) {
        error_set(error, "Parameter 'backend' is missing");
        return false;
    }
    *backend = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(backends); i++) {
        if (strcmp(backends[i]->name, first->value) == 0)
            *backend = backends[i];
    }
    if (!*backend) {
        error_set(error, "'%s' is not a valid char driver name: -chardev help lists them",
                  first->value);
        return false;
    }
    g_ptr_array_remove_index(list, 0);
    set_defaults(options);
    if (!set_options(*backend, list, options, error))
        goto fail;
    if (!options->id || !*options->id) {
        error_set(error, "Parameter 'id' is missing");
        goto fail;
    }
    return true;

fail:
    chardev_options_clear(options);
    return false;
}
