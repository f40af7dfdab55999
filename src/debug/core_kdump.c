/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * makedumpfile's compressed file (its IMPLEMENTATION document, "The format of
 * kdump-compressed dumpfiles", header version 6): a header, the notes, a bitmap of
 * the pages that are RAM, one of those that are in the file, a descriptor for each of
 * these, their content.  A page that can't be read is in the first bitmap only, so that
 * readers know of it and have no content for it.  All pages of zeroes are one.
 *
 * Descriptors come before what they describe, whose size isn't known yet: the file is
 * written at offsets.  Where it may be a pipe, each piece goes with its offset (the same
 * document, "The format of flattened dumpfiles"), and `makedumpfile -R` puts it together.
 */
#include "core_dump_internal.h"

#include "error.h"
#include "fd_write.h"
#include "range.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum {
    BLOCK = GUEST_PAGE_SIZE,
    HEADER_VERSION = 6,
    COMPRESSED_ZLIB = 1,        /* in a header's status and a descriptor's flags */
    LEVEL = Z_BEST_SPEED,
    FLAT_HEAD_SIZE = 4096, FLAT_TYPE = 1, FLAT_VERSION = 1,
};

/* --- The structures --- */

struct disk_header {
    char signature[8];
    uint32_t version;
    char sysname[65], nodename[65], release[65], kernel_version[65], machine[65], domain[65];
    char pad[6];
    uint64_t seconds, microseconds;
    uint32_t status, block_size, sub_header_blocks, bitmap_blocks, max_mapnr, ram_blocks,
             device_blocks, written_blocks, current_cpu, cpus;
    char pad2[8];
};
G_STATIC_ASSERT(sizeof(struct disk_header) == 472);
G_STATIC_ASSERT(G_STRUCT_OFFSET(struct disk_header, status) == 424);

struct sub_header {
    uint64_t phys_base;
    uint32_t dump_level, split;
    uint64_t start_pfn, end_pfn, vmcoreinfo_offset, vmcoreinfo_size, note_offset, note_size,
             erase_offset, erase_size, start_pfn_64, end_pfn_64, max_mapnr_64;
};
G_STATIC_ASSERT(sizeof(struct sub_header) == 104);

struct page_descriptor {
    uint64_t offset;
    uint32_t size, flags;
    uint64_t page_flags;
};
G_STATIC_ASSERT(sizeof(struct page_descriptor) == 24);

/* Big-endian both. */
struct flat_head {
    char signature[16];
    uint64_t type, version;
};

struct flat_piece {
    uint64_t offset, size;
};

struct kdump {
    bool flat;
    uint64_t pfns;              /* the last page frame's number plus one */
    uint64_t bitmap_size;       /* of one of the two: whole blocks */
    uint64_t sub_blocks;
    uint64_t ram_pages;
    uint64_t descriptors_at, data_at;   /* where the next ones go */
    GArray *descriptors;        /* struct page_descriptor: not written yet */
    GByteArray *data;
    uint64_t zeroes_at;         /* the page of zeroes; 0: there was none yet */
    z_stream z;
};

static uint64_t blocks(uint64_t size)
{
    return (size + BLOCK - 1) / BLOCK;
}

/* --- Writing at offsets --- */

static bool put_flat(struct core_dump *dump, uint64_t offset, const void *data, uint64_t size,
                     GError **error)
{
    const struct flat_piece piece = { GUINT64_TO_BE(offset), GUINT64_TO_BE(size) };

    return core_dump_write(dump, &piece, sizeof(piece), error) &&
           core_dump_write(dump, data, size, error);
}

static bool put(struct core_dump *dump, uint64_t offset, const void *data, uint64_t size,
                GError **error)
{
    const struct kdump *kdump = dump->state;
    int ret;

    if (kdump->flat)
        return put_flat(dump, offset, data, size, error);
    ret = fd_write_all_at(dump->fd, data, size, offset);
    if (ret)
        error_set_errno(error, ret, "writing the dump failed");
    return ret == 0;
}

static bool begin_flat(struct core_dump *dump, GError **error)
{
    union {
        struct flat_head head;
        uint8_t room[FLAT_HEAD_SIZE];
    } begin = { .head = { "makedumpfile", GUINT64_TO_BE(FLAT_TYPE), GUINT64_TO_BE(FLAT_VERSION) } };

    return core_dump_write(dump, &begin, sizeof(begin), error);
}

static bool end_flat(struct core_dump *dump, GError **error)
{
    const struct flat_piece end = { UINT64_MAX, UINT64_MAX };

    return core_dump_write(dump, &end, sizeof(end), error);
}

/* --- What comes before the memory --- */

static bool seekable(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return lseek(fd, 0, SEEK_CUR) >= 0 && flags >= 0 && !(flags & O_APPEND);
}

static void measure(struct core_dump *dump, struct kdump *kdump)
{
    for (guint i = 0; i < dump->runs->len; i++) {
        const struct dump_run *run = &g_array_index(dump->runs, struct dump_run, i);

        kdump->pfns = (run->gpa + run->size) / GUEST_PAGE_SIZE;
        kdump->ram_pages += run->size / GUEST_PAGE_SIZE;
    }
    kdump->bitmap_size = blocks((kdump->pfns + 7) / 8) * BLOCK;
    kdump->sub_blocks = blocks(sizeof(struct sub_header) + dump->notes->len);
    kdump->descriptors_at = (1 + kdump->sub_blocks) * BLOCK + 2 * kdump->bitmap_size;
    kdump->data_at = kdump->descriptors_at +
                     dump->total / GUEST_PAGE_SIZE * sizeof(struct page_descriptor);
}

static bool prepare(struct core_dump *dump, bool flat, GError **error)
{
    struct kdump *kdump;

    if (!flat && !seekable(dump->fd)) {
        error_set(error, "kdump-raw formats require a seekable file: kdump-zlib for anything else");
        return false;
    }
    kdump = dump->state = g_new0(struct kdump, 1);
    kdump->flat = flat;
    kdump->descriptors = g_array_new(FALSE, FALSE, sizeof(struct page_descriptor));
    kdump->data = g_byte_array_new();
    measure(dump, kdump);
    if (deflateInit(&kdump->z, LEVEL) == Z_OK)
        return true;
    error_set(error, "not enough memory to compress");
    return false;
}

static bool prepare_flat(struct core_dump *dump, GError **error)
{
    return prepare(dump, true, error);
}

static bool prepare_raw(struct core_dump *dump, GError **error)
{
    return prepare(dump, false, error);
}

/* libkdumpfile takes the machine from here, and believes it only beside all the others. */
static void set_names(const struct core_dump *dump, struct disk_header *head)
{
    g_autofree char *release = core_vmcoreinfo_value(dump, "OSRELEASE");

    g_strlcpy(head->sysname, release ? "Linux" : "unknown", sizeof(head->sysname));
    g_strlcpy(head->nodename, "unknown", sizeof(head->nodename));
    g_strlcpy(head->release, release ? release : "unknown", sizeof(head->release));
    g_strlcpy(head->kernel_version, "unknown", sizeof(head->kernel_version));
    g_strlcpy(head->machine, "x86_64", sizeof(head->machine));
    g_strlcpy(head->domain, "unknown", sizeof(head->domain));
}

static bool put_header(struct core_dump *dump, GError **error)
{
    const struct kdump *kdump = dump->state;
    const struct debug_machine *machine = debug_machine(dump->dbg);
    int64_t now = g_get_real_time();
    union {
        struct disk_header head;
        uint8_t room[BLOCK];
    } block = { .head = {
        .signature = "KDUMP   ", .version = HEADER_VERSION,
        .seconds = (uint64_t)now / G_USEC_PER_SEC, .microseconds = (uint64_t)now % G_USEC_PER_SEC,
        .status = COMPRESSED_ZLIB, .block_size = BLOCK,
        .sub_header_blocks = (uint32_t)kdump->sub_blocks,
        .bitmap_blocks = (uint32_t)(2 * kdump->bitmap_size / BLOCK),
        .max_mapnr = (uint32_t)MIN(kdump->pfns, UINT32_MAX),
        .ram_blocks = (uint32_t)MIN(kdump->ram_pages, UINT32_MAX),
        .written_blocks = (uint32_t)MIN(dump->total / GUEST_PAGE_SIZE, UINT32_MAX),
        .cpus = machine->cpu_count(machine->opaque),
    } };

    set_names(dump, &block.head);
    return put(dump, 0, &block, sizeof(block), error);
}

static void set_vmcoreinfo(const struct core_dump *dump, struct sub_header *sub)
{
    size_t size = dump->vmcoreinfo ? strlen(dump->vmcoreinfo) : 0;
    g_autofree char *phys_base = core_vmcoreinfo_value(dump, "NUMBER(phys_base)");

    if (!size)
        return;
    sub->phys_base = phys_base ? (uint64_t)g_ascii_strtoll(phys_base, NULL, 10) : 0;
    sub->vmcoreinfo_offset = sub->note_offset + dump->vmcoreinfo_at;
    sub->vmcoreinfo_size = size;
}

static bool put_sub_header(struct core_dump *dump, GError **error)
{
    const struct kdump *kdump = dump->state;
    struct sub_header sub = {
        .note_offset = BLOCK + sizeof(sub), .note_size = dump->notes->len,
        .max_mapnr_64 = kdump->pfns,
    };
    g_autoptr(GByteArray) all = g_byte_array_new();
    guint used;

    set_vmcoreinfo(dump, &sub);
    g_byte_array_append(all, (const uint8_t *)&sub, sizeof(sub));
    g_byte_array_append(all, dump->notes->data, dump->notes->len);
    used = all->len;
    g_byte_array_set_size(all, (guint)(kdump->sub_blocks * BLOCK));
    memset(all->data + used, 0, all->len - used);
    return put(dump, BLOCK, all->data, all->len, error);
}

static void set_bits(uint8_t *bitmap, uint64_t first, uint64_t end)
{
    for (; first < end && first % 8; first++)
        bitmap[first / 8] |= (uint8_t)(1 << first % 8);
    if (end - first >= 8) {
        memset(bitmap + first / 8, 0xff, (end - first) / 8);
        first += (end - first) / 8 * 8;
    }
    for (; first < end; first++)
        bitmap[first / 8] |= (uint8_t)(1 << first % 8);
}

/* Pages that are RAM, or only those whose content the file has. */
static bool put_bitmap(struct core_dump *dump, uint64_t offset, bool readable, GError **error)
{
    const struct kdump *kdump = dump->state;
    g_autofree uint8_t *bitmap = g_try_malloc0(kdump->bitmap_size);

    if (!bitmap) {
        error_set(error, "not enough memory for a bitmap of all pages: elf");
        return false;
    }
    for (guint i = 0; i < dump->runs->len; i++) {
        const struct dump_run *run = &g_array_index(dump->runs, struct dump_run, i);

        if (run->readable || !readable)
            set_bits(bitmap, run->gpa / GUEST_PAGE_SIZE,
                     (run->gpa + run->size) / GUEST_PAGE_SIZE);
    }
    return put(dump, offset, bitmap, kdump->bitmap_size, error);
}

static bool head(struct core_dump *dump, GError **error)
{
    const struct kdump *kdump = dump->state;
    uint64_t bitmaps = (1 + kdump->sub_blocks) * BLOCK;

    return (!kdump->flat || begin_flat(dump, error)) && put_header(dump, error) &&
           put_sub_header(dump, error) && put_bitmap(dump, bitmaps, dump->opt.omit, error) &&
           put_bitmap(dump, bitmaps + kdump->bitmap_size, true, error);
}

/* --- Memory --- */

static bool is_zero(const uint8_t *page)
{
    return !page[0] && memcmp(page, page + 1, GUEST_PAGE_SIZE - 1) == 0;
}

/* The page's bytes as they go into the file: fewer than a page, or the page itself. */
static uint32_t deflate_page(struct kdump *kdump, const uint8_t *page, uint8_t *out)
{
    kdump->z.next_in = (Bytef *)page;
    kdump->z.avail_in = GUEST_PAGE_SIZE;
    kdump->z.next_out = out;
    kdump->z.avail_out = GUEST_PAGE_SIZE - 1;
    if (deflateReset(&kdump->z) == Z_OK && deflate(&kdump->z, Z_FINISH) == Z_STREAM_END)
        return (uint32_t)kdump->z.total_out;
    memcpy(out, page, GUEST_PAGE_SIZE);
    return GUEST_PAGE_SIZE;
}

static void add_page(struct kdump *kdump, const uint8_t *page)
{
    struct page_descriptor d = { .size = GUEST_PAGE_SIZE };
    bool zero = is_zero(page);
    uint8_t out[GUEST_PAGE_SIZE];

    if (zero && kdump->zeroes_at) {
        d.offset = kdump->zeroes_at;
        g_array_append_val(kdump->descriptors, d);
        return;
    }
    d.offset = kdump->data_at + kdump->data->len;
    if (zero) {
        kdump->zeroes_at = d.offset;
        memset(out, 0, sizeof(out));
    } else {
        d.size = deflate_page(kdump, page, out);
        d.flags = d.size < GUEST_PAGE_SIZE ? COMPRESSED_ZLIB : 0;
    }
    g_byte_array_append(kdump->data, out, d.size);
    g_array_append_val(kdump->descriptors, d);
}

static bool memory(struct core_dump *dump, uint64_t gpa, const uint8_t *data, uint64_t size,
                   GError **error)
{
    struct kdump *kdump = dump->state;
    uint64_t described;

    for (uint64_t done = 0; done < size; done += GUEST_PAGE_SIZE)
        add_page(kdump, data + done);
    described = kdump->descriptors->len * sizeof(struct page_descriptor);
    if (!put(dump, kdump->descriptors_at, kdump->descriptors->data, described, error) ||
        (kdump->data->len &&
         !put(dump, kdump->data_at, kdump->data->data, kdump->data->len, error)))
        return false;
    kdump->descriptors_at += described;
    kdump->data_at += kdump->data->len;
    g_array_set_size(kdump->descriptors, 0);
    g_byte_array_set_size(kdump->data, 0);
    return true;
}

static bool finish(struct core_dump *dump, GError **error)
{
    const struct kdump *kdump = dump->state;

    return !kdump->flat || end_flat(dump, error);
}

static void kdump_free(void *state)
{
    struct kdump *kdump = state;

    deflateEnd(&kdump->z);
    g_array_unref(kdump->descriptors);
    g_byte_array_unref(kdump->data);
    g_free(kdump);
}

const struct dump_format core_kdump_flat = {
    .physical_only = true, .prepare = prepare_flat, .head = head, .memory = memory,
    .finish = finish, .free = kdump_free,
};

const struct dump_format core_kdump_raw = {
    .physical_only = true, .prepare = prepare_raw, .head = head, .memory = memory,
    .finish = finish, .free = kdump_free,
};
