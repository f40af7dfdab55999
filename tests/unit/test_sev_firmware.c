/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OVMF's table of GUIDs, whole and hostile; the table of hashes. */
#include "sev_firmware.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { IMAGE = 4096, END = IMAGE - 32, GUID = 16 };

static const uint8_t table_guid[GUID] = { 0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45,
                                          0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d };
static const uint8_t secret_guid[GUID] = { 0x61, 0xb3, 0x2e, 0x4c, 0x9b, 0x7d, 0xc3, 0x4c,
                                           0x80, 0x81, 0x12, 0x7c, 0x90, 0xd3, 0xd2, 0x94 };
static const uint8_t hashes_guid[GUID] = { 0x1f, 0x37, 0x55, 0x72, 0x3b, 0x3a, 0x04, 0x4b,
                                           0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4, 0x54 };

static uint8_t image[IMAGE];

/* Before what is there already; where it begins. */
static unsigned put_entry(unsigned end, const uint8_t *guid, const void *data, unsigned size,
                          unsigned length)
{
    memcpy(image + end - GUID, guid, GUID);
    image[end - GUID - 2] = length & 0xff;
    image[end - GUID - 1] = length >> 8;
    memcpy(image + end - GUID - 2 - size, data, size);
    return end - GUID - 2 - size;
}

static void make_image(const uint32_t secret[2], const uint32_t hashes[2])
{
    unsigned at = END - GUID - 2;

    memset(image, 0xf4, sizeof(image));
    at = put_entry(at, secret_guid, secret, 8, 26);
    at = put_entry(at, hashes_guid, hashes, 8, 26);
    put_entry(END, table_guid, "", 0, END - at);
}

static void test_areas(void **state)
{
    static const uint32_t secret[] = { 0x80c000, 0x1000 }, hashes[] = { 0x80fc00, 0x400 },
                          none[] = { 0, 0 };
    uint64_t gpa = 0, size = 0;

    make_image(secret, hashes);
    assert_true(sev_firmware_area(image, IMAGE, SEV_FIRMWARE_SECRET, &gpa, &size));
    assert_int_equal(gpa, 0x80c000);
    assert_int_equal(size, 0x1000);
    assert_true(sev_firmware_area(image, IMAGE, SEV_FIRMWARE_HASHES, &gpa, &size));
    assert_int_equal(gpa, 0x80fc00);
    assert_null(sev_firmware_find(image, IMAGE, SEV_FIRMWARE_RESET, 0));
    make_image(secret, none);
    assert_false(sev_firmware_area(image, IMAGE, SEV_FIRMWARE_HASHES, &gpa, &size));
    /* An entry that is shorter than what is asked for. */
    assert_null(sev_firmware_find(image, IMAGE, SEV_FIRMWARE_SECRET, 9));
}

/* Whatever the lengths say, nothing outside is read (the sanitizers look) and it ends. */
static void test_hostile_lengths(void **state)
{
    static const uint32_t area[] = { 0x1000, 0x1000 };

    for (unsigned at = END - 40; at < END; at++) {
        for (unsigned value = 0; value < 256; value += 5) {
            make_image(area, area);
            image[at] = value;
            for (int entry = SEV_FIRMWARE_RESET; entry <= SEV_FIRMWARE_HASHES; entry++)
                sev_firmware_find(image, IMAGE, entry, 8);
        }
    }
    for (uint64_t size = 1; size < 200; size++) {
        make_image(area, area);
        g_autofree uint8_t *cut = g_memdup2(image + IMAGE - size, size);

        assert_true(size >= 32 + 18 + 26 ||
                    !sev_firmware_find(cut, size, SEV_FIRMWARE_SECRET, 8));
    }
}

static char *make_file(const char *content)
{
    char *name;
    int fd = g_file_open_tmp("sev-XXXXXX", &name, NULL);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    return name;
}

static void check_hash(const uint8_t *at, const char *data, size_t size)
{
    g_autofree char *wanted = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)data,
                                                          size);
    char text[65];

    assert_int_equal(at[GUID], 50);
    for (unsigned i = 0; i < 32; i++)
        sprintf(text + 2 * i, "%02x", at[GUID + 2 + i]);
    assert_string_equal(text, wanted);
}

static void test_hashes(void **state)
{
    g_autofree char *kernel = make_file("a kernel");
    uint8_t table[SEV_HASHES_SIZE];
    struct boot *boot = boot_open(kernel, NULL, "quiet", NULL);

    assert_non_null(boot);
    assert_true(sev_firmware_hashes(boot, table, NULL));
    assert_int_equal(table[0], 0x06);           /* 9438d606-... */
    assert_int_equal(table[GUID], 168);
    assert_int_equal(table[18], 0xd8);          /* 97d02dd8-...: the command line, with its zero */
    check_hash(table + 18, "quiet", 6);
    assert_int_equal(table[68], 0x31);          /* 44baf731-...: there is no initrd */
    check_hash(table + 68, "", 0);
    assert_int_equal(table[118], 0x37);         /* 4de79437-... */
    check_hash(table + 118, "a kernel", 8);
    for (unsigned i = 168; i < SEV_HASHES_SIZE; i++)
        assert_int_equal(table[i], 0);
    boot_close(boot);
    unlink(kernel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_areas), cmocka_unit_test(test_hostile_lengths),
        cmocka_unit_test(test_hashes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
