/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The commands of SEV, one function each.  Sizes are asked for before blobs are:
 * the firmware then fails with INVALID_LEN and says how much it wants.
 */
#include "sev_client.h"

#include <errno.h>
#include <linux/psp-sev.h>
#include <stdlib.h>
#include <string.h>

enum { LEAF_ENCRYPTION = 0x8000001f, MAX_BLOB = 16384 };
/* A command's length has 32 bits; and a platform works for a while on each piece. */
#define MAX_UPDATE (256ULL << 20)

static const char no_device[] = "a /dev/sev that can be opened";

static int command(struct kvm_vm *vm, uint32_t id, void *data, uint32_t *fw)
{
    struct kvm_sev_cmd cmd = {
        .id = id, .data = (uintptr_t)data, .sev_fd = (uint32_t)vm->sev->device,
    };
    int ret = kvm_vm_ioctl(vm, KVM_MEMORY_ENCRYPT_OP, &cmd);

    if (fw)
        *fw = ret == -EIO ? cmd.error : 0;
    return ret;
}

static int platform_command(struct kvm_vm *vm, int device, uint32_t id, void *data, uint32_t *fw)
{
    struct sev_issue_cmd cmd = { .cmd = id, .data = (uintptr_t)data };
    int ret = vm->driver->ioctl(device, SEV_ISSUE_CMD, (unsigned long)&cmd);

    *fw = ret == -EIO ? cmd.error : 0;
    return ret;
}

/* --- The platform --- */

static int read_status(struct kvm_vm *vm, struct kvm_sev *sev)
{
    struct sev_user_data_status status = { 0 };
    uint32_t fw;
    int ret = platform_command(vm, sev->device, SEV_PLATFORM_STATUS, &status, &fw);

    sev->api_major = status.api_major;
    sev->api_minor = status.api_minor;
    sev->build = status.build;
    return ret;
}

/* The C-bit is the platform's; no leaf: KVM announces no SEV. */
static bool find_c_bit(struct kvm_vm *vm, unsigned *ret)
{
    struct kvm_cpuid_entry2 leaf;

    if (kvm_vm_cpuid(vm, LEAF_ENCRYPTION, 0, &leaf) < 0 || !(leaf.eax & 1u << 1))
        return false;
    *ret = leaf.ebx & 0x3f;
    return true;
}

int kvm_sev_open(struct kvm_vm *vm, const char *device, const char **missing)
{
    struct kvm_sev *sev = calloc(1, sizeof(*sev));

    if (!sev)
        return -ENOMEM;
    vm->sev = sev;
    sev->device = -1;
    if (kvm_vm_ioctl(vm, KVM_MEMORY_ENCRYPT_OP, NULL) < 0) {
        *missing = "KVM_MEMORY_ENCRYPT_OP (SEV)";
        return -ENOTSUP;
    }
    if (!find_c_bit(vm, &sev->c_bit)) {
        *missing = "CPUID 0x8000001f (SEV)";
        return -ENOTSUP;
    }
    sev->device = vm->driver->open_sev ? vm->driver->open_sev(device) : -ENOENT;
    if (sev->device >= 0)
        return read_status(vm, sev);
    *missing = no_device;
    return -ENOTSUP;
}

void kvm_sev_close(struct kvm_vm *vm)
{
    if (!vm->sev)
        return;
    if (vm->sev->device >= 0)
        vm->driver->close(vm->sev->device);
    free(vm->sev);
    vm->sev = NULL;
}

static int read_certificates(struct kvm_vm *vm, int device, struct kvm_sev_platform *p,
                             uint32_t *fw)
{
    struct sev_user_data_pdh_cert_export args = { 0 };
    int ret = platform_command(vm, device, SEV_PDH_CERT_EXPORT, &args, fw);

    if (ret != -EIO || *fw != SEV_RET_INVALID_LEN)
        return ret < 0 ? ret : -EPROTO;
    p->pdh_size = args.pdh_cert_len;
    p->chain_size = args.cert_chain_len;
    if (!p->pdh_size || !p->chain_size || p->pdh_size > MAX_BLOB || p->chain_size > MAX_BLOB)
        return -EPROTO;
    p->pdh = malloc(p->pdh_size);
    p->chain = malloc(p->chain_size);
    if (!p->pdh || !p->chain)
        return -ENOMEM;
    args.pdh_cert_address = (uintptr_t)p->pdh;
    args.cert_chain_address = (uintptr_t)p->chain;
    return platform_command(vm, device, SEV_PDH_CERT_EXPORT, &args, fw);
}

static int read_id(struct kvm_vm *vm, int device, struct kvm_sev_platform *p, uint32_t *fw)
{
    struct sev_user_data_get_id2 args = { 0 };
    int ret = platform_command(vm, device, SEV_GET_ID2, &args, fw);

    if (ret != -EIO || *fw != SEV_RET_INVALID_LEN)
        return ret < 0 ? ret : -EPROTO;
    if (!args.length || args.length > MAX_BLOB)
        return -EPROTO;
    p->id_size = args.length;
    p->id = malloc(p->id_size);
    if (!p->id)
        return -ENOMEM;
    args.address = (uintptr_t)p->id;
    return platform_command(vm, device, SEV_GET_ID2, &args, fw);
}

int kvm_sev_platform_get(struct kvm_vm *vm, struct kvm_sev_platform *ret, unsigned *ret_c_bit,
                         uint32_t *fw)
{
    int device = vm->sev ? vm->sev->device : -1, result;

    *fw = 0;
    memset(ret, 0, sizeof(*ret));
    if (kvm_vm_ioctl(vm, KVM_MEMORY_ENCRYPT_OP, NULL) < 0 || !find_c_bit(vm, ret_c_bit))
        return -ENOTTY;
    if (!vm->sev) {
        device = vm->driver->open_sev ? vm->driver->open_sev("/dev/sev") : -ENOENT;
        if (device < 0)
            return device;
    }
    result = read_certificates(vm, device, ret, fw);
    if (!result)
        result = read_id(vm, device, ret, fw);
    if (!vm->sev)
        vm->driver->close(device);
    if (result)
        kvm_sev_platform_clear(ret);
    return result;
}

void kvm_sev_platform_clear(struct kvm_sev_platform *platform)
{
    free(platform->pdh);
    free(platform->chain);
    free(platform->id);
    memset(platform, 0, sizeof(*platform));
}

/* --- Launch --- */

static int init(struct kvm_vm *vm, bool es, uint32_t *fw)
{
    struct kvm_sev_init args = { 0 };

    if (vm->type == KVM_X86_DEFAULT_VM)
        return command(vm, es ? KVM_SEV_ES_INIT : KVM_SEV_INIT, NULL, fw);
    return command(vm, KVM_SEV_INIT2, &args, fw);
}

int kvm_sev_launch_start(struct kvm_vm *vm, const struct kvm_sev_start *start, uint32_t *fw)
{
    struct kvm_sev_launch_start args = {
        .handle = start->handle, .policy = start->policy,
        .dh_uaddr = (uintptr_t)start->dh_cert, .dh_len = start->dh_cert_size,
        .session_uaddr = (uintptr_t)start->session, .session_len = start->session_size,
    };
    int ret = init(vm, start->policy & KVM_SEV_POLICY_ES, fw);

    if (!ret)
        ret = command(vm, KVM_SEV_LAUNCH_START, &args, fw);
    if (ret)
        return ret;
    vm->sev->policy = start->policy;
    vm->sev->handle = args.handle;
    vm->sev->state = KVM_SEV_LAUNCH_UPDATING;
    return 0;
}

int kvm_sev_launch_update(struct kvm_vm *vm, void *host, uint64_t size, uint32_t *fw)
{
    for (uint64_t done = 0; done < size;) {
        uint64_t part = size - done < MAX_UPDATE ? size - done : MAX_UPDATE;
        struct kvm_sev_launch_update_data args = {
            .uaddr = (uintptr_t)host + done, .len = (uint32_t)part,
        };
        int ret = command(vm, KVM_SEV_LAUNCH_UPDATE_DATA, &args, fw);

        if (ret)
            return ret;
        done += part;
    }
    return 0;
}

int kvm_sev_launch_measure(struct kvm_vm *vm, uint32_t *fw)
{
    struct kvm_sev *sev = vm->sev;
    struct kvm_sev_launch_measure args = { 0 };
    uint32_t code;
    int ret = 0;

    if (sev->policy & KVM_SEV_POLICY_ES)
        ret = command(vm, KVM_SEV_LAUNCH_UPDATE_VMSA, NULL, fw);
    if (ret)
        return ret;
    ret = command(vm, KVM_SEV_LAUNCH_MEASURE, &args, &code);
    if (fw)
        *fw = code;
    if (ret != -EIO || code != SEV_RET_INVALID_LEN)
        return ret ? ret : -EPROTO;
    if (!args.len || args.len > sizeof(sev->measurement))
        return -EPROTO;
    args.uaddr = (uintptr_t)sev->measurement;
    ret = command(vm, KVM_SEV_LAUNCH_MEASURE, &args, fw);
    if (ret)
        return ret;
    sev->measurement_size = args.len;
    sev->state = KVM_SEV_LAUNCH_MEASURED;
    return 0;
}

int kvm_sev_launch_secret(struct kvm_vm *vm, void *host, const void *header, uint32_t header_size,
                          const void *data, uint32_t data_size, uint32_t *fw)
{
    struct kvm_sev_launch_secret args = {
        .hdr_uaddr = (uintptr_t)header, .hdr_len = header_size,
        .trans_uaddr = (uintptr_t)data, .trans_len = data_size,
        .guest_uaddr = (uintptr_t)host, .guest_len = data_size,
    };

    return command(vm, KVM_SEV_LAUNCH_SECRET, &args, fw);
}

int kvm_sev_launch_finish(struct kvm_vm *vm, uint32_t *fw)
{
    int ret = command(vm, KVM_SEV_LAUNCH_FINISH, NULL, fw);

    if (!ret)
        vm->sev->state = KVM_SEV_RUNNING;
    return ret;
}

/* --- A guest that was launched --- */

int kvm_sev_attestation_report(struct kvm_vm *vm, const uint8_t nonce[KVM_SEV_NONCE_SIZE],
                               void **ret, uint32_t *ret_size, uint32_t *fw)
{
    struct kvm_sev_attestation_report args = { 0 };
    uint32_t code;
    void *report;
    int result;

    memcpy(args.mnonce, nonce, sizeof(args.mnonce));
    result = command(vm, KVM_SEV_GET_ATTESTATION_REPORT, &args, &code);
    if (fw)
        *fw = code;
    if (result != -EIO || code != SEV_RET_INVALID_LEN)
        return result ? result : -EPROTO;
    if (!args.len || args.len > MAX_BLOB)
        return -EPROTO;
    report = calloc(1, args.len);
    if (!report)
        return -ENOMEM;
    args.uaddr = (uintptr_t)report;
    result = command(vm, KVM_SEV_GET_ATTESTATION_REPORT, &args, fw);
    if (result) {
        free(report);
        return result;
    }
    *ret = report;
    *ret_size = args.len;
    return 0;
}

int kvm_sev_debug_decrypt(struct kvm_vm *vm, const void *guest, void *to, uint32_t size,
                          uint32_t *fw)
{
    struct kvm_sev_dbg args = {
        .src_uaddr = (uintptr_t)guest, .dst_uaddr = (uintptr_t)to, .len = size,
    };

    return command(vm, KVM_SEV_DBG_DECRYPT, &args, fw);
}

int kvm_sev_debug_encrypt(struct kvm_vm *vm, void *guest, const void *from, uint32_t size,
                          uint32_t *fw)
{
    struct kvm_sev_dbg args = {
        .src_uaddr = (uintptr_t)from, .dst_uaddr = (uintptr_t)guest, .len = size,
    };

    return command(vm, KVM_SEV_DBG_ENCRYPT, &args, fw);
}

int kvm_sev_register(struct kvm_vm *vm, void *host, uint64_t size)
{
    struct kvm_enc_region region = { .addr = (uintptr_t)host, .size = size };

    return kvm_vm_ioctl(vm, KVM_MEMORY_ENCRYPT_REG_REGION, &region);
}

int kvm_sev_unregister(struct kvm_vm *vm, void *host, uint64_t size)
{
    struct kvm_enc_region region = { .addr = (uintptr_t)host, .size = size };

    return kvm_vm_ioctl(vm, KVM_MEMORY_ENCRYPT_UNREG_REGION, &region);
}

const char *kvm_sev_error_text(uint32_t fw)
{
    static const char *const texts[] = {
        [SEV_RET_INVALID_PLATFORM_STATE] = "Platform state is invalid",
        [SEV_RET_INVALID_GUEST_STATE] = "Guest state is invalid",
        [SEV_RET_INAVLID_CONFIG] = "Platform configuration is invalid",
        [SEV_RET_INVALID_LEN] = "Buffer too small",
        [SEV_RET_ALREADY_OWNED] = "Platform is already owned",
        [SEV_RET_INVALID_CERTIFICATE] = "Certificate is invalid",
        [SEV_RET_POLICY_FAILURE] = "Policy is not allowed",
        [SEV_RET_INACTIVE] = "Guest is not active",
        [SEV_RET_INVALID_ADDRESS] = "Invalid address",
        [SEV_RET_BAD_SIGNATURE] = "Bad signature",
        [SEV_RET_BAD_MEASUREMENT] = "Bad measurement",
        [SEV_RET_ASID_OWNED] = "ASID is already owned",
        [SEV_RET_INVALID_ASID] = "Invalid ASID",
        [SEV_RET_WBINVD_REQUIRED] = "WBINVD is required",
        [SEV_RET_DFFLUSH_REQUIRED] = "DF_FLUSH is required",
        [SEV_RET_INVALID_GUEST] = "Guest handle is invalid",
        [SEV_RET_INVALID_COMMAND] = "Invalid command",
        [SEV_RET_ACTIVE] = "Guest is active",
        [SEV_RET_HWSEV_RET_PLATFORM] = "Hardware error",
        [SEV_RET_HWSEV_RET_UNSAFE] = "Hardware unsafe",
        [SEV_RET_UNSUPPORTED] = "Feature not supported",
        [SEV_RET_INVALID_PARAM] = "Invalid parameter",
        [SEV_RET_RESOURCE_LIMIT] = "Required firmware resource depleted",
        [SEV_RET_SECURE_DATA_INVALID] = "Part-specific integrity check failure",
    };

    if (fw < sizeof(texts) / sizeof(texts[0]) && texts[fw])
        return texts[fw];
    return "unknown error";
}
