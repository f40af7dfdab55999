/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What goes where in low memory: layout.h for fixed places, the kernel where it asks
 * to be, the initrd as high as it may.  Nothing of this is private yet.
 */
#include "boot.h"

#include "bzimage.h"
#include "elf_pvh.h"
#include "error.h"
#include "fd.h"
#include "layout.h"
#include "memory_map.h"
#include "trace.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/* No kernel is larger; refuses to read a disk image into our own memory. */
#define MAX_KERNEL_FILE (1 * GIB)

struct boot_file {
    const char *option;
    char *name;                 /* NULL: not given */
    int fd;
    uint64_t size;
};

struct boot {
    struct boot_file kernel, initrd;
    char *append;
};

/* One loading: what has been decided so far. */
struct load {
    struct boot *boot;
    struct memory *mem;
    uint64_t ram_size, low_end;         /* low_end: the ACPI tables begin there */
    struct memory_range map[MEMORY_MAP_MAX];
    unsigned map_entries;
    uint64_t cmdline, initrd, initrd_size, rsdp;
};

/* --- Files --- */

static bool file_open(struct boot_file *file, const char *option, const char *name, GError **error)
{
    struct stat st;

    file->option = option;
    file->fd = -1;
    if (!name)
        return true;
    file->name = g_strdup(name);
    /* O_NONBLOCK: a FIFO must not make us wait for a writer before it is refused. */
    file->fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0 || fstat(file->fd, &st) < 0) {
        error_set_errno(error, errno, "%s: %s", option, name);
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        error_set(error, "%s: %s: %s: a regular file", option, name,
                  S_ISDIR(st.st_mode) ? "is a directory" : "is not a regular file");
        return false;
    }
    if (st.st_size == 0) {
        error_set(error, "%s: %s: is empty: a file with something to load", option, name);
        return false;
    }
    file->size = st.st_size;
    return true;
}

static void file_close(struct boot_file *file)
{
    fd_closep(&file->fd);
    g_free(file->name);
}

static bool file_read(const struct boot_file *file, uint64_t offset, void *data, size_t size,
                      GError **error)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(file->fd, (char *)data + done, size - done, offset + done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error_set_errno(error, errno, "%s: %s", file->option, file->name);
            return false;
        }
        if (n == 0) {
            error_set(error, "%s: %s: became shorter while it was read", file->option,
                      file->name);
            return false;
        }
        done += n;
    }
    return true;
}

/* All of it; caller frees. */
static bool file_read_all(const struct boot_file *file, uint8_t **data, uint64_t *size,
                          GError **error)
{
    if (file->size > MAX_KERNEL_FILE) {
        error_set(error, "%s: %s: %llu MiB are too large: up to 1024", file->option, file->name,
                  file->size / MIB);
        return false;
    }
    *size = file->size;
    *data = g_malloc(file->size);
    if (file_read(file, 0, *data, file->size, error))
        return true;
    g_clear_pointer(data, g_free);
    return false;
}

bool boot_read_file(const char *option, const char *name, uint8_t **data, uint64_t *size,
                    GError **error)
{
    struct boot_file file = { 0 };
    bool ok = file_open(&file, option, name, error) && file_read_all(&file, data, size, error);

    file_close(&file);
    return ok;
}

bool boot_read_kernel(struct boot *boot, uint8_t **data, uint64_t *size, GError **error)
{
    return file_read_all(&boot->kernel, data, size, error);
}

bool boot_read_initrd(struct boot *boot, uint8_t **data, uint64_t *size, GError **error)
{
    return !boot->initrd.name || file_read_all(&boot->initrd, data, size, error);
}

const char *boot_cmdline(const struct boot *boot)
{
    return boot->append;
}

struct boot *boot_open(const char *kernel, const char *initrd, const char *append, GError **error)
{
    struct boot *boot = g_new0(struct boot, 1);

    boot->kernel.fd = boot->initrd.fd = -1;
    boot->append = g_strdup(append ? append : "");
    if (!file_open(&boot->kernel, "-kernel", kernel, error) ||
        !file_open(&boot->initrd, "-initrd", initrd, error)) {
        boot_close(boot);
        return NULL;
    }
    return boot;
}

void boot_close(struct boot *boot)
{
    if (!boot)
        return;
    file_close(&boot->kernel);
    file_close(&boot->initrd);
    g_free(boot->append);
    g_free(boot);
}

/* --- Guest memory --- */

static bool put(struct load *load, uint64_t gpa, const void *data, uint64_t size, const char *what,
                GError **error)
{
    uint64_t failed = gpa;

    trace(TRACE_BOOT_LOAD, "%s gpa=0x%" PRIx64 " size=0x%" PRIx64, what, gpa, size);
    if (memory_write(load->mem, gpa, data, size, &failed))
        return true;
    error_set(error, "-kernel: cannot load the %s: no shared RAM at 0x%" PRIx64, what, failed);
    return false;
}

static bool put_zeros(struct load *load, uint64_t gpa, uint64_t size, GError **error)
{
    static const uint8_t zeros[64 * KIB];

    while (size) {
        uint64_t part = MIN(size, sizeof(zeros));

        if (!memory_write(load->mem, gpa, zeros, part, NULL)) {
            error_set(error, "-kernel: no shared RAM at 0x%" PRIx64, gpa);
            return false;
        }
        gpa += part;
        size -= part;
    }
    return true;
}

static bool load_acpi(struct load *load, const struct acpi_board *board, GError **error)
{
    struct acpi_tables *tables = acpi_build(board, load->low_end);
    unsigned size = tables->bytes->len;
    bool ok = false;

    load->rsdp = load->low_end + ACPI_RSDP_OFFSET;
    if (size > LAYOUT_ACPI_SIZE)
        error_set(error, "-machine: %u bytes of ACPI tables don't fit", size);
    else
        ok = put(load, load->low_end, tables->bytes->data, size, "ACPI tables", error);
    acpi_tables_free(tables);
    return ok;
}

/* Where a BIOS has its data: no more than zeros, but what isn't encrypted is noise to a SEV guest. */
static bool load_bios_data(struct load *load, GError **error)
{
    return !memory_vm(load->mem)->sev || put_zeros(load, 0, GUEST_PAGE_SIZE, error);
}

/* Null, (unused), code at 0x10 and data at 0x18: flat, as the 32-bit boot protocol wants them. */
static bool load_gdt(struct load *load, GError **error)
{
    static const uint64_t gdt[] = { 0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff };

    return put(load, LAYOUT_GDT, gdt, sizeof(gdt), "GDT", error);
}

static bool load_cmdline(struct load *load, uint64_t max, GError **error)
{
    const char *text = load->boot->append;
    size_t length = strlen(text);

    max = MIN(max, LAYOUT_CMDLINE_MAX - 1);
    if (length > max) {
        error_set(error, "-append: %zu characters are too many: this kernel takes %" PRIu64,
                  length, max);
        return false;
    }
    load->cmdline = LAYOUT_CMDLINE;
    return put(load, LAYOUT_CMDLINE, text, length + 1, "command line", error);
}

/* As high as possible: above what the kernel needs, below max (inclusive) and the tables. */
static bool load_initrd(struct load *load, uint64_t kernel_end, uint64_t max, GError **error)
{
    const struct boot_file *file = &load->boot->initrd;
    uint64_t limit = MIN(load->low_end, max + 1), offset = 0;
    g_autofree uint8_t *buffer = NULL;

    if (!file->name)
        return true;
    if (limit < kernel_end || file->size > limit - kernel_end) {
        error_set(error, "-initrd: %s: %llu MiB don't fit into the memory left by the "
                  "kernel, %llu MiB: more memory with -m", file->name,
                  (file->size + MIB - 1) / MIB, limit < kernel_end ? 0 : (limit - kernel_end) / MIB);
        return false;
    }
    load->initrd = (limit - file->size) & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
    if (load->initrd < kernel_end) {
        error_set(error, "-initrd: %s: doesn't fit between kernel and ACPI tables: more memory "
                  "with -m", file->name);
        return false;
    }
    load->initrd_size = file->size;
    buffer = g_malloc(MIB);
    while (offset < file->size) {
        uint64_t part = MIN(file->size - offset, MIB);

        if (!file_read(file, offset, buffer, part, error) ||
            !put(load, load->initrd + offset, buffer, part, "initrd", error))
            return false;
        offset += part;
    }
    return true;
}

/* --- The two kinds of kernel --- */

static bool load_bzimage(struct load *load, const uint8_t *file, size_t size,
                         struct boot_entry *entry, GError **error)
{
    uint8_t params[BOOT_PARAMS_SIZE];
    struct bzimage_boot boot;
    struct bzimage image;

    if (!bzimage_parse(file, size, &image, error)) {
        g_prefix_error(error, "-kernel: %s: ", load->boot->kernel.name);
        return false;
    }
    if (image.end > load->low_end) {
        error_set(error, "-kernel: %s: needs memory up to %llu MiB, there are %llu"
                  ": more with -m", load->boot->kernel.name, (image.end + MIB - 1) / MIB,
                  load->low_end / MIB);
        return false;
    }
    if (!put(load, LAYOUT_HIGH_MEMORY, file + image.payload_offset, image.payload_size, "kernel",
             error) ||
        !load_cmdline(load, image.cmdline_max, error) ||
        !load_initrd(load, image.end, image.initrd_max, error))
        return false;
    boot = (struct bzimage_boot){
        .cmdline = load->cmdline, .initrd = load->initrd, .initrd_size = load->initrd_size,
        .rsdp = load->rsdp, .map = load->map, .map_entries = load->map_entries,
    };
    bzimage_boot_params(&image, file, &boot, params);
    entry->eip = LAYOUT_HIGH_MEMORY;
    entry->esi = LAYOUT_BOOT_PARAMS;
    entry->ebx = 0;
    return put(load, LAYOUT_BOOT_PARAMS, params, sizeof(params), "boot_params", error);
}

static bool load_segments(struct load *load, const uint8_t *file, const struct elf_pvh *elf,
                          GError **error)
{
    for (unsigned i = 0; i < elf->nr_segments; i++) {
        const struct elf_segment *s = &elf->segments[i];

        if (s->gpa < LAYOUT_LOADER_END || s->gpa + s->memory_size > load->low_end) {
            error_set(error, "-kernel: %s: its ELF segment at 0x%" PRIx64 ", size 0x%" PRIx64
                      ", isn't in RAM: from 0x%llx to 0x%" PRIx64, load->boot->kernel.name,
                      s->gpa, s->memory_size, LAYOUT_LOADER_END, load->low_end);
            return false;
        }
        if (!put(load, s->gpa, file + s->offset, s->file_size, "kernel segment", error) ||
            !put_zeros(load, s->gpa + s->file_size, s->memory_size - s->file_size, error))
            return false;
    }
    return true;
}

static bool load_elf(struct load *load, const uint8_t *file, size_t size, struct boot_entry *entry,
                     GError **error)
{
    g_autoptr(GByteArray) info = NULL;
    struct pvh_boot boot;
    struct elf_pvh elf;

    if (memory_vm(load->mem)->sev) {
        error_set(error, "-kernel: %s: an ELF kernel's PVH entry reads its start info without the "
                  "C-bit: a bzImage", load->boot->kernel.name);
        return false;
    }
    if (!elf_pvh_parse(file, size, &elf, error)) {
        g_prefix_error(error, "-kernel: %s: ", load->boot->kernel.name);
        return false;
    }
    if (!load_segments(load, file, &elf, error) ||
        !load_cmdline(load, LAYOUT_CMDLINE_MAX - 1, error) ||
        !load_initrd(load, elf.end, UINT32_MAX, error))
        return false;
    boot = (struct pvh_boot){
        .cmdline = load->cmdline, .initrd = load->initrd, .initrd_size = load->initrd_size,
        .rsdp = load->rsdp, .map = load->map, .map_entries = load->map_entries,
    };
    info = pvh_start_info(&boot, LAYOUT_PVH_INFO);
    entry->eip = elf.entry;
    entry->ebx = LAYOUT_PVH_INFO;
    entry->esi = 0;
    return put(load, LAYOUT_PVH_INFO, info->data, info->len, "start info", error);
}

bool boot_load(struct boot *boot, struct memory *mem, uint64_t ram_size,
               const struct acpi_board *board, struct boot_entry *entry, GError **error)
{
    struct load load = {
        .boot = boot, .mem = mem, .ram_size = ram_size, .low_end = layout_acpi(ram_size),
    };
    g_autofree uint8_t *kernel = NULL;
    uint64_t size;

    if (!boot_read_kernel(boot, &kernel, &size, error))
        return false;
    load.map_entries = memory_map_build(ram_size, load.map);
    if (!load_bios_data(&load, error) || !load_acpi(&load, board, error) ||
        !load_gdt(&load, error))
        return false;
    if (elf_pvh_is(kernel, size))
        return load_elf(&load, kernel, size, entry, error);
    if (bzimage_is(kernel, size))
        return load_bzimage(&load, kernel, size, entry, error);
    error_set(error, "-kernel: %s: not a kernel: a Linux bzImage, or an ELF file with a PVH "
              "entry", boot->kernel.name);
    return false;
}
