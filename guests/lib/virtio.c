/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* virtio 1.2: 4.1.4.9 (the window in configuration space), 3.1.1 (start), 2.7 (the ring). */
#include "virtio.h"

enum {
    CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc, ADDRESS_ENABLE = 1u << 31,
    VIRTIO = 0x10401af4, COMMAND = 4, COMMAND_MASTER = 4, CAPABILITIES = 0x34,
    CAP_VENDOR = 9, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_DATA = 16,
    TYPE_COMMON = 1, TYPE_NOTIFY = 2, TYPE_DEVICE = 4, TYPE_WINDOW = 5,
};

/* Common configuration. */
enum {
    FEATURE_SELECT = 0, FEATURE = 4, DRIVER_SELECT = 8, DRIVER_FEATURE = 12, STATUS = 20,
    QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_ENABLE = 28, QUEUE_DESC = 32, QUEUE_DRIVER = 40,
    QUEUE_DEVICE = 48,
    ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 0x40,
    VERSION_1 = 1, ACCESS_PLATFORM = 2,         /* bits 32 and 33 */
    INACCESSIBLE = 2,                           /* of the memory device: bit 1 */
};

enum { RING_SIZE = 8, AVAILABLE = 0x200, USED = 0x400 };

static uint32_t device;                         /* its configuration address */
static unsigned window, common, notify, own, bar;
static uint64_t ring;
static uint16_t submitted;

static uint32_t config_read(unsigned offset)
{
    out32(CONFIG_ADDRESS, device | offset);
    return in32(CONFIG_DATA);
}

static void config_write(unsigned offset, uint32_t value)
{
    out32(CONFIG_ADDRESS, device | offset);
    out32(CONFIG_DATA, value);
}

static uint8_t config_byte(unsigned offset)
{
    return config_read(offset & ~3u) >> (offset & 3) * 8;
}

static void aim(unsigned offset, unsigned size)
{
    config_write(window + CAP_BAR, bar);
    config_write(window + CAP_OFFSET, offset);
    config_write(window + CAP_LENGTH, size);
}

static uint32_t reg_read(unsigned offset, unsigned size)
{
    aim(offset, size);
    return config_read(window + CAP_DATA);
}

static void reg_write(unsigned offset, unsigned size, uint32_t value)
{
    aim(offset, size);
    config_write(window + CAP_DATA, value);
}

static void reg_write64(unsigned offset, uint64_t value)
{
    reg_write(offset, 4, (uint32_t)value);
    reg_write(offset + 4, 4, value >> 32);
}

static void read_capabilities(void)
{
    for (unsigned at = config_byte(CAPABILITIES); at; at = config_byte(at + 1)) {
        if (config_byte(at) != CAP_VENDOR)
            continue;
        switch (config_byte(at + CAP_TYPE)) {
        case TYPE_COMMON:
            common = config_read(at + CAP_OFFSET);
            bar = config_byte(at + CAP_BAR);
            break;
        case TYPE_NOTIFY:
            notify = config_read(at + CAP_OFFSET);
            break;
        case TYPE_DEVICE:
            own = config_read(at + CAP_OFFSET);
            break;
        case TYPE_WINDOW:
            window = at;
            break;
        }
    }
}

bool virtio_find(unsigned id)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        device = ADDRESS_ENABLE | slot << 11;
        if (config_read(0) == VIRTIO + (id << 16)) {
            read_capabilities();
            config_write(COMMAND, COMMAND_MASTER);
            return true;
        }
    }
    return false;
}

uint32_t virtio_config(unsigned offset)
{
    return reg_read(own + offset, 4);
}

static uint8_t status(void)
{
    return reg_read(common + STATUS, 1);
}

static void negotiate(unsigned half, uint32_t wanted)
{
    reg_write(common + FEATURE_SELECT, 4, half);
    reg_write(common + DRIVER_SELECT, 4, half);
    reg_write(common + DRIVER_FEATURE, 4, reg_read(common + FEATURE, 4) & wanted);
}

bool virtio_start(uint64_t ring_page)
{
    reg_write(common + STATUS, 1, 0);
    while (status())
        cpu_pause();
    ring = ring_page;
    submitted = 0;
    memset((void *)(uintptr_t)ring, 0, VIRTIO_PAGE);
    reg_write(common + STATUS, 1, ACKNOWLEDGE | DRIVER);
    /* No disk has that bit for anything that would change what we do. */
    negotiate(0, INACCESSIBLE);
    negotiate(1, VERSION_1 | ACCESS_PLATFORM);
    reg_write(common + STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    if (!(status() & FEATURES_OK))
        return false;
    reg_write(common + QUEUE_SELECT, 2, 0);
    reg_write(common + QUEUE_SIZE, 2, RING_SIZE);
    reg_write64(common + QUEUE_DESC, ring);
    reg_write64(common + QUEUE_DRIVER, ring + AVAILABLE);
    reg_write64(common + QUEUE_DEVICE, ring + USED);
    reg_write(common + QUEUE_ENABLE, 2, 1);
    reg_write(common + STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    return true;
}

bool virtio_submit(void)
{
    volatile uint16_t *available = (volatile uint16_t *)(uintptr_t)(ring + AVAILABLE);
    volatile uint16_t *used = (volatile uint16_t *)(uintptr_t)(ring + USED);

    available[2 + submitted % RING_SIZE] = 0;
    __asm__ volatile("" : : : "memory");
    available[1] = ++submitted;
    reg_write(notify, 2, 0);
    while (used[1] != submitted) {
        if (status() & NEEDS_RESET)
            return false;
    }
    return true;
}

uint32_t virtio_used_length(void)
{
    volatile uint32_t *used = (volatile uint32_t *)(uintptr_t)(ring + USED + 4);

    return used[2 * ((submitted - 1) % RING_SIZE) + 1];
}

void virtio_share(uint64_t page)
{
    share_page(page);
    memset((void *)(uintptr_t)page, 0, VIRTIO_PAGE);
}
