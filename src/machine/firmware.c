/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The firmware's image and where the guest sees it: it ends at 4 GiB, where the
 * processor starts, and its last 128 KiB are below 1 MiB as well.
 *
 * With ordinary RAM it is a ROM, in both places, and the PAM registers change what is
 * below 1 MiB.  A slot with a guest_memfd can neither be read-only nor lie in two
 * places, so with such RAM all below 1 MiB is RAM for good and holds a copy; and a
 * protected VM has the image itself in private memory, which it may write.
 *
 * Or the image is flash memory, which is a ROM to who reads and takes commands from who writes.
 */
#include "firmware.h"

#include "encrypted.h"
#include "error.h"
#include "fd.h"
#include "layout.h"
#include "pflash.h"
#include "sev_firmware.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { FLASHES = 2 };

#define IMAGE_UNIT (64 * KIB)
#define IMAGE_MAX  (16 * MIB)
#define LOW_COPY   (128 * KIB)

/* A chip below the one before it; the first ends at 4 GiB and has the image. */
struct flash {
    struct disk *node;          /* NULL: there is none */
    struct ram_block *block;
    uint64_t gpa;
    struct pflash *chip;
};

struct firmware {
    char *path;
    uint8_t *image;
    uint64_t size;
    uint64_t flash_size;        /* of all chips */
    struct flash flash[FLASHES];
    struct memory *mem;
    struct pam *pam;
    struct smram *smram;
    bool protected;
};

/* --- The file --- */

static const char *const search_path[] = {
    "/usr/share/seabios", "/usr/share/ovmf", "/usr/share/OVMF", "/usr/share/qemu",
};

static char *find_file(const char *name)
{
    if (!strchr(name, '/') && !g_file_test(name, G_FILE_TEST_EXISTS)) {
        for (size_t i = 0; i < G_N_ELEMENTS(search_path); i++) {
            g_autofree char *path = g_build_filename(search_path[i], name, NULL);

            if (g_file_test(path, G_FILE_TEST_EXISTS))
                return g_steal_pointer(&path);
        }
    }
    return g_strdup(name);
}

static bool check_image(const char *path, const struct stat *st, GError **error)
{
    if (!S_ISREG(st->st_mode))
        error_set(error, "-bios: %s: is not a regular file: a firmware image", path);
    else if (st->st_size == 0 || st->st_size % IMAGE_UNIT || (uint64_t)st->st_size > IMAGE_MAX)
        error_set(error, "-bios: %s: %lld bytes are no firmware image: a multiple of 64 KiB up to "
                  "16 MiB, such as bios-256k.bin or OVMF.fd", path, (long long)st->st_size);
    else
        return true;
    return false;
}

static bool read_image(struct firmware *fw, GError **error)
{
    /* O_NONBLOCK: a FIFO must not make us wait before it is refused. */
    int fd = open(fw->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    bool ok = false;

    if (fd < 0 || fstat(fd, &st) < 0) {
        error_set_errno(error, errno, "-bios: %s", fw->path);
    } else if (check_image(fw->path, &st, error)) {
        fw->size = st.st_size;
        fw->image = g_malloc(fw->size);
        ok = pread(fd, fw->image, fw->size, 0) == (ssize_t)fw->size;
        if (!ok)
            error_set(error, "-bios: %s: can't be read whole", fw->path);
    }
    fd_closep(&fd);
    return ok;
}

/* --- Images that are flash memory --- */

static bool claim_flash(struct firmware *fw, unsigned unit, struct disk *node, GError **error)
{
    g_autofree char *user = g_strdup_printf("pflash%u", unit);
    uint64_t size = disk_size(node);

    fw->flash_size += size;
    if (!size || size % PFLASH_SECTOR || fw->flash_size > IMAGE_MAX)
        error_set(error, "%s: %" G_GUINT64_FORMAT " bytes are no flash memory: multiples of 4 KiB, "
                  "together up to 16 MiB", disk_filename(node), size);
    else if (disk_claim(node, user, error)) {
        fw->flash[unit].node = node;
        fw->flash[unit].gpa = 4 * GIB - fw->flash_size;
        return true;
    }
    g_prefix_error(error, "%s: ", user);
    return false;
}

static bool read_flash(struct disk *node, void *to, GError **error)
{
    int ret = disk_read(node, 0, to, disk_size(node));

    if (ret)
        error_set_errno(error, ret, "pflash: %s", disk_filename(node));
    return !ret;
}

struct firmware *firmware_open_flash(struct disk *code, struct disk *variables, GError **error)
{
    struct firmware *fw = g_new0(struct firmware, 1);

    fw->path = g_strdup(disk_filename(code));
    if (claim_flash(fw, 0, code, error) &&
        (!variables || claim_flash(fw, 1, variables, error))) {
        fw->size = disk_size(code);
        fw->image = g_malloc(fw->size);
        if (read_flash(code, fw->image, error))
            return fw;
    }
    firmware_close(fw);
    return NULL;
}

bool firmware_add_flash(struct firmware *fw, struct bus *bus, GError **error)
{
    for (unsigned i = 0; i < FLASHES && fw->flash[i].node; i++) {
        struct flash *flash = &fw->flash[i];

        flash->chip = pflash_new(bus, fw->mem, flash->block, flash->gpa, flash->node, error);
        if (!flash->chip) {
            g_prefix_error(error, "pflash%u: ", i);
            return false;
        }
    }
    return true;
}

void firmware_close(struct firmware *fw)
{
    if (!fw)
        return;
    for (unsigned i = 0; i < FLASHES && fw->flash[i].node; i++) {
        pflash_free(fw->flash[i].chip);
        disk_release(fw->flash[i].node);
    }
    smram_free(fw->smram);
    pam_free(fw->pam);
    g_free(fw->image);
    g_free(fw->path);
    g_free(fw);
}

struct firmware *firmware_open(const char *name, GError **error)
{
    struct firmware *fw = g_new0(struct firmware, 1);

    fw->path = find_file(name);
    if (read_image(fw, error))
        return fw;
    firmware_close(fw);
    return NULL;
}

/* --- Memory --- */

/* Private memory of the same kind as the RAM's: the machine then needs nothing else of KVM. */
static struct ram_block *make_private(struct firmware *fw, enum backend_kind kind, GError **error)
{
    struct memory_backend *backend = memory_backend_new_internal("pc.bios", fw->size, kind, error);

    return backend ? ram_block_new(fw->mem, backend, error) : NULL;
}

static struct ram_block *make_rom(struct firmware *fw, GError **error)
{
    const char *name = fw->flash[0].node ? "system.flash0" : "pc.bios";
    struct ram_block *rom = ram_block_new_internal(fw->mem, name, fw->size, true, error);

    if (rom)
        memcpy(ram_block_host(rom), fw->image, fw->size);
    fw->flash[0].block = rom;
    return rom;
}

/* The second chip: what firmware keeps. */
static bool map_variables(struct firmware *fw, GError **error)
{
    struct flash *flash = &fw->flash[1];
    uint64_t size;

    if (!flash->node)
        return true;
    size = disk_size(flash->node);
    flash->block = ram_block_new_internal(fw->mem, "system.flash1", size, true, error);
    return flash->block && read_flash(flash->node, ram_block_host(flash->block), error) &&
           memory_map_readonly(fw->mem, flash->block, 0, flash->gpa, size, error);
}

static bool map_high_ram(struct firmware *fw, struct ram_block *ram, GError **error)
{
    uint64_t size = ram_block_size(ram), low = layout_low_ram(size);

    return low == size || memory_map(fw->mem, ram, low, LAYOUT_HIGH_RAM, size - low, error);
}

/* As a PC has it: a hole for graphics, and what is between it and 1 MiB is the PAM's. */
static bool map_ram_with_holes(struct firmware *fw, struct ram_block *ram, GError **error)
{
    uint64_t low = layout_low_ram(ram_block_size(ram));

    return memory_map(fw->mem, ram, 0, 0, LAYOUT_VGA, error) &&
           memory_map(fw->mem, ram, LAYOUT_HIGH_MEMORY, LAYOUT_HIGH_MEMORY,
                      low - LAYOUT_HIGH_MEMORY, error);
}

/*
 * SMM sees RAM where others don't, at another address even: what a guest_memfd's slots
 * and a protected VM, with one state for each address, can't do.
 */
static bool decide_smm(struct firmware *fw, struct ram_block *ram, enum on_off_auto smm,
                       GError **error)
{
    const char *why = NULL;

    if (smm == OOA_OFF)
        return true;
    /* Of a protected VM too; smm=on was refused there before. */
    if (ram_block_kind(ram) != BACKEND_PLAIN)
        why = "memory in a guest_memfd can't be seen at two addresses";
    else if (!memory_enable_smm(fw->mem))
        why = "this KVM lacks KVM_CAP_X86_SMM (117) or a second address space";
    else
        fw->smram = smram_new(fw->mem, ram, layout_low_ram(ram_block_size(ram)));
    if (why && smm == OOA_ON)
        error_set(error, "smm=on: %s: smm=off", why);
    return !why || smm != OOA_ON;
}

bool firmware_map(struct firmware *fw, struct memory *mem, struct ram_block *ram, bool protected,
                  enum on_off_auto smm, GError **error)
{
    enum backend_kind kind = ram_block_kind(ram);
    struct ram_block *bios;
    bool ok;

    fw->mem = mem;
    fw->protected = protected;
    if (!decide_smm(fw, ram, smm, error)) {
        g_prefix_error(error, "-machine: ");
        return false;
    }
    bios = protected ? make_private(fw, kind, error) : make_rom(fw, error);
    if (!bios || !memory_map(mem, bios, 0, 4 * GIB - fw->size, fw->size, error) ||
        !map_variables(fw, error)) {
        g_prefix_error(error, fw->flash[0].node ? "pflash: " : "-bios: ");
        return false;
    }
    if (kind == BACKEND_PLAIN) {
        fw->pam = pam_new(mem, ram, bios);
        ok = map_ram_with_holes(fw, ram, error);
    } else {
        ok = memory_map(mem, ram, 0, 0, layout_low_ram(ram_block_size(ram)), error);
    }
    if (ok && map_high_ram(fw, ram, error))
        return true;
    g_prefix_error(error, "-m: ");
    return false;
}

struct pam *firmware_pam(struct firmware *fw)
{
    return fw->pam;
}

struct smram *firmware_smram(struct firmware *fw)
{
    return fw->smram;
}

bool firmware_is_seabios(const struct firmware *fw)
{
    static const char name[] = "SeaBIOS (version";

    return memmem(fw->image, fw->size, name, strlen(name)) != NULL;
}

/* --- SEV --- */

static bool encrypt_hashes(struct firmware *fw, struct boot *boot, GError **error)
{
    uint8_t table[SEV_HASHES_SIZE];
    uint64_t gpa, size;

    if (!sev_firmware_area(fw->image, fw->size, SEV_FIRMWARE_HASHES, &gpa, &size) ||
        size < SEV_HASHES_SIZE || gpa % 16) {
        error_set(error, "-object sev-guest: kernel-hashes=on: %s has no place for hashes: firmware "
                  "that checks them (edk2's OvmfPkg/AmdSev), or kernel-hashes=off", fw->path);
        return false;
    }
    if (!sev_firmware_hashes(boot, table, error))
        return false;
    if (!memory_write(fw->mem, gpa, table, sizeof(table), NULL)) {
        error_set(error, "-bios: %s: has a place for hashes that isn't RAM", fw->path);
        return false;
    }
    return memory_encrypt(fw->mem, gpa, sizeof(table), error);
}

bool firmware_encrypt(struct firmware *fw, struct boot *hashes, GError **error)
{
    if (!sev_firmware_find(fw->image, fw->size, SEV_FIRMWARE_RESET, 0)) {
        error_set(error, "-bios: %s: isn't made for SEV, as its table says nothing of that: "
                  "OVMF.fd, or -kernel alone", fw->path);
        return false;
    }
    if (!memory_encrypt(fw->mem, 4 * GIB - fw->size, fw->size, error)) {
        g_prefix_error(error, "-bios: ");
        return false;
    }
    return !hashes || encrypt_hashes(fw, hashes, error);
}

bool firmware_secret_area(const struct firmware *fw, uint64_t *ret_gpa)
{
    uint64_t size;

    return sev_firmware_area(fw->image, fw->size, SEV_FIRMWARE_SECRET, ret_gpa, &size);
}

static bool put(struct firmware *fw, uint64_t gpa, uint64_t size, GError **error)
{
    uint64_t failed = gpa;

    if (memory_write(fw->mem, gpa, fw->image + (fw->size - size), size, &failed))
        return true;
    error_set(error, "-bios: %s: no shared RAM at 0x%" G_GINT64_MODIFIER "x", fw->path, failed);
    return false;
}

bool firmware_load(struct firmware *fw, GError **error)
{
    uint64_t low = MIN(fw->size, LOW_COPY);

    for (unsigned i = 0; i < FLASHES; i++) {
        if (fw->flash[i].chip)
            pflash_reset(fw->flash[i].chip);
    }
    return (fw->pam || put(fw, LAYOUT_HIGH_MEMORY - low, low, error)) &&
           (!fw->protected || put(fw, 4 * GIB - fw->size, fw->size, error));
}
