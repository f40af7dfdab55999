/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The Linux/x86 boot protocol, 2.10 or newer, 32-bit entry
 * (Linux 6.1 Documentation/x86/boot.rst and zero-page.rst; offsets are theirs).
 */
#include "bzimage.h"

#include "error.h"
#include "layout.h"
#include "memory_map.h"

#include <inttypes.h>
#include <string.h>

enum {
    BP_ACPI_RSDP = 0x070, BP_EXT_RAMDISK = 0x0c0, BP_E820_ENTRIES = 0x1e8, BP_E820_TABLE = 0x2d0,
    BP_E820_ENTRY_SIZE = 20,

    HDR_START = 0x1f1, HDR_SETUP_SECTS = 0x1f1, HDR_SYSSIZE = 0x1f4, HDR_VID_MODE = 0x1fa,
    HDR_BOOT_FLAG = 0x1fe, HDR_JUMP_OFFSET = 0x201, HDR_MAGIC = 0x202, HDR_VERSION = 0x206,
    HDR_TYPE_OF_LOADER = 0x210, HDR_LOADFLAGS = 0x211, HDR_CODE32_START = 0x214,
    HDR_RAMDISK_IMAGE = 0x218, HDR_RAMDISK_SIZE = 0x21c, HDR_CMD_LINE_PTR = 0x228,
    HDR_INITRD_ADDR_MAX = 0x22c, HDR_KERNEL_ALIGNMENT = 0x230, HDR_RELOCATABLE = 0x234,
    HDR_CMDLINE_SIZE = 0x238, HDR_PREF_ADDRESS = 0x258, HDR_INIT_SIZE = 0x260,
    HDR_NEEDED = 0x264,         /* where the fields of protocol 2.10 end */
    HDR_LIMIT = 0x290,          /* in boot_params something else begins here */

    LOADED_HIGH = 0x01,
    VERSION_NEEDED = 0x020a,
    SECTOR = 512, DEFAULT_SETUP_SECTS = 4,
    LOADER_UNDEFINED = 0xff,
    VID_MODE_NORMAL = 0xffff,
};

static uint16_t get16(const uint8_t *p)
{
    return p[0] | p[1] << 8;
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static void set32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++, value >>= 8)
        p[i] = value;
}

static void set64(uint8_t *p, uint64_t value)
{
    set32(p, value);
    set32(p + 4, value >> 32);
}

bool bzimage_is(const uint8_t *file, size_t size)
{
    return size >= HDR_MAGIC + 4 && get16(file + HDR_BOOT_FLAG) == 0xaa55 &&
           memcmp(file + HDR_MAGIC, "HdrS", 4) == 0;
}

static bool check_header(const uint8_t *file, size_t size, GError **error)
{
    uint16_t version;

    if (!bzimage_is(file, size)) {
        error_set(error, "not a Linux bzImage");
        return false;
    }
    if (size < HDR_NEEDED) {
        error_set(error, "truncated within its header");
        return false;
    }
    version = get16(file + HDR_VERSION);
    if (version < VERSION_NEEDED) {
        error_set(error, "boot protocol %u.%02u is too old: 2.10 or newer", version >> 8,
                  version & 0xff);
        return false;
    }
    if (!(file[HDR_LOADFLAGS] & LOADED_HIGH)) {
        error_set(error, "a zImage, which is loaded below 1 MiB: use a bzImage");
        return false;
    }
    return true;
}

/*
 * Where the kernel unpacks itself to, and how much it needs there: at its load
 * address if it is relocatable and that isn't below the preferred one.
 */
static bool find_end(const uint8_t *file, struct bzimage *image, GError **error)
{
    uint64_t alignment = get32(file + HDR_KERNEL_ALIGNMENT);
    uint64_t start = get64(file + HDR_PREF_ADDRESS), init_size = get32(file + HDR_INIT_SIZE);

    if (file[HDR_RELOCATABLE]) {
        if (alignment == 0 || (alignment & (alignment - 1))) {
            error_set(error, "kernel_alignment 0x%" PRIx64 " is not a power of two", alignment);
            return false;
        }
        start = MAX(start, (LAYOUT_HIGH_MEMORY + alignment - 1) & ~(alignment - 1));
    }
    if (start < LAYOUT_HIGH_MEMORY || start >= 4 * GIB) {
        error_set(error, "wants to run at 0x%" PRIx64 ": between 1 MiB and 4 GiB is possible",
                  start);
        return false;
    }
    image->end = MAX(start + init_size, LAYOUT_HIGH_MEMORY + image->payload_size);
    return true;
}

bool bzimage_parse(const uint8_t *file, size_t size, struct bzimage *ret, GError **error)
{
    struct bzimage image = { 0 };
    unsigned setup_sects;
    uint64_t claimed;

    if (!check_header(file, size, error))
        return false;
    setup_sects = file[HDR_SETUP_SECTS] ? file[HDR_SETUP_SECTS] : DEFAULT_SETUP_SECTS;
    image.payload_offset = (setup_sects + 1) * SECTOR;
    if (image.payload_offset >= size) {
        error_set(error, "truncated: %zu bytes, and its setup part alone has %zu", size,
                  image.payload_offset);
        return false;
    }
    image.payload_size = size - image.payload_offset;
    claimed = (uint64_t)get32(file + HDR_SYSSIZE) * 16;
    /* The last paragraph may be rounded up. */
    if (claimed > (image.payload_size + 15) / 16 * 16) {
        error_set(error, "truncated: %zu bytes, and its header says %" PRIu64, size,
                  claimed + image.payload_offset);
        return false;
    }
    if (!find_end(file, &image, error))
        return false;
    image.header_size = HDR_MAGIC + file[HDR_JUMP_OFFSET] - HDR_START;
    image.header_size = MIN(image.header_size, HDR_LIMIT - HDR_START);
    image.header_size = MIN(image.header_size, size - HDR_START);
    image.initrd_max = get32(file + HDR_INITRD_ADDR_MAX);
    image.cmdline_max = get32(file + HDR_CMDLINE_SIZE);
    *ret = image;
    return true;
}

static void set_memory_map(uint8_t *params, const struct memory_range *map, unsigned entries)
{
    uint8_t *entry = params + BP_E820_TABLE;

    params[BP_E820_ENTRIES] = entries;
    for (unsigned i = 0; i < entries; i++, entry += BP_E820_ENTRY_SIZE) {
        set64(entry, map[i].start);
        set64(entry + 8, map[i].size);
        set32(entry + 16, map[i].type);
    }
}

void bzimage_boot_params(const struct bzimage *image, const uint8_t *file,
                         const struct bzimage_boot *boot, uint8_t params[BOOT_PARAMS_SIZE])
{
    memset(params, 0, BOOT_PARAMS_SIZE);
    memcpy(params + HDR_START, file + HDR_START, image->header_size);
    set64(params + BP_ACPI_RSDP, boot->rsdp);
    params[HDR_VID_MODE] = VID_MODE_NORMAL & 0xff;
    params[HDR_VID_MODE + 1] = VID_MODE_NORMAL >> 8;
    params[HDR_TYPE_OF_LOADER] = LOADER_UNDEFINED;
    set32(params + HDR_CODE32_START, LAYOUT_HIGH_MEMORY);
    set32(params + HDR_RAMDISK_IMAGE, boot->initrd);
    set32(params + HDR_RAMDISK_SIZE, boot->initrd_size);
    set32(params + HDR_CMD_LINE_PTR, boot->cmdline);
    set_memory_map(params, boot->map, boot->map_entries);
}
