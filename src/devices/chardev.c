/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Chardevs by name: creation from what the user typed, the front ends that use
 * them, and the wake-up of the main loop by other threads.
 */
#include "chardev_internal.h"

#include "error.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static GPtrArray *chardevs;     /* struct chardev *, oldest first */
static int kick_fd = -1;
static guint kick_tag;

/* --- Waking the main loop --- */

void chardev_kick(void)
{
    uint64_t one = 1;

    /* Can only fail when the counter is full, and then the loop wakes anyway. */
    if (write(kick_fd, &one, sizeof(one)) < 0)
        return;
}

static gboolean kicked(gint fd, GIOCondition condition, gpointer data)
{
    uint64_t count;

    if (read(fd, &count, sizeof(count)) < 0)
        return G_SOURCE_CONTINUE;
    for (guint i = 0; chardevs && i < chardevs->len; i++)
        chardev_stream_run_kicks(g_ptr_array_index(chardevs, i));
    return G_SOURCE_CONTINUE;
}

static bool kick_setup(GError **error)
{
    if (kick_fd >= 0)
        return true;
    kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (kick_fd < 0) {
        error_set_errno(error, errno, "cannot create an eventfd");
        return false;
    }
    kick_tag = g_unix_fd_add(kick_fd, G_IO_IN, kicked, NULL);
    /* A pipe without a reader is an error of one chardev, not the end of the VM. */
    signal(SIGPIPE, SIG_IGN);
    return true;
}

/* --- By name --- */

struct chardev *chardev_find(const char *id)
{
    for (guint i = 0; chardevs && i < chardevs->len; i++) {
        struct chardev *chr = g_ptr_array_index(chardevs, i);

        if (strcmp(chr->label, id) == 0)
            return chr;
    }
    return NULL;
}

GPtrArray *chardev_list(void)
{
    GPtrArray *list = g_ptr_array_new();

    for (guint i = 0; chardevs && i < chardevs->len; i++)
        g_ptr_array_add(list, g_ptr_array_index(chardevs, i));
    return list;
}

const char *chardev_label(const struct chardev *chr)
{
    return chr->label;
}

char *chardev_filename(struct chardev *chr)
{
    const char *name = chr->filename ? chr->filename : chr->backend->name;

    return g_strconcat(chardev_stream_connected(chr) ? "" : "disconnected:", name, NULL);
}

bool chardev_front_open(const struct chardev *chr)
{
    return chr->n_slots != 0;
}

bool chardev_wants_monitor(struct chardev *chr)
{
    bool wants = chr->wants_monitor;

    chr->wants_monitor = false;
    return wants;
}

void chardev_refuse_others(struct chardev *chr)
{
    chr->refuse_others = true;
    /* A server that has its client already hears the others from now on. */
    if (chr->listen_fd >= 0 && chr->backend->ended)
        chr->backend->ended(chr);
}

/* --- Creation --- */

static void chardev_destroy(struct chardev *chr)
{
    chr->n_slots = 0;
    chardev_stream_finish(chr, chr->backend->flush_ms);
    if (chr->backend->close)
        chr->backend->close(chr);
    chardev_options_clear(&chr->options);
    pthread_mutex_destroy(&chr->lock);
    g_free(chr->label);
    g_free(chr->filename);
    g_free(chr);
}

/* Takes the options over, also on an error. */
static struct chardev *chardev_create(const char *label, const struct chardev_backend *backend,
                                      struct chardev_options *options, GError **error)
{
    struct chardev *chr;

    if (chardev_find(label)) {
        error_set(error, "Duplicate ID '%s' for chardev", label);
        chardev_options_clear(options);
        return NULL;
    }
    chr = g_new0(struct chardev, 1);
    chr->label = g_strdup(label);
    chr->backend = backend;
    chr->options = *options;
    chr->in_fd = chr->out_fd = chr->listen_fd = chr->passed_fd = -1;
    pthread_mutex_init(&chr->lock, NULL);
    if (!kick_setup(error) || !backend->open(chr, error)) {
        chardev_destroy(chr);
        return NULL;
    }
    if (!chardevs)
        chardevs = g_ptr_array_new();
    g_ptr_array_add(chardevs, chr);
    return chr;
}

struct chardev *chardev_new(const char *label, const char *text, GError **error)
{
    const struct chardev_backend *backend;
    struct chardev_options options = { 0 };
    struct chardev *chr;
    const char *form = text;

    if (g_str_has_prefix(text, "chardev:")) {
        chr = chardev_find(text + strlen("chardev:"));
        if (!chr)
            error_set(error, "chardev \"%s\" not found", text + strlen("chardev:"));
        return chr;
    }
    if (g_str_has_prefix(text, "mon:"))
        form += strlen("mon:");
    if (!chardev_parse_legacy(form, &backend, &options, error))
        return NULL;
    if (form != text) {
        options.mux = true;
        options.signal = false;         /* Ctrl-C is the guest's */
    }
    chr = chardev_create(label, backend, &options, error);
    if (chr)
        chr->wants_monitor = form != text;
    return chr;
}

struct chardev *chardev_new_option(const char *option, GError **error)
{
    const struct chardev_backend *backend;
    struct chardev_options options = { 0 };
    g_autofree char *id = NULL;

    if (!chardev_parse_option(option, &backend, &options, error))
        return NULL;
    id = g_strdup(options.id);
    return chardev_create(id, backend, &options, error);
}

void chardev_free(struct chardev *chr)
{
    if (!chr)
        return;
    g_ptr_array_remove(chardevs, chr);
    chardev_destroy(chr);
}

void chardev_free_all(void)
{
    while (chardevs && chardevs->len)
        chardev_free(g_ptr_array_index(chardevs, chardevs->len - 1));
    g_clear_pointer(&chardevs, g_ptr_array_unref);
    if (kick_tag)
        g_source_remove(kick_tag);
    kick_tag = 0;
    if (kick_fd >= 0)
        close(kick_fd);
    kick_fd = -1;
}

/* --- Front ends --- */

bool chardev_attach(struct chardev *chr, const struct chardev_front *front, void *opaque,
                    GError **error)
{
    unsigned max = chr->options.mux ? CHARDEV_FRONTS_MAX : 1;
    struct chardev_slot *slot = &chr->slots[chr->n_slots];

    if (chr->n_slots == max) {
        error_set(error, chr->options.mux ? "chardev '%s' has %u users, no more can share it"
                                          : "chardev '%s' is in use already", chr->label, max);
        return false;
    }
    *slot = (struct chardev_slot){ .front = front, .opaque = opaque };
    chr->n_slots++;
    /* First who has the focus: a monitor without it keeps its banner back. */
    if (chr->options.mux && (!front->background || chr->n_slots == 1))
        chardev_set_focus(chr, chr->n_slots - 1);
    else if (chr->options.mux && front->focus)
        front->focus(opaque, false);
    if (chr->announced && front->opened)
        front->opened(opaque);
    chardev_stream_update_input(chr);
    return true;
}

void chardev_detach(struct chardev *chr, void *opaque)
{
    unsigned i = 0;

    while (i < chr->n_slots && chr->slots[i].opaque != opaque)
        i++;
    if (i == chr->n_slots)
        return;
    chr->n_slots--;
    memmove(&chr->slots[i], &chr->slots[i + 1], (chr->n_slots - i) * sizeof(chr->slots[0]));
    if (chr->focus > i || (chr->focus == i && i == chr->n_slots && i > 0))
        chr->focus--;
    chardev_stream_update_input(chr);
}
