/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table lies below the reset vector, ends 32 bytes before the image does, and is read
 * backwards: data, 16 bits of length, GUID.  Source: edk2's OvmfPkg/ResetVector/Ia16
 * (ResetVectorVtf0.asm); of the hashes OvmfPkg/AmdSev/BlobVerifierLibSevHashes.
 */
#include "sev_firmware.h"

#include "error.h"

#include <string.h>

enum { TABLE_END = 32, GUID = 16, FOOTER = GUID + 2, SHA256 = 32 };

/* As they are in memory: the first three parts are little-endian. */
#define GUID_OF(a, b, c, ...)                                                                \
    { (a) & 0xff, (a) >> 8 & 0xff, (a) >> 16 & 0xff, (a) >> 24, (b) & 0xff, (b) >> 8,        \
      (c) & 0xff, (c) >> 8, __VA_ARGS__ }

static const uint8_t table_guid[GUID] =
    GUID_OF(0x96b582deu, 0x1fb2, 0x45f7, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d);
static const uint8_t entry_guids[][GUID] = {
    [SEV_FIRMWARE_RESET] =
        GUID_OF(0x00f771deu, 0x1a7e, 0x4fcb, 0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e),
    [SEV_FIRMWARE_SECRET] =
        GUID_OF(0x4c2eb361u, 0x7d9b, 0x4cc3, 0x80, 0x81, 0x12, 0x7c, 0x90, 0xd3, 0xd2, 0x94),
    [SEV_FIRMWARE_HASHES] =
        GUID_OF(0x7255371fu, 0x3a3b, 0x4b04, 0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4, 0x54),
};

static const uint8_t hashes_guid[GUID] =
    GUID_OF(0x9438d606u, 0x4f22, 0x4cc9, 0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd, 0x21);
enum blob { COMMAND_LINE, INITRD, KERNEL, NR_BLOBS };
static const uint8_t blob_guids[NR_BLOBS][GUID] = {
    [COMMAND_LINE] =
        GUID_OF(0x97d02dd8u, 0xbd20, 0x4c94, 0xaa, 0x78, 0xe7, 0x71, 0x4d, 0x36, 0xab, 0x2a),
    [INITRD] =
        GUID_OF(0x44baf731u, 0x3a2f, 0x4bd7, 0x9a, 0xf1, 0x41, 0xe2, 0x91, 0x69, 0x78, 0x1d),
    [KERNEL] =
        GUID_OF(0x4de79437u, 0xabd2, 0x427f, 0xb8, 0x35, 0xd5, 0xb1, 0x72, 0xd2, 0x04, 0x5b),
};

static uint16_t get16(const uint8_t *p)
{
    return p[0] | p[1] << 8;
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

const uint8_t *sev_firmware_find(const uint8_t *image, uint64_t image_size,
                                 enum sev_firmware_entry entry, unsigned size)
{
    const uint8_t *end = image + image_size - TABLE_END;
    unsigned left;

    if (image_size < TABLE_END + FOOTER || memcmp(end - GUID, table_guid, GUID) != 0)
        return NULL;
    left = get16(end - FOOTER);
    if (left < FOOTER || left > image_size - TABLE_END)
        return NULL;
    end -= FOOTER;
    left -= FOOTER;
    while (left >= FOOTER) {
        unsigned length = get16(end - FOOTER);

        if (length < FOOTER || length > left)
            return NULL;
        if (memcmp(end - GUID, entry_guids[entry], GUID) == 0)
            return length - FOOTER >= size ? end - length : NULL;
        end -= length;
        left -= length;
    }
    return NULL;
}

bool sev_firmware_area(const uint8_t *image, uint64_t image_size, enum sev_firmware_entry entry,
                       uint64_t *ret_gpa, uint64_t *ret_size)
{
    const uint8_t *area = sev_firmware_find(image, image_size, entry, 8);

    if (!area || !get32(area) || !get32(area + 4))
        return false;
    *ret_gpa = get32(area);
    *ret_size = get32(area + 4);
    return true;
}

static uint8_t *put_header(uint8_t *at, const uint8_t guid[GUID], uint16_t length)
{
    memcpy(at, guid, GUID);
    at[GUID] = length & 0xff;
    at[GUID + 1] = length >> 8;
    return at + FOOTER;
}

static uint8_t *put_hash(uint8_t *at, enum blob blob, const void *data, uint64_t size)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    gsize length = SHA256;

    at = put_header(at, blob_guids[blob], FOOTER + SHA256);
    g_checksum_update(sum, data, (gssize)size);
    g_checksum_get_digest(sum, at, &length);
    return at + SHA256;
}

bool sev_firmware_hashes(struct boot *boot, uint8_t table[SEV_HASHES_SIZE], GError **error)
{
    enum { SIZE = FOOTER + NR_BLOBS * (FOOTER + SHA256) };
    g_autofree uint8_t *kernel = NULL;
    g_autofree uint8_t *initrd = NULL;
    const char *text = boot_cmdline(boot);
    uint64_t kernel_size, initrd_size = 0;
    uint8_t *at = table;

    G_STATIC_ASSERT((int)SIZE <= (int)SEV_HASHES_SIZE);
    if (!boot_read_kernel(boot, &kernel, &kernel_size, error) ||
        !boot_read_initrd(boot, &initrd, &initrd_size, error))
        return false;
    memset(table, 0, SEV_HASHES_SIZE);
    at = put_header(at, hashes_guid, SIZE);
    at = put_hash(at, COMMAND_LINE, text, strlen(text) + 1);
    at = put_hash(at, INITRD, initrd ? (const void *)initrd : "", initrd_size);
    put_hash(at, KERNEL, kernel, kernel_size);
    return true;
}
