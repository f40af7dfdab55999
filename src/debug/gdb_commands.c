/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The packets that a debugger sends ("Debugging with GDB", E.2), but for queries. */
#include "gdb_internal.h"

#include "error.h"
#include "gdb_registers.h"

#include <string.h>

/* A reply of two digits for each byte has to fit in a packet. */
enum { MEMORY_MAX = GDB_PACKET_MAX / 2 - 16 };

static void reply_invalid(struct gdb *gdb)
{
    gdb_reply_error(gdb, GDB_E_INVALID, NULL);
}

static void reply_gerror(struct gdb *gdb, const GError *error)
{
    gdb_reply_error(gdb, GDB_E_FAULT, error ? error->message : NULL);
}

/* --- Memory --- */

/* Bytes moved, from the chosen thread's addresses or from physical ones. */
static uint64_t move(struct gdb *gdb, uint64_t addr, void *buf, uint64_t size, bool write,
                     GError **error)
{
    AUTO_PAGE_WALK walk = NULL;

    if (!gdb->client.physical) {
        walk = page_walk_new(gdb->host.debug, gdb->client.g_cpu, error);
        if (!walk)
            return 0;
    }
    return write ? debug_write(gdb->host.debug, walk, addr, buf, size, error)
                 : debug_read(gdb->host.debug, walk, addr, buf, size, error);
}

/* What can be read from addr on, at least a byte; NULL: the reply is sent. */
static GByteArray *read_memory(struct gdb *gdb, uint64_t addr, uint64_t size)
{
    g_autoptr(GError) error = NULL;
    GByteArray *bytes;
    uint64_t done;

    if (size > MEMORY_MAX)
        size = MEMORY_MAX;
    bytes = g_byte_array_new();
    g_byte_array_set_size(bytes, (guint)size);
    done = move(gdb, addr, bytes->data, size, false, &error);
    g_byte_array_set_size(bytes, (guint)done);
    if (done || !size)
        return bytes;
    reply_gerror(gdb, error);
    g_byte_array_unref(bytes);
    return NULL;
}

static void cmd_read(struct gdb *gdb, struct gdb_text *text)
{
    g_autoptr(GByteArray) bytes = NULL;
    g_autoptr(GString) out = NULL;
    uint64_t addr, size;

    if (!gdb_take_range(text, &addr, &size) || text->p != text->end) {
        reply_invalid(gdb);
        return;
    }
    bytes = read_memory(gdb, addr, size);
    if (!bytes)
        return;
    out = g_string_sized_new(2 * bytes->len + 1);
    gdb_append_hex(out, bytes->data, bytes->len);
    gdb_reply(gdb, out);
}

/* lldb's form: bytes without a prefix; a size of 0 asks whether we know it. */
static void cmd_read_binary(struct gdb *gdb, struct gdb_text *text)
{
    g_autoptr(GByteArray) bytes = NULL;
    g_autoptr(GString) out = NULL;
    uint64_t addr, size;

    if (!gdb_take_range(text, &addr, &size) || text->p != text->end) {
        reply_invalid(gdb);
    } else if (!size) {
        gdb_reply_text(gdb, "OK");
    } else {
        bytes = read_memory(gdb, addr, size);
        if (!bytes)
            return;
        out = g_string_sized_new(bytes->len + bytes->len / 8);
        gdb_append_binary(out, bytes->data, bytes->len);
        gdb_reply(gdb, out);
    }
}

static void write_memory(struct gdb *gdb, uint64_t addr, void *buf, uint64_t size)
{
    g_autoptr(GError) error = NULL;

    if (size && move(gdb, addr, buf, size, true, &error) != size)
        reply_gerror(gdb, error);
    else
        gdb_reply_text(gdb, "OK");
}

static void cmd_write(struct gdb *gdb, struct gdb_text *text)
{
    g_autoptr(GByteArray) bytes = NULL;
    uint64_t addr, size;
    bool ok = gdb_take_range(text, &addr, &size) && gdb_take(text, ':');

    bytes = ok ? gdb_take_hex(text) : NULL;
    if (!bytes || bytes->len != size)
        reply_invalid(gdb);
    else
        write_memory(gdb, addr, bytes->data, size);
}

static void cmd_write_binary(struct gdb *gdb, struct gdb_text *text)
{
    uint64_t addr, size;

    if (!gdb_take_range(text, &addr, &size) || !gdb_take(text, ':') ||
        (uint64_t)(text->end - text->p) != size)
        reply_invalid(gdb);
    else
        write_memory(gdb, addr, (void *)text->p, size);
}

/* --- Registers --- */

static struct kvm_vcpu *chosen_cpu(struct gdb *gdb)
{
    return gdb->host.cpu(gdb->host.opaque, gdb->client.g_cpu);
}

static bool load(struct gdb *gdb, struct gdb_registers *regs)
{
    g_autoptr(GError) error = NULL;

    if (gdb_registers_load(chosen_cpu(gdb), regs, &error))
        return true;
    reply_gerror(gdb, error);
    return false;
}

static void store(struct gdb *gdb, const struct gdb_registers *regs)
{
    g_autoptr(GError) error = NULL;

    if (gdb_registers_store(chosen_cpu(gdb), regs, &error))
        gdb_reply_text(gdb, "OK");
    else
        reply_gerror(gdb, error);
}

static void cmd_get_all(struct gdb *gdb, struct gdb_text *text)
{
    g_autoptr(GString) out = g_string_new(NULL);
    uint8_t value[GDB_REGISTER_MAX];
    struct gdb_registers regs;

    if (!load(gdb, &regs))
        return;
    for (unsigned n = 0; gdb_register_size(n); n++) {
        gdb_register_get(&regs, n, value);
        gdb_append_hex(out, value, gdb_register_size(n));
    }
    gdb_reply(gdb, out);
}

/* Shorter data sets the first ones. */
static void cmd_set_all(struct gdb *gdb, struct gdb_text *text)
{
    g_autoptr(GByteArray) bytes = gdb_take_hex(text);
    g_autoptr(GError) error = NULL;
    struct gdb_registers regs;
    size_t at = 0, size;

    if (!bytes) {
        reply_invalid(gdb);
        return;
    }
    if (!load(gdb, &regs))
        return;
    for (unsigned n = 0; (size = gdb_register_size(n)) && at + size <= bytes->len; at += size) {
        if (!gdb_register_set(&regs, n++, bytes->data + at, &error)) {
            gdb_reply_error(gdb, GDB_E_INVALID, error->message);
            return;
        }
    }
    store(gdb, &regs);
}

static void cmd_get_one(struct gdb *gdb, struct gdb_text *text)
{
    g_autoptr(GString) out = g_string_new(NULL);
    uint8_t value[GDB_REGISTER_MAX];
    struct gdb_registers regs;
    uint64_t n;

    if (!gdb_take_number(text, &n) || n > G_MAXUINT || !gdb_register_size((unsigned)n)) {
        gdb_reply_error(gdb, GDB_E_FAULT, NULL);
        return;
    }
    if (!load(gdb, &regs))
        return;
    gdb_register_get(&regs, (unsigned)n, value);
    gdb_append_hex(out, value, gdb_register_size((unsigned)n));
    gdb_reply(gdb, out);
}

static void cmd_set_one(struct gdb *gdb, struct gdb_text *text)
{
    g_autoptr(GByteArray) bytes = NULL;
    g_autoptr(GError) error = NULL;
    struct gdb_registers regs;
    uint64_t n;
    bool ok = gdb_take_number(text, &n) && gdb_take(text, '=') && n <= G_MAXUINT;

    bytes = ok ? gdb_take_hex(text) : NULL;
    if (!bytes || !bytes->len || bytes->len != gdb_register_size((unsigned)n)) {
        gdb_reply_error(gdb, GDB_E_FAULT, NULL);
        return;
    }
    if (!load(gdb, &regs))
        return;
    if (gdb_register_set(&regs, (unsigned)n, bytes->data, &error))
        store(gdb, &regs);
    else
        gdb_reply_error(gdb, GDB_E_INVALID, error->message);
}

/* --- Breakpoints --- */

static void change_breakpoint(struct gdb *gdb, struct gdb_text *text, bool insert)
{
    g_autoptr(GError) error = NULL;
    uint64_t kind, addr, size;
    bool ok;

    if (!gdb_take_number(text, &kind) || !gdb_take(text, ',') ||
        !gdb_take_range(text, &addr, &size)) {
        reply_invalid(gdb);
        return;
    }
    /* x86 has nothing that sees reads but not writes. */
    if (kind >= GDB_KINDS || kind == GDB_READ_WATCH) {
        gdb_reply_text(gdb, "");
        return;
    }
    ok = insert ? gdb_breakpoint_insert(gdb, (enum gdb_breakpoint_kind)kind, addr, size, &error)
                : gdb_breakpoint_remove(gdb, (enum gdb_breakpoint_kind)kind, addr, size, &error);
    if (ok)
        gdb_reply_text(gdb, "OK");
    else
        gdb_reply_error(gdb, kind == GDB_SOFTWARE && insert ? GDB_E_FAULT : GDB_E_INVALID,
                        error->message);
}

static void cmd_insert(struct gdb *gdb, struct gdb_text *text)
{
    change_breakpoint(gdb, text, true);
}

static void cmd_remove(struct gdb *gdb, struct gdb_text *text)
{
    change_breakpoint(gdb, text, false);
}

/* --- Threads, beginning and end --- */

static void cmd_choose_thread(struct gdb *gdb, struct gdb_text *text)
{
    struct gdb_text id;
    unsigned cpu;
    int thread;
    char what;

    what = text->p < text->end ? *text->p++ : 0;
    id = *text;
    if ((what != 'g' && what != 'c') || !gdb_take_cpu(gdb, &id, &cpu) ||
        !gdb_take_thread(text, &thread)) {
        reply_invalid(gdb);
        return;
    }
    if (what == 'c')
        gdb->client.c_thread = thread;
    else if (thread != GDB_THREAD_ANY && thread != GDB_THREAD_ALL)
        gdb->client.g_cpu = cpu;
    else
        gdb->client.g_cpu = gdb->stop_cpu;
    gdb_reply_text(gdb, "OK");
}

static void cmd_thread_alive(struct gdb *gdb, struct gdb_text *text)
{
    unsigned cpu;

    if (gdb_take_cpu(gdb, text, &cpu))
        gdb_reply_text(gdb, "OK");
    else
        reply_invalid(gdb);
}

/* Who asks begins anew: what an earlier client left is taken out. */
static void cmd_why(struct gdb *gdb, struct gdb_text *text)
{
    gdb_remove_breakpoints(gdb);
    gdb_send_stop(gdb);
}

static void cmd_extended(struct gdb *gdb, struct gdb_text *text)
{
    gdb_reply_text(gdb, "OK");
}

static bool names_process(struct gdb_text *text)
{
    uint64_t process;

    return text->p == text->end ||
           (gdb_take(text, ';') && gdb_take_number(text, &process) && process == 1 &&
            text->p == text->end);
}

static void cmd_detach(struct gdb *gdb, struct gdb_text *text)
{
    if (!names_process(text)) {
        reply_invalid(gdb);
        return;
    }
    gdb_remove_breakpoints(gdb);
    gdb_reply_text(gdb, "OK");
    gdb->client.waiting = false;
    /* One that can't run on stays as it is. */
    gdb->host.resume(gdb->host.opaque, UINT64_MAX, NULL);
}

static void cmd_kill(struct gdb *gdb, struct gdb_text *text)
{
    gdb->host.kill(gdb->host.opaque);
}

static void cmd_vkill(struct gdb *gdb, struct gdb_text *text)
{
    if (!names_process(text)) {
        reply_invalid(gdb);
        return;
    }
    gdb_reply_text(gdb, "OK");
    gdb->host.kill(gdb->host.opaque);
}

static void cmd_vattach(struct gdb *gdb, struct gdb_text *text)
{
    if (names_process(text))
        gdb_send_stop(gdb);
    else
        reply_invalid(gdb);
}

/* --- The table --- */

static const struct command_row {
    const char *word;
    bool alone;                 /* nothing may follow */
    void (*run)(struct gdb *gdb, struct gdb_text *text);
} commands[] = {
    { "?", true, cmd_why }, { "!", true, cmd_extended },
    { "g", true, cmd_get_all }, { "G", false, cmd_set_all },
    { "p", false, cmd_get_one }, { "P", false, cmd_set_one },
    { "m", false, cmd_read }, { "M", false, cmd_write },
    { "x", false, cmd_read_binary }, { "X", false, cmd_write_binary },
    { "Z", false, cmd_insert }, { "z", false, cmd_remove },
    { "H", false, cmd_choose_thread }, { "T", false, cmd_thread_alive },
    { "c", false, gdb_cmd_continue }, { "C", false, gdb_cmd_continue },
    { "s", false, gdb_cmd_step }, { "S", false, gdb_cmd_step },
    { "D", false, cmd_detach }, { "k", true, cmd_kill },
    { "vCont", false, gdb_cmd_vcont }, { "vKill", false, cmd_vkill },
    { "vAttach", false, cmd_vattach },
};

void gdb_handle_packet(struct gdb *gdb, struct gdb_text text)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        struct gdb_text rest = text;

        if (gdb_take_word(&rest, commands[i].word) &&
            (!commands[i].alone || rest.p == rest.end)) {
            commands[i].run(gdb, &rest);
            return;
        }
    }
    /* An empty reply: there is no such packet. */
    if (!gdb_handle_query(gdb, &text))
        gdb_reply_text(gdb, "");
}
