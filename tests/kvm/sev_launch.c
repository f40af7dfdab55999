/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The launch of a small SEV guest. */
#include "sev_launch.h"

#define C_BIT (1ULL << 51)

enum { PML4 = 0x2000, PDPT = 0x3000, PD = 0x4000 };

/* 0: out %al,$0x10; test %rcx,%rcx; jnz 1f; mov (%rdi),%rax; jmp 0b; 1: mov %rax,(%rdi); jmp 0b */
static const uint8_t loop[] = {
    0xe6, 0x10, 0x48, 0x85, 0xc9, 0x75, 0x05, 0x48, 0x8b, 0x07, 0xeb, 0xf4,
    0x48, 0x89, 0x07, 0xeb, 0xef,
};

int sev_command(int vm, uint32_t id, void *data, uint32_t *error)
{
    struct kvm_sev_cmd cmd = { .id = id, .data = (uintptr_t)data };
    static int sev_fd;
    int ret;

    /* Cases close what they opened. */
    if (id == KVM_SEV_INIT || id == KVM_SEV_INIT2 || sev_fd <= 0)
        sev_fd = sev_open();
    cmd.sev_fd = sev_fd;
    ret = IOCTL(vm, KVM_MEMORY_ENCRYPT_OP, &cmd);
    if (error)
        *error = cmd.error;
    return ret;
}

static void build_tables(const struct machine *m)
{
    uint64_t *pml4 = (uint64_t *)(m->ram + PML4), *pdpt = (uint64_t *)(m->ram + PDPT);
    uint64_t *pd = (uint64_t *)(m->ram + PD);

    pml4[0] = PDPT | C_BIT | 3;
    for (uint64_t view = 0; view < 2; view++) {
        pdpt[view] = (PD + view * 0x1000) | C_BIT | 3;
        for (uint64_t i = 0; i < 512; i++)
            pd[view * 512 + i] = i << 21 | (view ? 0 : C_BIT) | 0x83;
    }
}

void sev_init2(int vm, struct kvm_sev_init *init)
{
    int ret = sev_command(vm, KVM_SEV_INIT2, init, NULL);

    if (ret == -ENODEV)
        test_skip("no userfaultfd, or no security processor");
    CHECK_EQ(ret, 0);
}

void sev_machine(struct machine *m, size_t ram_size)
{
    struct kvm_sev_init init = { 0 };
    struct kvm_sregs sregs;

    *m = (struct machine){ .ram_size = ram_size, .vm = create_vm(KVM_X86_SEV_VM) };
    sev_init2(m->vm, &init);
    m->ram = host_memory(ram_size);
    CHECK_EQ(set_region(m->vm, 0, 0, 0, ram_size, m->ram), 0);
    machine_add_vcpu(m);
    machine_long_mode(m, loop, sizeof(loop));
    build_tables(m);
    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.cr3 = PML4 | C_BIT;
    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_SREGS, &sregs), 0);
}

void sev_launch(struct machine *m, uint32_t policy)
{
    struct kvm_enc_region region = { (uintptr_t)m->ram, m->ram_size };
    struct kvm_sev_launch_start start = { .policy = policy };
    struct kvm_sev_launch_update_data update = { (uintptr_t)m->ram, SEV_LOADED };
    uint8_t blob[48];
    struct kvm_sev_launch_measure measure = { (uintptr_t)blob, sizeof(blob) };

    CHECK_EQ(IOCTL(m->vm, KVM_MEMORY_ENCRYPT_REG_REGION, &region), 0);
    CHECK_EQ(sev_command(m->vm, KVM_SEV_LAUNCH_START, &start, NULL), 0);
    CHECK_EQ(sev_command(m->vm, KVM_SEV_LAUNCH_UPDATE_DATA, &update, NULL), 0);
    CHECK_EQ(sev_command(m->vm, KVM_SEV_LAUNCH_MEASURE, &measure, NULL), 0);
    CHECK_EQ(sev_command(m->vm, KVM_SEV_LAUNCH_FINISH, NULL, NULL), 0);
}
