/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Framing and numbers of gdb's remote protocol, and the description of the registers. */
#include "gdb_packet.h"
#include "gdb_registers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Feed it in pieces of one byte; the last event that isn't nothing. */
static enum gdb_event feed(struct gdb_reader *reader, const char *text, size_t size)
{
    enum gdb_event last = GDB_NOTHING, event;

    for (size_t i = 0; i < size; i++) {
        assert_int_equal(gdb_reader_feed(reader, (const uint8_t *)text + i, 1, &event), 1);
        if (event != GDB_NOTHING)
            last = event;
    }
    return last;
}

static void framing(void **state)
{
    static const struct {
        const char *in;
        enum gdb_event event;
        const char *packet;
    } rows[] = {
        { "$#00", GDB_PACKET, "" }, { "$g#67", GDB_PACKET, "g" }, { "xx$g#67", GDB_PACKET, "g" },
        { "$g#68", GDB_BAD_SUM, NULL }, { "$g#zz", GDB_BAD_SUM, NULL },
        { "+", GDB_ACK, NULL }, { "-", GDB_NAK, NULL }, { "\x03", GDB_INTERRUPT, NULL },
        { "$a}\x03#e1", GDB_PACKET, "a#" },             /* '#' escaped */
        { "$0* #7a", GDB_PACKET, "0000" },              /* a run of 3 more */
        { "$*~#a8", GDB_TOO_LONG, NULL },               /* a run of nothing */
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct gdb_reader reader;

        gdb_reader_init(&reader);
        assert_int_equal(feed(&reader, rows[i].in, strlen(rows[i].in)), rows[i].event);
        if (rows[i].packet) {
            assert_int_equal(reader.packet->len, strlen(rows[i].packet));
            assert_string_equal((const char *)reader.packet->data, rows[i].packet);
        }
        gdb_reader_clear(&reader);
    }
}

static void longest(void **state)
{
    g_autoptr(GByteArray) framed = g_byte_array_new();
    g_autofree char *text = g_malloc(GDB_PACKET_MAX + 1);
    struct gdb_reader reader;

    memset(text, 'a', GDB_PACKET_MAX + 1);
    gdb_reader_init(&reader);
    gdb_frame(framed, text, GDB_PACKET_MAX);
    assert_int_equal(feed(&reader, (const char *)framed->data, framed->len), GDB_PACKET);
    assert_int_equal(reader.packet->len, GDB_PACKET_MAX);
    g_byte_array_set_size(framed, 0);
    gdb_frame(framed, text, GDB_PACKET_MAX + 1);
    assert_int_equal(feed(&reader, (const char *)framed->data, framed->len), GDB_TOO_LONG);
    gdb_reader_clear(&reader);
}

static void binary_round(void **state)
{
    g_autoptr(GByteArray) framed = g_byte_array_new();
    g_autoptr(GString) escaped = g_string_new(NULL);
    struct gdb_reader reader;
    uint8_t all[256];

    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    gdb_append_binary(escaped, all, sizeof(all));
    gdb_frame(framed, escaped->str, escaped->len);
    gdb_reader_init(&reader);
    assert_int_equal(feed(&reader, (const char *)framed->data, framed->len), GDB_PACKET);
    assert_int_equal(reader.packet->len, sizeof(all));
    assert_memory_equal(reader.packet->data, all, sizeof(all));
    gdb_reader_clear(&reader);
}

static struct gdb_text text_of(const char *s)
{
    return (struct gdb_text){ s, s + strlen(s) };
}

static void numbers(void **state)
{
    struct gdb_text text = text_of("12aB,ffffffffffffffff:");
    uint64_t addr, size;

    assert_true(gdb_take_range(&text, &addr, &size));
    assert_int_equal(addr, 0x12ab);
    assert_int_equal(size, UINT64_MAX);
    assert_true(gdb_take(&text, ':'));
    assert_false(gdb_take(&text, ':'));
    text = text_of("");
    assert_false(gdb_take_number(&text, &addr));
    text = text_of("10000000000000000");
    assert_false(gdb_take_number(&text, &addr));
    text = text_of("abc");
    assert_null(gdb_take_hex(&text));
}

static void thread_ids(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int thread;
    } rows[] = {
        { "1", true, 1 }, { "0", true, GDB_THREAD_ANY }, { "-1", true, GDB_THREAD_ALL },
        { "p1.a", true, 10 }, { "p1.-1", true, GDB_THREAD_ALL }, { "p1", true, GDB_THREAD_ALL },
        { "p-1.-1", true, GDB_THREAD_ALL }, { "p0.0", true, GDB_THREAD_ANY },
        { "p2.1", false, 0 }, { "", false, 0 }, { "p", false, 0 }, { "p1.", false, 0 },
        { "ffffffff", false, 0 }, { "-2", false, 0 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct gdb_text text = text_of(rows[i].text);
        int thread = 0;

        assert_int_equal(gdb_take_thread(&text, &thread), rows[i].ok);
        if (rows[i].ok)
            assert_int_equal(thread, rows[i].thread);
    }
}

static unsigned find_register(const char *name)
{
    g_autofree char *wanted = g_strdup_printf("<reg name=\"%s\" ", name);
    const char *at = strstr(gdb_target_xml(), wanted);

    assert_non_null(at);
    return (unsigned)strtoul(strstr(at, "regnum=\"") + strlen("regnum=\""), NULL, 10);
}

static void set_number(struct gdb_registers *r, const char *name, uint64_t value, bool ok)
{
    uint8_t bytes[GDB_REGISTER_MAX] = { 0 };

    memcpy(bytes, &value, sizeof(value));
    assert_int_equal(gdb_register_set(r, find_register(name), bytes, NULL), ok);
}

static void registers(void **state)
{
    struct gdb_registers r = { .regs.rflags = 2, .sregs.cr0 = 0x10, .fpu.ftwx = 0x81 };
    uint8_t bytes[GDB_REGISTER_MAX];
    size_t sum = 0;

    for (unsigned n = 0; gdb_register_size(n); n++)
        sum += gdb_register_size(n);
    assert_int_equal(sum, 608);
    assert_int_equal(find_register("rip"), GDB_RIP);
    /* Real mode: the base follows the selector; protected mode has a descriptor. */
    set_number(&r, "ds", 0x1234, true);
    assert_int_equal(r.sregs.ds.base, 0x12340);
    assert_true(r.sregs_changed && !r.regs_changed);
    set_number(&r, "cr0", 0x11, true);
    set_number(&r, "ds", 0x1234, true);
    set_number(&r, "ds", 0x10, false);
    set_number(&r, "rax", 7, true);
    assert_int_equal(r.regs.rax, 7);
    /* Empty is 3, a zero is 1. */
    gdb_register_get(&r, find_register("ftag"), bytes);
    assert_int_equal(bytes[0] | bytes[1] << 8, 0x7ffd);
    set_number(&r, "ftag", 0xffff, true);
    assert_int_equal(r.fpu.ftwx, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(framing), cmocka_unit_test(longest), cmocka_unit_test(binary_round),
        cmocka_unit_test(numbers), cmocka_unit_test(thread_ids), cmocka_unit_test(registers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
