/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands of KVM_MEMORY_ENCRYPT_OP, a row each. */
#include "sev.h"

#include "cpu.h"
#include "range.h"
#include "sev_guest.h"
#include "sev_memory.h"
#include "sev_platform.h"
#include "soft_vcpu.h"
#include "soft_vm.h"
#include "usercopy.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

enum { BLOB_MAX = 16384 };      /* what the kernel hands to the firmware at once */

struct region {
    struct region *next;
    struct kvm_enc_region region;
};

struct sev {
    struct sev_memory *memory;
    struct sev_guest guest;
    int fd;                     /* LAUNCH_START's */
    struct region *regions;
};

/* A command on its way: data is a copy of its structure. */
struct call {
    struct vm *vm;
    struct kvm_sev_cmd *cmd;
    void *data;
};

static unsigned guests;         /* atomic */

unsigned sev_guest_count(void)
{
    return __atomic_load_n(&guests, __ATOMIC_RELAXED);
}

/* The firmware's answer. */
static int firmware(struct call *call, int code)
{
    call->cmd->error = code;
    return code ? -EIO : 0;
}

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

static int cmd_init(struct call *call)
{
    return call->vm->type == KVM_X86_DEFAULT_VM ? init(call->vm) : -EINVAL;
}

/* No feature of the VMSA is offered, as there is none without SEV-ES. */
static int cmd_init2(struct call *call)
{
    const struct kvm_sev_init *args = call->data;

    if (call->vm->type != KVM_X86_SEV_VM || args->flags || args->vmsa_features ||
        args->ghcb_version)
        return -EINVAL;
    return init(call->vm);
}

/* A blob of the owner's. *ret: NULL where it isn't given. */
static int copy_blob(uint64_t addr, uint32_t size, size_t expected, uint8_t **ret)
{
    *ret = NULL;
    if (!addr)
        return 0;
    if (!size || size > BLOB_MAX)
        return -EINVAL;
    *ret = calloc(1, size > expected ? size : expected);
    if (!*ret)
        return -ENOMEM;
    return copy_from_user(*ret, addr, size);
}

/* From here on there is a key. */
static int make_key(struct sev *sev)
{
    uint8_t vek[SEV_VEK];
    struct sev_cipher *cipher;

    if (!sev_random(vek, sizeof(vek)))
        return -EBUSY;
    cipher = sev_cipher_new(vek);
    OPENSSL_cleanse(vek, sizeof(vek));
    if (!cipher)
        return -ENOMEM;
    sev_memory_set_cipher(sev->memory, cipher);
    return 0;
}

static int launch_start(struct call *call, const uint8_t *cert, const uint8_t *session)
{
    struct kvm_sev_launch_start *args = call->data;
    struct sev *sev = call->vm->sev;
    int ret;

    if (sev->guest.state != SEV_UNINIT)
        return firmware(call, SEV_RET_ASID_OWNED);
    if (args->handle)           /* another guest's key, which NOKS would forbid */
        return firmware(call, SEV_RET_INVALID_GUEST);
    if (cert && session && (args->dh_len < SEV_CERT_SIZE || args->session_len < SEV_SESSION_SIZE))
        return firmware(call, SEV_RET_INVALID_LEN);
    ret = make_key(sev);
    if (!ret)
        ret = firmware(call, sev_guest_start(&sev->guest, args->policy, cert, session));
    if (ret)
        return ret;
    sev->fd = call->cmd->sev_fd;
    args->handle = sev->guest.handle;
    __atomic_add_fetch(&guests, 1, __ATOMIC_RELAXED);
    return copy_to_user(call->cmd->data, args, sizeof(*args));
}

static int cmd_launch_start(struct call *call)
{
    const struct kvm_sev_launch_start *args = call->data;
    uint8_t *cert = NULL, *session = NULL;
    int ret;

    if (!sev_device_is(call->cmd->sev_fd))
        return -EBADF;
    ret = copy_blob(args->dh_uaddr, args->dh_len, SEV_CERT_SIZE, &cert);
    if (!ret)
        ret = copy_blob(args->session_uaddr, args->session_len, SEV_SESSION_SIZE, &session);
    if (!ret)
        ret = launch_start(call, cert, session);
    free(cert);
    free(session);
    return ret;
}

/* Plain bytes at addr become cipher text, and part of the digest. */
static int encrypt_in_place(struct call *call, uint64_t addr, uint64_t size)
{
    struct sev *sev = call->vm->sev;
    uint8_t page[GUEST_PAGE_SIZE];
    int ret = 0;

    for (uint64_t done = 0, piece; !ret && done < size; done += piece) {
        uint64_t at = addr + done, room = GUEST_PAGE_SIZE - at % GUEST_PAGE_SIZE;

        piece = size - done < room ? size - done : room;
        ret = copy_from_user(page, at, piece);
        if (!ret)
            ret = firmware(call, sev_guest_update(&sev->guest, page, piece));
        if (!ret) {
            sev_memory_crypt(sev->memory, true, at, page, piece);
            ret = copy_to_user(at, page, piece);
        }
    }
    return ret;
}

static int cmd_launch_update_data(struct call *call)
{
    const struct kvm_sev_launch_update_data *args = call->data;
    struct sev *sev = call->vm->sev;
    int ret;

    if (!args->len || range_wraps(args->uaddr, args->len))
        return -EINVAL;
    if (sev->guest.state != SEV_LAUNCH_UPDATE)
        return firmware(call, SEV_RET_INVALID_GUEST_STATE);
    if (args->uaddr % SEV_BLOCK)
        return firmware(call, SEV_RET_INVALID_ADDRESS);
    if (args->len % SEV_BLOCK)
        return firmware(call, SEV_RET_INVALID_LEN);
    vm_pause(call->vm);
    sev_memory_take(sev->memory, args->uaddr, args->len);
    ret = encrypt_in_place(call, args->uaddr, args->len);
    vm_resume(call->vm);
    return ret;
}

/* There is no state to measure without SEV-ES. */
static int cmd_launch_update_vmsa(struct call *call)
{
    return -ENOTTY;
}

/*
 * Something of a fixed size goes to a place of *len bytes.  Length 0 asks for the
 * size: that fails as in the firmware, and len is filled.
 */
static int give_blob(struct call *call, uint64_t uaddr, uint32_t *len, const void *blob,
                     uint32_t size)
{
    uint32_t room = *len;

    if (room > BLOB_MAX)
        return -EINVAL;
    if (room && room < size)
        return firmware(call, SEV_RET_INVALID_LEN);
    if (room && copy_to_user(uaddr, blob, size))
        return -EFAULT;
    *len = size;
    return firmware(call, room ? SEV_RET_SUCCESS : SEV_RET_INVALID_LEN);
}

static int cmd_launch_measure(struct call *call)
{
    struct kvm_sev_launch_measure *args = call->data;
    struct sev_guest *guest = &call->vm->sev->guest;
    bool wanted = args->len >= SEV_MEASUREMENT_SIZE && args->len <= BLOB_MAX;
    int ret;

    if (guest->state != SEV_LAUNCH_UPDATE && guest->state != SEV_LAUNCH_SECRET)
        return firmware(call, SEV_RET_INVALID_GUEST_STATE);
    /* The launch goes on after a question for the size. */
    ret = wanted ? firmware(call, sev_guest_measure(guest)) : 0;
    if (!ret)
        ret = give_blob(call, args->uaddr, &args->len, guest->measurement, SEV_MEASUREMENT_SIZE);
    if (copy_to_user(call->cmd->data, args, sizeof(*args)))
        return -EFAULT;
    return ret;
}

/* The packet's plain text, encrypted with the guest's key, to where the guest reads it. */
static int put_secret(struct call *call, const uint8_t *header, uint8_t *data)
{
    const struct kvm_sev_launch_secret *args = call->data;
    struct sev *sev = call->vm->sev;
    uint64_t addr = args->guest_uaddr;
    int ret = firmware(call, sev_guest_secret(&sev->guest, header, data, args->trans_len));

    if (ret)
        return ret;
    vm_pause(call->vm);
    sev_memory_take(sev->memory, addr, args->guest_len);
    for (uint32_t done = 0, piece; !ret && done < args->guest_len; done += piece) {
        uint32_t room = GUEST_PAGE_SIZE - (addr + done) % GUEST_PAGE_SIZE;

        piece = args->guest_len - done < room ? args->guest_len - done : room;
        sev_memory_crypt(sev->memory, true, addr + done, data + done, piece);
        ret = copy_to_user(addr + done, data + done, piece);
    }
    vm_resume(call->vm);
    return ret;
}

static int cmd_launch_secret(struct call *call)
{
    const struct kvm_sev_launch_secret *args = call->data;
    uint8_t *header = NULL, *data = NULL;
    int ret;

    if (!args->guest_len || args->guest_len > BLOB_MAX || !args->hdr_uaddr || !args->trans_uaddr ||
        range_wraps(args->guest_uaddr, args->guest_len))
        return -EINVAL;
    ret = copy_blob(args->trans_uaddr, args->trans_len, SEV_BLOCK, &data);
    if (!ret)
        ret = copy_blob(args->hdr_uaddr, args->hdr_len, SEV_SECRET_HEADER, &header);
    if (!ret && args->hdr_len < SEV_SECRET_HEADER)
        ret = firmware(call, SEV_RET_INVALID_LEN);
    if (!ret && args->guest_uaddr % SEV_BLOCK)
        ret = firmware(call, SEV_RET_INVALID_ADDRESS);
    if (!ret && args->guest_len != args->trans_len)
        ret = firmware(call, SEV_RET_INVALID_LEN);
    if (!ret)
        ret = put_secret(call, header, data);
    free(header);
    if (data)
        OPENSSL_cleanse(data, args->trans_len);
    free(data);
    return ret;
}

static int cmd_launch_finish(struct call *call)
{
    return firmware(call, sev_guest_finish(&call->vm->sev->guest));
}

static int cmd_guest_status(struct call *call)
{
    const struct sev_guest *guest = &call->vm->sev->guest;
    const struct kvm_sev_guest_status status = {
        .handle = guest->handle, .policy = guest->policy, .state = guest->state,
    };

    if (guest->state == SEV_UNINIT)
        return firmware(call, SEV_RET_INVALID_GUEST_STATE);
    if (copy_to_user(call->cmd->data, &status, sizeof(status)))
        return -EFAULT;
    return firmware(call, SEV_RET_SUCCESS);
}

/* Whole blocks around [addr, addr + size), in one page, decrypted. */
static int read_blocks(struct sev *sev, uint64_t addr, uint32_t size, uint8_t *blocks,
                       uint64_t *start, uint64_t *length)
{
    int ret;

    *start = addr & ~(uint64_t)(SEV_BLOCK - 1);
    *length = ((addr + size + SEV_BLOCK - 1) & ~(uint64_t)(SEV_BLOCK - 1)) - *start;
    ret = copy_from_user(blocks, *start, *length);
    if (!ret)
        sev_memory_crypt(sev->memory, false, *start, blocks, *length);
    return ret;
}

/* A piece that crosses no page on either side. */
static int debug_piece(struct sev *sev, bool encrypt, uint64_t src, uint64_t dst, uint32_t size)
{
    uint8_t blocks[GUEST_PAGE_SIZE];
    uint64_t guest = encrypt ? dst : src, start, length;
    int ret = read_blocks(sev, guest, size, blocks, &start, &length);

    if (ret)
        return ret;
    if (!encrypt)
        return copy_to_user(dst, blocks + (guest - start), size);
    ret = copy_from_user(blocks + (guest - start), src, size);
    if (ret)
        return ret;
    sev_memory_crypt(sev->memory, true, start, blocks, length);
    return copy_to_user(start, blocks, length);
}

static int debug(struct call *call, bool encrypt)
{
    const struct kvm_sev_dbg *args = call->data;
    struct sev *sev = call->vm->sev;
    int ret;

    if (!args->len || !args->src_uaddr || !args->dst_uaddr ||
        range_wraps(args->src_uaddr, args->len) || range_wraps(args->dst_uaddr, args->len))
        return -EINVAL;
    ret = firmware(call, sev_guest_debug(&sev->guest));
    if (ret)
        return ret;
    vm_pause(call->vm);
    sev_memory_take(sev->memory, args->src_uaddr, args->len);
    sev_memory_take(sev->memory, args->dst_uaddr, args->len);
    for (uint32_t done = 0, piece; !ret && done < args->len; done += piece) {
        uint64_t src = args->src_uaddr + done, dst = args->dst_uaddr + done;
        uint32_t src_room = GUEST_PAGE_SIZE - src % GUEST_PAGE_SIZE;
        uint32_t dst_room = GUEST_PAGE_SIZE - dst % GUEST_PAGE_SIZE;

        piece = args->len - done;
        piece = piece < src_room ? piece : src_room;
        piece = piece < dst_room ? piece : dst_room;
        ret = debug_piece(sev, encrypt, src, dst, piece);
    }
    vm_resume(call->vm);
    return ret;
}

static int cmd_dbg_decrypt(struct call *call)
{
    return debug(call, false);
}

static int cmd_dbg_encrypt(struct call *call)
{
    return debug(call, true);
}

static int cmd_attestation_report(struct call *call)
{
    struct kvm_sev_attestation_report *args = call->data;
    uint8_t report[SEV_REPORT_SIZE];
    int ret = firmware(call, sev_guest_report(&call->vm->sev->guest, args->mnonce, report));

    if (!ret)
        ret = give_blob(call, args->uaddr, &args->len, report, sizeof(report));
    if (copy_to_user(call->cmd->data, args, sizeof(*args)))
        return -EFAULT;
    return ret;
}

static const struct command {
    uint32_t id;
    uint16_t size;              /* of the structure that is read */
    bool starts;                /* of a VM that isn't a SEV guest yet */
    bool asks_firmware;         /* through LAUNCH_START's descriptor */
    int (*fn)(struct call *call);
} commands[] = {
    { KVM_SEV_INIT, 0, true, false, cmd_init },
    { KVM_SEV_INIT2, sizeof(struct kvm_sev_init), true, false, cmd_init2 },
    { KVM_SEV_LAUNCH_START, sizeof(struct kvm_sev_launch_start), false, false, cmd_launch_start },
    { KVM_SEV_LAUNCH_UPDATE_DATA, sizeof(struct kvm_sev_launch_update_data), false, true,
      cmd_launch_update_data },
    { KVM_SEV_LAUNCH_UPDATE_VMSA, 0, false, false, cmd_launch_update_vmsa },
    { KVM_SEV_LAUNCH_MEASURE, sizeof(struct kvm_sev_launch_measure), false, true,
      cmd_launch_measure },
    { KVM_SEV_LAUNCH_SECRET, sizeof(struct kvm_sev_launch_secret), false, true,
      cmd_launch_secret },
    { KVM_SEV_LAUNCH_FINISH, 0, false, true, cmd_launch_finish },
    { KVM_SEV_GUEST_STATUS, 0, false, true, cmd_guest_status },
    { KVM_SEV_DBG_DECRYPT, sizeof(struct kvm_sev_dbg), false, true, cmd_dbg_decrypt },
    { KVM_SEV_DBG_ENCRYPT, sizeof(struct kvm_sev_dbg), false, true, cmd_dbg_encrypt },
    { KVM_SEV_GET_ATTESTATION_REPORT, sizeof(struct kvm_sev_attestation_report), false, true,
      cmd_attestation_report },
};

static int run_command(struct vm *vm, const struct command *command, struct kvm_sev_cmd *cmd)
{
    uint64_t data[8];
    struct call call = { vm, cmd, data };

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
    struct region *new;
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
    struct region *found = NULL;
    int ret = -EINVAL;

    pthread_mutex_lock(&vm->lock);
    if (!vm->sev) {
        ret = -ENOTTY;
    } else {
        struct region **link = &vm->sev->regions;

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
    if (sev->guest.state != SEV_UNINIT)
        __atomic_sub_fetch(&guests, 1, __ATOMIC_RELAXED);
    sev_guest_clear(&sev->guest);
    while (sev->regions) {
        struct region *region = sev->regions;

        sev->regions = region->next;
        free(region);
    }
    free(sev);
    vm->sev = NULL;
}
