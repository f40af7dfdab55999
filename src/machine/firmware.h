/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * -bios: the image, the memory that it lies in, and what it is told by fw_cfg.
 */
#ifndef MACHINE_FIRMWARE_H
#define MACHINE_FIRMWARE_H

#include "acpi.h"
#include "boot.h"
#include "disk.h"
#include "fw_cfg.h"
#include "pam.h"
#include "smram.h"

struct firmware;

/* name: a file; a bare name is also looked for where packages have firmware. */
struct firmware *firmware_open(const char *name, GError **error);
/*
 * In flash memory: what begins at the processor's first instruction, and below it what it keeps
 * its variables in (NULL: nothing; in the first, if that can be written).
 */
struct firmware *firmware_open_flash(struct disk *code, struct disk *variables, GError **error);
void firmware_close(struct firmware *fw);

/*
 * firmware_map - all RAM, and the image below 4 GiB (docs/machine.md, "Firmware").
 * protected: in private memory like ram.  smm: on is refused where SMM can't be had,
 * auto has it where it can.  Once.
 */
bool firmware_map(struct firmware *fw, struct memory *mem, struct ram_block *ram, bool protected,
                  enum on_off_auto smm, GError **error);
/* The chips of flash memory, on the board's bus.  After firmware_map(); freed before the bus. */
bool firmware_add_flash(struct firmware *fw, struct bus *bus, GError **error);
/* What the PAM registers change; NULL: nothing, all below 1 MiB is RAM. */
struct pam *firmware_pam(struct firmware *fw);
/* The same with SMRAM; NULL: there is no SMM. */
struct smram *firmware_smram(struct firmware *fw);
/* It says that it is SeaBIOS. */
bool firmware_is_seabios(const struct firmware *fw);
/*
 * For a SEV guest, once: the image is encrypted where it is, then (hashes) what it checks the
 * kernel against, in this order.  False: it isn't made for SEV, or has no place for them.
 */
bool firmware_encrypt(struct firmware *fw, struct boot *hashes, GError **error);
/* Where it looks for an owner's secret. False: nowhere. */
bool firmware_secret_area(const struct firmware *fw, uint64_t *ret_gpa);
/* After each reset: what isn't ROM is written again, flash memory is read again. */
bool firmware_load(struct firmware *fw, GError **error);

struct firmware_facts {
    uint64_t ram_size;
    uint64_t memory_end;        /* where memory may still come; 0: nowhere */
    unsigned cpus, serials;
    const char *uuid;           /* NULL: none */
    const struct acpi_board *acpi;
    bool seabios;               /* starts a kernel by an option ROM */
    struct boot *boot;          /* what -kernel named; NULL: nothing */
    GPtrArray *user_items;      /* of char *: -fw_cfg */
};

/* Everything that fw_cfg has. Errors begin with the option's name. */
bool firmware_add_items(struct fw_cfg *fw, const struct firmware_facts *facts, GError **error);

#endif
