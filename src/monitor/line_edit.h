/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Line editing for a person at the other end of any byte stream: a terminal, a
 * socket, one half of a multiplexed chardev.  (GNU readline wants a terminal of
 * its own, opened as a FILE, and is one to a process.)
 */
#ifndef MONITOR_LINE_EDIT_H
#define MONITOR_LINE_EDIT_H

#include <glib.h>

struct line_edit;

struct line_edit_ops {
    void (*output)(void *opaque, const char *text, size_t size);
    /* Enter was pressed; the prompt is printed afterwards. */
    void (*execute)(void *opaque, const char *line);
    /* What could stand in place of word, which follows before: strings, or NULL. Frees with it. */
    GPtrArray *(*complete)(void *opaque, const char *before, const char *word);
};

struct line_edit *line_edit_new(const char *prompt, const struct line_edit_ops *ops, void *opaque);
void line_edit_free(struct line_edit *ed);
void line_edit_input(struct line_edit *ed, const void *data, size_t size);
/* Print the prompt and what has been typed. */
void line_edit_show(struct line_edit *ed);
/* Forget what has been typed (not the history). */
void line_edit_reset(struct line_edit *ed);

#endif
