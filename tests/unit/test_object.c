/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Option strings, sizes, properties and the object registry: good forms, and every refusal. */
#include "error.h"
#include "object.h"
#include "property.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char *const colours[] = { "red", "green", NULL };

struct thing {
    struct object obj;
    bool flag;
    uint64_t size;
    uint32_t number;
    char *path;
    enum on_off_auto rom;
    int colour;
};

static unsigned finalized;

static void thing_init(struct object *obj)
{
    ((struct thing *)obj)->number = 7;
}

static bool thing_complete(struct object *obj, GError **error)
{
    if (((struct thing *)obj)->size == 0) {
        error_set(error, "property 'size' of %s doesn't take value '0'", obj->type->name);
        return false;
    }
    return true;
}

static void thing_finalize(struct object *obj)
{
    finalized++;
}

static const struct property base_properties[] = {
    { "size", PROP_SIZE, offsetof(struct thing, size), .required = true, .help = "bytes" },
    { "flag", PROP_BOOL, offsetof(struct thing, flag) },
    { NULL }
};

static const struct property own_properties[] = {
    { "number", PROP_UINT32, offsetof(struct thing, number) },
    { "path", PROP_STRING, offsetof(struct thing, path) },
    { "rom", PROP_ON_OFF_AUTO, offsetof(struct thing, rom) },
    { "colour", PROP_ENUM, offsetof(struct thing, colour), colours },
    { NULL }
};

static const struct property *const thing_properties[] = { base_properties, own_properties, NULL };

static const struct object_type thing_type = {
    .name = "test-thing", .help = "for this test", .size = sizeof(struct thing),
    .properties = thing_properties, .init = thing_init, .complete = thing_complete,
    .finalize = thing_finalize,
};

static void test_size_parse(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } rows[] = {
        { "0", true, 0 },
        { "512M", true, 512ULL << 20 },
        { "512m", true, 512ULL << 20 },
        { "1.5G", true, 3ULL << 29 },
        { "0.5K", true, 512 },
        { "1.000000000000000000000001K", true, 1024 },
        { "0x1000", true, 4096 },
        { "0x10K", true, 16384 },
        { "4096B", true, 4096 },
        { "18446744073709551615", true, UINT64_MAX },
        { "15E", true, 15ULL << 60 },
        { "16E", false, 0 },
        { "18446744073709551616", false, 0 },
        { "", false, 0 },
        { "M", false, 0 },
        { "-1", false, 0 },
        { "+1", false, 0 },
        { " 1", false, 0 },
        { "1X", false, 0 },
        { "1MM", false, 0 },
        { "1.", false, 0 },
        { "1.5", false, 0 },
        { "1.G", false, 0 },
        { "0x", false, 0 },
        { "0x1.8G", false, 0 },
        { "1 M", false, 0 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        uint64_t value = 42;

        if (size_parse(rows[i].text, &value) != rows[i].ok)
            fail_msg("'%s': %s", rows[i].text, rows[i].ok ? "refused" : "accepted");
        assert_true(value == (rows[i].ok ? rows[i].value : 42));
    }
}

static void check_option(GPtrArray *list, guint i, const char *key, const char *value)
{
    const struct option *opt = g_ptr_array_index(list, i);

    assert_string_equal(opt->key, key);
    assert_string_equal(opt->value, value);
}

static void test_option_parse(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) list = option_parse("q35,a=1,,2,b=x=y,flag,c=,", "type", &error);

    assert_non_null(list);
    assert_int_equal(list->len, 5);
    check_option(list, 0, "type", "q35");
    check_option(list, 1, "a", "1,2");
    check_option(list, 2, "b", "x=y");
    check_option(list, 3, "flag", "on");
    check_option(list, 4, "c", "");

    g_autoptr(GPtrArray) first = option_parse("a=1", "type", &error);
    check_option(first, 0, "a", "1");
    g_autoptr(GPtrArray) empty = option_parse("", "type", &error);
    assert_int_equal(empty->len, 0);
    assert_null(option_parse("a=1,=2", NULL, &error));
    assert_non_null(error);
    g_clear_error(&error);
    assert_null(option_parse(",a=1", NULL, &error));
    assert_non_null(error);
}

static const struct {
    const char *option, *message;
} bad[] = {
    { "", "Parameter 'qom-type' is missing" },
    { "no-such,id=a", "Parameter 'qom-type' does not accept value 'no-such'" },
    { "test-thing,size=1", "Parameter 'id' is missing" },
    { "test-thing,id=,size=1", "Parameter 'id' expects an identifier" },
    { "test-thing,id=1a,size=1", "Parameter 'id' expects an identifier" },
    { "test-thing,id=a/b,size=1", "Parameter 'id' expects an identifier" },
    { "test-thing,id=taken,size=1", "Duplicate ID 'taken' for object" },
    { "test-thing,id=a", "Parameter 'size' is missing" },
    { "test-thing,id=a,size=0", "property 'size' of test-thing doesn't take value '0'" },
    { "test-thing,id=a,size=1X", "Parameter 'size' expects a size value" },
    { "test-thing,id=a,size=1,flag=maybe", "Parameter 'flag' expects 'on' or 'off'" },
    { "test-thing,id=a,size=1,number=-1", "Parameter 'number' expects a number" },
    { "test-thing,id=a,size=1,number=4294967296", "Parameter 'number' expects a number" },
    { "test-thing,id=a,size=1,rom=perhaps", "Parameter 'rom' does not accept value 'perhaps'" },
    { "test-thing,id=a,size=1,colour=blue", "Parameter 'colour' does not accept value 'blue'" },
    { "test-thing,id=a,size=1,foo=1", "Invalid parameter 'foo'" },
    { "{\"id\":\"a\",\"size\":1}", "Parameter 'qom-type' is missing" },
    { "{\"qom-type\":1,\"id\":\"a\"}", "Invalid parameter type for 'qom-type', expected: string" },
    { "{\"qom-type\":\"test-thing\",\"id\":\"a\",\"size\":\"1\"}",
      "Parameter 'size' expects uint64" },
    { "{\"qom-type\":\"test-thing\",\"id\":\"a\",\"size\":-1}", "Parameter 'size' expects uint64" },
    { "{\"qom-type\":\"test-thing\",\"id\":\"a\",\"size\":1.5}", "Parameter 'size' expects uint64" },
    { "{\"qom-type\":\"test-thing\",\"id\":\"a\",\"size\":null}",
      "Parameter 'size' expects uint64" },
    { "{\"qom-type\":\"test-thing\",\"id\":\"a\",\"size\":1,\"flag\":\"on\"}",
      "Invalid parameter type for 'flag', expected: boolean" },
    { "{\"qom-type\":\"test-thing\",\"id\":\"a\",\"size\":1,\"path\":1}",
      "Invalid parameter type for 'path', expected: string" },
    { "{\"qom-type\":\"test-thing\",\"id\":\"a\",\"size\":1,\"path\":\"a\\u0000b\"}",
      "Invalid parameter type for 'path', expected: string" },
    { "{\"qom-type\":\"test-thing\",\"id\":\"a\",\"size\":1,\"foo\":1}",
      "Parameter 'foo' is unexpected" },
    { "{\"qom-type\":", "JSON parse error: unexpected end" },
    { "{} x", "JSON parse error: unexpected character" },
};

static void test_object_add_refuses(void **state)
{
    g_autoptr(GError) none = NULL;

    assert_true(object_add_option("test-thing,id=taken,size=1", &none));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        if (object_add_option(bad[i].option, &error))
            fail_msg("accepted: %s", bad[i].option);
        assert_non_null(error);
        if (!g_str_has_prefix(error->message, bad[i].message))
            fail_msg("%s: %s", bad[i].option, error->message);
        assert_null(object_find("a"));
    }
    assert_true(object_del("taken", &none));
}

static void test_object_life(void **state)
{
    g_autoptr(GError) error = NULL;
    struct thing *a, *b;

    finalized = 0;
    assert_true(object_add_option("test-thing,id=a,size=4K,flag,path=/x,,y,rom=off,colour=green",
                                  &error));
    assert_true(object_add_option("{\"qom-type\":\"test-thing\",\"id\":\"b\","
                                  "\"size\":18446744073709551615,\"flag\":true}", &error));
    a = (struct thing *)object_find("a");
    b = (struct thing *)object_find_type("b", "test-");
    assert_non_null(a);
    assert_non_null(b);
    assert_null(object_find_type("b", "memory-"));
    assert_true(a->flag && a->size == 4096 && a->number == 7);
    assert_string_equal(a->path, "/x,y");
    assert_int_equal(a->rom, OOA_OFF);
    assert_int_equal(a->colour, 1);
    assert_true(b->size == UINT64_MAX);

    g_autoptr(GPtrArray) list = object_list();
    assert_int_equal(list->len, 2);
    assert_ptr_equal(g_ptr_array_index(list, 0), b);

    struct json_object *size = object_get_property(&b->obj, "size");
    assert_string_equal(json_object_to_json_string(size), "18446744073709551615");
    json_object_put(size);
    struct json_object *colour = object_get_property(&a->obj, "colour");
    assert_string_equal(json_object_get_string(colour), "green");
    json_object_put(colour);
    assert_null(object_get_property(&a->obj, "foo"));

    a->obj.users = 1;
    assert_false(object_del("a", &error));
    assert_string_equal(error->message, "object 'a' is in use, can not be deleted");
    g_clear_error(&error);
    a->obj.users = 0;
    assert_true(object_del("a", &error));
    assert_false(object_del("a", &error));
    assert_string_equal(error->message, "object 'a' not found");
    object_delete_all();
    assert_int_equal(finalized, 2);
}

static void test_object_help(void **state)
{
    g_autofree char *types = object_help(NULL);
    g_autofree char *type = object_help("test-thing");

    assert_non_null(strstr(types, "test-thing"));
    assert_non_null(strstr(type, "test-thing options:\n  (for this test)\n"));
    assert_non_null(strstr(type, "size=<size>"));
    assert_non_null(strstr(type, "colour=<red|green>"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size_parse),
        cmocka_unit_test(test_option_parse),
        cmocka_unit_test(test_object_add_refuses),
        cmocka_unit_test(test_object_life),
        cmocka_unit_test(test_object_help),
    };

    object_type_register(&thing_type);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
