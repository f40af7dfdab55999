/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Virtio over PCI (virtio 1.2, 4.1), without the legacy interface: the capabilities,
 * and the registers in BAR 4.  MSI-X has BAR 1.
 */
#include "virtio.h"

#include <linux/kvm.h>
#include <linux/virtio_pci.h>
#include <string.h>

enum {
    VENDOR = 0x1af4, DEVICE_BASE = 0x1040, SUBSYSTEM = 0x1100,
    MSIX_BAR = 1, REGISTERS_BAR = 4,
    COMMON = 0, ISR = 0x1000, DEVICE_CONFIG = 0x2000, NOTIFY = 0x3000, REGISTERS_SIZE = 0x4000,
    NOTIFY_MULTIPLIER = 4,
    CFG_BAR = 4, CFG_OFFSET = 8, CFG_LENGTH = 12, CFG_DATA = 16,
};

/* --- The common configuration: a row a register; 64-bit ones are two --- */

static struct virtqueue *selected(struct virtio *v)
{
    return v->queue_select < v->nr_queues ? &v->queues[v->queue_select] : NULL;
}

/* A vector that there is, or none (4.1.5.1.2.1). */
static uint16_t accept_vector(const struct virtio *v, uint32_t value)
{
    return value < v->vectors ? value : VIRTIO_MSI_NO_VECTOR;
}

static uint32_t read_device_feature(struct virtio *v)
{
    return v->feature_select < 2 ? v->features >> 32 * v->feature_select : 0;
}

static uint32_t read_driver_feature(struct virtio *v)
{
    return v->driver_feature_select < 2 ? v->driver_features >> 32 * v->driver_feature_select : 0;
}

static void write_driver_feature(struct virtio *v, uint32_t value)
{
    unsigned shift = 32 * v->driver_feature_select;

    /* Settled with FEATURES_OK (3.1.1). */
    if (v->driver_feature_select < 2 && !(v->status & VIRTIO_CONFIG_S_FEATURES_OK))
        v->driver_features = (v->driver_features & ~((uint64_t)UINT32_MAX << shift)) |
                             (uint64_t)value << shift;
}

static void write_queue_enable(struct virtio *v, uint32_t value)
{
    struct virtqueue *vq = selected(v);

    if (!vq || vq->enabled || value != 1)
        return;
    if (!virtqueue_valid(vq))
        virtio_break(v, "a queue is enabled that is no ring");
    else if (v->share_rings && devices_host(v->pci.dev.all)->protected &&
             !virtqueue_convert(v, vq, false))
        virtio_break(v, "a ring can't be made shared");
    else
        vq->enabled = true;
}

/* Fields of the selected queue: they don't change once it is enabled. */
static void write_queue_size(struct virtio *v, uint32_t value)
{
    struct virtqueue *vq = selected(v);

    if (vq && !vq->enabled)
        vq->size = value;
}

static void write_queue_vector(struct virtio *v, uint32_t value)
{
    struct virtqueue *vq = selected(v);

    if (vq)
        vq->vector = accept_vector(v, value);
}

static void set_half(struct virtio *v, size_t offset, unsigned half, uint32_t value)
{
    struct virtqueue *vq = selected(v);
    uint64_t *field;

    if (!vq || vq->enabled)
        return;
    field = (uint64_t *)((char *)vq + offset);
    *field = half ? (uint32_t)*field | (uint64_t)value << 32
                  : (*field & ~(uint64_t)UINT32_MAX) | value;
}

#define REGISTER_READ(name_, expression_)                                                       \
    static uint32_t read_##name_(struct virtio *v)                                              \
    {                                                                                           \
        return expression_;                                                                     \
    }
#define REGISTER_WRITE(name_, statement_)                                                       \
    static void write_##name_(struct virtio *v, uint32_t value)                                 \
    {                                                                                           \
        statement_;                                                                             \
    }
#define QUEUE_FIELD(field_) (selected(v) ? selected(v)->field_ : 0)
#define QUEUE_ADDRESS(field_)                                                                   \
    REGISTER_READ(field_##_low, QUEUE_FIELD(field_))                                            \
    REGISTER_READ(field_##_high, QUEUE_FIELD(field_) >> 32)                                     \
    REGISTER_WRITE(field_##_low, set_half(v, offsetof(struct virtqueue, field_), 0, value))     \
    REGISTER_WRITE(field_##_high, set_half(v, offsetof(struct virtqueue, field_), 1, value))

REGISTER_READ(feature_select, v->feature_select)
REGISTER_WRITE(feature_select, v->feature_select = value)
REGISTER_READ(driver_feature_select, v->driver_feature_select)
REGISTER_WRITE(driver_feature_select, v->driver_feature_select = value)
REGISTER_READ(config_vector, v->config_vector)
REGISTER_WRITE(config_vector, v->config_vector = accept_vector(v, value))
REGISTER_READ(num_queues, v->nr_queues)
REGISTER_READ(status, v->status)
REGISTER_WRITE(status, virtio_set_status(v, value))
REGISTER_READ(generation, v->generation)
REGISTER_READ(queue_select, v->queue_select)
REGISTER_WRITE(queue_select, v->queue_select = value)
REGISTER_READ(queue_size, QUEUE_FIELD(size))
REGISTER_READ(queue_vector, selected(v) ? selected(v)->vector : VIRTIO_MSI_NO_VECTOR)
REGISTER_READ(queue_enable, QUEUE_FIELD(enabled))
REGISTER_READ(queue_notify_off, v->queue_select)
QUEUE_ADDRESS(descriptors)
QUEUE_ADDRESS(available)
QUEUE_ADDRESS(used)

#define RW(offset_, size_, name_) { offset_, size_, read_##name_, write_##name_ }
#define RO(offset_, size_, name_) { offset_, size_, read_##name_, NULL }

static const struct {
    uint8_t offset, size;
    uint32_t (*read)(struct virtio *v);
    void (*write)(struct virtio *v, uint32_t value);
} registers[] = {
    RW(VIRTIO_PCI_COMMON_DFSELECT, 4, feature_select),
    RO(VIRTIO_PCI_COMMON_DF, 4, device_feature),
    RW(VIRTIO_PCI_COMMON_GFSELECT, 4, driver_feature_select),
    RW(VIRTIO_PCI_COMMON_GF, 4, driver_feature),
    RW(VIRTIO_PCI_COMMON_MSIX, 2, config_vector),
    RO(VIRTIO_PCI_COMMON_NUMQ, 2, num_queues),
    RW(VIRTIO_PCI_COMMON_STATUS, 1, status),
    RO(VIRTIO_PCI_COMMON_CFGGENERATION, 1, generation),
    RW(VIRTIO_PCI_COMMON_Q_SELECT, 2, queue_select),
    RW(VIRTIO_PCI_COMMON_Q_SIZE, 2, queue_size),
    RW(VIRTIO_PCI_COMMON_Q_MSIX, 2, queue_vector),
    RW(VIRTIO_PCI_COMMON_Q_ENABLE, 2, queue_enable),
    RO(VIRTIO_PCI_COMMON_Q_NOFF, 2, queue_notify_off),
    RW(VIRTIO_PCI_COMMON_Q_DESCLO, 4, descriptors_low),
    RW(VIRTIO_PCI_COMMON_Q_DESCHI, 4, descriptors_high),
    RW(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, available_low),
    RW(VIRTIO_PCI_COMMON_Q_AVAILHI, 4, available_high),
    RW(VIRTIO_PCI_COMMON_Q_USEDLO, 4, used_low),
    RW(VIRTIO_PCI_COMMON_Q_USEDHI, 4, used_high),
};

/* Registers are accessed with their own width (4.1.3.1); other accesses find nothing. */
static uint32_t common_read(struct virtio *v, unsigned offset, unsigned size)
{
    for (size_t i = 0; i < G_N_ELEMENTS(registers); i++) {
        if (registers[i].offset == offset && registers[i].size == size)
            return registers[i].read(v);
    }
    return 0;
}

static void common_write(struct virtio *v, unsigned offset, unsigned size, uint32_t value)
{
    for (size_t i = 0; i < G_N_ELEMENTS(registers); i++) {
        if (registers[i].offset == offset && registers[i].size == size && registers[i].write)
            registers[i].write(v, value);
    }
}

/* --- The rest of the BAR --- */

static uint32_t isr_read(struct virtio *v)
{
    uint8_t isr = v->isr;

    v->isr = 0;
    pci_set_intx(&v->pci.function, false);
    return isr;
}

static uint64_t registers_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio *v = opaque;
    uint32_t value = 0;

    if (offset < ISR)
        return common_read(v, offset, size);
    if (offset == ISR)
        return isr_read(v);
    if (offset >= DEVICE_CONFIG && offset - DEVICE_CONFIG + size <= v->class->config_size)
        memcpy(&value, v->config + (offset - DEVICE_CONFIG), size);
    return value;
}

static void registers_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio *v = opaque;

    if (offset < ISR) {
        common_write(v, offset, size, value);
    } else if (offset >= NOTIFY) {
        virtio_kick(v);
    } else if (offset >= DEVICE_CONFIG && v->class->config_written &&
               offset - DEVICE_CONFIG + size <= v->class->config_size) {
        memcpy(v->config + (offset - DEVICE_CONFIG), &value, size);
        v->class->config_written(v, offset - DEVICE_CONFIG, size);
    }
}

static const struct io_ops registers_io = {
    .read = registers_read, .write = registers_write, .min_size = 1, .max_size = 4,
};

void virtio_pci_interrupt(struct virtio *v, uint8_t isr, uint16_t vector)
{
    if (pci_msix_enabled(&v->pci.function)) {
        pci_msix_notify(&v->pci.function, vector);
    } else {
        v->isr |= isr;
        pci_set_intx(&v->pci.function, true);
    }
}

/* --- The window into the BAR through configuration space (4.1.4.9) --- */

/* Where the window points, if that is an aligned access within the registers. */
static bool cfg_target(const struct virtio *v, unsigned *offset, unsigned *size)
{
    const uint8_t *cap = v->pci.function.config + v->cfg_capability;

    *offset = pci_get32(cap, CFG_OFFSET);
    *size = pci_get32(cap, CFG_LENGTH);
    return cap[CFG_BAR] == REGISTERS_BAR && (*size == 1 || *size == 2 || *size == 4) &&
           *offset < REGISTERS_SIZE && *offset % *size == 0;
}

static bool touches_cfg_data(const struct virtio *v, unsigned offset, unsigned size)
{
    unsigned data = v->cfg_capability + CFG_DATA;

    return offset < data + 4 && offset + size > data;
}

static void config_reading(struct pci_function *f, unsigned offset, unsigned size)
{
    struct virtio *v = to_virtio(f->owner);
    unsigned at, width;

    if (touches_cfg_data(v, offset, size) && cfg_target(v, &at, &width))
        pci_set32(f->config, v->cfg_capability + CFG_DATA, registers_read(v, at, width));
}

static void config_written(struct pci_function *f, unsigned offset, unsigned size)
{
    struct virtio *v = to_virtio(f->owner);
    uint32_t value = pci_get32(f->config, v->cfg_capability + CFG_DATA);
    unsigned at, width;

    /* Reset writes everything, and is no access. */
    if (size <= 4 && touches_cfg_data(v, offset, size) && cfg_target(v, &at, &width))
        registers_write(v, at, width, width == 4 ? value : value & ((1u << 8 * width) - 1));
    virtio_pci_update_ioeventfd(v);
    /* Bus mastering may have been switched on. */
    virtio_kick(v);
}

/* --- ioeventfd --- */

static bool ioeventfd(struct virtio *v, uint64_t gpa, unsigned queue, bool on)
{
    struct kvm_ioeventfd args = {
        .addr = gpa + queue * NOTIFY_MULTIPLIER, .len = 2, .fd = v->kick_fd,
        .flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
    };

    return kvm_vm_ioctl(memory_vm(v->mem), KVM_IOEVENTFD, &args) == 0;
}

/* A KVM that can't leaves the notification to registers_write(). */
void virtio_pci_update_ioeventfd(struct virtio *v)
{
    const struct pci_function *f = &v->pci.function;
    bool wanted = v->ioeventfd && f->pci && (v->status & VIRTIO_CONFIG_S_DRIVER_OK);
    uint64_t bar = f->bars[REGISTERS_BAR].address;
    uint64_t gpa = wanted && bar != PCI_UNMAPPED ? bar + NOTIFY : PCI_UNMAPPED;

    if (gpa == v->kick_gpa)
        return;
    for (unsigned i = 0; i < v->nr_queues && v->kick_gpa != PCI_UNMAPPED; i++)
        ioeventfd(v, v->kick_gpa, i, false);
    for (unsigned i = 0; i < v->nr_queues && gpa != PCI_UNMAPPED; i++)
        ioeventfd(v, gpa, i, true);
    v->kick_gpa = gpa;
}

/* --- Configuration space --- */

static unsigned add_capability(struct virtio *v, uint8_t type, uint32_t offset, uint32_t length,
                               unsigned size)
{
    struct pci_function *f = &v->pci.function;
    unsigned at = pci_add_capability(f, 0x09, size);    /* vendor-specific */

    f->config[at + 2] = size;
    f->config[at + 3] = type;
    f->config[at + 4] = type == VIRTIO_PCI_CAP_PCI_CFG ? 0 : REGISTERS_BAR;
    pci_set32(f->config, at + 8, offset);
    pci_set32(f->config, at + 12, length);
    return at;
}

static void add_capabilities(struct virtio *v)
{
    struct pci_function *f = &v->pci.function;
    unsigned at;

    add_capability(v, VIRTIO_PCI_CAP_COMMON_CFG, COMMON, sizeof(struct virtio_pci_common_cfg), 16);
    add_capability(v, VIRTIO_PCI_CAP_ISR_CFG, ISR, 1, 16);
    if (v->class->config_size)
        add_capability(v, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_CONFIG, v->class->config_size, 16);
    at = add_capability(v, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY, v->nr_queues * NOTIFY_MULTIPLIER, 20);
    pci_set32(f->config, at + 16, NOTIFY_MULTIPLIER);
    v->cfg_capability = at = add_capability(v, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 20);
    f->writable[at + CFG_BAR] = 0xff;
    memset(f->writable + at + CFG_OFFSET, 0xff, 12);
}

void virtio_pci_setup(struct virtio *v)
{
    struct pci_function *f = &v->pci.function;

    pci_set16(f->config, PCI_VENDOR, VENDOR);
    pci_set16(f->config, PCI_DEVICE, DEVICE_BASE + v->class->id);
    f->config[PCI_REVISION] = 1;
    pci_set16(f->config, PCI_CLASS, v->class->pci_class);
    pci_set16(f->config, PCI_SUBSYSTEM_VENDOR, VENDOR);
    pci_set16(f->config, PCI_SUBSYSTEM, SUBSYSTEM);
    f->config[PCI_INTERRUPT_PIN] = 1;
    f->writable[PCI_INTERRUPT_LINE] = 0xff;
    pci_set16(f->writable, PCI_COMMAND,
              PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF);
    if (v->vectors)
        pci_add_msix(f, MSIX_BAR, v->vectors);
    pci_set_bar(f, REGISTERS_BAR, REGISTERS_SIZE, true, &registers_io, v);
    add_capabilities(v);
    f->reading = config_reading;
    f->written = config_written;
}
