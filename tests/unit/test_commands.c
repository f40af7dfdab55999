/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command table itself: rows are complete and don't clash, results are what
 * the schema promises, the schema hangs together; and what people see.
 */
#include "command.h"
#include "fake_vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int setup(void **state)
{
    fake_vm_reset();
    return 0;
}

static int teardown(void **state)
{
    object_delete_all();
    g_free(fake_vm_take_log());
    return 0;
}

static void for_each(void (*fn)(const struct command *cmd))
{
    for (size_t t = 0; command_tables[t]; t++) {
        for (const struct command *cmd = command_tables[t]; cmd->run; cmd++)
            fn(cmd);
    }
}

static void check_row(const struct command *cmd)
{
    assert_true(cmd->qmp || cmd->hmp);
    assert_non_null(cmd->help);
    assert_true(*cmd->help && !strchr(cmd->help, '\n'));
    if (cmd->qmp)
        assert_ptr_equal(command_find_qmp(cmd->qmp), cmd);
    if (cmd->hmp) {
        g_auto(GStrv) names = g_strsplit(cmd->hmp, "|", -1);

        for (char **name = names; *name; name++)
            assert_ptr_equal(command_find_hmp(*name), cmd);
        /* What can be typed is shown, and the other way round. */
        assert_true((cmd->args != NULL) == (cmd->params != NULL) ||
                    strcmp(cmd->hmp, "info") == 0);
        assert_true(!cmd->ret || cmd->print || cmd->ret == &type_text);
    }
}

static void test_rows_are_complete(void **state)
{
    for_each(check_row);
}

static bool needs_args(const struct command *cmd)
{
    for (const struct schema_member *m = cmd->args ? cmd->args->members : NULL; m && m->name; m++) {
        if (!m->optional)
            return true;
    }
    return false;
}

static void run_row(const struct command *cmd)
{
    unsigned cpu = 0;
    struct monitor_ctx ctx = { .vm = &fake_vm, .cpu = &cpu };
    struct json_object *ret = NULL;
    g_autoptr(GError) error = NULL;
    GString *text;

    if (needs_args(cmd) || (cmd->qmp && strcmp(cmd->qmp, "qmp_capabilities") == 0))
        return;
    assert_true(command_run(cmd, &ctx, NULL, &ret, &error));
    if (!schema_check(cmd->ret ? cmd->ret : &schema_empty, "return", ret, &error))
        fail_msg("%s: %s", cmd->qmp ? cmd->qmp : cmd->hmp, error->message);
    text = g_string_new(NULL);
    if (cmd->print)
        cmd->print(&ctx, ret, text);
    assert_true(text->len == 0 || text->str[text->len - 1] == '\n');
    g_string_free(text, TRUE);
    json_object_put(ret);
}

static void test_results_are_what_the_schema_says(void **state)
{
    g_free(monitor_hmp_run(&fake_vm, "object_add memory-backend-ram,id=m0,size=64M"));
    for_each(run_row);
}

/* --- query-qmp-schema --- */

static struct json_object *schema_entry(struct json_object *schema, const char *name)
{
    for (size_t i = 0; i < json_object_array_length(schema); i++) {
        struct json_object *entry = json_object_array_get_idx(schema, i);

        if (strcmp(json_text(entry, "name"), name) == 0)
            return entry;
    }
    return NULL;
}

static void check_reference(struct json_object *schema, struct json_object *holder,
                            const char *member)
{
    const char *type = json_text(holder, member);

    if (type && !schema_entry(schema, type))
        fail_msg("%s: no type %s", json_object_to_json_string(holder), type);
}

static void test_schema_hangs_together(void **state)
{
    static const char *const references[] = { "arg-type", "ret-type", "element-type" };
    struct json_object *schema = NULL, *members;
    unsigned cpu = 0;
    struct monitor_ctx ctx = { .vm = &fake_vm, .cpu = &cpu };

    assert_true(command_run(command_find_qmp("query-qmp-schema"), &ctx, NULL, &schema, NULL));
    for (size_t i = 0; i < json_object_array_length(schema); i++) {
        struct json_object *entry = json_object_array_get_idx(schema, i);
        const char *meta = json_text(entry, "meta-type");

        assert_ptr_equal(schema_entry(schema, json_text(entry, "name")), entry);
        for (size_t r = 0; r < G_N_ELEMENTS(references); r++)
            check_reference(schema, entry, references[r]);
        if (strcmp(meta, "object") != 0)
            continue;
        json_object_object_get_ex(entry, "members", &members);
        for (size_t m = 0; m < json_object_array_length(members); m++)
            check_reference(schema, json_object_array_get_idx(members, m), "type");
    }
    assert_non_null(schema_entry(schema, "x-query-ramblock-attributes"));
    assert_non_null(schema_entry(schema, "SHUTDOWN"));
    assert_string_equal(json_text(schema_entry(schema, "int"), "json-type"), "int");
    json_object_put(schema);
}

/* --- For people --- */

static const struct {
    const char *line, *output;
} lines[] = {
    { "", "" },
    { "   ", "" },
    { "# a comment", "" },
    { "nosuch", "unknown command: 'nosuch'\n" },
    { "info nosuch", "unknown command: 'info nosuch'\n" },
    { "info status", "VM status: running\n" },
    { "  info   status  ", "VM status: running\n" },
    { "info status x", "status: extraneous characters at the end of line\n"
                       "Try \"help info status\" for more information\n" },
    { "s", "" },
    { "info status", "VM status: paused\n" },
    { "c", "" },
    { "stop 1", "stop|s: extraneous characters at the end of line\n"
                "Try \"help stop\" for more information\n" },
    { "help stop", "stop|s  -- stop emulation\n" },
    { "help info kvm", "info kvm  -- show the KVM in use and how it keeps memory private\n" },
    { "help nosuch", "unknown command: 'nosuch'\n" },
    { "info name", "vm one\n" },
    { "info uuid", "00000000-0000-0000-0000-000000000000\n" },
    { "info version", "10.2.0 (cloister " CLOISTER_VERSION ")\n" },
    { "info kvm", "kvm support: enabled\ndriver: soft (a fake)\n"
                  "private memory: attributes per guest_memfd, converted in place\n" },
    { "info cpus", "* CPU #0: thread_id=1000\n  CPU #1: thread_id=1001\n" },
    { "cpu", "unexpected end of expression\nTry \"help cpu\" for more information\n" },
    { "cpu x", "invalid char 'x' in expression\nTry \"help cpu\" for more information\n" },
    { "cpu 99999999999999999999", "number too large\nTry \"help cpu\" for more information\n" },
    { "cpu 2", "Error: invalid CPU index\n" },
    { "cpu -1", "Error: invalid CPU index\n" },
    { "cpu 1", "" },
    { "info memory_size_summary", "base memory: 67108864\nplugged memory: 0\n" },
    { "info memory-devices", "" },
    { "qom-set nosuch size 2M", "Error: Device 'nosuch' not found\n" },
    { "qom-set /objects/nosuch size 2M", "Error: Device '/objects/nosuch' not found\n" },
    { "object_add memory-backend-ram,id=q0,size=1M", "" },
    { "qom-set /objects/q0 size 2M", "Error: cannot change property 'size' of memory-backend-ram: "
                                     "object_del and object_add make it anew\n" },
    { "object_del q0", "" },
    { "qom-set /objects nosuch 1", "Error: Property 'container.nosuch' not found\n" },
    { "object_add", "object_add: string expected\nTry \"help object_add\" for more information\n" },
    { "object_add nosuch,id=x", "Error: Parameter 'qom-type' does not accept value 'nosuch'\n" },
    { "object_add memory-backend-ram,id=m0,size=1X",
      "Error: Parameter 'size' expects a size value\n" },
    { "object_add memory-backend-ram,id=m0,size=64M", "" },
    { "qom-list /objects", "type (string)\nm0 (child<memory-backend-ram>)\n" },
    { "qom-get /objects/m0 size", "67108864\n" },
    { "qom-get \"/objects/m0\" type", "\"memory-backend-ram\"\n" },
    { "qom-get \"unfinished", "qom-get: string expected\n"
                              "Try \"help qom-get\" for more information\n" },
    { "info memdev", "memory backend: m0\n  size:  67108864\n  merge: true\n  dump: true\n"
                     "  prealloc: false\n  share: false\n  reserve: true\n  policy: default\n"
                     "  host nodes: \n\n" },
    { "info vfio-containers", "m0: no device, books only\n  mappings: 3\n"
      "  max-mappings: 65535\n  locked: 12288\n  max-locked: 0\n  missing: 0\n"
      "  refused: 0\n  splits: 0\n  merges: 0\n" },
    { "object_del m0", "" },
    { "info memdev", "\n" },
    { "info ramblock-attributes", "m0:\n"
      "  0x0000000000000000-0x00000000000fffff shared+populated\n"
      "  0x0000000000100000-0x0000000003ffffff private-populated\n" },
    { "info ramblock-attributes -c m1@0x3000 -n 3 -b m1 -m 0x1000 -s 0x2000 -g 0x5000", "m1:\n"
      "  0x0000000000005000-0x0000000000006fff private-populated gpa 0x0000000000001003\n"
      "there are more: add -c m1@0x3000\n" },
    { "info ramblock-attributes -n 0", "Error: Parameter 'limit' expects at least 1\n" },
    { "info ramblock-attributes -g -4096",
      "Error: Parameter 'gpa' expects a number that isn't negative\n" },
    { "info ramblock-attributes -n", "unexpected end of expression\n"
      "Try \"help info ramblock-attributes\" for more information\n" },
    { "info ramblock-attributes m0",
      "ramblock-attributes: extraneous characters at the end of line\n"
      "Try \"help info ramblock-attributes\" for more information\n" },
    { "info conversions -s 1", "     2 00:00:02.000000 0x0000000000100000+0x1000 to shared, 1 pages,"
      " hypercall, CPU 1 at 0xffffffff81000010: failed at 0x100000: No space left on device\n" },
    { "info conversions -n 2 -s 2", "" },
    { "info conversions -n 0", "Error: Parameter 'limit' expects a number of at least 1\n" },
    { "conversion_events on 99",
      "Error: Parameter 'interval' expects milliseconds, at least 100\n" },
    { "conversion_events perhaps", "conversion_events: 'on' or 'off' expected\n"
      "Try \"help conversion_events\" for more information\n" },
    { "conversion_events on", "" },
    { "conversion_events off", "" },
    { "info memory-cost", "m0: two-backings\n  size: 16384\n  shared: 4096\n  private: 8192\n"
      "  doubly-held: 4096\n  stale: 4096\n"
      "m1: two-backings\n  size: 16384\n  shared: 4096\n"
      "  private: unknown: this KVM's guest_memfd doesn't tell\n  stale: 0\n"
      "pc.bios: plain\n  size: 131072\n  shared: 131072\n" },
    { "info ramblock-summary", "m0:\n  size: 67108864\n  private: 66060288\n"
      "  shared: 1048576\n  populated: 1048576\n  ranges: 2\n  map-bytes: 4096\n"
      "  largest-private: 0x3f00000 at 0x100000\n  largest-shared: 0x100000 at 0x0\n" },
    { "info ramblock",
      "              Block Name    PSize              Offset               Used"
      "              Total                HVA  RO\n"
      "                      m0    4 KiB  0x0000000000000000 0x0000000004000000"
      " 0x0000000004000000 0x00007f0000000000  rw\n"
      "                 pc.bios    4 KiB  0x0000000004000000 0x0000000000020000"
      " 0x0000000000020000 0x00007f0000000000  ro\n" },
    { "p 1+2*3", "0x7\n" }, { "p 6&3+1", "0x3\n" }, { "p/d (1+2)*-3", "-9\n" },
    { "p/x ~0", "0xffffffffffffffff\n" }, { "p/o 8", "010\n" }, { "p/c 0x41", "'A'\n" },
    { "p/u 'a'", "97\n" }, { "p/x 010", "0x8\n" }, { "p/x 7 % 4 | 8", "0xb\n" },
    { "p/d -7/2", "-3\n" }, { "p (1 << 2)", "')' expected\nTry \"help print\" for more information\n" },
    { "p/d 0x8000000000000000/-1", "-9223372036854775808\n" },
    { "p/d 1/0", "division by zero\nTry \"help print\" for more information\n" },
    { "p/x $rax", "0x1234\n" }, { "p/x $eax+1", "0x1235\n" }, { "p $pc", "0xffffffff81000000\n" },
    { "p $RIP", "0xffffffff81000000\n" }, { "p $cs", "0x10\n" }, { "p $cs.limit", "0xffffffff\n" },
    { "p $cr0", "0x80050033\n" },
    { "p $foo", "unknown register\nTry \"help print\" for more information\n" },
    { "p", "unexpected end of expression\nTry \"help print\" for more information\n" },
    { "p 1+", "unexpected end of expression\nTry \"help print\" for more information\n" },
    { "p 18446744073709551616", "number too large\nTry \"help print\" for more information\n" },
    { "p t", "invalid char 't' in expression\nTry \"help print\" for more information\n" },
    { "p 'ab", "missing terminating ' character\nTry \"help print\" for more information\n" },
    { "p 1 2", "print|p: extraneous characters at the end of line\n"
               "Try \"help print\" for more information\n" },
    { "p/z 1", "Error: invalid char in format: 'z'\n" },
    { "xp/2xg 0x100", "0000000000000100: 0x0706050403020100 0x0f0e0d0c0b0a0908\n" },
    { "xp /3 0x100", "0000000000000100: 0x0706050403020100 0x0f0e0d0c0b0a0908\n"
                     "0000000000000110: 0x1716151413121110\n" },
    { "xp/3xb 0x100+1", "0000000000000101: 0x01 0x02 0x03\n" },
    { "xp/9b 0x100", "0000000000000100: 0x00 0x01 0x02 0x03 0x04 0x05 0x06 0x07\n"
                     "0000000000000108: 0x08\n" },
    { "xp/2db 0x1fe", "00000000000001fe: 254 255\n" },
    { "xp/2uh 0x1fc", "00000000000001fc: 65020 65534\n" },
    { "xp/2ob 0x108", "0000000000000108: 010 011\n" },
    { "xp/3c 0x125", "0000000000000125: '%' '&' '\\''\n" },
    { "xp/2c 0x10a", "000000000000010a: '\\n' '\\x0b'\n" },
    { "xp/0x 0", "" },
    { "xp/2xg 0xfff8", "000000000000fff8: 0x0000000000000000 : Cannot access memory\n"
      "0x10000 is private memory, which can't be read without a debug object:"
      " -object sw-protected-vm-debug,id=d0,allow=read -machine debug=d0\n" },
    { "xp 0x40000", "0000000000040000: Cannot access memory\n"
                    "No memory is mapped at address 0x40000\n" },
    { "xp/99999x 0", "Error: 65536 values are the most at a time: pmemsave\n" },
    { "xp", "unexpected end of expression\nTry \"help xp\" for more information\n" },
    { "gpa2hva 0x1234", "Host virtual address for 0x1234 (m0) is 0x7f0000001234\n" },
    { "gpa2hpa 0x1234", "Error: Memory at address 0x1234 isn't in the host's RAM now: it was never "
                        "touched, or is swapped out\n" },
    { "gpa2hpa 0x40000", "Error: No memory is mapped at address 0x40000\n" },
    { "gpa2hva 0x10000", "Error: Memory at address 0x10000 is private: the host has no address for"
                         " it\n" },
    { "gpa2hva 0x40000", "Error: No memory is mapped at address 0x40000\n" },
    { "x-gpa-attributes 0xf000 0x20000", "000000000000f000-000000000000ffff shared m0+0xf000\n"
      "0000000000010000-000000000001ffff private m0+0x10000 (can't be read)\n"
      "0000000000020000-000000000002efff nothing\n" },
    { "pmemsave 0 16 /nonexistent/file",
      "Error: Could not open '/nonexistent/file': No such file or directory\n" },
    { "memsave 0 16", "memsave: string expected\nTry \"help memsave\" for more information\n" },
    { "info debug", "debug object: none\nshared memory and devices: read, write\n"
                    "private memory: forbidden\n" },
    { "info registers 7", "Error: CPU#7 not available\n" },
    { "info registers -a 1 2", "registers: extraneous characters at the end of line\n"
                               "Try \"help info registers\" for more information\n" },
    { "nmi", "" },
};

static void test_lines(void **state)
{
    for (int i = 0; i < 256; i++)
        fake_ram[0x100 + i] = (uint8_t)i;
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_autofree char *out = monitor_hmp_run(&fake_vm, lines[i].line);

        if (strcmp(out, lines[i].output) != 0)
            fail_msg("%s\ngot\n%swanted\n%s", lines[i].line, out, lines[i].output);
    }
    assert_false(fake_vm_holds());
}

static void test_registers(void **state)
{
    g_autofree char *one = monitor_hmp_run(&fake_vm, "info registers");
    g_autofree char *all = monitor_hmp_run(&fake_vm, "info registers -a");

    assert_true(g_str_has_prefix(one, "\nCPU#0\nRAX=0000000000001234 RBX=0000000000000000 "));
    assert_non_null(strstr(one, "RIP=ffffffff81000000 RFL=00000246 [---Z-P-] CPL=0"));
    assert_non_null(strstr(one, "CS =0010 0000000000000000 ffffffff 00a09b00 DPL=0 CS64 [-RA]"));
    assert_non_null(strstr(one, "CR0=80050033"));
    assert_non_null(strstr(all, "\nCPU#1\n"));
    assert_null(strstr(one, "CPU#1"));
}

static void test_help_lists_every_command(void **state)
{
    g_autofree char *help = monitor_hmp_run(&fake_vm, "help");
    g_autofree char *info = monitor_hmp_run(&fake_vm, "info");

    assert_non_null(strstr(help, "cont|c  -- resume emulation\n"));
    assert_null(strstr(help, "info status"));
    assert_non_null(strstr(info, "info status  -- show the current VM status\n"));
    assert_null(strstr(info, "cont|c"));
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void)
{
    setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {
        TEST(test_rows_are_complete), TEST(test_results_are_what_the_schema_says),
        TEST(test_schema_hangs_together), TEST(test_lines), TEST(test_registers),
        TEST(test_help_lists_every_command),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
