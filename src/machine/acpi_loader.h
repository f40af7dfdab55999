/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ACPI tables as firmware takes them from fw_cfg: where they go is the firmware's choice. */
#ifndef MACHINE_ACPI_LOADER_H
#define MACHINE_ACPI_LOADER_H

#include "acpi.h"
#include "fw_cfg.h"

/*
 * acpi_loader_add - the files etc/acpi/tables, etc/acpi/rsdp and etc/table-loader.
 * False: fw_cfg has no room or has such files already.
 */
bool acpi_loader_add(struct fw_cfg *fw, const struct acpi_board *board, GError **error);

#endif
