/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who gets a chardev's input: its one front end or, where it is multiplexed, the
 * one that has the focus, with Ctrl-A as the escape to the multiplexer itself.
 *
 * On a terminal the escape must always come through, also when the guest takes
 * nothing any more: what is typed ahead beyond a buffer is dropped there.  From a
 * pipe nothing is dropped; reading stops.
 */
#include "chardev_internal.h"

#include <string.h>

enum { ESCAPE_KEY = 1 };        /* Ctrl-A */

static void (*quit_fn)(void *opaque);
static void *quit_opaque;

void chardev_set_quit(void (*quit)(void *opaque), void *opaque)
{
    quit_fn = quit;
    quit_opaque = opaque;
}

static void mux_say(struct chardev *chr, const char *text)
{
    chardev_write(chr, NULL, text, strlen(text));
}

static void key_help(struct chardev *chr)
{
    mux_say(chr, "\r\n"
                 "C-a h    print this help\r\n"
                 "C-a x    exit\r\n"
                 "C-a b    send break\r\n"
                 "C-a c    switch between console and monitor\r\n"
                 "C-a C-a  send C-a\r\n");
}

static void key_exit(struct chardev *chr)
{
    mux_say(chr, "\r\ncloister: terminated\r\n");
    if (quit_fn)
        quit_fn(quit_opaque);
}

static void key_break(struct chardev *chr)
{
    struct chardev_slot *slot = &chr->slots[chr->focus];

    if (chr->n_slots && slot->front->line_break)
        slot->front->line_break(slot->opaque);
}

void chardev_set_focus(struct chardev *chr, unsigned to)
{
    unsigned from = chr->focus;

    if (to >= chr->n_slots)
        return;
    chr->focus = to;
    if (from != to && from < chr->n_slots && chr->slots[from].front->focus)
        chr->slots[from].front->focus(chr->slots[from].opaque, false);
    if (chr->slots[to].front->focus)
        chr->slots[to].front->focus(chr->slots[to].opaque, true);
}

static void key_switch(struct chardev *chr)
{
    if (chr->n_slots > 1)
        chardev_set_focus(chr, (chr->focus + 1) % chr->n_slots);
}

static const struct mux_key {
    char key;
    void (*run)(struct chardev *chr);
} mux_keys[] = {
    { 'h', key_help }, { '?', key_help }, { 'x', key_exit }, { 'b', key_break },
    { 'c', key_switch },
};

static void run_key(struct chardev *chr, uint8_t key)
{
    for (size_t i = 0; i < G_N_ELEMENTS(mux_keys); i++) {
        if (mux_keys[i].key == (char)key) {
            mux_keys[i].run(chr);
            return;
        }
    }
}

static size_t front_room(const struct chardev_slot *slot)
{
    return slot->front->can_receive ? slot->front->can_receive(slot->opaque) : CHARDEV_READ_MAX;
}

size_t chardev_input_room(struct chardev *chr)
{
    size_t room;

    if (chr->n_slots == 0)
        return 0;
    if (!chr->options.mux)
        return front_room(&chr->slots[0]);
    room = CHARDEV_TYPED_MAX - chr->slots[chr->focus].typed_size;
    return room == 0 && chr->in_tty ? CHARDEV_TYPED_MAX : room;
}

void chardev_input_flush(struct chardev *chr)
{
    unsigned focus = chr->focus;
    struct chardev_slot *slot = &chr->slots[focus];

    /* A front end may detach itself, or end the connection, while it receives. */
    while (focus < chr->n_slots && slot->typed_size) {
        uint8_t chunk[CHARDEV_TYPED_MAX];
        size_t n = MIN(front_room(slot), slot->typed_size);

        if (n == 0)
            return;
        memcpy(chunk, slot->typed, n);
        slot->typed_size -= n;
        memmove(slot->typed, slot->typed + n, slot->typed_size);
        slot->front->receive(slot->opaque, chunk, n);
    }
}

bool chardev_input_pending(const struct chardev *chr)
{
    return chr->n_slots && chr->slots[chr->focus].typed_size;
}

static void mux_byte(struct chardev *chr, uint8_t byte)
{
    struct chardev_slot *slot;
    bool escaped = chr->escape;

    chr->escape = byte == ESCAPE_KEY && !escaped;
    if (chr->escape)
        return;
    if (escaped && byte != ESCAPE_KEY) {
        chardev_input_flush(chr);
        run_key(chr, byte);
        return;
    }
    slot = &chr->slots[chr->focus];
    if (slot->typed_size < CHARDEV_TYPED_MAX)
        slot->typed[slot->typed_size++] = byte;
}

void chardev_input(struct chardev *chr, const uint8_t *data, size_t size)
{
    if (chr->n_slots && !chr->options.mux) {
        chr->slots[0].front->receive(chr->slots[0].opaque, data, size);
        return;
    }
    for (size_t i = 0; i < size && chr->n_slots; i++)
        mux_byte(chr, data[i]);
    chardev_input_flush(chr);
}
