/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DBG_DECRYPT and DBG_ENCRYPT: any bytes, of which the firmware takes whole blocks. */
#include "range.h"
#include "sev_command.h"
#include "sev_memory.h"
#include "soft_vm.h"
#include "usercopy.h"

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

static int debug(struct sev_call *call, bool encrypt)
{
    const struct kvm_sev_dbg *args = call->data;
    struct sev *sev = call->vm->sev;
    int ret;

    if (!args->len || !args->src_uaddr || !args->dst_uaddr ||
        range_wraps(args->src_uaddr, args->len) || range_wraps(args->dst_uaddr, args->len))
        return -EINVAL;
    ret = sev_firmware(call, sev_guest_debug(&sev->guest));
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

int sev_dbg_decrypt(struct sev_call *call)
{
    return debug(call, false);
}

int sev_dbg_encrypt(struct sev_call *call)
{
    return debug(call, true);
}
