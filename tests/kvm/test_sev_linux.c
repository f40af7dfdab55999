/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An unmodified Linux as a SEV guest, by its 32-bit entry (Documentation/arch/x86/boot.rst):
 * it must find SEV, pass its own checks of the C-bit and tell of shared ranges.
 *
 *   test_sev_linux FOLDER     which has vmlinuz (make guest-files); else 77
 */
#include "kvm_test.h"
#include "sev_launch.h"

#include <asm/bootparam.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RAM = 512 << 20, PARAMS = 0x10000, COMMAND_LINE = 0x20000, KERNEL = 0x100000, PAGE = 4096,
    SECTOR = 512, SERIAL = 0x3f8, LINE_STATUS = 5, SECONDS = 600, LEAF_KVM_FEATURES = 0x40000001,
    MSR_MTRR_DEF_TYPE = 0x2ff, MTRR_ENABLED_WB = 0x806,
};

static const char *folder;

struct console {
    char line[256];
    size_t length;
    bool active;                /* it said so */
    unsigned conversions;
};

static uint8_t *read_kernel(size_t *size)
{
    char path[512];
    struct stat st;
    uint8_t *data;
    int fd;

    snprintf(path, sizeof(path), "%s/vmlinuz", folder ? folder : ".");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        test_skip("%s: %s", path, strerror(errno));
    data = malloc(st.st_size);
    CHECK(data && read(fd, data, st.st_size) == st.st_size);
    close(fd);
    *size = st.st_size;
    return data;
}

/* Kernel, command line and boot parameters to where they belong; the kernel's size in memory. */
static size_t load(const struct machine *m)
{
    struct boot_params *params = (struct boot_params *)(m->ram + PARAMS);
    size_t size, setup;
    uint8_t *file = read_kernel(&size);

    memcpy(&params->hdr, file + offsetof(struct boot_params, hdr), sizeof(params->hdr));
    setup = (params->hdr.setup_sects + 1) * SECTOR;
    CHECK(setup < size && size < RAM / 2);
    memcpy(m->ram + KERNEL, file + setup, size - setup);
    free(file);
    strcpy((char *)m->ram + COMMAND_LINE, "console=ttyS0 earlyprintk=serial,ttyS0 nokaslr panic=-1");
    params->hdr.type_of_loader = 0xff;
    params->hdr.cmd_line_ptr = COMMAND_LINE;
    params->e820_entries = 2;
    params->e820_table[0] = (struct boot_e820_entry){ 0, 0x9fc00, 1 };
    params->e820_table[1] = (struct boot_e820_entry){ KERNEL, RAM - KERNEL, 1 };
    return size - setup;
}

/* The features that the guest's calls about memory depend on are the VMM's to announce. */
static void set_cpuid(const struct machine *m)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[100];
    } cpuid = { .head.nent = 100 };

    CHECK_EQ(IOCTL(kvm_fd(), KVM_GET_SUPPORTED_CPUID, &cpuid), 0);
    for (unsigned i = 0; i < cpuid.head.nent; i++) {
        if (cpuid.entries[i].function == LEAF_KVM_FEATURES)
            cpuid.entries[i].eax |= 1 << 16 | 1 << 17;
    }
    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_CPUID2, &cpuid), 0);
}

static void set_registers(const struct machine *m)
{
    const struct kvm_segment data = { .limit = ~0u, .selector = 0x18, .type = 3, .present = 1,
                                      .db = 1, .s = 1, .g = 1 };
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } mtrr = { .head.nmsrs = 1,
               .entry = { .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED_WB } };
    const struct kvm_regs regs = { .rip = KERNEL, .rsi = PARAMS, .rflags = 2 };
    struct kvm_sregs sregs;

    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_MSRS, &mtrr), 1);
    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.cs = data;
    sregs.cs.selector = 0x10;
    sregs.cs.type = 11;
    sregs.cr0 = 0x11;
    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_SREGS, &sregs), 0);
    machine_set_regs(m, &regs);
}

static void launch(const struct machine *m, size_t kernel_size)
{
    const uint64_t pieces[][2] = { { PARAMS, PAGE }, { COMMAND_LINE, PAGE },
                                   { KERNEL, (kernel_size + PAGE - 1) & ~(uint64_t)(PAGE - 1) } };
    struct kvm_sev_launch_start start = { 0 };

    CHECK_EQ(sev_command(m->vm, KVM_SEV_LAUNCH_START, &start, NULL), 0);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct kvm_sev_launch_update_data update = { (uintptr_t)m->ram + pieces[i][0],
                                                     pieces[i][1] };

        CHECK_EQ(sev_command(m->vm, KVM_SEV_LAUNCH_UPDATE_DATA, &update, NULL), 0);
    }
    CHECK_EQ(sev_command(m->vm, KVM_SEV_LAUNCH_FINISH, NULL, NULL), 0);
}

static void on_output(struct console *console, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != '\n' && console->length < sizeof(console->line) - 1) {
            console->line[console->length++] = bytes[i];
            continue;
        }
        console->line[console->length] = 0;
        console->length = 0;
        printf("# %s\n", console->line);
        console->active |= strstr(console->line, "Encryption Features active: AMD SEV") != NULL;
    }
}

static void on_port(struct kvm_run *run, struct console *console)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    size_t size = (size_t)run->io.size * run->io.count;

    if (run->io.direction == KVM_EXIT_IO_OUT) {
        if (run->io.port == SERIAL)
            on_output(console, data, size);
        return;
    }
    memset(data, run->io.port / 8 == SERIAL / 8 ? 0 : 0xff, size);
    if (run->io.port == SERIAL + LINE_STATUS)
        *data = 0x60;           /* ready for more */
}

static void linux_boots(void)
{
    struct machine m = { .ram_size = RAM, .vm = create_vm(KVM_X86_SEV_VM) };
    struct kvm_enable_cap cap = { .cap = KVM_CAP_EXIT_HYPERCALL, .args = { 1 << 12 } };
    struct kvm_pit_config pit = { 0 };
    struct kvm_sev_init init = { 0 };
    struct console console = { .length = 0 };
    size_t kernel_size;

    alarm(SECONDS);
    sev_init2(m.vm, &init);
    m.ram = host_memory(RAM);
    kernel_size = load(&m);
    CHECK_EQ(set_region(m.vm, 0, 0, 0, RAM, m.ram), 0);
    CHECK_EQ(IOCTL(m.vm, KVM_CREATE_IRQCHIP, 0), 0);
    CHECK_EQ(IOCTL(m.vm, KVM_CREATE_PIT2, &pit), 0);
    CHECK_EQ(IOCTL(m.vm, KVM_ENABLE_CAP, &cap), 0);
    machine_add_vcpu(&m);
    set_cpuid(&m);
    set_registers(&m);
    launch(&m, kernel_size);
    while (!console.active) {
        CHECK_EQ(machine_run(&m), 0);
        if (m.run->exit_reason == KVM_EXIT_IO) {
            on_port(m.run, &console);
        } else if (m.run->exit_reason == KVM_EXIT_MMIO) {
            memset(m.run->mmio.data, 0xff, sizeof(m.run->mmio.data));
        } else {
            CHECK_EQ(m.run->exit_reason, KVM_EXIT_HYPERCALL);
            m.run->hypercall.ret = 0;
            console.conversions++;
        }
    }
    CHECK(console.conversions > 0);
}

static const struct test_case cases[] = { { "linux_boots", linux_boots } };

int main(int argc, char **argv)
{
    folder = argc > 1 ? argv[1] : NULL;
    test_with_sev(true);
    return test_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
