/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake_vm.h"

#include "attributes.h"
#include "check.h"
#include "cost.h"
#include "debug.h"
#include "debug_memory.h"
#include "device.h"
#include "encrypted.h"
#include "error.h"
#include "history.h"
#include "sev_client.h"
#include "vfio_container.h"

#include <errno.h>
#include <string.h>

/* --- Run state --- */

static bool running = true;
static GString *asked;

static void note(const char *what)
{
    if (!asked)
        asked = g_string_new(NULL);
    g_string_append_printf(asked, "%s%s", asked->len ? " " : "", what);
}

char *fake_vm_take_log(void)
{
    char *text = asked ? g_string_free(asked, FALSE) : g_strdup("");

    asked = NULL;
    return text;
}

static const char *fake_status(void *opaque)
{
    return running ? "running" : "paused";
}

static void fake_stop(void *opaque)
{
    note("stop");
    if (running)
        monitor_event("STOP", NULL);
    running = false;
}

static bool fake_cont(void *opaque, GError **error)
{
    note("cont");
    if (!running)
        monitor_event("RESUME", NULL);
    running = true;
    return true;
}

static struct json_object *cause(const char *reason)
{
    struct json_object *data = json_object_new_object();

    json_object_object_add(data, "guest", json_object_new_boolean(0));
    json_object_object_add(data, "reason", json_object_new_string(reason));
    return data;
}

static void fake_system_reset(void *opaque)
{
    note("reset");
    monitor_event("RESET", cause("host-qmp-system-reset"));
}

static void fake_powerdown(void *opaque)
{
    note("powerdown");
    monitor_event("POWERDOWN", NULL);
}

static void fake_quit(void *opaque)
{
    note("quit");
    monitor_event("SHUTDOWN", cause("host-qmp-quit"));
}

static bool fake_gdbserver(void *opaque, const char *device, GError **error)
{
    note(device);
    return true;
}

/* --- vCPUs --- */

struct kvm_vcpu {
    unsigned index, holds;
};

static struct kvm_vcpu cpus[2] = { { 0 }, { 1 } };

static unsigned fake_cpu_count(void *opaque)
{
    return 2;
}

static struct kvm_vcpu *fake_cpu(void *opaque, unsigned index)
{
    return &cpus[index];
}

bool fake_vm_holds(void)
{
    return cpus[0].holds || cpus[1].holds;
}

void kvm_vcpu_hold(struct kvm_vcpu *vcpu)
{
    vcpu->holds++;
}

void kvm_vcpu_release(struct kvm_vcpu *vcpu)
{
    vcpu->holds--;
}

int kvm_vcpu_thread_id(const struct kvm_vcpu *vcpu)
{
    return 1000 + (int)vcpu->index;
}

int kvm_vcpu_ioctl(struct kvm_vcpu *vcpu, unsigned long request, void *arg)
{
    if (!vcpu->holds)
        return -EBUSY;          /* the real one would wait for the guest to exit */
    if (request == KVM_NMI) {
        note("nmi");
        return 0;
    }
    if (request == KVM_GET_REGS) {
        *(struct kvm_regs *)arg = (struct kvm_regs){
            .rax = 0x1234, .rip = 0xffffffff81000000, .rflags = 0x246 };
        return 0;
    }
    if (request == KVM_GET_SREGS) {
        *(struct kvm_sregs *)arg = (struct kvm_sregs){
            .cs = { .selector = 0x10, .limit = 0xffffffff, .type = 11, .s = 1, .present = 1,
                    .l = 1, .g = 1 },
            .cr0 = 0x80050033, .efer = 0xd01 };
        return 0;
    }
    return -EINVAL;
}

int kvm_vm_check_extension(struct kvm_vm *vm, unsigned cap)
{
    return cap == KVM_CAP_USER_NMI;
}

/* --- Memory --- */

struct ram_block {
    const char *name;
    uint64_t size;
    bool readonly;
};

static struct ram_block blocks[] = {
    { "m0", 0x4000000, false }, { "pc.bios", 0x20000, true },
};

GPtrArray *memory_blocks(struct memory *mem)
{
    GPtrArray *list = g_ptr_array_new();

    g_ptr_array_add(list, &blocks[0]);
    g_ptr_array_add(list, &blocks[1]);
    return list;
}

const char *ram_block_name(const struct ram_block *block)
{
    return block->name;
}

uint64_t ram_block_size(const struct ram_block *block)
{
    return block->size;
}

void *ram_block_host(const struct ram_block *block)
{
    return (void *)0x7f0000000000;
}

bool ram_block_readonly(const struct ram_block *block)
{
    return block->readonly;
}

static void free_fake_block(void *opaque)
{
    struct attr_block *block = opaque;

    g_array_free(block->ranges, TRUE);
    g_free(block);
}

/* Two ranges; a question about one block is answered by what was asked. */
GPtrArray *memory_attributes(struct memory *mem, const struct attr_filter *filter, GError **error)
{
    static const struct attr_range ranges[] = {
        { .start = 0, .size = 0x100000, .shared = true, .populated = true },
        { .start = 0x100000, .size = 0x3f00000 },
    };
    const struct attr_range asked_for = {
        .start = filter->gpa, .size = filter->size, .gpa = filter->min_size + filter->limit,
    };
    struct attr_block *block = g_new0(struct attr_block, 1);
    GPtrArray *list = g_ptr_array_new_with_free_func(free_fake_block);

    block->name = (char *)(filter->block ? filter->block : "m0");
    block->cursor = (char *)filter->cursor;
    block->ranges = g_array_new(FALSE, FALSE, sizeof(ranges[0]));
    g_array_append_vals(block->ranges, filter->block ? &asked_for : ranges, filter->block ? 1 : 2);
    g_ptr_array_add(list, block);
    return list;
}

static const struct conversion_record conversions[] = {
    { 1, 1000000, 5000, { CONVERSION_LAUNCH, -1 }, 0, 0x4000000, 0x4000, true, 0, 0 },
    { 2, 2000000, 7000, { CONVERSION_HYPERCALL, 1, true, 0xffffffff81000010 }, 0x100000, 0x1000,
      1, false, -ENOSPC, 0x100000 },
};

int memory_convert(struct memory *mem, uint64_t gpa, uint64_t size, bool private_,
                   uint64_t *ret_gpa)
{
    *ret_gpa = gpa;
    return private_ ? -EINVAL : 0;
}

GArray *memory_conversions(struct memory *mem, uint64_t since, size_t max, uint64_t *ret_last)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(conversions[0]));

    if (ret_last)
        *ret_last = 2;
    for (uint64_t i = MAX(since, 2 - MIN(max, 2)); i < 2; i++)
        g_array_append_val(list, conversions[i]);
    return list;
}

const char *conversion_cause_name(enum conversion_cause cause)
{
    return cause == CONVERSION_LAUNCH ? "launch" : "hypercall";
}

GPtrArray *memory_attributes_summary(struct memory *mem, const char *block, GError **error)
{
    static struct attr_summary summary = {
        .name = "m0", .size = 0x4000000, .private_ = 0x3f00000, .shared = 0x100000,
        .populated = 0x100000, .ranges = 2, .largest_private = { 0x100000, 0x3f00000 },
        .largest_shared = { 0, 0x100000 }, .map_bytes = 4096,
    };
    GPtrArray *list = g_ptr_array_new();

    g_ptr_array_add(list, &summary);
    return list;
}

GPtrArray *memory_costs(struct memory *mem, GError **error)
{
    static struct memory_cost costs[] = {
        { "m0", BACKEND_TWO_BACKINGS, 0x4000, 0x1000, true, 0x2000, 0x1000, 0x1000 },
        { "m1", BACKEND_TWO_BACKINGS, 0x4000, 0x1000, false, 0x4000, 0, 0 },
        { "pc.bios", BACKEND_PLAIN, 0x20000, 0x20000, true, 0, 0, 0 },
    };
    GPtrArray *list = g_ptr_array_new();

    for (size_t i = 0; i < G_N_ELEMENTS(costs); i++)
        g_ptr_array_add(list, &costs[i]);
    return list;
}

struct memory_check memory_check(struct memory *mem)
{
    return (struct memory_check){ .runs = 3, .listeners = 1, .mismatches = 1, .gpa = 0x1000,
                                  .size = 0x2000, .who = "listener" };
}

bool vfio_container_get_info(struct object *obj, struct vfio_container_info *ret)
{
    *ret = (struct vfio_container_info){ .id = obj->id, .mappings = 3, .max_mappings = 65535,
                                         .locked = 0x3000 };
    return true;
}

/* Every object is a backend and a container here. */
struct memory_backend *memory_backend_from_object(struct object *obj)
{
    return (struct memory_backend *)obj;
}

struct json_object *memory_backend_describe(const struct memory_backend *backend)
{
    return json_tokener_parse("{\"id\": \"m0\", \"size\": 67108864, \"merge\": true,"
                              " \"dump\": true, \"prealloc\": false, \"share\": false,"
                              " \"reserve\": true, \"host-nodes\": [], \"policy\": \"default\"}");
}

/* What debuggers see: 64 KiB of shared memory at 0, as much of private memory behind it. */
enum { FAKE_RAM = 0x10000 };
uint8_t fake_ram[FAKE_RAM];

struct kvm_vm *memory_vm(struct memory *mem)
{
    return fake_vm.kvm;
}

struct memory_piece memory_look(struct memory *mem, uint64_t gpa, uint64_t size)
{
    if (gpa < FAKE_RAM)
        return (struct memory_piece){ MEMORY_SHARED, MIN(size, FAKE_RAM - gpa), &blocks[0], gpa };
    if (gpa < 2 * FAKE_RAM)
        return (struct memory_piece){ MEMORY_PRIVATE, MIN(size, 2 * FAKE_RAM - gpa), &blocks[0],
                                      gpa };
    return (struct memory_piece){ .size = size };
}

uint64_t memory_copy_shared(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write)
{
    memcpy(write ? fake_ram + gpa : buf, write ? buf : fake_ram + gpa, size);
    return size;
}

uint64_t memory_copy_host(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write)
{
    return 0;
}

int memory_with_host(struct memory *mem, uint64_t gpa, uint64_t size, bool private_only,
                     memory_host_fn fn, void *opaque)
{
    return -EIO;
}

int memory_copy_private(struct memory *mem, struct kvm_vcpu *vcpu0, uint64_t gpa, void *buf,
                        uint64_t size, bool write, const char **ret_what)
{
    *ret_what = "a fake";
    return -EIO;
}

/* The firmware of SEV. */
int kvm_sev_debug_decrypt(struct kvm_vm *v, const void *guest, void *to, uint32_t size,
                          uint32_t *fw)
{
    return -ENOTTY;
}

int kvm_sev_debug_encrypt(struct kvm_vm *v, void *guest, const void *from, uint32_t size,
                          uint32_t *fw)
{
    return -ENOTTY;
}

const char *kvm_sev_error_text(uint32_t fw)
{
    return "a fake";
}

int kvm_sev_platform_get(struct kvm_vm *v, struct kvm_sev_platform *ret, unsigned *ret_c_bit,
                         uint32_t *fw)
{
    static uint8_t bytes[] = { 1, 2, 3 };

    *ret = (struct kvm_sev_platform){ .pdh = bytes, .pdh_size = 3, .chain = bytes, .chain_size = 2,
                                      .id = bytes, .id_size = 1 };
    *ret_c_bit = 51;
    return 0;
}

void kvm_sev_platform_clear(struct kvm_sev_platform *platform)
{
}

int kvm_sev_attestation_report(struct kvm_vm *v, const uint8_t nonce[KVM_SEV_NONCE_SIZE],
                               void **ret, uint32_t *ret_size, uint32_t *fw)
{
    return -ENOTTY;
}

bool memory_inject_secret(struct memory *mem, uint64_t gpa, GBytes *header, GBytes *data,
                          GError **error)
{
    return false;
}

void error_set_sev(GError **error, int ret, uint32_t fw, const char *format, ...)
{
    error_set(error, "a fake");
}

/* An object type, so that object-add has something to make. */
struct fake_object {
    struct object obj;
    uint64_t size;
};

static const struct property fake_properties[] = {
    { "size", PROP_SIZE, offsetof(struct fake_object, size), .required = true }, { NULL },
};

static const struct object_type fake_type = {
    .name = "memory-backend-ram", .help = "a fake", .size = sizeof(struct fake_object),
    .properties = (const struct property *const[]){ fake_properties, NULL },
};

static const struct kvm_driver driver = { .name = "soft", .description = "a fake" };
static struct kvm_sev sev = {
    .c_bit = 51, .policy = KVM_SEV_POLICY_NODBG, .state = KVM_SEV_RUNNING, .measurement_size = 48,
};
static struct kvm_vm kvm = {
    .sev = &sev,
    .driver = &driver, .type = KVM_X86_SW_PROTECTED_VM, .regime = KVM_ATTRIBUTES_GUEST_MEMFD,
};

/* --- Devices: a bus with a bridge, and nothing that a user added --- */

static struct pci_function bridge = { .name = "bridge", .devfn = 0 };

static struct devices *fake_devices(void)
{
    static const struct power_ops power;
    struct device_host host = { .bus = bus_new() };

    host.pci = pci_bus_new(host.bus, 0xb0000000, &power);
    pci_add(host.pci, &bridge);
    return devices_new(&host);
}

struct monitor_vm fake_vm = {
    .kvm = &kvm, .status = fake_status, .stop = fake_stop, .cont = fake_cont,
    .reset = fake_system_reset, .powerdown = fake_powerdown, .quit = fake_quit,
    .gdbserver = fake_gdbserver,
    .cpu_count = fake_cpu_count, .cpu = fake_cpu, .name = "vm one",
};

static bool fake_is_running(void *opaque)
{
    return running;
}

static uint64_t fake_mmio_look(void *opaque, uint64_t gpa, uint64_t size, bool *ret_claimed)
{
    *ret_claimed = false;
    return size;
}

static struct debug *fake_debug(void)
{
    const struct debug_machine machine = {
        .cpu_count = fake_cpu_count, .cpu = fake_cpu, .running = fake_is_running,
        .mmio_look = fake_mmio_look,
    };

    return debug_new(&machine, NULL, NULL);
}

void fake_vm_reset(void)
{
    if (!fake_vm.debug)
        fake_vm.debug = fake_debug();
    if (!fake_vm.devices)
        fake_vm.devices = fake_devices();
    object_type_register(&fake_type);
    object_delete_all();
    running = true;
    g_free(fake_vm_take_log());
}
