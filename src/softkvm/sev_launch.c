/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands of a launch, and the attestation report. */
#include "range.h"
#include "sev.h"
#include "sev_command.h"
#include "sev_memory.h"
#include "sev_platform.h"
#include "soft_vm.h"
#include "usercopy.h"

#include <openssl/crypto.h>
#include <stdlib.h>

enum { BLOB_MAX = 16384 };      /* what the kernel hands to the firmware at once */

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

static int launch_start(struct sev_call *call, const uint8_t *cert, const uint8_t *session)
{
    struct kvm_sev_launch_start *args = call->data;
    struct sev *sev = call->vm->sev;
    int ret;

    if (sev->guest.state != SEV_UNINIT)
        return sev_firmware(call, SEV_RET_ASID_OWNED);
    if (args->handle)           /* another guest's key, which NOKS would forbid */
        return sev_firmware(call, SEV_RET_INVALID_GUEST);
    if (cert && session && (args->dh_len < SEV_CERT_SIZE || args->session_len < SEV_SESSION_SIZE))
        return sev_firmware(call, SEV_RET_INVALID_LEN);
    ret = make_key(sev);
    if (!ret)
        ret = sev_firmware(call, sev_guest_start(&sev->guest, args->policy, cert, session));
    if (ret)
        return ret;
    sev->fd = call->cmd->sev_fd;
    args->handle = sev->guest.handle;
    return copy_to_user(call->cmd->data, args, sizeof(*args));
}

int sev_launch_start(struct sev_call *call)
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

/*
 * The host's, and there to be written: known before the firmware begins, so that what fails
 * changes nothing.  The VM paused.
 */
static int take_pages(struct sev *sev, uint64_t addr, uint64_t size)
{
    uint64_t hva = addr & ~(uint64_t)(GUEST_PAGE_SIZE - 1);

    sev_memory_take(sev->memory, addr, size);
    for (; hva < addr + size; hva += GUEST_PAGE_SIZE) {
        if (!user_page_usable(hva, true))
            return -EFAULT;
    }
    return 0;
}

/* Plain bytes at addr become cipher text, and part of the digest. */
static int encrypt_in_place(struct sev_call *call, uint64_t addr, uint64_t size)
{
    struct sev *sev = call->vm->sev;
    uint8_t page[GUEST_PAGE_SIZE];
    int ret = 0;

    for (uint64_t done = 0, piece; !ret && done < size; done += piece) {
        uint64_t at = addr + done, room = GUEST_PAGE_SIZE - at % GUEST_PAGE_SIZE;

        piece = size - done < room ? size - done : room;
        ret = copy_from_user(page, at, piece);
        if (!ret)
            ret = sev_firmware(call, sev_guest_update(&sev->guest, page, piece));
        if (!ret) {
            sev_memory_crypt(sev->memory, true, at, page, piece);
            ret = copy_to_user(at, page, piece);
        }
    }
    return ret;
}

int sev_launch_update_data(struct sev_call *call)
{
    const struct kvm_sev_launch_update_data *args = call->data;
    struct sev *sev = call->vm->sev;
    int ret;

    if (!args->len || range_wraps(args->uaddr, args->len))
        return -EINVAL;
    if (sev->guest.state != SEV_LAUNCH_UPDATE)
        return sev_firmware(call, SEV_RET_INVALID_GUEST_STATE);
    if (args->uaddr % SEV_BLOCK)
        return sev_firmware(call, SEV_RET_INVALID_ADDRESS);
    if (args->len % SEV_BLOCK)
        return sev_firmware(call, SEV_RET_INVALID_LEN);
    vm_pause(call->vm);
    ret = take_pages(sev, args->uaddr, args->len);
    if (!ret)
        ret = encrypt_in_place(call, args->uaddr, args->len);
    vm_resume(call->vm);
    return ret;
}

/*
 * Something of a fixed size goes to a place of *len bytes.  Length 0 asks for the
 * size: that fails as in the firmware, and len is filled.
 */
static int give_blob(struct sev_call *call, uint64_t uaddr, uint32_t *len, const void *blob,
                     uint32_t size)
{
    uint32_t room = *len;

    if (room > BLOB_MAX)
        return -EINVAL;
    if (room && room < size)
        return sev_firmware(call, SEV_RET_INVALID_LEN);
    if (room && copy_to_user(uaddr, blob, size))
        return -EFAULT;
    *len = size;
    return sev_firmware(call, room ? SEV_RET_SUCCESS : SEV_RET_INVALID_LEN);
}

int sev_launch_measure(struct sev_call *call)
{
    struct kvm_sev_launch_measure *args = call->data;
    struct sev_guest *guest = &call->vm->sev->guest;
    bool wanted = args->len >= SEV_MEASUREMENT_SIZE && args->len <= BLOB_MAX;
    int ret;

    if (guest->state != SEV_LAUNCH_UPDATE && guest->state != SEV_LAUNCH_SECRET)
        return sev_firmware(call, SEV_RET_INVALID_GUEST_STATE);
    /* The launch goes on after a question for the size. */
    ret = wanted ? sev_firmware(call, sev_guest_measure(guest)) : 0;
    if (!ret)
        ret = give_blob(call, args->uaddr, &args->len, guest->measurement, SEV_MEASUREMENT_SIZE);
    if (copy_to_user(call->cmd->data, args, sizeof(*args)))
        return -EFAULT;
    return ret;
}

/* The packet's plain text, encrypted with the guest's key, to where the guest reads it. */
static int put_secret(struct sev_call *call, const uint8_t *header, uint8_t *data)
{
    const struct kvm_sev_launch_secret *args = call->data;
    struct sev *sev = call->vm->sev;
    uint64_t addr = args->guest_uaddr;
    int ret;

    vm_pause(call->vm);
    ret = take_pages(sev, addr, args->guest_len);
    if (!ret)
        ret = sev_firmware(call, sev_guest_secret(&sev->guest, header, data, args->trans_len));
    for (uint32_t done = 0, piece; !ret && done < args->guest_len; done += piece) {
        uint32_t room = GUEST_PAGE_SIZE - (addr + done) % GUEST_PAGE_SIZE;

        piece = args->guest_len - done < room ? args->guest_len - done : room;
        sev_memory_crypt(sev->memory, true, addr + done, data + done, piece);
        ret = copy_to_user(addr + done, data + done, piece);
    }
    vm_resume(call->vm);
    return ret;
}

int sev_launch_secret(struct sev_call *call)
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
        ret = sev_firmware(call, SEV_RET_INVALID_LEN);
    if (!ret && args->guest_uaddr % SEV_BLOCK)
        ret = sev_firmware(call, SEV_RET_INVALID_ADDRESS);
    if (!ret && args->guest_len != args->trans_len)
        ret = sev_firmware(call, SEV_RET_INVALID_LEN);
    if (!ret)
        ret = put_secret(call, header, data);
    free(header);
    if (data)
        OPENSSL_cleanse(data, args->trans_len);
    free(data);
    return ret;
}

int sev_launch_finish(struct sev_call *call)
{
    return sev_firmware(call, sev_guest_finish(&call->vm->sev->guest));
}

int sev_attestation_report(struct sev_call *call)
{
    struct kvm_sev_attestation_report *args = call->data;
    uint8_t report[SEV_REPORT_SIZE];
    int ret = sev_firmware(call, sev_guest_report(&call->vm->sev->guest, args->mnonce, report));

    if (!ret)
        ret = give_blob(call, args->uaddr, &args->len, report, sizeof(report));
    if (copy_to_user(call->cmd->data, args, sizeof(*args)))
        return -EFAULT;
    return ret;
}
