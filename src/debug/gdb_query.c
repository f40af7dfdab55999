/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The packets q and Q ("Debugging with GDB", E.4; qqemu: QEMU's own). */
#include "gdb_internal.h"

#include "gdb_registers.h"

#include <string.h>

static bool is_word(const char *word, size_t size, const char *what)
{
    return strlen(what) == size && memcmp(word, what, size) == 0;
}

static void query_supported(struct gdb *gdb, struct gdb_text *text)
{
    struct gdb_client *client = &gdb->client;
    const struct {
        const char *name;
        bool *known;
    } features[] = {
        { "multiprocess+", &client->multiprocess }, { "swbreak+", &client->swbreak },
        { "hwbreak+", &client->hwbreak }, { "error-message+", &client->error_message },
    };
    g_autoptr(GString) out = g_string_new(NULL);

    for (const char *p = text->p; p < text->end;) {
        const char *end = memchr(p, ';', (size_t)(text->end - p));
        size_t size = (size_t)((end ? end : text->end) - p);

        for (size_t i = 0; i < G_N_ELEMENTS(features); i++) {
            if (is_word(p, size, features[i].name))
                *features[i].known = true;
        }
        p += size + 1;
    }
    g_string_printf(out, "PacketSize=%x;qXfer:features:read+;vContSupported+;multiprocess+;"
                    "QStartNoAckMode+;swbreak+;hwbreak+%s", GDB_PACKET_MAX,
                    client->error_message ? ";error-message+" : "");
    gdb_reply(gdb, out);
}

static void query_current(struct gdb *gdb, struct gdb_text *text)
{
    g_autoptr(GString) out = g_string_new("QC");

    gdb_append_thread(gdb, out, gdb->stop_cpu);
    gdb_reply(gdb, out);
}

static void next_threads(struct gdb *gdb)
{
    unsigned count = gdb->host.cpu_count(gdb->host.opaque);
    g_autoptr(GString) out = g_string_new("l");

    for (unsigned i = gdb->client.next_thread; i < count; i++) {
        g_string_append_c(out, ',');
        gdb_append_thread(gdb, out, i);
    }
    if (out->len > 1) {
        g_string_erase(out, 0, 1);
        out->str[0] = 'm';
    }
    gdb->client.next_thread = count;
    gdb_reply(gdb, out);
}

static void query_first_threads(struct gdb *gdb, struct gdb_text *text)
{
    gdb->client.next_thread = 0;
    next_threads(gdb);
}

static void query_next_threads(struct gdb *gdb, struct gdb_text *text)
{
    next_threads(gdb);
}

static void query_thread_info(struct gdb *gdb, struct gdb_text *text)
{
    struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
    g_autoptr(GString) out = g_string_new(NULL);
    g_autofree char *info = NULL;
    unsigned cpu;

    if (!gdb_take_cpu(gdb, text, &cpu)) {
        gdb_reply_error(gdb, GDB_E_INVALID, NULL);
        return;
    }
    /* One that KVM says nothing of runs. */
    kvm_vcpu_ioctl(gdb->host.cpu(gdb->host.opaque, cpu), KVM_GET_MP_STATE, &mp);
    info = g_strdup_printf("CPU#%u [%s]", cpu, mp.mp_state == KVM_MP_STATE_RUNNABLE ? "running"
                                               : mp.mp_state == KVM_MP_STATE_HALTED ? "halted "
                                               : "not started");
    gdb_append_hex(out, info, strlen(info));
    gdb_reply(gdb, out);
}

static void query_attached(struct gdb *gdb, struct gdb_text *text)
{
    gdb_reply_text(gdb, "1");
}

static void query_features(struct gdb *gdb, struct gdb_text *text)
{
    const char *xml = gdb_target_xml();
    g_autoptr(GString) out = g_string_new(NULL);
    uint64_t offset, size, left = strlen(xml);

    if (!gdb_take_word(text, "target.xml:")) {
        gdb_reply_error(gdb, 0, "the only description is target.xml");
        return;
    }
    if (!gdb_take_range(text, &offset, &size) || text->p != text->end || offset > left) {
        gdb_reply_error(gdb, GDB_E_INVALID, NULL);
        return;
    }
    left -= offset;
    size = MIN(size, GDB_PACKET_MAX / 2);
    g_string_append_c(out, size < left ? 'm' : 'l');
    gdb_append_binary(out, xml + offset, MIN(size, left));
    gdb_reply(gdb, out);
}

static void query_monitor(struct gdb *gdb, struct gdb_text *text)
{
    g_autoptr(GByteArray) line = gdb_take_hex(text);
    g_autofree char *output = NULL;

    if (!line) {
        gdb_reply_error(gdb, GDB_E_INVALID, NULL);
        return;
    }
    g_byte_array_append(line, (const guint8 *)"", 1);
    gdb->in_command = true;
    output = gdb->host.command(gdb->host.opaque, (const char *)line->data);
    gdb->in_command = false;
    if (*output)
        gdb_send_console(gdb, output);
    gdb_reply_text(gdb, "OK");
}

static void query_version(struct gdb *gdb, struct gdb_text *text)
{
    gdb_reply_text(gdb, "name:cloister;version:" CLOISTER_VERSION ";");
}

static void set_no_ack(struct gdb *gdb, struct gdb_text *text)
{
    gdb_reply_text(gdb, "OK");
    gdb->client.no_ack = true;
}

static void set_error_strings(struct gdb *gdb, struct gdb_text *text)
{
    gdb->client.error_strings = true;
    gdb_reply_text(gdb, "OK");
}

/* --- QEMU's --- */

static void query_qemu(struct gdb *gdb, struct gdb_text *text)
{
    gdb_reply_text(gdb, "sstepbits;sstep;PhyMemMode");
}

static void query_step_bits(struct gdb *gdb, struct gdb_text *text)
{
    gdb_reply_text(gdb, "ENABLE=1,NOIRQ=2,NOTIMER=4");
}

static void query_step(struct gdb *gdb, struct gdb_text *text)
{
    g_autoptr(GString) out = g_string_new(NULL);

    g_string_printf(out, "0x%x", gdb->client.step_flags);
    gdb_reply(gdb, out);
}

static void set_step(struct gdb *gdb, struct gdb_text *text)
{
    uint64_t flags;

    gdb_take_word(text, "0x");
    if (!gdb_take_number(text, &flags) || (flags & ~(uint64_t)GDB_STEP_ALL)) {
        gdb_reply_error(gdb, GDB_E_INVALID, NULL);
        return;
    }
    gdb->client.step_flags = (unsigned)flags;
    gdb_reply_text(gdb, "OK");
}

static void query_physical(struct gdb *gdb, struct gdb_text *text)
{
    gdb_reply_text(gdb, gdb->client.physical ? "1" : "0");
}

static void set_physical(struct gdb *gdb, struct gdb_text *text)
{
    uint64_t value;

    if (!gdb_take_number(text, &value)) {
        gdb_reply_error(gdb, GDB_E_INVALID, NULL);
        return;
    }
    gdb->client.physical = value != 0;
    gdb_reply_text(gdb, "OK");
}

static const struct query_row {
    const char *word;
    char after;                 /* what comes between it and its arguments; 0: there are none */
    void (*run)(struct gdb *gdb, struct gdb_text *text);
} queries[] = {
    { "qSupported", ':', query_supported }, { "qSupported", 0, query_supported },
    { "qC", 0, query_current },
    { "qfThreadInfo", 0, query_first_threads }, { "qsThreadInfo", 0, query_next_threads },
    { "qThreadExtraInfo", ',', query_thread_info },
    { "qAttached", 0, query_attached }, { "qAttached", ':', query_attached },
    { "qXfer:features:read", ':', query_features },
    { "qRcmd", ',', query_monitor },
    { "qGDBServerVersion", 0, query_version },
    { "QStartNoAckMode", 0, set_no_ack }, { "QEnableErrorStrings", 0, set_error_strings },
    { "qqemu.Supported", 0, query_qemu }, { "qqemu.sstepbits", 0, query_step_bits },
    { "qqemu.sstep", 0, query_step }, { "Qqemu.sstep", '=', set_step },
    { "Qqemu.sstep", ':', set_step },
    { "qqemu.PhyMemMode", 0, query_physical }, { "Qqemu.PhyMemMode", ':', set_physical },
};

bool gdb_handle_query(struct gdb *gdb, struct gdb_text *text)
{
    for (size_t i = 0; i < G_N_ELEMENTS(queries); i++) {
        const struct query_row *row = &queries[i];
        struct gdb_text rest = *text;

        if (gdb_take_word(&rest, row->word) &&
            (row->after ? gdb_take(&rest, row->after) : rest.p == rest.end)) {
            row->run(gdb, &rest);
            return true;
        }
    }
    return false;
}
