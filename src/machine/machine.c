/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making a machine from what was asked for: memory, vCPUs, board, guest image. */
#include "machine_internal.h"

#include "error.h"
#include "layout.h"
#include "vfio_container.h"
#include "vmcoreinfo.h"

#include <inttypes.h>
#include <sys/mman.h>

#define DEFAULT_RAM (128 * MIB)

/* --- Memory --- */

/* -machine mem-merge= and dump-guest-core=, where they aren't the default. */
static void advise(const struct machine *m, const struct ram_block *block)
{
    void *host = ram_block_host(block);

    /* Advice that this kind of memory can't take is no loss. */
    if (host && !m->cfg->machine.mem_merge)
        madvise(host, ram_block_size(block), MADV_UNMERGEABLE);
    if (host && !m->cfg->machine.dump_guest_core)
        madvise(host, ram_block_size(block), MADV_DONTDUMP);
}

static bool map_ram(struct machine *m, struct ram_block *block, GError **error)
{
    uint64_t low = layout_low_ram(m->ram_size);

    return memory_map(m->mem, block, 0, 0, low, error) &&
           (low == m->ram_size ||
            memory_map(m->mem, block, low, LAYOUT_HIGH_RAM, m->ram_size - low, error));
}

/* Where memory devices go: what -m maxmem= leaves beside RAM. */
static bool place_device_memory(struct machine *m, GError **error)
{
    const struct machine_config *cfg = m->cfg;
    unsigned bits = MIN(kvm_vm_address_bits(m->vm), 52);
    uint64_t size;

    if (!cfg->max_ram_size)
        return true;
    if (cfg->max_ram_size < m->ram_size) {
        error_set(error, "-m: maxmem=%llu MiB is less than the RAM, %llu MiB: more than that",
                  cfg->max_ram_size / MIB, m->ram_size / MIB);
        return false;
    }
    m->device_memory = layout_device_memory(m->ram_size);
    size = cfg->max_ram_size - m->ram_size + cfg->ram_slots * GIB;
    if (size > (1ULL << bits) - m->device_memory) {
        error_set(error, "-m: maxmem=%llu GiB passes the end of this KVM's %u address bits: less",
                  cfg->max_ram_size / GIB, bits);
        return false;
    }
    m->device_memory_size = size;
    return true;
}

/* Large enough for what the board puts there, small enough for the processor's addresses. */
static bool check_ram_size(const struct machine *m, GError **error)
{
    unsigned bits = MIN(kvm_vm_address_bits(m->vm), 52);
    uint64_t max = (1ULL << bits) - (LAYOUT_HIGH_RAM - LAYOUT_LOW_RAM_SPLIT);

    if (m->ram_size < LAYOUT_MIN_RAM) {
        error_set(error, "-m: %llu KiB are too little: at least %llu", m->ram_size / KIB,
                  LAYOUT_MIN_RAM / KIB);
        return false;
    }
    if (m->ram_size > max) {
        error_set(error, "-m: %llu GiB are more than this KVM's %u address bits reach: up to %llu",
                  m->ram_size / GIB, bits, max / GIB);
        return false;
    }
    return true;
}

static bool make_memory(struct machine *m, GError **error)
{
    struct memory_backend *backend;
    struct ram_block *block;

    if (!machine_find_backend(m->cfg, &backend, error))
        return false;
    m->ram_size = backend ? memory_backend_size(backend)
                          : m->cfg->ram_size ? m->cfg->ram_size : DEFAULT_RAM;
    if (!check_ram_size(m, error) || !place_device_memory(m, error))
        return false;
    m->mem = memory_new(m->vm);
    if (!backend)
        backend = memory_backend_new_internal("pc.ram", m->ram_size,
                                              m->protected && !m->sev ? BACKEND_TWO_BACKINGS
                                                                 : BACKEND_PLAIN,
                                              error);
    block = backend ? ram_block_new(m->mem, backend, error) : NULL;
    if (!block || (!m->firmware && !map_ram(m, block, error))) {
        g_prefix_error(error, "-m: ");
        return false;
    }
    if (m->firmware && !firmware_map(m->firmware, m->mem, block, m->protected && !m->sev,
                                     m->sev || m->cfg->smm_ranges == OOA_OFF
                                         ? OOA_OFF : m->cfg->machine.smm, error))
        return false;
    advise(m, block);
    return vfio_containers_attach(m->mem, error);
}

/* --- Processors and board --- */

static bool make_cpus(struct machine *m, GError **error)
{
    for (unsigned i = 0; i < m->cfg->cpus; i++) {
        struct machine_cpu *cpu = &m->cpus[i];
        int ret;

        cpu->machine = m;
        ret = kvm_vcpu_new(m->vm, i, &machine_exit_ops, cpu, &cpu->vcpu);
        if (ret == 0) {
            m->nr_cpus++;
            ret = kvm_vcpu_set_cpuid(cpu->vcpu, m->cfg->cpus);
        }
        if (ret == 0)
            ret = vcpu_state_save(cpu->vcpu, &cpu->power_on);
        if (ret == 0)
            ret = kvm_vcpu_start(cpu->vcpu);
        if (ret < 0) {
            error_set_errno(error, ret, "-smp: this KVM can't make CPU %u", i);
            return false;
        }
    }
    return true;
}

static void guest_shutdown(void *opaque)
{
    machine_request(opaque, REQUEST_SHUTDOWN);
}

static void guest_reset(void *opaque)
{
    machine_request(opaque, REQUEST_RESET);
}

static void device_deleted(void *opaque, const char *id, const char *path)
{
    struct json_object *data = json_object_new_object();

    if (id)
        json_object_object_add(data, "device", json_object_new_string(id));
    json_object_object_add(data, "path", json_object_new_string(path));
    monitor_event("DEVICE_DELETED", data);
}

static void memory_device_size_changed(void *opaque, const char *id, const char *path,
                                       uint64_t size)
{
    struct json_object *data = json_object_new_object();

    if (id)
        json_object_object_add(data, "id", json_object_new_string(id));
    json_object_object_add(data, "size", json_object_new_uint64(size));
    json_object_object_add(data, "qom-path", json_object_new_string(path));
    monitor_event("MEMORY_DEVICE_SIZE_CHANGE", data);
}

static bool make_board(struct machine *m, GError **error)
{
    struct power_ops power = { .shutdown = guest_shutdown, .reset = guest_reset, .opaque = m };
    const struct device_host host = {
        .mem = m->mem, .protected = m->protected, .encrypted = m->sev != NULL,
        .deleted = device_deleted,
        .size_changed = memory_device_size_changed, .opaque = m,
        .memory_base = m->device_memory, .memory_size = m->device_memory_size,
    };
    int ret = irqchip_state_save(m->vm, &m->irqchip_power_on);

    if (ret < 0) {
        error_set_errno(error, ret, "-machine: cannot read KVM's interrupt controllers");
        return false;
    }
    /* A SEV guest's firmware shares its buffers, and tells. */
    m->board = q35_new(m->mem, m->protected && !m->sev, &power, m->cfg->serials->len);
    if (!m->board) {
        error_set(error, "-machine: two devices of the board claim the same address");
        return false;
    }
    m->devices = q35_make_devices(m->board, &host);
    q35_set_cmos(m->board, m->ram_size, m->cfg->cpus);
    if (!m->firmware)
        return true;
    q35_use_firmware(m->board, firmware_pam(m->firmware), firmware_smram(m->firmware));
    return firmware_add_flash(m->firmware, q35_bus(m->board), error);
}

/* --- Debug access --- */

static bool debug_running(void *opaque)
{
    return ((struct machine *)opaque)->state == STATE_RUNNING;
}

static bool debug_get_vmcoreinfo(void *opaque, struct debug_vmcoreinfo *ret)
{
    struct machine *m = opaque;
    struct vmcoreinfo info;
    bool known = vmcoreinfo_get(m->devices, &info);

    if (known)
        *ret = (struct debug_vmcoreinfo){ .gpa = info.gpa, .size = info.size,
                                          .format = info.format };
    return known;
}

static uint64_t debug_mmio_look(void *opaque, uint64_t gpa, uint64_t size, bool *ret_claimed)
{
    struct bus *bus = q35_bus(((struct machine *)opaque)->board);

    bus_lock(bus);
    size = bus_mmio_look(bus, gpa, size, ret_claimed);
    bus_unlock(bus);
    return size;
}

static void debug_mmio(void *opaque, uint64_t gpa, void *data, unsigned size, bool write)
{
    struct bus *bus = q35_bus(((struct machine *)opaque)->board);

    bus_lock(bus);
    bus_mmio(bus, gpa, data, size, write);
    bus_unlock(bus);
}

static bool make_debug(struct machine *m, GError **error)
{
    const struct debug_machine machine = {
        .opaque = m, .memory = m->mem, .cpu_count = machine_cpu_count, .cpu = machine_cpu,
        .running = debug_running, .mmio_look = debug_mmio_look, .mmio = debug_mmio,
        .vmcoreinfo = debug_get_vmcoreinfo,
    };

    m->debug = debug_new(&machine, m->cfg->machine.debug, error);
    if (!m->debug)
        g_prefix_error(error, "-machine: ");
    else
        m->gdb = debugger_new(m);
    return m->debug != NULL;
}

/* --- Loading --- */

static struct acpi_board describe_board(const struct machine *m)
{
    struct acpi_board board = {
        .cpus = m->nr_cpus, .serials = m->cfg->serials->len, .ecam = LAYOUT_ECAM,
        .ram_size = m->ram_size, .device_memory = m->device_memory,
        .device_memory_size = m->device_memory_size,
    };
    uint64_t end = MAX(layout_high_end(m->ram_size), m->device_memory + m->device_memory_size);

    board.pci_window64 = layout_pci_window64(end, kvm_vm_address_bits(m->vm),
                                             &board.pci_window64_size);
    return board;
}

static bool fill_fw_cfg(struct machine *m, GError **error)
{
    struct acpi_board board = describe_board(m);
    bool seabios = m->firmware && firmware_is_seabios(m->firmware);
    const struct firmware_facts facts = {
        .ram_size = m->ram_size, .cpus = m->nr_cpus, .serials = m->cfg->serials->len,
        .memory_end = m->device_memory_size ? m->device_memory + m->device_memory_size : 0,
        .uuid = m->cfg->uuid, .acpi = &board, .boot = m->firmware ? m->boot : NULL,
        .user_items = m->cfg->fw_cfg, .seabios = seabios,
    };

    if (seabios && m->boot && m->protected) {
        error_set(error, "-kernel: SeaBIOS has it loaded by fw_cfg's DMA, which reaches no private "
                  "memory: -bios OVMF.fd, or leave -bios out");
        return false;
    }

    return firmware_add_items(q35_fw_cfg(m->board), &facts, error);
}

static bool load_kernel(struct machine *m, GError **error)
{
    struct acpi_board board = describe_board(m);
    struct boot_entry entry;
    int ret;

    if (!boot_load(m->boot, m->mem, m->ram_size, &board, &entry, error))
        return false;
    ret = vcpu_set_entry(m->cpus[0].vcpu, &entry);
    for (unsigned i = 0; m->sev && ret >= 0 && i < m->nr_cpus; i++)
        ret = vcpu_enable_mtrrs(m->cpus[i].vcpu);
    if (ret < 0)
        error_set_errno(error, ret, "-kernel: cannot set the first CPU's registers");
    return ret >= 0;
}

bool machine_load(struct machine *m, GError **error)
{
    struct boot *hashes = m->sev && sev_object_kernel_hashes(m->sev) ? m->boot : NULL;

    /* Firmware starts where the processor does, and loads the kernel itself. */
    if (m->firmware ? !firmware_load(m->firmware, error) ||
                          (m->sev && !firmware_encrypt(m->firmware, hashes, error)) : m->boot && !load_kernel(m, error))
        return false;
    if (m->protected && !memory_launch(m->mem, m->cpus[0].vcpu, error)) {
        g_prefix_error(error, "-machine: ");
        return false;
    }
    return !m->sev || sev_object_measure(m->vm, error);
}

static bool make_vm(struct machine *m, const struct kvm_driver *driver,
                    const struct kvm_needs *needs, GError **error)
{
    int ret = kvm_vm_new(driver, needs, &m->vm);

    if (ret == 0 && needs->encrypted) {
        m->sev = sev_object_find(m->cfg->machine.confidential_guest_support, error);
        if (!m->sev || !sev_object_start(m->sev, m->vm, error))
            return false;
    }
    if (ret == 0)
        ret = kvm_vm_create_irqchip(m->vm, LAYOUT_KVM_RESERVED);
    if (ret < 0)
        error_set_errno(error, ret, "-accel: cannot create a VM with %s", driver->description);
    return ret >= 0;
}

static struct disk *find_flash(const char *name, GError **error)
{
    struct disk *node = disk_find(name);

    if (!node)
        error_set(error, "-machine: pflash: no node '%s': add -blockdev driver=file,node-name=%s,"
                  "filename=FILE", name, name);
    return node;
}

static bool open_firmware(struct machine *m, GError **error)
{
    const struct machine_options *options = &m->cfg->machine;
    struct disk *code, *variables = NULL;

    if (m->cfg->bios) {
        m->firmware = firmware_open(m->cfg->bios, error);
        return m->firmware != NULL;
    }
    if (!options->pflash0)
        return true;
    code = find_flash(options->pflash0, error);
    if (!code)
        return false;
    if (options->pflash1) {
        variables = find_flash(options->pflash1, error);
        if (!variables)
            return false;
    }
    m->firmware = firmware_open_flash(code, variables, error);
    return m->firmware != NULL;
}

static bool make(struct machine *m, const struct kvm_driver *driver, const struct kvm_needs *needs,
                 GError **error)
{
    if (m->cfg->kernel) {
        m->boot = boot_open(m->cfg->kernel, m->cfg->initrd, m->cfg->append, error);
        if (!m->boot)
            return false;
    }
    if (!open_firmware(m, error))
        return false;
    return make_vm(m, driver, needs, error) && make_memory(m, error) && make_cpus(m, error) &&
           make_board(m, error) &&
           fill_fw_cfg(m, error) && make_debug(m, error) && machine_load(m, error);
}

struct machine *machine_new(const struct machine_config *cfg, const struct kvm_driver *driver,
                            const struct kvm_needs *needs, GError **error)
{
    struct machine *m = g_new0(struct machine, 1);

    m->cfg = cfg;
    m->protected = needs->two_backings || needs->in_place || needs->encrypted;
    m->loop = g_main_loop_new(NULL, FALSE);
    if (!make(m, driver, needs, error)) {
        machine_free(m);
        return NULL;
    }
    sev_object_no_more();
    run_state_init(m);
    return m;
}

void machine_free(struct machine *m)
{
    if (!m)
        return;
    run_state_park_all(m);
    gdb_free(m->gdb);
    for (unsigned i = 0; i < m->nr_cpus; i++) {
        kvm_vcpu_free(m->cpus[i].vcpu);
        vcpu_state_free(m->cpus[i].power_on);
    }
    debug_free(m->debug);
    main_timer_free(m->request_timer);
    firmware_close(m->firmware);
    q35_free(m->board);
    irqchip_state_free(m->irqchip_power_on);
    boot_close(m->boot);
    vfio_containers_detach();
    memory_free(m->mem);
    kvm_vm_free(m->vm);
    sev_object_release(m->sev);
    g_main_loop_unref(m->loop);
    g_free(m);
}

bool machine_connect_serial(struct machine *m, unsigned index, struct chardev *chr, GError **error)
{
    return q35_connect_serial(m->board, index, chr, error);
}

bool machine_add_device(struct machine *m, const char *option, GError **error)
{
    return device_add_option(m->devices, option, false, error);
}

const struct monitor_vm *machine_monitor_vm(struct machine *m)
{
    return &m->monitor_vm;
}

bool machine_run(struct machine *m, GError **error)
{
    /* A debugger that is there already says when. */
    if (!m->cfg->stopped && !gdb_is_connected(m->gdb) && !run_state_start(m, error))
        return false;
    g_main_loop_run(m->loop);
    return true;
}
