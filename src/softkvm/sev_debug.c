/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DBG_DECRYPT and DBG_ENCRYPT: any bytes, of which the firmware takes whole blocks. */
#include "range.h"
#include "sev_command.h"
#include "sev_memory.h"
#include "soft_vm.h"
#include "usercopy.h"

enum { PIECE = 16 * GUEST_PAGE_SIZE };

static uint64_t to_page_end(uint64_t addr, uint64_t size)
{
    uint64_t room = GUEST_PAGE_SIZE - addr % GUEST_PAGE_SIZE;

    return room < size ? room : size;
}

/* From addr on, in pages of the host's. */
static uint64_t host_run(struct sev *sev, uint64_t addr, uint64_t size)
{
    uint64_t run = 0;

    while (run < size && !sev_memory_read(sev->memory, addr + run, NULL, 0))
        run += to_page_end(addr + run, size - run);
    return run;
}

/* Whole blocks of the host's pages, decrypted. */
static int read_host(struct sev *sev, uint64_t addr, uint8_t *blocks, uint64_t size)
{
    int ret;

    sev_memory_take(sev->memory, addr, size);
    ret = copy_from_user(blocks, addr, size);
    for (uint64_t done = 0, part; !ret && done < size; done += part) {
        part = to_page_end(addr + done, size - done);
        sev_memory_crypt(sev->memory, false, addr + done, blocks + done, part);
    }
    return ret;
}

/* Plain text of whole blocks: a page that the guest has stays its own. */
static int read_blocks(struct sev *sev, uint64_t addr, uint8_t *blocks, uint64_t size)
{
    int ret = 0;

    for (uint64_t done = 0, part; !ret && done < size; done += part) {
        uint64_t at = addr + done;

        part = to_page_end(at, size - done);
        if (sev_memory_read(sev->memory, at, blocks + done, part))
            continue;
        part = host_run(sev, at, size - done);
        ret = read_host(sev, at, blocks + done, part);
    }
    return ret;
}

/* Whole blocks around a piece. */
struct around {
    uint64_t start, size;
};

static struct around blocks_around(uint64_t addr, uint32_t size)
{
    uint64_t start = addr & ~(uint64_t)(SEV_BLOCK - 1);
    uint64_t end = (addr + size + SEV_BLOCK - 1) & ~(uint64_t)(SEV_BLOCK - 1);

    return (struct around){ start, end - start };
}

/* Up to PIECE bytes. */
static int decrypt(struct sev *sev, uint64_t src, uint64_t dst, uint32_t size)
{
    struct around around = blocks_around(src, size);
    uint8_t blocks[PIECE + 2 * SEV_BLOCK];
    int ret = read_blocks(sev, around.start, blocks, around.size);

    if (ret)
        return ret;
    sev_memory_take(sev->memory, dst, size);
    return copy_to_user(dst, blocks + (src - around.start), size);
}

/* Of one page of the guest's; what is around it in its blocks is written back as it was. */
static int encrypt(struct sev *sev, uint64_t src, uint64_t dst, uint32_t size)
{
    struct around around = blocks_around(dst, size);
    uint8_t blocks[GUEST_PAGE_SIZE];
    int ret = read_blocks(sev, around.start, blocks, around.size);

    if (ret)
        return ret;
    sev_memory_take(sev->memory, src, size);
    ret = copy_from_user(blocks + (dst - around.start), src, size);
    if (ret)
        return ret;
    sev_memory_crypt(sev->memory, true, around.start, blocks, around.size);
    sev_memory_take(sev->memory, around.start, around.size);
    return copy_to_user(around.start, blocks, around.size);
}

static int debug(struct sev_call *call, bool encrypting)
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
    for (uint32_t done = 0, piece; !ret && done < args->len; done += piece) {
        uint64_t src = args->src_uaddr + done, dst = args->dst_uaddr + done;
        uint32_t room = encrypting ? GUEST_PAGE_SIZE - dst % GUEST_PAGE_SIZE : PIECE;

        piece = args->len - done < room ? args->len - done : room;
        ret = encrypting ? encrypt(sev, src, dst, piece) : decrypt(sev, src, dst, piece);
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
