/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk images: raw files and block devices, by name (-drive, -blockdev).
 *
 * Adding, deleting, claiming: main thread.  Reading and writing: any thread, of a node
 * that is claimed.  Messages are QEMU's.
 */
#ifndef DEVICES_DISK_H
#define DEVICES_DISK_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

enum { DISK_SECTOR = 512 };

struct disk;

/* What -drive if= asks for: the caller makes that of the node. */
struct drive_use {
    const char *node;
    bool virtio;
    bool flash;
    int unit;                   /* of flash; -1: the next */
};

/* "file=PATH,if=none,id=ID,format=raw,readonly=on". ret: may be NULL. */
bool disk_add_drive(const char *option, struct drive_use *ret, GError **error);
/* "driver=file,node-name=N,filename=PATH,read-only=on", "driver=raw,node-name=N,file=N", or JSON. */
bool disk_add_option(const char *option, GError **error);
bool disk_add_json(struct json_object *args, GError **error);
bool disk_del(const char *name, GError **error);
void disk_free_all(void);

struct disk *disk_find(const char *name);        /* NULL: none of that name */
/* Oldest first, those with a name. Caller frees the array. */
GPtrArray *disk_list(void);
const char *disk_name(const struct disk *node);
const char *disk_filename(const struct disk *node);
const char *disk_driver(const struct disk *node);
bool disk_readonly(const struct disk *node);
uint64_t disk_size(const struct disk *node);     /* bytes, whole sectors */
/* Who uses it, for messages and queries; NULL: nobody. */
const char *disk_user(const struct disk *node);

/* For one device at a time. False: another one has it. user: copied. */
bool disk_claim(struct disk *node, const char *user, GError **error);
void disk_release(struct disk *node);

/* 0 or -errno; all of [offset, offset + size), which is within the node. */
int disk_read(struct disk *node, uint64_t offset, void *buf, uint64_t size);
int disk_write(struct disk *node, uint64_t offset, const void *buf, uint64_t size);
int disk_flush(struct disk *node);
/* Give the space back; what is read afterwards is not said. A file that can't: 0 too. */
int disk_discard(struct disk *node, uint64_t offset, uint64_t size);
int disk_write_zeroes(struct disk *node, uint64_t offset, uint64_t size, bool may_unmap);

#endif
