/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Backends by files and their properties: what works together, what is refused and why. */
#include "error.h"
#include "memory_internal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/cloister-backend-XXXXXX";

static int set_up(void **state)
{
    return mkdtemp(folder) == NULL;
}

/* Backends leave files with names only. */
static int tear_down(void **state)
{
    object_delete_all();
    return rmdir(folder) != 0;
}

/* FOLDER in an option is the temporary one. */
static char *expand(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, "FOLDER", -1);

    return g_strjoinv(folder, parts);
}

static void add(const char *text)
{
    g_autofree char *option = expand(text);
    g_autoptr(GError) error = NULL;

    if (!object_add_option(option, &error))
        fail_msg("%s: %s", option, error->message);
}

static void refuse(const char *text, const char *message)
{
    g_autofree char *option = expand(text), *wanted = expand(message);
    g_autoptr(GError) error = NULL;

    if (object_add_option(option, &error))
        fail_msg("accepted: %s", option);
    if (!g_str_has_prefix(error->message, wanted))
        fail_msg("%s: %s", option, error->message);
}

static void make_file(const char *name, size_t size)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *content = g_malloc(size + 1);

    memset(content, 'c', size);
    assert_true(g_file_set_contents(path, content, (gssize)size, NULL));
}

static char *take_file(const char *name, size_t *size)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    char *content = NULL;

    assert_true(g_file_get_contents(path, &content, size, NULL));
    unlink(path);
    return content;
}

static char *host_of(const char *id)
{
    return memory_backend_find(id)->host.addr;
}

static void test_refused(void **state)
{
    static const struct {
        const char *option, *message;
    } rows[] = {
        { "memory-backend-file,id=m,size=1M", "Parameter 'mem-path' is missing" },
        { "memory-backend-file,id=m,size=1M,mem-path=FOLDER/no/such",
          "can't open backing store FOLDER/no/such for guest RAM: No such file or directory" },
        { "memory-backend-file,id=m,size=1M,mem-path=FOLDER/none,readonly=on",
          "can't open backing store FOLDER/none for guest RAM: No such file or directory" },
        { "memory-backend-file,id=m,size=1M,mem-path=FOLDER,readonly=on",
          "can't open backing store FOLDER for guest RAM: not a file or a directory" },
        { "memory-backend-file,id=m,size=1M,mem-path=/dev/null",
          "can't open backing store /dev/null for guest RAM: not a file or a directory" },
        { "memory-backend-file,id=m,size=1M,mem-path=FOLDER/f",
          "backing store FOLDER/f is too small: it has 0x3000 bytes, offset and size need 0x100000" },
        { "memory-backend-file,id=m,size=8K,offset=8K,mem-path=FOLDER/f",
          "backing store FOLDER/f is too small: it has 0x3000 bytes, offset and size need 0x4000" },
        { "memory-backend-file,id=m,size=8E,mem-path=FOLDER/new",
          "can't make backing store FOLDER/new large enough: File too large" },
        { "memory-backend-file,id=m,size=4K,offset=1K,mem-path=FOLDER/f",
          "'offset' must be a multiple of 4 KiB" },
        { "memory-backend-file,id=m,size=4K,offset=18446744073709547520,mem-path=FOLDER/f",
          "'offset' and 'size' are larger than any file" },
        { "memory-backend-file,id=m,size=4K,align=3M,mem-path=FOLDER/f",
          "'align' must be a power of two" },
        { "memory-backend-file,id=m,size=4K,rom=on,mem-path=FOLDER/f",
          "'rom=on' needs 'readonly=on'" },
        { "memory-backend-file,id=m,size=4K,rom=off,readonly=on,share=on,mem-path=FOLDER/f",
          "'rom=off' is incompatible with 'readonly=on' and 'share=on'" },
        { "memory-backend-file,id=m,size=4K,pmem=on,mem-path=FOLDER/f",
          "'pmem=on' needs 'share=on'" },
        { "memory-backend-file,id=m,size=4K,private=on,mem-path=FOLDER/f",
          "'private=on' needs 'share=on'" },
        { "memory-backend-file,id=m,size=4K,private=on,share=on,readonly=on,mem-path=FOLDER/f",
          "'private=on' and 'readonly=on' are incompatible" },
        { "memory-backend-file,id=m,size=4K,private=on,share=on,pmem=on,mem-path=FOLDER/f",
          "'private=on' and 'pmem=on' are incompatible" },
        { "memory-backend-file,id=m,size=4K,discard-data=on,readonly=on,mem-path=FOLDER/f",
          "'discard-data=on' and 'readonly=on' are incompatible" },
        { "memory-backend-shm,id=m,size=1M,share=off",
          "cannot create a shm backend with 'share=off'" },
        { "memory-backend-shm,id=m,size=9E", "can't make shared memory of" },
        { "memory-backend-shm,id=m,size=1M,seal=on", "Invalid parameter 'seal'" },
        { "memory-backend-ram,id=m,size=1M,prealloc-threads=0",
          "property 'prealloc-threads' of memory-backend-ram doesn't take value '0'" },
        { "memory-backend-ram,id=m,size=1M,policy=bind", "host-nodes must be set for policy bind" },
        { "memory-backend-ram,id=m,size=1M,policy=nearest",
          "Parameter 'policy' does not accept value 'nearest'" },
        { "memory-backend-ram,id=m,size=1M,host-nodes=0",
          "host-nodes must be empty for policy default" },
        { "memory-backend-ram,id=m,size=1M,policy=bind,host-nodes=128",
          "invalid host-nodes value '128'" },
        { "memory-backend-ram,id=m,size=1M,policy=bind,host-nodes=3-1",
          "invalid host-nodes value '3'" },
        { "memory-backend-ram,id=m,size=1M,policy=bind,host-nodes=x",
          "Parameter 'host-nodes' expects a node or a range of nodes: 0-3" },
        { "memory-backend-ram,id=m,size=1M,policy=bind,host-nodes=0-",
          "Parameter 'host-nodes' expects a node or a range of nodes: 0-3" },
        { "memory-backend-ram,id=m,size=1M,policy=bind,host-nodes=127",
          "cannot bind memory 'm' to host NUMA nodes: " },
        { "memory-backend-ram,id=m,size=1M,private=on,policy=bind,host-nodes=0",
          "'policy' and 'private=on' are incompatible" },
        { "memory-backend-guest-memfd,id=m,size=1M,policy=bind,host-nodes=0",
          "'policy' can't work: pages of a guest_memfd follow no NUMA policy" },
        { "memory-backend-memfd,id=m,size=1M,guest-memfd=on,seal=off",
          "'seal=off' can't work: a guest_memfd can't change its size" },
        { "memory-backend-guest-memfd,id=m,size=1M,mem-path=FOLDER/f",
          "Invalid parameter 'mem-path'" },
    };

    make_file("f", 0x3000);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        refuse(rows[i].option, rows[i].message);
    assert_null(memory_backend_find("m"));
    /* Nothing was changed or left, as tear_down() sees. */
    g_free(take_file("f", NULL));
}

static void test_shared_file(void **state)
{
    g_autofree char *content = NULL;
    size_t size;

    add("memory-backend-file,id=a,size=8K,share=on,mem-path=FOLDER/new");
    memcpy(host_of("a") + 4096, "written", 8);
    assert_true(object_del("a", NULL));
    content = take_file("new", &size);
    assert_int_equal(size, 8192);
    assert_string_equal(content + 4096, "written");
}

static void test_part_of_a_file(void **state)
{
    g_autofree char *content = NULL;
    size_t size;

    make_file("f", 0x4000);
    add("memory-backend-file,id=a,size=8K,offset=4K,align=2M,mem-path=FOLDER/f");
    assert_int_equal((uintptr_t)host_of("a") % (2 << 20), 0);
    assert_int_equal(host_of("a")[0], 'c');
    host_of("a")[0] = 'x';              /* not shared: stays here */
    assert_true(object_del("a", NULL));
    add("memory-backend-file,id=b,size=4K,offset=8K,share=on,discard-data=on,mem-path=FOLDER/f");
    assert_true(object_del("b", NULL));
    content = take_file("f", &size);
    assert_int_equal(size, 0x4000);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(content[i], i / 4096 == 2 ? 0 : 'c');
}

static void test_file_without_a_name(void **state)
{
    add("memory-backend-file,id=a,size=1M,mem-path=FOLDER,prealloc=on,prealloc-threads=3");
    memset(host_of("a"), 1, 1 << 20);
}

static void test_readonly(void **state)
{
    make_file("f", 0x2000);
    add("memory-backend-file,id=a,size=8K,readonly=on,mem-path=FOLDER/f");
    assert_false(memory_backend_is_rom(memory_backend_find("a")));
    host_of("a")[0] = 'x';
    add("memory-backend-file,id=b,size=8K,readonly=on,share=on,mem-path=FOLDER/f");
    assert_true(memory_backend_is_rom(memory_backend_find("b")));
    assert_int_equal(host_of("b")[0], 'c');
    object_delete_all();
    g_free(take_file("f", NULL));
}

static void test_shm(void **state)
{
    add("memory-backend-shm,id=a,size=1M,prealloc=on");
    assert_true(memory_backend_find("a")->host.shared);
    host_of("a")[4096] = 1;
    assert_int_equal(host_memory_discard(&memory_backend_find("a")->host, 4096, 4096), 0);
    assert_int_equal(host_of("a")[4096], 0);
}

/* More threads than pages, or than there may be. */
static void test_prealloc_threads(void **state)
{
    add("memory-backend-ram,id=a,size=12K,prealloc=on,prealloc-threads=100");
    add("memory-backend-memfd,id=b,size=4M,prealloc=on,prealloc-threads=4000000000");
}

/* What was asked for by name is refused; what nobody asked for isn't there. */
static void test_merge_in_place(void **state)
{
    g_autoptr(GError) error = NULL;
    struct json_object *memdev;

    assert_false(object_add_option("memory-backend-memfd,id=a,size=1M,guest-memfd=on,merge=on",
                                   &error));
    assert_non_null(strstr(error->message, "'merge=on' can't work"));
    assert_true(object_add_option("memory-backend-memfd,id=a,size=1M,guest-memfd=on", NULL));
    memdev = memory_backend_describe(memory_backend_find("a"));
    assert_non_null(strstr(json_object_to_json_string_ext(memdev, JSON_C_TO_STRING_PLAIN),
                           "\"merge\":false"));
    json_object_put(memdev);
    object_delete_all();
}

static void test_nodes(void **state)
{
    g_autoptr(GError) error = NULL;
    struct json_object *memdev;

    /* A sandbox may forbid mbind(): then there is nothing to see. */
    if (!object_add_option("memory-backend-ram,id=a,size=1M,policy=preferred,host-nodes=0,"
                           "prealloc=on", &error)) {
        print_message("not tested: %s\n", error->message);
        skip();
    }
    memdev = memory_backend_describe(memory_backend_find("a"));
    assert_string_equal(json_object_to_json_string_ext(memdev, JSON_C_TO_STRING_PLAIN),
                        "{\"id\":\"a\",\"size\":1048576,\"merge\":true,\"dump\":true,"
                        "\"prealloc\":true,\"share\":false,\"reserve\":true,\"host-nodes\":[0],"
                        "\"policy\":\"preferred\"}");
    json_object_put(memdev);
    memdev = json_tokener_parse("{\"qom-type\": \"memory-backend-memfd\", \"id\": \"b\", "
                                "\"size\": 4096, \"host-nodes\": [0], \"policy\": \"bind\"}");
    assert_true(object_add_json(memdev, NULL));
    json_object_put(memdev);
}

static int delete_all(void **state)
{
    object_delete_all();
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, delete_all)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_refused),
        TEST(test_shared_file),
        TEST(test_part_of_a_file),
        TEST(test_file_without_a_name),
        TEST(test_readonly),
        TEST(test_shm),
        TEST(test_prealloc_threads),
        TEST(test_merge_in_place),
        TEST(test_nodes),
    };

    memory_register_backends();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
