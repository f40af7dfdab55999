/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory device (virtio 1.2, 5.15): a region of guest memory in blocks, which the
 * driver plugs and unplugs so that as much is plugged as the host requests.
 *
 * What is plugged is kept by a source of the RamBlock's discard manager, so that
 * devices and listeners have exactly that.  A block that isn't plugged holds no memory:
 * it is freed in each backing when it is unplugged, and again when it is plugged, as
 * the guest can't be kept from touching it in between.  In a protected VM that leaves
 * it private, as all memory of such a guest begins.
 *
 * Only one thread changes what is plugged: the worker, or the main thread while the
 * worker rests.  What others look at is in v->config, under the machine lock.
 */
#include "virtio_mem.h"

#include "error.h"
#include "memory_device.h"
#include "property.h"

#include <inttypes.h>
#include <linux/virtio_mem.h>

/* QEMU's: smaller blocks aren't worth it, larger ones take the guest's huge pages along. */
#define MIN_BLOCK_SIZE  (1 * MIB)
#define HUGE_PAGE       (2 * MIB)

static struct virtio_mem *device_to_mem(struct device *dev)
{
    return to_virtio_mem(to_virtio(dev));
}

/* --- Its backend --- */

static struct memory_backend *find_memdev(const struct virtio_mem *vm, GError **error)
{
    const struct device_host *host = devices_host(vm->v.pci.dev.all);
    struct memory_backend *backend;
    bool private_;

    if (host->encrypted) {
        error_set(error, "Discarding RAM is disabled: SEV has all memory of a guest pinned: leave "
                  "the device out, and give -m all of it");
        return NULL;
    }
    if (!vm->memdev || !*vm->memdev) {
        error_set(error, "'memdev' property is not set");
        return NULL;
    }
    backend = memory_backend_find(vm->memdev);
    if (!backend) {
        error_set(error, "Device '%s' not found", vm->memdev);
        return NULL;
    }
    if (memory_backend_preallocates(backend)) {
        error_set(error, "'memdev' property specifies a memdev with preallocation enabled: %s. "
                  "Instead, specify 'prealloc=on' for the virtio-mem device.", vm->memdev);
        return NULL;
    }
    private_ = memory_backend_kind(backend) != BACKEND_PLAIN;
    if (host->protected && !private_) {
        error_set(error, "'memdev' property specifies a memdev that can't be private: %s: "
                  "private=on, or memory-backend-guest-memfd", vm->memdev);
        return NULL;
    }
    if (!host->protected && memory_backend_kind(backend) == BACKEND_TWO_BACKINGS) {
        error_set(error, "'memdev' property specifies a memdev with private=on, which is for "
                  "protected VMs: %s", vm->memdev);
        return NULL;
    }
    return backend;
}

static bool check_block_size(struct virtio_mem *vm, const struct memory_backend *backend,
                             GError **error)
{
    uint64_t page = memory_backend_page_size(backend), size = memory_backend_size(backend);

    if (!vm->block_size)
        vm->block_size = MAX(HUGE_PAGE, page);
    if (vm->block_size & (vm->block_size - 1)) {
        error_set(error, "'block-size' property has to be a power of two");
        return false;
    }
    if (vm->block_size < MAX(MIN_BLOCK_SIZE, page)) {
        error_set(error, "'block-size' property has to be at least 0x%llx",
                  (unsigned long long)MAX(MIN_BLOCK_SIZE, page));
        return false;
    }
    if (!is_aligned(size, vm->block_size)) {
        error_set(error, "'memdev' property memdev size has to be multiples of 'block-size' (0x%"
                  PRIx64 ")", vm->block_size);
        return false;
    }
    vm->region_size = size;
    return true;
}

static bool check_requested(const struct virtio_mem *vm, uint64_t size, GError **error)
{
    if (!is_aligned(size, vm->block_size)) {
        error_set(error, "'requested-size' has to be multiples of 'block-size' (0x%" PRIx64 ")",
                  vm->block_size);
        return false;
    }
    if (size > vm->region_size) {
        error_set(error, "'requested-size' cannot exceed the memory backend size (0x%" PRIx64 ")",
                  vm->region_size);
        return false;
    }
    return true;
}

static bool check_rest(struct virtio_mem *vm, const struct memory_backend *backend, GError **error)
{
    bool protected = devices_host(vm->v.pci.dev.all)->protected;

    if (vm->dynamic_memslots) {
        error_set(error, "'dynamic-memslots' is not there: one memory slot holds all of it");
        return false;
    }
    if (vm->node) {
        error_set(error, "'node' property has value %u, which exceeds the number of numa nodes: 1",
                  vm->node);
        return false;
    }
    /* Reading a private page allocates it: there is no page of zeroes for all. */
    if (vm->unplugged_inaccessible == OOA_OFF && protected) {
        error_set(error, "'unplugged-inaccessible' property must not be set to 'off' on private "
                  "memory: leave it out");
        return false;
    }
    if (vm->unplugged_inaccessible == OOA_AUTO)
        vm->unplugged_inaccessible = memory_backend_reads_free(backend) ? OOA_OFF : OOA_ON;
    return check_requested(vm, vm->requested_size, error);
}

/* --- Coming and going --- */

static void drop_memory(struct virtio_mem *vm)
{
    /* A slot that KVM doesn't give back keeps its memory: the guest may still be in it. */
    memory_unmap(devices_host(vm->v.pci.dev.all)->mem, vm->memaddr, vm->region_size, NULL);
    ram_block_delete(vm->block, NULL);
}

/* In the guest's view, with nothing plugged. */
static bool make_memory(struct virtio_mem *vm, struct memory_backend *backend, GError **error)
{
    struct memory *mem = devices_host(vm->v.pci.dev.all)->mem;
    int ret;

    vm->block = ram_block_new(mem, backend, error);
    if (!vm->block)
        return false;
    vm->source = ram_discard_source_add(vm->block, "virtio-mem", vm->block_size, false, error);
    if (vm->source && memory_map(mem, vm->block, 0, vm->memaddr, vm->region_size, error)) {
        ret = ram_block_discard_range(vm->block, 0, vm->region_size);
        if (!ret)
            return true;
        error_set_errno(error, ret, "cannot make the memory of '%s' private", vm->memdev);
    }
    drop_memory(vm);
    return false;
}

/* QEMU's name of the block: device path, then backend. */
static void name_block(struct virtio_mem *vm)
{
    g_autofree char *name = g_strdup_printf("0000:00:%s/%s", vm->v.pci.addr, vm->memdev);

    ram_block_set_name(vm->block, name);
}

static void unrealize(struct device *dev)
{
    struct virtio_mem *vm = device_to_mem(dev);

    virtio_unrealize(&vm->v);
    drop_memory(vm);
    g_free(vm->path);
}

static bool realize(struct device *dev, GError **error)
{
    struct virtio_mem *vm = device_to_mem(dev);
    struct memory_backend *backend = find_memdev(vm, error);

    if (!backend || !check_block_size(vm, backend, error) || !check_rest(vm, backend, error) ||
        !memory_device_place(dev->all, vm->region_size, vm->block_size, &vm->memaddr, error) ||
        !make_memory(vm, backend, error))
        return false;
    vm->path = device_path(dev);
    vm->v.class = &virtio_mem_class;
    vm->v.nr_queues = 1;
    vm->v.features = 1ull << VIRTIO_MEM_F_ACPI_PXM;
    if (vm->unplugged_inaccessible == OOA_ON) {
        vm->v.needed_features = 1ull << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE;
        vm->v.features |= vm->v.needed_features;
    }
    virtio_mem_resize_usable(vm, true);
    virtio_mem_update_config(vm);
    if (virtio_realize(&vm->v, error)) {
        name_block(vm);
        return true;
    }
    drop_memory(vm);
    g_free(vm->path);
    return false;
}

/* As switched on: nothing is plugged.  What is requested stays. */
static void reset(struct device *dev)
{
    struct virtio_mem *vm = device_to_mem(dev);

    virtio_system_reset(dev);
    virtio_mem_set_size(vm, virtio_mem_unplug_all(vm), true);
}

static bool request_unplug(struct device *dev, GError **error)
{
    struct virtio_mem *vm = device_to_mem(dev);
    const char *why = NULL;

    bus_lock(vm->v.bus);
    if (vm->size)
        why = "some of its memory is still plugged";
    else if (vm->requested_size)
        why = "'requested-size' != '0'";
    bus_unlock(vm->v.bus);
    if (why) {
        error_set(error, "virtio-mem device cannot get unplugged while %s", why);
        return false;
    }
    return pci_device_request_unplug(dev, error);
}

/* --- Properties of one that is there --- */

static void get_memory(struct device *dev, struct memory_device_info *ret)
{
    struct virtio_mem *vm = device_to_mem(dev);

    bus_lock(vm->v.bus);
    *ret = (struct memory_device_info){
        .memaddr = vm->memaddr, .requested_size = vm->requested_size, .size = vm->size,
        .max_size = vm->region_size, .block_size = vm->block_size, .node = vm->node,
        .memdev = vm->memdev,
    };
    bus_unlock(vm->v.bus);
}

static bool set_property(struct device *dev, const char *name, struct json_object *value,
                         bool *found, GError **error)
{
    static const struct property requested[] = {
        { "requested-size", PROP_SIZE, 0 }, { NULL },
    };
    struct virtio_mem *vm = device_to_mem(dev);
    uint64_t size;

    if (!property_set_json(requested, &size, name, value, found, error) ||
        !check_requested(vm, size, error))
        return false;
    bus_lock(vm->v.bus);
    if (size != vm->requested_size) {
        vm->requested_size = size;
        virtio_mem_resize_usable(vm, false);
        virtio_mem_update_config(vm);
        virtio_config_changed(&vm->v);
    }
    bus_unlock(vm->v.bus);
    return true;
}

#define FIELD(name_) offsetof(struct virtio_mem, name_)

static const struct property properties[] = {
    { "memdev", PROP_STRING, FIELD(memdev), .help = "id of a memory backend" },
    { "memaddr", PROP_SIZE, FIELD(memaddr), .help = "guest-physical; the first that is free" },
    { "node", PROP_UINT32, FIELD(node), .help = "NUMA node: 0" },
    { "block-size", PROP_SIZE, FIELD(block_size),
      .help = "what is plugged at once: a power of two from 1 MiB on (default 2 MiB)" },
    { "requested-size", PROP_SIZE, FIELD(requested_size),
      .help = "how much the guest shall plug; qom-set changes it" },
    { "size", PROP_SIZE, FIELD(size), .readonly = true, .help = "how much it has plugged" },
    { "prealloc", PROP_BOOL, FIELD(prealloc), .help = "allocate blocks as they are plugged" },
    { "unplugged-inaccessible", PROP_ON_OFF_AUTO, FIELD(unplugged_inaccessible),
      .help = "the driver must know that it can't read what isn't plugged; auto: where that would "
              "allocate memory" },
    { "dynamic-memslots", PROP_BOOL, FIELD(dynamic_memslots), .help = "off" },
    { NULL },
};

const struct device_type virtio_mem_type = {
    .name = "virtio-mem-pci", .help = "memory that the guest plugs and unplugs on request",
    .bus_type = "PCI", .size = sizeof(struct virtio_mem),
    .properties = (const struct property *const[]){
        properties, pci_device_properties, virtio_properties, NULL },
    .init = virtio_init, .realize = realize, .unrealize = unrealize,
    .request_unplug = request_unplug, .reset = reset, .pause = virtio_pause,
    .resume = virtio_resume, .dma = virtio_dma, .describe = virtio_describe,
    .memory = get_memory, .set_property = set_property,
};
