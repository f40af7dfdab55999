/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection to a debugger: listening, acknowledgement ("Debugging with GDB", E.11),
 * replies.
 *
 * A client that connects stops the machine.  What it sends while the machine runs
 * stops it too, whatever it is, as in QEMU: the answer is of a machine that stands.
 */
#include "gdb_internal.h"

#include "chardev.h"
#include "error.h"

#include <string.h>

/* A client that doesn't read is dropped; a monitor command's output fits. */
enum { OUTPUT_MAX = 32 * 1024 * 1024, CONSOLE_PIECE = GDB_PACKET_MAX / 2 - 16 };

static const char chardev_label_of_gdb[] = "gdb";

static bool is_running(const struct gdb *gdb)
{
    return strcmp(gdb->host.status(gdb->host.opaque), "running") == 0;
}

/* --- Replies --- */

static void send_bytes(struct gdb *gdb, const void *data, size_t size)
{
    if (gdb->connected)
        chardev_write_all(gdb->chr, gdb, data, size, OUTPUT_MAX);
}

void gdb_send(struct gdb *gdb, const char *packet, size_t size)
{
    g_byte_array_set_size(gdb->last, 0);
    gdb_frame(gdb->last, packet, size);
    send_bytes(gdb, gdb->last->data, gdb->last->len);
}

void gdb_reply_text(struct gdb *gdb, const char *packet)
{
    gdb_send(gdb, packet, strlen(packet));
}

void gdb_send_console(struct gdb *gdb, const char *text)
{
    size_t left = strlen(text);
    g_autoptr(GString) out = g_string_new(NULL);

    while (left) {
        size_t piece = MIN(left, CONSOLE_PIECE);

        g_string_assign(out, "O");
        gdb_append_hex(out, text, piece);
        gdb_reply(gdb, out);
        text += piece;
        left -= piece;
    }
}

/* For clients whose errors are numbers only: once on stderr, and with the next stop. */
static void tell(struct gdb *gdb, const char *reason)
{
    if (gdb->client.told)
        return;
    gdb->client.told = true;
    g_printerr("cloister: gdb: %s\n", reason);
    g_string_append_printf(gdb->console, "cloister: %s\n", reason);
}

void gdb_reply_error(struct gdb *gdb, unsigned code, const char *reason)
{
    g_autoptr(GString) out = g_string_new(NULL);

    if (reason && gdb->client.error_message) {
        g_string_assign(out, "E.");
        gdb_append_binary(out, reason, strlen(reason));
    } else {
        g_string_printf(out, "E%02x", code);
        if (reason && gdb->client.error_strings) {
            g_string_append_c(out, ';');
            gdb_append_hex(out, reason, strlen(reason));
        } else if (reason && code == GDB_E_FAULT) {
            tell(gdb, reason);
        }
    }
    gdb_reply(gdb, out);
}

/* --- What comes in --- */

static void acknowledge(struct gdb *gdb, char how)
{
    if (!gdb->client.no_ack)
        send_bytes(gdb, &how, 1);
}

static void stop_running(struct gdb *gdb)
{
    if (is_running(gdb))
        gdb->host.stop(gdb->host.opaque);
}

static void handle_event(struct gdb *gdb, enum gdb_event event)
{
    const GByteArray *packet = gdb->reader.packet;
    const char *start = (const char *)packet->data;

    switch (event) {
    case GDB_NOTHING:
    case GDB_ACK:
        break;
    case GDB_NAK:
        if (!gdb->client.no_ack && gdb->last->len)
            send_bytes(gdb, gdb->last->data, gdb->last->len);
        break;
    case GDB_INTERRUPT:
        gdb->client.waiting |= is_running(gdb);
        stop_running(gdb);
        break;
    case GDB_BAD_SUM:
        acknowledge(gdb, '-');
        break;
    case GDB_TOO_LONG:
        acknowledge(gdb, '+');
        gdb_reply_error(gdb, GDB_E_INVALID, NULL);
        break;
    case GDB_PACKET:
        acknowledge(gdb, '+');
        stop_running(gdb);
        gdb_handle_packet(gdb, (struct gdb_text){ start, start + packet->len });
        break;
    }
}

void gdb_receive(struct gdb *gdb, const uint8_t *data, size_t size)
{
    while (size && gdb->connected) {
        enum gdb_event event;
        size_t n = gdb_reader_feed(&gdb->reader, data, size, &event);

        handle_event(gdb, event);
        data += n;
        size -= n;
    }
}

static void front_receive(void *opaque, const void *data, size_t size)
{
    gdb_receive(opaque, data, size);
}

static size_t front_can_receive(void *opaque)
{
    struct gdb *gdb = opaque;

    return chardev_congested(gdb->chr) ? 0 : 4096;
}

static void front_drained(void *opaque)
{
    chardev_accept_input(((struct gdb *)opaque)->chr);
}

static void front_opened(void *opaque)
{
    struct gdb *gdb = opaque;

    gdb_reader_reset(&gdb->reader);
    g_byte_array_set_size(gdb->last, 0);
    g_string_set_size(gdb->console, 0);
    gdb->client = (struct gdb_client){ .step_flags = GDB_STEP_ALL };
    gdb->stop_cpu = 0;
    gdb->connected = true;
    stop_running(gdb);
}

/*
 * Gone without a word: the machine stays as it is, but for its breakpoints, which
 * nobody waits for any more.
 */
static void front_closed(void *opaque)
{
    struct gdb *gdb = opaque;
    bool running = is_running(gdb);

    gdb->connected = false;
    if (!gdb_has_breakpoints(gdb))
        return;
    stop_running(gdb);
    gdb_remove_breakpoints(gdb);
    if (running)
        gdb->host.resume(gdb->host.opaque, UINT64_MAX, NULL);
}

static const struct chardev_front gdb_front = {
    .can_receive = front_can_receive, .receive = front_receive, .opened = front_opened,
    .closed = front_closed, .drained = front_drained,
};

/* --- Serving --- */

struct gdb *gdb_new(const struct gdb_host *host)
{
    struct gdb *gdb = g_new0(struct gdb, 1);

    gdb->host = *host;
    gdb->last = g_byte_array_new();
    gdb->console = g_string_new(NULL);
    gdb->soft = g_array_new(FALSE, FALSE, sizeof(struct gdb_soft_breakpoint));
    gdb_reader_init(&gdb->reader);
    return gdb;
}

static void stop_serving(struct gdb *gdb)
{
    if (!gdb->chr)
        return;
    if (gdb->connected && gdb->client.waiting)
        gdb_reply_text(gdb, "W00");
    gdb->connected = false;
    chardev_detach(gdb->chr, gdb);
    if (gdb->own_chr)
        chardev_free(gdb->chr);
    gdb->chr = NULL;
}

void gdb_free(struct gdb *gdb)
{
    if (!gdb)
        return;
    stop_serving(gdb);
    gdb_reader_clear(&gdb->reader);
    g_byte_array_unref(gdb->last);
    g_string_free(gdb->console, TRUE);
    g_array_unref(gdb->soft);
    g_free(gdb);
}

bool gdb_is_connected(const struct gdb *gdb)
{
    return gdb->connected;
}

/* Debuggers come and go: a server that waits for none, and sends small packets at once. */
static char *as_server(const char *device)
{
    bool tcp = g_str_has_prefix(device, "tcp:");

    if (!tcp && !g_str_has_prefix(device, "unix:"))
        return g_strdup(device);
    if (strstr(device, ",server"))
        return g_strdup(device);
    return g_strconcat(device, ",server=on,wait=off", tcp ? ",nodelay=on" : "", NULL);
}

bool gdb_listen(struct gdb *gdb, const char *device, GError **error)
{
    g_autofree char *text = as_server(device);
    bool shared = g_str_has_prefix(device, "chardev:");

    if (gdb->in_command) {
        error_set(error, "not from the debugger that it would cut off: use another "
                  "monitor");
        return false;
    }
    if (!kvm_vm_check_extension(gdb->host.kvm, KVM_CAP_SET_GUEST_DEBUG)) {
        error_set(error, "this KVM lacks KVM_CAP_SET_GUEST_DEBUG: -accel soft");
        return false;
    }
    if (gdb->connected)
        front_closed(gdb);
    stop_serving(gdb);
    if (strcmp(device, "none") == 0)
        return true;
    gdb->chr = chardev_new(chardev_label_of_gdb, text, error);
    if (!gdb->chr)
        return false;
    gdb->own_chr = !shared;
    chardev_refuse_others(gdb->chr);
    if (chardev_attach(gdb->chr, &gdb_front, gdb, error))
        return true;
    if (gdb->own_chr)
        chardev_free(gdb->chr);
    gdb->chr = NULL;
    return false;
}
