/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that a user adds (-device, device_add): types with tables of properties,
 * and the devices of one machine by id.
 *
 * Main thread; who calls holds no lock.  Messages are QEMU's.
 */
#ifndef DEVICES_DEVICE_H
#define DEVICES_DEVICE_H

#include "memory.h"
#include "object.h"
#include "pci.h"
#include "pci_hotplug.h"

/* What the board gives to devices. */
struct device_host {
    struct bus *bus;
    struct memory *mem;
    struct pci_bus *pci;
    struct pci_hotplug *hotplug;        /* NULL: none can come or go */
    struct fw_cfg *fw_cfg;              /* may be NULL */
    bool protected;                     /* guest memory is private at first */
    bool encrypted;                     /* by the guest itself, in pages that never move (SEV) */
    /* A device is gone: id (NULL: it had none) and path. Main thread. May be NULL. */
    void (*deleted)(void *opaque, const char *id, const char *path);
    /* A memory device has now so much plugged. Any thread. May be NULL. */
    void (*size_changed)(void *opaque, const char *id, const char *path, uint64_t size);
    uint64_t memory_base, memory_size;  /* where memory devices go; size 0: nowhere */
    void *opaque;
};

struct device;
struct devices;

/* A device that is memory. */
struct memory_device_info {
    uint64_t memaddr, requested_size, size, max_size, block_size;
    uint32_t node;
    const char *memdev;         /* id of its backend */
};

/* How a device fared with guest memory. */
struct device_dma {
    uint64_t requests;          /* completed, well or not */
    uint64_t refused;           /* accesses to a private page, or to no RAM */
    uint64_t broken;            /* times that it needed a reset: its ring was no use */
    bool needs_reset;
};

struct device_type {
    const char *name;           /* "virtio-rng-pci" */
    const char *help;
    const char *bus_type;       /* what it plugs into: "PCI", "virtio-serial-bus"; NULL: nothing */
    const char *child_bus_type; /* what plugs into its bus "ID.0"; NULL: it has none */
    size_t size;                /* of the struct that begins with struct device */
    const struct property *const *properties;   /* tables, NULL-terminated list */
    void (*init)(struct device *dev);           /* defaults that aren't zero; may be NULL */
    /* All properties are set: acquire, plug in. False: nothing is held. */
    bool (*realize)(struct device *dev, GError **error);
    /* The reverse.  No thread of the device runs afterwards. */
    void (*unrealize)(struct device *dev);
    /* Ask the guest to let go; device_gone() comes later.  NULL: it goes at once. */
    bool (*request_unplug)(struct device *dev, GError **error);
    /* The machine is reset: to the power-on state. Machine lock held, paused. May be NULL. */
    void (*reset)(struct device *dev);
    /*
     * pause: returns when the device touches no guest memory any more and won't until
     * resume.  May be NULL.
     */
    void (*pause)(struct device *dev);
    void (*resume)(struct device *dev);
    /* NULL: it has nothing to do with guest memory. */
    void (*dma)(struct device *dev, struct device_dma *ret);
    /* NULL: it is no memory. Main thread. */
    void (*memory)(struct device *dev, struct memory_device_info *ret);
    /*
     * Set a property of a device that is there; *found false: this one is settled.
     * NULL: all are.
     */
    bool (*set_property)(struct device *dev, const char *name, struct json_object *value,
                         bool *found, GError **error);
    /* Further lines of `info qtree`, each behind indent blanks. May be NULL. */
    void (*describe)(struct device *dev, int indent, GString *out);
};

struct device {
    const struct device_type *type;
    struct devices *all;
    char *id;                   /* NULL: none was given */
    struct device *parent;      /* whose bus it is on; NULL: the board's */
    bool hotplugged;
    bool gone;                  /* the guest let go: waits to be freed. Machine lock. */
};

void device_type_register(const struct device_type *type);
const struct device_type *device_type_find(const char *name);

struct devices *devices_new(const struct device_host *host);
/* All of them, the newest first. */
void devices_free(struct devices *all);
const struct device_host *devices_host(const struct devices *all);
/* Oldest first. Caller frees the array. */
GPtrArray *devices_list(struct devices *all);
void devices_pause(struct devices *all);
void devices_resume(struct devices *all);
/* Machine lock held, devices paused. */
void devices_reset(struct devices *all);

/* "TYPE,id=ID,bus=BUS,prop=value,..." or JSON; hotplugged: the machine is there already. */
bool device_add_option(struct devices *all, const char *option, bool hotplugged, GError **error);
bool device_add_json(struct devices *all, struct json_object *args, GError **error);
/* id: or its path. NULL: none of that id. */
struct device *device_find(struct devices *all, const char *id);
bool device_del(struct device *dev, GError **error);
/* The guest let go of it: freed soon, on the main thread. Any thread, machine lock held. */
void device_gone(struct device *dev);
/* "/machine/peripheral/ID", or "/machine/peripheral-anon/TYPE". Caller frees. */
char *device_path(const struct device *dev);
/* Of a device that is there: qom-set. */
bool device_set_property(struct device *dev, const char *name, struct json_object *value,
                         GError **error);

/* Text for `-device help` and `-device TYPE,help`; caller frees. */
char *device_help(const char *type_name);
/* Text of `info qtree`. */
void devices_describe(struct devices *all, GString *out);

#endif
