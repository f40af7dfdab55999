/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * /dev/sev: what the platform says of itself (SEV_ISSUE_CMD).  It has the keys
 * of sev_platform.c; nobody can own it or give it others.
 * Source: <linux/psp-sev.h>; Linux 6.12 drivers/crypto/ccp/sev-dev.c for errnos.
 */
#include "descriptor.h"
#include "sev.h"
#include "sev_guest.h"
#include "sev_platform.h"
#include "usercopy.h"

#include <errno.h>
#include <linux/psp-sev.h>
#include <string.h>
#include <sys/eventfd.h>

enum { STATE_INIT = 1, STATE_WORKING = 2, ID_SIZE = 64 };

static int status(struct sev_issue_cmd *cmd)
{
    unsigned guests = sev_guest_count();
    const struct sev_user_data_status answer = {
        .api_major = SEV_API_MAJOR, .api_minor = SEV_API_MINOR, .build = SEV_BUILD,
        .state = guests ? STATE_WORKING : STATE_INIT, .guest_count = guests,
    };

    return copy_to_user(cmd->data, &answer, sizeof(answer));
}

/* Too small a place: the size that is needed, and the firmware's error. */
static int get_id2(struct sev_issue_cmd *cmd)
{
    struct sev_user_data_get_id2 args;
    uint8_t id[ID_SIZE];
    bool fits;

    if (copy_from_user(&args, cmd->data, sizeof(args)))
        return -EFAULT;
    fits = args.address && args.length >= ID_SIZE;
    args.length = ID_SIZE;
    if (!sev_platform_id(id))
        cmd->error = SEV_RET_HWSEV_RET_PLATFORM;
    else if (!fits)
        cmd->error = SEV_RET_INVALID_LEN;
    if ((!cmd->error && copy_to_user(args.address, id, sizeof(id))) ||
        copy_to_user(cmd->data, &args, sizeof(args)))
        return -EFAULT;
    return cmd->error ? -EIO : 0;
}

static int pdh_cert_export(struct sev_issue_cmd *cmd)
{
    struct sev_user_data_pdh_cert_export args;
    uint8_t pdh[SEV_CERT_SIZE], chain[SEV_CHAIN_SIZE];
    bool fits;

    if (copy_from_user(&args, cmd->data, sizeof(args)))
        return -EFAULT;
    fits = args.pdh_cert_address && args.cert_chain_address &&
           args.pdh_cert_len >= SEV_CERT_SIZE && args.cert_chain_len >= SEV_CHAIN_SIZE;
    args.pdh_cert_len = SEV_CERT_SIZE;
    args.cert_chain_len = SEV_CHAIN_SIZE;
    if (!sev_platform_export(pdh, chain))
        cmd->error = SEV_RET_HWSEV_RET_PLATFORM;
    else if (!fits)
        cmd->error = SEV_RET_INVALID_LEN;
    if (!cmd->error && (copy_to_user(args.pdh_cert_address, pdh, sizeof(pdh)) ||
                        copy_to_user(args.cert_chain_address, chain, sizeof(chain))))
        return -EFAULT;
    if (copy_to_user(cmd->data, &args, sizeof(args)))
        return -EFAULT;
    return cmd->error ? -EIO : 0;
}

static int issue(struct sev_issue_cmd *cmd)
{
    cmd->error = SEV_RET_SUCCESS;
    switch (cmd->cmd) {
    case SEV_PLATFORM_STATUS:
        return status(cmd);
    case SEV_GET_ID2:
        return get_id2(cmd);
    case SEV_PDH_CERT_EXPORT:
        return pdh_cert_export(cmd);
    case SEV_FACTORY_RESET:
    case SEV_PEK_GEN:
    case SEV_PEK_CSR:
    case SEV_PDH_GEN:
    case SEV_PEK_CERT_IMPORT:
    case SEV_GET_ID:
        cmd->error = SEV_RET_UNSUPPORTED;
        return -EIO;
    }
    return -EINVAL;
}

static int class_ioctl(void *object, unsigned long request, unsigned long arg)
{
    struct sev_issue_cmd cmd;
    int ret;

    if ((unsigned)request != (unsigned)SEV_ISSUE_CMD)
        return -EINVAL;
    if (copy_from_user(&cmd, arg, sizeof(cmd)))
        return -EFAULT;
    ret = issue(&cmd);
    return copy_to_user(arg, &cmd, sizeof(cmd)) ? -EFAULT : ret;
}

static const struct descriptor_class device_class = {
    .ioctl = class_ioctl,
    .name = "sev",
    .survives_fork = true,
};

int sev_device_open(void)
{
    static int nothing;
    int fd = eventfd(0, EFD_CLOEXEC);

    return fd < 0 ? -errno : descriptor_add(fd, &device_class, &nothing);
}

bool sev_device_is(int fd)
{
    struct descriptor *descriptor = descriptor_get(fd);
    bool is = descriptor && descriptor_class(descriptor) == &device_class;

    if (descriptor)
        descriptor_put(descriptor);
    return is;
}
