/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QMP dialogues over a socketpair: what is sent, and every byte that comes back
 * (time stamps apart).  Sources of the expected texts: QEMU 7.2's own answers.
 */
#include "chardev.h"
#include "fake_vm.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int client = -1;
static GRegex *stamp;

static void run_loop(void)
{
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

/* Everything that has arrived; caller frees. */
static char *take(void)
{
    GString *text = g_string_new(NULL);
    char buf[4096], *cut;
    ssize_t n;

    do {
        run_loop();
        n = recv(client, buf, sizeof(buf), MSG_DONTWAIT);
        if (n > 0)
            g_string_append_len(text, buf, n);
    } while (n > 0);
    cut = g_regex_replace_literal(stamp, text->str, -1, 0, "T", 0, NULL);
    g_string_free(text, TRUE);
    return cut;
}

static void send_bytes(const char *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = send(client, data + done, size - done, MSG_DONTWAIT);

        if (n > 0)
            done += (size_t)n;
        else
            assert_int_equal(errno, EAGAIN);
        run_loop();
    }
}

static char *ask(const char *input)
{
    send_bytes(input, strlen(input));
    return take();
}

static void connect_qmp(enum monitor_mode mode)
{
    static unsigned number;
    GError *error = NULL;
    int fds[2];
    g_autofree char *option = NULL;
    struct chardev *chr;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    client = fds[0];
    option = g_strdup_printf("socket,id=c%u,fd=%d", number++, fds[1]);
    chr = chardev_new_option(option, &error);
    assert_non_null(chr);
    assert_non_null(monitor_new(chr, mode, &fake_vm, &error));
}

static int setup(void **state)
{
    stamp = g_regex_new("\\{\"seconds\": [0-9]+, \"microseconds\": [0-9]+\\}", 0, 0, NULL);
    fake_vm_reset();
    connect_qmp(MONITOR_QMP);
    return 0;
}

static int teardown(void **state)
{
    monitor_free_all();
    chardev_free_all();
    close(client);
    g_regex_unref(stamp);
    g_free(fake_vm_take_log());
    object_delete_all();
    return 0;
}

#define GREETING "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, \"major\": 10}, " \
                 "\"package\": \"cloister " CLOISTER_VERSION "\"}, \"capabilities\": []}}\r\n"
#define OK "{\"return\": {}}\r\n"
#define ERR(class_, desc_) "{\"error\": {\"class\": \"" class_ "\", \"desc\": \"" desc_ "\"}}\r\n"
#define ERR_ID(class_, desc_, id_) \
    "{\"error\": {\"class\": \"" class_ "\", \"desc\": \"" desc_ "\"}, \"id\": " id_ "}\r\n"
#define GENERIC(desc_) ERR("GenericError", desc_)
#define PARSE(desc_) GENERIC("JSON parse error, " desc_)
#define EVENT(name_) "{\"timestamp\": T, \"event\": \"" name_ "\"}\r\n"
#define EVENT_CAUSE(name_, reason_) "{\"timestamp\": T, \"event\": \"" name_ \
    "\", \"data\": {\"guest\": false, \"reason\": \"" reason_ "\"}}\r\n"

static void negotiate(void)
{
    g_autofree char *greeting = take();
    g_autofree char *reply = ask("{\"execute\": \"qmp_capabilities\"}");

    assert_string_equal(greeting, GREETING);
    assert_string_equal(reply, OK);
}

struct row {
    const char *input, *output;
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        g_autofree char *reply = ask(rows[i].input);

        if (strcmp(reply, rows[i].output) != 0)
            fail_msg("%s\ngot\n%swanted\n%s", rows[i].input, reply, rows[i].output);
    }
}

static void test_negotiation(void **state)
{
    static const struct row rows[] = {
        { "{\"execute\":\"query-status\"}",
          ERR("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'") },
        { "{\"execute\":\"nosuch\",\"id\":1}",
          ERR_ID("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'",
                 "1") },
        { "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"x\"]}}",
          GENERIC("Parameter 'enable[0]' does not accept value 'x'") },
        { "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}",
          GENERIC("Capability 'oob' is not available") },
        { "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":\"oob\"}}",
          GENERIC("Invalid parameter type for 'enable', expected: array") },
        { "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[1]}}",
          GENERIC("Invalid parameter type for 'enable[0]', expected: string") },
        { "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[]}}", OK },
        { "{\"execute\":\"qmp_capabilities\"}",
          ERR("CommandNotFound",
              "Capabilities negotiation is already complete, command ignored") },
    };
    g_autofree char *greeting = take();

    assert_string_equal(greeting, GREETING);
    monitor_event("POWERDOWN", NULL);       /* not delivered yet, nor later */
    check_rows(rows, G_N_ELEMENTS(rows));
}

static void test_requests_are_checked(void **state)
{
    static const struct row rows[] = {
        { "[]", GENERIC("QMP input must be a JSON object") },
        { "42\n", GENERIC("QMP input must be a JSON object") },
        { "null\n", GENERIC("QMP input must be a JSON object") },
        { "{}", GENERIC("QMP input lacks member 'execute'") },
        { "{\"id\":1}", ERR_ID("GenericError", "QMP input lacks member 'execute'", "1") },
        { "{\"execute\":1}", GENERIC("QMP input member 'execute' must be a string") },
        { "{\"execute\":null}", GENERIC("QMP input member 'execute' must be a string") },
        { "{\"execute\":\"stop\",\"exec-oob\":\"stop\"}",
          GENERIC("QMP input member 'execute' clashes with 'exec-oob'") },
        { "{\"execute\":\"stop\",\"bogus\":1}",
          GENERIC("QMP input member 'bogus' is unexpected") },
        { "{\"execute\":\"stop\",\"arguments\":[]}",
          GENERIC("QMP input member 'arguments' must be an object") },
        { "{\"execute\":\"stop\",\"arguments\":null}",
          GENERIC("QMP input member 'arguments' must be an object") },
        { "{\"execute\":\"nosuch\"}",
          ERR("CommandNotFound", "The command nosuch has not been found") },
        { "{\"execute\":\"info status\"}",
          ERR("CommandNotFound", "The command info status has not been found") },
        { "{\"execute\":\"stop\",\"arguments\":{\"x\":1}}",
          GENERIC("Parameter 'x' is unexpected") },
        { "{\"execute\":\"object-del\"}", GENERIC("Parameter 'id' is missing") },
        { "{\"execute\":\"object-del\",\"arguments\":{\"id\":1}}",
          GENERIC("Invalid parameter type for 'id', expected: string") },
        { "{\"execute\":\"object-del\",\"arguments\":{\"id\":null}}",
          GENERIC("Invalid parameter type for 'id', expected: string") },
        { "{\"execute\":\"qom-list\",\"arguments\":{\"path\":\"/x\"}}",
          ERR("DeviceNotFound", "Device '/x' not found") },
        { "{\"exec-oob\":\"query-status\"}",
          GENERIC("The command query-status does not support OOB") },
    };

    negotiate();
    check_rows(rows, G_N_ELEMENTS(rows));
    g_autofree char *log = fake_vm_take_log();

    assert_string_equal(log, "");       /* none of them ran */
}

static void test_ids_come_back(void **state)
{
    static const char *const ids[] = {
        "1", "-1", "18446744073709551615", "1.5", "\"a\"", "\"\\u00E4\\u0000\"", "null", "true",
        "{}", "[]", "{\"a\": [1, {\"b\": null}]}",
    };

    negotiate();
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++) {
        g_autofree char *good = g_strdup_printf("{\"execute\": \"query-name\", \"id\": %s}",
                                                ids[i]);
        g_autofree char *bad = g_strdup_printf("{\"id\": %s, \"execute\": \"x\"}", ids[i]);
        g_autofree char *want_good = g_strdup_printf(
            "{\"return\": {\"name\": \"vm one\"}, \"id\": %s}\r\n", ids[i]);
        g_autofree char *want_bad = g_strdup_printf(
            ERR_ID("CommandNotFound", "The command x has not been found", "%s"), ids[i]);
        g_autofree char *good_reply = ask(good), *bad_reply = ask(bad);

        assert_string_equal(good_reply, want_good);
        assert_string_equal(bad_reply, want_bad);
    }
}

static void test_parse_errors(void **state)
{
    static const struct row rows[] = {
        { "{\"execute\": tru}", PARSE("invalid keyword 'tru'") },
        { "{\"execute\": \"stop\", \"execute\": \"cont\"}", PARSE("duplicate key") },
        { "{\"execute\": \"stop\",}", PARSE("expecting value") },
        { "{\"execute\": \"stop\", /* */ }\n", PARSE("stray '/'") },
        { "{\"execute\" \"stop\"}", PARSE("missing : in object pair") },
        { "{execute: \"stop\"}", PARSE("invalid keyword 'execute'") },
        { "{\"execute\": \"\\q\", \"id\": 1}", PARSE("invalid escape sequence in string") },
        { "{\"execute\": \"\xc3(\", \"id\": 1}", PARSE("invalid UTF-8 sequence in string") },
        { "{\"execute\": \"st\xff", PARSE("stray '\\uFFFD'") },
        { "{'execute': 'query-name'}", "{\"return\": {\"name\": \"vm one\"}}\r\n" },
    };

    negotiate();
    check_rows(rows, G_N_ELEMENTS(rows));
}

static void test_events_come_before_returns(void **state)
{
    static const struct row rows[] = {
        { "{\"execute\":\"stop\"}", EVENT("STOP") OK },
        { "{\"execute\":\"stop\"}", OK },
        { "{\"execute\":\"query-status\"}",
          "{\"return\": {\"running\": false, \"status\": \"paused\"}}\r\n" },
        { "{\"execute\":\"cont\"}", EVENT("RESUME") OK },
        { "{\"execute\":\"cont\"}", OK },
        { "{\"execute\":\"query-status\"}",
          "{\"return\": {\"running\": true, \"status\": \"running\"}}\r\n" },
        { "{\"execute\":\"system_reset\"}", EVENT_CAUSE("RESET", "host-qmp-system-reset") OK },
        { "{\"execute\":\"system_powerdown\"}", EVENT("POWERDOWN") OK },
        { "{\"execute\":\"quit\"}", EVENT_CAUSE("SHUTDOWN", "host-qmp-quit") OK },
    };

    negotiate();
    check_rows(rows, G_N_ELEMENTS(rows));
}

static void test_pipelined_and_split(void **state)
{
    g_autofree char *reply = NULL;

    negotiate();
    reply = ask("{\"execute\":\"query-name\",\"id\":1}{\"execute\":\"query-name\",\"id\":2}\r\n\r\n"
                "{\"execute\":\"query-name\",\n\"id\"\t: 3 }{\"exec");
    assert_string_equal(reply, "{\"return\": {\"name\": \"vm one\"}, \"id\": 1}\r\n"
                               "{\"return\": {\"name\": \"vm one\"}, \"id\": 2}\r\n"
                               "{\"return\": {\"name\": \"vm one\"}, \"id\": 3}\r\n");
    for (const char *p = "ute\": \"query-name\", \"id\": 4"; *p; p++) {
        send_bytes(p, 1);
        g_autofree char *none = take();

        assert_string_equal(none, "");
    }
    g_free(reply);
    reply = ask("}");
    assert_string_equal(reply, "{\"return\": {\"name\": \"vm one\"}, \"id\": 4}\r\n");
}

static void test_huge_line(void **state)
{
    static const char head[] = "{\"execute\": \"";
    static char chunk[65536];
    g_autofree char *reply = NULL;

    negotiate();
    memset(chunk, 'A', sizeof(chunk));
    send_bytes(head, strlen(head));
    for (size_t done = 0; done < 100000000; done += sizeof(chunk))
        send_bytes(chunk, sizeof(chunk));
    reply = ask("\"}\r\n{\"execute\": \"query-name\"}");
    assert_string_equal(reply, GENERIC("JSON token size limit exceeded")
                               "{\"return\": {\"name\": \"vm one\"}}\r\n");
}

/* A client that sends and never reads is not read from any more, and served when it reads. */
static void test_client_that_does_not_read(void **state)
{
    static const char request[] = "{\"execute\":\"query-qmp-schema\"}\n";
    size_t sent = 0, replies = 0;
    unsigned idle = 0;

    negotiate();
    while (idle < 3) {
        ssize_t n = send(client, request, strlen(request), MSG_DONTWAIT);

        idle = n < 0 ? idle + 1 : 0;
        sent += n == (ssize_t)strlen(request);
        assert_true(sent < 100000);     /* else it all goes somewhere */
        run_loop();
    }
    g_autofree char *text = take();

    for (const char *p = text; (p = strstr(p, "\r\n")); p += 2)
        replies++;
    assert_true(sent > 10);
    assert_true(replies >= sent);
}

/* Events can't be held back: such a client is dropped, and does not cost more. */
static void test_client_that_lets_events_pile_up(void **state)
{
    char byte;
    ssize_t n;

    negotiate();
    for (unsigned i = 0; i < 600000; i++)
        monitor_event("POWERDOWN", NULL);
    run_loop();
    do {
        n = recv(client, &byte, 1, MSG_DONTWAIT);
    } while (n > 0);
    assert_int_equal(n, 0);
}

static void *event_thread(void *arg)
{
    for (unsigned i = 0; i < 100; i++) {
        monitor_event("STOP", NULL);
        monitor_event("RESUME", NULL);
    }
    return NULL;
}

static void test_events_from_another_thread(void **state)
{
    GString *want = g_string_new(NULL);
    g_autofree char *got = NULL;
    pthread_t thread;

    negotiate();
    assert_int_equal(pthread_create(&thread, NULL, event_thread, NULL), 0);
    run_loop();
    pthread_join(thread, NULL);
    got = take();
    for (unsigned i = 0; i < 100; i++)
        g_string_append(want, EVENT("STOP") EVENT("RESUME"));
    assert_string_equal(got, want->str);
    g_string_free(want, TRUE);
}

static void test_human_monitor(void **state)
{
#define HMP(line_) "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"" \
                   line_ "\"}}"
    static const struct row rows[] = {
        { HMP("info status"), "{\"return\": \"VM status: running\\r\\n\"}\r\n" },
        { HMP(""), "{\"return\": \"\"}\r\n" },
        { HMP("stop"), EVENT("STOP") "{\"return\": \"\"}\r\n" },
        { HMP("foo"), "{\"return\": \"unknown command: 'foo'\\r\\n\"}\r\n" },
        { HMP("object_del nosuch"),
          "{\"return\": \"Error: object 'nosuch' not found\\r\\n\"}\r\n" },
        { "{\"execute\":\"human-monitor-command\",\"arguments\":"
          "{\"command-line\":\"info cpus\",\"cpu-index\":1}}",
          "{\"return\": \"  CPU #0: thread_id=1000\\r\\n* CPU #1: thread_id=1001\\r\\n\"}\r\n" },
        { "{\"execute\":\"human-monitor-command\",\"arguments\":"
          "{\"command-line\":\"info cpus\",\"cpu-index\":2}}",
          GENERIC("Parameter 'cpu-index' expects a CPU number") },
        { "{\"execute\":\"human-monitor-command\",\"arguments\":"
          "{\"command-line\":\"info cpus\",\"cpu-index\":18446744073709551615}}",
          GENERIC("Invalid parameter type for 'cpu-index', expected: integer") },
    };

    negotiate();
    check_rows(rows, G_N_ELEMENTS(rows));
}

static void test_attributes(void **state)
{
    static const struct row rows[] = {
        { "{\"execute\":\"x-query-ramblock-attributes\"}",
          "{\"return\": [{\"name\": \"m0\", \"ranges\": ["
          "{\"start\": 0, \"length\": 1048576, \"shared\": true, \"populated\": true}, "
          "{\"start\": 1048576, \"length\": 66060288, \"shared\": false, \"populated\": false}"
          "]}]}\r\n" },
        { HMP("info ramblock-attributes"),
          "{\"return\": \"m0:\\r\\n"
          "  0x0000000000000000-0x00000000000fffff shared+populated\\r\\n"
          "  0x0000000000100000-0x0000000003ffffff private-populated\\r\\n\"}\r\n" },
    };

    negotiate();
    check_rows(rows, G_N_ELEMENTS(rows));
}

static void test_objects(void **state)
{
    static const struct row rows[] = {
        { "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"memory-backend-ram\","
          "\"id\":\"m1\",\"size\":4096}}", OK },
        { "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"memory-backend-ram\","
          "\"id\":\"m2\"}}", GENERIC("Parameter 'size' is missing") },
        { "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"nosuch\",\"id\":\"m2\"}}",
          GENERIC("Parameter 'qom-type' does not accept value 'nosuch'") },
        { "{\"execute\":\"object-add\",\"arguments\":{\"id\":\"m2\"}}",
          GENERIC("Parameter 'qom-type' is missing") },
        { "{\"execute\":\"qom-list\",\"arguments\":{\"path\":\"/objects\"}}",
          "{\"return\": [{\"name\": \"type\", \"type\": \"string\"}, "
          "{\"name\": \"m1\", \"type\": \"child<memory-backend-ram>\"}]}\r\n" },
        { "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/objects/m1\","
          "\"property\":\"size\"}}", "{\"return\": 4096}\r\n" },
        { "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/objects/m1\","
          "\"property\":\"x\"}}", GENERIC("Property 'memory-backend-ram.x' not found") },
        { "{\"execute\":\"object-del\",\"arguments\":{\"id\":\"m1\"}}", OK },
        { "{\"execute\":\"object-del\",\"arguments\":{\"id\":\"m1\"}}",
          GENERIC("object 'm1' not found") },
    };

    negotiate();
    check_rows(rows, G_N_ELEMENTS(rows));
}

static void test_nmi_reaches_every_cpu(void **state)
{
    g_autofree char *reply = NULL, *log = NULL;

    negotiate();
    reply = ask("{\"execute\":\"inject-nmi\"}");
    log = fake_vm_take_log();
    assert_string_equal(reply, OK);
    assert_string_equal(log, "nmi nmi");
    assert_false(fake_vm_holds());
}

static void test_pretty(void **state)
{
    g_autofree char *greeting = NULL, *reply = NULL;

    monitor_free_all();
    close(client);
    connect_qmp(MONITOR_QMP_PRETTY);
    greeting = take();
    reply = ask("{\"execute\":\"qmp_capabilities\"}");
    assert_true(g_str_has_prefix(greeting, "{\r\n    \"QMP\": {\r\n        \"version\": {\r\n"));
    assert_string_equal(reply, "{\r\n    \"return\": {\r\n    }\r\n}\r\n");
}

/* Whatever is sent: answered or ignored, and the next line is understood. */
static void test_garbage_then_recovery(void **state)
{
    static const char marker[] = "\n{\"execute\":\"query-name\",\"id\":\"end\"}\n";
    GRand *random = g_rand_new_with_seed(1);

    negotiate();
    for (unsigned round = 0; round < 2000; round++) {
        static const char alphabet[] = "{}[]:,\"'\\truefalsn0123e-.\xff\x80/ \t";
        char line[40];

        for (size_t i = 0; i < sizeof(line); i++)
            line[i] = alphabet[g_rand_int_range(random, 0, sizeof(alphabet) - 1)];
        send_bytes(line, sizeof(line));
        send_bytes("\xff", 1);
        g_autofree char *reply = ask(marker);

        assert_true(g_str_has_suffix(reply, "{\"return\": {\"name\": \"vm one\"}, "
                                            "\"id\": \"end\"}\r\n"));
    }
    g_rand_free(random);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_negotiation), TEST(test_requests_are_checked), TEST(test_ids_come_back),
        TEST(test_parse_errors), TEST(test_events_come_before_returns),
        TEST(test_pipelined_and_split), TEST(test_huge_line),
        TEST(test_client_that_does_not_read), TEST(test_client_that_lets_events_pile_up),
        TEST(test_events_from_another_thread), TEST(test_human_monitor), TEST(test_attributes),
        TEST(test_objects), TEST(test_nmi_reaches_every_cpu), TEST(test_pretty),
        TEST(test_garbage_then_recovery),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
