/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of commands; regions, slots, and what a vCPU asks. */
#include "sev.h"

#include "cpu.h"
#include "range.h"
#include "sev_command.h"
#include "sev_memory.h"
#include "soft_vcpu.h"
#include "soft_vm.h"
#include "usercopy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct sev_region {
    struct sev_region *next;
    struct kvm_enc_region region;
};

static int add_slots(struct sev_memory *memory, const struct memslots *slots)
{
    int ret = 0;

    for (size_t i = 0; i < slots->count && !ret; i++)
        ret = slots->by_gpa[i]->gmem ? -EINVAL
                                     : sev_memory_add(memory, slots->by_gpa[i]->hva,
                                                      slots->by_gpa[i]->size);
    return ret;
}

static int init(struct vm *vm)
{
    struct sev *sev;
    int ret;

    if (vm->sev || vm->nr_vcpus)
        return -EINVAL;
    sev = calloc(1, sizeof(*sev));
    if (!sev)
        return -ENOMEM;
    sev->fd = -1;
    ret = sev_memory_new(vm, &sev->memory);
    if (!ret)
        ret = add_slots(sev->memory, &vm->slots);
    if (!ret)
        ret = add_slots(sev->memory, &vm->smm_slots);
    if (ret) {
        sev_memory_free(sev->memory);
        free(sev);
        return ret;
    }
    vm->c_bit = 1ULL << SEV_C_BIT;
    vm->sev = sev;
    return 0;
}

static int cmd_init(struct sev_call *call)
{
    return call->vm->type == KVM_X86_DEFAULT_VM ? init(call->vm) : -EINVAL;
}

/* No feature of the VMSA is offered, as there is none without SEV-ES. */
static int cmd_init2(struct sev_call *call)
{
    const struct kvm_sev_init *args = call->data;

    if (call->vm->type != KVM_X86_SEV_VM || args->flags || args->vmsa_features ||
        args->ghcb_version)
        return -EINVAL;
    return init(call->vm);
}

static int cmd_guest_status(struct sev_call *call)
{
    const struct sev_guest *guest = &call->vm->sev->guest;
    const struct kvm_sev_guest_status status = {
        .handle = guest->handle, .policy = guest->policy, .state = guest->state,
    };

    if (guest->state == SEV_UNINIT)
        return sev_firmware(call, SEV_RET_INVALID_GUEST_STATE);
    if (copy_to_user(call->cmd->data, &status, sizeof(status)))
        return -EFAULT;
    return sev_firmware(call, SEV_RET_SUCCESS);
}

/* What a KVM says that has no SEV-ES. */
static int cmd_of_es(struct sev_call *call)
{
    return -ENOTTY;
}

static const struct command {
    uint32_t id;
    uint16_t size;              /* of the structure that is read */
    bool starts;                /* of a VM that isn't a SEV guest yet */
    bool asks_firmware;         /* through LAUNCH_START's descriptor */
    int (*fn)(struct sev_call *call);
} commands[] = {
    { KVM_SEV_INIT, 0, true, false, cmd_init },
    { KVM_SEV_ES_INIT, 0, true, false, cmd_of_es },
    { KVM_SEV_INIT2, sizeof(struct kvm_sev_init), true, false, cmd_init2 },
    { KVM_SEV_LAUNCH_START, sizeof(struct kvm_sev_launch_start), false, false, sev_launch_start },
    { KVM_SEV_LAUNCH_UPDATE_DATA, sizeof(struct kvm_sev_launch_update_data), false, true,
      sev_launch_update_data },
    { KVM_SEV_LAUNCH_UPDATE_VMSA, 0, false, false, cmd_of_es },
    { KVM_SEV_LAUNCH_MEASURE, sizeof(struct kvm_sev_launch_measure), false, true,
      sev_launch_measure },
    { KVM_SEV_LAUNCH_SECRET, sizeof(struct kvm_sev_launch_secret), false, true,
      sev_launch_secret },
    { KVM_SEV_LAUNCH_FINISH, 0, false, true, sev_launch_finish },
    { KVM_SEV_GUEST_STATUS, 0, false, true, cmd_guest_status },
    { KVM_SEV_DBG_DECRYPT, sizeof(struct kvm_sev_dbg), false, true, sev_dbg_decrypt },
    { KVM_SEV_DBG_ENCRYPT, sizeof(struct kvm_sev_dbg), false, true, sev_dbg_encrypt },
    { KVM_SEV_GET_ATTESTATION_REPORT, sizeof(struct kvm_sev_attestation_report), false, true,
      sev_attestation_report },
};

static int run_command(struct vm *vm, const struct command *command, struct kvm_sev_cmd *cmd)
{
    uint64_t data[8];
    struct sev_call call = { vm, cmd, data };

    if (!command->starts && !vm->sev)
        return -ENOTTY;
    if (command->size && copy_from_user(data, cmd->data, command->size))
        return -EFAULT;
    /* Before LAUNCH_START the firmware knows of no guest, whatever the descriptor. */
    if (command->asks_firmware && vm->sev->fd >= 0 && !sev_device_is(vm->sev->fd))
        return -EBADF;
    return command->fn(&call);
}

int sev_op(struct vm *vm, unsigned long arg)
{
    struct kvm_sev_cmd cmd;
    int ret = -EINVAL;

    if (!vm->options.sev)
        return -ENOTTY;
    if (!arg)
        return 0;
    if (copy_from_user(&cmd, arg, sizeof(cmd)))
        return -EFAULT;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (commands[i].id != cmd.id)
            continue;
        pthread_mutex_lock(&vm->lock);
        ret = run_command(vm, &commands[i], &cmd);
        pthread_mutex_unlock(&vm->lock);
        return copy_to_user(arg, &cmd, sizeof(cmd)) ? -EFAULT : ret;
    }
    return ret;
}

/* Nothing can move memory away here: what is registered is only remembered. */
int sev_register(struct vm *vm, const struct kvm_enc_region *region)
{
    struct sev_region *new;
    int ret = 0;

    if (!vm->options.sev)
        return -ENOTTY;
    new = malloc(sizeof(*new));
    if (!new)
        return -ENOMEM;
    new->region = *region;
    pthread_mutex_lock(&vm->lock);
    if (!vm->sev)
        ret = -ENOTTY;
    else if (!region->size || range_wraps(region->addr, region->size))
        ret = -EINVAL;
    else if (!range_within(region->addr, region->size, USER_ADDRESS_END))
        ret = -EFAULT;
    if (!ret) {
        new->next = vm->sev->regions;
        vm->sev->regions = new;
    }
    pthread_mutex_unlock(&vm->lock);
    if (ret)
        free(new);
    return ret;
}

int sev_unregister(struct vm *vm, const struct kvm_enc_region *region)
{
    struct sev_region *found = NULL;
    int ret = -EINVAL;

    pthread_mutex_lock(&vm->lock);
    if (!vm->sev) {
        ret = -ENOTTY;
    } else {
        struct sev_region **link = &vm->sev->regions;

        while (*link && memcmp(&(*link)->region, region, sizeof(*region)))
            link = &(*link)->next;
        found = *link;
        if (found)
            *link = found->next;
    }
    pthread_mutex_unlock(&vm->lock);
    free(found);
    return found ? 0 : ret;
}

int sev_device_attr(const struct softkvm_options *options, uint64_t attr, uint64_t *value)
{
    *value = 0;                 /* no features of the VMSA */
    return options->sev && attr == KVM_X86_SEV_VMSA_FEATURES ? 0 : -ENXIO;
}

int sev_slot_add(struct vm *vm, const struct memslot *slot)
{
    if (!vm->sev)
        return 0;
    return slot->gmem ? -EINVAL : sev_memory_add(vm->sev->memory, slot->hva, slot->size);
}

void sev_slot_remove(struct vm *vm, const struct memslot *slot)
{
    if (vm->sev)
        sev_memory_remove(vm->sev->memory, slot->hva, slot->size);
}

enum sev_run sev_may_run(struct vm *vm)
{
    enum sev_run ret = SEV_RUN_ON;

    if (vm->type != KVM_X86_SEV_VM && !vm->c_bit)
        return SEV_RUN_ON;
    pthread_mutex_lock(&vm->lock);
    if (!vm->sev)
        ret = SEV_RUN_NEVER;
    else if (vm->sev->guest.state == SEV_UNINIT)
        ret = SEV_RUN_NO_KEY;
    pthread_mutex_unlock(&vm->lock);
    return ret;
}

int sev_switch_page(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    uint64_t gpa = vcpu->wanted_page & ~vm->c_bit;
    enum sev_view view = vcpu->wanted_page & vm->c_bit ? SEV_VIEW_GUEST : SEV_VIEW_HOST;
    const struct memslot *slot;
    int ret = 0;

    vcpu->wants_page = false;
    pthread_mutex_lock(&vm->lock);
    slot = memslots_find(vcpu->cpu->in_smm ? &vm->smm_slots : &vm->slots, gpa);
    if (slot) {
        vm_pause(vm);
        ret = sev_memory_switch(vm->sev->memory, slot->hva + (gpa - slot->gpa), view);
        vm_resume(vm);
    }
    pthread_mutex_unlock(&vm->lock);
    return ret;
}

int sev_page(struct vm *vm, uint64_t hva, bool encrypted, uint8_t **host)
{
    return sev_memory_enter(vm->sev->memory, hva, encrypted ? SEV_VIEW_GUEST : SEV_VIEW_HOST,
                            host);
}

void sev_free(struct vm *vm)
{
    struct sev *sev = vm->sev;

    if (!sev)
        return;
    sev_memory_free(sev->memory);
    sev_guest_clear(&sev->guest);
    while (sev->regions) {
        struct sev_region *region = sev->regions;

        sev->regions = region->next;
        free(region);
    }
    free(sev);
    vm->sev = NULL;
}
