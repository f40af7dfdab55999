/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The debug object of SEV guests: their firmware decrypts and encrypts for the host
 * (KVM_SEV_DBG_DECRYPT, KVM_SEV_DBG_ENCRYPT), unless the policy that the guest was
 * launched with forbids it (bit 0, NODBG; SEV API, chapter 2).  So the guest's owner has
 * decided, and the measurement shows it; this object has nothing to allow.
 *
 * The firmware knows blocks of 16 bytes.  KVM splits and merges what isn't aligned, but
 * wrongly until 2026: so it is asked for whole pages, and else for whole blocks within one
 * page, by way of pages whose bytes stand where they stand in the guest's.
 */
#include "debug_object.h"

#include "debug_memory.h"
#include "error.h"
#include "range.h"
#include "sev_client.h"

#include <inttypes.h>
#include <string.h>

enum { BLOCK = 16, BULK = 16 * GUEST_PAGE_SIZE };

static bool fits(const struct kvm_vm *vm)
{
    return vm->sev != NULL;
}

/* --- Who may --- */

static const char *offer(const struct kvm_vm *vm, bool write)
{
    if (vm->sev->policy & KVM_SEV_POLICY_NODBG)
        return "-object sev-guest-debug,id=d0 -machine debug=d0, and policy=0x0 of the sev-guest "
               "object, whose policy forbids debugging (bit 0)";
    return "-object sev-guest-debug,id=d0 -machine debug=d0";
}

static void policy(struct debug_object *obj, struct debug_policy *ret)
{
    uint32_t value = obj->vm->sev->policy;
    bool allowed = !(value & KVM_SEV_POLICY_NODBG);

    *ret = (struct debug_policy){ .read = allowed, .write = allowed, .while_running = true };
    g_snprintf(ret->text, sizeof(ret->text), "policy=0x%x%s", value, allowed ? "" : ", NODBG");
}

static const char *remedy(struct debug_object *obj, bool write)
{
    return "launch it with bit 0 of the sev-guest object's policy clear (policy=0x0)";
}

static uint64_t private_bit(const struct kvm_vm *vm)
{
    return 1ULL << vm->sev->c_bit;
}

static const char *registers(const struct kvm_vm *vm)
{
    return vm->sev->policy & KVM_SEV_POLICY_ES
               ? "they are encrypted (SEV-ES, bit 2 of the guest's policy)" : NULL;
}

/* --- Copying --- */

struct copy {
    struct kvm_vm *vm;
    char *buf;
    bool write;
    uint32_t fw;                /* why the firmware refused */
};

/* Of one page. */
static int copy_piece(struct copy *copy, char *host, uint64_t size)
{
    char page[GUEST_PAGE_SIZE] __attribute__((aligned(GUEST_PAGE_SIZE)));
    uint64_t offset = (uintptr_t)host % GUEST_PAGE_SIZE;
    uint64_t start = offset & ~(uint64_t)(BLOCK - 1);
    uint64_t end = (offset + size + BLOCK - 1) & ~(uint64_t)(BLOCK - 1);
    char *blocks = host - (offset - start), *plain = page + start;
    bool whole = start == offset && end == offset + size;
    int ret = 0;

    if (!copy->write || !whole)
        ret = kvm_sev_debug_decrypt(copy->vm, blocks, plain, (uint32_t)(end - start), &copy->fw);
    if (ret)
        return ret;
    memcpy(copy->write ? page + offset : copy->buf, copy->write ? copy->buf : page + offset, size);
    if (copy->write)
        ret = kvm_sev_debug_encrypt(copy->vm, blocks, plain, (uint32_t)(end - start), &copy->fw);
    copy->buf += size;
    return ret;
}

/* Whole pages, read through some that are as aligned as the guest's. */
static int read_pages(struct copy *copy, char *host, uint64_t size)
{
    char pages[BULK] __attribute__((aligned(GUEST_PAGE_SIZE)));
    int ret = kvm_sev_debug_decrypt(copy->vm, host, pages, (uint32_t)size, &copy->fw);

    if (ret)
        return ret;
    memcpy(copy->buf, pages, size);
    copy->buf += size;
    return 0;
}

static uint64_t whole_pages(const struct copy *copy, const char *host, uint64_t size)
{
    if (copy->write || (uintptr_t)host % GUEST_PAGE_SIZE)
        return 0;
    return MIN(size, BULK) & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
}

static int copy_all(void *opaque, void *host, uint64_t size)
{
    int ret = 0;

    for (uint64_t done = 0, n; done < size && !ret; done += n) {
        char *at = (char *)host + done;

        n = whole_pages(opaque, at, size - done);
        if (n) {
            ret = read_pages(opaque, at, n);
            continue;
        }
        n = MIN(size - done, GUEST_PAGE_SIZE - (uintptr_t)at % GUEST_PAGE_SIZE);
        ret = copy_piece(opaque, at, n);
    }
    return ret;
}

static bool copy_private(struct debug_object *obj, struct debug *dbg, enum debug_view view,
                         uint64_t gpa, void *buf, uint64_t size, bool write, GError **error)
{
    struct copy copy = { .vm = obj->vm, .buf = buf, .write = write };
    int ret = memory_with_host(debug_machine(dbg)->memory, gpa, size, view != DEBUG_PRIVATE,
                               copy_all, &copy);

    if (ret == -EIO)
        error_set(error, "the firmware refuses to %s it: %s (code %u)",
                  write ? "encrypt" : "decrypt", kvm_sev_error_text(copy.fw), copy.fw);
    else if (ret == -EFAULT)
        error_set(error, "it isn't private any more, or can't be touched");
    else if (ret)
        error_set_errno(error, ret, "KVM_SEV_DBG_%sCRYPT", write ? "EN" : "DE");
    return ret == 0;
}

const struct debug_object_type sev_debug_type = {
    .object = {
        .name = "sev-guest-debug",
        .help = "lets debuggers at the private memory of a kvm-type=sev guest whose policy allows "
                "it",
        .size = sizeof(struct debug_object),
        .properties = (const struct property *const[]){ NULL },
    },
    .vms = "kvm-type=sev", .fits = fits, .offer = offer, .policy = policy, .remedy = remedy,
    .copy = copy_private, .private_bit = private_bit, .registers = registers,
};
