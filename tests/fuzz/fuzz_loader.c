/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel files from anywhere: the parsers either refuse them or promise ranges that
 * lie within the file and below 4 GiB, which is checked by reading every byte.
 */
#include "fuzz.h"

#include "../unit/kernel_files.h"
#include "bzimage.h"
#include "elf_pvh.h"
#include "memory_map.h"

#include <stdlib.h>

static void check(bool promise)
{
    if (!promise)
        abort();
}

static unsigned read_all(const uint8_t *data, size_t size, uint64_t offset, uint64_t length)
{
    unsigned sum = 0;

    check(offset <= size && length <= size - offset);
    for (uint64_t i = 0; i < length; i++)
        sum += data[offset + i];
    return sum;
}

static void try_bzimage(const uint8_t *data, size_t size)
{
    static const struct memory_range map[] = { { 0, 0x9fc00, RANGE_RAM } };
    const struct bzimage_boot boot = { .map = map, .map_entries = 1 };
    uint8_t params[BOOT_PARAMS_SIZE];
    struct bzimage image;

    if (!bzimage_parse(data, size, &image, NULL))
        return;
    read_all(data, size, image.payload_offset, image.payload_size);
    check(image.end > 0x100000 && image.end < UINT64_C(1) << 33);
    bzimage_boot_params(&image, data, &boot, params);
}

static void try_elf(const uint8_t *data, size_t size)
{
    struct elf_pvh elf;
    uint64_t end = 0;

    if (!elf_pvh_parse(data, size, &elf, NULL))
        return;
    check(elf.nr_segments > 0 && elf.nr_segments <= ELF_PVH_MAX_SEGMENTS);
    for (unsigned i = 0; i < elf.nr_segments; i++) {
        const struct elf_segment *s = &elf.segments[i];

        check(s->gpa >= end && s->file_size <= s->memory_size);
        end = s->gpa + s->memory_size;
        read_all(data, size, s->offset, s->file_size);
    }
    check(end == elf.end && end <= UINT64_C(1) << 32 && elf.entry < end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (elf_pvh_is(data, size))
        try_elf(data, size);
    if (bzimage_is(data, size))
        try_bzimage(data, size);
    return 0;
}

const uint8_t *fuzz_seed(unsigned n, size_t *size)
{
    static uint8_t image[GOOD_BZIMAGE_SIZE], elf[GOOD_ELF_SIZE];

    good_bzimage(image);
    good_elf(elf);
    *size = n == 0 ? sizeof(image) : sizeof(elf);
    return n == 0 ? image : n == 1 ? elf : NULL;
}
