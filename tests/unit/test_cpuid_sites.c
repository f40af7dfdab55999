/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPUID among other code, and its two bytes where they are something else. */
#include "cpuid_sites.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* xor %ecx,%ecx; mov %rsp,%rbp; push %rbx; lea 8(%rdi),%rax; nop; test %eax,%eax */
static const uint8_t ordinary[] = {
    0x31, 0xc9, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x8d, 0x47, 0x08, 0x90, 0x85, 0xc0,
};
enum { AROUND = 10, MAX = 400 };

struct code {
    uint8_t bytes[MAX];
    size_t at, size;            /* of what is tried; of all */
};

static struct code among(const uint8_t *tried, size_t size, unsigned before, unsigned after)
{
    struct code code = { .size = 0 };

    for (unsigned i = 0; i < before; i++, code.size += sizeof(ordinary))
        memcpy(code.bytes + code.size, ordinary, sizeof(ordinary));
    code.at = code.size;
    memcpy(code.bytes + code.size, tried, size);
    code.size += size;
    for (unsigned i = 0; i < after; i++, code.size += sizeof(ordinary))
        memcpy(code.bytes + code.size, ordinary, sizeof(ordinary));
    return code;
}

static const uint8_t *find(const struct code *code)
{
    return cpuid_site(code->bytes, code->bytes, code->bytes + code->size);
}

static void found_where_it_is(void **state)
{
    static const uint8_t cpuid[] = { 0x0f, 0xa2 };

    for (unsigned before = 0; before <= AROUND; before++) {
        for (unsigned after = 0; after <= AROUND; after++) {
            struct code code = among(cpuid, sizeof(cpuid), before, after);

            assert_ptr_equal(find(&code), code.bytes + code.at);
            assert_null(cpuid_site(code.bytes, code.bytes + code.at + 2, code.bytes + code.size));
        }
    }
}

static void passed_over_elsewhere(void **state)
{
    static const struct {
        uint8_t bytes[8];
        size_t size;
    } others[] = {
        { { 0x48, 0x8d, 0x3d, 0x0f, 0xa2, 0x3a, 0x00 }, 7 },       /* lea 0x3aa20f(%rip),%rdi */
        { { 0xb8, 0x00, 0x0f, 0xa2, 0x00 }, 5 },                   /* mov $0xa20f00,%eax */
        { { 0x48, 0x83, 0x05, 0x0f, 0xa2, 0xa1, 0x00, 0x01 }, 8 }, /* addq $1,0xa1a20f(%rip) */
        { { 0xc0, 0x0f, 0xa2 }, 3 },                               /* rorb $0xa2,(%rdi) */
        { { 0x0f, 0xa2, 0xf4 }, 3 },                               /* cpuid; hlt: a guest's */
        { { 0x0f, 0xa2, 0x06, 0x06 }, 4 },                         /* followed by nothing valid */
        { { 0x06, 0x0f, 0xa2 }, 3 },                               /* coming from nothing valid */
        { { 0x0f }, 1 },
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct code code = among(others[i].bytes, others[i].size, AROUND, AROUND);

        assert_null(find(&code));
    }
}

static void nothing_beyond_the_end(void **state)
{
    static const uint8_t cut[] = { 0x0f };
    struct code code = among(cut, sizeof(cut), AROUND, 0);

    code.bytes[code.size] = 0xa2;
    assert_null(find(&code));
    code.size = 0;
    assert_null(find(&code));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_where_it_is),
        cmocka_unit_test(passed_over_elsewhere),
        cmocka_unit_test(nothing_beyond_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
